"""Books in tokens between whole nodes: opened, paid from, settled, closed, and refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lightspeed.channel import Phase
from lightspeed.colour import ColourTerms
from lightspeed.lsf import Party, accepted_books, usable_books
from lightspeed.node import reports
from lightspeed.node.books import BookRequest
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal, OpeningRefused
from lightspeed.payment import GarbageLock, Receipt, Scheme, SecretBook
from lightspeed.units import Sat
from node_books import book_pair
from node_tokens import SUPPLY, TokenBooks, settled, token_books
from node_world import ORIGIN, eventually
from payment_books import with_garbage

TOKENS = [Scheme.SEALS, Scheme.LADDER]


def ids(secret: SecretBook) -> bytes:
    return secret.book.book_id


@pytest.mark.parametrize("scheme", TOKENS)
async def test_paid_tokens_are_the_payees_to_the_unit_and_the_rest_the_payers(
    tmp_path: Path, scheme: Scheme
) -> None:
    async with token_books(tmp_path, pushed=7) as pair:
        sats = pair.balances_msat
        secret = await pair.open_book(scheme=scheme)
        assert pair.tokens == (100_000 - 7 - 50, 7)
        await pair.redeem(secret, 1, 25)

        await pair.payee.node.books.settle_book(ids(secret))
        await eventually(lambda: pair.settled(secret) == 2)
        assert pair.tokens == (100_000 - 7 - 50, 7 + 20)
        await pair.redeem(secret, 26, 3)
        await pair.payer.node.close_book(ids(secret))
        await pair.closed(secret)

        assert pair.tokens == (100_000 - 7 - 28, 7 + 28)
        assert pair.balances_msat == sats


async def test_book_in_tokens_outlives_both_nodes(tmp_path: Path) -> None:
    async with token_books(tmp_path) as pair:
        secret = await pair.open_book()
        await pair.redeem(secret, 1, 25)
        for running in (pair.payee, pair.payer):
            await running.stop()
        for running in (pair.payee, pair.payer):
            await running.start()
        await pair.payer.connect(pair.payee)
        await eventually(lambda: pair.payer.usable() and pair.payee.usable())
        await pair.leased(secret.book)
        await pair.redeem(secret, 26, 25)  # used up: the payee closes it by itself
        await pair.copied()
        await pair.closed(secret)
        assert pair.tokens == (100_000 - 50, 50)


async def test_both_kinds_of_books_stand_beside_each_other(tmp_path: Path) -> None:
    async with token_books(tmp_path) as pair:
        books = [
            await pair.open_book(scheme=Scheme.SEALS),
            await pair.open_book(scheme=Scheme.LADDER),
            await pair.open_book(scheme=Scheme.OUTPUTS, lock_tokens=None, lock_amount_sat=10_000),
        ]
        before = pair.balances_msat
        for secret in books:
            await pair.redeem(secret, 1, 10)
            await pair.payee.node.books.settle_book(ids(secret))
            await eventually(lambda secret=secret: pair.settled(secret) == 1)
        assert pair.tokens == (100_000 - 100, 20)
        assert pair.balances_msat[1] - before[1] == 10_000_000
        views = await reports.books(pair.payer.node, [pair.payer.driver])
        assert [(v.lock_amount_sat, v.lock_tokens, v.unit_tokens) for v in views] == [
            (None, 10, 1),
            (None, 10, 1),
            (10_000, None, None),
        ]
        assert [view.token and view.token.ticker for view in views] == ["CALL", "CALL", None]


async def test_garbage_lock_redeems_nothing_and_closes_its_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payer that lists seals which its secrets do not open would pay with nothing."""
    create = SecretBook.create

    def cheating(**given: Any) -> SecretBook:
        return with_garbage(create(**given), 2)

    async with token_books(tmp_path) as pair:
        monkeypatch.setattr(SecretBook, "create", cheating)
        secret = await pair.open_book()
        await pair.redeem(secret, 1, 19)
        with pytest.raises(GarbageLock):
            await pair.redeem(secret, 20, 1)
        await pair.copied()
        await pair.closed(secret)
        assert pair.tokens == (100_000 - 19, 19)
        assert pair.payee.driver.phase is Phase.NORMAL


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"scheme": Scheme.OUTPUTS}, "for sats"),
        ({"lock_tokens": None, "lock_amount_sat": 10_000}, "for tokens"),
        ({"lock_amount_sat": 10_000}, "say which"),
        ({"lock_tokens": 10_010}, "max_seals_lock_tokens"),
    ],
)
async def test_what_the_payer_refuses_itself_says_what_to_do(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    async with token_books(tmp_path) as pair:
        with pytest.raises(NodeRefusal, match=text):
            await pair.open_book(**changes)
        assert not usable_books(pair.payer.channel)


async def test_channel_without_tokens_has_no_books_in_tokens(tmp_path: Path) -> None:
    async with book_pair(tmp_path) as pair:
        with pytest.raises(NodeRefusal, match="holds no tokens"):
            await pair.open_book(lock_amount_sat=None, lock_tokens=10, scheme=Scheme.SEALS)


async def test_limit_of_seals_is_for_all_books_of_a_payee_together(tmp_path: Path) -> None:
    """One hash is tried on the seals of all of them."""
    async with token_books(tmp_path, payer={"max_seals_book_tokens": 100}) as pair:
        await pair.open_book()  # 50 tokens
        await pair.open_book()
        with pytest.raises(NodeRefusal, match="max_seals_book_tokens"):
            await pair.open_book()
        await pair.open_book(scheme=Scheme.LADDER)


async def test_limit_of_seals_is_for_books_that_are_being_opened_too(tmp_path: Path) -> None:
    """In two channels at once; and a payee may answer as late as it likes."""
    async with token_books(tmp_path, payer={"max_seals_book_tokens": 60}) as pair:
        first, second = pair.payer.driver, await another_channel(pair)
        books, request = pair.payer.node.payer_books, seals_of_50_tokens()
        assert books is not None
        outcomes = await asyncio.gather(
            *(books.open(driver, request) for driver in (first, second)), return_exceptions=True
        )
        (refusal,) = (each for each in outcomes if isinstance(each, Exception))
        assert isinstance(refusal, NodeRefusal)
        assert "max_seals_book_tokens" in str(refusal)
        opened = [each for driver in (first, second) for each in usable_books(driver.channel)]
        assert opened == [each for each in outcomes if each is not refusal]


async def test_limit_of_seals_counts_books_that_the_payee_has_not_answered_for(
    tmp_path: Path,
) -> None:
    async with token_books(tmp_path, payer={"max_seals_book_tokens": 60}) as pair:
        first, second = pair.payer.driver, await another_channel(pair)
        books, request = pair.payer.node.payer_books, seals_of_50_tokens()
        assert books is not None
        await pair.payee.stop()
        with pytest.raises(OpeningRefused, match="does not answer"):
            await books.open(first, request, timeout_seconds=0)
        with pytest.raises(NodeRefusal, match="max_seals_book_tokens"):
            await books.open(second, request, timeout_seconds=0)


async def test_limit_of_seals_is_free_of_a_book_that_the_next_one_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with token_books(tmp_path, payer={"max_seals_book_tokens": 60}) as pair:
        books = pair.payer.node.payer_books
        assert books is not None

        async def silent(*_: object) -> None:
            pass

        with monkeypatch.context() as patch:
            patch.setattr(books, "_say_open", silent)
            with pytest.raises(OpeningRefused, match="does not answer"):
                await books.open(pair.payer.driver, seals_of_50_tokens(), timeout_seconds=1)
        await eventually(lambda: accepted_books(pair.payer.channel))
        await pair.open_book()  # of 50 tokens, too


def seals_of_50_tokens() -> BookRequest:
    return BookRequest(
        locks=5,
        chain_length=10,
        lock_tokens=10,
        origins=(ORIGIN,),
        scheme=Scheme.SEALS,
        refund_delay_blocks=20,
    )


async def another_channel(pair: TokenBooks) -> ChannelDriver:
    """With 100,000 tokens; the payer's."""
    tokens = ColourTerms(contract_id=pair.contract_id, tokens=100_000, pushed=0)
    await settled(pair.payer, pair.contract_id, SUPPLY - 100_000)
    driver = await pair.payer.node.open_channel(
        pair.payee.node_id,
        funding_sat=Sat(1_000_000),
        push_sat=Sat(100_000),
        party=Party.PAYER,
        tokens=tokens,
    )
    await pair.world.confirm(driver.channel.channel_id, pair.payer, pair.payee)
    return driver


async def test_payee_bounds_what_it_may_lose_of_tokens(tmp_path: Path) -> None:
    async with token_books(tmp_path, payee={"max_exposure_tokens": 49}) as pair:
        with pytest.raises(OpeningRefused, match="50 tokens could be served without"):
            await pair.open_book()
        await pair.open_book(locks=4)


# --- policies -------------------------------------------------------------------------------


async def test_policy_settles_tokens_by_a_limit_of_their_own(tmp_path: Path) -> None:
    policy = {"settle_at_sat": 1, "settle_after_seconds": 0.0, "settle_at_tokens": 20}
    async with token_books(tmp_path, payee=policy) as pair:
        secret = await pair.open_book()
        books = pair.payee.node.payee_books
        assert books is not None
        await pair.redeem(secret, 1, 19)
        await pair.copied()
        await eventually(lambda: books.completed(secret.book))
        for _ in range(3):
            await pair.payee.node.watch.look()
        assert pair.settled(secret) == 0
        await pair.redeem(secret, 20, 1)
        await pair.copied()
        await eventually(lambda: pair.settled(secret) == 2)


async def use(pair: TokenBooks, secret: SecretBook, units: int) -> None:
    allocator = pair.payer_store.take_over(secret)
    for _ in range(units):
        allocation = allocator.allocate(1)
        receipt = await pair.ledger.redeem(secret.credential(allocation.first_unit, 1))
        allocator.served(allocation, Receipt(*receipt))


async def test_book_in_tokens_is_opened_again_within_the_budget_of_tokens(tmp_path: Path) -> None:
    policy = {
        "refill_below_units": 20,
        "refill_budget_sat_per_day": 10**9,
        "refill_budget_tokens_per_day": 50,
    }
    async with token_books(tmp_path, payer=policy) as pair:
        secret = await pair.open_book(window=2)
        await use(pair, secret, 45)
        await eventually(lambda: len(usable_books(pair.payer.channel)) == 2)
        again = usable_books(pair.payer.channel)[-1]
        assert (again.terms.asset, again.terms.lock_amount) == (pair.contract_id, 10)
        await use(pair, await pair.leased(again), 45)
        key = f"refill of channel {pair.payer.channel.channel_id.hex()}"
        await eventually(lambda: any(key in t for t in pair.payer.node.alarms.texts))
        assert any("50 tokens does not fit" in t for t in pair.payer.node.alarms.texts)


async def test_no_budget_of_tokens_is_no_refill_and_no_alarm(tmp_path: Path) -> None:
    policy = {"refill_below_units": 20, "refill_budget_sat_per_day": 10**9}
    async with token_books(tmp_path, payer=policy) as pair:
        secret = await pair.open_book(window=2)
        await use(pair, secret, 32)
        for _ in range(3):
            await pair.payer.node.watch.look()
        assert len(usable_books(pair.payer.channel)) == 1
        assert not pair.payer.node.alarms.texts

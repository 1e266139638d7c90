"""Books are settled and closed: to the unit, once, by the payee alone, whatever crosses it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from channel_pair import Node, Pair
from lightspeed.bitcoin import sha256
from lightspeed.channel import ChannelClosed, ChannelRefusal, ChannelViolation, Phase
from lightspeed.lsf import (
    MAX_CLOSE_ELEMENTS,
    MAX_SETTLE_SECRETS,
    BookAccepted,
    BookClosed,
    BookSettled,
    BookUsable,
    CloseRequested,
    LsfAccept,
    LsfClose,
    LsfCloseRequest,
    LsfOpen,
    LsfReject,
    LsfSettle,
    Party,
    PayeeLimits,
    accepted_books,
    close_requests,
    closed_books,
    next_close,
    next_settle,
    settled_locks,
    usable_books,
)
from lightspeed.lsf.collect import lock_messages
from lightspeed.lsf.messages import LsfPropose
from lightspeed.payment import BookTerms, LockElement, SecretBook
from lightspeed.wire import MAX_MESSAGE_SIZE, Message
from lsf_pair import (
    channel_of,
    elements_of,
    lsf_of,
    open_book,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    say_close,
    say_open,
    say_settle,
    secret_book,
)
from lsf_world import book_terms

FUNDING_MSAT = 5_000_000_000


def opened(terms: BookTerms | None = None, **options: object) -> tuple[Pair, SecretBook]:
    """A channel with one usable book: 5 locks of 8 units, 125 sat each."""
    pair = open_lsf_pair(**options)  # type: ignore[arg-type]
    secret = secret_book(pair, terms or book_terms(chain_length=8))
    open_book(pair, secret)
    return pair, secret


def balances(pair: Pair) -> tuple[int, int]:
    """The payer's and the payee's, in msat, as the payee sees them."""
    base = channel_of(payee_of(pair)).state.base
    return base.counterparty_msat, base.holder_msat


def lsf_sat(pair: Pair, secret: SecretBook, *, settled: int) -> int:
    state = channel_of(payee_of(pair)).state.extension_states["lsf"]
    amount: int = state.books[secret.book.book_id].amount_sat(settled=settled)
    return amount


# --- settling -------------------------------------------------------------------------------


def test_a_settle_is_an_update_of_the_payee() -> None:
    pair, secret = opened()
    say_settle(pair, secret, 1, 2)
    assert pair.settle() == [
        "fundee LsfSettle",
        "fundee LsfSignRequest",
        "funder LsfSignatures",
        "fundee CommitmentSigned",
        "funder RevokeAndAck",
        "funder LsfSignatures",
        "funder CommitmentSigned",
        "fundee RevokeAndAck",
    ]


def test_settled_locks_are_in_the_payees_balance_and_the_book_goes_on() -> None:
    pair, secret = opened()
    payer_before, payee_before = balances(pair)
    say_settle(pair, secret, 1, 2)
    pair.settle()
    pair.check_mirrored()
    payer_after, payee_after = balances(pair)
    assert payee_after - payee_before == 2_000_000
    freed = lsf_sat(pair, secret, settled=0) - lsf_sat(pair, secret, settled=2)
    assert payer_after - payer_before == (freed - 2_000) * 1_000 > 0
    for node in (pair.funder, pair.fundee):
        assert node.take(BookSettled) == [BookSettled(secret.book.book_id, 2)]
        assert settled_locks(channel_of(node)) == {secret.book.book_id: 2}
        assert usable_books(channel_of(node)) == (secret.book,)
    lsf = channel_of(pair.funder).state.extension_states["lsf"].books[secret.book.book_id]
    (frozen,) = [channel_of(pair.funder).holder_commitment().frozen]
    assert frozen.output(lsf.key).value == lsf.amount_sat(settled=2)

    say_settle(pair, secret, 1, 2, 3, 4, 5)
    pair.settle()
    assert pair.funder.take(BookSettled)[-1] == BookSettled(secret.book.book_id, 4)
    assert balances(pair)[1] - payee_before == 4_000_000
    assert (
        next_settle(channel_of(pair.fundee), secret.book.book_id, {5: secret.lock_secret(5)})
        is None
    )  # the last lock of a book ends with a close


def test_only_an_unbroken_run_is_settled() -> None:
    pair, secret = opened()
    payee = channel_of(payee_of(pair))
    secrets = {lock: secret.lock_secret(lock) for lock in (2, 3)}
    assert next_settle(payee, secret.book.book_id, secrets) is None
    secrets[1] = secret.lock_secret(1)
    update = next_settle(payee, secret.book.book_id, secrets)
    assert update is not None
    assert (update.first_lock, update.last_lock) == (1, 3)


# --- closing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settled", "parts", "units"),
    [
        ((), [], 0),
        ((), [(1, 1)], 1),
        ((), [(1, 8), (2, 3)], 11),
        ((1,), [(1, 8), (2, 3)], 11),
        ((1, 2), [(1, 8), (2, 8)], 16),
        ((), [(1, 5), (2, 8), (3, 2)], 15),
        ((1, 2, 3), [(lock, 8) for lock in range(1, 6)], 40),
    ],
)
def test_a_close_pays_to_the_unit_and_returns_the_rest(
    settled: tuple[int, ...], parts: list[tuple[int, int]], units: int
) -> None:
    pair, secret = opened()
    payer_before, payee_before = balances(pair)
    price = lsf_sat(pair, secret, settled=0) * 1_000
    if settled:
        say_settle(pair, secret, *settled)
        pair.settle()
    say_close(pair, secret, *parts)
    said = pair.settle()
    assert not [name for name in said if "Sign" in name and "Commitment" not in name]
    pair.check_mirrored()
    payer_after, payee_after = balances(pair)
    assert payee_after - payee_before == units * 125_000
    assert payer_after - payer_before == price - units * 125_000
    assert payer_after + payee_after == FUNDING_MSAT
    for node in (pair.funder, pair.fundee):
        assert node.take(BookClosed) == [BookClosed(secret.book.book_id, units)]
        assert closed_books(channel_of(node)) == {secret.book.book_id: units}
        assert usable_books(channel_of(node)) == accepted_books(channel_of(node)) == ()
        assert not channel_of(node).state.holder_commitment.child_signatures


def test_a_close_of_more_elements_than_a_message_holds_settles_first() -> None:
    pair, secret = opened(book_terms(locks=2_322))
    payee = payee_of(pair)
    before = balances(pair)[1]
    parts = [(lock, 1) for lock in range(1, 2_322)]
    say_close(pair, secret, *parts)
    assert (
        next_close(channel_of(payee), secret.book.book_id, elements_of(secret, *parts)) is None
    )  # one at a time
    pair.settle()
    assert payee.take(BookSettled) == [BookSettled(secret.book.book_id, MAX_SETTLE_SECRETS)]
    say_close(pair, secret, *parts)
    pair.settle()
    assert payee.take(BookClosed) == [BookClosed(secret.book.book_id, 2_321)]
    assert balances(pair)[1] - before == 2_321_000_000
    pair.check_mirrored()


def test_the_largest_messages_fit() -> None:
    settle = LsfSettle(
        channel_id=bytes(32),
        book_id=bytes(16),
        first_lock=1,
        last_lock=MAX_SETTLE_SECRETS,
        secrets=(bytes(32),) * MAX_SETTLE_SECRETS,
    )
    close = LsfClose(
        channel_id=bytes(32),
        book_id=bytes(16),
        first_lock=1,
        elements=(LockElement(1, 1, bytes(32)),) * MAX_CLOSE_ELEMENTS,
    )
    assert len(settle.encode()) <= MAX_MESSAGE_SIZE
    assert MAX_MESSAGE_SIZE - 38 < len(close.encode()) <= MAX_MESSAGE_SIZE


# --- what a settle or a close must be -------------------------------------------------------


def settle_message(secret: SecretBook, first: int, last: int, **changes: object) -> LsfSettle:
    message = LsfSettle(
        channel_id=secret.book.channel_id,
        book_id=secret.book.book_id,
        first_lock=first,
        last_lock=last,
        secrets=tuple(secret.lock_secret(lock) for lock in range(first, last + 1)),
    )
    return replace(message, **changes)  # type: ignore[arg-type]


def close_message(secret: SecretBook, first: int, *parts: tuple[int, int]) -> LsfClose:
    return LsfClose(
        channel_id=secret.book.channel_id,
        book_id=secret.book.book_id,
        first_lock=first,
        elements=elements_of(secret, *parts),
    )


Wrong = Callable[[SecretBook], Message]
AFTER_ONE_SETTLED_LOCK: dict[str, tuple[Wrong, str]] = {
    "settled before": (lambda s: settle_message(s, 1, 1), "1 locks are settled, lock 1 is not"),
    "overlap": (lambda s: settle_message(s, 1, 2), "lock 1 is not the next"),
    "gap": (lambda s: settle_message(s, 3, 3), "lock 3 is not the next"),
    "nothing": (lambda s: settle_message(s, 2, 1), "locks 2 to 1 of 5"),
    "the last lock": (lambda s: settle_message(s, 2, 5), "ends with lsf_close"),
    "beyond the book": (lambda s: settle_message(s, 2, 5, last_lock=9), "locks 2 to 9 of 5"),
    "a secret missing": (lambda s: settle_message(s, 2, 3, last_lock=4), "2 secrets for 3"),
    "a secret more": (lambda s: settle_message(s, 2, 4, last_lock=3), "3 secrets for 2"),
    "another lock's secret": (
        lambda s: settle_message(s, 2, 2, secrets=(s.lock_secret(3),)),
        "not the secret of lock 2",
    ),
    "no secret": (lambda s: settle_message(s, 2, 2, secrets=(bytes(32),)), "not the secret"),
    "an element that is not the secret": (
        lambda s: settle_message(s, 2, 2, secrets=(s.element(2, 7),)),
        "not the secret",
    ),
    "unknown book": (lambda s: settle_message(s, 2, 2, book_id=bytes(16)), "is unknown, not open"),
    "close from the start": (lambda s: close_message(s, 1, (1, 8)), "lock 1 is not the next"),
    "close ahead": (lambda s: close_message(s, 3, (3, 8)), "lock 3 is not the next"),
    "close counts a settled lock": (lambda s: close_message(s, 2, (1, 8)), "lock 1 after lock 1"),
    "close counts a lock twice": (
        lambda s: close_message(s, 2, (2, 8), (2, 8)),
        "lock 2 after lock 2",
    ),
    "close with a wrong element": (
        lambda s: replace(close_message(s, 2), elements=(LockElement(2, 3, s.element(2, 2)),)),
        "not unit 3 of lock 2",
    ),
    "close of an unknown book": (
        lambda s: replace(close_message(s, 2), book_id=bytes(16)),
        "is unknown, not open",
    ),
}


@pytest.fixture(scope="module")
def one_settled() -> tuple[Pair, SecretBook]:
    pair, secret = opened()
    say_settle(pair, secret, 1)
    pair.settle()
    return pair, secret


@pytest.mark.parametrize("name", AFTER_ONE_SETTLED_LOCK)
def test_a_settle_or_close_that_is_old_or_wrong_is_refused(
    name: str, one_settled: tuple[Pair, SecretBook]
) -> None:
    make, problem = AFTER_ONE_SETTLED_LOCK[name]
    pair, secret = one_settled
    message = make(secret)
    for node, call, error in (
        (payer_of(pair), "receive", ChannelViolation),
        (payee_of(pair), "propose", ChannelRefusal),
    ):
        before = channel_of(node).state
        with pytest.raises(error, match=problem):
            getattr(channel_of(node), call)(message)
        assert channel_of(node).state is before


@pytest.mark.parametrize("kind", [LsfSettle, LsfClose])
def test_the_payer_neither_settles_nor_closes(
    kind: type[Message], one_settled: tuple[Pair, SecretBook]
) -> None:
    """A book's end is never the payer's word, though it knows every secret."""
    pair, secret = one_settled
    message = settle_message(secret, 2, 2) if kind is LsfSettle else close_message(secret, 2)
    with pytest.raises(ChannelRefusal, match="only the payee"):
        channel_of(payer_of(pair)).propose(message)
    with pytest.raises(ChannelViolation, match="only the payee"):
        channel_of(payee_of(pair)).receive(message)


@pytest.mark.parametrize("second", ["settle", "close"])
@pytest.mark.parametrize("first", ["settle", "close"])
def test_one_update_of_a_book_at_a_time(first: str, second: str) -> None:
    """On both sides, as long as the first is in a log."""
    pair, secret = opened()
    payer, payee = payer_of(pair), payee_of(pair)
    make = {"settle": lambda lock: settle_message(secret, lock, lock)}
    make["close"] = lambda lock: close_message(secret, lock)  # type: ignore[assignment, return-value]
    problem = {"settle": "is settling, not open", "close": "is closing, not open"}[first]
    payee.run(channel_of(payee).propose(make[first](1)))
    payee.run(channel_of(payee).commit())
    refused = 0
    while pair.funder.sent or pair.fundee.sent:
        for message in (make[second](1), make[second](2)):
            if channel_of(payee).state.holder_log:
                with pytest.raises(ChannelRefusal, match=problem):
                    channel_of(payee).propose(message)
                refused += 1
            if channel_of(payer).state.counterparty_log:
                with pytest.raises(ChannelViolation, match=problem):
                    channel_of(payer).receive(message)
                refused += 1
        speaker = next(node for node in (payee, payer) if node.sent)
        pair.deliver(speaker)
    assert refused > 10
    pair.check_mirrored()


def test_a_book_that_is_accepted_but_not_open_is_not_closed() -> None:
    pair = open_lsf_pair()
    secret = secret_book(pair)
    propose_book(pair, secret.book)
    pair.settle()
    with pytest.raises(ChannelRefusal, match="is accepted, not open"):
        channel_of(payee_of(pair)).propose(close_message(secret, 1))
    say_open(pair, secret.book)
    while not channel_of(payee_of(pair)).state.counterparty_log:
        pair.deliver(payer_of(pair))
    with pytest.raises(ChannelRefusal, match="is opening, not open"):
        channel_of(payee_of(pair)).propose(close_message(secret, 1))


# --- closed for ever ------------------------------------------------------------------------


def closed_pair(**options: object) -> tuple[Pair, SecretBook]:
    pair, secret = opened(**options)
    say_close(pair, secret, (1, 3))
    pair.settle()
    return pair, secret


def test_a_closed_book_is_not_closed_or_opened_again() -> None:
    pair, secret = closed_pair()
    payer, payee = payer_of(pair), payee_of(pair)
    again = close_message(secret, 1, (1, 3))
    with pytest.raises(ChannelViolation, match="is closed, not open"):
        channel_of(payer).receive(again)
    reopen = LsfOpen(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    with pytest.raises(ChannelViolation, match="is closed, not accepted"):
        channel_of(payee).receive(reopen)
    with pytest.raises(ChannelRefusal, match="is closed, not accepted"):
        channel_of(payer).propose(reopen)
    with pytest.raises(ChannelRefusal, match="proposed before"):
        propose_book(pair, secret.book)


def test_a_book_that_is_being_closed_is_not_opened_again() -> None:
    pair, secret = opened()
    say_close(pair, secret)
    pair.deliver(payee_of(pair))
    reopen = LsfOpen(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    with pytest.raises(ChannelRefusal, match="is closing, not accepted"):
        channel_of(payer_of(pair)).propose(reopen)


def test_a_closed_books_id_is_refused_to_a_payer_that_forgot_it() -> None:
    pair, secret = closed_pair()
    book, payee = secret.book, payee_of(pair)
    propose = LsfPropose(
        channel_id=book.channel_id, book_id=book.book_id, terms=book.terms.to_bytes()
    )
    for message in (propose, *lock_messages(book)):
        payee.run(channel_of(payee).receive(message))
    (answer,) = payee.sent
    assert isinstance(answer, LsfReject)
    assert answer.text == b"the book was closed"
    assert not isinstance(answer, LsfAccept)


def test_closed_books_make_room_for_others() -> None:
    pair, secret = closed_pair(limits=PayeeLimits(max_books=1))
    for seed in (b"x", b"y"):
        following = secret_book(pair, book_terms(chain_length=8), seed=seed)
        open_book(pair, following)
        assert pair.funder.take(BookAccepted)[-1].book == following.book
        say_close(pair, following)
        pair.settle()
    for node in (pair.funder, pair.fundee):
        assert len(closed_books(channel_of(node))) == 3
        node.restart()
        assert len(closed_books(channel_of(node))) == 3
        assert closed_books(channel_of(node))[secret.book.book_id] == 3


# --- the payer asks -------------------------------------------------------------------------


def request_close(pair: Pair, secret: SecretBook) -> None:
    payer = payer_of(pair)
    act = lsf_of(payer).request_close(secret.book.book_id)
    payer.run(channel_of(payer).extend("lsf", act))


def test_a_close_request_reaches_the_payee_and_changes_no_commitment() -> None:
    pair, secret = opened()
    numbers = [channel_of(node).holder_commitment().context.number for node in (pair.funder,)]
    request_close(pair, secret)
    request_close(pair, secret)
    assert pair.settle() == ["funder LsfCloseRequest"]
    assert payee_of(pair).take(CloseRequested) == [CloseRequested(secret.book.book_id)]
    assert close_requests(channel_of(payee_of(pair))) == {secret.book.book_id}
    assert [channel_of(pair.funder).holder_commitment().context.number] == numbers
    say_close(pair, secret, (1, 2))
    pair.settle()
    for node in (pair.funder, pair.fundee):
        assert close_requests(channel_of(node)) == frozenset()


@pytest.mark.parametrize("restart", [False, True])
def test_a_close_request_is_repeated_until_the_book_is_closed(restart: bool) -> None:
    pair, secret = opened()
    pair.disconnect()
    request_close(pair, secret)
    for times in (1, 2):
        if restart:
            for node in (pair.funder, pair.fundee):
                node.restart()
        pair.reconnect()
        pair.settle()
        assert len(payee_of(pair).take(CloseRequested)) == times
        pair.disconnect()
    pair.reconnect()
    pair.settle()
    say_close(pair, secret)
    pair.settle()
    pair.disconnect()
    pair.reconnect()
    assert "funder LsfCloseRequest" not in pair.settle()


def test_a_close_request_may_cross_the_payees_close() -> None:
    pair, secret = opened()
    say_close(pair, secret)
    request_close(pair, secret)
    pair.settle()
    pair.check_mirrored()
    message = LsfCloseRequest(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    payee = payee_of(pair)
    known = payee.take(CloseRequested)
    payee.run(channel_of(payee).receive(message))  # as late as it can be
    assert payee.take(CloseRequested) == known
    assert close_requests(channel_of(payee)) == frozenset()


def test_close_requests_are_the_payers_and_for_open_books() -> None:
    pair, secret = opened()
    payer, payee = payer_of(pair), payee_of(pair)
    message = LsfCloseRequest(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    with pytest.raises(ChannelViolation, match="to the payer"):
        channel_of(payer).receive(message)
    with pytest.raises(ChannelViolation, match="not open"):
        channel_of(payee).receive(replace(message, book_id=bytes(16)))
    by_payee = lsf_of(payee).request_close(secret.book.book_id)
    with pytest.raises(ChannelRefusal, match="only the payer"):
        channel_of(payee).extend("lsf", by_payee)
    with pytest.raises(ChannelRefusal, match="not open"):
        channel_of(payer).extend("lsf", lsf_of(payer).request_close(bytes(16)))


# --- what crosses it ------------------------------------------------------------------------


def add_htlc(node: Node, n: int, *, amount_msat: int = 20_000_000) -> None:
    _, effects = channel_of(node).add_htlc(
        amount_msat=amount_msat, payment_hash=sha256(bytes([n])), cltv_expiry=500, onion=bytes(1366)
    )
    node.run(effects)


@pytest.mark.parametrize("what", ["settle", "close"])
def test_sums_are_right_whatever_crosses(what: str) -> None:
    """An lsf_open, HTLCs of both sides and a fee change, in every order of delivery."""
    pair, secret = opened(push_sat=1_000_000)
    payer, payee = payer_of(pair), payee_of(pair)
    other = secret_book(pair, book_terms(locks=3), seed=b"other")
    propose_book(pair, other.book)
    pair.settle()
    payer_before, payee_before = balances(pair)
    price = lsf_sat(pair, other, settled=0)
    freed = lsf_sat(pair, secret, settled=0)
    add_htlc(payee, 1, amount_msat=30_000_001)
    add_htlc(payer, 2, amount_msat=20_000_003)
    payer.run(channel_of(payer).update_fee(1_200))
    if what == "settle":
        say_settle(pair, secret, 1, 2)
        paid, freed = 2_000_000, freed - lsf_sat(pair, secret, settled=2)
    else:
        say_close(pair, secret, (1, 8), (2, 5))
        paid = 13 * 125_000
    say_open(pair, other.book)
    pair.settle()
    for node in (payer, payee):
        node.run(channel_of(node).commit())
    pair.settle()
    pair.check_mirrored()
    payer_after, payee_after = balances(pair)
    assert payee_after == payee_before + paid - 30_000_001
    assert payer_after == payer_before + freed * 1_000 - paid - price * 1_000 - 20_000_003
    expected = [secret.book, other.book] if what == "settle" else [other.book]
    for node in (payer, payee):
        assert list(usable_books(channel_of(node))) == expected


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("break_after", range(9))
@pytest.mark.parametrize("what", ["settle", "close"])
def test_a_disconnection_at_any_point_repeats_the_same_update(
    what: str, break_after: int, restart: bool
) -> None:
    pair, secret = opened()
    payee_before = balances(pair)[1]
    payee = payee_of(pair)
    if what == "settle":
        say_settle(pair, secret, 1, 2)
    else:
        say_close(pair, secret, (1, 8), (2, 8))
    (said,) = [m for m in payee.sent if isinstance(m, LsfSettle | LsfClose)]
    for _ in range(break_after):
        speaker = next((node for node in (pair.fundee, pair.funder) if node.sent), None)
        if speaker is not None:
            pair.deliver(speaker)
    pair.disconnect()
    for node in (pair.funder, pair.fundee):
        if restart:
            node.restart()
    pair.reconnect()
    repeated = []
    while pair.funder.sent or pair.fundee.sent:
        for node in (pair.funder, pair.fundee):
            message = pair.deliver(node)
            if isinstance(message, LsfSettle | LsfClose):
                repeated.append(message)
    assert repeated in ([], [said])
    for node in (pair.funder, pair.fundee):
        node.run(channel_of(node).commit())
    pair.settle()
    pair.check_mirrored()
    assert balances(pair)[1] - payee_before == 2_000_000
    event = BookSettled if what == "settle" else BookClosed
    for node in (pair.funder, pair.fundee):
        assert len(node.take(event)) == 1


def test_a_payee_that_pays_the_fees_can_always_settle_and_close() -> None:
    """Also when the payer's HTLCs have eaten up its reserve."""
    pair = open_lsf_pair(funder=Party.PAYEE, funding_sat=1_000_000, push_sat=900_000)
    secret = secret_book(pair)
    open_book(pair, secret)
    payee, payer = payee_of(pair), payer_of(pair)
    payee.run(channel_of(payee).update_fee(60_000))
    payee.run(channel_of(payee).commit())
    pair.settle()
    for n in range(2):
        add_htlc(payer, n)
        payer.run(channel_of(payer).commit())
        pair.settle()
    config, base = channel_of(payee).state.config, channel_of(payee).state.base
    fee = 60 * (1_124 + 172 * 3) + 660
    assert base.holder_msat // 1_000 - fee < config.counterparty.channel_reserve_sat
    say_settle(pair, secret, 1)
    pair.settle()
    say_close(pair, secret, (1, 1))
    pair.settle()
    pair.check_mirrored()
    assert closed_books(channel_of(payer)) == {secret.book.book_id: 1}


# --- the end of the channel -----------------------------------------------------------------


@pytest.mark.parametrize("payee_begins", [True, False])
def test_a_channel_closes_once_its_last_book_is_closed(payee_begins: bool) -> None:
    pair, secret = opened()
    second = secret_book(pair, book_terms(chain_length=8), seed=b"second")
    open_book(pair, second)
    beginner = payee_of(pair) if payee_begins else payer_of(pair)
    beginner.run(channel_of(beginner).shutdown())
    assert {name.split()[1] for name in pair.settle()} == {"Shutdown"}
    say_settle(pair, second, 1)
    pair.settle()
    say_close(pair, secret, (1, 4))
    assert "ClosingSigned" not in {name.split()[1] for name in pair.settle()}
    say_close(pair, second, (1, 8), (2, 1))
    said = pair.settle()
    assert said[-1].split()[1] == "ClosingSigned"
    for node in (pair.funder, pair.fundee):
        assert channel_of(node).state.phase is Phase.CLOSED
        (closed,) = node.take(ChannelClosed)
        assert closed.tx == pair.funder.take(ChannelClosed)[0].tx
        assert len(node.take(BookUsable)) == 2
    (tx,) = {event.tx for event in pair.fundee.take(ChannelClosed)}
    assert 100_000 + (4 + 9) * 125 in [output.value for output in tx.outputs]


def test_a_payee_that_was_restarted_closes_its_books_after_shutdown() -> None:
    pair, secret = opened()
    payer_of(pair).run(channel_of(payer_of(pair)).shutdown())
    pair.settle()
    pair.disconnect()
    payee_of(pair).restart()
    pair.reconnect()
    pair.settle()
    say_close(pair, secret, (1, 4))
    pair.settle()
    assert channel_of(payer_of(pair)).state.phase is Phase.CLOSED

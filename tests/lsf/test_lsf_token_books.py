"""Books in tokens in a channel: what they take and give back, and what commitments prove."""

from dataclasses import replace

import pytest

from channel_pair import Node
from colour_pair import ColouredPair
from lightspeed.channel import ChannelRefusal, ChannelViolation
from lightspeed.lsf import (
    BookAccepted,
    BookClosed,
    BookRejected,
    BookSettled,
    BookUsable,
    LsfKey,
    LsfOpen,
    LsfPropose,
    LsfReject,
    Party,
    PayeeLimits,
    RejectReason,
)
from lightspeed.lsf.children import children
from lightspeed.lsf.collect import lock_messages
from lightspeed.payment import Scheme, SecretBook
from lsf_pair import (
    channel_of,
    open_book,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    say_close,
    say_settle,
    secret_book,
)
from lsf_token_pair import check_proved, open_token_pair, terms_of
from lsf_world import book_terms, token_terms
from payment_books import with_garbage

SCHEMES = pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])


def opened(scheme: Scheme, **options: object) -> tuple[ColouredPair, SecretBook]:
    coloured = open_token_pair(**options)  # type: ignore[arg-type]
    secret = secret_book(coloured.pair, terms_of(coloured, scheme=scheme, chain_length=8))
    open_book(coloured.pair, secret)
    return coloured, secret


def money(coloured: ColouredPair) -> tuple[int, int]:
    """The payer's and the payee's msat, as the payee sees them."""
    base = channel_of(payee_of(coloured.pair)).state.base
    return base.counterparty_msat, base.holder_msat


def held_sat(coloured: ColouredPair, secret: SecretBook) -> int:
    frozen = channel_of(coloured.funder).holder_commitment().frozen
    return frozen.output(LsfKey(secret.book.book_id)).value


def test_a_channel_holds_no_more_seals_than_its_payee_allows() -> None:
    """All of them are kept, and hashed for every commitment: sixteen full books are 340 MB."""
    coloured = open_token_pair(limits=PayeeLimits(max_seals=12))
    pair = coloured.pair
    first = secret_book(pair, terms_of(coloured, scheme=Scheme.SEALS, locks=8))
    open_book(pair, first)
    fifth = terms_of(coloured, scheme=Scheme.SEALS, locks=5)
    book = secret_book(pair, fifth, seed=b"2").book
    with pytest.raises(ChannelRefusal, match="13 seals in the channel, at most 12"):
        propose_book(pair, book)
    payee = payee_of(pair)
    propose = LsfPropose(
        channel_id=book.channel_id, book_id=book.book_id, terms=book.terms.to_bytes()
    )
    for message in (propose, *lock_messages(book)):
        payee.run(channel_of(payee).receive(message))
    answer = payee.sent.popleft()
    assert isinstance(answer, LsfReject)
    assert answer.reason == RejectReason.POLICY
    open_book(pair, secret_book(pair, replace(fifth, locks=4), seed=b"3"))
    say_close(pair, first)
    pair.settle()
    open_book(pair, secret_book(pair, fifth, seed=b"4"))


@SCHEMES
@pytest.mark.parametrize("pushed", [0, 300])
def test_a_book_takes_settles_and_gives_back_tokens_to_the_unit(
    scheme: Scheme, pushed: int
) -> None:
    coloured = open_token_pair(pushed=pushed)
    payer_msat, payee_msat = money(coloured)
    secret = secret_book(coloured.pair, terms_of(coloured, scheme=scheme, chain_length=8))
    book_id = secret.book.book_id
    open_book(coloured.pair, secret)
    assert coloured.tokens() == (100_000 - pushed - 5_000, pushed)
    assert money(coloured) == (payer_msat - held_sat(coloured, secret) * 1_000, payee_msat)
    check_proved(coloured)

    say_settle(coloured.pair, secret, 1, 2)
    coloured.pair.settle()
    assert coloured.tokens() == (100_000 - pushed - 5_000, pushed + 2_000)
    assert money(coloured) == (payer_msat - held_sat(coloured, secret) * 1_000, payee_msat)
    check_proved(coloured)

    parts = ((3, 8), (4, 5)) if scheme is Scheme.LADDER else ((3, 8), (4, 5), (5, 1))
    say_close(coloured.pair, secret, *parts)
    coloured.pair.settle()
    paid = 3_000 + (5 if scheme is Scheme.LADDER else 6) * 125
    assert coloured.tokens() == (100_000 - pushed - paid, pushed + paid)
    assert money(coloured) == (payer_msat, payee_msat)
    check_proved(coloured)
    for node in (coloured.funder, coloured.fundee):
        assert node.take(BookUsable) == [BookUsable(secret.book)]
        assert node.take(BookSettled) == [BookSettled(book_id, 2)]
        assert node.take(BookClosed) == [BookClosed(book_id, paid // 125)]


@SCHEMES
def test_a_payee_that_opened_the_channel_sold_the_tokens_first(scheme: Scheme) -> None:
    coloured, secret = opened(scheme, funder=Party.PAYEE, pushed=6_000)
    assert coloured.tokens() == (94_000, 1_000)
    check_proved(coloured)
    say_close(coloured.pair, secret, (1, 8))
    coloured.pair.settle()
    assert coloured.tokens() == (95_000, 5_000)
    check_proved(coloured)


def test_books_in_tokens_and_in_sats_stand_beside_each_other() -> None:
    coloured, seals = opened(Scheme.SEALS)
    others = [
        secret_book(coloured.pair, terms, seed=bytes([number]))
        for number, terms in enumerate(
            (
                terms_of(coloured, scheme=Scheme.LADDER),
                book_terms(),
                book_terms(scheme=Scheme.LADDER),
            )
        )
    ]
    for secret in others:
        open_book(coloured.pair, secret)
        check_proved(coloured)
    say_settle(coloured.pair, others[0], 3)
    coloured.pair.settle()
    say_settle(coloured.pair, others[1], 1)
    coloured.pair.settle()
    check_proved(coloured)
    assert coloured.tokens() == (90_000, 3_000)
    say_close(coloured.pair, seals)
    coloured.pair.settle()
    check_proved(coloured)
    assert coloured.tokens() == (95_000, 3_000)


@SCHEMES
def test_fee_rate_and_trades_change_commitments_under_a_book(scheme: Scheme) -> None:
    coloured, secret = opened(scheme)
    payer = payer_of(coloured.pair)
    payer.run(channel_of(payer).update_fee(2_000))
    payer.run(channel_of(payer).commit())
    coloured.pair.settle()
    check_proved(coloured)
    coloured.trade(payee_of(coloured.pair), 50, 1_000)
    check_proved(coloured)
    say_settle(coloured.pair, secret, 1)
    coloured.pair.settle()
    check_proved(coloured)
    assert coloured.tokens() == (95_000 - 50, 1_050)


@SCHEMES
def test_restarted_channels_build_the_same_commitments_and_children(scheme: Scheme) -> None:
    coloured, secret = opened(scheme)
    say_settle(coloured.pair, secret, 1)
    coloured.pair.settle()

    def built(node: Node) -> object:
        commitment = channel_of(node).holder_commitment()
        state = channel_of(node).state.extension_states["lsf"]
        content = commitment.sheet.extensions["lsf"]
        return commitment.frozen, children(state, content, commitment.context, commitment.frozen)

    for node in (coloured.funder, coloured.fundee):
        before = built(node)
        node.restart()
        assert built(node) == before
    coloured.pair.disconnect()
    coloured.pair.reconnect()
    coloured.pair.settle()
    say_settle(coloured.pair, secret, 1, 2)
    coloured.pair.settle()
    check_proved(coloured)


def test_a_garbage_lock_settles_by_its_secret() -> None:
    coloured = open_token_pair()
    secret = with_garbage(secret_book(coloured.pair, terms_of(coloured)), 1, 2)
    open_book(coloured.pair, secret)
    say_settle(coloured.pair, secret, 1)
    coloured.pair.settle()
    say_close(coloured.pair, secret, (2, 1), (3, 1))
    coloured.pair.settle()
    assert coloured.tokens() == (97_000, 3_000)
    check_proved(coloured)


# --- what is refused ------------------------------------------------------------------------


@SCHEMES
def test_a_book_needs_the_payers_tokens(scheme: Scheme) -> None:
    coloured = open_token_pair(tokens=5_000, pushed=1)
    secret = secret_book(coloured.pair, terms_of(coloured, scheme=scheme))
    propose_book(coloured.pair, secret.book)
    coloured.pair.settle()
    payer, payee = payer_of(coloured.pair), payee_of(coloured.pair)
    assert payer.take(BookAccepted)
    update = LsfOpen(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    with pytest.raises(ChannelRefusal, match="tokens do not cover"):
        channel_of(payer).propose(update)
    with pytest.raises(ChannelViolation, match="tokens do not cover"):
        channel_of(payee).receive(update)


@SCHEMES
def test_tokens_of_another_contract_are_not_proposed_and_not_accepted(scheme: Scheme) -> None:
    for pair in (open_token_pair().pair, open_lsf_pair()):
        book = secret_book(pair, token_terms(scheme=scheme)).book
        with pytest.raises(ChannelRefusal, match="no tokens of the book's contract"):
            propose_book(pair, book)


def test_payee_refuses_tokens_of_another_contract() -> None:
    coloured = open_token_pair()
    honest = secret_book(coloured.pair, terms_of(coloured)).book
    foreign = replace(honest, terms=replace(honest.terms, asset=bytes(32)))
    propose = LsfPropose(
        channel_id=honest.channel_id, book_id=foreign.book_id, terms=foreign.terms.to_bytes()
    )
    payee = payee_of(coloured.pair)
    payee.run(channel_of(payee).receive(propose))
    (answer,) = payee.sent
    assert isinstance(answer, LsfReject)
    assert answer.reason == RejectReason.TERMS
    assert b"no tokens of the book's contract" in answer.text


@pytest.mark.parametrize(("allowed", "accepted"), [(65 * 1_000, True), (65 * 1_000 - 1, False)])
def test_payee_bounds_what_it_may_lose_in_tokens(allowed: int, accepted: bool) -> None:
    coloured = open_token_pair(max_exposure_tokens=allowed)
    secret = secret_book(coloured.pair, terms_of(coloured, locks=70))
    propose_book(coloured.pair, secret.book)
    coloured.pair.settle()
    payer = payer_of(coloured.pair)
    if accepted:
        assert payer.take(BookAccepted)
        sats = secret_book(coloured.pair, book_terms(), seed=b"2")
        propose_book(coloured.pair, sats.book)
        coloured.pair.settle()
        assert len(payer.take(BookAccepted)) == 2  # sats are counted apart
    else:
        (rejected,) = payer.take(BookRejected)
        assert rejected.reason == RejectReason.POLICY
        assert "65000 tokens could be served without being enforced" in rejected.text


def test_payee_that_says_nothing_of_tokens_takes_no_book_in_them() -> None:
    coloured = open_token_pair(max_exposure_tokens=0)
    propose_book(coloured.pair, secret_book(coloured.pair, terms_of(coloured)).book)
    coloured.pair.settle()
    assert payer_of(coloured.pair).take(BookRejected)


def test_books_in_tokens_have_no_late_children() -> None:
    coloured, _ = opened(Scheme.SEALS, limits=PayeeLimits(late_children=True))
    ladder = secret_book(coloured.pair, terms_of(coloured, scheme=Scheme.LADDER), seed=b"2")
    open_book(coloured.pair, ladder)
    sats = secret_book(coloured.pair, book_terms(), seed=b"3")
    open_book(coloured.pair, sats)
    check_proved(coloured)
    commitment = channel_of(coloured.funder).holder_commitment()
    state = channel_of(coloured.funder).state.extension_states["lsf"]
    content = commitment.sheet.extensions["lsf"]
    made = children(state, content, commitment.context, commitment.frozen)
    late = [child for child in made if child.tx.inputs[0].sequence != 1]
    assert len(made) == 1 + 5 + 2
    assert [child.key for child in late] == [LsfKey(sats.book.book_id)]

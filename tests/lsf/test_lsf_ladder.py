"""Ladder books in a channel: what is signed, kept, settled and closed."""

from dataclasses import replace

import pytest

from channel_pair import Pair
from lightspeed.channel import CHILD_SIGNATURES_TABLE, ChannelRefusal, ChannelViolation, StateError
from lightspeed.lsf import (
    MAX_CHANNEL_RUNGS,
    BookClosed,
    BookSettled,
    LsfClose,
    LsfReject,
    LsfSettle,
    LsfSignatures,
    PayeeLimits,
    RejectReason,
    next_close,
    next_settle,
    settled_locks,
    usable_books,
)
from lightspeed.lsf.collect import lock_messages
from lightspeed.lsf.messages import LsfPropose
from lightspeed.payment import BookTerms, Scheme, SecretBook
from lsf_pair import (
    channel_of,
    elements_of,
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


def ladder_terms(**changes: object) -> BookTerms:
    values = {"scheme": Scheme.LADDER, "chain_length": 8}
    return book_terms(**(values | changes))  # type: ignore[arg-type]


def opened(terms: BookTerms | None = None, **options: object) -> tuple[Pair, SecretBook]:
    """A channel with one usable ladder: 5 locks of 8 units, 125 sat each."""
    pair = open_lsf_pair(**options)  # type: ignore[arg-type]
    secret = secret_book(pair, terms or ladder_terms())
    open_book(pair, secret)
    return pair, secret


def balances(pair: Pair) -> tuple[int, int]:
    """The payer's and the payee's, in msat, as the payee sees them."""
    base = channel_of(payee_of(pair)).state.base
    return base.counterparty_msat, base.holder_msat


# --- signatures -----------------------------------------------------------------------------


def test_the_payee_holds_a_signature_for_every_rung_of_both_commitments() -> None:
    pair, secret = opened(ladder_terms(locks=127))
    payee = channel_of(payee_of(pair))
    kept = [
        payee.state.holder_commitment.child_signatures["lsf"],
        payee.state.counterparty_commitments[0].child_signatures["lsf"],
    ]
    assert [len(each) for each in kept] == [127 * 64] * 2
    assert usable_books(payee) == (secret.book,)
    assert not channel_of(payer_of(pair)).state.holder_commitment.child_signatures


def test_signatures_stand_beside_the_channels_record_until_they_are_revoked() -> None:
    pair, secret = opened(ladder_terms(locks=127))
    payee = payee_of(pair)

    def records() -> list[bytes]:
        found = [value for (table, _), value in payee.store.items() if "signatures" in table]
        return sorted(found)

    assert [len(record) for record in records()] == [127 * 64] * 2
    assert len(payee.store["channel", channel_of(payee).channel_id]) < 10_000
    before = records()
    say_settle(pair, secret, 7)
    pair.settle()
    assert [len(record) for record in records()] == [120 * 64] * 2
    assert not set(before) & set(records())
    kept = channel_of(payee).state.holder_commitment.child_signatures
    payee.restart()
    assert channel_of(payee).state.holder_commitment.child_signatures == kept


def test_no_signatures_are_kept_once_the_last_book_is_closed() -> None:
    pair, secret = opened()
    say_close(pair, secret)
    pair.settle()
    tables = [table for table, _ in payee_of(pair).store]
    assert CHILD_SIGNATURES_TABLE not in tables


def test_a_lost_record_of_signatures_is_said() -> None:
    pair, _ = opened()
    payee = payee_of(pair)
    for key in [key for key in payee.store if key[0] == CHILD_SIGNATURES_TABLE]:
        del payee.store[key]
    with pytest.raises(StateError, match="child signatures of commitment 1 are missing"):
        payee.restart()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("bad", [0, 1, 3, 4])
def test_one_wrong_signature_among_the_rungs_is_one_too_many(bad: int, asked: bool) -> None:
    """Before the payee revokes its own commitment, and before it signs the payer's."""
    pair = open_lsf_pair()
    secret = secret_book(pair, ladder_terms())
    propose_book(pair, secret.book)
    pair.settle()
    say_open(pair, secret.book)
    payer, payee = payer_of(pair), payee_of(pair)
    seen = 0
    while True:
        if payer.sent and isinstance(payer.sent[0], LsfSignatures):
            if seen == asked:
                break
            seen += 1
        pair.deliver(next(node for node in (payer, payee) if node.sent))
    message = payer.sent.popleft()
    assert isinstance(message, LsfSignatures)
    signatures = list(message.signatures)
    signatures[bad] = signatures[(bad + 1) % 5]
    payer.sent.appendleft(replace(message, signatures=tuple(signatures)))
    signed = [c.number for c in channel_of(payee).state.counterparty_commitments]
    with pytest.raises(ChannelViolation, match="is wrong"):
        pair.settle()
    assert [c.number for c in channel_of(payee).state.counterparty_commitments] == signed


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_signature_for_every_rung_and_no_more(count: int) -> None:
    pair = open_lsf_pair()
    secret = secret_book(pair, ladder_terms())
    propose_book(pair, secret.book)
    pair.settle()
    say_open(pair, secret.book)
    payer = payer_of(pair)
    lsf_open, message, signed = payer.sent
    assert isinstance(message, LsfSignatures)
    signatures = (message.signatures * 2)[:count]
    payer.sent.clear()
    payer.sent.append(lsf_open)
    if signatures:
        payer.sent.append(replace(message, total=count, signatures=signatures))
    payer.sent.append(signed)
    with pytest.raises(ChannelViolation, match=r"for 5 children|are missing"):
        pair.settle()


def test_a_thousand_rungs_on_request() -> None:
    limits = PayeeLimits(max_rungs=1_000)
    pair, secret = opened(
        ladder_terms(locks=1_000, chain_length=1, refund_delay_blocks=200), limits=limits
    )
    payee = channel_of(payee_of(pair))
    assert len(payee.state.holder_commitment.child_signatures["lsf"]) == 64_000
    say_close(pair, secret, (999, 1))
    pair.settle()
    assert payee_of(pair).take(BookClosed) == [BookClosed(secret.book.book_id, 999)]


# --- limits ---------------------------------------------------------------------------------


def test_rungs_are_limited_per_book_and_per_channel() -> None:
    pair = open_lsf_pair(limits=PayeeLimits(max_rungs=8, max_channel_rungs=12))
    with pytest.raises(ChannelRefusal, match="9 locks, at most 8"):
        propose_book(pair, secret_book(pair, ladder_terms(locks=9)).book)
    first = secret_book(pair, ladder_terms(locks=8))
    open_book(pair, first)
    fifth = ladder_terms(locks=5)
    with pytest.raises(ChannelRefusal, match="13 rungs in the channel, at most 12"):
        propose_book(pair, secret_book(pair, fifth, seed=b"2").book)
    open_book(pair, secret_book(pair, book_terms(locks=100), seed=b"outputs has no rungs"))
    open_book(pair, secret_book(pair, ladder_terms(locks=4), seed=b"3"))
    say_close(pair, first)
    pair.settle()
    open_book(pair, secret_book(pair, fifth, seed=b"4"))
    assert len(usable_books(channel_of(pair.fundee))) == 3


def test_the_payee_refuses_too_many_rungs_whatever_the_payer_thinks() -> None:
    pair = open_lsf_pair(limits=PayeeLimits(max_rungs=8, max_channel_rungs=12))
    open_book(pair, secret_book(pair, ladder_terms(locks=8)))
    payee = payee_of(pair)
    for locks, reason in ((9, RejectReason.TERMS), (5, RejectReason.POLICY)):
        book = secret_book(pair, ladder_terms(locks=locks), seed=b"more").book
        propose = LsfPropose(
            channel_id=book.channel_id, book_id=book.book_id, terms=book.terms.to_bytes()
        )
        for message in (propose, *lock_messages(book)):
            payee.run(channel_of(payee).receive(message))
        answer = payee.sent.popleft()
        assert isinstance(answer, LsfReject)
        assert answer.reason == reason


@pytest.mark.parametrize(
    ("rungs", "channel"), [(-1, 10), (11, 10), (10, MAX_CHANNEL_RUNGS + 1), (1_001, 1_001)]
)
def test_no_operator_allows_more_rungs_than_the_protocol(rungs: int, channel: int) -> None:
    with pytest.raises(ValueError, match="at most 1000 rungs"):
        PayeeLimits(max_rungs=rungs, max_channel_rungs=channel)


def test_what_a_claim_costs_is_no_matter_and_literal_claims_do_not_exist() -> None:
    pair = open_lsf_pair(claim_feerate=5_000)
    open_book(pair, secret_book(pair, ladder_terms(lock_amount=330, chain_length=1)))
    with pytest.raises(ChannelRefusal, match="329 is not from 330"):
        propose_book(pair, secret_book(pair, ladder_terms(lock_amount=329, chain_length=1)).book)
    with pytest.raises(ChannelRefusal, match="without a signature"):
        propose_book(pair, secret_book(pair, ladder_terms(literal=True)).book)


# --- settling and closing -------------------------------------------------------------------


def test_the_last_secret_settles_all_locks_before_it() -> None:
    pair, secret = opened()
    payer_before, payee_before = balances(pair)
    say_settle(pair, secret, 3)  # locks 1 and 2 were never completed: they count as paid
    (settle, *_) = payee_of(pair).sent
    assert isinstance(settle, LsfSettle)
    assert (settle.first_lock, settle.last_lock, len(settle.secrets)) == (1, 3, 1)
    pair.settle()
    pair.check_mirrored()
    payer_after, payee_after = balances(pair)
    book = channel_of(pair.fundee).state.extension_states["lsf"].books[secret.book.book_id]
    freed = book.amount_sat(settled=0) - book.amount_sat(settled=3)
    assert payee_after - payee_before == 3_000_000
    assert payer_after - payer_before == (freed - 3_000) * 1_000 >= 0
    for node in (pair.funder, pair.fundee):
        assert node.take(BookSettled) == [BookSettled(secret.book.book_id, 3)]
        assert settled_locks(channel_of(node)) == {secret.book.book_id: 3}


def test_the_highest_completed_lock_is_settled_but_for_the_last() -> None:
    pair, secret = opened()
    payee, book_id = channel_of(payee_of(pair)), secret.book.book_id
    secrets = {lock: secret.lock_secret(lock) for lock in (1, 4, 5)}
    update = next_settle(payee, book_id, secrets)
    assert update is not None
    assert (update.last_lock, update.secrets) == (4, (secrets[4],))
    assert next_settle(payee, book_id, {5: secrets[5]}) is None
    assert next_settle(payee, book_id, {}) is None


@pytest.mark.parametrize(
    ("settled", "parts", "units"),
    [
        ((), [], 0),
        ((), [(1, 3)], 3),
        ((), [(1, 8), (2, 3)], 11),
        ((), [(1, 2), (3, 8), (4, 1)], 25),
        ((2,), [(1, 2), (3, 8), (4, 1)], 25),
        ((3,), [(3, 8), (4, 1)], 25),
        ((3,), [(3, 8)], 24),
        ((), [(5, 8)], 40),
        ((), [(1, 7), (2, 6), (3, 5)], 18),
    ],
)
def test_a_close_counts_all_units_up_to_the_highest_completed_lock(
    settled: tuple[int, ...], parts: list[tuple[int, int]], units: int
) -> None:
    pair, secret = opened()
    _, payee_before = balances(pair)
    if settled:
        say_settle(pair, secret, *settled)
        pair.settle()
    say_close(pair, secret, *parts)
    pair.settle()
    pair.check_mirrored()
    payer_after, payee_after = balances(pair)
    assert payee_after - payee_before == units * 125_000
    assert payer_after + payee_after == 5_000_000_000
    for node in (pair.funder, pair.fundee):
        assert node.take(BookClosed) == [BookClosed(secret.book.book_id, units)]


def test_a_ladder_is_settled_and_closed_by_its_own_proofs_only() -> None:
    pair, secret = opened()
    book_id, channel_id = secret.book.book_id, secret.book.channel_id
    one = {"channel_id": channel_id, "book_id": book_id, "first_lock": 1}
    wrong = [
        LsfSettle(**one, last_lock=2, secrets=(secret.lock_secret(1), secret.lock_secret(2))),
        LsfSettle(**one, last_lock=3, secrets=(secret.lock_secret(2),)),
        LsfSettle(**one, last_lock=3, secrets=()),
        LsfSettle(**one, last_lock=5, secrets=(secret.lock_secret(5),)),
        LsfClose(**one, elements=elements_of(secret, (1, 8), (2, 8))),
        LsfClose(**one, elements=elements_of(secret, (1, 3), (2, 8))),
    ]
    for message in wrong:
        with pytest.raises(ChannelViolation):
            channel_of(payer_of(pair)).receive(message)
    fine = next_close(channel_of(payee_of(pair)), book_id, elements_of(secret, (1, 8), (2, 8)))
    assert isinstance(fine, LsfClose)
    assert [element.lock for element in fine.elements] == [2]

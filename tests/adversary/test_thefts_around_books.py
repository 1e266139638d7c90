"""Thefts around books: proposals, child signatures, fees.

Each scenario is named after the attack. The victim refuses with a `ChannelViolation` and is as
it was, or goes on and holds everything that it needs to take what it is owed.
"""

from dataclasses import replace
from typing import Any

import pytest

from channel_pair import Node, Pair
from lightspeed.bitcoin import sha256
from lightspeed.channel import (
    Channel,
    ChannelRefusal,
    ChannelViolation,
)
from lightspeed.lsf import (
    LsfKey,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    LsfSignatures,
    LsfSignRequest,
    Party,
    RejectReason,
    accepted_books,
    usable_books,
)
from lightspeed.wire import (
    CommitmentSigned,
    RevokeAndAck,
    UpdateFee,
)
from lsf_pair import (
    channel_of,
    open_book,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    say_open,
    secret_book,
)
from lsf_world import book_terms
from theft_talk import (
    can_close_alone,
    check_payee_holds_signatures,
    commit,
    offer,
    refuses,
    take,
)

# --- proposals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"locks": 2_323},
        {"locks": 1 << 24},
        {"lock_amount": 329},
        {"lock_amount": 2**64 - 1},
        {"chain_length": 1, "window": 1 << 20},
        {"chain_length": 1_000, "window": 4_097},
        {"origins": ("https://somebody.else",)},
        {"asset": bytes(32)},
        {"settlement": b""},
        {"settlement": bytes(8)},
        {"settlement": bytes(65_000)},
        {"lock_amount": 100_000, "locks": 2, "window": 1},  # 2 units of 100,000 sat
    ],
    ids=str,
)
def test_proposal_with_absurd_terms(changes: dict[str, Any]) -> None:
    """Refused before a single lock is taken; nothing is kept but the refusal."""
    pair = open_lsf_pair()
    payee = payee_of(pair)
    terms = replace(book_terms(), **changes)
    propose = LsfPropose(
        channel_id=channel_of(payee).channel_id, book_id=bytes(16), terms=terms.to_bytes()
    )
    payee.run(channel_of(payee).receive(propose))
    (rejection,) = payee.sent
    assert isinstance(rejection, LsfReject)
    assert channel_of(payee).state.extension_states["lsf"].locks is None
    assert not any(table == "lsf-book" for table, _ in payee.store)


@pytest.mark.parametrize("data", [b"", b"\x01", bytes(100), b"\xff" * 65_000], ids=len)
def test_proposal_with_terms_that_do_not_parse(data: bytes) -> None:
    pair = open_lsf_pair()
    payee = payee_of(pair)
    propose = LsfPropose(channel_id=channel_of(payee).channel_id, book_id=bytes(16), terms=data)
    payee.run(channel_of(payee).receive(propose))
    assert isinstance(payee.sent[0], LsfReject)


def test_more_exposure_by_many_small_books() -> None:
    """What the payee may lose is counted per channel, not per book."""
    pair = open_lsf_pair(max_exposure_sat=25_000)
    for number in range(5):
        book = secret_book(pair, book_terms(locks=5, lock_amount=2_000), seed=bytes([number])).book
        propose_book(pair, book)
        pair.settle()
        if book in accepted_books(channel_of(payer_of(pair))):
            say_open(pair, book)
            pair.settle()
    # 10,000 sat each: all 5 locks lie within c + window.
    assert len(usable_books(channel_of(payee_of(pair)))) == 2


@pytest.mark.parametrize(
    ("first_lock", "size", "problem"),
    [
        (1, 64, "lock 1 after 2 locks"),  # overlapping
        (4, 64, "lock 4 after 2 locks"),  # a gap
        (0, 64, "lock 0 after 2 locks"),
        (3, 0, "whole locks"),
        (3, 65, "whole locks"),
        (3, 128, "more locks than the 5"),
        (2**32 - 1, 64, "after 2 locks"),
    ],
)
def test_overlapping_chunks_of_locks(first_lock: int, size: int, problem: str) -> None:
    pair = open_lsf_pair()
    payee = payee_of(pair)
    book = secret_book(pair).book
    ids = {"channel_id": book.channel_id, "book_id": book.book_id}
    payee.run(channel_of(payee).receive(LsfPropose(**ids, terms=book.terms.to_bytes())))
    payee.run(channel_of(payee).receive(LsfLocks(**ids, first_lock=1, data=book.lock_hashes[:64])))
    refuses(payee, LsfLocks(**ids, first_lock=first_lock, data=bytes(size)), problem)
    refuses(payee, LsfPropose(**ids, terms=book.terms.to_bytes()), "second proposal")
    other = {**ids, "book_id": bytes(16)}
    refuses(payee, LsfLocks(**other, first_lock=3, data=bytes(64)), "another book")


def test_locks_that_are_not_those_of_the_id() -> None:
    """A payer cannot make the payee hold other locks than the book id commits to."""
    pair = open_lsf_pair()
    payee = payee_of(pair)
    book = secret_book(pair).book
    ids = {"channel_id": book.channel_id, "book_id": book.book_id}
    payee.run(channel_of(payee).receive(LsfPropose(**ids, terms=book.terms.to_bytes())))
    garbage = sha256(b"x") + book.lock_hashes[32:]
    payee.run(channel_of(payee).receive(LsfLocks(**ids, first_lock=1, data=garbage)))
    (rejection,) = payee.sent
    assert isinstance(rejection, LsfReject)
    assert rejection.reason == RejectReason.BOOK_ID
    assert accepted_books(channel_of(payee)) == ()


def test_replayed_lsf_open() -> None:
    """In the same turn, once it is open, and in a new connection."""
    pair = open_lsf_pair()
    secret = secret_book(pair)
    propose_book(pair, secret.book)
    pair.settle()
    payee = payee_of(pair)
    replay = LsfOpen(channel_id=secret.book.channel_id, book_id=secret.book.book_id)
    say_open(pair, secret.book)
    pair.deliver(payer_of(pair))
    refuses(payee, replay, "is open")
    pair.settle()
    refuses(payee, replay, "is open")
    pair.disconnect()
    payee.restart()
    pair.reconnect()
    pair.settle()
    refuses(payee, replay, "is open")
    assert usable_books(channel_of(payee)) == (secret.book,)


# --- child signatures -----------------------------------------------------------------------


def opening(**options: Any) -> tuple[Pair, Node, Node]:
    """A pair, payer and payee; lsf_open is said and not delivered."""
    pair = open_lsf_pair(**options)
    secret = secret_book(pair)
    propose_book(pair, secret.book)
    pair.settle()
    say_open(pair, secret.book)
    return pair, payer_of(pair), payee_of(pair)


def with_question(pair: Pair, payee: Node) -> LsfSignRequest:
    """Deliver until the payee asks; its question is taken off the queue."""
    while not any(isinstance(message, LsfSignRequest) for message in payee.sent):
        for node in (pair.funder, pair.fundee):
            if node.sent and not isinstance(node.sent[0], LsfSignRequest):
                pair.deliver(node)
    message = take(payee, LsfSignRequest)
    assert isinstance(message, LsfSignRequest)
    return message


def test_payer_never_sends_lsf_signatures_before_commitment_signed() -> None:
    pair, payer, payee = opening()
    pair.deliver(payer)
    signed = take(payer, CommitmentSigned)
    refuses(payee, signed, "missing")
    assert channel_of(payee).holder_commitment().sheet.extensions["lsf"].books == ()
    assert can_close_alone(payee)


def test_withheld_answer() -> None:
    """The payee signs nothing, serves nothing, and can still close with what it has."""
    pair, payer, payee = opening()
    with_question(pair, payee)
    offer(payer, 1)
    commit(payer)
    pair.settle()
    state = channel_of(payee).state
    assert [c.number for c in state.counterparty_commitments] == [0]
    assert usable_books(channel_of(payee)) == ()
    assert not payee.sent
    check_payee_holds_signatures(pair)
    assert can_close_alone(payee)


def test_answer_of_a_voided_question_said_again_in_the_next_connection() -> None:
    """The payee has another update by then, so the old signatures are for another commitment."""
    pair, payer, payee = opening(push_sat=1_000_000)
    question = with_question(pair, payee)
    payer.run(channel_of(payer).receive(question))
    stale = take(payer, LsfSignatures)
    offer(payee, 7)  # held back until the question is answered
    assert not payee.sent
    pair.disconnect()
    pair.reconnect()
    assert with_question(pair, payee) != question
    refuses(payee, stale, "a signature for a child is wrong")
    assert [c.number for c in channel_of(payee).state.counterparty_commitments] == [0]


def test_signatures_said_before_they_are_asked_for() -> None:
    """For a number that is not next: the question that follows is not answered by them."""
    pair, _, payee = opening()
    early = LsfSignatures(
        channel_id=channel_of(payee).channel_id,
        commitment_number=1,
        whose=Party.PAYER,
        first=0,
        total=1,
        signatures=(b"\x07" * 64,),
    )
    payee.run(channel_of(payee).receive(early))
    with_question(pair, payee)
    refuses(payee, early, "signature 0 after 1")
    assert [c.number for c in channel_of(payee).state.counterparty_commitments] == [0]


def test_question_before_the_revoke_and_ack_that_it_presumes() -> None:
    """A thieving payee asks as if it had revoked: the payer does not know that commitment."""
    pair, payer, payee = opening()
    while payer.sent:
        pair.deliver(payer)
    revocation, question = take(payee, RevokeAndAck), take(payee, LsfSignRequest)
    assert not payee.sent
    refuses(payer, question, "another commitment than ours")
    payer.run(channel_of(payer).receive(revocation))
    payer.run(channel_of(payer).receive(question))
    assert isinstance(payer.sent[0], LsfSignatures)


@pytest.mark.parametrize("again", ["same", "next", "other txid"])
def test_second_question_in_one_connection(again: str) -> None:
    pair, payer, payee = opening()
    question = with_question(pair, payee)
    payer.run(channel_of(payer).receive(question))
    changes = {
        "same": {},
        "next": {"commitment_number": question.commitment_number + 1},
        "other txid": {"txid": bytes(32)},
    }[again]
    refuses(payer, replace(question, **changes))
    assert sum(isinstance(message, LsfSignatures) for message in payer.sent) == 1


def test_question_right_after_a_reconnection() -> None:
    """Once per connection and before anything else is said; the answer is for the same txid."""
    pair, payer, payee = opening()
    question = with_question(pair, payee)
    payer.run(channel_of(payer).receive(question))
    first = take(payer, LsfSignatures)
    pair.disconnect()
    pair.reconnect()
    while payer.sent or payee.sent:
        if payee.sent and isinstance(payee.sent[0], LsfSignRequest):
            break
        for node in (payer, payee):
            if node.sent and not isinstance(node.sent[0], LsfSignRequest):
                pair.deliver(node)
    asked = take(payee, LsfSignRequest)
    assert asked == question
    payer.run(channel_of(payer).receive(asked))
    assert take(payer, LsfSignatures) == first
    refuses(payer, asked, "second sign request")


def test_signatures_of_the_payer_are_for_its_own_commitments_children_only() -> None:
    """Nothing that a payee can ask makes the payer sign for a txid that it did not build."""
    pair, payer, payee = opening()
    question = with_question(pair, payee)
    for txid in (bytes(32), question.txid[::-1], sha256(b"x")):
        refuses(payer, replace(question, txid=txid), "another commitment than ours")
    for number in (0, 2, 2**48, 2**64 - 1):
        refuses(payer, replace(question, commitment_number=number), "is next")


def test_everything_around_a_question_at_once() -> None:
    """Both sides' updates, a fee, a second book and an answer in the worst order."""
    pair = open_lsf_pair(push_sat=1_000_000)
    first, second = (secret_book(pair, seed=seed) for seed in (b"1", b"2"))
    open_book(pair, first)
    payer, payee = payer_of(pair), payee_of(pair)
    propose_book(pair, second.book)
    pair.settle()
    offer(payee, 1)
    commit(payee)  # asks
    offer(payer, 2)
    payer.run(channel_of(payer).update_fee(1_500))
    say_open(pair, second.book)  # signs for both books, without having seen the question
    while payer.sent:
        pair.deliver(payer)
        check_payee_holds_signatures(pair)
    offer(payee, 3)
    commit(payee)
    while payer.sent or payee.sent:
        for node in (payee, payer):
            pair.deliver(node)
            check_payee_holds_signatures(pair)
    for node in (payee, payer):
        commit(node)
    pair.settle()
    check_payee_holds_signatures(pair)
    pair.check_mirrored()
    assert usable_books(channel_of(payee)) == (first.book, second.book)


# --- fees and dust --------------------------------------------------------------------------


def test_fee_rate_that_eats_up_everything_spares_lsf_and_payee() -> None:
    """The thief funds the channel: what it burns is its own."""
    pair = open_lsf_pair(push_sat=60_000)
    secret = secret_book(pair, book_terms(lock_amount=10_000))
    open_book(pair, secret)
    payer, payee = payer_of(pair), payee_of(pair)
    known = channel_of(payee).state.extension_states["lsf"].books[secret.book.book_id]
    channel_id = channel_of(payee).channel_id
    low, high = 1_000, 2**32 - 1
    while high - low > 1:  # the highest that the payee takes
        feerate = (low + high) // 2
        probe = Channel(channel_of(payee).state, signer=payee.signer, extensions=payee.extensions)
        try:
            probe.receive(UpdateFee(channel_id=channel_id, feerate_per_kw=feerate))
        except ChannelViolation:
            high = feerate
        else:
            low = feerate
    thief = channel_of(payer)
    state = thief.state
    payer.run(thief.update_fee(low // 3))  # an honest payer keeps a margin
    commit(payer)
    pair.settle()
    assert channel_of(payer).state is not state
    for node in (payer, payee):
        frozen = channel_of(node).holder_commitment().frozen
        assert frozen.output(LsfKey(secret.book.book_id)).value == known.amount_sat(settled=0)
        assert 60_000 in [output.txout.value for output in frozen.outputs]


def test_payer_fills_the_commitment_that_a_payee_pays_for() -> None:
    """Each HTLC of the payer costs a payee who funds; its output stays above dust."""
    pair = open_lsf_pair(
        funder=Party.PAYEE, funding_sat=5_000_000, push_sat=4_985_000, feerate_per_kw=1_000
    )
    secret = secret_book(pair)
    open_book(pair, secret)
    payer, payee = payer_of(pair), payee_of(pair)
    for number in range(200):
        try:
            offer(payer, number % 256)
        except ChannelRefusal:
            break
    commit(payer)
    pair.settle()
    for node in (payer, payee):
        built = channel_of(node).holder_commitment()
        ours = [
            output.txout.value
            for output in built.frozen.outputs
            if type(output.key).__name__ in ("ToBroadcaster", "ToCountersignatory")
        ]
        assert len(ours) == 2
        assert min(ours) >= 354

"""How a book is agreed on: a proposal gets one answer, the same each time it is said."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from channel_pair import Pair
from lightspeed.channel import ChannelRefusal, ChannelViolation, Side
from lightspeed.lsf import (
    BOOK_TABLE,
    BookAccepted,
    BookRejected,
    LsfAccept,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    PayeeLimits,
    RejectReason,
    accepted_books,
    usable_books,
)
from lightspeed.lsf.collect import lock_messages
from lightspeed.payment import Book, BookTerms, Scheme
from lightspeed.wire import Message
from lsf_pair import (
    channel_of,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    secret_book,
)
from lsf_world import book_terms


def propose_message(book: Book, **changes: object) -> LsfPropose:
    message = LsfPropose(
        channel_id=book.channel_id, book_id=book.book_id, terms=book.terms.to_bytes()
    )
    return replace(message, **changes)  # type: ignore[arg-type]


def hear(pair: Pair, *messages: Message) -> list[Message]:
    """What the payee answers to these messages of the payer."""
    payee = payee_of(pair)
    for message in messages:
        payee.run(channel_of(payee).receive(message))
    answers = list(payee.sent)
    payee.sent.clear()
    return answers


def test_an_accepted_book_is_stored_before_it_is_said() -> None:
    pair = open_lsf_pair()
    book = secret_book(pair, book_terms(chain_length=4)).book
    payer, payee = payer_of(pair), payee_of(pair)
    propose_book(pair, book)
    assert (BOOK_TABLE, book.book_id) in payer.store
    pair.settle()
    assert (BOOK_TABLE, book.book_id) in payee.store
    assert payer.take(BookAccepted) == [BookAccepted(book)]
    for node in (payer, payee):
        assert accepted_books(channel_of(node)) == (book,)
        node.restart()
        assert accepted_books(channel_of(node)) == (book,)


Change = Callable[[BookTerms], BookTerms]
REFUSED: dict[str, tuple[Change, RejectReason]] = {
    "tokens": (
        lambda terms: replace(terms, scheme=Scheme.LADDER, asset=bytes(32)),
        RejectReason.TERMS,
    ),
    "asset": (lambda terms: replace(terms, asset=bytes(32)), RejectReason.TERMS),
    "locks": (lambda terms: replace(terms, locks=2_323), RejectReason.TERMS),
    "dust": (lambda terms: replace(terms, lock_amount=329), RejectReason.TERMS),
    "no settlement": (lambda terms: replace(terms, settlement=b""), RejectReason.TERMS),
    "origin": (
        lambda terms: replace(terms, origins=("https://evil.example",)),
        RejectReason.ORIGIN,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_payee_rejects_what_it_does_not_accept_and_ignores_its_locks(name: str) -> None:
    change, reason = REFUSED[name]
    pair = open_lsf_pair()
    book = secret_book(pair, change(book_terms())).book
    answers = hear(pair, propose_message(book), *lock_messages(book))
    assert [type(answer) for answer in answers] == [LsfReject]
    assert answers[0].reason == reason  # type: ignore[attr-defined]
    assert accepted_books(channel_of(payee_of(pair))) == ()
    good = secret_book(pair).book
    (answer,) = hear(pair, propose_message(good), *lock_messages(good))
    assert isinstance(answer, LsfAccept)


@pytest.mark.parametrize("terms", [b"", b"\x02", bytes(40)])
def test_payee_rejects_terms_that_do_not_parse(terms: bytes) -> None:
    pair = open_lsf_pair()
    book = secret_book(pair).book
    (answer,) = hear(pair, propose_message(book, terms=terms), *lock_messages(book))
    assert isinstance(answer, LsfReject)
    assert answer.reason == RejectReason.TERMS


def test_payee_rejects_an_id_that_is_not_that_of_terms_and_locks() -> None:
    pair = open_lsf_pair()
    book, other = secret_book(pair).book, secret_book(pair, seed=b"other").book
    messages = [replace(message, book_id=book.book_id) for message in lock_messages(other)]
    (answer,) = hear(pair, propose_message(book), *messages)
    assert isinstance(answer, LsfReject)
    assert answer.reason == RejectReason.BOOK_ID
    assert not accepted_books(channel_of(payee_of(pair)))


def test_payee_rejects_books_while_the_channel_shuts_down() -> None:
    pair = open_lsf_pair()
    book = secret_book(pair).book
    propose_book(pair, book)
    payee = payee_of(pair)
    payee.run(channel_of(payee).shutdown())
    payee.sent.clear()
    pair.deliver(payer_of(pair))
    (answer,) = payee.sent
    assert isinstance(answer, LsfReject)
    assert answer.reason == RejectReason.CLOSING


def test_payer_learns_of_a_rejection_and_forgets_the_book() -> None:
    pair = open_lsf_pair(origins=frozenset())
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    payer = payer_of(pair)
    (rejected,) = payer.take(BookRejected)
    assert rejected.reason == RejectReason.ORIGIN
    assert rejected.text == "https://api.example.com is not served here"
    assert (BOOK_TABLE, book.book_id) not in payer.store
    propose_book(pair, secret_book(pair, seed=b"another").book)


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        (book_terms(locks=2_323), "2323 locks, at most 2322"),
        (book_terms(refund_delay_blocks=16), "refund delay 16 is not from 17"),
        (book_terms(lock_amount=302, child_feerate=250), "lock amount 302"),
    ],
)
def test_payer_proposes_nothing_that_must_be_refused(terms: BookTerms, problem: str) -> None:
    pair = open_lsf_pair()
    with pytest.raises(ChannelRefusal, match=problem):
        propose_book(pair, secret_book(pair, terms).book)
    assert not payer_of(pair).sent


def test_a_channel_with_too_short_a_delay_takes_no_book() -> None:
    pair = open_lsf_pair(delay_blocks=5)
    with pytest.raises(ChannelRefusal, match="to_self_delay is 5 blocks, 6 are needed"):
        propose_book(pair, secret_book(pair).book)
    book = secret_book(pair).book
    (answer, *_) = hear(pair, propose_message(book))
    assert isinstance(answer, LsfReject)


def test_only_the_payer_proposes_and_only_one_book_at_a_time() -> None:
    pair = open_lsf_pair()
    book, other = secret_book(pair).book, secret_book(pair, seed=b"other").book
    propose_book(pair, book)
    with pytest.raises(ChannelRefusal, match="another proposal"):
        propose_book(pair, other)
    pair.settle()
    with pytest.raises(ChannelRefusal, match="before"):
        propose_book(pair, book)
    payer, payee = payer_of(pair), payee_of(pair)
    lsf = payee.extensions["lsf"]
    with pytest.raises(ChannelRefusal, match="only the payer"):
        channel_of(payee).extend("lsf", lsf.propose_book(other))  # type: ignore[attr-defined]
    with pytest.raises(ChannelViolation, match="to the payer"):
        channel_of(payer).receive(propose_message(other))
    hear(pair, propose_message(other))
    with pytest.raises(ChannelViolation, match="a second proposal"):
        hear(pair, propose_message(book))


def test_a_book_of_another_channel_is_not_proposed() -> None:
    pair = open_lsf_pair()
    book = secret_book(pair).book
    foreign = Book(
        channel_id=bytes(32), terms=book.terms, lock_hashes=book.lock_hashes, anchors=book.anchors
    )
    with pytest.raises(ChannelRefusal, match="another channel"):
        propose_book(pair, foreign)


def test_locks_come_in_order_without_gaps_and_repetitions() -> None:
    pair = open_lsf_pair()
    book = secret_book(pair, book_terms(locks=2_100)).book
    first, second = lock_messages(book)
    for wrong in (
        [first, first],
        [second],
        [first, replace(second, first_lock=2_048)],
        [first, replace(second, data=second.data + bytes(32))],
        [replace(first, data=first.data[:-1])],
        [replace(first, data=b"")],
        [replace(first, book_id=bytes(16))],
    ):
        fresh = open_lsf_pair()
        with pytest.raises(ChannelViolation):
            hear(fresh, propose_message(book), *wrong)
    with pytest.raises(ChannelViolation, match="without a proposal"):
        hear(pair, first)


def test_answers_belong_to_the_proposal_that_waits() -> None:
    pair = open_lsf_pair()
    payer = payer_of(pair)
    book = secret_book(pair).book
    accept = LsfAccept(channel_id=book.channel_id, book_id=book.book_id)
    reject = LsfReject(channel_id=book.channel_id, book_id=book.book_id, reason=4)
    for answer in (accept, reject):
        with pytest.raises(ChannelViolation, match="not proposed"):
            channel_of(payer).receive(answer)
    propose_book(pair, book)
    with pytest.raises(ChannelViolation, match="not proposed"):
        channel_of(payer).receive(replace(accept, book_id=bytes(16)))


# --- disconnections -------------------------------------------------------------------------


def test_an_unanswered_proposal_is_said_again_with_the_same_bytes() -> None:
    pair = open_lsf_pair()
    propose_book(pair, secret_book(pair, book_terms(locks=2_100)).book)
    payer = payer_of(pair)
    said = list(payer.sent)
    pair.deliver(payer)
    pair.deliver(payer)
    pair.disconnect()
    payer.restart()
    payee_of(pair).restart()
    pair.reconnect()
    pair.deliver(pair.funder)
    pair.deliver(pair.fundee)
    repeated = [message for message in payer.sent if isinstance(message, LsfPropose | LsfLocks)]
    assert [message.encode() for message in repeated] == [message.encode() for message in said]
    pair.settle()
    assert payer.take(BookAccepted)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_repeated_proposal_gets_the_same_answer(accepted: bool) -> None:
    """Also when the payee's configuration has changed in between."""
    pair = open_lsf_pair(origins=frozenset({"https://api.example.com"} if accepted else ()))
    propose_book(pair, secret_book(pair).book)
    payer, payee = payer_of(pair), payee_of(pair)
    while payer.sent:
        pair.deliver(payer)
    (answer,) = payee.sent
    pair.disconnect()  # the answer is lost
    opposite = frozenset(() if accepted else {"https://api.example.com"})
    payee.extensions = open_lsf_pair(origins=opposite).fundee.extensions
    payee.restart()
    pair.reconnect()
    said = [message for message in settle_and_record(pair) if isinstance(message, type(answer))]
    assert said == [answer]
    assert bool(accepted_books(channel_of(payer))) is accepted


def settle_and_record(pair: Pair) -> list[Message]:
    said = []
    while pair.funder.sent or pair.fundee.sent:
        for node in (pair.funder, pair.fundee):
            message = pair.deliver(node)
            if message is not None:
                said.append(message)
    return said


def test_a_proposal_made_while_disconnected_is_said_on_reconnection() -> None:
    pair = open_lsf_pair()
    pair.disconnect()
    book = secret_book(pair).book
    propose_book(pair, book)
    assert not payer_of(pair).sent
    pair.reconnect()
    pair.settle()
    assert accepted_books(channel_of(payee_of(pair))) == (book,)


def test_locks_have_to_be_worth_claiming_at_the_current_fee_rate() -> None:
    pair = open_lsf_pair(claim_feerate=1_000)
    with pytest.raises(ChannelRefusal, match="1000 sat, which cost 403 sat to claim"):
        propose_book(pair, secret_book(pair).book)
    cheap = secret_book(pair).book
    (answer,) = hear(pair, propose_message(cheap))
    assert isinstance(answer, LsfReject)
    propose_book(pair, secret_book(pair, book_terms(lock_amount=1_209)).book)
    pair.settle()
    assert payer_of(pair).take(BookAccepted)


def test_payees_limits_are_those_told_at_the_opening() -> None:
    pair = open_lsf_pair(limits=PayeeLimits(max_locks=4, max_chain_length=10))
    with pytest.raises(ChannelRefusal, match="5 locks, at most 4"):
        propose_book(pair, secret_book(pair).book)
    with pytest.raises(ChannelRefusal, match="chain length 20 is not from 1 to 10"):
        propose_book(pair, secret_book(pair, book_terms(locks=4, chain_length=20)).book)


def test_a_channel_that_has_failed_takes_no_proposal() -> None:
    pair = open_lsf_pair()
    payer = payer_of(pair)
    payer.run(channel_of(payer).fail("test", at_fault=Side.HOLDER))
    with pytest.raises(ChannelRefusal, match="the channel is failed"):
        propose_book(pair, secret_book(pair).book)


# --- books that are never opened ------------------------------------------------------------


def reconnect(pair: Pair) -> None:
    """Both sides are killed, and start again."""
    pair.disconnect()
    for node in (pair.funder, pair.fundee):
        node.restart()
    pair.reconnect()
    pair.settle()


@pytest.mark.parametrize("refused", [False, True])
def test_a_new_proposal_takes_the_place_of_a_book_that_was_not_opened(refused: bool) -> None:
    """Whatever comes of the new one; its slot, its exposure and its record are free."""
    pair = open_lsf_pair(limits=PayeeLimits(max_books=1), claim_feerate=500)
    first, second = (secret_book(pair, seed=seed).book for seed in (b"1", b"2"))
    propose_book(pair, first)
    pair.settle()
    payer, payee = payer_of(pair), payee_of(pair)
    if refused:
        payee.extensions = open_lsf_pair(claim_feerate=1_000).fundee.extensions
        reconnect(pair)
    propose_book(pair, second)
    pair.settle()
    reconnect(pair)
    for node in (payer, payee):
        assert accepted_books(channel_of(node)) == (() if refused else (second,))
        assert (BOOK_TABLE, first.book_id) not in node.store
    with pytest.raises(ChannelViolation, match="not accepted"):
        channel_of(payee).receive(LsfOpen(channel_id=first.channel_id, book_id=first.book_id))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("break_after", range(12))
def test_a_book_that_is_being_opened_keeps_its_place(break_after: int, signed: bool) -> None:
    """Its `lsf_open` comes first, wherever the connection breaks: both sides forget nothing."""
    pair = open_lsf_pair()
    first, second = (secret_book(pair, seed=seed).book for seed in (b"1", b"2"))
    propose_book(pair, first)
    pair.settle()
    payer, payee = payer_of(pair), payee_of(pair)
    channel = channel_of(payer)
    payer.run(channel.propose(LsfOpen(channel_id=channel.channel_id, book_id=first.book_id)))
    if signed:
        payer.run(channel.commit())
    propose_book(pair, second)
    for _ in range(break_after):
        speaker = next((node for node in (payer, payee) if node.sent), None)
        if speaker is not None:
            pair.deliver(speaker)
    reconnect(pair)
    payer.run(channel_of(payer).commit())
    pair.settle()
    pair.check_mirrored()
    for node in (payer, payee):
        assert usable_books(channel_of(node)) == (first,)
        assert accepted_books(channel_of(node)) == (second,)

"""Whatever a peer sends of this extension is acted on, or is a `ChannelViolation`."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from channel_pair import Pair
from lightspeed.channel import ChannelViolation
from lightspeed.lsf import LSF_MESSAGES, ChunksOutOfOrder, LsfLocks, LsfSignatures, Party
from lightspeed.lsf.collect import (
    LockCollector,
    SignatureCollector,
    lock_messages,
    signature_messages,
)
from lightspeed.lsf.messages import MAX_LOCK_BYTES_PER_MESSAGE, MAX_SIGNATURES_PER_MESSAGE
from lightspeed.payment import BookTerms, Scheme
from lightspeed.wire import BOLT_CODEC, MAX_MESSAGE_SIZE, Message, UnknownMessage, WireError
from lsf_pair import channel_of, open_book, open_lsf_pair, payee_of, payer_of, propose_book
from lsf_pair import secret_book as make_secret_book
from lsf_world import CHANNEL_ID, book_terms, make_world, token_terms

CODEC = BOLT_CODEC.extended(LSF_MESSAGES)
TAKEN = {37913, *range(52884, 52887), *range(53140, 53144), *range(63497, 65536)}
"""Custom messages that other implementations are known to use."""


def test_types_are_odd_and_nobody_elses() -> None:
    types = [message.TYPE for message in LSF_MESSAGES]
    assert len(set(types)) == len(types)
    assert all(kind % 2 and 32_768 <= kind <= 65_535 and kind not in TAKEN for kind in types)


@pytest.mark.parametrize("message_class", LSF_MESSAGES, ids=lambda each: each.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_message_round_trips(message_class: type[Message], data: st.DataObject) -> None:
    message = data.draw(strategies.wire_messages(message_class))
    assert CODEC.decode(message.encode()) == message
    assert isinstance(BOLT_CODEC.decode(message.encode()), UnknownMessage)  # ignored by others


@pytest.mark.parametrize("message_class", LSF_MESSAGES, ids=lambda each: each.__name__)
@settings(max_examples=30, deadline=None)
@given(payload=st.binary(max_size=120))
def test_any_bytes_decode_or_raise_wire_error(message_class: type[Message], payload: bytes) -> None:
    try:
        decoded = CODEC.decode(message_class.TYPE.to_bytes(2, "big") + payload)
    except WireError:
        return
    assert isinstance(decoded, message_class)


def test_the_largest_chunks_fit_a_message() -> None:
    locks = LsfLocks(
        channel_id=bytes(32),
        book_id=bytes(16),
        first_lock=1,
        data=bytes(MAX_LOCK_BYTES_PER_MESSAGE),
    )
    signatures = LsfSignatures(
        channel_id=bytes(32),
        commitment_number=0,
        whose=0,
        first=0,
        total=MAX_SIGNATURES_PER_MESSAGE,
        signatures=(bytes(64),) * MAX_SIGNATURES_PER_MESSAGE,
    )
    for message in (locks, signatures):
        assert MAX_MESSAGE_SIZE - 64 < len(message.encode()) <= MAX_MESSAGE_SIZE


# --- collectors -----------------------------------------------------------------------------


@pytest.mark.parametrize("messages_needed", [1, 2, 3])
@pytest.mark.parametrize(
    ("terms", "per_message"),
    [
        (book_terms(), 2_046),
        (book_terms(chain_length=2), 1_023),
        (token_terms(), 1_023),
        (token_terms(chain_length=2), 682),
        (token_terms(scheme=Scheme.LADDER), 2_046),
    ],
)
def test_locks_come_together_again(
    terms: BookTerms, per_message: int, messages_needed: int
) -> None:
    for locks in (per_message * messages_needed, per_message * (messages_needed - 1) + 1):
        secret = make_world(replace(terms, locks=locks)).secret_book
        collector = LockCollector(book_id=secret.book.book_id, terms=secret.book.terms)
        messages = lock_messages(secret.book)
        assert len(messages) == messages_needed
        for message in messages:
            assert not collector.complete
            collector = collector.add(message)
        assert collector.complete
        assert collector.book(CHANNEL_ID) == secret.book


@pytest.mark.parametrize("sizes", [[1] * 300, [1, 2] * 100, [150, 149, 1], [1, 299], [299, 1]])
def test_locks_come_together_again_however_they_are_cut(sizes: list[int]) -> None:
    secret = make_world(token_terms(locks=300)).secret_book
    (whole,) = lock_messages(secret.book)
    collector = LockCollector(book_id=secret.book.book_id, terms=secret.book.terms)
    done = 0
    for size in sizes:
        data = whole.data[64 * done :][: 64 * size]
        collector = collector.add(replace(whole, first_lock=done + 1, data=data))
        done += size
    assert collector.book(CHANNEL_ID) == secret.book


def test_locks_one_by_one_do_not_cost_the_square_of_their_number() -> None:
    terms = token_terms(locks=65_535)
    collector = LockCollector(book_id=bytes(16), terms=terms)
    piece = LsfLocks(channel_id=bytes(32), book_id=bytes(16), first_lock=1, data=bytes(64))
    before = time.process_time()
    for lock in range(1, terms.locks + 1):
        collector = collector.add(replace(piece, first_lock=lock))
    assert collector.complete
    assert time.process_time() - before < 5  # once more than 20


@given(total=st.integers(1, 2_500))
@settings(max_examples=10, deadline=None)
def test_signatures_come_together_again(total: int) -> None:
    signatures = tuple(n.to_bytes(64, "big") for n in range(total))
    first, *others = signature_messages(
        signatures, channel_id=CHANNEL_ID, commitment_number=9, whose=Party.PAYEE
    )
    collector = SignatureCollector.begin(first, max_total=2_500)
    for message in others:
        collector = collector.add(message)
    assert collector.complete
    assert collector.signatures == signatures
    with pytest.raises(ChunksOutOfOrder):
        collector.add(replace(first, first=total))


# --- a peer that says anything --------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    fresh = open_lsf_pair()
    proposing = open_lsf_pair()
    propose_book(proposing, make_secret_book(proposing, book_terms(locks=2_100)).book)
    proposing.deliver(payer_of(proposing))
    opened = open_lsf_pair()
    open_book(opened, make_secret_book(opened))
    return {"fresh": fresh, "proposing": proposing, "open": opened}


@pytest.mark.parametrize("stage", ["fresh", "proposing", "open"])
@pytest.mark.parametrize("party", Party)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_message_at_any_time_is_handled_or_a_violation(
    pairs: dict[str, Pair], stage: str, party: Party, data: st.DataObject
) -> None:
    pair = pairs[stage]
    channel = channel_of(payer_of(pair) if party is Party.PAYER else payee_of(pair))
    books = list(channel.state.extension_states["lsf"].books) or [bytes(16)]
    kind = data.draw(st.sampled_from(LSF_MESSAGES))
    message = replace(data.draw(strategies.wire_messages(kind)), channel_id=channel.channel_id)
    if hasattr(message, "book_id") and data.draw(st.booleans()):
        message = replace(message, book_id=data.draw(st.sampled_from(books)))
    before = channel.state
    try:
        channel.receive(message)
    except ChannelViolation:
        assert channel.state is before
    channel.state = before

"""Two channels in memory open books: what is said, signed, refused and kept."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from channel_pair import Node, Pair
from lightspeed.bitcoin import sha256
from lightspeed.channel import ChannelRefusal, ChannelViolation, HtlcReceived
from lightspeed.lsf import (
    BookAccepted,
    BookUsable,
    LsfClose,
    LsfOpen,
    LsfSettle,
    LsfSignatures,
    LsfSignRequest,
    Party,
    PayeeLimits,
    accepted_books,
    micropayment_weight,
    usable_books,
)
from lightspeed.wire import CommitmentSigned, Message, UpdateAddHtlc, UpdateFee
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

PREIMAGES = [sha256(bytes([n])) for n in range(8)]


def add_htlc(node: Node, n: int, *, amount_msat: int = 20_000_000) -> int:
    htlc_id, effects = channel_of(node).add_htlc(
        amount_msat=amount_msat,
        payment_hash=sha256(PREIMAGES[n]),
        cltv_expiry=500,
        onion=bytes(1_366),
    )
    node.run(effects)
    return htlc_id


def accepted_pair(**changes: object) -> tuple[Pair, bytes]:
    """A pair with an accepted book; `lsf_open` is the next thing to happen."""
    pair = open_lsf_pair(**changes)  # type: ignore[arg-type]
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    return pair, book.book_id


def deliver_until(pair: Pair, kind: type[Message]) -> Message:
    """Deliver everything before the next message of this kind, which is taken off its queue."""
    while pair.funder.sent or pair.fundee.sent:
        for node in (pair.funder, pair.fundee):
            if node.sent and isinstance(node.sent[0], kind):
                return node.sent.popleft()
            pair.deliver(node)
    raise AssertionError(f"no {kind.__name__} was said")


# --- opening --------------------------------------------------------------------------------


def test_a_book_is_opened_in_the_order_of_the_specification() -> None:
    pair = open_lsf_pair()
    assert open_book(pair, secret_book(pair)) == [
        "funder LsfPropose",
        "funder LsfLocks",
        "fundee LsfAccept",
        "funder LsfOpen",
        "funder LsfSignatures",
        "funder CommitmentSigned",
        "fundee RevokeAndAck",
        "fundee LsfSignRequest",
        "funder LsfSignatures",
        "fundee CommitmentSigned",
        "funder RevokeAndAck",
    ]


@pytest.mark.parametrize("funder", Party)
def test_the_payer_pays_for_the_lsf_and_both_learn_that_it_is_usable(funder: Party) -> None:
    pair = open_lsf_pair(funder=funder, push_sat=2_000_000)
    book = secret_book(pair).book
    before = channel_of(payer_of(pair)).state.base
    open_book(pair, secret_book(pair))
    after = channel_of(payer_of(pair)).state.base
    lsf = channel_of(payer_of(pair)).state.extension_states["lsf"].books[book.book_id]
    assert before.holder_msat - after.holder_msat == lsf.amount_sat(settled=0) * 1_000
    assert before.counterparty_msat == after.counterparty_msat
    assert payer_of(pair).take(BookAccepted) == [BookAccepted(book)]
    for node in (pair.funder, pair.fundee):
        assert node.take(BookUsable) == [BookUsable(book)]
        assert usable_books(channel_of(node)) == (book,)
        assert accepted_books(channel_of(node)) == ()
        for built in (channel_of(node).holder_commitment(),):
            assert built.frozen.output(lsf.key).value == lsf.amount_sat(settled=0)
    pair.check_mirrored()


def test_a_book_is_not_usable_before_it_is_irrevocable_on_both_sides() -> None:
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    payer, payee = payer_of(pair), payee_of(pair)
    usable_after = {payer.name: "", payee.name: ""}
    while pair.funder.sent or pair.fundee.sent:
        for node in (pair.funder, pair.fundee):
            message = pair.deliver(node)
            for listener in (payer, payee):
                if listener.take(BookUsable) and not usable_after[listener.name]:
                    usable_after[listener.name] = f"{node.name} {type(message).__name__}"
    assert usable_after == {"funder": "fundee CommitmentSigned", "fundee": "funder RevokeAndAck"}


def test_the_payers_commitment_is_signed_only_after_its_children() -> None:
    """The payee holds the payer's signatures before it signs the payer's next commitment."""
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    deliver_until(pair, LsfSignRequest)
    assert not payee_of(pair).sent
    pair.settle()  # the payer never answers
    commitments = channel_of(payee_of(pair)).state.counterparty_commitments
    assert [commitment.number for commitment in commitments] == [0]


def test_several_books_live_in_one_channel() -> None:
    pair = open_lsf_pair()
    books = [secret_book(pair, seed=seed) for seed in (b"x", b"y", b"z")]
    for book in books:
        open_book(pair, book)
    for node in (pair.funder, pair.fundee):
        assert usable_books(channel_of(node)) == tuple(book.book for book in books)
        kept = channel_of(node).state.holder_commitment.child_signatures
        if node is payee_of(pair):
            assert len(kept["lsf"]) == 3 * 64
        else:
            assert not kept
    pair.check_mirrored()


def test_books_open_while_htlcs_are_in_flight() -> None:
    pair = open_lsf_pair(push_sat=1_000_000)
    first, second = secret_book(pair, seed=b"x"), secret_book(pair, seed=b"y")
    payer, payee = payer_of(pair), payee_of(pair)
    add_htlc(payer, 0)
    add_htlc(payee, 1)
    for node in (payer, payee):
        node.run(channel_of(node).commit())
    pair.settle()
    propose_book(pair, first.book)
    add_htlc(payer, 2)
    pair.settle()
    payee.run(channel_of(payee).fulfill_htlc(0, PREIMAGES[0]))
    say_open(pair, first.book)  # with an HTLC of ours added, and one of ours being fulfilled
    payee.run(channel_of(payee).commit())
    pair.settle()
    open_book(pair, second)
    for received in [event for event in payer.take(HtlcReceived) if event.id == 0]:
        payer.run(channel_of(payer).fulfill_htlc(received.id, PREIMAGES[1]))
    payer.run(channel_of(payer).update_fee(1_500))
    payee.run(channel_of(payee).fulfill_htlc(1, PREIMAGES[2]))
    for node in (payer, payee):
        node.run(channel_of(node).commit())
    pair.settle()
    pair.check_mirrored()
    assert channel_of(payer).state.base.htlcs == ()
    assert usable_books(channel_of(payee)) == (first.book, second.book)


def test_the_largest_book_is_opened_within_a_moment() -> None:
    pair = open_lsf_pair()
    secret = secret_book(pair, book_terms(locks=2_322, chain_length=2))
    said = open_book(pair, secret)
    assert said.count("funder LsfLocks") == 3
    assert usable_books(channel_of(pair.fundee)) == (secret.book,)


# --- the two rules for signatures -----------------------------------------------------------


def test_payee_fails_a_commitment_whose_child_signatures_are_missing() -> None:
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    deliver_until(pair, LsfSignatures)
    payee = payee_of(pair)
    (signed,) = payer_of(pair).sent
    before = channel_of(payee).state
    with pytest.raises(ChannelViolation, match="missing"):
        channel_of(payee).receive(signed)
    assert channel_of(payee).state is before
    assert not payee.sent


Mutation = Callable[[LsfSignatures], list[LsfSignatures]]


def _with(**changes: object) -> Mutation:
    return lambda message: [replace(message, **changes)]  # type: ignore[arg-type]


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "wrong signature": (_with(signatures=(bytes(64),)), "wrong"),
    "other commitment": (_with(commitment_number=2), "commitment 2, 1 is next"),
    "earlier commitment": (_with(commitment_number=0), "commitment 0, 1 is next"),
    "other side's": (_with(whose=Party.PAYER), "missing"),
    "nobody's": (_with(whose=2), "nobody's"),
    "twice": (lambda message: [message, message], "signature 0 after 1"),
    "a gap": (_with(first=1), "signature 1 after 0"),
    "more announced": (_with(total=2), "1 signatures for 1 children"),
    "more than announced": (_with(signatures=(bytes(64),) * 2), "not the 1 signatures"),
    "too many": (_with(total=1_017), "at most 1016"),
    "empty": (_with(signatures=()), "not the 1 signatures"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_payee_fails_a_commitment_whose_child_signatures_are_wrong(name: str) -> None:
    mutate, problem = MUTATIONS[name]
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    message = deliver_until(pair, LsfSignatures)
    assert isinstance(message, LsfSignatures)
    payer, payee = payer_of(pair), payee_of(pair)
    payer.sent.extendleft(reversed(mutate(message)))
    with pytest.raises(ChannelViolation, match=problem):
        pair.settle()
    assert channel_of(payee).state.holder_commitment.number == 0


@pytest.mark.parametrize("name", ["wrong signature", "other commitment", "a gap", "more announced"])
def test_payee_signs_nothing_when_the_answer_to_its_request_is_wrong(name: str) -> None:
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    request = deliver_until(pair, LsfSignRequest)
    payer, payee = payer_of(pair), payee_of(pair)
    payer.run(channel_of(payer).receive(request))
    answer = payer.sent.popleft()
    assert isinstance(answer, LsfSignatures)
    (wrong,) = MUTATIONS[name][0](answer)
    if name == "more announced":  # a part of an answer: the payee goes on waiting
        payee.run(channel_of(payee).receive(wrong))
        assert channel_of(payee).state.session.pending is not None
    else:
        with pytest.raises(ChannelViolation):
            channel_of(payee).receive(wrong)
    assert len(channel_of(payee).state.counterparty_commitments) == 1
    assert not payee.sent


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"txid": bytes(32)}, "another commitment than ours"),
        ({"commitment_number": 2}, "request for commitment 2, 1 is next"),
    ],
)
def test_payer_fails_the_channel_on_a_request_for_another_commitment(
    changes: dict[str, object], problem: str
) -> None:
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    request = deliver_until(pair, LsfSignRequest)
    with pytest.raises(ChannelViolation, match=problem):
        channel_of(payer_of(pair)).receive(replace(request, **changes))  # type: ignore[arg-type]


def test_payer_answers_one_request_per_commitment_and_connection() -> None:
    pair, book_id = accepted_pair()
    say_open(pair, channel_of(pair.funder).state.extension_states["lsf"].books[book_id].book)
    request = deliver_until(pair, LsfSignRequest)
    payer = payer_of(pair)
    payer.run(channel_of(payer).receive(request))
    with pytest.raises(ChannelViolation, match="second sign request"):
        channel_of(payer).receive(request)


def test_payee_says_no_update_between_its_request_and_its_signature() -> None:
    pair = open_lsf_pair(push_sat=1_000_000)
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    say_open(pair, book)
    request = deliver_until(pair, LsfSignRequest)
    payee, payer = payee_of(pair), payer_of(pair)
    add_htlc(payee, 0)
    payee.run(channel_of(payee).commit())
    assert not payee.sent
    payer.run(channel_of(payer).receive(request))
    said = pair.settle()
    assert said.index("fundee CommitmentSigned") < said.index("fundee UpdateAddHtlc")
    pair.check_mirrored()


def test_payee_queues_what_arrives_while_its_request_is_open() -> None:
    """A crossing commitment_signed is not answered with a revocation before our signature."""
    pair = open_lsf_pair(push_sat=1_000_000)
    payer, payee = payer_of(pair), payee_of(pair)
    open_book(pair, secret_book(pair))
    add_htlc(payee, 0)
    payee.run(channel_of(payee).commit())
    (request,) = [message for message in payee.sent if isinstance(message, LsfSignRequest)]
    add_htlc(payer, 1)
    payer.run(channel_of(payer).commit())
    while payer.sent:
        pair.deliver(payer)
    assert payee.sent[-1] == request
    said = pair.settle()
    assert said[:3] == ["fundee UpdateAddHtlc", "fundee LsfSignRequest", "funder LsfSignatures"]
    ours = [name for name in said[3:] if name.startswith("fundee")]
    assert ours[:2] == ["fundee CommitmentSigned", "fundee RevokeAndAck"]
    pair.check_mirrored()


def test_commitments_without_books_need_no_child_signatures() -> None:
    pair = open_lsf_pair()
    payer = payer_of(pair)
    add_htlc(payer, 0)
    payer.run(channel_of(payer).commit())
    said = pair.settle()
    assert not [name for name in said if "Lsf" in name]


def test_signatures_for_no_children_are_refused() -> None:
    pair = open_lsf_pair()
    payer, payee = payer_of(pair), payee_of(pair)
    add_htlc(payer, 0)
    payer.run(channel_of(payer).commit())
    message = LsfSignatures(
        channel_id=channel_of(payer).channel_id,
        commitment_number=1,
        whose=Party.PAYEE,
        first=0,
        total=1,
        signatures=(bytes(64),),
    )
    add, signed = payer.sent
    for said in (add, message):
        payee.run(channel_of(payee).receive(said))
    with pytest.raises(ChannelViolation, match="1 signatures for 0 children"):
        channel_of(payee).receive(signed)
    with pytest.raises(ChannelViolation, match="to the payer"):
        channel_of(payer).receive(message)


# --- what lsf_open needs --------------------------------------------------------------------


def open_message(pair: Pair, book_id: bytes) -> LsfOpen:
    return LsfOpen(channel_id=channel_of(pair.funder).channel_id, book_id=book_id)


def test_lsf_open_needs_an_accepted_book_that_is_not_open() -> None:
    pair, book_id = accepted_pair()
    payer, payee = payer_of(pair), payee_of(pair)
    unknown = open_message(pair, bytes(16))
    known = open_message(pair, book_id)
    with pytest.raises(ChannelRefusal, match="not accepted"):
        channel_of(payer).propose(unknown)
    with pytest.raises(ChannelViolation, match="not accepted"):
        channel_of(payee).receive(unknown)
    with pytest.raises(ChannelViolation, match="only the payer"):
        channel_of(payer).receive(known)
    with pytest.raises(ChannelRefusal, match="only the payer"):
        channel_of(payee).propose(known)
    say_open(pair, channel_of(payer).state.extension_states["lsf"].books[book_id].book)
    with pytest.raises(ChannelRefusal, match="is open"):
        channel_of(payer).propose(known)
    pair.settle()
    with pytest.raises(ChannelViolation, match="is open"):
        channel_of(payee).receive(known)


def test_payer_needs_the_balance_the_fee_and_the_reserve() -> None:
    pair = open_lsf_pair(funding_sat=200_000, push_sat=10_000, max_exposure_sat=1_000_000)
    payer = payer_of(pair)
    base = channel_of(payer).state.base
    reserve = channel_of(payer).state.config.counterparty.channel_reserve_sat
    fee_with_margin = 2 * (1_124 + 172 + 172) + 660  # one HTLC more, at twice 1,000 sat/kw
    available = base.holder_msat // 1_000 - reserve - fee_with_margin
    weight = micropayment_weight(1, with_p2a=True, delay_blocks=6)
    overhead = 240 + 253 * weight // 1_000
    for spare, opens in ((0, True), (-1, False)):
        amount = available - overhead - spare
        terms = book_terms(locks=1, lock_amount=amount)
        book = secret_book(pair, terms).book
        propose_book(pair, book)
        pair.settle()
        lsf = channel_of(payer).state.extension_states["lsf"].books[book.book_id]
        assert lsf.amount_sat(settled=0) == available - spare
        if not opens:
            with pytest.raises(ChannelRefusal):
                channel_of(payer).propose(open_message(pair, book.book_id))
            continue
        before = channel_of(payer).state
        channel_of(payer).propose(open_message(pair, book.book_id))
        channel_of(payer).state = before


def test_a_book_needs_the_payees_own_output_above_dust() -> None:
    pair, book_id = accepted_pair(push_sat=353)
    payer, payee = payer_of(pair), payee_of(pair)
    with pytest.raises(ChannelRefusal, match="own output would be 353 sat"):
        channel_of(payer).propose(open_message(pair, book_id))
    with pytest.raises(ChannelViolation, match="own output would be 353 sat"):
        channel_of(payee).receive(open_message(pair, book_id))


def test_payee_may_not_take_its_own_output_below_dust_while_a_book_is_open() -> None:
    pair = open_lsf_pair(push_sat=52_000)
    open_book(pair, secret_book(pair))
    payee = payee_of(pair)
    reserve = channel_of(payee).state.config.counterparty.channel_reserve_sat
    assert reserve == 50_000  # stricter than dust, so it is what stops the payee
    with pytest.raises(ChannelRefusal, match="reserve"):
        add_htlc(payee, 0, amount_msat=2_000_001)
    add_htlc(payee, 0, amount_msat=2_000_000)


def test_a_payee_who_funds_keeps_its_output_when_the_fee_rate_rises() -> None:
    pair = open_lsf_pair(funder=Party.PAYEE, funding_sat=1_000_000, push_sat=900_000)
    book = secret_book(pair, book_terms(lock_amount=10_000)).book
    propose_book(pair, book)
    pair.settle()
    say_open(pair, book)
    pair.settle()
    payee = payee_of(pair)
    with pytest.raises(ChannelRefusal):
        channel_of(payee).update_fee(76_500)
    payee.run(channel_of(payee).update_fee(30_000))
    payee.run(channel_of(payee).commit())
    pair.settle()
    pair.check_mirrored()


def test_a_payee_who_funds_and_could_not_pay_twice_the_fee_gets_no_book() -> None:
    pair = open_lsf_pair(
        funder=Party.PAYEE, funding_sat=1_000_000, push_sat=997_000, feerate_per_kw=1_500
    )
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    with pytest.raises(ChannelRefusal, match="own output"):
        channel_of(payer_of(pair)).propose(open_message(pair, book.book_id))


def test_the_number_of_books_is_limited_by_the_payee() -> None:
    pair = open_lsf_pair(limits=PayeeLimits(max_books=2))
    for seed in (b"x", b"y"):
        open_book(pair, secret_book(pair, seed=seed))
    with pytest.raises(ChannelRefusal, match="2 books already"):
        propose_book(pair, secret_book(pair, seed=b"z").book)


# --- the end of a channel -------------------------------------------------------------------


def test_no_books_after_shutdown_and_no_closing_with_books() -> None:
    pair = open_lsf_pair()
    payer, payee = payer_of(pair), payee_of(pair)
    open_book(pair, secret_book(pair, seed=b"other"))
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    payee.run(channel_of(payee).shutdown())
    said = pair.settle()
    assert [name.split()[1] for name in said] == ["Shutdown", "Shutdown"]
    with pytest.raises(ChannelRefusal, match="shutting down"):
        channel_of(payer).propose(open_message(pair, book.book_id))
    with pytest.raises(ChannelRefusal, match="shutting down"):
        propose_book(pair, secret_book(pair, seed=b"late").book)


def test_lsf_open_may_cross_the_payees_shutdown() -> None:
    pair, book_id = accepted_pair()
    payer, payee = payer_of(pair), payee_of(pair)
    say_open(pair, channel_of(payer).state.extension_states["lsf"].books[book_id].book)
    payee.run(channel_of(payee).shutdown())
    pair.settle()
    pair.check_mirrored()
    assert [book.book_id for book in usable_books(channel_of(payee))] == [book_id]


def test_messages_of_books_are_refused_without_the_extension() -> None:
    from channel_pair import open_pair

    pair = open_pair()
    with pytest.raises(ChannelViolation, match="not for a channel"):
        channel_of(pair.fundee).receive(open_message(pair, bytes(16)))


def test_the_update_messages_are_what_tests_know() -> None:
    """A new update needs its own tests; settle and close have theirs in test_lsf_settling.py."""
    (lsf,) = channel_of(open_lsf_pair().funder).extensions
    assert lsf.updates == (LsfOpen, LsfSettle, LsfClose)
    assert {UpdateAddHtlc, UpdateFee, CommitmentSigned}.isdisjoint(lsf.messages)

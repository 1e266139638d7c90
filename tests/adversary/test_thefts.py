"""Thefts by what is said: every message that a thief could make up, at a bad moment.

Each scenario is named after the attack. The victim refuses with a `ChannelViolation` and is as
it was, or goes on and holds everything that it needs to take what it is owed.
"""

import random
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from channel_pair import Node, Pair, open_pair, opening_terms
from lightspeed.bitcoin import PrivateKey
from lightspeed.channel import (
    Channel,
    ChannelRefusal,
    ChannelViolation,
    ChannelWarning,
    Link,
    Phase,
    channel_codec,
)
from lightspeed.channel.per_commitment import LAST_INDEX
from lightspeed.channel.shutdown import _closing
from lightspeed.channel.turn import Turn
from lightspeed.lsf import (
    LsfAccept,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    LsfSignatures,
    Party,
    PayeeLimits,
    RejectReason,
    accepted_books,
    usable_books,
)
from lightspeed.units import Sat
from lightspeed.wire import (
    ChannelReestablish,
    ClosingSigned,
    CommitmentSigned,
    EncodeError,
    Message,
    Shutdown,
    UpdateFailHtlc,
    UpdateFee,
    WireError,
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
    accepts,
    can_close_alone,
    commit,
    offer,
    refuses,
    take,
)

POINT = PrivateKey(b"\x01" * 32).public.data


# --- reestablish with false numbers ---------------------------------------------------------


def reestablish(node: Node, **changes: Any) -> ChannelReestablish:
    """What the peer would honestly say, with changes."""
    state = channel_of(node).state
    revoked = state.holder_commitment.number
    secrets = node.signer.secrets
    values = {
        "channel_id": channel_of(node).channel_id,
        "next_commitment_number": state.counterparty_commitments[-1].number + 1,
        "next_revocation_number": revoked,
        "your_last_per_commitment_secret": (
            secrets.per_commitment_secret(revoked - 1) if revoked else bytes(32)
        ),
        "my_current_per_commitment_point": POINT,
    }
    return ChannelReestablish(**(values | changes))


def reconnecting_victim() -> tuple[Pair, Node]:
    """The payee, which has revoked three commitments, waits for channel_reestablish."""
    pair = open_lsf_pair()
    open_book(pair, secret_book(pair))
    for feerate in (1_100, 1_200):
        pair.funder.run(channel_of(pair.funder).update_fee(feerate))
        commit(pair.funder)
        pair.settle()
    pair.disconnect()
    victim = payee_of(pair)
    victim.run(channel_of(victim).connected())
    assert channel_of(victim).state.holder_commitment.number == 3
    return pair, victim


@pytest.mark.parametrize(
    "changes",
    [
        {"next_commitment_number": 0},
        {"next_commitment_number": 1},
        {"next_commitment_number": 3},  # a commitment that was revoked
        {"next_commitment_number": 5},
        {"next_commitment_number": 2**64 - 1},
        {"next_revocation_number": 0},
        {"next_revocation_number": 1},
        {"next_revocation_number": 4},
        {"next_revocation_number": 2**48 - 1},
        {"next_revocation_number": 2**48},
        {"next_revocation_number": 2**64 - 1},
        {"your_last_per_commitment_secret": bytes(32)},
        {"your_last_per_commitment_secret": b"\x01" * 32},
    ],
    ids=str,
)
def test_reestablish_with_false_numbers(changes: dict[str, Any]) -> None:
    _, victim = reconnecting_victim()
    refuses(victim, reestablish(victim, **changes))
    assert can_close_alone(victim)
    victim.run(channel_of(victim).receive(reestablish(victim)))
    assert channel_of(victim).state.session.link is Link.UP


@pytest.mark.parametrize("known", [0, 1, 2])
def test_reestablish_with_a_wrapped_number_and_a_secret_that_was_revealed(known: int) -> None:
    """Secret n + 2^48 would be secret n: a false proof that the victim must not publish."""
    pair, victim = reconnecting_victim()
    revealed = channel_of(payer_of(pair)).state.revocations.secret(known)
    assert revealed == victim.signer.secrets.per_commitment_secret(known + LAST_INDEX + 1)
    lie = reestablish(
        victim,
        next_revocation_number=known + LAST_INDEX + 2,
        your_last_per_commitment_secret=revealed,
    )
    refuses(victim, lie, "no channel reaches")
    assert can_close_alone(victim)


def test_kill_between_an_update_and_its_commitment() -> None:
    """What the thief never signed for is forgotten, also when nobody saw the connection end."""
    pair = open_lsf_pair(push_sat=1_000_000)
    secret = secret_book(pair)
    propose_book(pair, secret.book)
    pair.settle()
    payer, payee = payer_of(pair), payee_of(pair)
    offer(payer, 1)
    say_open(pair, secret.book)
    while not isinstance(payer.sent[0], LsfSignatures):
        pair.deliver(payer)
    payee.restart()
    payer.sent.clear()
    payer.run(channel_of(payer).disconnected())
    pair.reconnect()
    pair.settle()
    pair.check_mirrored()
    assert usable_books(channel_of(payee)) == (secret.book,)


# --- before and after the channel's life ----------------------------------------------------


def test_updates_of_a_channel_that_shuts_down_before_it_was_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no point yet to sign the thief's next commitment with."""
    monkeypatch.setattr(Channel, "funding_confirmed", lambda self: ())
    pair = open_lsf_pair()
    victim = pair.fundee
    channel = channel_of(victim)
    script = channel.state.config.counterparty.upfront_shutdown_script
    victim.run(channel.receive(Shutdown(channel_id=channel.channel_id, scriptpubkey=script)))
    refuses(victim, UpdateFee(channel_id=channel.channel_id, feerate_per_kw=1_500), "channel_ready")


def test_lsf_open_with_the_payees_signature_for_the_close_in_hand() -> None:
    """Otherwise the calls paid from the book would be undone by the closing transaction."""
    pair = open_lsf_pair(funder=Party.PAYEE, push_sat=3_000_000)
    book = secret_book(pair).book
    propose_book(pair, book)
    pair.settle()
    payer, payee = payer_of(pair), payee_of(pair)
    before = channel_of(payer).state
    payer.run(channel_of(payer).shutdown())
    while not any(isinstance(message, ClosingSigned) for message in payee.sent):
        pair.deliver(payer)
        if not isinstance(payee.sent[0], ClosingSigned):
            pair.deliver(payee)
    take(payee, ClosingSigned)
    refuses(
        payee, LsfOpen(channel_id=before.config.channel_id, book_id=book.book_id), "after shutdown"
    )
    assert usable_books(channel_of(payee)) == ()


@pytest.mark.parametrize("share", [0, 1, 50, 99])
def test_close_with_a_fee_that_no_node_relays(share: int) -> None:
    """The victim would count the channel as closed, and its money would never come."""
    pair = open_pair(feerate_per_kw=253)
    thief, victim = pair.funder, pair.fundee
    thief.run(channel_of(thief).shutdown())
    while not any(isinstance(message, ClosingSigned) for message in thief.sent):
        for node in (thief, victim):
            pair.deliver(node)
    asked = take(thief, ClosingSigned)
    assert isinstance(asked, ClosingSigned)
    fee = Sat(asked.fee_satoshis * share // 100)
    channel = channel_of(thief)
    turn = Turn(channel.state, signer=thief.signer, extensions=thief.extensions)
    signature = thief.signer.ecdsa(thief.signer.secrets.funding, _closing(turn, fee).digest)
    low = ClosingSigned(channel_id=channel.channel_id, fee_satoshis=fee, signature=signature)
    victim.run(channel_of(victim).receive(low))
    assert channel_of(victim).state.phase is Phase.SHUTTING_DOWN
    assert victim.published == []
    assert can_close_alone(victim)
    counter = take(victim, ClosingSigned)
    assert isinstance(counter, ClosingSigned)
    assert counter.fee_satoshis == asked.fee_satoshis


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"dust_limit_sat": 547}, "dust limit"),
        ({"dust_limit_sat": 50_000}, "dust limit"),
        ({"dust_limit_sat": 353}, "dust limit"),
        ({"reserve_divisor": 4}, "reserve is too large"),
        ({"to_self_delay_blocks": 2_017}, "too long"),
        ({"max_accepted_htlcs": 484}, "max_accepted_htlcs"),
    ],
)
@pytest.mark.parametrize("side", ["funder_terms", "fundee_terms"])
def test_terms_that_burn_or_freeze_the_other_sides_balance(
    side: str, terms: dict[str, Any], problem: str
) -> None:
    """A high dust limit: the victim's balance would go to the fee of the thief's commitment."""
    with pytest.raises(ChannelViolation, match=problem):
        open_pair(**{side: opening_terms("thief", **terms)})


@pytest.mark.parametrize("funding_sat", [21_000_000 * 10**8 + 1, 2**63, 2**64 - 1])
def test_channel_of_more_money_than_there_is(funding_sat: int) -> None:
    with pytest.raises(ChannelViolation, match="more sat than there are"):
        open_pair(funding_sat=funding_sat)


# --- dust -----------------------------------------------------------------------------------


def test_fee_rate_that_turns_the_victims_htlcs_into_dust() -> None:
    """Without anchors a higher rate takes outputs away; their money would go to the miners."""
    pair = open_pair(
        push_sat=2_000_000,
        feerate_per_kw=500,
        funder_terms=opening_terms("a", anchors=False),
        fundee_terms=opening_terms("b", anchors=False),
    )
    victim = pair.fundee
    for number in range(10):
        offer(victim, number, amount_sat=10_000)
    commit(victim)
    pair.settle()
    channel_id = channel_of(victim).channel_id
    assert accepts(victim, UpdateFee(channel_id=channel_id, feerate_per_kw=10_000))
    refuses(victim, UpdateFee(channel_id=channel_id, feerate_per_kw=20_000), "no output")


def test_dust_htlcs_beyond_what_a_node_risks() -> None:
    pair = open_pair(push_sat=2_000_000)
    node = pair.fundee
    for number in range(141):
        offer(node, number, amount_sat=353)
    with pytest.raises(ChannelRefusal, match="no output"):
        offer(node, 141, amount_sat=353)
    offer(node, 141, amount_sat=354)


# --- floods ---------------------------------------------------------------------------------


def test_flood_of_fee_updates() -> None:
    """Each is stored and folded again at every update that follows."""
    pair = open_pair()
    victim = channel_of(pair.fundee)
    flood = UpdateFee(channel_id=victim.channel_id, feerate_per_kw=1_500)
    said = 0
    while said < 1_000 and accepts(pair.fundee, flood):
        said += 1
    assert said <= 64
    refuses(pair.fundee, flood, "fee updates wait")


def test_flood_behind_a_question_that_the_payer_does_not_answer() -> None:
    """What waits for the end of the question is bounded."""
    pair = open_lsf_pair(push_sat=1_000_000)
    open_book(pair, secret_book(pair))
    payee = payee_of(pair)
    offer(payee, 1)
    commit(payee)
    channel = channel_of(payee)
    assert channel.state.session.pending is not None
    said = 0
    flood = UpdateFailHtlc(channel_id=channel.channel_id, id=0, reason=bytes(1_000))
    while said < 10_000 and accepts(payee, flood):
        said += 1
    assert said <= 1_024
    refuses(payee, flood, "too many messages")
    assert can_close_alone(payee)


def test_flood_of_proposals() -> None:
    """Of books that are accepted and never opened the payee keeps the last one only."""
    pair = open_lsf_pair(limits=PayeeLimits(max_books=3))
    payee = payee_of(pair)
    channel_id = channel_of(payee).channel_id
    for number in range(20):
        book = secret_book(pair, book_terms(locks=2), seed=bytes([number])).book
        payee.run(
            channel_of(payee).receive(
                LsfPropose(channel_id=channel_id, book_id=book.book_id, terms=book.terms.to_bytes())
            )
        )
        payee.run(
            channel_of(payee).receive(
                LsfLocks(
                    channel_id=channel_id,
                    book_id=book.book_id,
                    first_lock=1,
                    data=book.lock_hashes,
                )
            )
        )
    assert accepted_books(channel_of(payee)) == (book,)
    assert [key for table, key in payee.store if table == "lsf-book"] == [book.book_id]
    assert {type(message) for message in payee.sent} == {LsfAccept}


def test_sixteen_million_locks_under_the_id_of_an_accepted_book() -> None:
    """Terms of a known id are not checked again, so they have to be the same."""
    pair = open_lsf_pair()
    secret = secret_book(pair)
    open_book(pair, secret)
    payee = payee_of(pair)
    huge = replace(secret.book.terms, locks=1 << 24, chain_length=2)
    propose = LsfPropose(
        channel_id=secret.book.channel_id, book_id=secret.book.book_id, terms=huge.to_bytes()
    )
    payee.run(channel_of(payee).receive(propose))
    (rejection,) = payee.sent
    assert isinstance(rejection, LsfReject)
    assert rejection.reason == RejectReason.BOOK_ID
    assert channel_of(payee).state.extension_states["lsf"].locks is None


# --- anything at all ------------------------------------------------------------------------


def _variants(value: object, rng: random.Random, pool: list[bytes]) -> list[object]:
    match value:
        case int():
            return [0, 1, value + 1, max(0, value - 1), 2**16 - 1, 2**32 - 1, 2**48, 2**64 - 1]
        case bytes():
            same = [known for known in pool if len(known) == len(value)]
            return [bytes(len(value)), b"\xff" * len(value), value[:-1], value + b"\0", *same[-9:]]
        case tuple():
            return [(), value + value, value[:-1], (rng.randbytes(64),)]
        case _:
            return [value]


def _mutated(message: Message, rng: random.Random, pool: list[bytes]) -> Message | None:
    changes = {
        item.name: rng.choice(_variants(getattr(message, item.name), rng, pool))
        for item in fields(message)
        if item.name != "channel_id" and rng.random() < 0.5
    }
    try:
        changed = replace(message, **changes)
        changed.encode()
    except EncodeError:
        return None
    return changed


def _live(pair: Pair, rng: random.Random, step: int) -> None:
    """Something that honest nodes do."""
    node = rng.choice((pair.funder, pair.fundee))
    payer = payer_of(pair)
    acts: list[Callable[[], object]] = [
        lambda: offer(node, step % 256, rng.choice((400, 20_000))),
        lambda: commit(node),
        lambda: commit(pair.other(node)),
        lambda: pair.funder.run(channel_of(pair.funder).update_fee(rng.choice((500, 2_000)))),
        lambda: propose_book(pair, secret_book(pair, seed=bytes([step % 256])).book),
        lambda: [say_open(pair, book) for book in accepted_books(channel_of(payer))],
        lambda: [pair.deliver(speaker) for speaker in (pair.funder, pair.fundee) * 3],
    ]
    if rng.random() < 0.05:
        acts = [pair.disconnect]
    if channel_of(node).state.session.link is Link.DOWN:
        acts = [pair.reconnect]
    try:
        rng.choice(acts)()
    except ChannelRefusal:
        return


@pytest.mark.parametrize("seed", range(6))
def test_no_message_makes_the_victim_stumble(seed: int) -> None:
    """Recorded messages, changed and replayed at any moment: handled, or refused as declared."""
    rng = random.Random(seed)
    pair = open_lsf_pair(push_sat=2_000_000)
    recorded: list[Message] = []
    pool: list[bytes] = []
    refused = 0
    for step in range(120):
        _live(pair, rng, step)
        for node in (pair.funder, pair.fundee):
            for message in node.sent:
                recorded.append(message)
                values = [getattr(message, item.name) for item in fields(message)]
                pool.extend(value for value in values if isinstance(value, bytes))
        victim = rng.choice((pair.funder, pair.fundee))
        changed = _mutated(rng.choice(recorded[-40:]), rng, pool) if recorded else None
        if changed is None:
            continue
        try:
            heard = channel_codec(victim.extensions).decode(changed.encode())
        except WireError:
            continue
        assert isinstance(heard, Message)
        channel = channel_of(victim)
        probe = Channel(channel.state, signer=channel.signer, extensions=channel.extensions)
        try:
            probe.receive(heard)
        except (ChannelViolation, ChannelWarning):
            assert probe.state is channel.state
            refused += 1
    assert refused > 20


def test_messages_are_refused_within_moments() -> None:
    """No message costs more than a fraction of a second, also with the largest book open."""
    pair = open_lsf_pair()
    open_book(pair, secret_book(pair, book_terms(locks=2_322, lock_amount=1_000)))
    payee = payee_of(pair)
    channel_id = channel_of(payee).channel_id
    started = time.perf_counter()
    for number in range(10):
        refuses(payee, CommitmentSigned(channel_id=channel_id, signature=bytes(64)))
        refuses(payee, LsfOpen(channel_id=channel_id, book_id=bytes([number]) * 16))
    assert time.perf_counter() - started < 5

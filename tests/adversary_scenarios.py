"""Known attacks, each a short script of what the thief does. The law judges how they end.

A scenario leaves the channel at its end on the way to the chain, or closed; whoever runs it goes
on until the honest nodes have seen the end, while the thief takes whatever it can.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from adversary_law import Account, check_all
from adversary_world import D, World, world_of
from lightspeed.bitcoin import FeeRate, Tx, TxIn, TxOut, p2wpkh, sha256
from lightspeed.channel import Effect, Phase
from lightspeed.channel.channel import Channel
from lightspeed.lsf import (
    LsfClose,
    LsfSettle,
    LsfSignatures,
    LsfSignRequest,
    Party,
)
from lightspeed.payment import (
    Book,
    LockElement,
    Scheme,
    SecretBook,
)
from lightspeed.units import Sat
from lightspeed.wire import ChannelReestablish, RevokeAndAck, UpdateFulfillHtlc

__all__ = ["SCENARIOS", "Scenario", "play"]

Script = Callable[[World], Awaitable[None]]
ALL_SCHEMES = (Scheme.OUTPUTS, Scheme.LADDER)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One attack: who cheats, in a channel that was opened like this."""

    script: Script
    cheat: Party | None
    opening: dict[str, Any]
    schemes: tuple[Scheme, ...]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    cheat: Party | None, *, schemes: tuple[Scheme, ...] = ALL_SCHEMES, **opening: Any
) -> Callable[[Script], Script]:
    """Registers the script under its name."""

    def register(script: Script) -> Script:
        name = script.__name__  # type: ignore[attr-defined]
        SCENARIOS[name] = Scenario(script=script, cheat=cheat, opening=opening, schemes=schemes)
        return script

    return register


async def play(
    name: str, *, scheme: Scheme = Scheme.OUTPUTS, seed: int = 0, kind: type[World] = World
) -> list[Account]:
    """The whole of it, with the judgement. Raises `Lost` or `Fault`."""
    chosen = SCENARIOS[name]
    async with world_of(
        chosen.cheat, scheme=scheme, seed=seed, kind=kind, **chosen.opening
    ) as world:
        await chosen.script(world)
        if not all(machine.running and machine.over for machine in world.honest):
            await world.until_over()
        return check_all(world)


# --- what scenarios begin with --------------------------------------------------------------


async def opened(world: World, **terms: Any) -> SecretBook:
    secret = await world.open_book(**terms)
    assert secret is not None
    return secret


async def paid(world: World, secret: SecretBook, units: int) -> None:
    for _ in range(units):
        assert await world.call(secret)


async def lived(world: World) -> SecretBook:
    """A past: two books, one settled in part, units paid, a fee update's worth of states."""
    first = await opened(world)
    await paid(world, first, 9)
    await world.pay(world.payer, 30_000)
    second = await opened(world, locks=3, chain_length=1, lock_sat=20_000)
    await paid(world, second, 1)
    await world.settle(first.book.book_id)
    await world.quiet()
    await paid(world, first, 4)
    await world.pay(world.payee, 40_000)
    return first


async def thief_publishes(world: World, *, age: int | None = None) -> None:
    """The thief's commitment that was revoked `age` states ago (0: its latest), or None: the
    first that had a book.

    What the mempool does not take, because the victim was faster, a miner does.
    """
    thief = world.thief
    assert thief is not None
    if age is None:
        number = next(n for n in thief.numbers if thief.loot[n].base.extensions["lsf"].books)
    else:
        number = thief.numbers[-1 - age]
    tx = thief.commitment(number)
    if not world.broadcast(tx):
        await world.mine(transactions=[tx])


# --- revoked commitments --------------------------------------------------------------------


async def _revoked(world: World) -> None:
    await lived(world)
    await thief_publishes(world, age=5)
    await world.mine()


@scenario(Party.PAYER)
async def revoked_commitment_of_the_payer_with_its_children(world: World) -> None:
    await _revoked(world)


@scenario(Party.PAYEE)
async def revoked_commitment_of_the_payee_with_its_children(world: World) -> None:
    await _revoked(world)


async def _revoked_and_asleep(world: World) -> None:
    """The victim wakes up in the last of its blocks."""
    await lived(world)
    world.sleeping_blocks = D - 2  # those of the tips h .. h + D - 3
    await thief_publishes(world, age=3)
    await world.mine(D - 1)


@scenario(Party.PAYER)
async def revoked_commitment_of_the_payer_while_the_payee_sleeps(world: World) -> None:
    await _revoked_and_asleep(world)


@scenario(Party.PAYEE)
async def revoked_commitment_of_the_payee_while_the_payer_sleeps(world: World) -> None:
    await _revoked_and_asleep(world)


@scenario(Party.PAYER)
async def revoked_lsf_that_holds_all_of_the_payers_money(world: World) -> None:
    """Its to_local is small: what the payee has to take is the LSF."""
    secret = await opened(world, locks=50, chain_length=1, lock_sat=30_000, window=2)
    for _ in range(49):
        assert await world.call(secret)
    await world.settle(secret.book.book_id)
    await world.quiet()
    await thief_publishes(world)
    await world.mine()


@scenario(Party.PAYEE, push_sat=25_000)
async def double_settlement(world: World) -> None:
    """Locks are settled and paid back to the payer by HTLC, then claimed from the old LSF.

    There the thief had next to nothing besides.
    """
    secret = await opened(world, locks=20, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 19)
    await world.settle(secret.book.book_id)
    await world.quiet()
    await world.pay(world.payee, 300_000)
    world.sleeping_blocks = 4
    await thief_publishes(world)
    await world.mine(5)


@scenario(Party.PAYER)
async def revoked_commitment_that_a_reorganisation_brings_back(world: World) -> None:
    """The penalty is undone with its blocks, by a miner of the thief's."""
    await lived(world)
    await thief_publishes(world, age=4)
    await world.mine(6)
    await world.reorganise(6, censored=True)
    await world.mine(4)


@scenario(Party.PAYEE)
async def revoked_commitment_of_the_payee_behind_a_reorganisation(world: World) -> None:
    await lived(world)
    await thief_publishes(world, age=4)
    await world.mine(6)
    await world.reorganise(6, censored=True)
    await world.mine(4)


@scenario(Party.PAYER)
async def revoked_commitment_swapped_for_the_current_one_by_a_miner(world: World) -> None:
    await lived(world)
    assert world.thief is not None
    await thief_publishes(world, age=2)
    await world.look()
    current = world.thief.commitment(world.thief.numbers[-1])
    await world.mine(transactions=[current])


# --- signatures for children ----------------------------------------------------------------


@scenario(Party.PAYER)
async def withheld_child_signatures(world: World) -> None:
    """The thief wants the payee's signature on a commitment whose children only it could sign."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=30_000, window=2)
    await paid(world, secret, 7)
    await world.pay(world.payee, 20_000, delivered=False)
    await world.talk(without=(LsfSignatures,))
    await thief_publishes(world, age=0)
    await world.mine()


@scenario(Party.PAYER)
async def stale_child_signatures(world: World) -> None:
    """It answers with the valid signatures of the commitment before."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=30_000, window=2)
    await paid(world, secret, 7)
    old: list[LsfSignatures] = []
    hear = world.record.hear

    def listen(machine: Any, message: Any) -> None:
        if isinstance(message, LsfSignatures) and message.whose == Party.PAYER:
            old.append(message)
        hear(machine, message)

    world.payer.said = listen
    await world.pay(world.payee, 20_000)
    await world.pay(world.payee, 21_000, delivered=False)
    (new, *_) = await world.talk(without=(LsfSignatures,)) or [None]
    if isinstance(new, LsfSignatures):
        stale = next(message for message in old if message != new)
        await world.say(replace(stale, commitment_number=new.commitment_number))
        await world.talk(without=(LsfSignatures, RevokeAndAck))
    await thief_publishes(world, age=0)
    await world.mine()


@scenario(Party.PAYER)
async def commitment_without_the_signatures_of_its_children(world: World) -> None:
    """The payee must not revoke the commitment whose children it can publish."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=30_000, window=2)
    await paid(world, secret, 7)
    await world.pay(world.payer, 20_000, delivered=False)
    await world.talk(without=(LsfSignatures,))
    await world.force_close(world.payee)  # with a child, or it would be its loss


@scenario(None)
async def sign_request_around_a_crossing_revoke_and_ack(world: World) -> None:
    """Both sides sign at the same time; nobody is failed, whatever crosses the question."""
    secret = await opened(world)
    await paid(world, secret, 8)
    for amount in (20_000, 21_000, 22_000):
        await world.pay(world.payee, amount, delivered=False)
        await world.pay(world.payer, amount, delivered=False)
        assert isinstance(world.payee.outbox[-1], LsfSignRequest)
        while world.payer.outbox:
            await world.deliver(world.payer)
        await world.quiet()
    world.provoked = True
    await world.force_close(world.payee)


# --- books that lie -------------------------------------------------------------------------


async def _pay_from_false_book(world: World, change: Callable[[SecretBook], Book]) -> None:
    real = SecretBook.create

    def false_book(**terms: Any) -> SecretBook:
        honest = real(**terms)
        return SecretBook(book=change(honest), seed=honest.seed)

    SecretBook.create = false_book  # type: ignore[method-assign, assignment]
    try:
        secret = await opened(world, locks=5, chain_length=4, window=4)
    finally:
        SecretBook.create = real  # type: ignore[method-assign]
    for unit in range(1, 21):
        await world.present(secret, unit)
    await world.force_close(world.payer)


@scenario(Party.PAYER)
async def garbage_lock_hashes(world: World) -> None:
    """No secret opens them: the payee notices at the first completed lock."""

    def garble(secret: SecretBook) -> Book:
        return replace(secret.book, lock_hashes=sha256(b"garbage") * secret.book.terms.locks)

    await _pay_from_false_book(world, garble)


@scenario(Party.PAYER)
async def garbage_anchors(world: World) -> None:
    def garble(secret: SecretBook) -> Book:
        return replace(secret.book, anchors=sha256(b"garbage") * secret.book.terms.locks)

    await _pay_from_false_book(world, garble)


@scenario(Party.PAYER)
async def delays_chosen_to_overlap(world: World) -> None:
    """A refund before the payee's own child may confirm. Such a book is refused."""
    secret = await world.open_book(
        locks=20, chain_length=1, lock_sat=30_000, window=2, refund_delay_blocks=D - 4
    )
    if secret is not None:
        for _ in range(19):
            await world.call(secret)
    await world.force_close(world.payee)


@scenario(Party.PAYER)
async def delays_as_close_as_they_may_be(world: World) -> None:
    secret = await opened(
        world,
        locks=20,
        chain_length=1,
        lock_sat=30_000,
        window=2,
        refund_delay_blocks=D + 11,
    )
    await paid(world, secret, 9)
    world.sleeping_blocks = 2
    await world.force_close(world.payee)


# --- units ----------------------------------------------------------------------------------


@scenario(Party.PAYEE)
async def units_computed_from_public_data(world: World) -> None:
    """From each h_j down: with another step than SHA256 nothing that it hashes is a unit."""
    secret = await opened(world, locks=5, chain_length=8, lock_sat=40_000, window=8)
    await paid(world, secret, 1)
    book, c = secret.book, secret.book.terms.chain_length
    made = tuple(
        LockElement(lock, c - 1, book.lock_hash(lock))  # e(c - 1), were the step SHA256
        for lock in (1, 2)
    )
    await _say_close(world, secret, made)
    await world.force_close(world.payer)


async def _say_close(
    world: World, secret: SecretBook, elements: tuple[LockElement, ...], *, first_lock: int = 1
) -> None:
    """The payee's thief closes a book as if it had been paid so much."""
    close = LsfClose(
        channel_id=secret.book.channel_id,
        book_id=secret.book.book_id,
        first_lock=first_lock,
        elements=elements,
    )
    await _say_update(world, close)


async def _say_update(world: World, update: LsfClose | LsfSettle) -> None:
    """The payee's thief says it, and goes on to what would make it irrevocable."""
    world.provoked = True

    def turn(channel: Channel) -> tuple[Effect, ...]:
        return (*channel.propose(update), *channel.commit())

    if not await world.act(world.payee, turn):
        await world.say(update)  # its own node does not believe it either
    await world.quiet()


@scenario(Party.PAYEE)
async def close_with_units_that_were_never_paid(world: World) -> None:
    """The elements are of the payer's other locks, or made up."""
    secret = await opened(world)
    await paid(world, secret, 6)
    invented = (
        LockElement(1, 4, secret.lock_secret(1)),
        LockElement(2, 4, sha256(b"invented")),
    )
    await _say_close(world, secret, invented)
    await world.force_close(world.payer)


@scenario(Party.PAYER)
async def payer_leaves_out_the_last_unit_of_every_lock(world: World) -> None:
    """All that the payee has then served it can enforce nothing of."""
    secret = await opened(world, locks=12, chain_length=8, lock_sat=40_000, window=4)
    for lock in range(12):
        for unit in range(1, 8):
            await world.present(secret, lock * 8 + unit)
    await world.force_close(world.payer)


@scenario(Party.PAYER)
async def payer_leaves_out_the_first_lock(world: World) -> None:
    """Nobody can publish the child without its secret."""
    secret = await opened(world, locks=30, chain_length=1, lock_sat=20_000, window=4)
    for unit in range(2, 31):
        await world.present(secret, unit)
    await world.force_close(world.payer)


@scenario(Party.PAYER)
async def paying_on_after_the_channel_was_spent(world: World) -> None:
    """With a commitment in the mempool and in a block, the payee serves no more of the book."""
    secret = await opened(world, locks=40, chain_length=1, lock_sat=20_000, window=4)
    await paid(world, secret, 3)
    await thief_publishes(world, age=0)
    await world.mine(2)
    for unit in range(4, 34):
        await world.present(secret, unit)
        if unit % 8 == 0:
            await world.mine()


@scenario(Party.PAYER)
async def redeem_races_the_fence(world: World) -> None:
    """A call every block, before and after the look that fences."""
    secret = await opened(world, locks=40, chain_length=2, lock_sat=20_000, window=4)
    for unit in range(1, 7):
        await world.present(secret, unit)
    await thief_publishes(world, age=0)
    await world.present(secret, 7, 2)
    await world.mine()
    await world.present(secret, 9, 2)
    await world.mine()
    await world.present(secret, 11, 2)


@scenario(Party.PAYER)
async def close_in_the_middle_of_redeems(world: World) -> None:
    """lsf_close_request, a fence, an lsf_close: calls come in between each of them."""
    secret = await opened(world, locks=10, chain_length=4, window=8)
    unit = 1
    book_id = secret.book.book_id

    async def calls() -> None:
        nonlocal unit
        for _ in range(3):
            await world.present(secret, unit)
            unit += 1

    await calls()
    await world.request_close(book_id)
    await calls()
    await world.quiet()
    await calls()
    await world.close_book(book_id)
    await calls()
    await world.talk(until=RevokeAndAck)
    await calls()
    await world.quiet()
    await calls()
    await world.force_close(world.payer)


@scenario(Party.PAYEE)
async def payee_says_already_redeemed_to_everything(world: World) -> None:
    """The payer stops at once; what it had presented is all that it loses."""
    secret = await opened(world, locks=10, chain_length=4, window=8)
    await paid(world, secret, 3)
    for _ in range(30):
        await world.call(secret, problem="already-redeemed")
    world.provoked = True
    assert world.record.use(secret.book).presented_value == 4 * secret.book.terms.unit_value
    await thief_publishes(world, age=0)
    await world.mine()


@scenario(Party.PAYEE)
async def payee_takes_units_and_does_not_answer(world: World) -> None:
    """What a payer can lose to one that does not serve is bounded."""
    secret = await opened(world, locks=10, chain_length=4, window=8)
    await paid(world, secret, 2)
    for _ in range(40):
        await world.call(secret, answered=False)
    world.provoked = True
    use = world.record.use(secret.book)
    lost_units = use.presented_value // secret.book.terms.unit_value - 2
    assert lost_units <= secret.book.terms.window
    await thief_publishes(world, age=0)
    await world.mine()


# --- updates --------------------------------------------------------------------------------


@scenario(Party.PAYEE)
async def replay_of_an_old_lsf_settle(world: World) -> None:
    """Word for word, and for the locks behind it with the same secrets."""
    heard: list[LsfSettle] = []
    hear = world.record.hear

    def listen(machine: Any, message: Any) -> None:
        if isinstance(message, LsfSettle):
            heard.append(message)
        hear(machine, message)

    world.payee.said = listen
    secret = await opened(world, locks=10, chain_length=1)
    await paid(world, secret, 4)
    await world.settle(secret.book.book_id)
    await world.quiet()
    await _say_update(world, heard[0])
    await _say_update(world, replace(heard[0], first_lock=5, last_lock=8))
    await world.force_close(world.payer)


@scenario(Party.PAYEE)
async def settle_of_locks_that_were_not_paid(world: World) -> None:
    secret = await opened(world, locks=10, chain_length=1)
    await paid(world, secret, 2)
    settle = LsfSettle(
        channel_id=secret.book.channel_id,
        book_id=secret.book.book_id,
        first_lock=1,
        last_lock=5,
        secrets=tuple(
            sha256(bytes([lock])) for lock in range(1 if world.scheme is Scheme.LADDER else 5)
        ),
    )
    await _say_update(world, settle)
    await world.force_close(world.payer)


async def _false_numbers(world: World) -> None:
    await lived(world)
    (victim,) = world.honest
    await world.disconnect()
    await world.connect()
    assert world.thief is not None
    truth = next(
        message for message in world.thief.machine.outbox if isinstance(message, ChannelReestablish)
    )
    world.thief.machine.outbox.clear()
    await world.say(replace(truth, next_revocation_number=truth.next_revocation_number + 1))
    await world.say(replace(truth, next_commitment_number=1))
    await world.quiet()
    assert victim.phase is not Phase.BEHIND
    await world.force_close(victim)


@scenario(Party.PAYER)
async def reestablish_of_the_payer_with_false_numbers(world: World) -> None:
    await _false_numbers(world)


@scenario(Party.PAYEE)
async def reestablish_of_the_payee_with_false_numbers(world: World) -> None:
    await _false_numbers(world)


# --- on chain -------------------------------------------------------------------------------


@scenario(Party.PAYER, schemes=(Scheme.OUTPUTS,))
async def theft_race_on_claims(world: World) -> None:
    """The secrets are in the mempool: neither the payer nor a stranger can use them."""
    secret = await opened(world, locks=6, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 5)
    await thief_publishes(world, age=0)
    await world.mine(2)
    stolen = 0
    for entry in list(world.regtest.mempool):
        for seen in entry.tx.inputs:
            if len(seen.witness) != 4:
                continue
            stolen += 1
            race = Tx(
                version=2,
                inputs=(TxIn(seen.outpoint, sequence=seen.sequence, witness=seen.witness),),
                outputs=(TxOut(Sat(15_000), p2wpkh(b"thief".ljust(20))),),
            )
            assert not world.broadcast(race)
    assert stolen == 5


@scenario(Party.PAYER)
async def refund_at_the_first_possible_block(world: World) -> None:
    """The thief tries at each block, while the payee sleeps through a part of its window."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 7)
    await thief_publishes(world, age=0)
    world.sleeping_blocks = 30
    await world.mine(31)
    world.sleeping_blocks = 30
    await world.mine(31)


@scenario(Party.PAYER)
async def refund_races_the_childs_last_block(world: World) -> None:
    """The payee's own commitment: asleep until shortly before the refund."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 7)
    await world.force_close(world.payee)
    await world.mine()
    world.provoked = True
    world.sleeping_blocks = D + 20
    await world.mine(D + 21)


@scenario(Party.PAYER)
async def pinning_with_low_fee_children(world: World) -> None:
    """On the payee's child; then the fee rate rises, and no block takes what pays so little."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 7)
    await thief_publishes(world, age=0)
    await world.mine()
    assert world.thief is not None
    pins = world.thief.pin()
    assert pins
    world.regtest.fee_rate = FeeRate(2_500)
    await world.mine(2, transactions=[])
    assert not any(pin.txid in world.regtest.mempool for pin in pins), "nobody outbids the thief"


@scenario(None)
async def htlcs_in_flight_at_a_unilateral_close(world: World) -> None:
    """Offered both ways; one is fulfilled, and who offered it has not heard of it."""
    await lived(world)
    await world.pay(world.payer, 50_000, delivered=False)
    await world.pay(world.payee, 60_000, delivered=False)
    await world.talk(until=UpdateFulfillHtlc)
    await world.disconnect()
    assert all(machine.channel.state.base.htlcs for machine in world.machines)
    await world.force_close(world.payer)


@scenario(Party.PAYEE)
async def fulfilled_htlcs_that_the_payee_claims_on_chain_only(world: World) -> None:
    """It never says update_fulfill_htlc, and shows the preimage when it claims."""
    await lived(world)
    await world.pay(world.payer, 50_000, delivered=False)
    await world.talk(until=UpdateFulfillHtlc)
    await world.disconnect()
    assert world.payee.channel.state.base.htlcs
    await thief_publishes(world, age=0)
    await world.mine()


@scenario(None)
async def reorganisations_at_any_moment_of_a_close(world: World) -> None:
    """After every block, one to six are replaced."""
    await lived(world)
    await world.force_close(world.payee)
    world.provoked = True
    for depth in (1, 2, 3, 4, 5, 6) * 5:
        await world.mine()
        await world.reorganise(depth)


@scenario(Party.PAYER)
async def reorganisations_that_undo_what_the_payee_took(world: World) -> None:
    """Six blocks at a time, by a miner of the thief's: children, then claims wait again."""
    secret = await opened(world, locks=8, chain_length=1, lock_sat=20_000, window=3)
    await paid(world, secret, 7)
    await thief_publishes(world, age=0)
    for blocks in (1, 2, 3, 7, 4, 7, 7):
        await world.mine(blocks)
        await world.reorganise(6, censored=True)


# --- files that went back in time -----------------------------------------------------------


@scenario(Party.PAYER)
async def ledger_restored_from_a_backup(world: World) -> None:
    """Units redeemed since the backup are not served again: the book is fenced first."""
    secret = await opened(world, locks=10, chain_length=2, lock_sat=20_000, window=4)
    for unit in range(1, 9):
        await world.present(secret, unit)
    await world.look()
    await world.crash(world.payee)
    backup = world.folder / "backup"
    world.payee.copy_ledger(backup)
    await world.start(world.payee)
    await world.connect()
    await world.mine()
    for unit in range(9, 15):
        await world.present(secret, unit)
    await world.mine()  # the node has seen how much was redeemed
    await world.crash(world.payee)
    world.payee.put_ledger_back(backup)
    await world.start(world.payee)
    await world.mine()
    for unit in range(9, 21):
        await world.present(secret, unit)
    await world.force_close(world.payer)


@scenario(Party.PAYER)
async def ledger_is_down_when_the_channel_closes(world: World) -> None:
    """The node knows of three locks, and nine were paid: what it made now would leave out six."""
    secret = await opened(world, locks=12, chain_length=1, lock_sat=20_000, window=2)
    await paid(world, secret, 3)
    world.now += 3_600
    await world.look()
    await paid(world, secret, 6)

    with world.ledger_down():
        await thief_publishes(world, age=0)
        await world.mine(6)
    await world.mine()

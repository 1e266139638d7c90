"""A channel's life in phases, each with a node that dies at any of its I/O points.

A phase is begun, a node is killed before one of its operations and starts again from its files,
the two meet again, and the phase is gone on with until it is done. Then the law judges.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adversary_law import account_of, check_all
from adversary_machine import ORIGIN
from adversary_record import Fault
from adversary_world import SETTLED_DEPTH, Lost, R, World, world_of
from lightspeed.channel import Phase
from lightspeed.lsf import LsfState, Party, closed_books, settled_locks, usable_books
from lightspeed.node.books import BookRequest
from lightspeed.payment import BookState, Scheme
from lightspeed.wire import UpdateFulfillHtlc

__all__ = ["PHASES", "TOKEN_PHASES", "Death", "deaths_in", "die", "points_of"]

_MOST_ROUNDS = 6
_MOST_ROUNDS_TO_THE_END = 18
_OLD_COPY_FEES_SAT = 2_500
"""Its own transactions', and as the funder the commitment's."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase: what comes before it, what it does (again, if need be), and when it is done."""

    act: Callable[[World], Awaitable[None]]
    done: Callable[[World], Awaitable[bool]]
    before: Callable[[World], Awaitable[None]] | None = None
    opened: bool = True
    """It begins with a usable channel."""
    ended: bool = False
    """The channel is over with it."""
    judge: Callable[[World], object] = check_all
    """Once it is over. Raises `Lost`."""

    @property
    def rounds(self) -> int:
        return _MOST_ROUNDS_TO_THE_END if self.ended else _MOST_ROUNDS


def _book_id(world: World) -> bytes:
    (book_id,) = world.secrets
    return book_id


def _both_have_it(world: World) -> bool:
    return all(machine.has_channel for machine in world.machines)


# --- open -----------------------------------------------------------------------------------


async def _open(world: World) -> None:
    """Once more only if nothing is left of the first try."""
    if not world.has_common_channel:
        await world.open_channel()
    else:
        await world.mine(SETTLED_DEPTH)


async def _is_open(world: World) -> bool:
    if world.is_open:
        world.take_stock()
    return world.is_open


# --- a book ---------------------------------------------------------------------------------


async def _open_book(world: World) -> None:
    """By the payer's node, unless one is on its way."""
    payer = world.payer
    state = payer.channel.state.extension_states["lsf"] if payer.has_channel else None
    if isinstance(state, LsfState) and not state.books and state.proposed is None:
        assert payer.node.books.payer is not None
        request = BookRequest(
            scheme=world.scheme,
            locks=4,
            chain_length=2,
            lock_amount_sat=None if world.asset else 10_000,
            lock_tokens=10_000 if world.asset else None,
            origins=(ORIGIN,),
            window=4,
            refund_delay_blocks=R,
        )
        await world.wish(payer.node.books.payer.open(payer.driver, request))
    await world.quiet()
    await world.look()


async def _has_book(world: World) -> bool:
    """Usable on both sides, and leased."""
    if not _both_have_it(world) or any(len(usable_books(m.channel)) != 1 for m in world.machines):
        return False
    assert world.payee.ledger is not None
    statuses = await world.payee.ledger.statuses()
    return any(status.open_until > world.now for status in statuses)


# --- a conventional payment -----------------------------------------------------------------


async def _pay(world: World) -> None:
    await world.pay(world.payer, 30_000)
    await world.pay(world.payee, 12_000)
    await world.quiet()


async def _is_paid(world: World) -> bool:
    if not _both_have_it(world) or any(m.channel.state.base.htlcs for m in world.machines):
        return False
    _check_payments(world)
    return True


def _check_payments(world: World) -> None:
    """Both sides agree on what was paid."""
    for sender in world.machines:
        receiver = world.other(sender)
        paid = {p.payment_hash for p in sender.node.payments.all() if p.state == "paid"}
        taken = {i.payment_hash for i in receiver.node.invoices.all() if i.paid}
        if paid != taken:
            raise Fault(f"the {sender.name} paid {len(paid)} invoices, {len(taken)} were taken")


# --- the payee's updates --------------------------------------------------------------------


async def _with_paid_book(world: World) -> None:
    secret = await world.open_book(locks=6, chain_length=2, window=4)
    assert secret is not None
    for _ in range(7):
        assert await world.call(secret)


async def _settle(world: World) -> None:
    await world.settle(_book_id(world))
    await world.quiet()


async def _is_settled(world: World) -> bool:
    book_id = _book_id(world)
    return _both_have_it(world) and all(
        settled_locks(machine.channel).get(book_id) == 3 for machine in world.machines
    )


async def _close_book(world: World) -> None:
    await world.request_close(_book_id(world))
    await world.quiet()
    await world.look()


async def _is_closed(world: World) -> bool:
    """To the unit, on both sides and in the ledger."""
    book_id = _book_id(world)
    if not _both_have_it(world):
        return False
    if any(closed_books(machine.channel).get(book_id) != 7 for machine in world.machines):
        return False
    assert world.payee.ledger is not None
    status = await world.payee.ledger.status(book_id)
    return status.state is BookState.CLOSED


# --- the channel's end ----------------------------------------------------------------------


async def _shut_down(world: World) -> None:
    for machine in world.machines:
        if machine.has_channel and machine.phase is Phase.NORMAL:
            await world.wish(machine.node.close_channel(machine.channel.channel_id))
            break
    await world.mine(8)


def _force_close(party: Party) -> Callable[[World], Awaitable[None]]:
    async def act(world: World) -> None:
        machine = world.machine(party)
        if machine.has_channel and machine.phase is Phase.NORMAL:
            await world.force_close(machine)
        await world.mine(12)

    return act


async def _is_over(world: World) -> bool:
    return _both_have_it(world) and all(machine.over for machine in world.machines)


async def _with_payments_under_way(world: World) -> None:
    """The payee has said the preimage that it was paid for; it was not heard."""
    await _with_paid_book(world)
    for machine in world.machines:
        await world.pay(machine, 30_000, delivered=False)
    await world.talk(until=UpdateFulfillHtlc)
    await world.disconnect()


async def _is_over_with_payments(world: World) -> bool:
    if not await _is_over(world):
        return False
    _check_payments(world)
    return True


# --- an old copy ----------------------------------------------------------------------------


def _with_old_copy(party: Party) -> Callable[[World], Awaitable[None]]:
    """This side has just started from a store whose commitment was revoked since."""

    async def before(world: World) -> None:
        await _with_paid_book(world)
        machine = world.machine(party)
        backup = machine.backup()
        await world.pay(world.payer, 25_000)
        await world.quiet()
        await world.restart(machine, backup=backup)
        world.provoked = True  # the channel fails, and that is right

    return before


async def _meet_and_wait(world: World) -> None:
    await world.mine()
    await world.connect()
    await world.quiet()
    await world.mine(12)


def _check_old_copy(party: Party) -> Callable[[World], None]:
    """Its peer has ended the channel. What its own state would prove, this side has lost."""

    def judge(world: World) -> None:
        machine, peer = world.machine(party), world.machine(party.other)
        account_of(world, peer).check()
        end = world.regtest.outspend(world.funding)
        assert end is not None
        if end.tx.txid in {tx.txid for tx in machine.published}:
            raise Fault(f"the {machine.name} has published its old commitment")
        gained_sat = machine.purse.balance().total_sat - world.coins_sat[machine.name]
        if gained_sat < peer.channel.state.base.counterparty_msat // 1_000 - _OLD_COPY_FEES_SAT:
            raise Lost(f"the {machine.name} gained {gained_sat} sat")

    return judge


PHASES: dict[str, Stage] = {
    "open": Stage(act=_open, done=_is_open, opened=False),
    "book": Stage(act=_open_book, done=_has_book),
    "payments": Stage(act=_pay, done=_is_paid),
    "payments beside a book": Stage(before=_with_paid_book, act=_pay, done=_is_paid),
    "settle": Stage(before=_with_paid_book, act=_settle, done=_is_settled),
    "close a book": Stage(before=_with_paid_book, act=_close_book, done=_is_closed),
    "close": Stage(before=_with_paid_book, act=_shut_down, done=_is_over, ended=True),
    "unilateral close with payments": Stage(
        before=_with_payments_under_way,
        act=_force_close(Party.PAYEE),
        done=_is_over_with_payments,
        ended=True,
    ),
    "unilateral close by the payer": Stage(
        before=_with_paid_book, act=_force_close(Party.PAYER), done=_is_over, ended=True
    ),
    "unilateral close by the payee": Stage(
        before=_with_paid_book, act=_force_close(Party.PAYEE), done=_is_over, ended=True
    ),
    "old copy of the payer": Stage(
        before=_with_old_copy(Party.PAYER),
        act=_meet_and_wait,
        done=_is_over,
        ended=True,
        judge=_check_old_copy(Party.PAYER),
    ),
    "old copy of the payee": Stage(
        before=_with_old_copy(Party.PAYEE),
        act=_meet_and_wait,
        done=_is_over,
        ended=True,
        judge=_check_old_copy(Party.PAYEE),
    ),
}


TOKEN_PHASES = tuple(phase for phase in PHASES if not phase.startswith("old copy"))
"""Also played with tokens: who has lost its state has lost these."""


async def _live(world: World, stage: Stage, *, relapse: int | None = None) -> None:
    """The phase to its end; who is dead starts again, the first time until `relapse`."""
    for _ in range(stage.rounds):
        await stage.act(world)
        for machine in world.machines:
            if not machine.running:
                await world.start(machine, blows_at=relapse)
                relapse = None
        world.learn_channel()
        await world.connect()
        await world.quiet()
        await world.look()
        if world.connected and await stage.done(world):
            for machine in world.machines:
                machine.fuse.blows_at = None
            return
    raise Fault("the phase does not come to its end")


async def _judge(world: World, stage: Stage, *, to_the_end: bool) -> None:
    if not stage.ended:
        _check_mirrored(world)
        if not to_the_end:
            return
        await world.force_close(world.payee)
        await world.until_over()
    stage.judge(world)


def _check_mirrored(world: World) -> None:
    """Both sides hold the same two commitments, and nothing is pending."""
    payer, payee = (machine.channel for machine in world.machines)
    for ours, theirs in ((payer, payee), (payee, payer)):
        (seen,) = theirs.counterparty_commitments()
        if ours.holder_commitment().frozen != seen.frozen:
            raise Fault("the two sides hold different commitments")


# --- deaths ---------------------------------------------------------------------------------


async def points_of(
    phase: str, party: Party, *, scheme: Scheme, kind: type[World] = World
) -> list[str]:
    """The I/O points of this side in a phase that nobody disturbs."""
    stage = PHASES[phase]
    async with world_of(None, scheme=scheme, kind=kind, opened=stage.opened) as world:
        if stage.before is not None:
            await stage.before(world)
        points = world.machine(party).fuse.points
        points.clear()
        await _live(world, stage)
        return points


@dataclass(frozen=True, kw_only=True)
class Death:
    """Of one side, before its I/O operation number `point` of a phase."""

    phase: str
    party: Party
    scheme: Scheme
    kind: type[World] = World
    point: int
    operation: str
    """Empty: all of them were done."""
    last_words_arrive: bool
    """What it had said before still reaches the other side."""
    relapse: int | None = None
    """Its next process dies too, before so many operations."""


async def deaths_in(
    phase: str, party: Party, *, scheme: Scheme, kind: type[World] = World
) -> list[Death]:
    """Every one that there is; the last comes after the phase's last operation."""
    points = await points_of(phase, party, scheme=scheme, kind=kind)
    return [
        Death(
            phase=phase,
            party=party,
            scheme=scheme,
            kind=kind,
            point=point,
            operation=operation,
            last_words_arrive=last_words_arrive,
        )
        for point, operation in enumerate((*points, ""))
        for last_words_arrive in (False, True)
    ]


async def die(death: Death, *, to_the_end: bool = True) -> None:
    """The phase with this death in it, and the judgement. Raises `Fault` and `Lost`.

    `to_the_end`: also of a channel that the phase leaves open, by closing it unilaterally.
    """
    stage = PHASES[death.phase]
    async with world_of(None, scheme=death.scheme, kind=death.kind, opened=stage.opened) as world:
        if stage.before is not None:
            await stage.before(world)
        world.last_words_arrive = death.last_words_arrive
        machine = world.machine(death.party)
        fuse = machine.fuse
        fuse.blows_at = len(fuse.points) + death.point
        await _live(world, stage, relapse=death.relapse)
        if not death.operation:
            await world.crash(machine)
            await _live(world, stage)
        assert fuse.blown_at == death.operation
        await _judge(world, stage, to_the_end=to_the_end)

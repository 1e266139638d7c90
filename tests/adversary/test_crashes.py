"""A node that is killed, at any point, or put back from a backup: it goes on, or it waits.

No state is signed twice with another content and no revoked one is published: the world's record
raises `Fault` at either (`adversary_record`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from adversary_crashes import PHASES, deaths_in, die
from adversary_record import Fault
from adversary_scenarios import lived
from adversary_world import Lost, World, world_of
from lightspeed.channel import Effect, Notify, Persist, Phase, Send
from lightspeed.lsf import Party
from lightspeed.node.driver import ChannelDriver
from lightspeed.payment import Scheme

STRIDE = 9
"""Of all deaths; `make adversary` plays each point. It is odd: last words arrive, and do not."""

SIDES = [
    (phase, party, (Scheme.OUTPUTS, Scheme.LADDER)[(index + party) % 2])
    for index, phase in enumerate(PHASES)
    for party in Party
]


@pytest.mark.parametrize(
    ("phase", "party", "scheme"),
    SIDES,
    ids=lambda value: value if isinstance(value, str) else value.name.lower(),
)
async def test_node_killed_between_any_two_io_operations_goes_on(
    phase: str, party: Party, scheme: Scheme
) -> None:
    """Every second time it dies again, as it starts."""
    deaths = await deaths_in(phase, party, scheme=scheme)
    assert len({death.operation for death in deaths}) > 4
    for number, death in enumerate(deaths[::STRIDE]):
        relapse = number if number % 2 else None
        await die(replace(death, relapse=relapse), to_the_end=number % 4 == 0)


async def test_process_that_dies_in_a_task_of_its_own_is_dead() -> None:
    """Nobody who waits for that task need be told: the next one who comes along sees it."""
    async with world_of(Party.PAYEE) as world:
        await lived(world)
        payee = world.payee
        payee.fuse.blows_at = len(payee.fuse.points)
        closing = payee.node.close_channel(payee.channel_id)
        await asyncio.gather(asyncio.ensure_future(closing), return_exceptions=True)
        assert not payee.running
        await world.quiet()
        assert not world.connected
        await world.start(payee)
        await world.connect()
        await world.quiet()
        assert payee.phase is Phase.NORMAL


@pytest.mark.parametrize("party", Party, ids=lambda party: party.name.lower())
async def test_node_that_speaks_before_it_stores_is_caught(party: Party) -> None:
    """The points are the right ones: at one of them, that order is fatal."""

    async def careless(self: ChannelDriver, effects: Sequence[Effect]) -> list[object]:
        for effect in effects:
            if isinstance(effect, Send):
                await self._send(effect.message)
        events = [effect.event for effect in effects if isinstance(effect, Notify)]
        stored = [put for effect in effects if isinstance(effect, Persist) for put in effect.puts]
        for event in events:
            stored += self._listener.records(self, event)
        if stored:
            self._persist(stored)
        return events

    with mock.patch.object(ChannelDriver, "_run", careless):
        for death in await deaths_in("payments", party, scheme=Scheme.OUTPUTS):
            try:
                await die(death, to_the_end=False)
            except (Fault, Lost):
                return
    raise AssertionError("no death showed it")


# --- old copies -----------------------------------------------------------------------------


async def _with_backup(world: World, party: Party, *, early: bool) -> bytes:
    """Lives on after the backup, so that the copy's commitment is revoked."""
    machine = world.machine(party)
    if early:
        backup = machine.backup()
        await lived(world)
        return backup
    await lived(world)
    backup = machine.backup()
    await world.pay(world.payer, 25_000)
    return backup


def _balance_sat(world: World, party: Party) -> int:
    return int(world.machine(party).channel.state.base.holder_msat) // 1_000


@pytest.mark.parametrize("early", [True, False], ids=["without the book", "one payment ago"])
@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER], ids=lambda s: s.name.lower())
@pytest.mark.parametrize("party", Party, ids=lambda party: party.name.lower())
async def test_old_copy_waits_and_asks_its_peer_to_close(
    party: Party, scheme: Scheme, early: bool
) -> None:
    async with world_of(None, scheme=scheme) as world:
        backup = await _with_backup(world, party, early=early)
        machine, peer = world.machine(party), world.other(world.machine(party))
        owed_sat = _balance_sat(world, party)
        published = len(machine.published)
        await world.restart(machine, backup=backup)
        world.provoked = True
        await world.force_close(machine)  # its owner does not know better
        await world.mine(3)
        assert machine.published[published:] == []
        assert world.regtest.outspend(world.funding) is None
        await world.connect()
        await world.quiet()
        assert machine.phase is Phase.BEHIND
        assert peer.phase is Phase.FAILED
        await world.until_over()
        end = world.regtest.outspend(world.funding)
        assert end is not None
        assert end.tx.txid in {tx.txid for tx in peer.published}
        gained = machine.purse.balance().total_sat - world.coins_sat[machine.name]
        assert gained >= owed_sat - 2_500  # fees: its own, and as the funder the commitment's


@pytest.mark.parametrize("party", Party, ids=lambda party: party.name.lower())
async def test_copy_that_turns_out_to_be_the_latest_goes_on(party: Party) -> None:
    async with world_of(None) as world:
        await lived(world)
        machine = world.machine(party)
        backup = machine.backup()
        await world.crash(machine)
        machine.put_back(backup)
        await world.start(machine)
        await world.connect()
        await world.quiet()
        assert await world.pay(world.payer, 20_000)
        assert all(m.phase is Phase.NORMAL for m in world.machines)


async def test_peer_who_only_claims_that_our_copy_is_old_proves_nothing() -> None:
    """Otherwise every peer could keep us from closing."""
    async with world_of(Party.PAYER) as world:
        await lived(world)
        await world.disconnect()
        await world.connect()
        (truth,) = world.payer.outbox
        world.payer.outbox.clear()
        lie: Any = truth
        await world.say(replace(lie, next_revocation_number=lie.next_revocation_number + 3))
        assert world.payee.phase is Phase.FAILED
        await world.until_over()

"""Unilateral closes of channels with LDK, with HTLCs in flight, mined on our regtest."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ldk_world import Cut, LdkWorld, ldk_world
from lightspeed.bitcoin import sha256
from lightspeed.node.closing import CloseKind, CloseProgress, CloseState
from lightspeed.units import Msat
from lightspeed.wire import UpdateFulfillHtlc
from node_world import eventually

CLAIMED_SAT, TIMED_OUT_SAT, DUST_SAT, RECEIVED_SAT = 110_000, 70_000, 200, 50_000


@pytest.mark.parametrize("anchors", [False, True], ids=["12", "12+22"])
@pytest.mark.parametrize("by_ldk", [False, True], ids=["our_commitment", "ldk_commitment"])
async def test_unilateral_close_pays_both_what_they_are_owed(
    tmp_path: Path, anchors: bool, by_ldk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ldk_world(tmp_path, anchors=anchors) as world:
        await world.open_channel(by_ldk=anchors)
        await world.ours.fund_wallet(100_000)  # HTLC transactions of anchor channels need a coin
        await world.give_ldk_a_coin(100_000)
        flight = await _leave_in_flight(world, monkeypatch)
        ours_sat, ldk_sat = await _our_money(world), _money_of_ldk(world)
        base = world.ours.channel.state.base

        await _close(world, by_ldk=by_ldk)
        await world.ldk.ask("claim", payment_hash=flight.claimed)
        progress = await _mine_to_the_end(world)

        assert progress.kind is (CloseKind.COUNTERPARTY if by_ldk else CloseKind.HOLDER)
        owed_sat = base.holder_msat // 1_000 + TIMED_OUT_SAT + RECEIVED_SAT
        assert _paid(owed_sat, await _our_money(world) - ours_sat)
        owed_sat = base.counterparty_msat // 1_000 + CLAIMED_SAT
        assert _paid(owed_sat, _money_of_ldk(world) - ldk_sat)
        await world.ldk.told("payment_claimed", payment_hash=flight.claimed)
        await world.ldk.told("payment_sent", payment_hash=flight.received)
        for payment_hash, state in (
            (flight.claimed, "paid"),
            (flight.timed_out, "failed"),
            (flight.dust, "failed"),
        ):
            payment = world.ours.node.payments.get(bytes.fromhex(payment_hash))
            assert payment.state == state
        # LDK goes on trying for an output after we took it.
        assert set(world.ldk.refused) <= {"bad-txns-inputs-missingorspent"}


def _paid(owed_sat: int, got_sat: int) -> bool:
    """But for the fees of its own transactions."""
    return 0 <= owed_sat - got_sat < 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """Payment hashes of what is under way when the channel is closed."""

    claimed: str
    timed_out: str
    dust: str
    received: str


async def _leave_in_flight(world: LdkWorld, monkeypatch: pytest.MonkeyPatch) -> Flight:
    """Three HTLCs of ours, and one of LDK's that we were paid with; then the connection is lost."""
    await world.ldk.ask("hold", on=True)
    hashes = []
    for sat in (CLAIMED_SAT, TIMED_OUT_SAT, DUST_SAT):
        await world.begin_to_pay_ldk(sat * 1_000)
        hashes.append(
            (await world.ldk.told("payment_claimable", amount_msat=sat * 1_000))["payment_hash"]
        )
    invoice = world.ours.node.invoices.create(amount_msat=Msat(RECEIVED_SAT * 1_000))
    cut = Cut(
        world,
        monkeypatch,
        lambda message, _: isinstance(message, UpdateFulfillHtlc),
        stay_away=True,
    )
    await world.ldk.pay(invoice.bolt11)
    await eventually(lambda: cut.lost)
    claimed, timed_out, dust = hashes
    return Flight(claimed=claimed, timed_out=timed_out, dust=dust, received=invoice.payment_hash)


async def _close(world: LdkWorld, *, by_ldk: bool) -> None:
    channel = world.ours.channel
    if by_ldk:
        await world.ldk.ask(
            "force_close", channel_id=channel.channel_id.hex(), node_id=world.ours.node_id.hex()
        )
    else:
        await world.ours.node.close_channel(channel.channel_id, force=True)
    outpoint = channel.state.config.funding_outpoint
    await eventually(lambda: world.regtest.outspend(outpoint))


async def _mine_to_the_end(world: LdkWorld) -> CloseProgress:
    """Until both sides have all that is theirs."""
    watch, channel_id = world.ours.node.watch, world.ours.channel.channel_id
    for step in range(60):
        world.mine(1 if step < 10 else 8)  # whoever may take something at once has done so
        unresolved = await world.ldk.ask("unresolved")
        await eventually(lambda: watch._seen == world.regtest.tip)
        progress = watch.progress.get(channel_id)
        if progress and progress.state is CloseState.DONE and not unresolved:
            world.mine()  # what LDK published last
            return progress
    raise AssertionError(f"the close has no end: {progress}, {unresolved} of LDK")


async def _our_money(world: LdkWorld) -> int:
    await world.ours.node.wallet.sync()
    return world.ours.node.wallet.balance().confirmed_sat


def _money_of_ldk(world: LdkWorld) -> int:
    return sum(output.value for _, output, _ in world.regtest.unspent(sha256(world.ldk.script)))

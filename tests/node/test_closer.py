"""Whatever commitment goes on chain, each side ends with what it is owed, to the satoshi.

What is owed is worked out here from the channel's balances and BOLT 3's fees, not from the
transactions that the closer makes; the balances are read from the chain afterwards.
"""

from pathlib import Path

import pytest

from closing_world import COIN_SAT, FUNDING_SAT, PUSH_SAT, Party, World, closing_world
from lightspeed.bitcoin import FeeRate
from lightspeed.channel.commitment import commitment_fee
from lightspeed.node.closing import CloseKind
from lightspeed.units import Sat

ANCHORS_SAT = 660


def commitment_cost(htlcs: int = 0) -> int:
    """What the funder's balance pays in a commitment at 1,000 sat/kw."""
    fee = commitment_fee(feerate_per_kw=FeeRate(1_000), untrimmed_htlcs=htlcs, anchors=True)
    return fee + ANCHORS_SAT


FUNDER_SAT = FUNDING_SAT - PUSH_SAT


@pytest.mark.parametrize("broadcaster", ["funder", "fundee"])
async def test_both_balances_come_back_after_a_unilateral_close(
    tmp_path: Path, broadcaster: str
) -> None:
    async with closing_world(tmp_path) as world:
        party: Party = getattr(world, broadcaster)
        world.publish(party.node.channel.holder_commitment_tx())
        await world.run()
        assert party.progress.kind is CloseKind.HOLDER
        assert world.other(party).progress.kind is CloseKind.COUNTERPARTY
        assert await world.funder.gained_sat() + world.funder.fees_sat == (
            FUNDER_SAT - commitment_cost()
        )
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == PUSH_SAT


async def _with_htlcs(world: World) -> tuple[int, int]:
    """In flight both ways, with and without the preimage; what each side is then owed."""
    world.offer(world.funder, 60_000, expires_in=40, known=True)
    world.offer(world.funder, 50_000, expires_in=20, known=False)
    world.offer(world.fundee, 40_000, expires_in=40, known=True)
    world.offer(world.fundee, 30_000, expires_in=20, known=False)
    world.offer(world.fundee, 25_000, expires_in=20, known=False)
    return FUNDER_SAT - commitment_cost(htlcs=5) - 60_000 + 40_000, PUSH_SAT + 60_000 - 40_000


@pytest.mark.parametrize("broadcaster", ["funder", "fundee"])
async def test_htlcs_go_to_who_has_the_preimage_or_back(tmp_path: Path, broadcaster: str) -> None:
    async with closing_world(tmp_path) as world:
        owed_funder, owed_fundee = await _with_htlcs(world)
        party: Party = getattr(world, broadcaster)
        world.publish(party.node.channel.holder_commitment_tx())
        await world.run()
        for each in world.parties:
            purposes = {p for tx in each.progress.transactions for p in tx.purpose.split(", ")}
            assert {"HTLC timeout", "HTLC success", "own balance"} <= purposes
        assert "own HTLC" in {tx.purpose for tx in party.progress.transactions}
        assert await world.funder.gained_sat() + world.funder.fees_sat == owed_funder
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == owed_fundee
        for each in world.parties:
            swept = [own for own in each.remembered() if len(own.tx.outputs) == 1]
            assert len({own.tx.outputs[0].script for own in swept}) == 1
            assert set(world.other(each).preimages) <= set(each.progress.preimages)


async def test_signed_locktimes_are_not_mixed(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        for expires_in in (2, 3):
            for amount in (60_000, 50_000):
                world.offer(world.funder, amount, expires_in=expires_in, known=False)
        world.regtest.fund(world.funder.wallet.new_script(), Sat(COIN_SAT))
        world.publish(world.funder.node.channel.holder_commitment_tx(), mine=4)
        await world.funder.step()
        timeouts = [own.tx for own in world.funder.remembered()]
        assert sorted(len(tx.outputs) for tx in timeouts) == [3, 3]
        assert {tx.locktime for tx in timeouts} == {114, 115}
        assert all(tx.txid in world.regtest.mempool for tx in timeouts)


@pytest.mark.parametrize("second_stage", [False, True], ids=["at once", "after second stage"])
@pytest.mark.parametrize("cheater_name", ["funder", "fundee"])
async def test_revoked_commitment_loses_everything(
    tmp_path: Path, cheater_name: str, second_stage: bool
) -> None:
    async with closing_world(tmp_path) as world:
        cheater: Party = getattr(world, cheater_name)
        victim = world.other(cheater)
        world.offer(cheater, 60_000, expires_in=2, known=False)
        world.offer(cheater, 50_000, expires_in=100, known=True)
        world.offer(victim, 40_000, expires_in=100, known=True)
        world.offer(victim, 30_000, expires_in=100, known=False)
        world.publish(world.make_revoked(cheater))
        if second_stage:
            for _ in range(2):
                await cheater.step()
                world.regtest.mine()
            purposes = {tx.purpose for tx in (await cheater.step()).transactions}
            assert purposes == {"commitment", "HTLC timeout", "HTLC success"}
        await world.run()
        assert victim.progress.kind is CloseKind.REVOKED
        assert await victim.gained_sat() + victim.fees_sat == (
            FUNDING_SAT - commitment_cost(htlcs=4)
        )
        assert await cheater.gained_sat() + cheater.fees_sat == 0


async def test_reorganisations_on_the_way_change_nothing(tmp_path: Path) -> None:
    async with closing_world(tmp_path, safe_depth=6) as world:
        owed_funder, owed_fundee = await _with_htlcs(world)
        world.publish(world.funder.node.channel.holder_commitment_tx())

        def reorganise(block: int) -> None:
            if block < 40 and block % 4 == 3:
                depth = 1 + block % 3
                world.regtest.reorganise(depth, keep_transactions=block % 8 == 3)

        await world.run(blocks=100, each=reorganise)
        assert await world.funder.gained_sat() + world.funder.fees_sat == owed_funder
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == owed_fundee


async def test_reorganisation_may_bring_the_other_commitment(tmp_path: Path) -> None:
    async with closing_world(tmp_path, safe_depth=6) as world:
        owed_funder, owed_fundee = await _with_htlcs(world)
        world.publish(world.funder.node.channel.holder_commitment_tx())
        for _ in range(4):
            await world.step()
            world.regtest.mine()
        other = world.fundee.node.channel.holder_commitment_tx()
        world.regtest.reorganise(5, replacement=[(), (other,)])
        await world.run(blocks=100)
        assert world.fundee.progress.kind is CloseKind.HOLDER
        assert await world.funder.gained_sat() + world.funder.fees_sat == owed_funder
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == owed_fundee
        for party in world.parties:
            spent = {tx.txid for tx in party.progress.transactions}
            assert {own.tx.txid for own in party.remembered()} <= spent
            assert not party.wallet.reserved() - party.spent_coins()


async def test_restarts_on_the_way_change_nothing(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        owed_funder, owed_fundee = await _with_htlcs(world)
        world.publish(world.fundee.node.channel.holder_commitment_tx())

        def restart(block: int) -> None:
            for party in world.parties:
                if block % 3 != 2:
                    party.stop()
                    party.start()

        await world.run(each=restart)
        assert await world.funder.gained_sat() + world.funder.fees_sat == owed_funder
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == owed_fundee


async def test_same_sweep_is_made_once(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.publish(world.funder.node.channel.holder_commitment_tx())
        first = await world.fundee.step()
        world.fundee.stop()
        world.fundee.start()
        second = await world.fundee.step()
        assert [tx.txid for tx in first.transactions] == [tx.txid for tx in second.transactions[:1]]
        assert len(second.transactions) == 2
        assert len(list(world.regtest.mempool)) == 1
        assert await world.fundee.step() == second
        assert len(world.fundee.remembered()) == 1

"""A close pays what the chain asks for: no more than it is worth, and not only once."""

from pathlib import Path

import pytest

from closing_world import (
    COIN_SAT,
    FUNDING_SAT,
    PUSH_SAT,
    World,
    closing_world,
    set_fee_rate,
)
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, sha256
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import Side
from lightspeed.node.closing import CloseKind, CloseState
from lightspeed.node.own_transactions import OwnTransactions
from lightspeed.units import Sat


def _mempool_rate(world: World, *transactions: bytes) -> float:
    entries = [world.regtest.mempool.get(txid) for txid in transactions]
    return sum(e.fee for e in entries) / sum(e.vsize for e in entries)


async def test_failed_channel_is_published_and_lifted_to_the_fee_rate(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        party = world.funder
        channel = party.node.channel
        channel.fail("enough", at_fault=Side.COUNTERPARTY)
        set_fee_rate(world, 30)
        progress = await party.step()
        assert (progress.state, progress.problems) == (CloseState.OPEN, ())
        commitment = channel.holder_commitment_tx()
        children = world.regtest.mempool.children(commitment.txid)
        assert len(children) == 1
        assert _mempool_rate(world, commitment.txid, *children) == pytest.approx(30, rel=0.02)
        # It is there already; nothing more is made of it until the fee rate rises.
        assert (await party.step()).state is CloseState.SPENT_UNCONFIRMED
        assert world.regtest.mempool.children(commitment.txid) == children
        set_fee_rate(world, 60)
        world.regtest.mine_block([])
        await party.step()
        assert world.regtest.mempool.children(commitment.txid) == children
        for _ in range(3):
            world.regtest.mine_block([])
        await party.step()
        raised = world.regtest.mempool.children(commitment.txid)
        assert raised != children
        assert _mempool_rate(world, commitment.txid, *raised) == pytest.approx(60, rel=0.02)
        set_fee_rate(world, 1)
        world.regtest.mine()
        world.fundee.save()
        await world.run()
        # The anchor pays into its own fee, and comes out of the channel's balance as its cost.
        anchor_sat, commitment_fee = 330, party.progress.transactions[0].fee_sat
        gained = await party.gained_sat()
        assert gained + party.fees_sat == (
            FUNDING_SAT - PUSH_SAT - commitment_fee - 2 * anchor_sat + anchor_sat
        )


async def test_commitment_that_pays_enough_gets_no_child(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        channel = world.funder.node.channel
        channel.fail("enough", at_fault=Side.COUNTERPARTY)
        await world.funder.step()
        assert world.regtest.mempool.children(channel.holder_commitment_tx().txid) == []


async def test_sweep_that_does_not_move_is_raised_but_not_for_ever(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.publish(world.funder.node.channel.holder_commitment_tx())
        rates = []
        for _ in range(40):
            await world.fundee.step()
            (own,) = world.fundee.remembered()
            assert own.tx.txid in world.regtest.mempool
            assert len(world.regtest.mempool) == 1
            rates.append(own.feerate_per_kw)
            world.regtest.mine_block([])
        assert rates[0] == rates[2] == 253
        assert rates == sorted(rates)
        assert 2 * 253 < rates[-1] <= 4 * 253
        world.regtest.mine()
        await world.run()
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == PUSH_SAT


async def test_higher_estimate_is_followed(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.publish(world.funder.node.channel.holder_commitment_tx())
        await world.fundee.step()
        set_fee_rate(world, 20)
        for _ in range(3):
            world.regtest.mine_block([])
        await world.fundee.step()
        (own,) = world.fundee.remembered()
        assert _mempool_rate(world, own.tx.txid) == pytest.approx(20, rel=0.02)


async def test_what_costs_more_than_it_brings_is_left(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.offer(world.funder, 1_000, expires_in=2, known=False)
        set_fee_rate(world, 50)
        world.publish(world.funder.node.channel.holder_commitment_tx(), mine=4)
        await world.funder.step()
        assert len(world.regtest.mempool) == 0
        waiting = {w.purpose: w.value_sat for w in world.funder.progress.waiting}
        assert waiting["HTLC timeout"] == 1_000
        set_fee_rate(world, 1)
        await world.run()
        assert "HTLC timeout" in {tx.purpose for tx in world.funder.progress.transactions}


async def test_htlc_transactions_wait_for_coins(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.offer(world.funder, 50_000, expires_in=2, known=False)
        world.offer(world.fundee, 40_000, expires_in=100, known=True)
        party = world.funder
        (coin,) = await party.wallet.fee_spends(Sat(0), feerate_per_kw=FeeRate(253))
        world.publish(party.node.channel.holder_commitment_tx(), mine=3)
        progress = await party.step()
        assert any("can be spent" in problem for problem in progress.problems)
        assert len(world.regtest.mempool) == 0
        party.wallet.release_coins([coin.outpoint])
        await party.step()  # one coin: one of the two can be published in each block
        assert len(world.regtest.mempool) == 1
        await world.run()
        assert {"HTLC timeout", "HTLC success"} <= {
            tx.purpose for tx in party.progress.transactions
        }
        assert not party.wallet.reserved() - party.spent_coins()


async def test_contested_htlc_is_fought_for_alone(tmp_path: Path) -> None:
    """Both may take it after its expiry; whoever pays more is first, and it costs nobody else."""
    async with closing_world(tmp_path) as world:
        preimage = world.offer(world.funder, 60_000, expires_in=2, known=True)
        world.offer(world.funder, 50_000, expires_in=2, known=False)
        world.regtest.fund(world.funder.wallet.new_script(), Sat(COIN_SAT))
        world.publish(world.funder.node.channel.holder_commitment_tx(), mine=3)
        set_fee_rate(world, 5)
        await world.fundee.step()  # takes the HTLC with the preimage
        (theirs,) = [own for own in world.fundee.remembered() if own.purpose == "HTLC success"]
        set_fee_rate(world, 1)
        await world.funder.step()
        owns = [own for own in world.funder.remembered() if own.purpose == "HTLC timeout"]
        in_mempool = [own for own in owns if own.tx.txid in world.regtest.mempool]
        assert (len(owns), len(in_mempool)) == (2, 1)
        assert world.funder.progress.preimages == {sha256(preimage): preimage}
        assert any("refused" in problem for problem in world.funder.progress.problems)
        world.regtest.mine()
        await world.run()
        assert theirs.tx.txid in {tx.txid for tx in world.fundee.progress.transactions}
        assert len(world.funder.remembered()) == 3  # the lost one is forgotten
        assert not world.funder.wallet.reserved() - world.funder.spent_coins()


@pytest.mark.parametrize("broadcaster", ["funder", "fundee"])
async def test_batch_with_a_contested_input_is_broken_up(tmp_path: Path, broadcaster: str) -> None:
    """Its coins, if it needed any, are used again at once."""
    async with closing_world(tmp_path) as world:
        for amount in (60_000, 50_000):
            world.offer(world.funder, amount, expires_in=2, known=False)
        world.regtest.fund(world.funder.wallet.new_script(), Sat(COIN_SAT))
        commitment = getattr(world, broadcaster).node.channel.holder_commitment_tx()
        world.publish(commitment, mine=3)

        def timeouts() -> list[list[OutPoint]]:
            """The HTLCs that each transaction of the funder takes back."""
            return [
                [i.outpoint for i in own.tx.inputs if i.outpoint.txid == commitment.txid]
                for own in world.funder.remembered()
                if own.purpose == "HTLC timeout"
            ]

        await world.funder.step()
        assert [len(spent) for spent in timeouts()] == [2]
        preimage = sha256(b"funder 60000 2")
        world.fundee.preimages[sha256(preimage)] = preimage
        set_fee_rate(world, 20)
        await world.fundee.step()  # replaces the batch
        set_fee_rate(world, 1)
        await world.funder.step()
        assert [len(spent) for spent in timeouts()] == [1, 1]
        spenders = [world.regtest.outspend(spent).txid for (spent,) in timeouts()]
        assert sum(txid in {o.tx.txid for o in world.funder.remembered()} for txid in spenders) == 1


async def test_htlc_is_not_worth_more_than_itself(tmp_path: Path) -> None:
    """It would pay for its own input, but not for the transaction around it."""
    async with closing_world(tmp_path) as world:
        world.offer(world.funder, 1_000, expires_in=2, known=False)
        set_fee_rate(world, 5)
        world.publish(world.funder.node.channel.holder_commitment_tx(), mine=4)
        progress = await world.funder.step()
        assert len(world.regtest.mempool) == 0
        assert any("1000 sat do not pay" in problem for problem in progress.problems)
        assert not world.funder.wallet.reserved()


async def test_lost_state_still_brings_the_balance_home(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        old = world.fundee.node.channel.state
        world.offer(world.funder, 60_000, expires_in=2, known=False)
        tx = world.funder.node.channel.holder_commitment_tx()
        world.fundee.node.channel.state = old
        for party in world.parties:
            party.save()
        world.publish(tx)
        await world.run()
        assert world.fundee.progress.kind is CloseKind.UNKNOWN
        assert await world.fundee.gained_sat() + world.fundee.fees_sat == PUSH_SAT


async def test_cooperative_close_is_done_when_it_is_deep(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        world.funder.node.run(world.funder.node.channel.shutdown())
        world.pair.settle()
        tx: Tx = world.funder.node.published[-1]
        world.publish(tx, mine=0)
        assert (await world.funder.step()).state is CloseState.SPENT_UNCONFIRMED
        for depth in range(1, 5):
            world.regtest.mine()
            progress = await world.funder.step()
            assert progress.kind is CloseKind.COOPERATIVE
            assert progress.state is (CloseState.DONE if depth >= 3 else CloseState.CLOSING)
        (closing,) = progress.transactions
        assert (closing.txid, closing.purpose) == (tx.txid, "cooperative close")


async def test_open_channel_publishes_nothing(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        progress = await world.funder.step()
        assert (progress.state, progress.kind, progress.transactions) == (CloseState.OPEN, None, ())
        assert len(world.regtest.mempool) == 0


async def test_replacement_that_was_cut_short_is_tidied_up(tmp_path: Path) -> None:
    """Killed after the new transaction was published, before the old one was forgotten."""
    async with closing_world(tmp_path) as world:
        party = world.fundee
        world.publish(world.funder.node.channel.holder_commitment_tx())
        await party.step()
        (old,) = party.remembered()
        set_fee_rate(world, 20)
        for _ in range(3):
            world.regtest.mine_block([])
        await party.step()
        (new,) = party.remembered()
        OwnTransactions(party.store, party.node.channel.channel_id).add(old)
        party.stop()
        party.start()
        progress = await party.step()
        assert party.remembered() == [new]
        assert progress.problems == ()
        assert new.tx.txid in world.regtest.mempool


async def test_replacement_that_is_refused_keeps_none_of_its_coins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again at each block: soon there would be none left."""
    async with closing_world(tmp_path) as world:
        world.offer(world.funder, 50_000, expires_in=2, known=False)
        party = world.funder
        world.regtest.fund(party.wallet.new_script(), Sat(2_000))
        world.publish(party.node.channel.holder_commitment_tx(), mine=3)
        await party.step()
        reserved = party.wallet.reserved()
        set_fee_rate(world, 20)
        for _ in range(3):
            world.regtest.mine_block([])

        def refuse(*_: object) -> None:
            raise BroadcastRefused("insufficient fee")

        with monkeypatch.context() as patch:
            patch.setattr(world.regtest, "broadcast", refuse)
            progress = await party.step()
        assert any("insufficient fee" in problem for problem in progress.problems)
        assert party.wallet.reserved() == reserved

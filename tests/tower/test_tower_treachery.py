"""A tower in league with the counterparty gains nothing while its client's node is on.

The counterparty tells it the txids, so it opens everything that it was ever given, and both
publish whatever they like in every block. Without late children this would be a theft: a
settlement transaction of long ago, or a child that takes a revoked commitment's LSF away from
the penalty, could confirm as early as what the payee publishes.
"""

from pathlib import Path

import pytest

from closing_world import FUNDING_SAT
from lightspeed.bitcoin import Tx
from lightspeed.chain import BroadcastRefused
from lightspeed.node.closing import CloseKind
from lightspeed.node.tower import Part, hint_of, unseal
from lightspeed.payment import Scheme
from tower_world import COST_SAT, DELAY_BLOCKS, LOCK_SAT, OWED_BEFORE, TowerWorld, tower_world


def opened(tower: TowerWorld, txid: bytes) -> list[Tx]:
    """Every transaction that the tower was ever given for this commitment, the oldest first."""
    found: list[Tx] = []
    for request in tower.client.requests:
        for change in request:
            if change.blob is None or change.hint != hint_of(txid):
                continue
            assert change.number is not None
            part = Part.from_bytes(unseal(change.blob, txid=txid, part=change.number))
            for bundle in part.bundles:
                found += bundle.transactions(
                    commitment_txid=txid, destination_script=part.destination_script
                )
    return found


async def treacherous_blocks(tower: TowerWorld, stale: list[Tx], blocks: int) -> None:
    """The thieves move first in each block, with all that they have."""
    for _ in range(blocks):
        for tx in stale:
            try:
                tower.regtest.broadcast(tx)
            except BroadcastRefused:
                continue
        await tower.payee.step()
        await tower.payer.step()
        tower.regtest.mine()


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
async def test_stale_children_come_too_late(tmp_path: Path, scheme: Scheme) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        commitment = tower.payer.node.channel.holder_commitment_tx()
        for locks in ((1,), (2, 3), (4, 5, 6, 7, 8, 9)):
            tower.pay(*locks)
            await tower.hand_over(tower.payee)
        stale = opened(tower, commitment.txid)
        assert any(tx.inputs[0].outpoint.txid == commitment.txid for tx in stale)
        tower.world.publish(commitment)
        await treacherous_blocks(tower, stale, blocks=DELAY_BLOCKS + 2)
        await tower.world.run(blocks=80)
        child = "settlement" if scheme is Scheme.LADDER else "micropayments"
        found = {tx.purpose: tx for tx in tower.payee.progress.transactions}
        assert found[child].ours
        own_fees = tower.payee.fees_sat - found[child].fee_sat
        assert await tower.payee.gained_sat() + own_fees == OWED_BEFORE["payee"] + 9 * LOCK_SAT


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
async def test_child_of_a_revoked_commitment_does_not_save_its_lsf(
    tmp_path: Path, scheme: Scheme
) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        tower.pay(1)
        await tower.hand_over(tower.payee)
        revoked = tower.world.make_revoked(tower.payer)
        stale = [tx for tx in opened(tower, revoked.txid) if len(tx.inputs[0].witness) > 1]
        assert stale  # what was handed over while it was current: the child is among it
        await tower.hand_over(tower.payee)
        tower.world.publish(revoked)
        await treacherous_blocks(tower, stale, blocks=DELAY_BLOCKS + 2)
        await tower.world.run(blocks=80)
        assert tower.payee.progress.kind is CloseKind.REVOKED
        gained = await tower.payee.gained_sat() + tower.payee.fees_sat
        assert gained == FUNDING_SAT - COST_SAT


async def test_settlement_of_the_payees_own_commitment_is_not_given_away_early(
    tmp_path: Path,
) -> None:
    """On its own commitment a child waits D anyhow, so a stale one would race the last one."""
    async with tower_world(tmp_path, scheme=Scheme.LADDER) as tower:
        own = tower.payee.node.channel.holder_commitment_tx()
        for lock in (1, 2, 3):
            tower.pay(lock)
            await tower.hand_over(tower.payee)
        assert opened(tower, own.txid) == []

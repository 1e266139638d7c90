"""What a tower stores per state and per update: the figures of docs/protocol.md, "Watchtower"."""

from pathlib import Path

import pytest

from lightspeed.node.tower.handover import CLAIMS_PER_PART
from lightspeed.node.tower.sealing import hint_of
from lightspeed.payment import Scheme
from tower_world import TowerWorld, tower_world


def stored_for(tower: TowerWorld, txid: bytes) -> dict[int, int]:
    """Part -> bytes."""
    hint = hint_of(txid)
    return {number: size for found, number, size in tower.stored() if found == hint}


def current_txid(tower: TowerWorld) -> bytes:
    (built,) = tower.payee.node.channel.counterparty_commitments()
    return built.frozen.tx.txid


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
async def test_revoked_state_takes_less_than_a_kilobyte(
    tmp_path: Path, scheme: Scheme, capsys: pytest.CaptureFixture[str]
) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        tower.pay(1, 2, 3)
        await tower.hand_over(tower.payee)
        before = current_txid(tower)
        tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        sizes = stored_for(tower, before)
        with capsys.disabled():
            print(f"\n{scheme.name.lower()}: revoked state {sizes}")
        assert list(sizes) == [0]
        assert sizes[0] <= 797


@pytest.mark.parametrize("rungs", [5, 127])
async def test_ladder_state_stays_small_however_much_is_paid(
    tmp_path: Path, rungs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with tower_world(tmp_path, scheme=Scheme.LADDER, locks=rungs, lock_sat=700) as tower:
        txid = current_txid(tower)
        await tower.hand_over(tower.payee)
        tower.client.requests.clear()
        for paid in range(1, rungs + 1, 21):
            tower.pay(*range(1, paid + 1))
            await tower.hand_over(tower.payee)
            sizes = stored_for(tower, txid)
            assert list(sizes) == [1 << 16]
            assert sum(sizes.values()) <= 1_053
            (request,) = tower.client.requests
            assert [change.number for change in request] == [1 << 16]  # an update is one part
            tower.client.requests.clear()
        with capsys.disabled():
            print(f"\nladder: {rungs} rungs, {paid} paid: {sizes}")


async def test_outputs_state_grows_by_whole_groups_of_claims(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with tower_world(tmp_path, locks=100) as tower:
        txid = current_txid(tower)
        tower.pay(*range(1, 41))
        await tower.hand_over(tower.payee)
        tower.client.requests.clear()
        tower.pay(41)
        await tower.hand_over(tower.payee)
        (request,) = tower.client.requests
        assert [change.number for change in request] == [(1 << 16) + 6]
        tower.pay(*range(42, 101))
        await tower.hand_over(tower.payee)
        child, *claims = stored_for(tower, txid).values()
        with capsys.disabled():
            print(f"\noutputs: 100 locks: child {child}, claims {sorted(set(claims))}")
        assert child <= 43 * 100 + 600
        assert len(claims) == -(-100 // CLAIMS_PER_PART)
        assert sum(claims) <= 100 * 400


async def test_nothing_is_handed_over_twice(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        tower.pay(1, 2)
        await tower.hand_over(tower.payee)
        tower.client.requests.clear()
        tower.payee.stop()
        tower.payee.start()
        tower._feeds.clear()
        await tower.hand_over(tower.payee)
        assert tower.client.requests == []

"""While a client's node is off, its tower takes what would be lost: to the satoshi."""

from pathlib import Path

import pytest

from closing_world import FUNDING_SAT, set_fee_rate
from lightspeed.bitcoin import FeeRate
from lightspeed.channel import Side
from lightspeed.node.closing import CloseKind
from lightspeed.node.tower import Change, hint_of
from lightspeed.node.tower.store import LABEL_SIZE
from lightspeed.payment import Scheme
from tower_world import (
    COST_SAT,
    DELAY_BLOCKS,
    LOCK_SAT,
    LOCKS,
    OWED_BEFORE,
    TowerWorld,
    tower_world,
)

SCHEMES = [Scheme.OUTPUTS, Scheme.LADDER]
PAID = (1, 2, 3, 4, 7, 8, 9, 10, 11)


def owed_locks(scheme: Scheme) -> int:
    """Of PAID: in a ladder the highest completed lock pays for all before it."""
    return max(PAID) if scheme is Scheme.LADDER else len(PAID)


# --- breaches -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("cheater_name", ["payer", "payee"])
async def test_breach_is_punished_while_the_victim_is_off(
    tmp_path: Path, cheater_name: str, scheme: Scheme
) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        tower.pay(*PAID)
        cheater = getattr(tower, cheater_name)
        victim = tower.world.other(cheater)
        await tower.hand_over(victim)
        revoked = tower.world.make_revoked(cheater)
        await tower.hand_over(victim)
        tower.world.publish(revoked)
        height = tower.regtest.height
        await tower.without(victim, blocks=3)
        taken = tower.confirmed()
        assert [tower.height_of(tx) for tx in taken] == [height + 1] * 2  # to_local and the LSF
        await tower.back(victim)
        assert victim.progress.kind is CloseKind.REVOKED
        gained = await victim.gained_sat()
        assert gained + victim.fees_sat == FUNDING_SAT - COST_SAT - tower.fees_sat()
        assert await cheater.gained_sat() + cheater.fees_sat == 0


async def test_htlcs_of_a_revoked_commitment_are_punished(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        payer, payee = tower.payer, tower.payee
        tower.world.offer(payer, 30_000, expires_in=40, known=False)
        tower.world.offer(payee, 20_000, expires_in=40, known=False)
        revoked = tower.world.make_revoked(payer)
        await tower.hand_over(payee)
        tower.world.publish(revoked)
        await tower.without(payee, blocks=3, other_acts=False)
        taken = [i.outpoint for tx in tower.confirmed() for i in tx.inputs]
        values = {tower.regtest.output(outpoint).value for outpoint in taken}
        assert {20_000, 30_000, tower.lsf_sat} <= values
        assert len(taken) == 4  # and to_local
        await tower.back(payee)
        assert await payer.gained_sat() + payer.fees_sat == 0


async def test_late_tower_still_finds_a_breach_that_it_slept_through(tmp_path: Path) -> None:
    """It was off as well; the blocks meanwhile are looked through."""
    async with tower_world(tmp_path) as tower:
        revoked = tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        tower.world.publish(revoked, mine=DELAY_BLOCKS - 3)
        await tower.guard.look()
        assert len(tower.chain.published) == 2


async def test_data_that_comes_after_the_commitment_is_used_too(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        revoked = tower.world.make_revoked(tower.payer)
        tower.world.publish(revoked, mine=4)
        await tower.guard.look()
        assert tower.chain.published == {}
        await tower.hand_over(tower.payee)
        await tower.guard.look()
        assert len(tower.chain.published) == 2


async def test_data_that_comes_while_the_last_case_ends_is_used_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same commitment, after the tower has read what it had of it."""
    async with tower_world(tmp_path) as tower:
        revoked = tower.world.make_revoked(tower.payer)
        hint = hint_of(revoked.txid)
        await tower.client.hand_over(bytes(LABEL_SIZE), [Change(hint, 0, b"of no use")])
        tower.world.publish(revoked, mine=4)
        fee_rate = tower.chain.fee_rate

        async def fee_rate_late(target_blocks: int) -> FeeRate:
            monkeypatch.undo()
            await tower.hand_over(tower.payee)
            return await fee_rate(target_blocks)

        monkeypatch.setattr(tower.chain, "fee_rate", fee_rate_late)
        for _ in range(2):
            await tower.guard.look()
        assert len(tower.chain.published) == 2


async def test_honest_commitment_of_the_payee_leaves_a_payers_tower_idle(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        await tower.hand_over(tower.payer)
        tower.world.publish(tower.payee.node.channel.holder_commitment_tx())
        await tower.without(tower.payer, blocks=10, other_acts=False)
        assert tower.chain.published == {}


# --- closes ---------------------------------------------------------------------------------


async def check_paid(tower: TowerWorld, scheme: Scheme, *, swept_sat: int) -> None:
    """After everything: what each gained. `swept_sat`: fees of the tower but the child's own."""
    paid = owed_locks(scheme) * LOCK_SAT
    assert await tower.payee.gained_sat() + tower.payee.fees_sat + swept_sat == (
        OWED_BEFORE["payee"] + paid
    )
    assert await tower.payer.gained_sat() + tower.payer.fees_sat == (
        OWED_BEFORE["payer"] - tower.lsf_sat + LOCKS * LOCK_SAT - paid
    )


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_payers_close_is_answered_while_the_payee_is_off(
    tmp_path: Path, scheme: Scheme
) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        tower.pay(1, 2)
        await tower.hand_over(tower.payee)
        tower.pay(*PAID)  # more is redeemed before the node goes off
        await tower.hand_over(tower.payee)
        tower.world.publish(tower.payer.node.channel.holder_commitment_tx())
        height = tower.regtest.height
        await tower.without(tower.payee, blocks=DELAY_BLOCKS + 3)
        child, *claims = tower.confirmed()
        assert tower.height_of(child) == height + DELAY_BLOCKS
        assert len(claims) == (0 if scheme is Scheme.LADDER else 2)  # of 6 and of 3 locks
        await tower.back(tower.payee)
        await check_paid(tower, scheme, swept_sat=tower.fees_sat(but=[child]))


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_own_commitment_is_followed_up_while_the_payee_is_off(
    tmp_path: Path, scheme: Scheme
) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        payee = tower.payee
        tower.pay(*PAID)
        await tower.hand_over(payee)
        own = hint_of(payee.node.channel.holder_commitment_tx().txid)
        assert own not in {hint for hint, _, _ in tower.stored()}
        payee.node.run(payee.node.channel.fail("closed by its owner", at_fault=Side.HOLDER))
        await tower.hand_over(payee)
        assert own in {hint for hint, _, _ in tower.stored()}
        tower.world.publish(payee.node.channel.holder_commitment_tx())
        height = tower.regtest.height
        await tower.without(payee, blocks=DELAY_BLOCKS + 3)
        child, *_ = tower.confirmed()
        assert tower.height_of(child) == height + DELAY_BLOCKS
        await tower.back(payee)
        await check_paid(tower, scheme, swept_sat=tower.fees_sat(but=[child]))


async def test_invoice_that_was_paid_is_claimed_by_its_preimage(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        tower.world.offer(tower.payer, 40_000, expires_in=40, known=True)
        await tower.hand_over(tower.payee)
        tower.world.publish(tower.payer.node.channel.holder_commitment_tx())
        await tower.without(tower.payee, blocks=3, other_acts=False)
        (claim,) = tower.confirmed()
        assert tower.regtest.output(claim.inputs[0].outpoint).value == 40_000


async def test_nothing_is_published_for_a_book_that_was_not_paid_from(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        await tower.hand_over(tower.payee)
        tower.world.publish(tower.payer.node.channel.holder_commitment_tx())
        await tower.without(tower.payee, blocks=DELAY_BLOCKS + 3, other_acts=False)
        assert tower.chain.published == {}


# --- fees -----------------------------------------------------------------------------------


async def test_penalty_pays_the_fee_rate_of_the_day_and_rises(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        revoked = tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        set_fee_rate(tower.world, 20)
        tower.world.publish(revoked)
        await tower.guard.look()
        rates = [tower.fee_sat(tx) / tx.vsize for tx in tower.chain.published.values()]
        # One of the fixed rates: the LSF of 20,000 sat pays the fourth no more than to_local.
        assert rates == pytest.approx([25, 25], rel=0.03)
        tower.chain.published.clear()
        for _ in range(3):
            tower.regtest.mine_block([])
            await tower.guard.look()
        rates = [tower.fee_sat(tx) / tx.vsize for tx in tower.chain.published.values()]
        assert rates == pytest.approx([125, 125], rel=0.03)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_child_is_lifted_to_the_fee_rate_of_the_day(tmp_path: Path, scheme: Scheme) -> None:
    async with tower_world(tmp_path, scheme=scheme, locks=11, lock_sat=8_000) as tower:
        tower.pay(*PAID)
        await tower.hand_over(tower.payee)
        tower.world.publish(tower.payer.node.channel.holder_commitment_tx(), mine=DELAY_BLOCKS)
        set_fee_rate(tower.world, 20)
        await tower.guard.look()
        child, bump = tower.chain.published.values()
        assert tower.fee_sat(child) < 2 * child.vsize
        together = (tower.fee_sat(child) + tower.fee_sat(bump)) / (child.vsize + bump.vsize)
        assert 20 <= together < 27


async def test_client_that_is_back_is_not_outbid(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        revoked = tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        tower.world.publish(revoked)
        await tower.payee.step()
        own = set(tower.regtest.mempool.ancestors(e.tx.txid for e in tower.regtest.mempool))
        await tower.guard.look()
        assert tower.chain.published == {}
        assert own == {e.tx.txid for e in tower.regtest.mempool}


# --- reorganisations and restarts -----------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_tower_survives_reorganisations_and_restarts(tmp_path: Path, scheme: Scheme) -> None:
    async with tower_world(tmp_path, scheme=scheme) as tower:
        tower.pay(*PAID)
        await tower.hand_over(tower.payee)
        tower.world.publish(tower.payer.node.channel.holder_commitment_tx())

        def disturb(block: int) -> None:
            if block in (1, DELAY_BLOCKS - 1, DELAY_BLOCKS + 1):
                tower.regtest.reorganise(2 + block % 2)
            elif block % 4 == 0:
                tower.guard = type(tower.guard)(tower.store, tower.chain, safe_depth=3)

        await tower.without(tower.payee, blocks=DELAY_BLOCKS + 6, each=disturb)
        child = next(tx for tx in tower.confirmed() if tx.inputs[0].sequence == DELAY_BLOCKS)
        await tower.back(tower.payee)
        await check_paid(tower, scheme, swept_sat=tower.fees_sat(but=[child]))


async def test_other_commitment_after_a_reorganisation_is_answered_instead(tmp_path: Path) -> None:
    """First the payer's revoked commitment confirms; another branch holds its current one."""
    async with tower_world(tmp_path) as tower:
        tower.pay(*PAID)
        payer = tower.payer.node
        revoked = payer.channel.holder_commitment_tx()
        tower.world.offer(tower.payer, 9_000, expires_in=100, known=False)
        current = payer.channel.holder_commitment_tx()
        await tower.hand_over(tower.payee)
        tower.world.publish(revoked)
        await tower.guard.look()
        assert len(tower.chain.published) == 2
        tower.regtest.reorganise(1, replacement=[[current], []])
        await tower.without(tower.payee, blocks=DELAY_BLOCKS + 1, other_acts=False)
        child, *claims = tower.confirmed()
        assert child.inputs[0].outpoint.txid == current.txid
        assert len(claims) == 2


# --- the end --------------------------------------------------------------------------------


async def test_tower_forgets_a_channel_that_is_over(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        tower.pay(*PAID)
        tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        assert tower.stored()
        driver = tower.driver(tower.payee)
        driver.record = type(driver.record)(node_id=bytes(33), index=0, over=True)
        await tower.hand_over(tower.payee)
        assert tower.stored() == []
        (account,) = tower.store.clients()
        assert account.used_bytes == 0

"""A chain that Bitcoin Core judges: what connects, what is refused, what a reorg brings back."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin import Op, OutPoint, Tx, TxOut, op_return, p2wsh, script, sha256
from lightspeed.chain import (
    BlockRefused,
    BroadcastRefused,
    FaucetEmpty,
    Regtest,
    ReorgTooDeep,
    TipChanged,
)
from lightspeed.chain.faucet import FAUCET_SCRIPT
from lightspeed.units import Sat


def _snapshot(regtest: Regtest) -> tuple[Any, ...]:
    """All that the index says, in a form that can be compared."""
    index = regtest.index
    return (
        [index.block_id(height) for height in range(regtest.height + 1)],
        dict(index._transactions),
        dict(index._spends),
        {script_hash: list(txids) for script_hash, txids in index._histories.items()},
    )


def test_mining_110_blocks_takes_well_below_a_second() -> None:
    """Of the processor's time: others may be busy too."""
    start = time.process_time()
    regtest = Regtest(initial_blocks=110)
    assert regtest.height == 110
    assert time.process_time() - start < 1


def test_same_steps_make_the_same_chain() -> None:
    assert Regtest().tip == Regtest().tip


def test_block_with_20_000_outputs_connects(regtest: Regtest, purse: Any) -> None:
    coins = [purse.coin(2_000_000) for _ in range(10)]
    for coin in coins:
        regtest.broadcast(purse.spend(coin, outputs=2_000, fee=100_000))
    start = time.process_time()
    regtest.mine()
    assert time.process_time() - start < 3
    assert sum(len(tx.outputs) for tx in regtest.index.block(regtest.height).transactions) > 20_000
    assert len(regtest.mempool) == 0


def test_what_does_not_fit_waits_for_the_next_block(regtest: Regtest, purse: Any) -> None:
    padding = (TxOut(Sat(0), op_return(bytes(90_000))),)
    coins = [purse.coin(1_000_000) for _ in range(12)]
    transactions = [
        purse.spend(coin, extra=padding, fee=200_000 + 1_000 * i) for i, coin in enumerate(coins)
    ]
    for tx in transactions:
        regtest.broadcast(tx)
    (block,) = regtest.mine()
    assert regtest.index.block(block.height).transactions[0].is_coinbase
    left = {entry.tx.txid for entry in regtest.mempool}
    assert left == {transactions[0].txid}, "the one that pays least waits"
    regtest.mine()
    assert len(regtest.mempool) == 0


def test_coinbase_collects_the_fees(regtest: Regtest, purse: Any) -> None:
    tx = purse.spend(purse.coin(), fee=12_345)
    block = regtest.mine_block([tx])
    assert block.height < 150
    reward = regtest.index.block(block.height).transactions[0].outputs[0]
    assert reward.value == 50 * 100_000_000 + 12_345


def test_block_times_never_go_back() -> None:
    minutes = [*range(20), 500, *range(21, 32), *[0] * 8]
    readings = iter([1_700_000_000 + 60 * minute for minute in minutes])
    regtest = Regtest(clock=lambda: next(readings), initial_blocks=40)
    times = [regtest.index.block(height).header.time for height in range(41)]
    assert times == sorted(times)
    assert times[21] == 1_700_000_000 + 60 * 500


def test_full_block_takes_a_child_only_with_its_parent(regtest: Regtest, purse: Any) -> None:
    padding = (TxOut(Sat(0), op_return(bytes(90_000))),)
    parent = purse.spend(purse.coin(30_000_000), outputs=300, fee=14_000)
    coins = [purse.coin(1_000_000) for _ in range(12)]
    regtest.broadcast(parent)
    for coin in coins:
        regtest.broadcast(purse.spend(coin, extra=padding, fee=200_000))
    child = purse.spend(parent.outpoint(0), fee=50_000)
    regtest.broadcast(child)
    regtest.mine()
    assert regtest.index.located(child.txid)
    assert len(regtest.mempool) == 2, "the parent alone would have come last, and not fitted"


# --- blocks that do not connect -----------------------------------------------------------


def _refused(regtest: Regtest, transactions: list[Tx]) -> str:
    """Mines a block that has to be refused without any trace; returns the reason."""
    before = _snapshot(regtest)
    with pytest.raises(BlockRefused) as refused:
        regtest.mine_block(transactions)
    assert _snapshot(regtest) == before
    regtest.mine()
    return refused.value.reason


def test_block_with_a_bad_script_is_refused(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin(script=script(Op.OP_0))
    tx = purse.spend(coin, script=script(Op.OP_0))
    assert _refused(regtest, [tx]).startswith("block-script-verify-flag-failed")


def test_block_with_a_spend_of_nothing_is_refused(regtest: Regtest, purse: Any) -> None:
    tx = purse.spend(purse.coin())
    stray = replace(tx.inputs[0], outpoint=OutPoint(bytes(31) + b"\x01", 0))
    assert _refused(regtest, [replace(tx, inputs=(stray,))]) == "bad-txns-inputs-missingorspent"


def test_block_with_a_double_spend_is_refused(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    transactions = [purse.spend(coin), purse.spend(coin, fee=2_000)]
    assert _refused(regtest, transactions) == "bad-txns-inputs-missingorspent"


def test_csv_is_enforced_by_the_mempool_and_by_the_block(regtest: Regtest, purse: Any) -> None:
    delay_blocks = 3
    locked = script(delay_blocks, Op.OP_CHECKSEQUENCEVERIFY)
    coin = purse.coin(script=locked)  # 1 confirmation
    tx = purse.spend(coin, script=locked, sequence=delay_blocks)
    hasty = purse.spend(coin, script=locked, sequence=delay_blocks - 1)
    for _ in range(delay_blocks - 1):
        with pytest.raises(BroadcastRefused, match="non-BIP68-final"):
            regtest.broadcast(tx)
        assert _refused(regtest, [tx]) == "bad-txns-nonfinal"
    with pytest.raises(BroadcastRefused, match="mempool-script-verify-flag-failed"):
        regtest.broadcast(hasty)
    regtest.broadcast(tx)
    regtest.mine()
    spend = regtest.outspend(coin)
    assert spend
    assert spend.confirmed == regtest.tip


def test_locktime_is_enforced_by_the_mempool_and_by_the_block(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    tx = purse.spend(coin, locktime=regtest.height + 2)
    for _ in range(2):
        with pytest.raises(BroadcastRefused, match="non-final"):
            regtest.broadcast(tx)
        assert _refused(regtest, [tx]) == "bad-txns-nonfinal"
    regtest.broadcast(tx)
    regtest.mine()
    assert regtest.transaction(tx.txid).confirmed == regtest.tip  # type: ignore[union-attr]


def test_block_without_its_parent_is_refused(regtest: Regtest) -> None:
    block = regtest.index.block(regtest.height)
    orphan = replace(block, header=replace(block.header, previous=bytes(32)).solved())
    before = _snapshot(regtest)
    with pytest.raises(BlockRefused) as refused:
        regtest.submit(orphan)
    assert refused.value.reason == "prev-blk-not-found"
    assert _snapshot(regtest) == before


def test_block_that_pays_itself_too_much_is_refused(regtest: Regtest) -> None:
    donor = Regtest()
    block = donor.mine(1)
    template = donor.index.block(block[0].height)
    reward = template.transactions[0]
    greedy = replace(
        reward, outputs=(TxOut(Sat(reward.outputs[0].value + 1), b"\x51"), reward.outputs[1])
    )
    header = replace(template.header, merkle_root=greedy.txid).solved()
    with pytest.raises(BlockRefused) as refused:
        regtest.submit(replace(template, header=header, transactions=(greedy,)))
    assert refused.value.reason == "bad-cb-amount"
    regtest.submit(template)
    assert regtest.tip.hash == template.hash


# --- reorganisations ----------------------------------------------------------------------


@pytest.mark.parametrize("depth", range(1, 7))
def test_reorganised_transactions_return_and_confirm_again(
    regtest: Regtest, purse: Any, depth: int
) -> None:
    coin = purse.coin()
    before = _snapshot(regtest)
    fork = regtest.tip
    spends: list[Tx] = []
    for _ in range(depth):
        spends.append(purse.spend(coin))
        regtest.broadcast(spends[-1])
        regtest.mine()
        coin = spends[-1].outpoint(0)
    old = regtest.tip
    changed = regtest.reorganise(depth)
    assert changed == TipChanged(old, regtest.tip, fork.height)
    assert regtest.height == old.height + 1
    assert [entry.tx for entry in regtest.mempool] == spends
    assert all(regtest.transaction(tx.txid).confirmed is None for tx in spends)  # type: ignore[union-attr]
    regtest.mine()
    assert all(regtest.transaction(tx.txid).confirmed == regtest.tip for tx in spends)  # type: ignore[union-attr]
    for _ in range(depth + 2):
        regtest.index.disconnect()
    assert _snapshot(regtest) == before


def test_reorganisation_can_keep_the_transactions_in_place(regtest: Regtest, purse: Any) -> None:
    tx = purse.spend(purse.coin())
    regtest.broadcast(tx)
    (confirmed,) = regtest.mine()
    regtest.mine()
    regtest.reorganise(2, keep_transactions=True)
    info = regtest.transaction(tx.txid)
    assert info
    assert info.confirmed
    assert info.confirmed.height == confirmed.height
    assert info.confirmed.hash != confirmed.hash
    assert len(regtest.mempool) == 0


def test_double_spend_in_a_new_branch_drops_the_old_spend_and_its_children(
    regtest: Regtest, purse: Any
) -> None:
    coin = purse.coin()
    old = purse.spend(coin)
    regtest.broadcast(old)
    regtest.mine()
    child = purse.spend(old.outpoint(0))
    regtest.broadcast(child)
    thief = purse.spend(coin, fee=5_000)
    regtest.reorganise(1, replacement=[[thief]])
    assert regtest.transaction(old.txid) is None
    assert regtest.transaction(child.txid) is None
    spend = regtest.outspend(coin)
    assert spend
    assert spend.txid == thief.txid


def test_transaction_that_a_reorganisation_makes_premature_leaves_the_mempool(
    regtest: Regtest, purse: Any
) -> None:
    locked = script(2, Op.OP_CHECKSEQUENCEVERIFY)
    funding = regtest.fund(p2wsh(locked), Sat(50_000))
    regtest.mine(2)
    claim = purse.spend(funding.outpoint(0), script=locked, sequence=2)
    regtest.broadcast(claim)
    regtest.reorganise(2)
    assert funding.txid in regtest.mempool
    assert claim.txid not in regtest.mempool


def test_branch_that_turns_out_invalid_leaves_the_old_chain(regtest: Regtest, purse: Any) -> None:
    kept = purse.spend(purse.coin())
    regtest.broadcast(kept)
    regtest.mine()
    waiting = purse.spend(purse.coin())
    regtest.broadcast(waiting)
    false = purse.spend(purse.coin(script=script(Op.OP_0)), script=script(Op.OP_0))
    regtest.mine(2)
    before = _snapshot(regtest)
    with pytest.raises(BlockRefused, match="block-script-verify-flag-failed"):
        regtest.reorganise(2, replacement=[[], [false]])
    assert _snapshot(regtest) == before
    regtest.mine()


def test_reorganisation_below_the_genesis_is_refused() -> None:
    regtest = Regtest(initial_blocks=3)
    with pytest.raises(ReorgTooDeep):
        regtest.reorganise(4)
    assert regtest.reorganise(3).fork_height == 0


def test_shorter_branch_changes_nothing_until_it_is_longer(regtest: Regtest) -> None:
    other = Regtest()
    regtest.mine(2)
    tip = regtest.tip
    blocks = [other.index.block(block.height) for block in other.mine(3, script=b"\x51")]
    assert regtest.submit(blocks[0]) is None
    assert regtest.submit(blocks[1]) is None
    assert regtest.tip == tip
    assert regtest.submit(blocks[2]) == TipChanged(tip, other.tip, tip.height - 2)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans())
def test_index_after_any_reorganisations_is_that_of_a_fresh_replay(
    depths: list[int], keep: bool
) -> None:
    regtest = Regtest()
    for depth in depths:
        regtest.fund(p2wsh(b"\x51"), Sat(10_000))
        regtest.mine()
        regtest.reorganise(depth, keep_transactions=keep)
    replay = Regtest(initial_blocks=0)
    for height in range(1, regtest.height + 1):
        replay.submit(regtest.index.block(height))
    assert _snapshot(replay) == _snapshot(regtest)


# --- faucet -------------------------------------------------------------------------------


def test_faucet_pays_at_output_0_many_times_in_a_row(regtest: Regtest) -> None:
    target = p2wsh(b"\x51")
    for value in range(10_000, 10_040):
        tx = regtest.fund(target, Sat(value))
        assert tx.outputs[0] == TxOut(Sat(value), target)
    regtest.mine()
    assert len(regtest.unspent(sha256(target))) == 40


def test_faucet_leaves_no_dust_as_change(regtest: Regtest) -> None:
    for left in range(560, 960, 50):
        tx = regtest.fund(p2wsh(b"\x51"), Sat(50 * 100_000_000 - left))
        assert all(out.value >= 294 for out in tx.outputs)


def test_faucet_gathers_several_coinbases_and_says_when_it_is_empty(regtest: Regtest) -> None:
    regtest.fund(p2wsh(b"\x51"), Sat(120 * 100_000_000))
    with pytest.raises(FaucetEmpty):
        regtest.fund(p2wsh(b"\x51"), Sat(21_000_000 * 100_000_000))
    assert all(
        not coin.is_coinbase or regtest.height + 1 - (coin.height or 0) >= 100
        for outpoint, _ in regtest._faucet_coins()
        if (coin := regtest.index.coin(outpoint))
    )
    assert len(regtest.index.history(sha256(FAUCET_SCRIPT))) == 110

"""Relay rules: each transaction is accepted or refused with Bitcoin Core's word for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lightspeed.bitcoin import (
    P2A_SCRIPT,
    Op,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    op_return,
    p2wsh,
    push,
    script,
)
from lightspeed.chain import BroadcastRefused, FeePolicy, Regtest
from lightspeed.units import Sat


def _submit(regtest: Regtest, *transactions: Tx) -> None:
    if len(transactions) == 1:
        regtest.broadcast(transactions[0])
    else:
        regtest.broadcast_package(transactions)


def _refusal(regtest: Regtest, *transactions: Tx) -> str:
    """The reason for which a transaction, or a package, is refused; nothing may change."""
    before = [entry.tx for entry in regtest.mempool]
    with pytest.raises(BroadcastRefused) as refused:
        _submit(regtest, *transactions)
    assert [entry.tx for entry in regtest.mempool] == before
    return refused.value.reason


def _accepted(regtest: Regtest, *transactions: Tx) -> None:
    """Accepts, and sees Bitcoin Core's consensus agree in the next block."""
    _submit(regtest, *transactions)
    assert all(tx.txid in regtest.mempool for tx in transactions)
    regtest.mine()
    assert all(regtest.index.located(tx.txid) for tx in transactions)


# --- one transaction ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("bad-txns-vin-empty", lambda tx: replace(tx, inputs=())),
        ("bad-txns-vout-empty", lambda tx: replace(tx, outputs=())),
        (
            "bad-txns-vout-negative",
            lambda tx: replace(tx, outputs=(TxOut(Sat(-1), b"\x51"),)),
        ),
        (
            "bad-txns-vout-toolarge",
            lambda tx: replace(tx, outputs=(TxOut(Sat(21_000_001 * 10**8), b"\x51"),)),
        ),
        (
            "bad-txns-txouttotal-toolarge",
            lambda tx: replace(tx, outputs=(TxOut(Sat(11_000_000 * 10**8), b"\x51"),) * 2),
        ),
        ("bad-txns-inputs-duplicate", lambda tx: replace(tx, inputs=tx.inputs * 2)),
        (
            "coinbase",
            lambda tx: replace(tx, inputs=(TxIn(OutPoint(bytes(32), 0xFFFFFFFF)),)),
        ),
        ("version", lambda tx: replace(tx, version=0)),
        ("version", lambda tx: replace(tx, version=4)),
        (
            "scriptsig-size",
            lambda tx: replace(tx, inputs=(replace(tx.inputs[0], script_sig=push(bytes(1_650))),)),
        ),
        (
            "scriptsig-not-pushonly",
            lambda tx: replace(tx, inputs=(replace(tx.inputs[0], script_sig=b"\x76"),)),
        ),
        ("scriptpubkey", lambda tx: replace(tx, outputs=(TxOut(Sat(10_000), b"\x51"),))),
        (
            "tx-size-small",
            lambda tx: replace(tx, outputs=(TxOut(Sat(0), b"\x6a"),)),
        ),
        (
            "bad-txns-inputs-missingorspent",
            lambda tx: replace(tx, inputs=(TxIn(OutPoint(b"\x01" * 32, 0)),)),
        ),
        (
            "bad-txns-inputs-missingorspent",
            lambda tx: replace(tx, inputs=(TxIn(replace(tx.inputs[0].outpoint, vout=9)),)),
        ),
        (
            "bad-txns-in-belowout",
            lambda tx: replace(tx, outputs=(TxOut(Sat(100_001), tx.outputs[0].script),)),
        ),
        (
            "min relay fee not met",
            lambda tx: replace(tx, outputs=(TxOut(Sat(99_999), tx.outputs[0].script),)),
        ),
        ("mempool-script-verify-flag-failed", lambda tx: tx.with_witness(0, ())),
        (
            "bad-witness-nonstandard",
            lambda tx: tx.with_witness(0, (bytes(81), b"\x51")),
        ),
    ],
)
def test_nonstandard_transaction_is_refused_with_its_reason(
    regtest: Regtest, purse: Any, reason: str, change: Callable[[Tx], Tx]
) -> None:
    tx = purse.spend(purse.coin())
    assert _refusal(regtest, change(tx)) == reason
    _accepted(regtest, tx)


def test_weight_of_400_000_is_the_limit(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin(10_000_000)

    def weighing(outputs: int, padding: int) -> Tx:
        extra = (TxOut(Sat(0), op_return(bytes(padding))),)
        made: Tx = purse.spend(coin, outputs=outputs, fee=200_000, extra=extra)
        return made

    room_bytes = (400_000 - weighing(2_300, 1_000).weight) // 4
    fitting, too_heavy = (weighing(2_300, 1_000 + room_bytes + more) for more in (0, 1))
    assert 399_997 <= fitting.weight <= 400_000 < too_heavy.weight
    assert _refusal(regtest, too_heavy) == "tx-size"
    _accepted(regtest, fitting)


def test_immature_coinbase_is_not_spent() -> None:
    regtest = Regtest(initial_blocks=0)
    regtest.mine(1, script=p2wsh(b"\x51"))
    reward = regtest.index.block(1).transactions[0]
    spend = Tx(
        2,
        (TxIn(reward.outpoint(0), witness=(b"\x51",)),),
        (TxOut(Sat(10**9), p2wsh(b"\x51")),),
    )
    regtest.mine(98)
    assert _refusal(regtest, spend) == "bad-txns-premature-spend-of-coinbase"
    regtest.mine(1)
    _accepted(regtest, spend)


def test_known_transaction_is_no_error(regtest: Regtest, purse: Any) -> None:
    tx = purse.spend(purse.coin())
    regtest.broadcast(tx)
    regtest.broadcast(tx)
    assert len(regtest.mempool) == 1
    regtest.mine()
    regtest.broadcast(tx)
    assert len(regtest.mempool) == 0


def test_relative_time_lock_counts_median_time(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    units = 75  # of 512 s, as long as 64 blocks of 600 s from the one before the coin's
    tx = purse.spend(coin, sequence=1 << 22 | units)
    regtest.mine(62)
    assert _refusal(regtest, tx) == "non-BIP68-final"
    regtest.mine(1)
    _accepted(regtest, tx)


def test_absolute_time_lock_counts_median_time(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    median = regtest.index.median_time_past(regtest.height)
    assert _refusal(regtest, purse.spend(coin, locktime=median)) == "non-final"
    _accepted(regtest, purse.spend(coin, locktime=median - 1))


def test_relative_lock_on_an_unconfirmed_coin_waits(regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin())
    regtest.broadcast(parent)
    child = purse.spend(parent.outpoint(0), sequence=1)
    assert _refusal(regtest, child) == "non-BIP68-final"
    regtest.mine()
    _accepted(regtest, child)


# --- dust ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output_script", "limit"),
    [(p2wsh(b"\x51"), 330), (P2A_SCRIPT, 240), (script(Op.OP_0, bytes(20)), 294)],
)
def test_output_below_its_dust_limit_is_refused(
    regtest: Regtest, purse: Any, output_script: bytes, limit: int
) -> None:
    coin = purse.coin()
    dusty = purse.spend(coin, extra=(TxOut(Sat(limit - 1), output_script),))
    assert _refusal(regtest, dusty) == "dust"
    _accepted(regtest, purse.spend(coin, extra=(TxOut(Sat(limit), output_script),)))


def test_ephemeral_dust_lives_only_in_a_free_truc_parent_whose_child_spends_it(
    regtest: Regtest, purse: Any
) -> None:
    anchor = TxOut(Sat(0), P2A_SCRIPT)
    coin = purse.coin()
    parent = purse.spend(coin, version=3, fee=0, extra=(anchor,))
    money = purse.coin()
    assert _refusal(regtest, parent) == "min relay fee not met"
    paying = purse.spend(coin, version=3, fee=1, extra=(anchor,))
    assert _refusal(regtest, paying) == "dust"
    two = purse.spend(coin, version=3, fee=0, extra=(anchor, anchor))
    assert _refusal(regtest, two) == "dust"
    careless = purse.spend(parent.outpoint(1), money, version=3, parents=(parent,))
    assert _refusal(regtest, parent, careless) == "missing-ephemeral-spends"
    old_style = purse.spend(coin, version=2, fee=0, extra=(anchor,))
    child = purse.spend(old_style.outpoint(0), money, parents=(old_style,))
    assert _refusal(regtest, old_style, child) == "min relay fee not met"
    child = purse.spend(parent.outpoint(0), money, version=3, parents=(parent,))
    _accepted(regtest, parent, child)


# --- replacement --------------------------------------------------------------------------


def test_replacement_pays_for_itself_and_at_a_better_rate(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    first = purse.spend(coin, fee=1_000, sequence=0xFFFFFFFF)  # not signalled: still replaceable
    regtest.broadcast(first)
    vsize = first.vsize
    assert _refusal(regtest, purse.spend(coin, fee=999)) == "insufficient fee"
    assert _refusal(regtest, purse.spend(coin, fee=1_000 + vsize - 1)) == "insufficient fee"
    bulky = purse.spend(coin, fee=5_000, outputs=20)
    assert _refusal(regtest, bulky) == "insufficient fee", "more fee, but a lower rate"
    second = purse.spend(coin, fee=1_000 + vsize)
    regtest.broadcast(second)
    assert [entry.tx for entry in regtest.mempool] == [second]
    assert regtest.transaction(first.txid) is None


def test_replacement_pays_for_the_descendants_that_it_evicts(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    first = purse.spend(coin, fee=1_000)
    child = purse.spend(first.outpoint(0), fee=9_000, parents=(first,))
    regtest.broadcast(first)
    regtest.broadcast(child)
    assert _refusal(regtest, purse.spend(coin, fee=10_000)) == "insufficient fee"
    second = purse.spend(coin, fee=10_000 + first.vsize)
    regtest.broadcast(second)
    assert [entry.tx for entry in regtest.mempool] == [second]


def test_replacement_does_not_spend_what_it_evicts(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin()
    first = purse.spend(coin)
    regtest.broadcast(first)
    both = purse.spend(coin, first.outpoint(0), fee=50_000)
    assert _refusal(regtest, both) == "bad-txns-spends-conflicting-tx"


def test_replacement_evicts_at_most_100(regtest: Regtest, purse: Any) -> None:
    coins = [purse.coin(1_000_000) for _ in range(2)]
    for coin in coins:
        parent = purse.spend(coin, outputs=60, fee=5_000)
        regtest.broadcast(parent)
        for vout in range(60):
            regtest.broadcast(purse.spend(parent.outpoint(vout), fee=500, parents=(parent,)))
    assert _refusal(regtest, purse.spend(*coins, fee=500_000)) == "too many potential replacements"
    regtest.broadcast(purse.spend(coins[0], fee=500_000))


def test_confirmed_conflict_leaves_the_mempool_with_its_children(
    regtest: Regtest, purse: Any
) -> None:
    coin = purse.coin()
    loser = purse.spend(coin)
    child = purse.spend(loser.outpoint(0), parents=(loser,))
    regtest.broadcast(loser)
    regtest.broadcast(child)
    winner = purse.spend(coin, fee=500)
    regtest.mine_block([winner])
    assert len(regtest.mempool) == 0
    assert regtest.mempool.spender(coin) is None
    assert regtest.outspend(coin).txid == winner.txid  # type: ignore[union-attr]


# --- TRUC ---------------------------------------------------------------------------------


def test_truc_parent_has_10_000_vbytes_and_its_child_1_000(regtest: Regtest, purse: Any) -> None:
    coin = purse.coin(1_000_000)
    assert purse.spend(coin, version=3, outputs=232).vsize > 10_000
    assert _refusal(regtest, purse.spend(coin, version=3, outputs=232, fee=20_000)) == (
        "TRUC-violation"
    )
    parent = purse.spend(coin, version=3, outputs=230, fee=20_000)
    assert 9_900 < parent.vsize <= 10_000
    regtest.broadcast(parent)
    big = purse.spend(*map(parent.outpoint, range(24)), version=3, fee=2_000, parents=(parent,))
    assert big.vsize > 1_000
    assert _refusal(regtest, big) == "TRUC-violation"
    small = purse.spend(*map(parent.outpoint, range(15)), version=3, parents=(parent,))
    assert small.vsize <= 1_000
    _accepted(regtest, small)


def test_version_3_and_others_do_not_mix_while_unconfirmed(regtest: Regtest, purse: Any) -> None:
    for version, other in ((3, 2), (2, 3)):
        parent = purse.spend(purse.coin(), version=version)
        regtest.broadcast(parent)
        child = purse.spend(parent.outpoint(0), version=other, parents=(parent,))
        assert _refusal(regtest, child) == "TRUC-violation"
        regtest.mine()
        _accepted(regtest, child)


def test_truc_family_is_one_parent_and_one_child(regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin(), version=3)
    uncle = purse.spend(purse.coin(), version=3)
    regtest.broadcast(parent)
    regtest.broadcast(uncle)
    two_parents = purse.spend(parent.outpoint(0), uncle.outpoint(0), version=3)
    assert _refusal(regtest, two_parents) == "TRUC-violation"
    child = purse.spend(parent.outpoint(0), version=3)
    regtest.broadcast(child)
    grandchild = purse.spend(child.outpoint(0), version=3)
    assert _refusal(regtest, grandchild) == "TRUC-violation"


def test_better_paying_truc_sibling_takes_the_place(regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin(), version=3, outputs=2)
    regtest.broadcast(parent)
    stranger = purse.spend(parent.outpoint(0), version=3, fee=1_000)
    regtest.broadcast(stranger)
    poor = purse.spend(parent.outpoint(1), version=3, fee=1_001)
    assert _refusal(regtest, poor) == "insufficient fee"
    regtest.broadcast(purse.spend(parent.outpoint(1), version=3, fee=3_000))
    assert stranger.txid not in regtest.mempool
    assert len(regtest.mempool) == 2


def test_nobody_gives_way_in_a_family_that_a_reorganisation_made(
    regtest: Regtest, purse: Any
) -> None:
    parent = purse.spend(purse.coin(), version=3, outputs=2)
    child = purse.spend(parent.outpoint(0), version=3, parents=(parent,))
    grandchild = purse.spend(child.outpoint(0), version=3, parents=(child,))
    regtest.mine_block([parent, child])
    regtest.broadcast(grandchild)
    regtest.reorganise(1)
    assert len(regtest.mempool) == 3
    sibling = purse.spend(parent.outpoint(1), version=3, fee=40_000)
    assert _refusal(regtest, sibling) == "TRUC-violation"


# --- clusters -----------------------------------------------------------------------------


def test_cluster_has_at_most_64_transactions(regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin(1_000_000), outputs=70, fee=5_000)
    regtest.broadcast(parent)
    for vout in range(63):
        regtest.broadcast(purse.spend(parent.outpoint(vout), fee=500))
    last = purse.spend(parent.outpoint(63), fee=500)
    assert _refusal(regtest, last) == "too-large-cluster"
    regtest.mine()
    _accepted(regtest, last)


def test_cluster_has_at_most_101_kvb(regtest: Regtest, purse: Any) -> None:
    filler = (TxOut(Sat(0), op_return(bytes(90_000))),)
    parent = purse.spend(purse.coin(1_000_000), extra=filler, fee=100_000)
    regtest.broadcast(parent)
    padding = (TxOut(Sat(0), op_return(bytes(12_000))),)
    child = purse.spend(parent.outpoint(1), extra=padding, fee=20_000)
    assert _refusal(regtest, child) == "too-large-cluster"
    regtest.broadcast(purse.spend(parent.outpoint(1), fee=20_000))


# --- packages -----------------------------------------------------------------------------


def test_child_pays_for_a_parent_below_the_mempool_floor(regtest: Regtest, purse: Any) -> None:
    """A commitment at 1 sat/vB while the mempool asks for 5: its anchor brings it in."""
    commitment = purse.spend(purse.coin(), fee=150, extra=(TxOut(Sat(330), p2wsh(b"\x51")),))
    money = purse.coin()
    child = purse.spend(commitment.outpoint(0), money, fee=5_000, parents=(commitment,))
    stingy = purse.spend(commitment.outpoint(0), money, fee=200, parents=(commitment,))
    regtest.mempool.fees = FeePolicy(mempool_floor=5_000)
    assert _refusal(regtest, commitment) == "mempool min fee not met"
    assert _refusal(regtest, child) == "bad-txns-inputs-missingorspent"
    assert _refusal(regtest, commitment, stingy) == "mempool min fee not met"
    _accepted(regtest, commitment, child)


def test_package_replaces_a_package(regtest: Regtest, purse: Any) -> None:
    """Two commitments spend one funding output; the better paying family stays."""
    funding = purse.coin()
    theirs = purse.spend(funding, version=3, fee=0, outputs=2)
    money, more = purse.coin(), purse.coin()
    their_child = purse.spend(theirs.outpoint(0), money, version=3, fee=2_000, parents=(theirs,))
    regtest.broadcast_package([theirs, their_child])
    ours = purse.spend(funding, version=3, fee=0)
    poor = purse.spend(ours.outpoint(0), more, version=3, fee=2_100, parents=(ours,))
    assert _refusal(regtest, ours, poor) == "insufficient fee"
    rich = purse.spend(ours.outpoint(0), more, version=3, fee=6_000, parents=(ours,))
    _accepted(regtest, ours, rich)
    assert regtest.transaction(theirs.txid) is None


def test_package_is_one_child_with_its_parents(regtest: Regtest, purse: Any) -> None:
    one, two = purse.coin(), purse.coin()
    parent, stranger = purse.spend(one), purse.spend(two)
    child = purse.spend(parent.outpoint(0), parents=(parent,))
    grandchild = purse.spend(parent.outpoint(0), child.outpoint(0), parents=(parent, child))
    assert _refusal(regtest, child, parent) == "package-not-sorted"
    assert _refusal(regtest, parent, parent) == "package-contains-duplicates"
    assert _refusal(regtest, parent, purse.spend(one, fee=2_000)) == "conflict-in-package"
    assert _refusal(regtest, stranger, parent, child).startswith("package topology disallowed")
    assert _refusal(regtest, *[parent] * 26) == "package-too-many-transactions"
    assert _refusal(regtest, parent, child, grandchild) == "conflict-in-package"
    _accepted(regtest, parent, child)

"""Every backend keeps the promises of `Chain`: in memory, and over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, OutPoint, Tx, TxIn, TxOut, p2wsh
from lightspeed.chain import (
    BlockId,
    BroadcastRefused,
    Chain,
    EsploraChain,
    FeePolicy,
    LocalChain,
    Regtest,
    Spend,
    TxInfo,
)
from lightspeed.chain.esplora_server import serving
from lightspeed.units import Sat


@pytest.fixture(params=["local", "esplora"])
async def chain(request: pytest.FixtureRequest, regtest: Regtest) -> AsyncIterator[Chain]:
    if request.param == "local":
        yield LocalChain(regtest)
        return
    async with serving(regtest) as url, EsploraChain(url) as client:
        yield client


async def test_tip_and_headers_are_those_of_the_chain(chain: Chain, regtest: Regtest) -> None:
    assert await chain.tip() == regtest.tip
    regtest.mine(3)
    assert await chain.tip() == regtest.tip
    assert await chain.block_id(112) == regtest.index.block_id(112)
    assert await chain.block_id(114) is None
    assert await chain.header(112) == regtest.index.block(112).header
    assert await chain.header(114) is None
    genesis = await chain.block_id(0)
    assert genesis
    assert genesis.hash == regtest.index.block(0).hash


async def test_block_lists_the_ids_of_its_transactions(
    chain: Chain, regtest: Regtest, purse: Any
) -> None:
    sent = [purse.spend(purse.coin()), purse.spend(purse.coin())]
    for tx in sent:
        await chain.broadcast(tx)
    regtest.mine()
    block = regtest.tip
    txids = await chain.block_txids(block)
    assert txids == [tx.txid for tx in regtest.index.block(block.height).transactions]
    assert {tx.txid for tx in sent} < set(txids)
    regtest.reorganise(2)
    assert await chain.block_txids(block) == txids
    assert await chain.block_txids(BlockId(7, bytes(32))) is None


async def test_transaction_is_found_in_mempool_and_block(
    chain: Chain, regtest: Regtest, purse: Any
) -> None:
    tx = purse.spend(purse.coin())
    assert await chain.transaction(tx.txid) is None
    await chain.broadcast(tx)
    assert await chain.transaction(tx.txid) == TxInfo(tx, None)
    regtest.mine()
    block = regtest.tip
    regtest.mine()
    assert await chain.transaction(tx.txid) == TxInfo(tx, block)
    regtest.reorganise(2)
    assert await chain.transaction(tx.txid) == TxInfo(tx, None)


async def test_outspend_follows_mempool_replacement_block_and_reorganisation(
    chain: Chain, regtest: Regtest, purse: Any
) -> None:
    other, coin = purse.coin(), purse.coin()
    assert await chain.outspend(coin) is None
    first = purse.spend(other, coin)
    await chain.broadcast(first)
    spend = await chain.outspend(coin)
    assert spend
    assert (spend.tx, spend.input_index, spend.confirmed) == (first, 1, None)
    second = purse.spend(coin, fee=9_000)
    await chain.broadcast(second)
    spend = await chain.outspend(coin)
    assert spend
    assert spend.txid == second.txid
    assert await chain.outspend(other) is None
    regtest.mine()
    spend = await chain.outspend(coin)
    assert spend
    assert spend.confirmed == regtest.tip
    regtest.reorganise(1, replacement=[[first]])
    spend = await chain.outspend(coin)
    assert spend
    assert spend.txid == first.txid
    assert await chain.outspend(OutPoint(b"\x07" * 32, 3)) is None


async def test_broadcast_says_why_it_is_refused_and_takes_what_is_known(
    chain: Chain, regtest: Regtest, purse: Any
) -> None:
    coin = purse.coin()
    tx = purse.spend(coin)
    await chain.broadcast(tx)
    await chain.broadcast(tx)
    with pytest.raises(BroadcastRefused) as refused:
        await chain.broadcast(purse.spend(coin, fee=1_001))
    assert refused.value.reason == "insufficient fee"
    regtest.mine()
    await chain.broadcast(tx)
    spent = purse.spend(tx.outpoint(0))
    regtest.mine_block([spent])
    await chain.broadcast(tx)
    with pytest.raises(BroadcastRefused) as refused:
        await chain.broadcast(purse.spend(coin, fee=5_000))
    assert refused.value.reason == "bad-txns-inputs-missingorspent"
    dusty = purse.spend(spent.outpoint(0), extra=(TxOut(Sat(1), p2wsh(b"\x51")),))
    with pytest.raises(BroadcastRefused) as refused:
        await chain.broadcast(dusty)
    assert refused.value.reason == "dust"
    garbage = Tx(2, (TxIn(coin),), ())
    with pytest.raises(BroadcastRefused):
        await chain.broadcast(garbage)


async def test_package_pays_together(chain: Chain, regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin(), fee=150)
    child = purse.spend(parent.outpoint(0), fee=5_000, parents=(parent,))
    stingy = purse.spend(parent.outpoint(0), fee=150, parents=(parent,))
    regtest.mempool.fees = FeePolicy(mempool_floor=3_000)
    with pytest.raises(BroadcastRefused) as refused:
        await chain.broadcast_package([parent, stingy])
    assert refused.value.reason == "mempool min fee not met"
    await chain.broadcast_package([parent, child])
    await chain.broadcast_package([parent, child])
    regtest.mine()
    await chain.broadcast_package([parent, child])
    assert (await chain.transaction(child.txid)) == TxInfo(child, regtest.tip)


async def test_fee_rate_is_the_estimate_and_never_below_the_floor(
    chain: Chain, regtest: Regtest
) -> None:
    assert await chain.fee_rate(6) == FEE_RATE_FLOOR
    regtest.fee_rate = FeeRate(2_500)
    assert await chain.fee_rate(6) == 2_500
    assert await chain.fee_rate(100_000) == 2_500
    regtest.fee_rate = FeeRate(1)
    assert await chain.fee_rate(1) == FEE_RATE_FLOOR


async def test_tip_follows_extensions_and_reorganisations(chain: Chain, regtest: Regtest) -> None:
    for depth in range(1, 7):
        regtest.mine(depth)
        assert await chain.tip() == regtest.tip
        regtest.reorganise(depth)
        assert await chain.tip() == regtest.tip
        assert await chain.block_id(regtest.height - 1) == regtest.index.block_id(
            regtest.height - 1
        )
    regtest.mine(200)
    assert await chain.tip() == regtest.tip


async def test_outspends_name_the_spend_of_each_output(
    chain: Chain, regtest: Regtest, purse: Any
) -> None:
    parent = purse.spend(purse.coin(), outputs=4)
    await chain.broadcast(parent)
    regtest.mine()
    assert await chain.outspends(parent.txid) == [None] * 4
    both = purse.spend(parent.outpoint(2), parent.outpoint(0))
    await chain.broadcast(both)
    regtest.mine()
    block = regtest.tip
    last = purse.spend(parent.outpoint(3))
    await chain.broadcast(last)
    assert await chain.outspends(parent.txid) == [
        Spend(both, 1, block),
        None,
        Spend(both, 0, block),
        Spend(last, 0, None),
    ]
    assert await chain.outspends(b"\x07" * 32) == []

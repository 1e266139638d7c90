"""A transaction is over when a spend of one of its coins is safely deep, and not before."""

from typing import cast

import pytest

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2wpkh
from lightspeed.chain import BlockId, Chain, Spend
from lightspeed.node.tokens.fate import Fate, fate_of
from lightspeed.units import Sat

SAFE_DEPTH = 7
TIP_HEIGHT = 100
COINS = (OutPoint(b"\x01" * 32, 0), OutPoint(b"\x02" * 32, 1))


def spending(*coins: OutPoint, sat: int = 1_000) -> Tx:
    inputs = tuple(TxIn(coin) for coin in coins)
    return Tx(version=2, inputs=inputs, outputs=(TxOut(Sat(sat), p2wpkh(bytes(20))),), locktime=0)


OURS = spending(*COINS)
OTHER = spending(COINS[1], sat=900)


class Mined:
    """A chain of the given transactions, each so many blocks deep; 0 in the mempool."""

    def __init__(self, *depths: tuple[Tx, int]) -> None:
        self.depths = depths

    async def tip(self) -> BlockId:
        return BlockId(TIP_HEIGHT, bytes(32))

    async def outspend(self, outpoint: OutPoint) -> Spend | None:
        for tx, depth in self.depths:
            for index, txin in enumerate(tx.inputs):
                if txin.outpoint == outpoint:
                    block = BlockId(TIP_HEIGHT - depth + 1, bytes(32)) if depth else None
                    return Spend(tx, index, block)
        return None


@pytest.mark.parametrize(
    ("depths", "fate"),
    [
        ((), Fate.OPEN),
        (((OURS, 0),), Fate.OPEN),
        (((OTHER, 0),), Fate.OPEN),
        (((OURS, 1),), Fate.SHALLOW),
        (((OTHER, 1),), Fate.SHALLOW),
        (((OURS, SAFE_DEPTH - 1),), Fate.SHALLOW),
        (((OTHER, SAFE_DEPTH - 1),), Fate.SHALLOW),
        (((OURS, SAFE_DEPTH),), Fate.SETTLED),
        (((OTHER, SAFE_DEPTH),), Fate.LOST),
        (((spending(COINS[0]), 1), (OTHER, SAFE_DEPTH)), Fate.LOST),
    ],
)
async def test_fate_is_that_of_the_deepest_spend(
    depths: tuple[tuple[Tx, int], ...], fate: Fate
) -> None:
    chain = cast(Chain, Mined(*depths))
    assert await fate_of(OURS, chain, safe_depth=SAFE_DEPTH) is fate

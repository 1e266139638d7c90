"""What became of a signed transaction that may still be replaced by a spend of one of its coins."""

from enum import Enum, auto

from lightspeed.bitcoin import Tx
from lightspeed.chain import Chain

__all__ = ["Fate", "fate_of"]


class Fate(Enum):
    """As the chain has it now."""

    OPEN = auto()
    """No block holds a spend of its coins."""
    SHALLOW = auto()
    """A block does, its own or another; a reorganisation may undo that."""
    SETTLED = auto()
    """It is safely deep."""
    LOST = auto()
    """A coin of it was spent by another transaction, safely deep."""


async def fate_of(tx: Tx, chain: Chain, *, safe_depth: int) -> Fate:
    """Raises `ChainUnavailable`."""
    tip = await chain.tip()
    fate = Fate.OPEN
    for txin in tx.inputs:
        spend = await chain.outspend(txin.outpoint)
        if spend is None or spend.confirmed is None:
            continue
        if tip.height - spend.confirmed.height + 1 >= safe_depth:
            return Fate.SETTLED if spend.txid == tx.txid else Fate.LOST
        fate = Fate.SHALLOW
    return fate

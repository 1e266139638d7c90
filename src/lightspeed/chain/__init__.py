"""What the program knows of a chain: one interface, and the backends behind it.

`Regtest` is a chain inside this process and `LocalChain` its `Chain`; `EsploraChain` asks an
Esplora server; `lightspeed.chain.esplora_server` makes a `Regtest` such a server.
"""

from lightspeed.chain.errors import (
    BlockRefused,
    BroadcastRefused,
    ChainUnavailable,
    FaucetEmpty,
    ReorgTooDeep,
)
from lightspeed.chain.esplora import EsploraChain
from lightspeed.chain.interface import BlockId, Chain, Spend, TxInfo
from lightspeed.chain.local import LocalChain
from lightspeed.chain.policy import FeePolicy
from lightspeed.chain.regtest import Regtest, TipChanged

__all__ = [
    "BlockId",
    "BlockRefused",
    "BroadcastRefused",
    "Chain",
    "ChainUnavailable",
    "EsploraChain",
    "FaucetEmpty",
    "FeePolicy",
    "LocalChain",
    "Regtest",
    "ReorgTooDeep",
    "Spend",
    "TipChanged",
    "TxInfo",
]

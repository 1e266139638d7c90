"""The transactions that this node made to close a channel, remembered so as to make each once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from lightspeed.bitcoin import FeeRate, OutPoint, Tx
from lightspeed.channel import StateError
from lightspeed.node.store import NodeStore
from lightspeed.units import Sat

__all__ = ["BROADCAST_TABLE", "OwnTransaction", "OwnTransactions"]

BROADCAST_TABLE = "broadcast"
"""Key: channel id, txid."""

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTransaction:
    """Complete; it may be in a block, in the mempool, or refused so far."""

    tx: Tx
    purpose: str
    fee_sat: Sat
    feerate_per_kw: FeeRate
    """Asked for when it was built."""
    built_height: int
    """The tip at that time."""
    tokens: int = 0
    """That it moves to our wallet."""

    def dump(self) -> bytes:
        document = {
            "version": _VERSION,
            "tx": self.tx.serialize().hex(),
            "purpose": self.purpose,
            "fee_sat": self.fee_sat,
            "feerate_per_kw": self.feerate_per_kw,
            "built_height": self.built_height,
            "tokens": self.tokens,
        }
        return json.dumps(document).encode()

    @classmethod
    def load(cls, data: bytes) -> "OwnTransaction":
        """Raises `StateError`."""
        try:
            document = json.loads(data)
            if document.pop("version") != _VERSION:
                raise StateError("a transaction stored by another version")
            tx = Tx.parse(bytes.fromhex(document.pop("tx")))
            return cls(tx=tx, **document)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StateError("a stored transaction does not parse") from None


class OwnTransactions:
    """Those of one channel, by txid."""

    def __init__(self, store: NodeStore, channel_id: bytes) -> None:
        self._store = store
        self._channel_id = channel_id
        self._by_txid = {
            key[len(channel_id) :]: OwnTransaction.load(value)
            for key, value in store.scan(BROADCAST_TABLE, channel_id)
        }

    def __iter__(self) -> Iterator[OwnTransaction]:
        return iter(tuple(self._by_txid.values()))

    def __contains__(self, txid: object) -> bool:
        return txid in self._by_txid

    def get(self, txid: bytes) -> OwnTransaction | None:
        return self._by_txid.get(txid)

    def spender(self, outpoint: OutPoint) -> OwnTransaction | None:
        """That which spends `outpoint`, if there is one."""
        for own in self:
            if any(txin.outpoint == outpoint for txin in own.tx.inputs):
                return own
        return None

    def add(self, transaction: OwnTransaction) -> None:
        """Durably, before it is published."""
        txid = transaction.tx.txid
        self._store.put(BROADCAST_TABLE, self._channel_id + txid, transaction.dump())
        self._by_txid[txid] = transaction

    def remove(self, transaction: OwnTransaction) -> None:
        txid = transaction.tx.txid
        self._store.put(BROADCAST_TABLE, self._channel_id + txid, None)
        del self._by_txid[txid]

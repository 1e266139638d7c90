"""Where a channel's close is swept to: one script for all of it, over restarts too."""

from lightspeed.node.store import NodeStore
from lightspeed.node.wallet import Wallet

__all__ = ["CLOSING_TABLE", "closing_destination"]

CLOSING_TABLE = "closing"
"""Key: channel id. The script that everything of this channel is swept to."""


def closing_destination(store: NodeStore, wallet: Wallet, channel_id: bytes) -> bytes:
    """The wallet's script for this channel, chosen at the first call."""
    stored = store.get(CLOSING_TABLE, channel_id)
    if stored is None:
        stored = wallet.new_script()
        store.put(CLOSING_TABLE, channel_id, stored)
    return stored

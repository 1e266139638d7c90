"""A store that was put back from a backup: its channels wait for their peers.

A commitment that was revoked since the backup costs the whole channel when it is published. So
nothing of such a channel is published until its peer has shown, with `channel_reestablish`, that
the state is the current one. A peer that shows the contrary (BOLT 2, option_data_loss_protect)
is asked to close.
"""

import logging
from dataclasses import replace

from lightspeed.channel import Phase
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.records import CHANNEL_RECORD_TABLE, ChannelRecord
from lightspeed.node.store import NodeStore

__all__ = ["doubt", "doubt_old_copy"]

_log = logging.getLogger(__name__)


def doubt_old_copy(store: NodeStore) -> bool:
    """Marks the channels of a store that is an old copy; before a node is made of it."""
    if not store.is_old_copy:
        return False
    records = {key: ChannelRecord.load(value) for key, value in store.scan(CHANNEL_RECORD_TABLE)}
    live = {key: record for key, record in records.items() if not record.over}
    store.accept_old_copy([replace(live[key], doubtful=True).put(key) for key in live])
    _log.critical("the store is an old copy", extra={"channels": len(live)})
    return True


def doubt(driver: ChannelDriver) -> str | None:
    """What the operator has to know of the channel's state."""
    name = f"channel {driver.channel.channel_id.hex()}"
    if driver.phase is Phase.BEHIND:
        return f"{name}: our state is old, its peer has to close it"
    if driver.record.doubtful and driver.phase is not Phase.CLOSED:
        return f"{name}: our state may be old, it waits for its peer"
    return None

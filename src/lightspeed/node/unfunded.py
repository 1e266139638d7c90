"""Channels that others were to fund: how many a peer may have, and the end of waiting for them."""

import logging
from collections.abc import MutableMapping

from lightspeed.channel import (
    CHANNEL_TABLE,
    CHILD_SIGNATURES_TABLE,
    REVOKED_TABLE,
    ChannelViolation,
    Put,
    Side,
)
from lightspeed.colour import colour_parameters
from lightspeed.node.destination import CLOSING_TABLE
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.own_transactions import BROADCAST_TABLE
from lightspeed.node.records import CHANNEL_RECORD_TABLE, CLOSING_TX_TABLE
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore

__all__ = ["MAX_UNFUNDED_PER_PEER", "UNFUNDED_BLOCKS", "Unfunded"]

_log = logging.getLogger(__name__)

MAX_UNFUNDED_PER_PEER = 4
UNFUNDED_BLOCKS = 2_016
"""BOLT 2, "The `channel_ready` Message": so long a fundee waits for the funding transaction."""

_TABLES = (
    CHANNEL_RECORD_TABLE,
    CHANNEL_TABLE,
    REVOKED_TABLE,
    CHILD_SIGNATURES_TABLE,
    BROADCAST_TABLE,
    CLOSING_TABLE,
    CLOSING_TX_TABLE,
)
"""Their keys begin with the channel id."""


class Unfunded:
    """A peer makes us keep, and ask the chain for, no more than a few channels for nothing."""

    def __init__(
        self, drivers: MutableMapping[bytes, ChannelDriver], *, store: NodeStore, stash: Stash
    ) -> None:
        self._drivers = drivers
        self._store = store
        self._stash = stash

    def check_another(self, node_id: bytes, *, opening: int) -> None:
        """May this peer open one more channel, besides the `opening` ones that are under way?

        Raises `ChannelViolation`.
        """
        waiting = sum(
            driver.record.node_id == node_id and not driver.record.over and _waits(driver)
            for driver in self._drivers.values()
        )
        if waiting + opening >= MAX_UNFUNDED_PER_PEER:
            raise ChannelViolation(
                f"{waiting + opening} channels that you opened wait for their funding "
                f"transactions to be deep enough: no more than {MAX_UNFUNDED_PER_PEER} may"
            )

    def is_given_up(self, driver: ChannelDriver, *, height: int) -> bool:
        """Of a channel whose funding transaction is not in a block: do we wait no longer?

        Never as the funder, whose money it is, nor if the channel was funded once and a
        reorganisation undid that.
        """
        opened_height = driver.record.opened_height
        if opened_height is None or not _waits(driver):
            return False
        return height - opened_height >= UNFUNDED_BLOCKS

    async def forget(self, driver: ChannelDriver) -> None:
        """The channel and what belongs to it; durably. Raises `ChainUnavailable`."""
        channel_id, config = driver.channel.channel_id, driver.channel.state.config
        parameters = colour_parameters(config)
        if parameters is not None:
            await self._stash.forget_unmined(parameters.contract_id, config.funding_outpoint)
        self._drivers.pop(channel_id, None)
        await driver.forget(
            [
                Put(table, key, None)
                for table in _TABLES
                for key, _ in self._store.scan(table, channel_id)
            ]
        )
        _log.warning(
            "a channel was never funded and is forgotten",
            extra={"channel": channel_id.hex(), "peer": driver.record.node_id.hex()},
        )


def _waits(driver: ChannelDriver) -> bool:
    state = driver.channel.state
    return state.config.funder is Side.COUNTERPARTY and not state.holder_ready

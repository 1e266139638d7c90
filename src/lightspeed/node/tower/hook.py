"""Hangs a feed on a node."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from lightspeed.node.daemon import Node
from lightspeed.node.destination import closing_destination
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.keys import read_secret_file
from lightspeed.node.store import NodeStore
from lightspeed.node.tower.client import TowerClient
from lightspeed.node.tower.feed import TowerFeed

__all__ = ["feeding_tower"]


@asynccontextmanager
async def feeding_tower(node: Node, store: NodeStore) -> AsyncIterator[TowerFeed]:
    """Hands the node's channels to its tower while the context lasts. Raises `ConfigError`."""

    def lock_secrets(driver: ChannelDriver) -> Mapping[bytes, Mapping[int, bytes]]:
        return node.payee_books.lock_secrets(driver) if node.payee_books else {}

    async def fenced(driver: ChannelDriver) -> bool:
        return node.payee_books is None or await node.payee_books.fence(driver)

    token = read_secret_file(node.config.tower_token_path).decode().strip()
    async with TowerClient(node.config.tower_url, token) as client:
        feed = TowerFeed(
            client,
            store=store,
            drivers=lambda: node.drivers.values(),
            destination=lambda channel: closing_destination(store, node.wallet, channel.channel_id),
            preimages=node.invoices.preimages,
            lock_secrets=lock_secrets,
            fenced=fenced,
            report=node.alarms.report,
        )
        feeding = asyncio.create_task(feed.run())
        try:
            yield feed
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

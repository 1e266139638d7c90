"""A tower as a process, until a signal ends it."""

import asyncio
import logging
import signal
from collections.abc import Callable

from lightspeed.chain import EsploraChain
from lightspeed.node.tower.service import Tower, serving_tower
from lightspeed.node.tower.store import TowerStore

__all__ = ["run_tower"]

_log = logging.getLogger(__name__)


async def run_tower(
    store: TowerStore, *, esplora_url: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Until SIGTERM or SIGINT. `on_ready(URL)` is called once it answers.

    Raises `ChainUnavailable` when the chain backend does not answer at the start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with EsploraChain(esplora_url) as chain:
        tip = await chain.tip()
        async with serving_tower(Tower(store, chain), port=port) as url:
            on_ready(url)
            _log.info("tower started", extra={"url": url, "height": tip.height})
            await stop.wait()
            _log.info("tower stops")

"""A node as a process: its parts opened, the API served, until a signal ends it."""

import asyncio
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from lightspeed.chain import EsploraChain
from lightspeed.errors import LightspeedError
from lightspeed.ledger import PayerStore, SQLiteLedger
from lightspeed.node.api import api_token, serving_api
from lightspeed.node.config import NodeConfig
from lightspeed.node.daemon import Node
from lightspeed.node.keys import NodeKeys
from lightspeed.node.old_copy import doubt_old_copy
from lightspeed.node.store import NodeStore
from lightspeed.node.tower.hook import feeding_tower
from lightspeed.node.wallet import Wallet

__all__ = ["JsonLogFormatter", "init_node", "log_to_stderr", "main", "run_node"]

_log = logging.getLogger(__name__)

_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def init_node(config: NodeConfig) -> None:
    """Make the folder, its configuration and, if it is not there, the seed."""
    config.write()
    if not config.seed_path.exists():
        NodeKeys.create(config.seed_path)


async def run_node(
    config: NodeConfig, *, on_ready: Callable[[Node, str], None] | None = None
) -> None:
    """Until SIGTERM or SIGINT. `on_ready(node, API URL)` is called once both are up.

    Raises `ConfigError`, `StoreInUse`, and `StoreError` when a store failed meanwhile.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as parts:
        node = await _open(config, parts)
        await node.start()
        parts.push_async_callback(node.stop)
        token = api_token(config.token_path)
        url = await parts.enter_async_context(serving_api(node, token=token, port=config.api_port))
        if on_ready is not None:
            on_ready(node, url)
        node.failed.add_done_callback(lambda _: stop.set())
        await stop.wait()
        _log.info("node stops")
    if node.failed.done():
        raise node.failed.result()


async def _open(config: NodeConfig, parts: AsyncExitStack) -> Node:
    keys = NodeKeys.read(config.seed_path)
    store = parts.enter_context(NodeStore(config.store_path))
    doubt_old_copy(store)
    wallet = Wallet(
        config.wallet_path,
        seed=keys.wallet_seed,
        network=config.network,
        esplora_url=config.esplora_url,
    )
    chain = await parts.enter_async_context(EsploraChain(config.esplora_url))
    ledger = payer_store = None
    if config.lightspeed is not None and config.lightspeed.ledger is not None:
        ledger = await parts.enter_async_context(SQLiteLedger(config.lightspeed.ledger))
    if config.lightspeed is not None and config.lightspeed.payer_store is not None:
        payer_store = parts.enter_context(PayerStore(config.lightspeed.payer_store))
    node = Node(
        config,
        keys=keys,
        store=store,
        wallet=wallet,
        chain=chain,
        ledger=ledger,
        payer_store=payer_store,
    )
    if config.tower_url:
        await parts.enter_async_context(feeding_tower(node, store))
    return node


class JsonLogFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, event, and what `extra` holds."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _RECORD_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr(level: int = logging.INFO) -> None:
    """What a node's process does; a program that embeds a node decides itself."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLogFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def main(arguments: list[str] | None = None) -> int:
    """`python -m lightspeed.node DIR`: run the node of a folder with a `node.toml`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m lightspeed.node DIR", file=sys.stderr)
        return 2

    def ready(node: Node, url: str) -> None:
        address = f"{node.keys.node_id.data.hex()}@{node.config.listen_host}:{node.peers.port}"
        print(json.dumps({"api": url, "address": address}), flush=True)

    log_to_stderr()
    try:
        config = NodeConfig.read(Path(arguments[0]))
        asyncio.run(run_node(config, on_ready=ready))
    except LightspeedError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0

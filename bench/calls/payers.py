"""The payers' nodes: each with its own folder, keys, ports and API, all in one process.

python -m calls.payers DIR ...
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from lightspeed.node.config import NodeConfig
from lightspeed.node.service import log_to_stderr, run_node


async def run_nodes(configs: Iterable[NodeConfig]) -> None:
    """Until SIGTERM, or until one of them fails."""
    nodes = [asyncio.create_task(run_node(config)) for config in configs]
    # A signal ends the node that asked for it last; the others end with it.
    await asyncio.wait(nodes, return_when=asyncio.FIRST_COMPLETED)
    for node in nodes:
        node.cancel()
    for ended in await asyncio.gather(*nodes, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(run_nodes(NodeConfig.read(Path(folder)) for folder in sys.argv[1:]))

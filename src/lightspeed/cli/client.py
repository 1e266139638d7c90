"""How a command reaches the node of a data folder."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lightspeed.cli.errors import NodeUnreachable, UsageError

if TYPE_CHECKING:
    from lightspeed.node.client import NodeClient
    from lightspeed.node.config import NodeConfig

__all__ = ["DataDir", "ask", "default_data_dir", "read_config"]

T = TypeVar("T")


def default_data_dir() -> Path:
    return Path.home() / ".lightspeed"


DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        "-d",
        envvar="LIGHTSPEED_DATA_DIR",
        help="The node's folder.",
        show_default="~/.lightspeed",
        default_factory=default_data_dir,
    ),
]


def read_config(data_dir: Path) -> "NodeConfig":
    """Raises `UsageError` where no node was made yet, and `ConfigError`."""
    _check_folder(data_dir)
    from lightspeed.node.config import NodeConfig

    return NodeConfig.read(data_dir)


def _check_folder(data_dir: Path) -> None:
    from lightspeed.node.folder import CONFIG_NAME

    if not (data_dir / CONFIG_NAME).is_file():
        raise UsageError(
            f"there is no node in {data_dir}; make one with: "
            f"lightspeed node init --data-dir {data_dir}"
        )


def ask(data_dir: Path, question: "Callable[[NodeClient], Awaitable[T]]") -> T:
    """Asks the running node. Raises `NodeUnreachable`, and what the node refuses."""
    from lightspeed.node.client import NodeApiError, NodeClient
    from lightspeed.node.folder import api_url, token_path

    _check_folder(data_dir)
    url, path = api_url(data_dir), token_path(data_dir)
    if not os.access(path, os.R_OK):
        raise NodeUnreachable(_not_running(data_dir))

    async def run() -> T:
        async with NodeClient(url, path.read_text().strip()) as client:
            return await question(client)

    try:
        return asyncio.run(run())
    except NodeApiError as error:
        if error.status:
            raise
        raise NodeUnreachable(_not_running(data_dir)) from None


def _not_running(data_dir: Path) -> str:
    return (
        f"the node in {data_dir} does not answer; start it with: "
        f"lightspeed node run --data-dir {data_dir}"
    )

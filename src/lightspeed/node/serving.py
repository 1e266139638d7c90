"""An HTTP server of the node's own event loop, on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

__all__ = ["serving"]

_HOST = "127.0.0.1"
_BACKLOG = 128


@asynccontextmanager
async def serving(app: Starlette, *, port: int) -> AsyncIterator[str]:
    """Serves while the context lasts; gives the URL (port 0: any).

    Raises `OSError` with the address as its filename.
    """
    # asyncio turns Nagle's delay off only where the socket names its protocol.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{_HOST}:{port}") from None
        listener.listen(_BACKLOG)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://{_HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield

"""Our HTTP clients against servers that hang up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lightspeed.outbound import HttpClient

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def hanging_up() -> AsyncIterator[str]:
    """A server that keeps a connection open after its first answer, and resets it at the next
    request: as one does whose patience with an idle connection ends at that moment.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_idle_connection_that_the_server_closed_costs_no_request(method: str) -> None:
    async with hanging_up() as url, HttpClient(timeout_seconds=5) as client:
        for _ in range(3):
            assert await client._fetch(method, url) == (200, b"ok")

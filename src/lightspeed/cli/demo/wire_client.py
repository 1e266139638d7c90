"""A bare HTTP/1.1 client, so that a load measures the server and not the client's library.

One request at a time on a connection that stays open. GET only.
"""

import asyncio
from typing import NamedTuple, Self, cast

import httptools

from lightspeed.errors import RemoteError

__all__ = ["Answer", "ConnectionLost", "HttpConnection"]


class ConnectionLost(RemoteError, ConnectionError):
    """The server hung up, or did not speak HTTP."""


class Answer(NamedTuple):
    """A response. Names of header fields are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of every field of this name."""
        return [value for found, value in self.headers if found == name]


class HttpConnection(asyncio.Protocol):
    """`await HttpConnection.open(host, port)`, then `get`, at last `close`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body = b""

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Raises `OSError`."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(f"{host}:{port}"), host, port)
        return connection

    async def get(self, path: str, *fields: tuple[str, str]) -> Answer:
        """Raises `ConnectionLost`."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost("the connection is closed")
        self._waiting = asyncio.get_running_loop().create_future()
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{head}\r\n"
        self._transport.write(request.encode("ascii"))
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol -----------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is of another class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionLost(f"the server does not speak HTTP: {error}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionLost("the server hung up"))

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # --- httptools ------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._headers = []
        self._body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._headers, self._body)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

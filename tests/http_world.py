"""Payer and payee for the tests of http: books, a ledger, a store, servers on loopback."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn

from lightspeed.cli.demo.processes import free_ports
from lightspeed.http import LightspeedMiddleware, Offer, seal_of
from lightspeed.ledger import PayerStore, SQLiteLedger
from lightspeed.payment import BookTerms, Scheme, SecretBook
from payment_books import CHANNEL_ID, FOREVER

ORIGIN = "http://127.0.0.1:1"
NODE = "02" + "ab" * 32 + "@127.0.0.1:9735"
OFFER = Offer(node=NODE)


def make_book(*origins: str, seed: bytes = bytes(32), **other: object) -> SecretBook:
    """40 locks of 10 units of 1 sat each, unless told otherwise."""
    numbers = {"locks": 40, "chain_length": 10, "lock_amount": 10, "window": 64}
    defaults = {"scheme": Scheme.OUTPUTS, "origins": origins or (ORIGIN,)}
    terms = BookTerms(**{**defaults, **numbers, **other})
    return SecretBook.create(channel_id=CHANNEL_ID, terms=terms, seed=seed, seal_of=seal_of)


class Application:
    """A bare ASGI application that keeps the scopes it saw."""

    def __init__(self) -> None:
        self.scopes: list[dict] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        self.scopes.append(scope)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/plain"), (b"cache-control", b"public")],
            }
        )
        await send({"type": "http.response.body", "body": b"served"})


class World:
    """A payee's ledger and a payer's store that agree on books."""

    def __init__(self, directory: Path) -> None:
        self.ledger_path = directory / "ledger.db"
        self.store_path = directory / "payer.db"
        self.ledger = SQLiteLedger(self.ledger_path, seal_of=seal_of)
        self.store = PayerStore(self.store_path)

    async def agree(self, book: SecretBook, *, open_until: float = FOREVER) -> SecretBook:
        self.store.save(book)
        await self.ledger.store_book(book.book, open_until=open_until)
        return book

    def middleware(self, app=None, **options) -> LightspeedMiddleware:
        defaults = {"ledger": self.ledger, "price": "1 sat", "offer": OFFER}
        return LightspeedMiddleware(app or Application(), **{**defaults, **options})

    async def close(self) -> None:
        await self.ledger.aclose()
        self.store.close()


@contextlib.asynccontextmanager
async def open_world(directory: Path) -> AsyncIterator[World]:
    world = World(directory)
    try:
        yield world
    finally:
        await world.close()


def free_port() -> int:
    (port,) = free_ports(1)
    return port


@contextlib.contextmanager
def served(app, port: int) -> Iterator[str]:
    """An application behind a real uvicorn in a thread; yields its origin."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _wait_for(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class ServerProcess:
    """`http_app` behind a uvicorn process of its own, which may be killed."""

    def __init__(self, ledger_path: Path, port: int, *, workers: int = 1) -> None:
        command = [sys.executable, "-m", "uvicorn", "http_app:app", "--port", str(port)]
        command += ["--workers", str(workers), "--log-level", "critical"]
        self._process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            env={**os.environ, "LIGHTSPEED_LEDGER": str(ledger_path)},
        )
        self.pid = self._process.pid
        _wait_for(port)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError("the server did not start")


class RawClient:
    """One HTTP/1.1 connection that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "RawClient":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str = "/answer", **headers: str) -> tuple[int, dict[str, str], bytes]:
        lines = [f"GET {path} HTTP/1.1", "host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        values = dict(line.split(": ", 1) for line in head[1:] if line)
        found = {name.lower(): value for name, value in values.items()}
        body = await self._reader.readexactly(int(found["content-length"]))
        return int(head[0].split(" ")[1]), found, body

    def close(self) -> None:
        self._writer.close()

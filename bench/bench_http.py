"""How many requests per second does a paid JSON route serve, against the same route unpaid?

Both are one Starlette application behind one uvicorn worker (uvloop, httptools); the paid one has
the middleware with an SQLite ledger, so every call is redeemed durably before it is served. Two
more servers show where the difference comes from: one that serves the paid requests unpaid, so that
their longer heads are read and nothing else is done, and one whose ledger is memory alone. 64
connections, one request in flight on each. Servers and load generator are separate processes; the
generator writes prepared requests on raw asyncio transports and tells how much of a core it used:
well below 100 % it is not what is measured. Rounds alternate between the servers; printed are
medians, the spread, and the median of the ratios of neighbouring rounds; beside it the server's CPU
time per request, which other work on the machine disturbs less than it does the rate.

    python bench/bench_http.py [--seconds 2] [--rounds 5] [--connections 64]
"""

import argparse
import asyncio
import contextlib
import math
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple, cast

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightspeed.http import LightspeedMiddleware
from lightspeed.ledger import Ledger, SQLiteLedger
from lightspeed.payment import (
    Book,
    BookRecord,
    BookTerms,
    Credential,
    Price,
    Receipt,
    Scheme,
    SecretBook,
    check,
)

CHAIN_LENGTH = 1_000
TERMS = BookTerms(
    scheme=Scheme.OUTPUTS,
    locks=500,
    chain_length=CHAIN_LENGTH,
    lock_amount=1_000,
    window=1_024,
    origins=("http://127.0.0.1:1",),
)
GOAL = 0.85
UNPAID, READ, MEMORY, PAID = "unpaid", "unpaid, with credential", "paid, in memory", "paid"
WARM_UP_SECONDS = 0.5


async def answer(request: Request) -> JSONResponse:
    return JSONResponse({"answer": 42, "query": request.url.query})


class MemoryLedger:
    """Checks and redeems as the others do, and keeps nothing; what a call asks of a Ledger."""

    def __init__(self, book: Book) -> None:
        self._record = BookRecord(book=book, open_until=math.inf)

    async def redeem(self, credential: Credential, *, prices: Iterable[Price] = ()) -> Receipt:
        parts = check(credential, self._record, now=time.time(), prices=tuple(prices))
        return self._record.redeem(parts)

    async def book(self, _: bytes) -> Book:
        return self._record.book


def serve(port: int, ledger: str | Book | None) -> None:
    """A path is of an SQLite ledger, a book is kept in memory, None serves for nothing."""
    app = Starlette(routes=[Route("/answer", answer)])
    if ledger is not None:
        source = cast(Ledger, MemoryLedger(ledger)) if isinstance(ledger, Book) else ledger
        app.add_middleware(LightspeedMiddleware, ledger=source, price="1 sat")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", loop="uvloop")


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the response before it is complete."""

    def __init__(self, requests: Iterator[bytes], deadline: float) -> None:
        self._requests = requests
        self._deadline = deadline
        self._received = b""
        self._transport: asyncio.WriteTransport
        self.served = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end]
        at = head.index(b"content-length: ") + len(b"content-length: ")
        length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else head_end])
        if len(self._received) < head_end + 4 + length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._received.decode())
        self._received = b""
        self.served += 1
        if time.perf_counter() < self._deadline:
            self._transport.write(next(self._requests))
        elif not self.done.done():
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed by the server"))


class Round(NamedTuple):
    """`generator_share`: the generator's CPU seconds per second."""

    requests_per_second: float
    generator_share: float
    server_cpu_seconds: float


async def measure(
    server: "Server", requests: Iterator[bytes], *, connections: int, seconds: float
) -> Round:
    loop = asyncio.get_running_loop()
    server_cpu = server.cpu_seconds()
    started, cpu = time.perf_counter(), time.process_time()
    pairs = [
        await loop.create_connection(
            lambda: Connection(requests, started + seconds), "127.0.0.1", server.port
        )
        for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in pairs]
    await asyncio.gather(*[protocol.done for protocol in protocols])
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    served = sum(protocol.served for protocol in protocols)
    server_cpu = (server.cpu_seconds() - server_cpu) / served
    return Round(served / elapsed, used / elapsed, server_cpu)


def request_bytes(*headers: str) -> bytes:
    lines = ["GET /answer?q=1 HTTP/1.1", "host: 127.0.0.1", "accept: */*", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii")


def paid_requests(book: SecretBook) -> Iterator[bytes]:
    for unit in range(1, book.book.terms.units + 1):
        yield request_bytes(f"lightspeed-payment: {book.credential(unit, 1).to_token()}")


class Server:
    """A server process on a free port of its own."""

    def __init__(self, ledger: str | Book | None) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=serve, args=(self.port, ledger))

    def __enter__(self) -> "Server":
        self._process.start()
        for _ in range(400):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port)),
            ):
                return self
            time.sleep(0.05)
        raise TimeoutError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def cpu_seconds(self) -> float:
        """User and system time of the process (proc(5), fields 14 and 15)."""
        after_name = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def run(*, connections: int, seconds: float, rounds: int) -> dict[str, list[Round]]:
    """The rounds of each server."""
    book = SecretBook.create(channel_id=bytes(32), terms=TERMS, seed=bytes(32))
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        path = str(Path(directory) / "ledger.db")
        with SQLiteLedger(path) as ledger:
            asyncio.run(ledger.store_book(book.book, open_until=time.time() + 86_400))
        enough = int((rounds * seconds + WARM_UP_SECONDS) * 25_000)
        prepared = list(islice(paid_requests(book), enough))
        servers = {
            UNPAID: (stack.enter_context(Server(None)), repeat(request_bytes())),
            READ: (stack.enter_context(Server(None)), iter(prepared)),
            MEMORY: (stack.enter_context(Server(book.book)), iter(prepared)),
            PAID: (stack.enter_context(Server(path)), iter(prepared)),
        }
        found: dict[str, list[Round]] = {name: [] for name in servers}
        for number in range(rounds + 1):
            duration = seconds if number else WARM_UP_SECONDS
            for name, (server, requests) in servers.items():
                measured = measure(server, requests, connections=connections, seconds=duration)
                found[name].append(uvloop.run(measured))
    return {name: measured[1:] for name, measured in found.items()}


def line(name: str, rounds: list[Round]) -> str:
    rates = [found.requests_per_second for found in rounds]
    share = statistics.median(found.generator_share for found in rounds)
    cpu = statistics.median(found.server_cpu_seconds for found in rounds)
    return (
        f"{name:<24} {statistics.median(rates):>9,.0f} requests/s"
        f"   [{min(rates):,.0f} .. {max(rates):,.0f}]   server {cpu * 1e6:.0f} us of CPU each"
        f"   generator at {share:.0%} of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(__doc__)
    found = run(**vars(options))
    ratios = sorted(
        mine.requests_per_second / theirs.requests_per_second
        for mine, theirs in zip(found[PAID], found[UNPAID], strict=True)
    )
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s each")
    for name, measured in found.items():
        print(line(name, measured))
    print(
        f"paid / unpaid  {statistics.median(ratios):.2f}   [{ratios[0]:.2f} .. {ratios[-1]:.2f}]"
        f"   goal {GOAL}"
    )


if __name__ == "__main__":
    main()

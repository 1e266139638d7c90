"""How many requests per second does a paid JSON route serve, against the same route unpaid?

Both are one Starlette application behind one uvicorn worker (uvloop, httptools); the paid one has
the middleware with an SQLite ledger, so every call is redeemed durably before it is served. 64
connections, one request in flight on each. Servers and load generator are separate processes; the
generator writes prepared requests on raw asyncio transports and tells how much of a core it used:
well below 100 % it is not what is measured. Rounds alternate between the two servers; printed are
medians, the spread, and the median of the ratios of neighbouring rounds; beside it the server's CPU
time per request, which other work on the machine disturbs less than it does the rate.

    python bench/bench_http.py [--seconds 2] [--rounds 5] [--connections 64]
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightspeed.http import LightspeedMiddleware
from lightspeed.ledger import SQLiteLedger
from lightspeed.payment import BookTerms, Scheme, SecretBook

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
WARM_UP_SECONDS = 0.5


async def answer(request: Request) -> JSONResponse:
    return JSONResponse({"answer": 42, "query": request.url.query})


def serve(port: int, ledger_path: str | None) -> None:
    app = Starlette(routes=[Route("/answer", answer)])
    if ledger_path is not None:
        app.add_middleware(LightspeedMiddleware, ledger=ledger_path, price="1 sat")
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

    def __init__(self, ledger_path: str | None) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=serve, args=(self.port, ledger_path))

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


def run(*, connections: int, seconds: float, rounds: int) -> tuple[list[Round], list[Round]]:
    book = SecretBook.create(channel_id=bytes(32), terms=TERMS, seed=bytes(32))
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "ledger.db")
        with SQLiteLedger(path) as ledger:
            asyncio.run(ledger.store_book(book.book, open_until=time.time() + 86_400))
        enough = int((rounds * seconds + WARM_UP_SECONDS) * 25_000)
        prepared = iter(list(islice(paid_requests(book), enough)))
        free = repeat(request_bytes())
        results: tuple[list[Round], list[Round]] = ([], [])
        with Server(None) as free_server, Server(path) as paid_server:
            for number in range(rounds + 1):
                for server, requests, found in (
                    (free_server, free, results[0]),
                    (paid_server, prepared, results[1]),
                ):
                    duration = seconds if number else WARM_UP_SECONDS
                    found.append(
                        uvloop.run(
                            measure(server, requests, connections=connections, seconds=duration)
                        )
                    )
    return results[0][1:], results[1][1:]


def line(name: str, rounds: list[Round]) -> str:
    rates = [found.requests_per_second for found in rounds]
    share = statistics.median(found.generator_share for found in rounds)
    cpu = statistics.median(found.server_cpu_seconds for found in rounds)
    return (
        f"{name:<8} {statistics.median(rates):>9,.0f} requests/s"
        f"   [{min(rates):,.0f} .. {max(rates):,.0f}]   server {cpu * 1e6:.0f} us of CPU each"
        f"   generator at {share:.0%} of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    free, paid = run(**vars(options))
    ratios = sorted(
        mine.requests_per_second / theirs.requests_per_second
        for mine, theirs in zip(paid, free, strict=True)
    )
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s each")
    print(line("unpaid", free))
    print(line("paid", paid))
    print(
        f"ratio    {statistics.median(ratios):.2f}   [{ratios[0]:.2f} .. {ratios[-1]:.2f}]"
        f"   goal {GOAL}"
    )


if __name__ == "__main__":
    main()

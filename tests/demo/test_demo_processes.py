"""A process of the demo that fails is named with what it said; a client sees what a server does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lightspeed.cli.demo.processes import ProcessEnded, Processes, free_ports
from lightspeed.cli.demo.wire_client import ConnectionLost, HttpConnection


async def test_a_process_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        await processes.start("broken", "lightspeed.cli", "nonsense")

        async def never() -> bool:
            return False

        with pytest.raises(ProcessEnded, match=r"(?s)'broken' ended with status 2.*nonsense"):
            await processes.until("broken", never)


async def test_whatever_happens_inside_every_process_ends(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    (port,) = free_ports(1)

    async def fail_while_it_runs() -> None:
        async with processes:
            await processes.start("server", "http.server", str(port), "--bind", "127.0.0.1")
            await processes.until("server", lambda: listens(port))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_while_it_runs()
    assert not await listens(port)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def test_free_ports_are_different_and_not_taken_by_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if outgoing.exists():
        assert max(ports) < int(outgoing.read_text().split()[0])


@asynccontextmanager
async def server_that_says(*answers: bytes) -> AsyncIterator[int]:
    """One answer per request, then it hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_answers_come_one_after_the_other() -> None:
    first = b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 2\r\n\r\nok"
    second = b"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n\r\n"
    async with server_that_says(first, second) as port:
        connection = await HttpConnection.open("127.0.0.1", port)
        answer = await connection.get("/", ("X", "y"))
        assert (answer.status, answer.body, answer.all("a")) == (200, b"ok", ["1", "2"])
        answer = await connection.get("/")
        assert (answer.status, answer.body, answer.all("a")) == (402, b"", [])
        connection.close()


@pytest.mark.parametrize("said", [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nConte"])
async def test_an_answer_that_does_not_come_is_an_error(said: bytes) -> None:
    async with server_that_says(said) as port:
        connection = await HttpConnection.open("127.0.0.1", port)
        with pytest.raises(ConnectionLost):
            await connection.get("/")
        with pytest.raises(ConnectionLost):
            await connection.get("/")

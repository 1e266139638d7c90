"""Nothing that was answered with 200 is lost, and nothing is served twice, whatever fails."""

import asyncio
import resource

import pytest

from http_world import RawClient, ServerProcess, World, free_port, make_book
from lightspeed.http import Payer, parse_price
from lightspeed.payment import Credential, Receipt

PRICE = [parse_price("1 sat")]
UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def port() -> int:
    return free_port()


class Answered(list[Receipt]):
    """The receipts of calls that were answered with 200."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self._enough = enough
        self.reached = asyncio.Event()

    def append(self, receipt: Receipt) -> None:
        super().append(receipt)
        if len(self) == self._enough:
            self.reached.set()


async def pay_until_broken(payer: Payer, origin: str, port: int, answered: Answered) -> None:
    """Calls on one connection until it breaks."""
    client = await RawClient.connect(port)
    try:
        while True:
            call = payer.start(origin, PRICE)
            try:
                status, headers, body = await client.get(lightspeed_payment=call.token)
            except (OSError, EOFError):
                call.lost()
                return
            ended = call.end(status, [headers["lightspeed-receipt"]], body)
            if ended.receipt is not None:
                assert status == 200
                answered.append(ended.receipt)
    finally:
        client.close()


async def test_kill_of_the_server_loses_nothing_and_serves_nothing_twice(
    world: World, port: int
) -> None:
    """SIGKILL in the middle of 5,000 calls; then all that was answered is presented again."""
    origin = f"http://127.0.0.1:{port}"
    book = await world.agree(make_book(origin, locks=60, chain_length=100, lock_amount=100))
    answered = Answered(enough=2_000)

    async def kill_in_the_middle(server: ServerProcess) -> None:
        async with asyncio.timeout(60):
            await answered.reached.wait()
        server.kill()

    payer = Payer(world.store)
    with ServerProcess(world.ledger_path, port) as server:
        await asyncio.gather(
            kill_in_the_middle(server),
            *[pay_until_broken(payer, origin, port, answered) for _ in range(16)],
        )
    assert 2_000 <= len(answered) < 5_000
    units = {receipt.first_unit for receipt in answered}
    assert len(units) == len(answered)
    with ServerProcess(world.ledger_path, port):
        clients = [await RawClient.connect(port) for _ in range(8)]

        async def present_again(client: RawClient, some: list[int]) -> None:
            for unit in some:
                token = book.credential(unit, 1).to_token()
                status, _, body = await client.get(lightspeed_payment=token)
                assert status == 402
                assert b":already-redeemed" in body

        ordered = sorted(units)
        await asyncio.gather(*[present_again(c, ordered[i::8]) for i, c in enumerate(clients)])
        # The payer goes on: what was in flight comes again, in order, and no unit is left out.
        status = await world.ledger.status(book.book.book_id)
        in_flight = status.redeemed_units - len(units)
        assert 0 <= in_flight <= 16
        left = 5_000 - len(answered)
        for _ in range(left):
            await pay(payer, origin, clients[0])
        for client in clients:
            client.close()
    status = await world.ledger.status(book.book.book_id)
    assert status.redeemed_units == 5_000 + in_flight
    assert status.next_unit == status.redeemed_units + 1


async def pay(payer: Payer, origin: str, client: RawClient) -> Receipt:
    while True:
        call = payer.start(origin, PRICE)
        status, headers, body = await client.get(lightspeed_payment=call.token)
        ended = call.end(status, [headers["lightspeed-receipt"]], body)
        if ended.receipt is not None:
            assert status == 200
            return ended.receipt
        assert ended.refusal is not None
        assert ended.refusal.slug == "already-redeemed"


async def test_fenced_book_is_served_by_no_worker(world: World, port: int) -> None:
    """Two worker processes that had the book open."""
    book = await world.agree(make_book(f"http://127.0.0.1:{port}"))
    with ServerProcess(world.ledger_path, port, workers=2):
        clients: dict[bytes, RawClient] = {}
        unit = 0
        while len(clients) < 2:
            unit += 1
            client = await RawClient.connect(port)
            token = book.credential(unit, 1).to_token()
            status, _, body = await client.get(lightspeed_payment=token)
            assert status == 200
            pid = body.partition(b'"pid":')[2]
            clients.setdefault(pid, client)
        final = await world.ledger.fence(book.book.book_id)
        for client in clients.values():
            token = book.credential(unit + 1, 1).to_token()
            status, headers, body = await client.get(lightspeed_payment=token)
            assert status == 402
            assert b":book-closed" in body
            assert Receipt.from_header(headers["lightspeed-receipt"]).next_unit == unit + 1
        assert final.status.redeemed_units == unit
        assert await world.ledger.status(book.book.book_id) == final.status


async def test_full_disk_stops_paid_calls_and_loses_nothing(world: World, port: int) -> None:
    """The file size limit of the server's process makes every write fail, then no more."""
    book = await world.agree(make_book(f"http://127.0.0.1:{port}"))
    await world.ledger.aclose()

    def token(unit: int) -> str:
        return book.credential(unit, 1).to_token()

    with ServerProcess(world.ledger_path, port) as server:
        client = await RawClient.connect(port)
        for unit in (1, 2, 3):
            assert (await client.get(lightspeed_payment=token(unit)))[0] == 200
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, UNLIMITED))
        for _ in range(3):
            status, headers, body = await client.get(lightspeed_payment=token(4))
            assert status == 503
            assert b":ledger-unavailable" in body
            assert "retry-after" in headers
            assert "lightspeed-receipt" not in headers
        status, headers, _ = await client.get()
        assert status == 402  # the price is still told
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        for unit in (4, 5):
            assert (await client.get(lightspeed_payment=token(unit)))[0] == 200
        status, _, body = await client.get(lightspeed_payment=token(3))
        assert status == 402
        assert b":already-redeemed" in body
    world.ledger = type(world.ledger)(world.ledger_path)
    status = await world.ledger.status(book.book.book_id)
    assert (status.redeemed_units, status.next_unit) == (5, 6)
    final = await world.ledger.fence(book.book.book_id)
    assert [element.element for element in final.elements] == [book.element(1, 5)]


async def test_concurrent_presentations_of_one_unit_are_served_once(
    world: World, port: int
) -> None:
    """32 connections, two worker processes, the same credential."""
    book = await world.agree(make_book(f"http://127.0.0.1:{port}"))
    with ServerProcess(world.ledger_path, port, workers=2):
        clients = [await RawClient.connect(port) for _ in range(32)]
        for unit in (1, 2, 3):
            credential: Credential = book.credential(unit, 1)
            answers = await asyncio.gather(
                *[c.get(lightspeed_payment=credential.to_token()) for c in clients]
            )
            assert sorted(answer[0] for answer in answers) == [200] + [402] * 31
        for client in clients:
            client.close()

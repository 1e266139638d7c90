"""The clients: calls without a payment, with a unit each, and with an invoice each."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from calls.house import House, Seat
from calls.server import INVOICE_PATH, UNITS_PATH, UNPAID_PATH
from lightspeed.bitcoin import Network
from lightspeed.cli.demo.house import until
from lightspeed.cli.demo.load import WrongAnswer
from lightspeed.cli.demo.wire_client import Answer, HttpConnection
from lightspeed.http import Budget, Call, Ended, Payer
from lightspeed.http.conventional import InvoicePayer
from lightspeed.http.pricing import parse_price
from lightspeed.node.invoice_text import decode_invoice

__all__ = ["Client", "Round", "measure", "seated"]

OK, PAYMENT_REQUIRED = 200, 402
NOT_YET = frozenset({"unknown-book", "book-closed"})
"""Until the payee's node has put the book into the ledger and leased it."""
BUDGET = "1 btc"
MSAT_PER_SAT = 1_000


@dataclass(frozen=True, slots=True)
class Round:
    """What some clients did in some seconds. `latencies` in seconds, one for each call, sorted."""

    seconds: float
    latencies: list[float]
    requests: int
    """Sent, of all calls."""
    clients_share: float
    """Of one core, that the clients' own process used."""

    @property
    def calls(self) -> int:
        return len(self.latencies)

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds

    def latency(self, quantile: float) -> float:
        return self.latencies[min(self.calls - 1, int(quantile * self.calls))]


class Client:
    """One buyer."""

    def __init__(self, seat: Seat, house: House, payer: Payer) -> None:
        self._seat = seat
        self._payer = payer
        self._origin = house.origin
        self._unit_prices = (parse_price(f"{house.terms.unit_msat} msat"),)
        invoice_msat = house.terms.invoice_sat * MSAT_PER_SAT
        self._invoice_payer = InvoicePayer(self._pay, max_amount=invoice_msat)
        self.requests = 0

    async def unpaid(self, connection: HttpConnection) -> None:
        self.requests += 1
        _check(await connection.get(UNPAID_PATH))

    async def by_unit(self, connection: HttpConnection) -> None:
        """One request, with the next secret in it."""
        answer, ended = await self._present(connection)
        _check(answer)
        if ended.receipt is None:
            raise WrongAnswer("a paid call was answered without a receipt")

    async def by_invoice(self, connection: HttpConnection) -> None:
        """Ask, be told an invoice, have the node pay it, ask again."""
        self.requests += 2
        demand = await connection.get(INVOICE_PATH)
        authorization = await self._invoice_payer.authorize(demand.all("www-authenticate"))
        _check(await connection.get(INVOICE_PATH, ("Authorization", authorization)))

    async def wait_for_book(self) -> None:
        """Until the payee's application takes its units: one is spent."""

        async def is_taken() -> bool:
            async with self.connected() as connection:
                answer, ended = await self._present(connection)
            if ended.refusal is not None and ended.refusal.slug in NOT_YET:
                return False
            _check(answer)
            return True

        await until(is_taken, what="book that can be paid from")

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[HttpConnection]:
        """To the API."""
        server = urlsplit(self._origin)
        assert server.hostname is not None
        assert server.port is not None
        connection = await HttpConnection.open(server.hostname, server.port)
        try:
            yield connection
        finally:
            connection.close()

    async def _present(self, connection: HttpConnection) -> tuple[Answer, Ended]:
        call: Call = self._payer.start(self._origin, self._unit_prices)
        self.requests += 1
        try:
            answer = await connection.get(UNITS_PATH, ("Lightspeed-Payment", call.token))
        except BaseException:
            call.lost()
            raise
        return answer, call.end(answer.status, answer.all("lightspeed-receipt"), answer.body)

    async def _pay(self, bolt11: str, asked_msat: int) -> None:
        if decode_invoice(bolt11, network=Network.REGTEST).amount_msat != asked_msat:
            raise WrongAnswer("an invoice of another amount than the API asked for")
        payment = await self._seat.node.client.pay(bolt11)
        if payment.state != "paid":
            raise WrongAnswer(f"the payment of an invoice is {payment.state}")


def _check(answer: Answer) -> None:
    if answer.status != OK or json.loads(answer.body) != {"answer": 42}:
        raise WrongAnswer(f"a call was answered with {answer.status}: {answer.body!r:.200}")


@asynccontextmanager
async def seated(house: House) -> AsyncIterator[list[Client]]:
    """A client at every seat, whose book can be paid from."""
    budget = Budget(per_call=BUDGET, per_hour=BUDGET, per_day=BUDGET)
    with ExitStack() as stack:
        clients = []
        for seat in house.seats:
            book_id = bytes.fromhex(seat.book.book_id)
            payer = Payer(seat.payer_store, book_id=book_id, budgets=[budget])
            clients.append(Client(seat, house, stack.enter_context(payer)))
        for client in clients:
            await client.wait_for_book()
        yield clients


async def measure(
    clients: Sequence[Client],
    call: Callable[[Client, HttpConnection], Awaitable[None]],
    *,
    in_flight: int,
    seconds: float,
) -> Round:
    """Every client makes one call after the other, on so many connections at the same time.

    A call that began in time is waited for: it and its time count.
    """
    latencies: list[float] = []
    requests = sum(client.requests for client in clients)

    async def caller(client: Client, connection: HttpConnection, deadline: float) -> None:
        while (start := time.perf_counter()) < deadline:
            await call(client, connection)
            latencies.append(time.perf_counter() - start)

    async with AsyncExitStack() as stack:
        lines = [
            (client, await stack.enter_async_context(client.connected()))
            for client in clients
            for _ in range(in_flight)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for client, connection in lines:
                group.create_task(caller(client, connection, began + seconds))
        elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    return Round(
        seconds=elapsed,
        latencies=sorted(latencies),
        requests=sum(client.requests for client in clients) - requests,
        clients_share=used / elapsed,
    )

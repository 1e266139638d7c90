"""The demo's clients, in a process of their own: they call, pay and check every answer.

    python -m lightspeed.cli.demo.load units '{"origin": "http://127.0.0.1:8000", ...}'
    python -m lightspeed.cli.demo.load invoices '{"origin": "http://127.0.0.1:8000", ...}'

Prints a JSON object per line: `{"done": n}` while it goes on, at last `{"answered": n,
"requests": n, "seconds": s}`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from lightspeed.cli.demo.wire_client import Answer, HttpConnection
from lightspeed.errors import LightspeedError, RemoteError
from lightspeed.http import Budget, Call, Payer
from lightspeed.http.conventional import InvoicePayer
from lightspeed.http.pricing import parse_price

__all__ = [
    "InvoicesOrder",
    "LoadOutcome",
    "UnitsOrder",
    "WrongAnswer",
    "pay_with_invoices",
    "pay_with_units",
]

_REPORT_SECONDS = 0.1
_RECEIPT = "lightspeed-receipt"
_CREDENTIAL = "Lightspeed-Payment"
_PAYMENT_REQUIRED = 402

Report = Callable[[int], None]


class WrongAnswer(RemoteError):
    """A paid call was not answered with what was bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsOrder:
    """Calls `first` .. `first + calls - 1`, one unit each, from `clients` at the same time."""

    origin: str
    first: int
    calls: int
    clients: int
    price: str
    """Of a call: such as "10 msat", or "1 rgb:..."."""
    store: str
    """The payer's, where the book with its seed is."""
    book_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicesOrder:
    """The same, with an invoice per call that the payer's node pays."""

    origin: str
    first: int
    calls: int
    clients: int
    price_msat: int
    node_url: str
    node_token_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """`requests` counts every request to the API that was sent."""

    answered: int
    requests: int
    seconds: float


async def pay_with_units(order: UnitsOrder, report: Report) -> LoadOutcome:
    """Raises `WrongAnswer` at the first answer that is not what was paid for."""
    price = parse_price(order.price)
    total = replace(price, amount=order.calls * price.amount)
    budget = Budget(per_call=price, per_hour=total, per_day=total)
    with Payer(order.store, book_id=bytes.fromhex(order.book_id), budgets=[budget]) as payer:
        return await _make_calls(order, _UnitCalls(order, payer), report)


async def pay_with_invoices(order: InvoicesOrder, token: str, report: Report) -> LoadOutcome:
    """Raises `WrongAnswer`, and what the payer's node raises."""
    # Only here: clients that pay with units need nothing of Lightning.
    from lightspeed.bitcoin import Network
    from lightspeed.node.client import NodeClient
    from lightspeed.node.invoice_text import decode_invoice

    async with NodeClient(order.node_url, token) as node:

        async def pay(bolt11: str, asked_msat: int) -> None:
            if decode_invoice(bolt11, network=Network.REGTEST).amount_msat != asked_msat:
                raise WrongAnswer("an invoice of another amount than the API asked for")
            payment = await node.pay(bolt11)
            if payment.state != "paid":
                raise WrongAnswer(f"the payment of an invoice is {payment.state}")

        return await _make_calls(order, _InvoiceCalls(order, pay), report)


class _UnitCalls:
    """`requests` counts all that were sent, also those whose payment was refused."""

    def __init__(self, order: UnitsOrder, payer: Payer) -> None:
        self._order = order
        self._payer = payer
        self._prices = (parse_price(order.price),)
        self.requests = 0

    async def one(self, connection: HttpConnection, number: int) -> None:
        """After a refusal its units are presented again with the next try."""
        while not await self._try(connection, number):
            pass

    async def _try(self, connection: HttpConnection, number: int) -> bool:
        call = await self._started()
        self.requests += 1
        try:
            answer = await connection.get(f"/v1/square/{number}", (_CREDENTIAL, call.token))
        except BaseException:
            call.lost()
            raise
        ended = call.end(answer.status, answer.all(_RECEIPT), answer.body)
        if ended.receipt is None and answer.status == _PAYMENT_REQUIRED:
            return False
        _check(number, answer)
        return True

    async def _started(self) -> Call:
        while True:
            started = self._payer.start_or_wait(self._order.origin, self._prices)
            if isinstance(started, Call):
                return started
            await asyncio.wrap_future(started)


class _InvoiceCalls:
    def __init__(self, order: InvoicesOrder, pay: Callable[[str, int], Awaitable[None]]) -> None:
        self._order = order
        self._payer = InvoicePayer(pay, max_amount=order.price_msat)
        self.requests = 0

    async def one(self, connection: HttpConnection, number: int) -> None:
        """Ask, be told an invoice, have it paid, ask again."""
        path = f"/conventional/square/{number}"
        self.requests += 2
        demand = await connection.get(path)
        authorization = await self._payer.authorize(demand.all("www-authenticate"))
        _check(number, await connection.get(path, ("Authorization", authorization)))


def _check(number: int, answer: Answer) -> None:
    if answer.status != 200 or json.loads(answer.body) != {"number": number, "square": number**2}:
        raise WrongAnswer(f"call {number} was answered with {answer.status}: {answer.body!r:.200}")


async def _make_calls(
    order: UnitsOrder | InvoicesOrder, calls: _UnitCalls | _InvoiceCalls, report: Report
) -> LoadOutcome:
    numbers = iter(range(order.first, order.first + order.calls))
    answered = 0

    async def client(connection: HttpConnection, numbers: Iterator[int]) -> None:
        nonlocal answered
        for number in numbers:
            await calls.one(connection, number)
            answered += 1

    async def tell() -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            report(answered)

    server = urlsplit(order.origin)
    assert server.hostname is not None
    assert server.port is not None
    connections = [
        await HttpConnection.open(server.hostname, server.port) for _ in range(order.clients)
    ]
    telling = asyncio.create_task(tell())
    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(client(connection, numbers))
    finally:
        telling.cancel()
        for connection in connections:
            connection.close()
    seconds = time.perf_counter() - began
    return LoadOutcome(answered=answered, requests=calls.requests, seconds=seconds)


def _main(kind: str, order: str) -> None:
    def report(done: int) -> None:
        print(json.dumps({"done": done}), flush=True)

    if kind == "units":
        load = pay_with_units(UnitsOrder(**json.loads(order)), report)
    else:
        invoices = InvoicesOrder(**json.loads(order))
        token = Path(invoices.node_token_file).read_text().strip()
        load = pay_with_invoices(invoices, token, report)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            print(json.dumps(asdict(runner.run(load))), flush=True)
    except* LightspeedError as errors:
        sys.exit(str(errors.exceptions[0]))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    _main(*sys.argv[1:])

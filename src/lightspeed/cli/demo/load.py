"""The demo's clients, in a process of their own: they call, pay and check every answer.

    python -m lightspeed.cli.demo.load units '{"origin": "http://127.0.0.1:8000", ...}'
    python -m lightspeed.cli.demo.load invoices '{"origin": "http://127.0.0.1:8000", ...}'

Driven by aiohttp: a load made with httpx measures httpx. Prints a JSON object per line: `{"done":
n}` while it goes on, at last `{"answered": n, "requests": n, "seconds": s}`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from lightspeed.bitcoin import Network
from lightspeed.errors import LightspeedError, RemoteError
from lightspeed.http import Budget, Call, Payer
from lightspeed.http.conventional import InvoicePayer
from lightspeed.node.client import NodeClient
from lightspeed.node.invoice_text import decode_invoice
from lightspeed.payment import Price

__all__ = [
    "InvoicesOrder",
    "LoadOutcome",
    "UnitsOrder",
    "WrongAnswer",
    "pay_with_invoices",
    "pay_with_units",
]

_REPORT_SECONDS = 0.1
_RECEIPT = "Lightspeed-Receipt"
_CREDENTIAL = "Lightspeed-Payment"

Report = Callable[[int], None]
OneCall = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


class WrongAnswer(RemoteError):
    """A paid call was not answered with what was bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsOrder:
    """Calls `first` .. `first + calls - 1`, one unit each, from `clients` at the same time."""

    origin: str
    first: int
    calls: int
    clients: int
    price_msat: int
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
    total = Price(order.calls * order.price_msat)
    budget = Budget(per_call=Price(order.price_msat), per_hour=total, per_day=total)
    with Payer(order.store, book_id=bytes.fromhex(order.book_id), budgets=[budget]) as payer:
        return await _make_calls(order, _UnitCalls(order, payer), report)


async def pay_with_invoices(order: InvoicesOrder, token: str, report: Report) -> LoadOutcome:
    """Raises `WrongAnswer`, and what the payer's node raises."""
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
        self._prices = (Price(order.price_msat),)
        self.requests = 0

    async def one(self, session: aiohttp.ClientSession, number: int) -> None:
        """After a refusal its units are presented again with the next try."""
        while not await self._try(session, number):
            pass

    async def _try(self, session: aiohttp.ClientSession, number: int) -> bool:
        call = await self._started()
        self.requests += 1
        url = f"{self._order.origin}/v1/square/{number}"
        try:
            async with session.get(url, headers={_CREDENTIAL: call.token}) as response:
                body = await response.read()
        except BaseException:
            call.lost()
            raise
        problem = body if response.status == 402 else b""
        ended = call.end(response.status, response.headers.getall(_RECEIPT, ()), problem)
        if ended.receipt is None and response.status == 402:
            return False
        _check(number, response.status, body)
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

    async def one(self, session: aiohttp.ClientSession, number: int) -> None:
        """Ask, be told an invoice, have it paid, ask again."""
        url = f"{self._order.origin}/conventional/square/{number}"
        self.requests += 2
        async with session.get(url) as demand:
            challenges = demand.headers.getall("WWW-Authenticate", ())
        authorization = await self._payer.authorize(challenges)
        async with session.get(url, headers={"Authorization": authorization}) as response:
            _check(number, response.status, await response.read())


def _check(number: int, status: int, body: bytes) -> None:
    if status != 200 or json.loads(body) != {"number": number, "square": number**2}:
        raise WrongAnswer(f"call {number} was answered with {status}: {body!r:.200}")


async def _make_calls(
    order: UnitsOrder | InvoicesOrder, calls: _UnitCalls | _InvoiceCalls, report: Report
) -> LoadOutcome:
    numbers = iter(range(order.first, order.first + order.calls))
    answered = 0

    async def client(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        nonlocal answered
        for number in numbers:
            await calls.one(session, number)
            answered += 1

    async def tell() -> None:
        while answered < order.calls:
            await asyncio.sleep(_REPORT_SECONDS)
            report(answered)

    connector = aiohttp.TCPConnector(limit=order.clients)
    async with aiohttp.ClientSession(connector=connector) as session:
        telling = asyncio.create_task(tell())
        began = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(order.clients):
                    group.create_task(client(session, numbers))
        finally:
            telling.cancel()
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

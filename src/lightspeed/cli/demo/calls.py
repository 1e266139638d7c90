"""The demo's paid calls: one as in the README, then many, by a process of their own."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace

import httpx

from lightspeed.cli.demo.house import House, TookTooLong
from lightspeed.cli.demo.load import InvoicesOrder, LoadOutcome, UnitsOrder
from lightspeed.cli.demo.plan import MSAT_PER_SAT
from lightspeed.cli.demo.processes import child_command
from lightspeed.cli.demo.report import Measured
from lightspeed.errors import RemoteError
from lightspeed.http import Budget, Payer, PaymentRejected
from lightspeed.http.client import LightspeedAuth, payment_of
from lightspeed.http.pricing import parse_price

__all__ = [
    "LoadFailed",
    "call_after_the_end",
    "first_call",
    "make_calls_by_invoices",
    "make_calls_by_units",
]

_PATIENCE_SECONDS = 20.0
_RETRY_SECONDS = 0.1
_LOG_TAIL = 2_000
_FEW_CALLS = 10
_NOT_YET = ("unknown-book", "book-closed")
"""Until the payee's node has put the book into the ledger and leased it."""
_CONVENTIONAL_IN_FLIGHT = 1
"""More would share commitments; the paper counts one payment."""


class LoadFailed(RemoteError):
    """The process that makes the calls ended; the text has what it said."""


async def first_call(house: House, book_id: str) -> str:
    """As in the README: a client that is told the price by a 402, and pays it.

    Returns what happened, for people.
    """
    auth = _auth(house, book_id)
    try:
        async with httpx.AsyncClient(auth=auth, base_url=house.origin) as client:
            response = await _paid(client, "/v1/square/1")
            payment = payment_of(response)
            if response.status_code != 200 or payment is None:
                raise LoadFailed(f"the first call was answered with {response.status_code}")
            plan = house.plan
            amount = payment.amount if plan.in_tokens else payment.amount / MSAT_PER_SAT
            price = plan.amount_text(amount)
            return f"402, price {price}, paid with the next secret: 200 {response.text}"
    finally:
        auth.payer.close()


def _auth(house: House, book_id: str) -> LightspeedAuth:
    """A client that may pay for a few calls."""
    price = parse_price(house.call_price)
    few = replace(price, amount=_FEW_CALLS * price.amount)
    budget = Budget(per_call=price, per_hour=few, per_day=few)
    return LightspeedAuth(
        Payer(house.payer_store, book_id=bytes.fromhex(book_id), budgets=[budget])
    )


async def _paid(client: httpx.AsyncClient, path: str) -> httpx.Response:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_SECONDS
    while True:
        try:
            return await client.get(path)
        except PaymentRejected as rejected:
            if rejected.slug not in _NOT_YET:
                raise
            if loop.time() > deadline:
                raise TookTooLong("the book was not open for payment in time") from rejected
        await asyncio.sleep(_RETRY_SECONDS)


async def call_after_the_end(house: House, book_id: str) -> str:
    """One more call once the channel is being closed: which problem it gets."""
    auth = _auth(house, book_id)
    try:
        async with httpx.AsyncClient(auth=auth, base_url=house.origin) as client:
            response = await client.get("/v1/square/0")
    except PaymentRejected as rejected:
        return rejected.slug
    finally:
        auth.payer.close()
    raise LoadFailed(f"a call for a fenced book was answered with {response.status_code}")


async def make_calls_by_units(
    house: House, *, book_id: str, first: int, calls: int, progress: Callable[[int], None]
) -> Measured:
    """Many calls at once, one unit each."""
    plan = house.plan
    order = UnitsOrder(
        origin=house.origin,
        first=first,
        calls=calls,
        clients=plan.clients,
        price=house.call_price,
        store=str(house.payer_store),
        book_id=book_id,
    )
    return await _measured(house, "units", order, progress)


async def make_calls_by_invoices(
    house: House, *, calls: int, progress: Callable[[int], None]
) -> Measured:
    """The conventional payment (Paper 1.1): an invoice per call, one after the other."""
    payer = house.payer
    order = InvoicesOrder(
        origin=house.origin,
        first=1,
        calls=calls,
        clients=_CONVENTIONAL_IN_FLIGHT,
        price_msat=house.plan.conventional_price_sat * MSAT_PER_SAT,
        node_url=payer.api_url,
        node_token_file=str(payer.config.token_path),
    )
    return await _measured(house, "invoices", order, progress)


async def _measured(
    house: House,
    kind: str,
    order: UnitsOrder | InvoicesOrder,
    progress: Callable[[int], None],
) -> Measured:
    before = await house.counts()
    outcome = await _load(house, kind, json.dumps(asdict(order)), progress)
    counts = await house.counts() - before
    if counts.http_requests != outcome.requests:
        raise LoadFailed(
            f"the clients sent {outcome.requests} requests, {counts.http_requests} arrived"
        )
    return Measured(
        calls=outcome.answered,
        seconds=outcome.seconds,
        in_flight=order.clients,
        counts=counts,
    )


async def _load(
    house: House, kind: str, order: str, progress: Callable[[int], None]
) -> LoadOutcome:
    log = house.folder / f"load-{kind}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *child_command("lightspeed.cli.demo.load", kind, order),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert process.stdout is not None
    outcome = None
    try:
        async for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                progress(said["done"])
            else:
                outcome = LoadOutcome(**said)
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if outcome is None:
        await house.processes.check()
        said = log.read_text(errors="replace").strip()
        raise LoadFailed(f"the calls failed: {said[-_LOG_TAIL:]}")
    progress(outcome.answered)
    return outcome

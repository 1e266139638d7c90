"""The demo's API server, a process of its own.

    python -m lightspeed.cli.demo.server '{"port": 8000, "ledger": "ledger.sqlite", ...}'

What it sells is paid by Lightspeed under `/v1`, and by an invoice per call under
`/conventional`. `/counts` tells what this process counted.
"""

import json
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightspeed.http import LightspeedMiddleware
from lightspeed.http.conventional import Invoice, InvoiceMiddleware
from lightspeed.node.client import NodeClient

__all__ = ["NodeInvoices", "ServerOrder", "create_app"]

_COUNTS_PATH = "/counts"

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrder:
    """Prices are texts such as "10 sat". The payee's node is asked for invoices only."""

    port: int
    ledger: str
    price: str
    invoice_price: str
    node_url: str
    node_token_file: str


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    """All that arrived, paid or not, but those to `/counts`."""
    served: int = 0


class _Front:
    """Sends each request to the application that it is for, and counts it."""

    def __init__(self, shop: App, *, by_invoice: App, counts: _Counts) -> None:
        self._shop = shop
        self._by_invoice = by_invoice
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path == _COUNTS_PATH:
            await JSONResponse(asdict(self._counts))(scope, receive, send)
            return
        if scope["type"] == "http":
            self._counts.requests += 1
        app = self._by_invoice if path.startswith("/conventional/") else self._shop
        await app(scope, receive, send)


class NodeInvoices:
    """What the conventional payment asks of the payee's node."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def create(self, amount_msat: int) -> Invoice:
        invoice = await self._client.create_invoice(amount_msat, description="a call")
        return Invoice(invoice.bolt11, bytes.fromhex(invoice.payment_hash))

    async def is_paid(self, payment_hash: bytes) -> bool:
        return (await self._client.invoice(payment_hash.hex())).state == "paid"


def create_app(order: ServerOrder) -> App:
    """What is sold, and the two ways to pay for it."""
    counts = _Counts()
    node = NodeClient(order.node_url, Path(order.node_token_file).read_text().strip())
    invoices = NodeInvoices(node)

    async def square(request: Request) -> JSONResponse:
        counts.served += 1
        number = request.path_params["number"]
        return JSONResponse({"number": number, "square": number * number})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with node:
            yield

    shop = Starlette(routes=[Route("/v1/square/{number:int}", square)], lifespan=lifespan)
    shop.add_middleware(LightspeedMiddleware, ledger=order.ledger, price=order.price)
    by_invoice = InvoiceMiddleware(
        Starlette(routes=[Route("/conventional/square/{number:int}", square)]),
        create_invoice=invoices.create,
        is_paid=invoices.is_paid,
        price=order.invoice_price,
        challenge_key=secrets.token_bytes(32),
    )
    return _Front(shop, by_invoice=by_invoice, counts=counts)


if __name__ == "__main__":
    server_order = ServerOrder(**json.loads(sys.argv[1]))
    uvicorn.run(
        create_app(server_order),
        host="127.0.0.1",
        port=server_order.port,
        log_level="warning",
        access_log=False,
    )

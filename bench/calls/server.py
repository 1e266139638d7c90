"""The API server, a process of its own: one route, for nothing, for units, by invoice.

    python -m calls.server '{"port": 8000, "ledger": "ledger.sqlite", ...}'

`/counts` tells how many requests arrived.
"""

import json
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lightspeed.cli.demo.server import NodeInvoices
from lightspeed.http import LightspeedMiddleware
from lightspeed.http.conventional import InvoiceMiddleware
from lightspeed.node import NodeClient

__all__ = ["COUNTS_PATH", "INVOICE_PATH", "UNITS_PATH", "UNPAID_PATH", "ServerOrder"]

UNPAID_PATH, UNITS_PATH, INVOICE_PATH = "/unpaid/answer", "/units/answer", "/invoice/answer"
COUNTS_PATH = "/counts"
KEEP_ALIVE_SECONDS = 600
"""A connection waits while its invoice is being paid."""

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrder:
    """Prices are texts such as "10 sat". The payee's node is asked for invoices only."""

    port: int
    ledger: str
    unit_price: str
    invoice_price: str
    node_url: str
    node_token_file: str


async def answer(_: Request) -> JSONResponse:
    return JSONResponse({"answer": 42})


class Front:
    """Counts each request, and sends it to the application of its path."""

    def __init__(self, apps: dict[str, App]) -> None:
        self._apps = apps
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == COUNTS_PATH:
            await JSONResponse({"requests": self._requests})(scope, receive, send)
            return
        self._requests += scope["type"] == "http"
        await self._apps[scope.get("path", UNITS_PATH)](scope, receive, send)


def create_app(order: ServerOrder) -> Front:
    node = NodeClient(order.node_url, Path(order.node_token_file).read_text().strip())
    invoices = NodeInvoices(node)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with node:
            yield

    by_units = Starlette(routes=[Route(UNITS_PATH, answer)], lifespan=lifespan)
    by_units.add_middleware(LightspeedMiddleware, ledger=order.ledger, price=order.unit_price)
    by_invoice = Starlette(routes=[Route(INVOICE_PATH, answer)])
    by_invoice.add_middleware(
        InvoiceMiddleware,
        create_invoice=invoices.create,
        is_paid=invoices.is_paid,
        price=order.invoice_price,
        challenge_key=secrets.token_bytes(32),
    )
    unpaid = Starlette(routes=[Route(UNPAID_PATH, answer)])
    return Front({UNPAID_PATH: unpaid, UNITS_PATH: by_units, INVOICE_PATH: by_invoice})


if __name__ == "__main__":
    server_order = ServerOrder(**json.loads(sys.argv[1]))
    uvicorn.run(
        create_app(server_order),
        host="127.0.0.1",
        port=server_order.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )

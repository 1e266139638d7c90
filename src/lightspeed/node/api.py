"""The node's JSON API: on loopback, behind a bearer token.

    GET  /v1/info  /v1/balance  /v1/metrics
    POST /v1/address                                   a new address of the wallet
    GET  /v1/peers      POST {address: "<node id>@<host>:<port>"}
    GET  /v1/channels   POST {node_id, funding_sat, push_sat?, party?: "payer" | "payee",
                              contract?, tokens?, push_tokens?}
    GET  /v1/channels/{id}
    POST /v1/channels/{id}/close {force?}
    POST /v1/channels/{id}/buy {tokens, max_price_msat, timeout_seconds?}
    GET  /v1/books      POST {channel_id, locks, chain_length, lock_amount_sat | lock_tokens,
                              origins, scheme?: "outputs" | "ladder" | "seals", window?,
                              refund_delay_blocks?, child_feerate_per_kw?}
    POST /v1/books/{id}/settle                         payee: completed locks, now
    POST /v1/books/{id}/close
    GET  /v1/invoices   POST {amount_msat?, description?, expiry_seconds?}
    GET  /v1/invoices/{payment hash}
    GET  /v1/payments   POST {bolt11, amount_msat?, timeout_seconds?}
    GET  /v1/payments/{payment hash}

Answers are the views of `lightspeed.node.views`, lists of them where there are several. What is
about tokens is in `lightspeed.node.tokens.api`.
"""

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lightspeed.bitcoin import address_of_script
from lightspeed.lsf import Party
from lightspeed.node import reports
from lightspeed.node.bodies import Body, brought_tokens, hex_bytes, peer_address
from lightspeed.node.books import BookRequest
from lightspeed.node.config import not_configured
from lightspeed.node.daemon import Node
from lightspeed.node.errors import PeerNotConnected
from lightspeed.node.keys import create_secret_file, read_secret_file
from lightspeed.node.problems import Unauthorized, problem_of
from lightspeed.node.serving import serving
from lightspeed.node.tokens.api import TokenRoutes
from lightspeed.node.views import AddressView, BookView
from lightspeed.payment import BOOK_ID_SIZE, Scheme
from lightspeed.units import Msat, Sat

__all__ = ["api_token", "create_app", "serving_api"]

_log = logging.getLogger(__name__)

_SCHEMES = {scheme.name.lower(): scheme for scheme in Scheme}
_OF_THE_WALLET = {
    ("GET", "/v1/balance"),
    ("POST", "/v1/channels"),
    *(("POST", f"/v1/tokens{path}") for path in ("", "/invoices", "/transfers")),
    *(("POST", f"/v1/tokens/{path}") for path in ("offers", "sales", "orders")),
}
"""Who asks these right after a block expects the wallet to know of it."""

Endpoint = Callable[[Request], Awaitable[Any]]


def api_token(path: Path) -> str:
    """The token in this file (0600), made if there is none. Raises `ConfigError`."""
    if not path.exists():
        create_secret_file(path, secrets.token_urlsafe(32).encode())
    return read_secret_file(path).decode().strip()


def create_app(node: Node, *, token: str) -> Starlette:
    """An ASGI application for the node's event loop."""
    return Starlette(routes=_Api(node, token).routes())


def serving_api(node: Node, *, token: str, port: int) -> AbstractAsyncContextManager[str]:
    """Serves on loopback while the context lasts; gives the URL (port 0: any)."""
    return serving(create_app(node, token=token), port=port)


class _Api:
    def __init__(self, node: Node, token: str) -> None:
        self._node = node
        self._token = token.encode()

    def routes(self) -> list[Route]:
        table: dict[tuple[str, str], Endpoint] = {
            ("GET", "/v1/info"): self.info,
            ("GET", "/v1/balance"): self.balance,
            ("GET", "/v1/metrics"): self.metrics,
            ("POST", "/v1/address"): self.new_address,
            ("GET", "/v1/peers"): self.peers,
            ("POST", "/v1/peers"): self.connect,
            ("GET", "/v1/channels"): self.channels,
            ("POST", "/v1/channels"): self.open_channel,
            ("GET", "/v1/channels/{id}"): self.channel,
            ("POST", "/v1/channels/{id}/close"): self.close_channel,
            ("POST", "/v1/channels/{id}/buy"): self.buy,
            ("GET", "/v1/books"): self.books,
            ("POST", "/v1/books"): self.open_book,
            ("POST", "/v1/books/{id}/settle"): self.settle_book,
            ("POST", "/v1/books/{id}/close"): self.close_book,
            ("GET", "/v1/invoices"): self.invoices,
            ("POST", "/v1/invoices"): self.create_invoice,
            ("GET", "/v1/invoices/{id}"): self.invoice,
            ("GET", "/v1/payments"): self.payments,
            ("POST", "/v1/payments"): self.pay,
            ("GET", "/v1/payments/{id}"): self.payment,
        }
        table |= TokenRoutes(self._node.tokens, self._node.clock).table()
        return [self._route(*key, endpoint) for key, endpoint in table.items()]

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        """With the token checked, the call counted, and errors as problems."""

        async def answer(request: Request) -> Response:
            try:
                self._authorize(request)
                self._node.metrics.api_calls[f"{method} {path}"] += 1
                if (method, path) in _OF_THE_WALLET:
                    await self._node.watch.catch_up()
                return JSONResponse(_json(await endpoint(request)))
            except Exception as error:
                response = problem_of(error)
                if response.status_code == 500:
                    _log.exception("an API call failed", extra={"route": f"{method} {path}"})
                return response

        return Route(path, answer, methods=[method])

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._token):
            raise Unauthorized("a bearer token is needed")

    # --- the node -------------------------------------------------------------------------
    async def info(self, _: Request) -> Any:
        return reports.info(self._node)

    async def balance(self, _: Request) -> Any:
        return reports.balance(self._node)

    async def metrics(self, _: Request) -> Any:
        return self._node.metrics.snapshot()

    async def new_address(self, _: Request) -> Any:
        script = self._node.wallet.new_script()
        address = address_of_script(script, self._node.config.network)
        return AddressView(address=address, script=script.hex())

    # --- peers and channels ---------------------------------------------------------------
    async def peers(self, _: Request) -> Any:
        return reports.peers(self._node)

    async def connect(self, request: Request) -> Any:
        body = await Body.read(request, {"address"})
        node_id, host, port = peer_address(body.text("address"))
        await self._node.connect(node_id, host=host, port=port)
        for peer in reports.peers(self._node):
            if peer.node_id == node_id.data.hex():
                return peer
        raise PeerNotConnected("the peer hung up")

    async def channels(self, _: Request) -> Any:
        return [reports.channel(self._node, driver) for driver in self._node.drivers.values()]

    async def channel(self, request: Request) -> Any:
        driver = self._node.driver(hex_bytes(request.path_params["id"], 32))
        return reports.channel(self._node, driver)

    async def open_channel(self, request: Request) -> Any:
        tokens = {"contract", "tokens", "push_tokens"}
        body = await Body.read(request, {"node_id", "funding_sat", "push_sat", "party"} | tokens)
        party = body.choice("party", {party.name.lower(): party for party in Party})
        driver = await self._node.open_channel(
            hex_bytes(body.text("node_id"), 33),
            funding_sat=Sat(body.integer("funding_sat")),
            push_sat=Sat(body.integer("push_sat", default=0)),
            party=party,
            tokens=brought_tokens(body),
        )
        return reports.channel(self._node, driver)

    async def close_channel(self, request: Request) -> Any:
        body = await Body.read(request, {"force"})
        channel_id = hex_bytes(request.path_params["id"], 32)
        await self._node.close_channel(channel_id, force=body.boolean("force"))
        return reports.channel(self._node, self._node.driver(channel_id))

    async def buy(self, request: Request) -> Any:
        body = await Body.read(request, {"tokens", "max_price_msat", "timeout_seconds"})
        driver = self._node.driver(hex_bytes(request.path_params["id"], 32))
        paid = await self._node.books.trades.buy(
            driver,
            body.integer("tokens"),
            max_price_msat=Msat(body.integer("max_price_msat")),
            timeout_seconds=body.integer("timeout_seconds", default=60),
        )
        return reports.trade(self._node, driver, paid)

    # --- books ----------------------------------------------------------------------------
    async def books(self, _: Request) -> Any:
        return await reports.books(self._node, tuple(self._node.drivers.values()))

    async def open_book(self, request: Request) -> Any:
        worth = {"lock_amount_sat", "lock_tokens"}
        optional = {"window", "refund_delay_blocks", "child_feerate_per_kw"} | worth
        needed = {"channel_id", "locks", "chain_length", "origins"}
        body = await Body.read(request, needed | optional | {"scheme"})
        driver = self._node.driver(hex_bytes(body.text("channel_id"), 32))
        if self._node.payer_books is None:
            raise not_configured(Party.PAYER)
        wanted = BookRequest(
            locks=body.integer("locks"),
            chain_length=body.integer("chain_length"),
            origins=body.texts("origins"),
            scheme=body.choice("scheme", _SCHEMES) or Scheme.OUTPUTS,
            **{name: body.integer_or_none(name) for name in optional},
        )
        book = await self._node.payer_books.open(driver, wanted)
        return await reports.book(self._node, driver, book)

    async def settle_book(self, request: Request) -> Any:
        return await self._book_after(request, self._node.books.settle_book)

    async def close_book(self, request: Request) -> Any:
        return await self._book_after(request, self._node.close_book)

    async def _book_after(
        self, request: Request, act: Callable[[bytes], Awaitable[None]]
    ) -> BookView:
        await Body.read(request, ())
        book_id = hex_bytes(request.path_params["id"], BOOK_ID_SIZE)
        await act(book_id)
        return await reports.book(self._node, *self._node.books.find(book_id))

    # --- the conventional payment ---------------------------------------------------------
    async def invoices(self, _: Request) -> Any:
        return [reports.invoice(self._node, found) for found in self._node.invoices.all()]

    async def create_invoice(self, request: Request) -> Any:
        body = await Body.read(request, {"amount_msat", "description", "expiry_seconds"})
        amount = body.integer_or_none("amount_msat")
        invoice = self._node.invoices.create(
            amount_msat=None if amount is None else Msat(amount),
            description=body.text("description", default=""),
            expiry_seconds=body.integer("expiry_seconds", default=3_600),
        )
        return reports.invoice(self._node, invoice)

    async def invoice(self, request: Request) -> Any:
        found = self._node.invoices.get(hex_bytes(request.path_params["id"], 32))
        return reports.invoice(self._node, found)

    async def payments(self, _: Request) -> Any:
        return [reports.payment(found) for found in self._node.payments.all()]

    async def pay(self, request: Request) -> Any:
        body = await Body.read(request, {"bolt11", "amount_msat", "timeout_seconds"})
        amount = body.integer_or_none("amount_msat")
        found = await self._node.payments.pay(
            body.text("bolt11"),
            amount_msat=None if amount is None else Msat(amount),
            timeout_seconds=body.integer("timeout_seconds", default=60),
        )
        return reports.payment(found)

    async def payment(self, request: Request) -> Any:
        found = self._node.payments.get(hex_bytes(request.path_params["id"], 32))
        return reports.payment(found)


def _json(view: Any) -> Any:
    return [asdict(item) for item in view] if isinstance(view, list) else asdict(view)

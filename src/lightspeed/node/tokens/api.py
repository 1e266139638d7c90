"""The API's routes about tokens.

    GET  /v1/tokens               POST {ticker, name, supply, precision?, details?, terms?}: issue
    GET  /v1/tokens/invoices      POST {contract?, amount?, blinded?, expiry_seconds?, endpoints?}
    GET  /v1/tokens/news          the invoices, after their endpoints were asked
    GET  /v1/tokens/transfers     POST {invoice, contract?, amount?, at_once?, patience_seconds?}
    POST /v1/tokens/transfers/{txid}/cancel
    GET  /v1/tokens/transfers/{txid}/consignment  what its payee needs, once more
    POST /v1/tokens/consignments  {consignment, any_coin?}
    POST /v1/tokens/export        {contract, holdings?}
    GET  /v1/tokens/offers        POST {contract, amount, price_sat, valid_seconds?}: sell
    POST /v1/tokens/offers/{id}/withdraw
    POST /v1/tokens/sales         {order}: sign it and publish
    GET  /v1/tokens/orders        POST {offer, max_price_sat, contract?}: buy
    POST /v1/tokens/orders/{txid}/cancel

Consignments are base64, amounts in the smallest part of a token.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from lightspeed.node.bodies import Body, hex_bytes
from lightspeed.node.problems import BadRequest
from lightspeed.node.stash import MAX_CONSIGNMENT_SIZE
from lightspeed.node.token_views import (
    ConsignmentView,
    OfferView,
    OrderView,
    ReceivedView,
    SentView,
    TokenInvoiceView,
    TokenView,
    TransferView,
)
from lightspeed.node.tokens.records import IssuedInvoice, Transfer
from lightspeed.node.tokens.tokens import Tokens
from lightspeed.node.tokens.trades import Purchase, Sale
from lightspeed.rgb import (
    AssetSpec,
    ContractTerms,
    RgbFormatError,
    contract_id_text,
    parse_contract_id,
    spec_of,
    supply_of,
)
from lightspeed.units import Sat

__all__ = ["TokenRoutes"]

_MAX_BODY_SIZE = 2 * MAX_CONSIGNMENT_SIZE
"""Room for one in base64, and for what stands around it."""
_MAX_PATIENCE_SECONDS = 90

Endpoint = Callable[[Request], Awaitable[Any]]


class TokenRoutes:
    def __init__(self, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._tokens = tokens
        self._clock = clock

    def table(self) -> dict[tuple[str, str], Endpoint]:
        return {
            ("GET", "/v1/tokens"): self.all,
            ("POST", "/v1/tokens"): self.issue,
            ("GET", "/v1/tokens/invoices"): self.invoices,
            ("POST", "/v1/tokens/invoices"): self.invoice,
            ("GET", "/v1/tokens/news"): self.news,
            ("GET", "/v1/tokens/transfers"): self.transfers,
            ("POST", "/v1/tokens/transfers"): self.send,
            ("POST", "/v1/tokens/transfers/{id}/cancel"): self.cancel,
            ("GET", "/v1/tokens/transfers/{id}/consignment"): self.proof,
            ("POST", "/v1/tokens/consignments"): self.accept,
            ("POST", "/v1/tokens/export"): self.export,
            ("GET", "/v1/tokens/offers"): self.offers,
            ("POST", "/v1/tokens/offers"): self.sell,
            ("POST", "/v1/tokens/offers/{id}/withdraw"): self.withdraw,
            ("POST", "/v1/tokens/sales"): self.complete,
            ("GET", "/v1/tokens/orders"): self.orders,
            ("POST", "/v1/tokens/orders"): self.buy,
            ("POST", "/v1/tokens/orders/{id}/cancel"): self.cancel_order,
        }

    async def all(self, _: Request) -> Any:
        return [await self._token(contract_id) for contract_id in self._tokens.stash.contracts]

    async def issue(self, request: Request) -> Any:
        names = {"ticker", "name", "supply", "precision", "details", "terms"}
        body = await Body.read(request, names)
        try:
            spec = AssetSpec(
                ticker=body.text("ticker"),
                name=body.text("name"),
                details=body.text_or_none("details"),
                precision=body.integer("precision", default=0),
            )
        except RgbFormatError as error:
            raise BadRequest(str(error)) from None
        supply = body.integer("supply")
        if not supply:
            raise BadRequest("supply: at least 1 is expected")
        terms = ContractTerms(text=body.text("terms", default=""))
        return await self._token(await self._tokens.issue(spec, supply, terms=terms))

    async def invoices(self, _: Request) -> Any:
        return [self._invoice(record) for record in self._tokens.receiving.all()]

    async def invoice(self, request: Request) -> Any:
        names = {"contract", "amount", "blinded", "expiry_seconds", "endpoints"}
        body = await Body.read(request, names)
        record = await self._tokens.receiving.invoice(
            contract_id=_contract(body),
            amount=body.integer_or_none("amount"),
            blinded=body.boolean("blinded"),
            expiry_seconds=body.integer("expiry_seconds", default=86_400),
            endpoints=body.texts("endpoints", default=()),
        )
        return self._invoice(record)

    async def news(self, _: Request) -> Any:
        await self._tokens.look()
        return [self._invoice(record) for record in self._tokens.receiving.all()]

    async def transfers(self, _: Request) -> Any:
        return [_transfer(found) for found in self._tokens.sending.all()]

    async def send(self, request: Request) -> Any:
        names = {"invoice", "contract", "amount", "at_once", "patience_seconds"}
        body = await Body.read(request, names)
        patience = min(body.integer("patience_seconds", default=30), _MAX_PATIENCE_SECONDS)
        sent = await self._tokens.sending.send(
            body.text("invoice"),
            contract_id=_contract(body),
            amount=body.integer_or_none("amount"),
            at_once=body.boolean("at_once"),
            patience_seconds=float(patience),
        )
        return SentView(transfer=_transfer(sent.transfer), consignment=_base64(sent.consignment))

    async def cancel(self, request: Request) -> Any:
        await Body.read(request, ())
        txid = hex_bytes(request.path_params["id"], 32)[::-1]
        return _transfer(await self._tokens.sending.cancel(txid))

    async def proof(self, request: Request) -> Any:
        sending, txid = self._tokens.sending, hex_bytes(request.path_params["id"], 32)[::-1]
        data = sending.consignment(txid)
        return ConsignmentView(contract=sending.get(txid).contract, consignment=_base64(data))

    async def accept(self, request: Request) -> Any:
        body = await Body.read(request, {"consignment", "any_coin"}, max_size=_MAX_BODY_SIZE)
        try:
            data = base64.b64decode(body.text("consignment"), validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest("consignment: base64 is expected") from None
        found = await self._tokens.receiving.accept(data, any_coin=body.boolean("any_coin"))
        return ReceivedView(
            contract=contract_id_text(found.contract_id),
            amount=found.amount,
            outpoints=[str(outpoint) for outpoint in found.outpoints],
        )

    async def export(self, request: Request) -> Any:
        body = await Body.read(request, {"contract", "holdings"})
        contract_id = _contract_id(body.text("contract"))
        data = await self._tokens.exported(contract_id, holdings=body.boolean("holdings"))
        return ConsignmentView(contract=contract_id_text(contract_id), consignment=_base64(data))

    # --- tokens against sats --------------------------------------------------------------
    async def offers(self, _: Request) -> Any:
        return [_offer(sale) for sale in self._tokens.selling.all()]

    async def sell(self, request: Request) -> Any:
        names = {"contract", "amount", "price_sat", "valid_seconds"}
        body = await Body.read(request, names)
        offer = await self._tokens.selling.sell(
            _contract_id(body.text("contract")),
            body.integer("amount"),
            price_sat=Sat(body.integer("price_sat")),
            valid_seconds=body.integer("valid_seconds", default=3_600),
        )
        return replace(_offer(self._tokens.selling.get(offer.offer_id)), text=offer.text())

    async def withdraw(self, request: Request) -> Any:
        await Body.read(request, ())
        return _offer(await self._tokens.selling.withdraw(request.path_params["id"]))

    async def complete(self, request: Request) -> Any:
        body = await Body.read(request, {"order"}, max_size=_MAX_BODY_SIZE)
        return _transfer(await self._tokens.selling.complete(body.text("order")))

    async def orders(self, _: Request) -> Any:
        return [_order(purchase) for purchase in self._tokens.buying.all()]

    async def buy(self, request: Request) -> Any:
        body = await Body.read(
            request, {"offer", "max_price_sat", "contract"}, max_size=_MAX_BODY_SIZE
        )
        ordered = await self._tokens.buying.buy(
            body.text("offer"),
            max_price_sat=Sat(body.integer("max_price_sat")),
            contract_id=_contract(body),
        )
        return replace(_order(ordered.purchase), text=ordered.order.text())

    async def cancel_order(self, request: Request) -> Any:
        await Body.read(request, ())
        txid = hex_bytes(request.path_params["id"], 32)[::-1]
        return _order(await self._tokens.buying.cancel(txid))

    # --- views ----------------------------------------------------------------------------
    async def _token(self, contract_id: bytes) -> TokenView:
        genesis = self._tokens.stash.history(contract_id).genesis
        balance = await self._tokens.balance(contract_id)
        spec = spec_of(genesis)
        return TokenView(
            contract=contract_id_text(contract_id),
            ticker=spec.ticker,
            name=spec.name,
            details=spec.details,
            precision=spec.precision,
            supply=supply_of(genesis),
            issued_at=genesis.timestamp,
            settled=balance.settled,
            pending=balance.pending,
            reserved=balance.reserved,
        )

    def _invoice(self, record: IssuedInvoice) -> TokenInvoiceView:
        invoice = record.invoice
        asked = None if invoice.contract_id is None else contract_id_text(invoice.contract_id)
        if record.txid is not None:
            state = "received"
        elif record.reason is not None:
            state = "refused"
        elif invoice.expiry is not None and invoice.expiry <= self._clock():
            state = "expired"
        else:
            state = "open"
        return TokenInvoiceView(
            invoice=record.text,
            recipient_id=invoice.recipient_id,
            contract=record.contract or asked,
            amount=invoice.amount,
            received=record.received,
            txid=record.txid,
            state=state,
            reason=record.reason,
            expires_at=invoice.expiry,
            created_at=record.created_at,
        )


def _transfer(found: Transfer) -> TransferView:
    return TransferView(
        txid=found.txid,
        contract=found.contract,
        amount=found.amount,
        purpose=found.purpose,
        state=found.state,
        recipient_id=found.recipient_id,
        endpoint=found.endpoint,
        reason=found.reason,
        created_at=found.created_at,
    )


def _offer(sale: Sale) -> OfferView:
    terms = sale.terms
    return OfferView(
        offer_id=terms.offer_id,
        contract=terms.contract,
        amount=terms.amount,
        price_sat=terms.price_sat,
        expires_at=terms.expires_at,
        state=sale.state,
        txid=sale.txid,
        text=None,
    )


def _order(purchase: Purchase) -> OrderView:
    return OrderView(
        txid=purchase.txid,
        contract=purchase.contract,
        amount=purchase.amount,
        price_sat=purchase.price_sat,
        state=purchase.state,
        text=None,
    )


def _contract(body: Body) -> bytes | None:
    text = body.text_or_none("contract")
    return None if text is None else _contract_id(text)


def _contract_id(text: str) -> bytes:
    try:
        return parse_contract_id(text)
    except RgbFormatError as error:
        raise BadRequest(f"contract: {error}") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

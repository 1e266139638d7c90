"""The API's calls about tokens."""

import base64
from typing import Any, Protocol, TypeVar

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

__all__ = ["TokenCalls"]

V = TypeVar("V")


class Asking(Protocol):
    """What a client can do with any call."""

    async def ask_one(self, kind: type[V], method: str, path: str, **body: Any) -> V: ...

    async def ask_many(self, kind: type[V], path: str) -> list[V]: ...


class TokenCalls:
    """Amounts are in the smallest part of a token; consignments are files' contents."""

    def __init__(self, client: Asking) -> None:
        self._client = client

    async def all(self) -> list[TokenView]:
        return await self._client.ask_many(TokenView, "tokens")

    async def issue(
        self,
        ticker: str,
        name: str,
        *,
        supply: int,
        precision: int = 0,
        details: str | None = None,
        terms: str = "",
    ) -> TokenView:
        return await self._client.ask_one(
            TokenView,
            "POST",
            "tokens",
            ticker=ticker,
            name=name,
            supply=supply,
            precision=precision,
            details=details,
            terms=terms,
        )

    async def invoices(self) -> list[TokenInvoiceView]:
        return await self._client.ask_many(TokenInvoiceView, "tokens/invoices")

    async def invoice(
        self,
        *,
        contract: str | None = None,
        amount: int | None = None,
        blinded: bool = False,
        expiry_seconds: int = 86_400,
        endpoints: list[str] | None = None,
    ) -> TokenInvoiceView:
        return await self._client.ask_one(
            TokenInvoiceView,
            "POST",
            "tokens/invoices",
            contract=contract,
            amount=amount,
            blinded=blinded,
            expiry_seconds=expiry_seconds,
            endpoints=endpoints or [],
        )

    async def transfers(self) -> list[TransferView]:
        return await self._client.ask_many(TransferView, "tokens/transfers")

    async def send(
        self,
        invoice: str,
        *,
        contract: str | None = None,
        amount: int | None = None,
        at_once: bool = False,
        patience_seconds: int = 30,
    ) -> SentView:
        """Returns when it is published, or waiting still after the patience."""
        return await self._client.ask_one(
            SentView,
            "POST",
            "tokens/transfers",
            invoice=invoice,
            contract=contract,
            amount=amount,
            at_once=at_once,
            patience_seconds=patience_seconds,
        )

    async def cancel(self, txid: str) -> TransferView:
        """A transfer that waits for its payee."""
        return await self._client.ask_one(TransferView, "POST", f"tokens/transfers/{txid}/cancel")

    async def proof(self, txid: str) -> ConsignmentView:
        """What the payee of a transfer needs, once more."""
        return await self._client.ask_one(
            ConsignmentView, "GET", f"tokens/transfers/{txid}/consignment"
        )

    async def look(self) -> list[TokenInvoiceView]:
        """Ask the endpoints of open invoices and transfers now; the invoices after that."""
        return await self._client.ask_many(TokenInvoiceView, "tokens/news")

    async def accept(self, consignment: bytes, *, any_coin: bool = False) -> ReceivedView:
        """A consignment from elsewhere than an endpoint."""
        return await self._client.ask_one(
            ReceivedView,
            "POST",
            "tokens/consignments",
            consignment=base64.b64encode(consignment).decode(),
            any_coin=any_coin,
        )

    async def export(self, contract: str, *, holdings: bool = False) -> ConsignmentView:
        """The contract's introduction, or what proves all that the node holds of it."""
        return await self._client.ask_one(
            ConsignmentView, "POST", "tokens/export", contract=contract, holdings=holdings
        )

    # --- tokens against sats --------------------------------------------------------------
    async def offers(self) -> list[OfferView]:
        return await self._client.ask_many(OfferView, "tokens/offers")

    async def sell(
        self, contract: str, amount: int, *, price_sat: int, valid_seconds: int = 3_600
    ) -> OfferView:
        """`text` of the answer is for a buyer."""
        return await self._client.ask_one(
            OfferView,
            "POST",
            "tokens/offers",
            contract=contract,
            amount=amount,
            price_sat=price_sat,
            valid_seconds=valid_seconds,
        )

    async def withdraw(self, offer_id: str) -> OfferView:
        return await self._client.ask_one(OfferView, "POST", f"tokens/offers/{offer_id}/withdraw")

    async def complete(self, order: str) -> TransferView:
        """Sign a buyer's order and publish it."""
        return await self._client.ask_one(TransferView, "POST", "tokens/sales", order=order)

    async def orders(self) -> list[OrderView]:
        return await self._client.ask_many(OrderView, "tokens/orders")

    async def buy(
        self, offer: str, *, max_price_sat: int, contract: str | None = None
    ) -> OrderView:
        """`text` of the answer is for the seller."""
        return await self._client.ask_one(
            OrderView,
            "POST",
            "tokens/orders",
            offer=offer,
            max_price_sat=max_price_sat,
            contract=contract,
        )

    async def cancel_order(self, txid: str) -> OrderView:
        return await self._client.ask_one(OrderView, "POST", f"tokens/orders/{txid}/cancel")

"""The API's client: one coroutine per call, views as results, problems as `NodeApiError`."""

import json
from typing import Any, TypeVar

from cattrs import Converter
from cattrs.errors import BaseValidationError

from lightspeed.errors import LightspeedError
from lightspeed.node.bearer import BearerClient
from lightspeed.node.token_client import TokenCalls
from lightspeed.node.views import (
    AddressView,
    BalanceView,
    BookView,
    ChannelView,
    InfoView,
    InvoiceView,
    MetricsView,
    PaymentView,
    PeerView,
    TradeView,
)
from lightspeed.outbound import NoAnswer

__all__ = ["NodeApiError", "NodeClient"]

V = TypeVar("V")

_converter = Converter()


class NodeApiError(LightspeedError):
    """The node refused, or did not answer as a node (`status` 0: not at all).

    `problem_type` is the RFC 9457 type, such as `urn:lightspeed:node:no-route`.
    """

    def __init__(self, status: int, problem_type: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.problem_type = problem_type


class NodeClient(BearerClient):
    """Use as an async context manager, or call `close`. `url` such as http://127.0.0.1:9736."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 120.0) -> None:
        super().__init__(url, token, timeout_seconds=timeout_seconds)
        self.tokens = TokenCalls(self)

    # --- the node -------------------------------------------------------------------------
    async def info(self) -> InfoView:
        return await self.ask_one(InfoView, "GET", "info")

    async def balance(self) -> BalanceView:
        return await self.ask_one(BalanceView, "GET", "balance")

    async def metrics(self) -> MetricsView:
        return await self.ask_one(MetricsView, "GET", "metrics")

    async def new_address(self) -> AddressView:
        return await self.ask_one(AddressView, "POST", "address")

    # --- peers and channels ---------------------------------------------------------------
    async def peers(self) -> list[PeerView]:
        return await self.ask_many(PeerView, "peers")

    async def connect(self, address: str) -> PeerView:
        """`<node id>@<host>:<port>`."""
        return await self.ask_one(PeerView, "POST", "peers", address=address)

    async def channels(self) -> list[ChannelView]:
        return await self.ask_many(ChannelView, "channels")

    async def channel(self, channel_id: str) -> ChannelView:
        return await self.ask_one(ChannelView, "GET", f"channels/{channel_id}")

    async def open_channel(
        self,
        node_id: str,
        *,
        funding_sat: int,
        push_sat: int = 0,
        party: str | None = None,
        contract: str | None = None,
        tokens: int = 0,
        push_tokens: int = 0,
    ) -> ChannelView:
        """`party`: payer, payee, or None for an ordinary channel.

        With a `contract`: the channel holds so many of its tokens, some of them the peer's.
        """
        return await self.ask_one(
            ChannelView,
            "POST",
            "channels",
            node_id=node_id,
            funding_sat=funding_sat,
            push_sat=push_sat,
            party=party,
            contract=contract,
            tokens=tokens,
            push_tokens=push_tokens,
        )

    async def close_channel(self, channel_id: str, *, force: bool = False) -> ChannelView:
        return await self.ask_one(ChannelView, "POST", f"channels/{channel_id}/close", force=force)

    async def buy_tokens(
        self, channel_id: str, tokens: int, *, max_price_msat: int, timeout_seconds: int = 60
    ) -> TradeView:
        """From the peer of a channel that holds some, at the price that it asks."""
        return await self.ask_one(
            TradeView,
            "POST",
            f"channels/{channel_id}/buy",
            tokens=tokens,
            max_price_msat=max_price_msat,
            timeout_seconds=timeout_seconds,
        )

    # --- books ----------------------------------------------------------------------------
    async def books(self) -> list[BookView]:
        return await self.ask_many(BookView, "books")

    async def open_book(
        self,
        channel_id: str,
        *,
        locks: int,
        chain_length: int,
        origins: list[str],
        lock_amount_sat: int | None = None,
        lock_tokens: int | None = None,
        scheme: str = "outputs",
        window: int | None = None,
        refund_delay_blocks: int | None = None,
        child_feerate_per_kw: int | None = None,
    ) -> BookView:
        """Returns once the book can be paid from. `scheme`: outputs, ladder or seals.

        A lock is worth sats, or tokens of those in the channel (ladder or seals).
        """
        return await self.ask_one(
            BookView,
            "POST",
            "books",
            channel_id=channel_id,
            locks=locks,
            chain_length=chain_length,
            lock_amount_sat=lock_amount_sat,
            lock_tokens=lock_tokens,
            origins=origins,
            scheme=scheme,
            window=window,
            refund_delay_blocks=refund_delay_blocks,
            child_feerate_per_kw=child_feerate_per_kw,
        )

    async def settle_book(self, book_id: str) -> BookView:
        """As its payee: the completed locks, now."""
        return await self.ask_one(BookView, "POST", f"books/{book_id}/settle")

    async def close_book(self, book_id: str) -> BookView:
        """Returns once that is begun; `books` tells when it is closed."""
        return await self.ask_one(BookView, "POST", f"books/{book_id}/close")

    # --- the conventional payment ---------------------------------------------------------
    async def invoices(self) -> list[InvoiceView]:
        return await self.ask_many(InvoiceView, "invoices")

    async def create_invoice(
        self, amount_msat: int | None, *, description: str = "", expiry_seconds: int = 3_600
    ) -> InvoiceView:
        return await self.ask_one(
            InvoiceView,
            "POST",
            "invoices",
            amount_msat=amount_msat,
            description=description,
            expiry_seconds=expiry_seconds,
        )

    async def invoice(self, payment_hash: str) -> InvoiceView:
        return await self.ask_one(InvoiceView, "GET", f"invoices/{payment_hash}")

    async def payments(self) -> list[PaymentView]:
        return await self.ask_many(PaymentView, "payments")

    async def pay(
        self, bolt11: str, *, amount_msat: int | None = None, timeout_seconds: int = 60
    ) -> PaymentView:
        """Returns when it is paid or failed, or pending after the timeout."""
        return await self.ask_one(
            PaymentView,
            "POST",
            "payments",
            bolt11=bolt11,
            amount_msat=amount_msat,
            timeout_seconds=timeout_seconds,
        )

    async def payment(self, payment_hash: str) -> PaymentView:
        return await self.ask_one(PaymentView, "GET", f"payments/{payment_hash}")

    # --- any call -----------------------------------------------------------------------------
    async def ask_one(self, kind: type[V], method: str, path: str, **body: Any) -> V:
        return self._read(kind, await self._ask(method, path, body))

    async def ask_many(self, kind: type[V], path: str) -> list[V]:
        answer = await self._ask("GET", path, {})
        if not isinstance(answer, list):
            raise NodeApiError(0, "", "the answer is not a list")
        return [self._read(kind, item) for item in answer]

    def _read(self, kind: type[V], answer: Any) -> V:
        try:
            return _converter.structure(answer, kind)
        except (BaseValidationError, TypeError, ValueError, KeyError):
            raise NodeApiError(0, "", f"the answer is not a {kind.__name__}") from None

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> Any:
        try:
            status, content = await self._request(method, f"/v1/{path}", body or None)
        except NoAnswer as error:
            raise NodeApiError(0, "", f"no answer from {self._url}: {error}") from None
        try:
            answer = json.loads(content)
        except ValueError:
            raise NodeApiError(status, "", "the answer is not JSON") from None
        if status != 200:
            problem = answer if isinstance(answer, dict) else {}
            detail = str(problem.get("detail", problem.get("title", f"status {status}")))
            raise NodeApiError(status, str(problem.get("type", "")), detail)
        return answer

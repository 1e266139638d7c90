"""The payee's side of a paid API: an ASGI middleware around any application.

app.add_middleware(LightspeedMiddleware, ledger="payments.db", price="10 sat")
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from lightspeed.errors import LightspeedError, StoreError
from lightspeed.http.challenge import PaymentRequest, challenge_id, format_request
from lightspeed.http.offer import Offer
from lightspeed.http.paid import SCOPE_KEY, Paid, repetition_key
from lightspeed.http.presented import Header, Presented, take_credential
from lightspeed.http.pricing import Pricing, PricingLike, Quote
from lightspeed.http.problems import (
    APPLICATION_FAILED,
    PROBLEM_CONTENT_TYPE,
    Problem,
    problem_body,
    problem_for,
)
from lightspeed.http.tokens import seal_of
from lightspeed.ledger import Ledger, SQLiteLedger
from lightspeed.payment import (
    DEFAULT_MAX_COUNT,
    AlreadyRedeemed,
    Credential,
    PaymentRefused,
    Receipt,
)
from lightspeed.tagged import tagged_hash

__all__ = ["ASGIApp", "LightspeedMiddleware", "Message", "Receive", "Replay", "Send"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Replay = Callable[[bytes, MutableMapping[str, Any]], Awaitable[ASGIApp | None]]
"""From `Paid.key` and the scope of a repeated call to an application that answers it again."""

_NO_STORE = (b"cache-control", b"no-store")
_PAID_NO_STORE = (b"cache-control", b"private, no-store")
_OURS = frozenset((b"cache-control", b"lightspeed-receipt"))


class LightspeedMiddleware:
    """Serves a call once its units are durably redeemed, else answers 402 with a challenge.

    `ledger`: the path of an SQLite ledger, which is opened by each worker for itself, or a Ledger
    of the caller's: to take books of scheme seals that needs `seal_of`. `price`: see `Pricing`.
    `offer`: what a stranger needs to open a channel. `challenge_key` binds challenges; without
    one it is derived from the ledger, so that all workers agree: nothing that was paid hangs on
    it. `replay` may answer a repeated call (the same credential, byte for byte, for units that
    are redeemed); without it that is refused.

    Scopes other than "http" pass through; "lifespan" also opens and closes the ledger.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ledger: Ledger | str | Path,
        price: PricingLike,
        offer: Offer | None = None,
        realm: str = "lightspeed",
        challenge_key: bytes | None = None,
        replay: Replay | None = None,
    ) -> None:
        self._app = app
        self._ledger_source = ledger
        self._ledger: Ledger | None = None
        self._pricing = Pricing(price)
        self._offer = offer
        self._max_count = DEFAULT_MAX_COUNT if offer is None else offer.max_count
        self._realm = realm
        self._challenge_key = challenge_key
        self._replay = replay
        self._units: dict[bytes, tuple[int, bytes]] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            pass_on = self._run_lifespan if scope["type"] == "lifespan" else self._app
            await pass_on(scope, receive, send)
            return
        quote = self._pricing.quote(scope)
        presented = take_credential(scope["headers"])
        app = self._app
        scope = {**scope, "headers": presented.headers}
        if quote is None:
            await app(scope, receive, send)
            return
        try:
            if presented.payments:
                credential = await self._payment_credential(presented, quote)
            else:
                credential = Credential.from_token(presented.token())
            ledger = self._ledger or self._open()
            book_id = credential.book_id
            unit = self._units.get(book_id) or await self._unit_of(ledger, book_id)
            try:
                receipt = await ledger.redeem(credential, prices=quote.prices)
            except AlreadyRedeemed as refusal:
                app, receipt = await self._repeat(credential, refusal, scope)
        except (PaymentRefused, StoreError) as error:
            await self._refuse(send, error, quote)
            return
        scope[SCOPE_KEY] = Paid(receipt, credential, *unit)
        await _serve(app, scope, receive, send, receipt)

    async def _payment_credential(self, presented: Presented, quote: Quote) -> Credential:
        key = await self._key()
        request = self._request(quote)

        def is_ours(challenge: dict[str, str]) -> bool:
            # The realm, method and intent are bound by the id; an old price is not ours any more.
            return (
                challenge.get("request") == request
                and challenge.get("realm") == self._realm
                and challenge.get("id") == challenge_id(key, challenge)
            )

        return presented.payment_credential(is_ours)

    async def _unit_of(self, ledger: Ledger, book_id: bytes) -> tuple[int, bytes]:
        """What one unit of a book is worth, and of what; before anything is redeemed."""
        terms = (await ledger.book(book_id)).terms
        unit = self._units[book_id] = terms.unit_value, terms.asset
        return unit

    async def _repeat(
        self, credential: Credential, refusal: AlreadyRedeemed, scope: MutableMapping[str, Any]
    ) -> tuple[ASGIApp, Receipt]:
        """The answer of an earlier call with the very same bytes; raises the refusal if none."""
        app = None
        if self._replay is not None:
            app = await self._replay(repetition_key(credential), scope)
        if app is None or refusal.next_unit is None:
            raise refusal
        book_id, first_unit, count, _ = credential
        return app, Receipt(book_id, first_unit, count, refusal.next_unit)

    async def _refuse(self, send: Send, error: LightspeedError, quote: Quote) -> None:
        headers = [_NO_STORE]
        if isinstance(error, PaymentRefused):
            try:
                challenge = format_request(
                    self._request(quote), realm=self._realm, key=await self._key()
                )
            except StoreError as unavailable:
                error = unavailable
            else:
                headers.append((b"www-authenticate", challenge.encode("ascii")))
        if isinstance(error, PaymentRefused):
            if error.book_id is not None and error.next_unit is not None:
                receipt = Receipt(error.book_id, 0, 0, error.next_unit)
                headers.append((b"lightspeed-receipt", receipt.to_header().encode("ascii")))
        else:
            headers.append((b"retry-after", b"1"))
        await _send_problem(send, problem_for(error), error, headers)

    def _request(self, quote: Quote) -> str:
        """The request object's text, the same for the same quote."""
        return PaymentRequest(prices=quote.prices, scope=quote.scope, offer=self._offer).to_text()

    async def _key(self) -> bytes:
        if self._challenge_key is None:
            generation = await (self._ledger or self._open()).generation()
            self._challenge_key = tagged_hash("lightspeed/challenge", generation)
        return self._challenge_key

    def _open(self) -> Ledger:
        """At startup; by the first call if the server runs no lifespan."""
        source = self._ledger_source
        if isinstance(source, str | Path):
            source = SQLiteLedger(source, max_count=self._max_count, seal_of=seal_of)
        self._ledger = source
        return source

    async def _run_lifespan(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """A ledger of our own is closed before the server hears that the shutdown is complete."""

        async def close_and_send(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._close()
            await send(message)

        self._open()
        try:
            await self._app(scope, receive, close_and_send)
        finally:
            await self._close()

    async def _close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None and ledger is not self._ledger_source:
            await ledger.aclose()


async def _serve(
    app: ASGIApp, scope: MutableMapping[str, Any], receive: Receive, send: Send, receipt: Receipt
) -> None:
    """Every answer of the application, and its failure, carries the receipt."""
    own = [_PAID_NO_STORE, (b"lightspeed-receipt", receipt.to_header().encode("ascii"))]
    started = False

    async def send_with_receipt(message: Message) -> None:
        nonlocal started
        if message["type"] == "http.response.start":
            started = True
            kept = [
                header for header in message.get("headers", ()) if header[0].lower() not in _OURS
            ]
            message = {**message, "headers": kept + own}
        await send(message)

    try:
        await app(scope, receive, send_with_receipt)
    except Exception:
        if not started:
            await _send_problem(send, APPLICATION_FAILED, None, own)
        raise  # the server logs it


async def _send_problem(
    send: Send, problem: Problem, error: Exception | None, headers: Iterable[Header]
) -> None:
    body = problem_body(problem, error)
    length = str(len(body)).encode("ascii")
    own: list[Header] = [(b"content-type", PROBLEM_CONTENT_TYPE), (b"content-length", length)]
    await send(
        {"type": "http.response.start", "status": problem.status, "headers": [*own, *headers]}
    )
    await send({"type": "http.response.body", "body": body})

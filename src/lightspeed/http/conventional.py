"""The conventional payment, as the baseline: a Lightning invoice per call (paper, 1.1).

The payee's application asks its node for an invoice and sends it in a 402; the payer's asks its
node to pay; the payee's asks its node whether it was paid, and serves. Node access is handed in,
so that this package knows no node; `local_calls` counts it.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from lightspeed.http.auth_header import format_challenge, parse_challenges
from lightspeed.http.challenge import challenge_id
from lightspeed.http.encoding import canonical_json, from_base64url, strict_json, to_base64url
from lightspeed.http.errors import ChallengeError
from lightspeed.http.middleware import ASGIApp, Receive, Send
from lightspeed.http.pricing import parse_price
from lightspeed.http.problems import PROBLEM_CONTENT_TYPE, TYPE_PREFIX
from lightspeed.payment import Price

__all__ = ["Invoice", "InvoiceMiddleware", "InvoicePayer"]

MAX_OPEN_INVOICES = 100_000

_METHOD = "lightning"
_INTENT = "charge"
_HASH_SIZE = 32


class Invoice(NamedTuple):
    """A BOLT 11 invoice and the payment hash in it."""

    bolt11: str
    payment_hash: bytes


class InvoiceMiddleware:
    """Serves a call once the invoice that was made for it is paid; each invoice serves once.

    `create_invoice` gets the amount in msat. An invoice of another process is not known here:
    the invoices that are open are held in memory, the oldest leave first.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        create_invoice: Callable[[int], Awaitable[Invoice]],
        is_paid: Callable[[bytes], Awaitable[bool]],
        price: str | Price,
        challenge_key: bytes,
        realm: str = "lightning",
    ) -> None:
        self._app = app
        self._create_invoice = create_invoice
        self._is_paid = is_paid
        self._amount = (parse_price(price) if isinstance(price, str) else price).amount
        self._challenge_key = challenge_key
        self._realm = realm
        self._open: OrderedDict[bytes, None] = OrderedDict()
        self.local_calls = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        credential = _authorization(scope["headers"])
        if credential is None:
            await self._demand(send, "no-payment", "This call has a price")
            return
        payment_hash = _payment_hash_of(credential)
        if payment_hash is None:
            await self._demand(send, "malformed", "The credential is malformed")
        elif payment_hash not in self._open:
            await self._demand(send, "unknown-invoice", "The invoice is unknown or was used")
        else:
            # Out before the node is asked: two calls at once cannot both be served.
            del self._open[payment_hash]
            self.local_calls += 1
            paid = False
            try:
                paid = await self._is_paid(payment_hash)
            finally:
                if not paid:
                    self._open[payment_hash] = None
            if paid:
                await self._app(scope, receive, send)
            else:
                await self._demand(send, "not-paid", "The invoice is not paid")

    async def _demand(self, send: Send, slug: str, title: str) -> None:
        self.local_calls += 1
        bolt11, payment_hash = await self._create_invoice(self._amount)
        self._open[payment_hash] = None
        if len(self._open) > MAX_OPEN_INVOICES:
            self._open.popitem(last=False)
        request = {
            "amount": str(self._amount),
            "currency": "msat",
            "invoice": bolt11,
            "paymentHash": payment_hash.hex(),
        }
        params = {
            "realm": self._realm,
            "method": _METHOD,
            "intent": _INTENT,
            "request": to_base64url(canonical_json(request)),
        }
        params = {"id": challenge_id(self._challenge_key, params), **params}
        body = canonical_json({"type": TYPE_PREFIX + slug, "title": title, "status": 402})
        headers = [
            (b"content-type", PROBLEM_CONTENT_TYPE),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"cache-control", b"no-store"),
            (b"www-authenticate", format_challenge("Payment", params).encode("ascii")),
        ]
        await send({"type": "http.response.start", "status": 402, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class InvoicePayer:
    """The client's side. `pay` asks the payer's node to pay a BOLT 11 invoice and waits for it.

    It gets the invoice and the msat that were asked for, at most `max_amount`; it pays no more,
    whatever the invoice says.
    """

    def __init__(self, pay: Callable[[str, int], Awaitable[None]], *, max_amount: int) -> None:
        self._pay = pay
        self._max_amount = max_amount
        self.local_calls = 0

    async def authorize(self, challenges: Iterable[str]) -> str:
        """Pay what a 402's `WWW-Authenticate` fields ask for.

        Returns the `Authorization` with which the request is to be repeated; raises
        ChallengeError, and whatever `pay` raises.
        """
        params = _find_charge(challenges)
        try:
            request = strict_json(from_base64url(params["request"]))
            amount, invoice = int(request["amount"]), str(request["invoice"])
            payment_hash = bytes.fromhex(request["paymentHash"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ChallengeError("the request object") from error
        if not 0 < amount <= self._max_amount or len(payment_hash) != _HASH_SIZE:
            raise ChallengeError("the invoice's amount or payment hash")
        self.local_calls += 1
        await self._pay(invoice, amount)
        credential = {"challenge": dict(params), "payload": {"paymentHash": payment_hash.hex()}}
        return f"Payment {to_base64url(canonical_json(credential))}"


def _find_charge(challenges: Iterable[str]) -> dict[str, str]:
    for field in challenges:
        for scheme, params in parse_challenges(field):
            method_and_intent = params.get("method"), params.get("intent")
            if scheme == "payment" and method_and_intent == (_METHOD, _INTENT):
                return dict(params)
    raise ChallengeError("no invoice among the challenges")


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"authorization" and value[:8].lower() == b"payment ":
            return value[8:].strip(b" ")
    return None


def _payment_hash_of(credential: bytes) -> bytes | None:
    try:
        found = strict_json(from_base64url(credential.decode("ascii")))
        payment_hash = bytes.fromhex(found["payload"]["paymentHash"])
    except (ValueError, KeyError, TypeError):
        return None
    return payment_hash if len(payment_hash) == _HASH_SIZE else None

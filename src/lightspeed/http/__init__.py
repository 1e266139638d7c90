"""Paid calls over HTTP: the payee's ASGI middleware and the payer's clients.

Server: `LightspeedMiddleware`; `lightspeed.http.dependency` for FastAPI. Client:
`lightspeed.http.client` (httpx, httpx2), `lightspeed.http.aiohttp_client`, or `Payer` with
any other. Neither imports the Lightning side; the root imports no HTTP library either.
"""

from lightspeed.http.budget import Budget
from lightspeed.http.challenge import PaymentRequest
from lightspeed.http.conventional import Invoice, InvoiceMiddleware, InvoicePayer
from lightspeed.http.errors import (
    BudgetExceeded,
    ChallengeError,
    InsecureOrigin,
    InvalidChallenge,
    NoBook,
    PayeeMisbehaves,
    PaymentRejected,
    PaymentTimeout,
    PriceError,
)
from lightspeed.http.flow import Answer, Payment, Send, payment_flow
from lightspeed.http.middleware import LightspeedMiddleware
from lightspeed.http.offer import Offer
from lightspeed.http.paid import Paid
from lightspeed.http.payer import Call, Ended, Payer
from lightspeed.http.pricing import parse_price
from lightspeed.http.tokens import asset_text, parse_asset, seal_of

__all__ = [
    "Answer",
    "Budget",
    "BudgetExceeded",
    "Call",
    "ChallengeError",
    "Ended",
    "InsecureOrigin",
    "InvalidChallenge",
    "Invoice",
    "InvoiceMiddleware",
    "InvoicePayer",
    "LightspeedMiddleware",
    "NoBook",
    "Offer",
    "Paid",
    "PayeeMisbehaves",
    "Payer",
    "Payment",
    "PaymentRejected",
    "PaymentRequest",
    "PaymentTimeout",
    "PriceError",
    "Send",
    "asset_text",
    "parse_asset",
    "parse_price",
    "payment_flow",
    "seal_of",
]

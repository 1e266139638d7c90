"""What the HTTP edge raises.

LightspeedError
├── RemoteError
│   ├── PaymentRefused           (payment) the payee answers 402
│   │   └── InvalidChallenge     invalid-challenge: a Payment credential for another challenge
│   ├── ChallengeError           a 402 that the payer cannot read
│   ├── PaymentRejected          the payer's call was refused, and paying again does not help
│   └── PayeeMisbehaves          the payer has stopped using the book, and why
└── LocalError
    ├── PriceError               a price that is none
    ├── NoBook                   the payer has no usable book for this origin
    ├── InsecureOrigin           a credential goes over TLS or loopback only
    ├── BudgetExceeded           the payer's own policy does not allow this
    └── PaymentTimeout           calls in flight held up the window for too long
"""

from lightspeed.errors import LocalError, RemoteError
from lightspeed.payment import PaymentRefused

__all__ = [
    "BudgetExceeded",
    "ChallengeError",
    "InsecureOrigin",
    "InvalidChallenge",
    "NoBook",
    "PayeeMisbehaves",
    "PaymentRejected",
    "PaymentTimeout",
    "PriceError",
]


class InvalidChallenge(PaymentRefused, ValueError):
    """The challenge that a Payment credential echoes is not one of ours for this price."""

    slug = "invalid-challenge"


class ChallengeError(RemoteError, ValueError):
    """A challenge, a request object or a problem does not parse or breaks a limit."""


class PaymentRejected(RemoteError):
    """The payee refuses with the problem `slug`; nothing was redeemed by this call."""

    def __init__(self, slug: str, detail: str = "") -> None:
        super().__init__(f"{slug}: {detail}" if detail else slug)
        self.slug = slug
        self.detail = detail


class PayeeMisbehaves(RemoteError):
    """The book is not used any more; its owner closes it. `reason` says what the payee did."""

    def __init__(self, book_id: bytes, reason: str) -> None:
        super().__init__(f"stopped using book {book_id.hex()}: {reason}")
        self.book_id = book_id
        self.reason = reason


class PriceError(LocalError, ValueError):
    """Not a price: `"10 sat"`, `"1500 msat"`, `"0.5 sat"`, or a Price."""


class NoBook(LocalError, LookupError):
    """No book that is bound to this origin, in use and in an asset that the call is sold for."""

    def __init__(self, origin: str, why: str = "no book is bound to it") -> None:
        super().__init__(f"{origin}: {why}")
        self.origin = origin


class InsecureOrigin(LocalError, ValueError):
    """Plain HTTP to another machine: whoever listens could use the credential."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"{origin} is neither TLS nor loopback")
        self.origin = origin


class BudgetExceeded(LocalError):
    """The payer's own policy does not allow this payment. Amounts in msat or token units."""

    def __init__(self, origin: str, limit: str, *, amount: int, allowed: int) -> None:
        super().__init__(f"{origin}: {amount} asked for, {allowed} allowed {limit}")
        self.origin = origin
        self.limit = limit
        self.amount = amount
        self.allowed = allowed


class PaymentTimeout(LocalError, TimeoutError):
    """No unit could be handed out in time, because calls in flight did not end."""

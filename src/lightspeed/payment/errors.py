"""Why a payment was refused, and why bytes or a request were not accepted.

LightspeedError
├── RemoteError
│   ├── PaymentRefused          the call is answered with 402 and the problem `slug`
│   │   ├── NoPayment           no-payment
│   │   ├── MalformedCredential malformed
│   │   ├── UnknownBook         unknown-book
│   │   ├── BookClosed          book-closed
│   │   │   └── LeaseExpired    book-closed, until the node has extended the lease
│   │   ├── WrongAsset          wrong-asset
│   │   ├── TooMany             too-many
│   │   ├── TooLittle           too-little
│   │   ├── AlreadyRedeemed     already-redeemed
│   │   ├── ExposureExceeded    exposure
│   │   ├── TooFar              too-far
│   │   ├── WrongSecret         wrong-secret
│   │   └── GarbageLock         garbage-lock
│   ├── ProofRefused            what a payee settles or closes a book with proves nothing
│   ├── TermsError              a book's terms or lock data do not parse or break a limit
│   └── ReceiptError            a `Lightspeed-Receipt` does not parse
└── LocalError
    ├── WindowFull              the payer must wait until units are acknowledged
    ├── BookExhausted           the book has not enough units left
    ├── SealCheckMissing        a book of scheme seals, and nothing to check its seals with
    ├── SealsTooValuable        more than the payer puts behind seals of 64 bits
    └── BookStopped             the payer does not pay from this book any more
"""

from typing import ClassVar

from lightspeed.errors import LocalError, RemoteError

__all__ = [
    "AlreadyRedeemed",
    "BookClosed",
    "BookExhausted",
    "BookStopped",
    "ExposureExceeded",
    "GarbageLock",
    "LeaseExpired",
    "MalformedCredential",
    "NoPayment",
    "PaymentRefused",
    "ProofRefused",
    "ReceiptError",
    "SealCheckMissing",
    "SealsTooValuable",
    "TermsError",
    "TooFar",
    "TooLittle",
    "TooMany",
    "UnknownBook",
    "WindowFull",
    "WrongAsset",
    "WrongSecret",
]


class PaymentRefused(RemoteError):
    """A call was not paid; nothing was redeemed.

    `book_id` and `next_unit` (the lowest unit not redeemed) are set once the book is known: they
    go into the `Lightspeed-Receipt` of the answer.
    """

    slug: ClassVar[str]
    http_status: ClassVar[int] = 402

    book_id: bytes | None = None
    next_unit: int | None = None


class NoPayment(PaymentRefused):
    """The call carries no credential."""

    slug = "no-payment"


class MalformedCredential(PaymentRefused, ValueError):
    """The credential is not in its one canonical form, or does not fit its book."""

    slug = "malformed"


class UnknownBook(PaymentRefused, LookupError):
    """No book with this id."""

    slug = "unknown-book"

    def __init__(self, book_id: bytes) -> None:
        super().__init__(f"unknown book {book_id.hex()}")


class BookClosed(PaymentRefused):
    """The book is closing or closed; it never opens again."""

    slug = "book-closed"


class LeaseExpired(BookClosed):
    """The node has not confirmed lately that the channel is unspent; it may do so again."""


class WrongAsset(PaymentRefused, ValueError):
    """The book is not in an asset for which the call is sold."""

    slug = "wrong-asset"


class TooMany(PaymentRefused, ValueError):
    """More units in one credential than the payee takes."""

    slug = "too-many"

    def __init__(self, count: int, max_count: int) -> None:
        super().__init__(f"{count} units in one credential, at most {max_count} are taken")
        self.count = count
        self.max_count = max_count


class TooLittle(PaymentRefused, ValueError):
    """Fewer units than the call costs."""

    slug = "too-little"

    def __init__(self, count: int, required_units: int) -> None:
        super().__init__(f"{count} units presented, the call costs {required_units}")
        self.count = count
        self.required_units = required_units


class AlreadyRedeemed(PaymentRefused):
    """`unit` is the lowest unit of the range that was redeemed before."""

    slug = "already-redeemed"

    def __init__(self, unit: int) -> None:
        super().__init__(f"unit {unit} is already redeemed")
        self.unit = unit


class ExposureExceeded(PaymentRefused):
    """The range ends beyond what the payee serves before more locks are completed."""

    slug = "exposure"

    def __init__(self, last_unit: int, limit_unit: int) -> None:
        super().__init__(f"unit {last_unit} is above the exposure limit, unit {limit_unit}")
        self.last_unit = last_unit
        self.limit_unit = limit_unit


class TooFar(PaymentRefused):
    """The range is more than `window` units away from what is known of its lock."""

    slug = "too-far"

    def __init__(self, lock: int, distance: int, window: int) -> None:
        super().__init__(f"{distance} units from what is known of lock {lock}, window {window}")
        self.lock = lock
        self.distance = distance
        self.window = window


class WrongSecret(PaymentRefused):
    """The element of `lock` is not one of its chain."""

    slug = "wrong-secret"

    def __init__(self, lock: int) -> None:
        super().__init__(f"wrong secret for lock {lock}")
        self.lock = lock


class GarbageLock(PaymentRefused):
    """The secret of `lock` is right, but the seal that the book lists for it is not its seal.

    Nobody could claim the lock: it pays nothing, and its book is fenced.
    """

    slug = "garbage-lock"

    def __init__(self, lock: int) -> None:
        super().__init__(f"the seal of lock {lock} does not belong to its secret")
        self.lock = lock


class ProofRefused(RemoteError, ValueError):
    """Elements that a payee settles or closes a book with are not what it says."""


class TermsError(RemoteError, ValueError):
    """Terms or lock data of a book do not parse or break a limit."""


class ReceiptError(RemoteError, ValueError):
    """A `Lightspeed-Receipt` header does not parse."""


class WindowFull(LocalError):
    """Nothing was handed out; try again after the next acknowledgement."""


class BookExhausted(LocalError):
    """The book has fewer units left than asked for."""

    def __init__(self, count: int, remaining: int) -> None:
        super().__init__(f"{count} units asked for, {remaining} left in the book")
        self.count = count
        self.remaining = remaining


class SealCheckMissing(LocalError, ValueError):
    """Nothing is redeemed from a book of scheme seals without the function of its seals."""

    def __init__(self, book_id: bytes) -> None:
        super().__init__(
            f"book {book_id.hex()} is of scheme seals: its ledger needs seal_of="
            "lightspeed.rgb.secret_lock_seal"
        )


class SealsTooValuable(LocalError, ValueError):
    """The payer's own policy wants scheme ladder for such a book."""

    def __init__(self, what: str, *, amount: int, limit: int) -> None:
        super().__init__(
            f"{what} of {amount} units of a token, at most {limit} in scheme seals: take ladder"
        )
        self.amount = amount
        self.limit = limit


class BookStopped(LocalError):
    """The payer has stopped using this book; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the payer has stopped using this book: {reason}")
        self.reason = reason

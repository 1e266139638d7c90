"""What a ledger or a payer's store raises besides refusals of a payment.

LightspeedError
├── StoreError
│   ├── LedgerUnavailable   the store did not answer; the call is answered with 503
│   ├── LedgerRolledBack    the ledger is older than it was; its books are closing now
│   └── LedgerFormatError   the file is of another program or of a newer version
└── LocalError
    ├── BookExists          a book with this id was stored before
    ├── BookNotFenced       a book is closed only after its fence
    └── BookInUse           another process pays from this book now
"""

from typing import ClassVar

from lightspeed.errors import LocalError, StoreError

__all__ = [
    "BookExists",
    "BookInUse",
    "BookNotFenced",
    "LedgerFormatError",
    "LedgerRolledBack",
    "LedgerUnavailable",
]


class LedgerUnavailable(StoreError, OSError):
    """Nothing is acknowledged.

    With `outcome_unknown` the write may have taken effect: its units count as redeemed until
    they were read again, which the next redeem does by itself.
    """

    http_status: ClassVar[int] = 503

    def __init__(self, reason: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown = outcome_unknown


class LedgerRolledBack(StoreError):
    """Fewer units are redeemed than before, or the generation is another: a backup or failover."""


class LedgerFormatError(StoreError, ValueError):
    """Not a ledger that this version can read."""


class BookExists(LocalError, ValueError):
    """Book ids are new to the ledger, for ever."""


class BookNotFenced(LocalError):
    """The book is still open."""


class BookInUse(LocalError):
    """The book was taken over by another process; this one hands out nothing more."""

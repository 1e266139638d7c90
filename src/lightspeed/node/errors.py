"""What a node's store and wallet raise.

StoreError
├── StoreUnavailable       the file did not take a write or did not answer a read
└── WalletUnavailable      the wallet's file or the chain backend failed
LocalError
├── StoreInUse             another process has this store open
├── StoreFormatError       the file is not a node's store that this version can read
├── WalletMismatch         the wallet's file belongs to another seed or network
└── InsufficientFunds      the wallet's spendable coins do not suffice
"""

from lightspeed.errors import LocalError, StoreError

__all__ = [
    "InsufficientFunds",
    "StoreFormatError",
    "StoreInUse",
    "StoreUnavailable",
    "WalletMismatch",
    "WalletUnavailable",
]


class StoreUnavailable(StoreError, OSError):
    """Nothing that follows may be done: what had to be stored first may not be on the disk."""


class StoreInUse(LocalError, BlockingIOError):
    """One process at a time runs a node."""


class StoreFormatError(LocalError, ValueError):
    """Not a node's store, or one of a newer version."""


class WalletUnavailable(StoreError, OSError):
    """The wallet could not be read, written or brought up to date."""


class WalletMismatch(LocalError, ValueError):
    """The wallet's file was made with another seed, or for another network."""


class InsufficientFunds(LocalError, ValueError):
    """Coins that are reserved, or not confirmed where that is asked for, do not count."""

    def __init__(self, *, needed_sat: int, available_sat: int) -> None:
        super().__init__(f"{needed_sat} sat are needed, {available_sat} sat can be spent")
        self.needed_sat = needed_sat
        self.available_sat = available_sat

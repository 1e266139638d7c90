"""Redeem-exactly-once storage for the payee, and the payer's durable seeds and reservations."""

from lightspeed.ledger.errors import (
    BookExists,
    BookInUse,
    BookNotFenced,
    LedgerFormatError,
    LedgerRolledBack,
    LedgerUnavailable,
)
from lightspeed.ledger.interface import BookStatus, FinalState, Ledger
from lightspeed.ledger.payer_store import PayerStore, Reservation
from lightspeed.ledger.sqlite import SQLiteLedger
from lightspeed.payment import LockElement

__all__ = [
    "BookExists",
    "BookInUse",
    "BookNotFenced",
    "BookStatus",
    "FinalState",
    "Ledger",
    "LedgerFormatError",
    "LedgerRolledBack",
    "LedgerUnavailable",
    "LockElement",
    "PayerStore",
    "Reservation",
    "SQLiteLedger",
]

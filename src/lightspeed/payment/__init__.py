"""Books, hash chains, credentials, prices and their check. Pure; knows nothing of Bitcoin.

Payee: `Credential.from_token`, `check`, `BookRecord` (a ledger does the rest). Payer:
`SecretBook`, `Allocator`, `Receipt.from_header`.
"""

from lightspeed.payment.allocator import Allocation, Allocator, StopReason
from lightspeed.payment.book import BOOK_ID_SIZE, CHANNEL_ID_SIZE, Book, SealOf
from lightspeed.payment.chain import ELEMENT_SIZE, chain_elements, lock_hash, step, walk
from lightspeed.payment.check import DEFAULT_MAX_COUNT, check
from lightspeed.payment.credential import (
    CREDENTIAL_HEADER_SIZE,
    MAX_COUNT,
    MAX_CREDENTIAL_SIZE,
    MAX_FIRST_UNIT,
    Credential,
)
from lightspeed.payment.errors import (
    AlreadyRedeemed,
    BookClosed,
    BookExhausted,
    BookStopped,
    ExposureExceeded,
    GarbageLock,
    LeaseExpired,
    MalformedCredential,
    NoPayment,
    PaymentRefused,
    ProofRefused,
    ReceiptError,
    SealCheckMissing,
    SealsTooValuable,
    TermsError,
    TooFar,
    TooLittle,
    TooMany,
    UnknownBook,
    WindowFull,
    WrongAsset,
    WrongSecret,
)
from lightspeed.payment.final import (
    LockElement,
    check_final,
    check_secret,
    completed_run,
    final_elements,
    final_units,
)
from lightspeed.payment.price import Price, units_due
from lightspeed.payment.receipt import Receipt
from lightspeed.payment.record import UNTOUCHED, BookRecord, BookState, LockRecord, Part
from lightspeed.payment.seals_policy import (
    SealsPolicy,
)
from lightspeed.payment.secret_book import SEED_SIZE, SecretBook
from lightspeed.payment.terms import (
    MAX_CHAIN_LENGTH,
    MAX_LOCKS,
    MAX_WINDOW,
    SATS,
    BookTerms,
    Scheme,
    default_window,
    is_origin,
)

__all__ = [
    "BOOK_ID_SIZE",
    "CHANNEL_ID_SIZE",
    "CREDENTIAL_HEADER_SIZE",
    "DEFAULT_MAX_COUNT",
    "ELEMENT_SIZE",
    "MAX_CHAIN_LENGTH",
    "MAX_COUNT",
    "MAX_CREDENTIAL_SIZE",
    "MAX_FIRST_UNIT",
    "MAX_LOCKS",
    "MAX_WINDOW",
    "SATS",
    "SEED_SIZE",
    "UNTOUCHED",
    "Allocation",
    "Allocator",
    "AlreadyRedeemed",
    "Book",
    "BookClosed",
    "BookExhausted",
    "BookRecord",
    "BookState",
    "BookStopped",
    "BookTerms",
    "Credential",
    "ExposureExceeded",
    "GarbageLock",
    "LeaseExpired",
    "LockElement",
    "LockRecord",
    "MalformedCredential",
    "NoPayment",
    "Part",
    "PaymentRefused",
    "Price",
    "ProofRefused",
    "Receipt",
    "ReceiptError",
    "Scheme",
    "SealCheckMissing",
    "SealOf",
    "SealsPolicy",
    "SealsTooValuable",
    "SecretBook",
    "StopReason",
    "TermsError",
    "TooFar",
    "TooLittle",
    "TooMany",
    "UnknownBook",
    "WindowFull",
    "WrongAsset",
    "WrongSecret",
    "chain_elements",
    "check",
    "check_final",
    "check_secret",
    "completed_run",
    "default_window",
    "final_elements",
    "final_units",
    "is_origin",
    "lock_hash",
    "step",
    "units_due",
    "walk",
]

"""The Lightspeed extension of a channel: an output divided beforehand into hash-locked claims.

Pure. Scheme `outputs`; Paper 2.1. `LightspeedFunding` is what a channel is opened with.
"""

from lightspeed.lsf.books import accepted_books, usable_books
from lightspeed.lsf.claims import (
    CLAIM_INPUT_WEIGHT,
    LockSettled,
    WrongLockSecret,
    claim_spend,
    lsf_refund_spend,
    lsf_revocation_spend,
    p2a_spend,
    refund_spend,
)
from lightspeed.lsf.errors import BookRefused, ChunksOutOfOrder
from lightspeed.lsf.events import BookAccepted, BookRejected, BookUsable
from lightspeed.lsf.extension import LightspeedFunding
from lightspeed.lsf.keys import (
    BookKeys,
    LsfBasepoints,
    LsfKeys,
    book_private_key,
    book_public_key,
    lsf_private_key,
)
from lightspeed.lsf.limits import (
    CHAIN_RULES,
    MAX_BOOKS,
    MAX_OUTPUTS_LOCKS,
    MIN_LOCK_AMOUNT_SAT,
    REGTEST_RULES,
    DelayRules,
    PayeeLimits,
    check_book,
    check_claim_cost,
    check_payee_delay,
    default_refund_delay_blocks,
)
from lightspeed.lsf.messages import (
    LSF_MESSAGES,
    LsfAccept,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    LsfSignatures,
    LsfSignRequest,
    Party,
    RejectReason,
)
from lightspeed.lsf.micropayment import (
    MAX_LOCKS_WITH_P2A,
    P2A_SAT,
    LsfKey,
    Micropayment,
    lsf_amount,
    micropayment_weight,
)
from lightspeed.lsf.negotiation import LsfParameters, offered_party
from lightspeed.lsf.outputs import OutputsBook
from lightspeed.lsf.settlement import Settlement
from lightspeed.lsf.state import BOOK_TABLE, LsfContent, LsfState, OpenBook

__all__ = [
    "BOOK_TABLE",
    "CHAIN_RULES",
    "CLAIM_INPUT_WEIGHT",
    "LSF_MESSAGES",
    "MAX_BOOKS",
    "MAX_LOCKS_WITH_P2A",
    "MAX_OUTPUTS_LOCKS",
    "MIN_LOCK_AMOUNT_SAT",
    "P2A_SAT",
    "REGTEST_RULES",
    "BookAccepted",
    "BookKeys",
    "BookRefused",
    "BookRejected",
    "BookUsable",
    "ChunksOutOfOrder",
    "DelayRules",
    "LightspeedFunding",
    "LockSettled",
    "LsfAccept",
    "LsfBasepoints",
    "LsfContent",
    "LsfKey",
    "LsfKeys",
    "LsfLocks",
    "LsfOpen",
    "LsfParameters",
    "LsfPropose",
    "LsfReject",
    "LsfSignRequest",
    "LsfSignatures",
    "LsfState",
    "Micropayment",
    "OpenBook",
    "OutputsBook",
    "Party",
    "PayeeLimits",
    "RejectReason",
    "Settlement",
    "WrongLockSecret",
    "accepted_books",
    "book_private_key",
    "book_public_key",
    "check_book",
    "check_claim_cost",
    "check_payee_delay",
    "claim_spend",
    "default_refund_delay_blocks",
    "lsf_amount",
    "lsf_private_key",
    "lsf_refund_spend",
    "lsf_revocation_spend",
    "micropayment_weight",
    "offered_party",
    "p2a_spend",
    "refund_spend",
    "usable_books",
]

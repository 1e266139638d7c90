"""The Lightspeed extension of a channel: an output divided beforehand into hash-locked claims.

Pure. Schemes `outputs` (Paper 2.1), `seals` (Paper 3) and `ladder`. `LightspeedFunding` is what a
channel is opened with.
"""

from lightspeed.lsf.books import (
    accepted_books,
    close_requests,
    closed_books,
    settled_locks,
    usable_books,
)
from lightspeed.lsf.child import P2A_SAT, LsfChild, LsfKey
from lightspeed.lsf.claims import (
    CLAIM_INPUT_WEIGHT,
    lsf_refund_spend,
    lsf_revocation_spend,
    p2a_spend,
)
from lightspeed.lsf.errors import BookRefused, ChunksOutOfOrder
from lightspeed.lsf.events import (
    BookAccepted,
    BookClosed,
    BookRejected,
    BookSettled,
    BookUsable,
    CloseRequested,
)
from lightspeed.lsf.extension import LightspeedFunding
from lightspeed.lsf.keys import (
    BookKeys,
    LsfBasepoints,
    LsfKeys,
    book_private_key,
    book_public_key,
    lsf_private_key,
)
from lightspeed.lsf.ladder import LadderBook, settlement_transaction_weight
from lightspeed.lsf.limits import (
    CHAIN_RULES,
    DEFAULT_MAX_RUNGS,
    MAX_BOOKS,
    MAX_CHANNEL_RUNGS,
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
    MAX_CLOSE_ELEMENTS,
    MAX_SETTLE_SECRETS,
    LsfAccept,
    LsfClose,
    LsfCloseRequest,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    LsfSettle,
    LsfSignatures,
    LsfSignRequest,
    Party,
    RejectReason,
)
from lightspeed.lsf.micropayment import (
    MAX_LOCKS_WITH_P2A,
    lsf_amount,
    micropayment_weight,
)
from lightspeed.lsf.negotiation import LsfParameters, offered_party
from lightspeed.lsf.outputs import (
    LockSettled,
    OutputsBook,
    WrongLockSecret,
    claim_spend,
    refund_spend,
)
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.seals import MAX_SEALS, SealsBook, seals_child_weight
from lightspeed.lsf.settlement import Settlement
from lightspeed.lsf.settling import next_close, next_settle
from lightspeed.lsf.state import BOOK_TABLE, LsfContent, LsfState, OpenBook

__all__ = [
    "BOOK_TABLE",
    "CHAIN_RULES",
    "CLAIM_INPUT_WEIGHT",
    "DEFAULT_MAX_RUNGS",
    "LSF_MESSAGES",
    "MAX_BOOKS",
    "MAX_CHANNEL_RUNGS",
    "MAX_CLOSE_ELEMENTS",
    "MAX_LOCKS_WITH_P2A",
    "MAX_OUTPUTS_LOCKS",
    "MAX_SEALS",
    "MAX_SETTLE_SECRETS",
    "MIN_LOCK_AMOUNT_SAT",
    "P2A_SAT",
    "REGTEST_RULES",
    "BookAccepted",
    "BookClosed",
    "BookKeys",
    "BookRefused",
    "BookRejected",
    "BookSettled",
    "BookUsable",
    "ChunksOutOfOrder",
    "CloseRequested",
    "DelayRules",
    "LadderBook",
    "LightspeedFunding",
    "LockSettled",
    "LsfAccept",
    "LsfBasepoints",
    "LsfChild",
    "LsfClose",
    "LsfCloseRequest",
    "LsfContent",
    "LsfKey",
    "LsfKeys",
    "LsfLocks",
    "LsfOpen",
    "LsfParameters",
    "LsfPropose",
    "LsfReject",
    "LsfSettle",
    "LsfSignRequest",
    "LsfSignatures",
    "LsfState",
    "OpenBook",
    "OutputsBook",
    "Party",
    "PayeeLimits",
    "RejectReason",
    "SchemeBook",
    "SealsBook",
    "Settlement",
    "WrongLockSecret",
    "accepted_books",
    "book_private_key",
    "book_public_key",
    "check_book",
    "check_claim_cost",
    "check_payee_delay",
    "claim_spend",
    "close_requests",
    "closed_books",
    "default_refund_delay_blocks",
    "lsf_amount",
    "lsf_private_key",
    "lsf_refund_spend",
    "lsf_revocation_spend",
    "micropayment_weight",
    "next_close",
    "next_settle",
    "offered_party",
    "p2a_spend",
    "refund_spend",
    "seals_child_weight",
    "settled_locks",
    "settlement_transaction_weight",
    "usable_books",
]

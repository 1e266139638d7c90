"""What a book may be: the limits of the protocol, and those that a payee tells."""

import struct
from dataclasses import dataclass
from typing import Self, assert_never

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, dust_limit, fee_for_weight, p2tr
from lightspeed.lsf.claims import CLAIM_INPUT_WEIGHT
from lightspeed.lsf.errors import BookRefused
from lightspeed.lsf.messages import RejectReason
from lightspeed.lsf.schemes import check_asset
from lightspeed.lsf.seals import MAX_SEALS
from lightspeed.lsf.settlement import MAX_DELAY_BLOCKS, Settlement
from lightspeed.payment import MAX_CHAIN_LENGTH, SATS, BookTerms, Scheme
from lightspeed.units import Sat

__all__ = [
    "CHAIN_RULES",
    "CLAIM_COST_MARGIN",
    "DEFAULT_MAX_EXPOSURE_SAT",
    "DEFAULT_MAX_RUNGS",
    "DEFAULT_MAX_SEALS",
    "DEFAULT_MAX_WINDOW",
    "MAX_BOOKS",
    "MAX_CHANNEL_RUNGS",
    "MAX_LOCK_TOKENS",
    "MAX_OUTPUTS_LOCKS",
    "MIN_LOCK_AMOUNT_SAT",
    "REGTEST_RULES",
    "DelayRules",
    "PayeeLimits",
    "check_book",
    "check_claim_cost",
    "check_payee_delay",
    "default_refund_delay_blocks",
    "exposure",
    "rungs",
    "seals",
]

MAX_OUTPUTS_LOCKS = 2_322
"""A micropayment transaction of 399,940 WU with d = 144, 399,941 with the longest push of d;
400,000 relay, and one output more weighs 172."""

DEFAULT_MAX_RUNGS = 127
"""With the refund a tree of depth 7: BIP 110 relays no control block of more than 257 bytes."""

DEFAULT_MAX_SEALS = 2 * MAX_SEALS
"""A full book and the one that follows it: each is kept and hashed for every commitment."""

MAX_CHANNEL_RUNGS = 1_000
"""Of all ladder books of a channel: the payer signs each for both commitments, at each update."""

MIN_LOCK_AMOUNT_SAT = dust_limit(p2tr(bytes(32)))  # = 330

CLAIM_COST_MARGIN = 3
"""A lock is worth at least so many times what its input in a claim costs."""

MAX_LOCK_TOKENS = (1 << 64) - 1
"""What a whole asset is at most: what a token is worth, its payee knows."""

MAX_BOOKS = 255
"""Of one channel, whatever the payee tells: 44 kWU of a commitment."""

DEFAULT_MAX_WINDOW = 4_096
"""A refused credential costs up to twice as many hashes: some milliseconds."""

DEFAULT_MAX_EXPOSURE_SAT = Sat(100_000)
"""What a payee may lose to one channel unless it says otherwise."""

_DEFAULT_REFUND_DELAY_BLOCKS = 1_008  # a week


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayRules:
    """How long the honest windows are at least, and what only a chain without value allows."""

    min_payee_delay_blocks: int
    min_refund_margin_blocks: int
    """From the first block in which the payee's child may confirm to the refund's."""
    literal_allowed: bool


CHAIN_RULES = DelayRules(
    min_payee_delay_blocks=144, min_refund_margin_blocks=288, literal_allowed=False
)
REGTEST_RULES = DelayRules(
    min_payee_delay_blocks=6, min_refund_margin_blocks=11, literal_allowed=True
)

_LIMITS = struct.Struct(">BBBIIHHHQQQIHHIB")  # version, schemes, then the fields in order
_SCHEMES = frozenset(Scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeLimits:
    """What a payee is ready to accept, told when the channel is opened."""

    schemes: frozenset[Scheme] = _SCHEMES
    max_books: int = 16
    """Accepted or open at one time."""
    max_locks: int = MAX_OUTPUTS_LOCKS
    """Of a book of scheme outputs."""
    max_seals: int = DEFAULT_MAX_SEALS
    """Locks of all books of scheme seals that are accepted or open at one time."""
    max_rungs: int = DEFAULT_MAX_RUNGS
    """Locks of a ladder book."""
    max_channel_rungs: int = MAX_CHANNEL_RUNGS
    """Of all ladder books that are accepted or open at one time."""
    max_chain_length: int = MAX_CHAIN_LENGTH
    min_lock_amount: int = MIN_LOCK_AMOUNT_SAT
    max_lock_amount: int = 10_000_000
    """These two in sats."""
    max_lock_tokens: int = MAX_LOCK_TOKENS
    max_window: int = DEFAULT_MAX_WINDOW
    min_refund_delay_blocks: int = 1
    max_refund_delay_blocks: int = MAX_DELAY_BLOCKS
    min_child_feerate: FeeRate = FEE_RATE_FLOOR
    late_children: bool = False
    """The payer signs each child of its own commitments once more, to confirm no earlier than D
    blocks after the commitment: what the payee may give to a watchtower."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_books <= MAX_BOOKS:
            raise ValueError(f"a channel has 1 to {MAX_BOOKS} books")
        if not 0 <= self.max_rungs <= self.max_channel_rungs <= MAX_CHANNEL_RUNGS:
            raise ValueError(f"a channel has at most {MAX_CHANNEL_RUNGS} rungs")

    @property
    def max_children(self) -> int:
        """Of one commitment: signatures of the payer for it."""
        return (self.max_books + self.max_channel_rungs) * (2 if self.late_children else 1)

    def to_bytes(self) -> bytes:
        """version u8 = 1, schemes u8 (bit n: scheme n), then books u8, locks u32, seals u32,
        rungs u16 and u16, chain length u16, lock amount u64, u64 and u64, window u32, refund
        delay u16 and u16, child fee rate u32, late children u8 (0 or 1)."""
        return _LIMITS.pack(
            1,
            sum(1 << scheme.value for scheme in self.schemes),
            self.max_books,
            self.max_locks,
            self.max_seals,
            self.max_rungs,
            self.max_channel_rungs,
            self.max_chain_length,
            self.min_lock_amount,
            self.max_lock_amount,
            self.max_lock_tokens,
            self.max_window,
            self.min_refund_delay_blocks,
            self.max_refund_delay_blocks,
            self.min_child_feerate,
            self.late_children,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `ValueError`. Schemes that are not known here are left out."""
        if len(data) != _LIMITS.size:
            raise ValueError(f"limits of {len(data)} bytes")
        version, schemes, books, locks, seals, max_rungs, *rest = _LIMITS.unpack(data)
        max_channel_rungs, chain, low, high, tokens, window, *rest = rest
        if version != 1:
            raise ValueError(f"limits of version {version}")
        if rest[3] > 1:
            raise ValueError("late children are neither wanted nor not")
        return cls(
            schemes=frozenset(scheme for scheme in Scheme if schemes >> scheme.value & 1),
            max_books=books,
            max_locks=locks,
            max_seals=seals,
            max_rungs=max_rungs,
            max_channel_rungs=max_channel_rungs,
            max_chain_length=chain,
            min_lock_amount=low,
            max_lock_amount=high,
            max_lock_tokens=tokens,
            max_window=window,
            min_refund_delay_blocks=rest[0],
            max_refund_delay_blocks=rest[1],
            min_child_feerate=FeeRate(rest[2]),
            late_children=bool(rest[3]),
        )


def default_refund_delay_blocks(payee_delay_blocks: int) -> int:
    """R for a channel with this D: a week, or D and two days."""
    return max(
        _DEFAULT_REFUND_DELAY_BLOCKS, payee_delay_blocks + CHAIN_RULES.min_refund_margin_blocks
    )


def check_payee_delay(payee_delay_blocks: int, *, rules: DelayRules) -> None:
    """D, the payer's to_self_delay: its time to answer a revoked commitment of the payee.

    Raises `BookRefused`: no book can be opened in such a channel.
    """
    _require(
        payee_delay_blocks >= rules.min_payee_delay_blocks,
        f"the payer's to_self_delay is {payee_delay_blocks} blocks, "
        f"{rules.min_payee_delay_blocks} are needed",
    )


def exposure(terms: BookTerms) -> int:
    """What the units are worth that are served before they can be enforced, at most; in msat or
    in tokens.

    Less than one lock and `window` units ("exposure rule"): a payer who leaves out the last
    unit of lock 1 keeps them, and so does one whose lock 1 has a seal that its secret does not
    open.
    """
    return min(terms.units, terms.chain_length + terms.window) * terms.unit_value


def check_claim_cost(terms: BookTerms, *, feerate: FeeRate) -> None:
    """Claiming a lock, where each is claimed, must not eat it up. Raises `BookRefused`."""
    if terms.scheme is not Scheme.OUTPUTS:
        return
    cost = fee_for_weight(CLAIM_INPUT_WEIGHT, feerate)
    _require(
        terms.lock_amount >= CLAIM_COST_MARGIN * cost,
        f"a lock of {terms.lock_amount} sat, which cost {cost} sat to claim",
    )


def rungs(terms: BookTerms) -> int:
    """What the book counts against the rungs of its channel."""
    return terms.locks if terms.scheme is Scheme.LADDER else 0


def seals(terms: BookTerms) -> int:
    """What the book counts against the seals of its channel."""
    return terms.locks if terms.scheme is Scheme.SEALS else 0


def check_book(
    terms: BookTerms,
    *,
    limits: PayeeLimits,
    rules: DelayRules,
    payee_delay_blocks: int,
    contract_id: bytes | None = None,
) -> Settlement:
    """Both parties check a proposal by the same rules. Raises `BookRefused`.

    `contract_id`: of the tokens in the channel, if there are any.
    """
    check_payee_delay(payee_delay_blocks, rules=rules)
    settlement = Settlement.from_bytes(terms.settlement)
    _require(terms.scheme in limits.schemes, f"scheme {terms.scheme.name.lower()} is not offered")
    check_asset(terms)
    _require(
        terms.asset in (SATS, contract_id), "the channel holds no tokens of the book's contract"
    )
    most = _max_locks(terms.scheme, limits)
    _require(terms.locks <= most, f"{terms.locks} locks, at most {most} are possible")
    _within("chain length", terms.chain_length, 1, limits.max_chain_length)
    least, highest = max(limits.min_lock_amount, MIN_LOCK_AMOUNT_SAT), limits.max_lock_amount
    if terms.asset != SATS:
        least, highest = 1, limits.max_lock_tokens
    _within("lock amount", terms.lock_amount, least, highest)
    _within("window", terms.window, 1, limits.max_window)
    _within(
        "refund delay",
        settlement.refund_delay_blocks,
        max(limits.min_refund_delay_blocks, payee_delay_blocks + rules.min_refund_margin_blocks),
        limits.max_refund_delay_blocks,
    )
    _require(
        settlement.child_feerate >= max(limits.min_child_feerate, FEE_RATE_FLOOR),
        f"a child fee rate of {settlement.child_feerate} sat/kw is too low",
    )
    check_claim_cost(terms, feerate=settlement.child_feerate)
    literal_allowed = rules.literal_allowed and terms.scheme is Scheme.OUTPUTS
    _require(literal_allowed or not settlement.literal, "claims without a signature")
    return settlement


def _max_locks(scheme: Scheme, limits: PayeeLimits) -> int:
    match scheme:
        case Scheme.OUTPUTS:
            return min(limits.max_locks, MAX_OUTPUTS_LOCKS)
        case Scheme.SEALS:
            return min(limits.max_seals, MAX_SEALS)
        case Scheme.LADDER:
            return limits.max_rungs
        case _:
            assert_never(scheme)


def _within(what: str, value: int, low: int, high: int) -> None:
    _require(low <= value <= high, f"{what} {value} is not from {low} to {high}")


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise BookRefused(RejectReason.TERMS, text)

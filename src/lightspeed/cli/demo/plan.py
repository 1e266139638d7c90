"""What one run of the demo does: its numbers, checked before anything is started."""

from dataclasses import dataclass, replace
from enum import Enum

from lightspeed.cli.errors import UsageError

__all__ = ["BOOK_SIZES", "BookSize", "Closer", "DemoAsset", "DemoPlan", "DemoScheme"]

MSAT_PER_SAT = 1_000
_RESERVE_SAT = 50_000
"""Kept by the payer: channel reserve (1 % of the channel) and the rising fee of a commitment."""
_FEE_SAT_PER_LOCK = 50
"""Of the micropayment transaction, paid from the LSF: 43 vB each, and some room."""
_MIN_LOCK_AMOUNT_SAT = 330
_MAX_CHAIN_LENGTH = 65_535
_MAX_RUNGS = 127
_COMPARED_LOCKS = 1_000
_COMPARED_LOCK_AMOUNT_SAT = 1_000


_TOKEN_BOOK_SAT = 10_000
"""Of the LSF of a book in tokens: its outputs and its child's fee, with room."""
_MAX_LOCKS = 65_535
"""Seals that a transition can assign to."""
_PUBLIC_SALE = 12, 10
"""So much more than the book needs does the payer buy: some of it stays in its balance."""


class DemoScheme(Enum):
    """How the calls are paid."""

    OUTPUTS = "outputs"
    SEALS = "seals"
    LADDER = "ladder"
    CONVENTIONAL = "conventional"


class DemoAsset(Enum):
    """What is paid with."""

    SAT = "sat"
    TOKEN = "token"


class Closer(Enum):
    """Whose node publishes its commitment, without asking the other."""

    PAYER = "payer"
    PAYEE = "payee"

    @property
    def other(self) -> "Closer":
        return Closer.PAYEE if self is Closer.PAYER else Closer.PAYER


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSize:
    """How a book is divided. `lock_amount` in sat or tokens."""

    locks: int
    lock_amount: int
    chain_length: int


BOOK_SIZES = {
    DemoScheme.OUTPUTS: BookSize(locks=1_000, lock_amount=1_000, chain_length=100),
    DemoScheme.SEALS: BookSize(locks=10_000, lock_amount=100, chain_length=100),
    DemoScheme.LADDER: BookSize(locks=125, lock_amount=8_000, chain_length=8_000),
}
"""Unless something else is asked for. The ladder's: 1,000,000 units in at most 127 locks. Units of
a book in tokens are worth one token.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Raises `UsageError` for numbers that do not go together."""

    scheme: DemoScheme = DemoScheme.OUTPUTS
    asset: DemoAsset = DemoAsset.SAT
    calls: int = 20_000
    closer: Closer = Closer.PAYER
    capacity_sat: int = 5_000_000
    push_sat: int = 50_000
    """To the payee when the channel opens: its own output has to stand above dust."""
    locks: int = BOOK_SIZES[DemoScheme.OUTPUTS].locks
    lock_amount: int = BOOK_SIZES[DemoScheme.OUTPUTS].lock_amount
    chain_length: int = BOOK_SIZES[DemoScheme.OUTPUTS].chain_length
    clients: int = 32
    """Calls in flight."""
    conventional_calls: int = 100
    """Beside the calls of a scheme of ours, for comparison."""
    conventional_price_sat: int = 1_000
    """An HTLC of 10 sat is dust: no output in the commitment, nothing that a chain enforces."""
    to_self_delay_blocks: int = 6
    refund_delay_blocks: int = 20
    minimum_depth: int = 3
    token_price_msat: int = 500
    """What the payer gives for a token when it buys them."""
    tokens_sent: int = 1_000
    """By the payee to a third party, of what it claimed; at most half of that."""

    def __post_init__(self) -> None:
        _require(self.calls >= 1, "at least one call has to be made")
        _require(self.clients >= 1, "at least one client is needed")
        self._check_asset()
        if self.scheme is DemoScheme.LADDER:
            _require(self.locks <= _MAX_RUNGS, f"a ladder has at most {_MAX_RUNGS} locks")
        if self.has_book:
            _require(
                self.in_tokens or self.lock_amount >= _MIN_LOCK_AMOUNT_SAT,
                f"a lock of less than {_MIN_LOCK_AMOUNT_SAT} sat would be dust",
            )
            _require(
                self.chain_length <= _MAX_CHAIN_LENGTH,
                f"a lock has at most {_MAX_CHAIN_LENGTH:,} units",
            )
            _require(
                self.calls <= self.units,
                f"{self.calls:,} calls are more than the {self.units:,} units of the book "
                f"({self.locks:,} locks of {self.chain_length:,}): "
                "fewer calls, more locks or a longer chain",
            )
            _require(
                self._lock_value % self.chain_length == 0,
                f"a unit must be worth a whole number of {'tokens' if self.in_tokens else 'msat'}",
            )
        most = self.capacity_sat - self.push_sat - _RESERVE_SAT
        _require(
            self._book_sat <= most,
            f"the book needs {self._book_sat:,} sat with its fees, the channel has {most:,} for it",
        )
        most -= self._book_sat
        _require(
            self.conventional_sat <= most,
            f"{self._invoices:,} conventional calls of {self.conventional_price_sat:,} sat "
            f"need {self.conventional_sat:,} sat, the channel has {most:,} for them",
        )

    def _check_asset(self) -> None:
        if self.scheme is DemoScheme.SEALS:
            _require(self.in_tokens, "scheme seals is for tokens: --asset token")
            _require(self.locks <= _MAX_LOCKS, f"scheme seals has at most {_MAX_LOCKS:,} locks")
        if self.in_tokens:
            _require(
                self.scheme in (DemoScheme.SEALS, DemoScheme.LADDER),
                "tokens are paid by scheme seals or ladder",
            )

    @property
    def in_tokens(self) -> bool:
        return self.asset is DemoAsset.TOKEN

    @property
    def has_book(self) -> bool:
        """Whether the calls are paid with secrets."""
        return self.scheme is not DemoScheme.CONVENTIONAL

    def amount_text(self, amount: float) -> str:
        """Of sat or tokens, for people."""
        if not self.in_tokens:
            return f"{amount:,g} sat"
        return f"{amount:,} token{'s' * (amount != 1)}"

    @property
    def book_tokens(self) -> int:
        return self.locks * self.lock_amount if self.in_tokens else 0

    @property
    def tokens_bought(self) -> int:
        """By the payer; all of them go into the channel."""
        more, than = _PUBLIC_SALE
        return self.book_tokens * more // than

    @property
    def tokens_issued(self) -> int:
        return 2 * self.book_tokens

    @property
    def sale_sat(self) -> int:
        """What the payer gives for its tokens."""
        return self.tokens_bought * self.token_price_msat // MSAT_PER_SAT

    @property
    def comparison(self) -> "DemoPlan | None":
        """What runs after a ladder: the same calls, from a book of scheme outputs.

        As much in it, in as many units, but of more locks where the numbers allow it. A ladder
        has few, which makes them large; nothing keeps scheme outputs from small ones.
        """
        if self.scheme is not DemoScheme.LADDER or self.in_tokens:
            return None
        amount, length = self.lock_amount, self.chain_length
        most = min(_COMPARED_LOCKS // self.locks, amount // _COMPARED_LOCK_AMOUNT_SAT)
        divides = (n for n in range(most, 1, -1) if amount % n == length % n == 0)
        parts = next(divides, 1)
        return replace(
            self,
            scheme=DemoScheme.OUTPUTS,
            locks=self.locks * parts,
            lock_amount=amount // parts,
            chain_length=length // parts,
            conventional_calls=0,
        )

    @property
    def units(self) -> int:
        return self.locks * self.chain_length

    @property
    def unit_value(self) -> int:
        """What one unit is worth, and what a call costs: msat or tokens."""
        return self._lock_value // self.chain_length

    @property
    def _lock_value(self) -> int:
        return self.lock_amount if self.in_tokens else self.lock_amount * MSAT_PER_SAT

    @property
    def unit_msat(self) -> int:
        """What a unit in sats is worth."""
        assert not self.in_tokens
        return self.unit_value

    @property
    def conventional_sat(self) -> int:
        """What the conventional calls cost together."""
        return self._invoices * self.conventional_price_sat

    @property
    def _invoices(self) -> int:
        return self.calls if self.scheme is DemoScheme.CONVENTIONAL else self.conventional_calls

    @property
    def _book_sat(self) -> int:
        if not self.has_book:
            return 0
        if self.in_tokens:
            return _TOKEN_BOOK_SAT
        if self.comparison is not None:  # divided further, it needs more than the ladder
            return self.comparison._book_sat
        return self.locks * (self.lock_amount + _FEE_SAT_PER_LOCK)


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise UsageError(text)

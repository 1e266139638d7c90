"""What one run of the demo does: its numbers, checked before anything is started."""

from dataclasses import dataclass
from enum import Enum

from lightspeed.cli.errors import UsageError

__all__ = ["Closer", "DemoPlan", "DemoScheme"]

MSAT_PER_SAT = 1_000
_RESERVE_SAT = 50_000
"""Kept by the payer: channel reserve (1 % of the channel) and the rising fee of a commitment."""
_FEE_SAT_PER_LOCK = 50
"""Of the micropayment transaction, paid from the LSF: 43 vB each, and some room."""


class DemoScheme(Enum):
    """How the calls are paid."""

    OUTPUTS = "outputs"
    CONVENTIONAL = "conventional"


class Closer(Enum):
    """Whose node publishes its commitment, without asking the other."""

    PAYER = "payer"
    PAYEE = "payee"

    @property
    def other(self) -> "Closer":
        return Closer.PAYEE if self is Closer.PAYER else Closer.PAYER


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Raises `UsageError` for numbers that do not go together."""

    scheme: DemoScheme = DemoScheme.OUTPUTS
    calls: int = 20_000
    closer: Closer = Closer.PAYER
    capacity_sat: int = 5_000_000
    push_sat: int = 50_000
    """To the payee when the channel opens: its own output has to stand above dust."""
    locks: int = 1_000
    lock_amount_sat: int = 1_000
    chain_length: int = 100
    clients: int = 32
    """Calls in flight."""
    conventional_calls: int = 100
    """Beside the calls of a scheme of ours, for comparison."""
    conventional_price_sat: int = 1_000
    """An HTLC of 10 sat is dust: no output in the commitment, nothing that a chain enforces."""
    to_self_delay_blocks: int = 6
    refund_delay_blocks: int = 20
    minimum_depth: int = 3

    def __post_init__(self) -> None:
        _require(self.calls >= 1, "at least one call has to be made")
        _require(self.clients >= 1, "at least one client is needed")
        if self.scheme is DemoScheme.OUTPUTS:
            _require(
                self.calls <= self.units,
                f"{self.calls:,} calls are more than the {self.units:,} units of the book "
                f"({self.locks:,} locks of {self.chain_length:,}): "
                "fewer calls, more locks or a longer chain",
            )
            _require(
                self.lock_amount_sat * MSAT_PER_SAT % self.chain_length == 0,
                "a unit must be worth a whole number of msat",
            )
        most = self.capacity_sat - self.push_sat - _RESERVE_SAT - self._book_sat
        _require(
            self.conventional_sat <= most,
            f"{self._invoices:,} conventional calls of {self.conventional_price_sat:,} sat "
            f"need {self.conventional_sat:,} sat, the channel has {max(most, 0):,} for them",
        )

    @property
    def units(self) -> int:
        return self.locks * self.chain_length

    @property
    def unit_msat(self) -> int:
        """What one unit is worth, and what a call costs."""
        return self.lock_amount_sat * MSAT_PER_SAT // self.chain_length

    @property
    def conventional_sat(self) -> int:
        """What the conventional calls cost together."""
        return self._invoices * self.conventional_price_sat

    @property
    def _invoices(self) -> int:
        return self.calls if self.scheme is DemoScheme.CONVENTIONAL else self.conventional_calls

    @property
    def _book_sat(self) -> int:
        if self.scheme is DemoScheme.CONVENTIONAL:
            return 0
        return self.locks * (self.lock_amount_sat + _FEE_SAT_PER_LOCK)


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise UsageError(text)

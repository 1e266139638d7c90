"""Money is an integer with a unit."""

from typing import NewType

__all__ = ["MSAT_PER_SAT", "Msat", "Sat", "msat_to_sat_floor", "sat_to_msat"]

Sat = NewType("Sat", int)
Msat = NewType("Msat", int)

MSAT_PER_SAT = 1_000


def sat_to_msat(amount: Sat) -> Msat:
    """Exact."""
    return Msat(amount * MSAT_PER_SAT)


def msat_to_sat_floor(amount: Msat) -> Sat:
    """Whole sats, rounded down, as BOLT 3 ("Fees", "Trimmed Outputs") does for outputs."""
    return Sat(amount // MSAT_PER_SAT)

"""The closing transaction of BOLT 3 ("Closing Transaction"), for the fee negotiation of BOLT 2."""

from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed.bitcoin import SEQUENCE_FINAL, OutPoint, TxIn, TxOut
from lightspeed.channel.commitment import OutputBelowDust
from lightspeed.channel.errors import ChannelRefusal
from lightspeed.channel.graph import Draft, Frozen, Modifier, Output, bip69_order, build
from lightspeed.units import Msat, Sat, msat_to_sat_floor

__all__ = [
    "ClosingFeeTooHigh",
    "ClosingKey",
    "ClosingShare",
    "closing_constructor",
    "closing_transaction",
]

_VERSION = 2


class ClosingFeeTooHigh(ChannelRefusal):
    """The funder's balance does not cover the proposed fee, or its tokens would have no output."""

    def __init__(self, *, fee_sat: Sat, funder_sat: Sat) -> None:
        super().__init__(f"a closing fee of {fee_sat} sat from a balance of {funder_sat} sat")
        self.fee_sat = fee_sat
        self.funder_sat = funder_sat


@dataclass(frozen=True, slots=True)
class ClosingKey:
    """The output of one side of a closing transaction."""

    funder: bool


@dataclass(frozen=True, slots=True)
class ClosingShare:
    """One side's final balance, before the fee, and the script of its `shutdown`."""

    amount_msat: Msat
    script: bytes
    tokens: int = 0


def closing_constructor(
    *,
    funding_outpoint: OutPoint,
    funder: ClosingShare,
    other: ClosingShare,
    fee_sat: Sat,
    dust_limit_sat: Sat,
) -> Draft:
    """Outputs below the dust limit are left out; raises `ClosingFeeTooHigh`.

    One with tokens is not left out: `ClosingFeeTooHigh` for the funder's, else `OutputBelowDust`.

    Each side applies its own dust limit, so that two sides may mean different transactions by
    the same fee: who checks a signature tries the other's limit too.
    """
    funder_sat = msat_to_sat_floor(funder.amount_msat)
    if fee_sat > funder_sat:
        raise ClosingFeeTooHigh(fee_sat=fee_sat, funder_sat=funder_sat)
    other_sat = msat_to_sat_floor(other.amount_msat)
    if funder.tokens and funder_sat - fee_sat < dust_limit_sat:
        raise ClosingFeeTooHigh(fee_sat=fee_sat, funder_sat=funder_sat)
    if other.tokens and other_sat < dust_limit_sat:
        raise OutputBelowDust(amount_sat=other_sat, dust_limit_sat=dust_limit_sat)
    candidates = (
        Output(
            ClosingKey(funder=True),
            TxOut(Sat(funder_sat - fee_sat), funder.script),
            tokens=funder.tokens,
        ),
        Output(ClosingKey(funder=False), TxOut(other_sat, other.script), tokens=other.tokens),
    )
    return Draft(
        version=_VERSION,
        locktime=0,
        inputs=(TxIn(funding_outpoint, sequence=SEQUENCE_FINAL),),
        outputs=tuple(output for output in candidates if output.txout.value >= dust_limit_sat),
    )


def closing_transaction(
    *,
    funding_outpoint: OutPoint,
    funder: ClosingShare,
    other: ClosingShare,
    fee_sat: Sat,
    dust_limit_sat: Sat,
    modifiers: Iterable[Modifier] = (),
) -> Frozen:
    """In BIP 69 order, then changed by `modifiers`."""
    return build(
        lambda: closing_constructor(
            funding_outpoint=funding_outpoint,
            funder=funder,
            other=other,
            fee_sat=fee_sat,
            dust_limit_sat=dust_limit_sat,
        ),
        modifiers=(bip69_order, *modifiers),
    )

"""The commitment transaction of BOLT 3: the constructor of the graph."""

from collections.abc import Iterable

from lightspeed.bitcoin import FeeRate, PublicKey, Tx, TxIn, TxOut, fee_for_weight, p2wsh, sha256
from lightspeed.channel.errors import ChannelRefusal
from lightspeed.channel.funding import funding_digest
from lightspeed.channel.graph import (
    Anchor,
    Draft,
    Extender,
    Frozen,
    Modifier,
    Output,
    ToBroadcaster,
    ToCountersignatory,
    bip69_order,
    build,
)
from lightspeed.channel.htlc import htlc_extender, is_trimmed
from lightspeed.channel.keys import CommitmentKeys
from lightspeed.channel.scripts import anchor_script, to_local_script, to_remote_output_script
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms
from lightspeed.channel.weights import commitment_weight
from lightspeed.errors import LocalError
from lightspeed.units import Sat, msat_to_sat_floor

__all__ = [
    "ANCHOR_SAT",
    "FunderCannotPay",
    "NotACommitment",
    "OutputBelowDust",
    "build_commitment",
    "commitment_constructor",
    "commitment_digest",
    "commitment_fee",
    "commitment_number",
    "funder_cost",
    "is_commitment",
    "obscuring_factor",
]

ANCHOR_SAT = Sat(330)
_VERSION = 2
_LOCKTIME_MARK = 0x20 << 24  # low 24 bits: low half of the obscured commitment number
_SEQUENCE_MARK = 0x80 << 24  # low 24 bits: high half
_LOW_24_BITS = 0xFFFFFF


class FunderCannotPay(ChannelRefusal):
    """A balance is negative, or the funder's does not cover what it has to."""

    def __init__(self, missing_sat: int) -> None:
        super().__init__(f"{missing_sat} sat are missing for the commitment transaction")
        self.missing_sat = missing_sat


class OutputBelowDust(ChannelRefusal):
    """An output that is to hold tokens would be trimmed, and they would be lost."""

    def __init__(self, *, amount_sat: Sat, dust_limit_sat: Sat) -> None:
        super().__init__(
            f"an output with tokens of {amount_sat} sat, below the dust limit of {dust_limit_sat}"
        )
        self.amount_sat = amount_sat
        self.dust_limit_sat = dust_limit_sat


class NotACommitment(LocalError, ValueError):
    """A transaction has no commitment number: it is no commitment transaction."""


def obscuring_factor(*, opener: PublicKey, accepter: PublicKey) -> int:
    """48 bits from the two payment basepoints (BOLT 3, "Commitment Transaction")."""
    return int.from_bytes(sha256(opener.data + accepter.data)[-6:], "big")


def commitment_number(tx: Tx, obscuring_factor: int) -> int:
    """The number of a commitment transaction seen on chain; raises `NotACommitment`."""
    if not is_commitment(tx):
        raise NotACommitment("locktime and sequence hold no commitment number")
    obscured = (tx.inputs[0].sequence & _LOW_24_BITS) << 24 | tx.locktime & _LOW_24_BITS
    return obscured ^ obscuring_factor


def is_commitment(tx: Tx) -> bool:
    """Of a transaction that spends a funding output: or is it a cooperative close?"""
    if len(tx.inputs) != 1:
        return False
    marks = (tx.locktime & ~_LOW_24_BITS, tx.inputs[0].sequence & ~_LOW_24_BITS)
    return marks == (_LOCKTIME_MARK, _SEQUENCE_MARK)


def commitment_fee(
    *, feerate_per_kw: FeeRate, untrimmed_htlcs: int, anchors: bool, extension_weight: int = 0
) -> Sat:
    """BOLT 3, "Fee Calculation for Commitment Transactions"; without the anchors' 660 sat."""
    weight = commitment_weight(
        untrimmed_htlcs=untrimmed_htlcs, anchors=anchors, extension_weight=extension_weight
    )
    return fee_for_weight(weight, feerate_per_kw)


def funder_cost(
    terms: CommitmentTerms,
    balance: CommitmentBalance,
    *,
    extension_weight: int = 0,
    more_untrimmed_htlcs: int = 0,
) -> Sat:
    """What the funder's balance has to pay in this commitment: fee and both anchors.

    `more_untrimmed_htlcs` asks for the cost as if so many were there besides.
    """
    fee = commitment_fee(
        feerate_per_kw=balance.feerate_per_kw,
        untrimmed_htlcs=_count_untrimmed(terms, balance) + more_untrimmed_htlcs,
        anchors=terms.anchors,
        extension_weight=extension_weight,
    )
    return Sat(fee + (2 * ANCHOR_SAT if terms.anchors else 0))


def commitment_constructor(
    terms: CommitmentTerms,
    balance: CommitmentBalance,
    keys: CommitmentKeys,
    *,
    extension_weight: int = 0,
) -> Draft:
    """Main outputs and anchors; HTLCs come with `htlc_extender`.

    BOLT 3 lets the fee eat the funder's balance up. Not so the anchors, or more would come out
    than was funded; and with an extension (`extension_weight` above 0) not the fee either, or it
    would be short of the added weight: `FunderCannotPay`. With an extension both anchors are
    there, because either side may have money in its outputs. Nothing with tokens is trimmed:
    `OutputBelowDust`.
    """
    to_broadcaster, to_countersignatory = _main_amounts(
        terms, balance, extension_weight=extension_weight
    )
    outputs: list[Output] = []
    if to_broadcaster >= terms.dust_limit_sat:
        to_local = to_local_script(
            revocation=keys.revocation,
            delayed=keys.broadcaster_delayed,
            to_self_delay_blocks=terms.to_self_delay_blocks,
        )
        outputs.append(
            Output(
                ToBroadcaster(),
                TxOut(to_broadcaster, p2wsh(to_local)),
                tokens=balance.to_broadcaster_tokens,
            )
        )
    elif balance.to_broadcaster_tokens:
        raise OutputBelowDust(amount_sat=to_broadcaster, dust_limit_sat=terms.dust_limit_sat)
    if to_countersignatory >= terms.dust_limit_sat:
        to_remote = to_remote_output_script(keys.countersignatory_payment, anchors=terms.anchors)
        outputs.append(
            Output(
                ToCountersignatory(),
                TxOut(to_countersignatory, to_remote),
                tokens=balance.to_countersignatory_tokens,
            )
        )
    elif balance.to_countersignatory_tokens:
        raise OutputBelowDust(amount_sat=to_countersignatory, dust_limit_sat=terms.dust_limit_sat)
    if terms.anchors:
        contested = extension_weight > 0 or _count_untrimmed(terms, balance) > 0
        for_broadcaster, for_countersignatory = terms.funding_keys
        if contested or to_broadcaster >= terms.dust_limit_sat:
            outputs.append(_anchor(for_broadcaster, key=Anchor(broadcaster=True)))
        if contested or to_countersignatory >= terms.dust_limit_sat:
            outputs.append(_anchor(for_countersignatory, key=Anchor(broadcaster=False)))

    obscured = balance.number ^ terms.obscuring_factor
    return Draft(
        version=_VERSION,
        locktime=_LOCKTIME_MARK | obscured & _LOW_24_BITS,
        inputs=(TxIn(terms.funding_outpoint, sequence=_SEQUENCE_MARK | obscured >> 24),),
        outputs=tuple(outputs),
    )


def build_commitment(
    terms: CommitmentTerms,
    balance: CommitmentBalance,
    keys: CommitmentKeys,
    *,
    extension_weight: int = 0,
    extenders: Iterable[Extender] = (),
    modifiers: Iterable[Modifier] = (),
) -> Frozen:
    """The whole commitment: BOLT 3's outputs, those of extensions, BIP 69, then `modifiers`."""
    return build(
        lambda: commitment_constructor(terms, balance, keys, extension_weight=extension_weight),
        (htlc_extender(terms, balance, keys), *extenders),
        (bip69_order, *modifiers),
    )


def commitment_digest(tx: Tx, terms: CommitmentTerms) -> bytes:
    """What both sides sign of the commitment transaction."""
    return funding_digest(tx, funding_sat=terms.funding_sat, funding_keys=terms.funding_keys)


def _main_amounts(
    terms: CommitmentTerms, balance: CommitmentBalance, *, extension_weight: int
) -> tuple[Sat, Sat]:
    """The broadcaster's and the countersignatory's, after the funder paid."""
    broadcaster = msat_to_sat_floor(balance.to_broadcaster_msat)
    countersignatory = msat_to_sat_floor(balance.to_countersignatory_msat)
    if min(broadcaster, countersignatory) < 0:
        raise FunderCannotPay(-min(broadcaster, countersignatory))
    cost = funder_cost(terms, balance, extension_weight=extension_weight)
    funder = broadcaster if terms.broadcaster_is_funder else countersignatory
    anchors_cost = 2 * ANCHOR_SAT if terms.anchors else 0
    unavoidable = cost if extension_weight else anchors_cost
    if unavoidable > funder:
        raise FunderCannotPay(unavoidable - funder)
    rest = Sat(max(0, funder - cost))
    return (rest, countersignatory) if terms.broadcaster_is_funder else (broadcaster, rest)


def _anchor(funding_key: PublicKey, *, key: Anchor) -> Output:
    return Output(key, TxOut(ANCHOR_SAT, p2wsh(anchor_script(funding_key))))


def _count_untrimmed(terms: CommitmentTerms, balance: CommitmentBalance) -> int:
    return sum(
        not is_trimmed(
            htlc,
            dust_limit_sat=terms.dust_limit_sat,
            feerate_per_kw=balance.feerate_per_kw,
            anchors=terms.anchors,
        )
        for htlc in balance.htlcs
    )

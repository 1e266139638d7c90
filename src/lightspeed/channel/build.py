"""From a sheet to the commitment transaction of one side, extensions included."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightspeed.bitcoin import FeeRate, PublicKey
from lightspeed.channel.commitment import build_commitment, funder_cost, obscuring_factor
from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.errors import ChannelRefusal
from lightspeed.channel.extension import ChannelView, CommitmentContext, Extension, Extensions
from lightspeed.channel.graph import Draft, Extender, Frozen, HtlcKey, Modifier
from lightspeed.channel.htlc import HtlcChild, htlc_children, is_trimmed
from lightspeed.channel.keys import CommitmentKeys
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.units import Msat, Sat, msat_to_sat_floor

__all__ = [
    "FEE_SPIKE_MARGIN",
    "NO_MARGIN",
    "BuiltCommitment",
    "FeeMargin",
    "check_funder_pays",
    "commitment_context",
    "commitment_of",
    "commitment_terms",
    "extension_weight",
    "left_to_the_fee",
    "modifiers",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCommitment:
    """A frozen commitment with what is needed to sign and to spend it."""

    context: CommitmentContext
    sheet: Sheet
    terms: CommitmentTerms
    balance: CommitmentBalance
    frozen: Frozen

    def htlc_children(self) -> tuple[HtlcChild, ...]:
        """In output order, as `commitment_signed` carries their signatures."""
        return htlc_children(self.frozen, self.terms, self.balance, self.context.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeMargin:
    """What a funder keeps ready for a rising fee rate (BOLT 2, fee spike buffer)."""

    feerate_factor: int
    more_htlcs: int


FEE_SPIKE_MARGIN = FeeMargin(feerate_factor=2, more_htlcs=1)
NO_MARGIN = FeeMargin(feerate_factor=1, more_htlcs=0)


def commitment_terms(config: ChannelConfig, broadcaster: Side) -> CommitmentTerms:
    """What is the same in all commitments of `broadcaster`."""
    own, other = config.side(broadcaster), config.side(broadcaster.other)
    return CommitmentTerms(
        funding_outpoint=config.funding_outpoint,
        funding_sat=config.funding_sat,
        funding_keys=(own.basepoints.funding, other.basepoints.funding),
        broadcaster_is_funder=config.is_funder(broadcaster),
        obscuring_factor=obscuring_factor(
            opener=config.side(config.funder).basepoints.payment,
            accepter=config.side(config.funder.other).basepoints.payment,
        ),
        dust_limit_sat=own.dust_limit_sat,
        to_self_delay_blocks=other.to_self_delay_blocks,
        anchors=config.anchors,
    )


def commitment_context(
    config: ChannelConfig, *, broadcaster: Side, number: int, point: PublicKey
) -> CommitmentContext:
    """Who broadcasts, which number, and the keys of that commitment."""
    keys = CommitmentKeys.derive(
        point,
        broadcaster=config.side(broadcaster).basepoints,
        countersignatory=config.side(broadcaster.other).basepoints,
    )
    return CommitmentContext(broadcaster=broadcaster, number=number, keys=keys)


def _balance(sheet: Sheet, broadcaster: Side, number: int) -> CommitmentBalance:
    return CommitmentBalance(
        number=number,
        to_broadcaster_msat=sheet.balance_msat(broadcaster),
        to_countersignatory_msat=sheet.balance_msat(broadcaster.other),
        feerate_per_kw=FeeRate(sheet.feerate_per_kw),
        to_broadcaster_tokens=sheet.tokens(broadcaster),
        to_countersignatory_tokens=sheet.tokens(broadcaster.other),
        htlcs=tuple(
            HtlcOutput(
                key=HtlcKey(htlc.offered_by is broadcaster, htlc.add.id),
                amount_msat=htlc.add.amount_msat,
                payment_hash=htlc.add.payment_hash,
                cltv_expiry=htlc.add.cltv_expiry,
            )
            for htlc in sheet.htlcs
        ),
    )


def extension_weight(sheet: Sheet, extensions: Extensions, states: Mapping[str, Any]) -> int:
    """Weight units that all extensions add to a commitment."""
    return sum(
        extension.weight(states[extension.name], sheet.extensions[extension.name])
        for extension in extensions
    )


def check_funder_pays(
    config: ChannelConfig,
    sheet: Sheet,
    broadcaster: Side,
    *,
    extensions: Extensions,
    states: Mapping[str, Any],
    margin: FeeMargin = NO_MARGIN,
    reserve_sat: Sat = Sat(0),
) -> None:
    """Raises `ChannelRefusal` unless the funder's balance covers fee, anchors and reserve."""
    terms = commitment_terms(config, broadcaster)
    feerate = FeeRate(sheet.feerate_per_kw * margin.feerate_factor)
    balance = replace(_balance(sheet, broadcaster, 0), feerate_per_kw=feerate)
    cost = funder_cost(
        terms,
        balance,
        extension_weight=extension_weight(sheet, extensions, states),
        more_untrimmed_htlcs=margin.more_htlcs,
    )
    available = msat_to_sat_floor(sheet.balance_msat(config.funder))
    if available < cost + reserve_sat:
        raise ChannelRefusal(
            f"the funder has {available} sat; fee and reserve need {cost + reserve_sat} sat"
        )


def left_to_the_fee(config: ChannelConfig, sheet: Sheet, broadcaster: Side) -> Msat:
    """HTLCs that the holder offered and that have no output in this commitment."""
    terms = commitment_terms(config, broadcaster)
    balance = _balance(sheet, broadcaster, 0)
    by_broadcaster = broadcaster is Side.HOLDER
    return Msat(
        sum(
            htlc.amount_msat
            for htlc in balance.htlcs
            if htlc.key.offered_by_broadcaster is by_broadcaster
            and is_trimmed(
                htlc,
                dust_limit_sat=terms.dust_limit_sat,
                feerate_per_kw=balance.feerate_per_kw,
                anchors=terms.anchors,
            )
        )
    )


def modifiers(
    view: ChannelView, sheet: Sheet, *, extensions: Extensions, states: Mapping[str, Any]
) -> tuple[Modifier, ...]:
    """What the extensions do to a transaction that spends the funding output, in order."""

    def modifier(extension: Extension[Any, Any]) -> Modifier:
        state, content = states[extension.name], sheet.extensions[extension.name]
        return lambda draft: extension.modify(view, state, content, draft)

    return tuple(modifier(extension) for extension in extensions)


def commitment_of(
    view: ChannelView,
    sheet: Sheet,
    context: CommitmentContext,
    *,
    extensions: Extensions,
    states: Mapping[str, Any],
) -> BuiltCommitment:
    """Constructor, HTLCs, extensions, BIP 69, what extensions change last, freeze."""
    terms = commitment_terms(view.config, context.broadcaster)
    balance = _balance(sheet, context.broadcaster, context.number)

    def extender(extension: Extension[Any, Any]) -> Extender:
        def extend(draft: Draft) -> Draft:
            state, content = states[extension.name], sheet.extensions[extension.name]
            return draft.extended(extension.outputs(view, state, content, context))

        return extend

    frozen = build_commitment(
        terms,
        balance,
        context.keys,
        extension_weight=extension_weight(sheet, extensions, states),
        extenders=[extender(extension) for extension in extensions],
        modifiers=modifiers(view, sheet, extensions=extensions, states=states),
    )
    return BuiltCommitment(
        context=context, sheet=sheet, terms=terms, balance=balance, frozen=frozen
    )

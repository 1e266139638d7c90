"""What colouring does to a transaction that spends the funding outpoint.

docs/protocol.md, "Coloured channels". Commitments and the closing transaction alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import FeeRate
from lightspeed.channel import ChannelRefusal, ChannelView, ChannelViolation, Sheet, Side
from lightspeed.channel.build import FEE_SPIKE_MARGIN, NO_MARGIN
from lightspeed.channel.commitment import ANCHOR_SAT, commitment_fee
from lightspeed.channel.graph import Draft, Output
from lightspeed.channel.weights import output_weight
from lightspeed.rgb import OPRET_PLACEHOLDER, NotColourable, TokenInput, colour
from lightspeed.units import msat_to_sat_floor

__all__ = ["OPRET_WEIGHT", "TokenCommitment", "check_outputs", "coloured_draft"]

OPRET_WEIGHT = output_weight(OPRET_PLACEHOLDER.script)  # = 172


@dataclass(frozen=True, slots=True)
class TokenCommitment:
    """The OP_RETURN at output 0."""


def coloured_draft(draft: Draft, *, contract_id: bytes, inputs: Sequence[TokenInput]) -> Draft:
    """`draft`, which is in BIP 69 order, with one transition of all that the outputs hold.

    The OP_RETURN's value of 0 would put it first in that order anyway. Raises `ChannelRefusal`
    when the outputs hold other than all tokens of the inputs.
    """
    if draft.coloured is not None:
        raise ChannelRefusal("another extension moves tokens in the same transaction")
    widened = replace(draft, outputs=(Output(TokenCommitment(), OPRET_PLACEHOLDER), *draft.outputs))
    try:
        coloured = colour(
            widened.tx,
            contract_id=contract_id,
            inputs=inputs,
            allocations=[
                (vout, output.tokens)
                for vout, output in enumerate(widened.outputs)
                if output.tokens
            ],
        )
    except NotColourable as error:
        raise ChannelRefusal(str(error)) from None
    committed = Output(TokenCommitment(), coloured.tx.outputs[0])
    return replace(widened, outputs=(committed, *draft.outputs), coloured=coloured)


def check_outputs(view: ChannelView, sheet: Sheet, *, extension_weight: int, careful: bool) -> None:
    """Both sides' own outputs stand above dust, on whoever's commitment: an output that is not
    there can hold no tokens. Raises `ChannelViolation`.

    `careful` as if the fee rate had doubled and another HTLC had come.
    """
    config, margin = view.config, FEE_SPIKE_MARGIN if careful else NO_MARGIN
    fee = commitment_fee(
        feerate_per_kw=FeeRate(sheet.feerate_per_kw * margin.feerate_factor),
        untrimmed_htlcs=len(sheet.htlcs) + margin.more_htlcs,
        anchors=config.anchors,
        extension_weight=extension_weight,
    )
    dust_limit = max(config.holder.dust_limit_sat, config.counterparty.dust_limit_sat)
    for side in Side:
        cost = fee + 2 * ANCHOR_SAT if config.is_funder(side) else 0
        amount = msat_to_sat_floor(sheet.balance_msat(side)) - cost
        if amount < dust_limit:
            raise ChannelViolation(
                f"the {side.value}'s own output would be {amount} sat, with tokens in the channel "
                f"it has to be {dust_limit} (an opener can push some)"
            )

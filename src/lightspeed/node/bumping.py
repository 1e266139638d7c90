"""Children that pay for a transaction whose own fee was fixed long before it is published."""

from collections.abc import Sequence

from lightspeed.bitcoin import (
    P2A_SCRIPT,
    TRUC_VERSION,
    FeeRate,
    Tx,
    dust_limit,
    fee_for_weight,
)
from lightspeed.channel import Channel, Spend, sweep_transaction
from lightspeed.channel.graph import Anchor, Frozen
from lightspeed.channel.spends import anchor_spend
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE
from lightspeed.channel.weights import output_weight, transaction_weight, witness_weight
from lightspeed.node.sweeping import fee_paid
from lightspeed.node.wallet import Wallet
from lightspeed.units import Sat

__all__ = ["anchor_handle", "build_child", "p2a_handle"]


def anchor_handle(channel: Channel, frozen: Frozen, anchor: Anchor) -> Spend | None:
    """The holder's anchor of a commitment, if it has one."""
    if not frozen.has(anchor):
        return None
    return anchor_spend(frozen.outpoint(anchor), secrets=channel.signer.secrets)


def p2a_handle(tx: Tx) -> Spend | None:
    """The output of `tx` that anybody may spend to pay for it, if it has one."""
    for vout, output in enumerate(tx.outputs):
        if output.script == P2A_SCRIPT:
            return Spend(
                outpoint=tx.outpoint(vout),
                prevout=output,
                sequence=SEQUENCE_REPLACEABLE,
                witness_weight=witness_weight(),
                sign=lambda digest, index: (),
            )
    return None


async def build_child(
    parent: Tx,
    *,
    parent_fee_sat: Sat,
    handle: Spend,
    wallet: Wallet,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    coins: Sequence[Spend] = (),
) -> tuple[Tx, Sat]:
    """A child by which both together pay the fee rate, and its fee.

    `coins` are the wallet's, used first; more are added as needed. Raises `InsufficientFunds`.
    """
    extra_fee = max(0, fee_for_weight(parent.weight, feerate_per_kw) - parent_fee_sat)
    inputs = [handle, *coins]
    weight = transaction_weight(
        witness_weights=tuple(spend.witness_weight for spend in inputs),
        output_weights=(output_weight(destination_script),),
    )
    needed = extra_fee + fee_for_weight(weight, feerate_per_kw) + dust_limit(destination_script)
    missing = needed + 1 - sum(spend.prevout.value for spend in inputs)
    added: list[Spend] = []
    if missing > 0:
        added = await wallet.fee_spends(Sat(missing), feerate_per_kw=feerate_per_kw)
    inputs += added
    tx = sweep_transaction(
        inputs,
        destination_script=destination_script,
        feerate_per_kw=feerate_per_kw,
        extra_fee_sat=Sat(extra_fee),
        version=TRUC_VERSION if parent.version == TRUC_VERSION else 2,
    )
    return tx, fee_paid(tx, inputs)

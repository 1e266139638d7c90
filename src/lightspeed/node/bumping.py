"""Children that pay for a transaction whose own fee was fixed long before it is published."""

from collections.abc import Sequence
from dataclasses import replace

from lightspeed.bitcoin import (
    TRUC_VERSION,
    FeeRate,
    Tx,
    dust_limit,
    fee_for_weight,
)
from lightspeed.channel import (
    Channel,
    Facts,
    OnChain,
    Spend,
    SpentOnChain,
    Sweep,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.graph import Anchor, Frozen
from lightspeed.channel.spends import anchor_spend
from lightspeed.channel.weights import output_weight, transaction_weight
from lightspeed.node.proofs import Proofs, check_nothing_burns
from lightspeed.node.sweeping import fee_paid
from lightspeed.node.wallet import Wallet
from lightspeed.units import Sat

__all__ = ["anchor_handle", "build_child", "claim_handles"]

_MAX_CLAIM_WEIGHT = 4_000
"""Of a claim that pays for its parent: 1,000 vB. The largest parent has 99,985 of the 101,000 vB
that transactions which depend on each other may have in a mempool together."""


def anchor_handle(channel: Channel, frozen: Frozen, anchor: Anchor) -> Spend | None:
    """The holder's anchor of a commitment, if it has one."""
    if not frozen.has(anchor):
        return None
    return anchor_spend(frozen.outpoint(anchor), secrets=channel.signer.secrets)


def claim_handles(
    channel: Channel, onchain: OnChain, facts: Facts, tx: Tx, *, tip_height: int
) -> tuple[Spend, ...]:
    """What we may take out of `tx` while it is unconfirmed, as if the next block held it.

    A micropayment transaction without a P2A is paid for by claims: nobody else can spend it.
    """
    next_height = tip_height + 1
    spent = SpentOnChain(tx, 0, next_height)
    mined = replace(facts, spends={**facts.spends, tx.inputs[0].outpoint: spent})
    return tuple(
        remedy.spend
        for remedy in remedies(channel, onchain, mined)
        if isinstance(remedy, Sweep)
        and remedy.spend.outpoint.txid == tx.txid
        and remedy.mature_height <= next_height
    )


async def build_child(
    parent: Tx,
    *,
    parent_fee_sat: Sat,
    handles: Sequence[Spend],
    wallet: Wallet,
    proofs: Proofs,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    coins: Sequence[Spend] = (),
) -> tuple[Tx, Sat]:
    """A child by which both together pay the fee rate, and its fee.

    It spends the first of `handles`, outputs of the parent, and of the others as many as it
    takes. `coins` are the wallet's, used before more of them are added. Raises
    `InsufficientFunds`, and `TokensWouldBurn` for a coin with tokens.
    """
    extra_fee = max(0, fee_for_weight(parent.weight, feerate_per_kw) - parent_fee_sat)

    def missing_sat(inputs: Sequence[Spend]) -> int:
        fee = extra_fee + fee_for_weight(_weight(inputs, destination_script), feerate_per_kw)
        there = sum(spend.prevout.value for spend in inputs)
        return fee + dust_limit(destination_script) + 1 - there

    inputs = [handles[0], *coins]
    for handle in handles[1:]:
        if missing_sat(inputs) <= 0 or (
            _weight([*inputs, handle], destination_script) > _MAX_CLAIM_WEIGHT
        ):
            break
        inputs.append(handle)
    missing = missing_sat(inputs)
    added: list[Spend] = []
    if missing > 0:
        added = await wallet.fee_spends(Sat(missing), feerate_per_kw=feerate_per_kw)
    inputs += added
    try:
        check_nothing_burns([*coins, *added], proofs)
        tx = sweep_transaction(
            inputs,
            destination_script=destination_script,
            feerate_per_kw=feerate_per_kw,
            extra_fee_sat=Sat(extra_fee),
            version=TRUC_VERSION if parent.version == TRUC_VERSION else 2,
        )
    except BaseException:
        wallet.release_coins(coin.outpoint for coin in added)
        raise
    return tx, fee_paid(tx, inputs)


def _weight(inputs: Sequence[Spend], destination_script: bytes) -> int:
    return transaction_weight(
        witness_weights=tuple(spend.witness_weight for spend in inputs),
        output_weights=(output_weight(destination_script),),
    )

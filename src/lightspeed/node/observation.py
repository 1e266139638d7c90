"""What the chain shows of a channel's end: every spend that remedies depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightspeed.bitcoin import OutPoint, Tx, TxOut, sha256
from lightspeed.chain import Chain
from lightspeed.chain import Spend as ChainSpend
from lightspeed.channel import SpentOnChain
from lightspeed.channel.build import BuiltCommitment
from lightspeed.channel.graph import (
    Anchor,
    Frozen,
    HtlcKey,
    ToBroadcaster,
    ToCountersignatory,
)
from lightspeed.units import Sat

__all__ = ["Observation", "observe"]

_PREIMAGE_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A closing channel's outputs, and the spends of them that the chain shows now."""

    outputs: Mapping[OutPoint, TxOut]
    """Of the commitment but the other side's anchor, and of what spends those."""
    spends: Mapping[OutPoint, ChainSpend]
    """Confirmed, and in the mempool."""

    def confirmed(self) -> dict[OutPoint, SpentOnChain]:
        return {
            outpoint: SpentOnChain(spend.tx, spend.input_index, spend.confirmed.height)
            for outpoint, spend in self.spends.items()
            if spend.confirmed is not None
        }

    def fee_sat(self, tx: Tx) -> Sat | None:
        """None when it spends something else too."""
        values = [self.outputs.get(txin.outpoint) for txin in tx.inputs]
        known = [output.value for output in values if output is not None]
        if len(known) < len(values):
            return None
        return Sat(sum(known) - sum(output.value for output in tx.outputs))

    def preimages(self, commitment: BuiltCommitment) -> dict[bytes, bytes]:
        """Payment hash -> preimage, from the witnesses that spend HTLC outputs."""
        found = {}
        for child in commitment.htlc_children():
            spend = self.spends.get(commitment.frozen.outpoint(child.key))
            for item in spend.tx.inputs[spend.input_index].witness if spend else ():
                if len(item) == _PREIMAGE_SIZE and sha256(item) == child.htlc.payment_hash:
                    found[child.htlc.payment_hash] = item
        return found


async def observe(
    chain: Chain,
    tx: Tx,
    *,
    frozen: Frozen | None,
    holder_anchor: Anchor,
    destination_script: bytes,
) -> Observation:
    """The spends of `tx`'s outputs, and of what they became that is still the channel's.

    That is the output which an HTLC transaction made of an HTLC, and all outputs of a
    transaction that spends an extension's output. Not what went to `destination_script`, and
    not what either side's balance became: that is the wallets' concern. `frozen` is None for a
    commitment that we cannot rebuild.
    """
    outputs: dict[OutPoint, TxOut] = {}
    spends: dict[OutPoint, ChainSpend] = {}

    async def look(parent: Tx, vouts: Sequence[int]) -> None:
        kept = [n for n in vouts if parent.outputs[n].script != destination_script]
        if not kept:
            return
        found = await chain.outspends(parent.txid)
        for vout in kept:
            outpoint = parent.outpoint(vout)
            outputs[outpoint] = parent.outputs[vout]
            spend = found[vout] if vout < len(found) else None
            if spend is not None:
                spends[outpoint] = spend

    def is_foreign_anchor(vout: int) -> bool:
        key = frozen.outputs[vout].key if frozen else None
        return isinstance(key, Anchor) and key != holder_anchor

    await look(tx, [vout for vout in range(len(tx.outputs)) if not is_foreign_anchor(vout)])
    children: dict[bytes, tuple[Tx, set[int]]] = {}
    for outpoint, spend in spends.items():
        _, vouts = children.setdefault(spend.txid, (spend.tx, set()))
        vouts |= _channel_outputs(frozen, outpoint, spend)
    for child, vouts in children.values():
        await look(child, sorted(vouts))
    return Observation(outputs=outputs, spends=spends)


def _channel_outputs(frozen: Frozen | None, outpoint: OutPoint, spend: ChainSpend) -> set[int]:
    """Which outputs of the spending transaction belong to the channel still."""
    if frozen is None:
        return set()
    everything = range(len(spend.tx.outputs))
    match frozen.outputs[outpoint.vout].key:
        case HtlcKey():
            return {spend.input_index} & set(everything)
        case ToBroadcaster() | ToCountersignatory() | Anchor():
            return set()
        case _:
            return set(everything)

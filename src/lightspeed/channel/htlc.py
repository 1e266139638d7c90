"""HTLCs in a commitment: their outputs, and the transactions of the second stage.

BOLT 3, "HTLC Outputs", "Trimmed Outputs", "HTLC-Timeout and HTLC-Success Transactions".
"""

from dataclasses import dataclass

from lightspeed.bitcoin import (
    SIGHASH_ALL,
    SIGHASH_ANYONECANPAY,
    SIGHASH_SINGLE,
    FeeRate,
    PublicKey,
    Tx,
    TxIn,
    TxOut,
    fee_for_weight,
    p2wsh,
    segwit_v0_sighash,
    sha256,
)
from lightspeed.channel.funding import ecdsa_item
from lightspeed.channel.graph import Draft, Extender, Frozen, HtlcKey, Output
from lightspeed.channel.keys import CommitmentKeys
from lightspeed.channel.scripts import (
    offered_htlc_script,
    received_htlc_script,
    to_local_script,
)
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.channel.weights import htlc_success_weight, htlc_timeout_weight
from lightspeed.errors import LocalError
from lightspeed.units import Sat, msat_to_sat_floor

__all__ = [
    "HtlcChild",
    "WrongPreimage",
    "check_preimage",
    "htlc_children",
    "htlc_extender",
    "htlc_fee",
    "htlc_script",
    "is_trimmed",
]

_VERSION = 2


class WrongPreimage(LocalError, ValueError):
    """Claiming an HTLC needs the preimage of its own payment hash."""


def check_preimage(preimage: bytes | None, payment_hash: bytes) -> bytes:
    """The preimage, if it is the right one; raises `WrongPreimage`."""
    if preimage is None or sha256(preimage) != payment_hash:
        raise WrongPreimage("not the preimage of the payment hash")
    return preimage


def htlc_fee(key: HtlcKey, *, feerate_per_kw: FeeRate, anchors: bool) -> Sat:
    """Fee of the second stage: 0 with anchors (zero-fee HTLC transactions)."""
    if anchors:
        return Sat(0)
    weigh = htlc_timeout_weight if key.offered_by_broadcaster else htlc_success_weight
    return fee_for_weight(weigh(anchors=anchors), feerate_per_kw)


def is_trimmed(
    htlc: HtlcOutput, *, dust_limit_sat: Sat, feerate_per_kw: FeeRate, anchors: bool
) -> bool:
    """True if the second stage would leave less than the broadcaster's dust limit."""
    fee = htlc_fee(htlc.key, feerate_per_kw=feerate_per_kw, anchors=anchors)
    return msat_to_sat_floor(htlc.amount_msat) < dust_limit_sat + fee


def htlc_script(htlc: HtlcOutput, keys: CommitmentKeys, *, anchors: bool) -> bytes:
    """The witness script of the HTLC's output."""
    if htlc.key.offered_by_broadcaster:
        return offered_htlc_script(
            revocation=keys.revocation,
            broadcaster_htlc=keys.broadcaster_htlc,
            countersignatory_htlc=keys.countersignatory_htlc,
            payment_hash=htlc.payment_hash,
            anchors=anchors,
        )
    return received_htlc_script(
        revocation=keys.revocation,
        broadcaster_htlc=keys.broadcaster_htlc,
        countersignatory_htlc=keys.countersignatory_htlc,
        payment_hash=htlc.payment_hash,
        cltv_expiry=htlc.cltv_expiry,
        anchors=anchors,
    )


def htlc_extender(
    terms: CommitmentTerms, balance: CommitmentBalance, keys: CommitmentKeys
) -> Extender:
    """Adds an output for each HTLC that is not trimmed."""

    def extend(draft: Draft) -> Draft:
        return draft.extended(
            Output(
                htlc.key,
                TxOut(
                    msat_to_sat_floor(htlc.amount_msat),
                    p2wsh(htlc_script(htlc, keys, anchors=terms.anchors)),
                ),
                htlc.cltv_expiry,
            )
            for htlc in balance.htlcs
            if not is_trimmed(
                htlc,
                dust_limit_sat=terms.dust_limit_sat,
                feerate_per_kw=balance.feerate_per_kw,
                anchors=terms.anchors,
            )
        )

    return extend


@dataclass(frozen=True, slots=True)
class HtlcChild:
    """An HTLC-timeout (offered by the broadcaster) or HTLC-success transaction, unsigned.

    With anchors it pays no fee: the broadcaster adds inputs and outputs behind the first ones,
    which the countersignatory's signature does not cover.
    """

    htlc: HtlcOutput
    tx: Tx
    prevout: TxOut
    witness_script: bytes
    output_script: bytes
    broadcaster_htlc: PublicKey
    countersignatory_htlc: PublicKey
    anchors: bool

    @property
    def key(self) -> HtlcKey:
        return self.htlc.key

    @property
    def prevouts(self) -> tuple[TxOut, ...]:
        return (self.prevout,)

    @property
    def countersignatory_hash_type(self) -> int:
        return SIGHASH_SINGLE | SIGHASH_ANYONECANPAY if self.anchors else SIGHASH_ALL

    def countersignatory_digest(self) -> bytes:
        return self._digest(self.countersignatory_hash_type)

    def broadcaster_digest(self) -> bytes:
        """Of the transaction as it is: not after inputs have been added."""
        return self._digest(SIGHASH_ALL)

    def verify(self, signature: bytes) -> None:
        """Raises `BadSignature` unless it is the countersignatory's (64 bytes)."""
        self.countersignatory_htlc.verify_ecdsa(signature, self.countersignatory_digest())

    def witness(
        self,
        *,
        countersignatory_signature: bytes,
        broadcaster_signature: bytes,
        preimage: bytes | None = None,
    ) -> tuple[bytes, ...]:
        """From compact signatures; HTLC-success needs the preimage, else `WrongPreimage`."""
        timeout = self.key.offered_by_broadcaster
        return (
            b"",
            ecdsa_item(countersignatory_signature, self.countersignatory_hash_type),
            ecdsa_item(broadcaster_signature),
            b"" if timeout else check_preimage(preimage, self.htlc.payment_hash),
            self.witness_script,
        )

    def _digest(self, hash_type: int) -> bytes:
        return segwit_v0_sighash(
            self.tx,
            0,
            script_code=self.witness_script,
            value=self.prevout.value,
            hash_type=hash_type,
        )


def htlc_children(
    frozen: Frozen, terms: CommitmentTerms, balance: CommitmentBalance, keys: CommitmentKeys
) -> tuple[HtlcChild, ...]:
    """The second stage of each HTLC output, in output order: that of BOLT 2's signatures."""
    by_key = {htlc.key: htlc for htlc in balance.htlcs}
    return tuple(
        _htlc_child(frozen, terms, keys, htlc=by_key[output.key], feerate=balance.feerate_per_kw)
        for output in frozen.outputs
        if isinstance(output.key, HtlcKey)
    )


def _htlc_child(
    frozen: Frozen,
    terms: CommitmentTerms,
    keys: CommitmentKeys,
    *,
    htlc: HtlcOutput,
    feerate: FeeRate,
) -> HtlcChild:
    output_script = to_local_script(
        revocation=keys.revocation,
        delayed=keys.broadcaster_delayed,
        to_self_delay_blocks=terms.to_self_delay_blocks,
    )
    fee = htlc_fee(htlc.key, feerate_per_kw=feerate, anchors=terms.anchors)
    prevout = frozen.output(htlc.key)
    tx = Tx(
        version=_VERSION,
        inputs=(TxIn(frozen.outpoint(htlc.key), sequence=1 if terms.anchors else 0),),
        outputs=(TxOut(Sat(prevout.value - fee), p2wsh(output_script)),),
        locktime=htlc.cltv_expiry if htlc.key.offered_by_broadcaster else 0,
    )
    return HtlcChild(
        htlc=htlc,
        tx=tx,
        prevout=prevout,
        witness_script=htlc_script(htlc, keys, anchors=terms.anchors),
        output_script=output_script,
        broadcaster_htlc=keys.broadcaster_htlc,
        countersignatory_htlc=keys.countersignatory_htlc,
        anchors=terms.anchors,
    )

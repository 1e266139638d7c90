"""How the outputs of a BOLT commitment are spent once it is on chain.

BOLT 3 for the scripts and witnesses; BOLT 5, "Unilateral Close Handling" and "Revoked
Transaction Close Handling", for who takes what.
"""

from lightspeed.bitcoin import (
    OutPoint,
    PrivateKey,
    Tx,
    TxDigest,
    TxOut,
    p2pkh,
    p2wpkh,
    p2wsh,
)
from lightspeed.channel.commitment import ANCHOR_SAT
from lightspeed.channel.funding import ecdsa_item
from lightspeed.channel.htlc import HtlcChild, check_preimage, htlc_script
from lightspeed.channel.keys import (
    ChannelSecrets,
    CommitmentKeys,
    derive_private_key,
    derive_revocation_private_key,
)
from lightspeed.channel.scripts import anchor_script, to_local_script, to_remote_script
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE, Spend
from lightspeed.channel.terms import HtlcOutput
from lightspeed.channel.weights import ECDSA_SIGNATURE_SIZE, witness_weight
from lightspeed.units import Sat, msat_to_sat_floor

__all__ = [
    "anchor_spend",
    "delayed_spend",
    "p2wpkh_spend",
    "preimage_spend",
    "revoked_delayed_spend",
    "revoked_htlc_spend",
    "second_stage_spend",
    "second_stage_transaction",
    "timeout_spend",
    "to_remote_spend",
]

_REVOKED = b"\x01"  # chooses OP_IF; minimal, as policy wants
_NOT_REVOKED = b""
_ONE_BLOCK = 1  # relative locktime of what the countersignatory takes, with anchors


def delayed_spend(
    outpoint: OutPoint,
    value_sat: Sat,
    *,
    keys: CommitmentKeys,
    to_self_delay_blocks: int,
    secrets: ChannelSecrets,
) -> Spend:
    """The broadcaster takes its `to_local`, or the output of an HTLC transaction of its own."""
    return _p2wsh_spend(
        outpoint,
        value_sat,
        script=_delayed_script(keys, to_self_delay_blocks),
        secret=derive_private_key(secrets.delayed_payment, keys.per_commitment_point),
        items=(_NOT_REVOKED,),
        sequence=to_self_delay_blocks,
    )


def revoked_delayed_spend(
    outpoint: OutPoint,
    value_sat: Sat,
    *,
    keys: CommitmentKeys,
    to_self_delay_blocks: int,
    secrets: ChannelSecrets,
    per_commitment_secret: bytes,
) -> Spend:
    """The countersignatory takes a revoked `to_local`, or what an HTLC transaction made of it.

    `secrets` are the countersignatory's, the per-commitment secret is the broadcaster's.
    """
    return _p2wsh_spend(
        outpoint,
        value_sat,
        script=_delayed_script(keys, to_self_delay_blocks),
        secret=_revocation_secret(secrets, per_commitment_secret),
        items=(_REVOKED,),
    )


def revoked_htlc_spend(
    outpoint: OutPoint,
    htlc: HtlcOutput,
    *,
    keys: CommitmentKeys,
    anchors: bool,
    secrets: ChannelSecrets,
    per_commitment_secret: bytes,
) -> Spend:
    """The countersignatory takes an HTLC output of a revoked commitment, of either direction."""
    return _p2wsh_spend(
        outpoint,
        msat_to_sat_floor(htlc.amount_msat),
        script=htlc_script(htlc, keys, anchors=anchors),
        secret=_revocation_secret(secrets, per_commitment_secret),
        items=(keys.revocation.data,),
    )


def to_remote_spend(
    outpoint: OutPoint, value_sat: Sat, *, anchors: bool, secrets: ChannelSecrets
) -> Spend:
    """The countersignatory takes its `to_remote`; with anchors one block later."""
    if not anchors:
        return p2wpkh_spend(outpoint, value_sat, secret=secrets.payment)
    return _p2wsh_spend(
        outpoint,
        value_sat,
        script=to_remote_script(secrets.payment.public),
        secret=secrets.payment,
        sequence=_ONE_BLOCK,
    )


def anchor_spend(outpoint: OutPoint, *, secrets: ChannelSecrets) -> Spend:
    """The input by which a child pays for its unconfirmed commitment transaction."""
    return _p2wsh_spend(
        outpoint,
        ANCHOR_SAT,
        script=anchor_script(secrets.funding.public),
        secret=secrets.funding,
    )


def preimage_spend(
    outpoint: OutPoint,
    htlc: HtlcOutput,
    *,
    keys: CommitmentKeys,
    anchors: bool,
    secrets: ChannelSecrets,
    preimage: bytes,
) -> Spend:
    """The countersignatory claims an HTLC that the broadcaster offered.

    Raises `WrongPreimage`.
    """
    return _p2wsh_spend(
        outpoint,
        msat_to_sat_floor(htlc.amount_msat),
        script=htlc_script(htlc, keys, anchors=anchors),
        secret=derive_private_key(secrets.htlc, keys.per_commitment_point),
        items=(check_preimage(preimage, htlc.payment_hash),),
        sequence=_ONE_BLOCK if anchors else SEQUENCE_REPLACEABLE,
    )


def timeout_spend(
    outpoint: OutPoint,
    htlc: HtlcOutput,
    *,
    keys: CommitmentKeys,
    anchors: bool,
    secrets: ChannelSecrets,
) -> Spend:
    """The countersignatory takes back an HTLC that it offered, after its expiry."""
    return _p2wsh_spend(
        outpoint,
        msat_to_sat_floor(htlc.amount_msat),
        script=htlc_script(htlc, keys, anchors=anchors),
        secret=derive_private_key(secrets.htlc, keys.per_commitment_point),
        items=(b"",),
        sequence=_ONE_BLOCK if anchors else SEQUENCE_REPLACEABLE,
        locktime=htlc.cltv_expiry,
    )


def second_stage_spend(
    child: HtlcChild,
    *,
    countersignatory_signature: bytes,
    keys: CommitmentKeys,
    secrets: ChannelSecrets,
    preimage: bytes | None = None,
) -> Spend:
    """The broadcaster's HTLC transaction with anchors, as an input that fee inputs join.

    The countersignatory signed its output with it. HTLC-success needs the preimage, else
    `WrongPreimage`.
    """
    if not child.key.offered_by_broadcaster:
        check_preimage(preimage, child.htlc.payment_hash)
    secret = derive_private_key(secrets.htlc, keys.per_commitment_point)

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        signed = digest.segwit_v0(
            index, script_code=child.witness_script, value=child.prevout.value
        )
        return child.witness(
            countersignatory_signature=countersignatory_signature,
            broadcaster_signature=secret.sign_ecdsa(signed),
            preimage=preimage,
        )

    return Spend(
        outpoint=child.tx.inputs[0].outpoint,
        prevout=child.prevout,
        sequence=child.tx.inputs[0].sequence,
        locktime=child.tx.locktime,
        witness_weight=witness_weight(
            0,
            ECDSA_SIGNATURE_SIZE,
            ECDSA_SIGNATURE_SIZE,
            0 if child.key.offered_by_broadcaster else 32,
            len(child.witness_script),
        ),
        sign=sign,
        paired_output=child.tx.outputs[0],
    )


def second_stage_transaction(
    child: HtlcChild,
    *,
    countersignatory_signature: bytes,
    keys: CommitmentKeys,
    secrets: ChannelSecrets,
    preimage: bytes | None = None,
) -> Tx:
    """The broadcaster's HTLC transaction without anchors: it pays its fee, and nothing joins it.

    HTLC-success needs the preimage, else `WrongPreimage`.
    """
    secret = derive_private_key(secrets.htlc, keys.per_commitment_point)
    witness = child.witness(
        countersignatory_signature=countersignatory_signature,
        broadcaster_signature=secret.sign_ecdsa(child.broadcaster_digest()),
        preimage=preimage,
    )
    return child.tx.with_witness(0, witness)


def p2wpkh_spend(outpoint: OutPoint, value_sat: Sat, *, secret: PrivateKey) -> Spend:
    """`to_remote` without anchors, or a wallet's output that pays fees."""
    prevout = TxOut(value_sat, p2wpkh(secret.public.data))

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        code = p2pkh(secret.public.hash160)
        signed = digest.segwit_v0(index, script_code=code, value=value_sat)
        return ecdsa_item(secret.sign_ecdsa(signed)), secret.public.data

    return Spend(
        outpoint=outpoint,
        prevout=prevout,
        sequence=SEQUENCE_REPLACEABLE,
        witness_weight=witness_weight(ECDSA_SIGNATURE_SIZE, 33),
        sign=sign,
    )


def _p2wsh_spend(
    outpoint: OutPoint,
    value_sat: Sat,
    *,
    script: bytes,
    secret: PrivateKey,
    items: tuple[bytes, ...] = (),
    sequence: int = SEQUENCE_REPLACEABLE,
    locktime: int = 0,
) -> Spend:
    """One signature, then `items`, then the witness script."""

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        signed = digest.segwit_v0(index, script_code=script, value=value_sat)
        return (ecdsa_item(secret.sign_ecdsa(signed)), *items, script)

    sizes = (ECDSA_SIGNATURE_SIZE, *(len(item) for item in items), len(script))
    return Spend(
        outpoint=outpoint,
        prevout=TxOut(value_sat, p2wsh(script)),
        sequence=sequence,
        locktime=locktime,
        witness_weight=witness_weight(*sizes),
        sign=sign,
    )


def _delayed_script(keys: CommitmentKeys, to_self_delay_blocks: int) -> bytes:
    return to_local_script(
        revocation=keys.revocation,
        delayed=keys.broadcaster_delayed,
        to_self_delay_blocks=to_self_delay_blocks,
    )


def _revocation_secret(secrets: ChannelSecrets, per_commitment_secret: bytes) -> PrivateKey:
    return derive_revocation_private_key(secrets.revocation, PrivateKey(per_commitment_secret))

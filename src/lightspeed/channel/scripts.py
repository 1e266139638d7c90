"""The scripts of BOLT 3, as witness scripts; `p2wsh` of them is what outputs pay to."""

from lightspeed.bitcoin import Op, PublicKey, hash160, p2wpkh, p2wsh, ripemd160, script

__all__ = [
    "ANCHOR_CSV_BLOCKS",
    "anchor_script",
    "funding_output_script",
    "funding_script",
    "offered_htlc_script",
    "received_htlc_script",
    "to_local_script",
    "to_remote_output_script",
    "to_remote_script",
]

ANCHOR_CSV_BLOCKS = 16  # after them anybody may sweep an anchor
_ONE_BLOCK = (1, Op.OP_CHECKSEQUENCEVERIFY, Op.OP_DROP)


def funding_script(key1: PublicKey, key2: PublicKey) -> bytes:
    """BOLT 3, "Funding Transaction Output": the keys are sorted, so their order is free."""
    first, second = sorted((key1.data, key2.data))
    return script(2, first, second, 2, Op.OP_CHECKMULTISIG)


def funding_output_script(key1: PublicKey, key2: PublicKey) -> bytes:
    """The scriptPubKey of the funding output."""
    return p2wsh(funding_script(key1, key2))


def to_local_script(
    *, revocation: PublicKey, delayed: PublicKey, to_self_delay_blocks: int
) -> bytes:
    """BOLT 3, "`to_local` Output"; outputs of HTLC transactions have the same script."""
    return script(
        Op.OP_IF,
        revocation.data,
        Op.OP_ELSE,
        to_self_delay_blocks,
        Op.OP_CHECKSEQUENCEVERIFY,
        Op.OP_DROP,
        delayed.data,
        Op.OP_ENDIF,
        Op.OP_CHECKSIG,
    )


def to_remote_script(payment: PublicKey) -> bytes:
    """BOLT 3, "`to_remote` Output", with anchors: spendable after one block."""
    return script(payment.data, Op.OP_CHECKSIGVERIFY, 1, Op.OP_CHECKSEQUENCEVERIFY)


def to_remote_output_script(payment: PublicKey, *, anchors: bool) -> bytes:
    """The scriptPubKey of the `to_remote` output: P2WSH with anchors, else P2WPKH."""
    return p2wsh(to_remote_script(payment)) if anchors else p2wpkh(payment.data)


def anchor_script(funding: PublicKey) -> bytes:
    """BOLT 3, "`to_local_anchor` and `to_remote_anchor` Output"."""
    return script(
        funding.data,
        Op.OP_CHECKSIG,
        Op.OP_IFDUP,
        Op.OP_NOTIF,
        ANCHOR_CSV_BLOCKS,
        Op.OP_CHECKSEQUENCEVERIFY,
        Op.OP_ENDIF,
    )


def offered_htlc_script(
    *,
    revocation: PublicKey,
    broadcaster_htlc: PublicKey,
    countersignatory_htlc: PublicKey,
    payment_hash: bytes,
    anchors: bool,
) -> bytes:
    """BOLT 3, "Offered HTLC Outputs": offered by the broadcaster."""
    return script(
        *_revocation_or_countersignatory(revocation, countersignatory_htlc),
        Op.OP_NOTIF,
        # The broadcaster takes it back through the HTLC-timeout transaction.
        Op.OP_DROP,
        2,
        Op.OP_SWAP,
        broadcaster_htlc.data,
        2,
        Op.OP_CHECKMULTISIG,
        Op.OP_ELSE,
        # The countersignatory claims it with the preimage.
        Op.OP_HASH160,
        ripemd160(payment_hash),
        Op.OP_EQUALVERIFY,
        Op.OP_CHECKSIG,
        Op.OP_ENDIF,
        *(_ONE_BLOCK if anchors else ()),
        Op.OP_ENDIF,
    )


def received_htlc_script(
    *,
    revocation: PublicKey,
    broadcaster_htlc: PublicKey,
    countersignatory_htlc: PublicKey,
    payment_hash: bytes,
    cltv_expiry: int,
    anchors: bool,
) -> bytes:
    """BOLT 3, "Received HTLC Outputs": offered by the countersignatory."""
    return script(
        *_revocation_or_countersignatory(revocation, countersignatory_htlc),
        Op.OP_IF,
        # The broadcaster claims it through the HTLC-success transaction.
        Op.OP_HASH160,
        ripemd160(payment_hash),
        Op.OP_EQUALVERIFY,
        2,
        Op.OP_SWAP,
        broadcaster_htlc.data,
        2,
        Op.OP_CHECKMULTISIG,
        Op.OP_ELSE,
        # The countersignatory takes it back after the expiry.
        Op.OP_DROP,
        cltv_expiry,
        Op.OP_CHECKLOCKTIMEVERIFY,
        Op.OP_DROP,
        Op.OP_CHECKSIG,
        Op.OP_ENDIF,
        *(_ONE_BLOCK if anchors else ()),
        Op.OP_ENDIF,
    )


def _revocation_or_countersignatory(
    revocation: PublicKey, countersignatory_htlc: PublicKey
) -> tuple[int | bytes, ...]:
    """The revocation branch; behind it the stack says if a preimage (32 bytes) was given."""
    return (
        Op.OP_DUP,
        Op.OP_HASH160,
        hash160(revocation.data),
        Op.OP_EQUAL,
        Op.OP_IF,
        Op.OP_CHECKSIG,
        Op.OP_ELSE,
        countersignatory_htlc.data,
        Op.OP_SWAP,
        Op.OP_SIZE,
        32,
        Op.OP_EQUAL,
    )

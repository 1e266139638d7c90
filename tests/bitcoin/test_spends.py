"""Spends built with this package are judged by Bitcoin's consensus code."""

import pytest

from judge import refuses_spend, verify_all_spends, verify_spend
from lightspeed.bitcoin import (
    NUMS_H,
    P2A_SCRIPT,
    SIGHASH_ALL,
    Op,
    OutPoint,
    PrivateKey,
    TaprootOutput,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    balanced_tree,
    p2pkh,
    p2wpkh,
    p2wsh,
    script,
    segwit_v0_sighash,
    sha256,
)
from lightspeed.units import Sat

ALICE, BOB = PrivateKey(b"\x0a" * 32), PrivateKey(b"\x0b" * 32)
SECRET = b"\x5e" * 32
DELAY_BLOCKS = 144
VALUE = Sat(100_000)


def spending(*prevouts: TxOut, sequence: int = 0xFFFFFFFF, version: int = 2) -> Tx:
    inputs = tuple(
        TxIn(OutPoint(bytes([n]) * 32, n), sequence=sequence) for n in range(len(prevouts))
    )
    value = Sat(sum(prevout.value for prevout in prevouts) - 500)
    return Tx(version, inputs, (TxOut(value, p2wpkh(ALICE.public.data)),))


def funding_script() -> bytes:
    first, second = sorted((ALICE.public.data, BOB.public.data))
    return script(2, first, second, 2, Op.OP_CHECKMULTISIG)


def test_p2wsh_two_of_two_needs_both_signatures_in_key_order() -> None:
    code = funding_script()
    prevout = TxOut(VALUE, p2wsh(code))
    tx = spending(prevout)
    digest = segwit_v0_sighash(tx, 0, script_code=code, value=VALUE)
    first, second = sorted((ALICE, BOB), key=lambda key: key.public.data)
    signatures = [key.sign_ecdsa_der(digest) + bytes([SIGHASH_ALL]) for key in (first, second)]

    verify_all_spends(tx.with_witness(0, [b"", *signatures, code]), [prevout])
    refuses_spend(tx.with_witness(0, [b"", *reversed(signatures), code]), 0, [prevout])
    refuses_spend(tx.with_witness(0, [b"", signatures[0], signatures[0], code]), 0, [prevout])
    refuses_spend(tx.with_witness(0, [b"", signatures[0], b"", code]), 0, [prevout])
    refuses_spend(
        tx.with_witness(0, [b"", *signatures, code]), 0, [TxOut(Sat(VALUE + 1), prevout.script)]
    )


def test_p2wpkh_needs_its_key() -> None:
    prevout = TxOut(VALUE, p2wpkh(ALICE.public.data))
    tx = spending(prevout)
    for key, judge in ((ALICE, verify_spend), (BOB, refuses_spend)):
        digest = segwit_v0_sighash(tx, 0, script_code=p2pkh(ALICE.public.hash160), value=VALUE)
        signature = key.sign_ecdsa_der(digest) + bytes([SIGHASH_ALL])
        judge(tx.with_witness(0, [signature, ALICE.public.data]), 0, [prevout])


@pytest.mark.parametrize("hash_type", [0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83])
def test_taproot_key_path_with_every_hash_type(hash_type: int) -> None:
    output = TaprootOutput(ALICE.x_only, balanced_tree([b"\x51", b"\x52"]))
    prevouts = [TxOut(VALUE, output.script), TxOut(VALUE, p2wpkh(BOB.public.data))]
    tx = spending(*prevouts)
    digest = TxDigest(tx, prevouts).taproot(0, hash_type=hash_type)
    suffix = bytes([hash_type] if hash_type else [])
    signature = output.tweak_secret(ALICE).sign_schnorr(digest) + suffix
    verify_spend(tx.with_witness(0, [signature]), 0, prevouts)
    refuses_spend(tx.with_witness(0, [ALICE.sign_schnorr(digest) + suffix]), 0, prevouts)


def hash_lock_leaf(delay_blocks: int = DELAY_BLOCKS) -> bytes:
    return script(
        Op.OP_SIZE,
        32,
        Op.OP_EQUALVERIFY,
        Op.OP_SHA256,
        sha256(SECRET),
        Op.OP_EQUALVERIFY,
        ALICE.x_only,
        Op.OP_CHECKSIGVERIFY,
        BOB.x_only,
        Op.OP_CHECKSIGVERIFY,
        delay_blocks,
        Op.OP_CHECKSEQUENCEVERIFY,
    )


def witness_of_hash_lock(
    output: TaprootOutput, tx: Tx, prevout: TxOut, *, secret: bytes = SECRET
) -> list[bytes]:
    digest = TxDigest(tx, [prevout]).taproot(0, leaf_hash=output.leaf_hash(0))
    stack = (BOB.sign_schnorr(digest), ALICE.sign_schnorr(digest), secret)
    return list(output.script_path(0, *stack))


@pytest.mark.parametrize("delay_blocks", [1, 6, 16, 17, 127, 128, 144, 65_535])
def test_taproot_leaf_with_hash_lock_two_signatures_and_delay(delay_blocks: int) -> None:
    leaf = hash_lock_leaf(delay_blocks)
    output = TaprootOutput(NUMS_H, balanced_tree([leaf, b"\x51", b"\x52"]))
    prevout = TxOut(VALUE, output.script)
    tx = spending(prevout, sequence=delay_blocks)
    verify_all_spends(tx.with_witness(0, witness_of_hash_lock(output, tx, prevout)), [prevout])

    early = spending(prevout, sequence=delay_blocks - 1)
    refuses_spend(early.with_witness(0, witness_of_hash_lock(output, early, prevout)), 0, [prevout])
    old = spending(prevout, sequence=delay_blocks, version=1)
    refuses_spend(old.with_witness(0, witness_of_hash_lock(output, old, prevout)), 0, [prevout])


def test_taproot_leaf_refuses_wrong_secrets_signatures_and_proofs() -> None:
    output = TaprootOutput(NUMS_H, balanced_tree([hash_lock_leaf(), b"\x51", b"\x52"]))
    prevout = TxOut(VALUE, output.script)
    tx = spending(prevout, sequence=DELAY_BLOCKS)
    good = witness_of_hash_lock(output, tx, prevout)
    verify_spend(tx.with_witness(0, good), 0, [prevout])
    bob, alice, secret, leaf, block = good
    for wrong in (
        [bob, alice, b"\x5f" * 32, leaf, block],
        [bob, alice, SECRET + b"\x00", leaf, block],
        [alice, bob, secret, leaf, block],
        [bob, b"", secret, leaf, block],
        [bob, alice, secret, leaf, output.control_block(1)],
        [bob, alice, secret, leaf, bytes([block[0] ^ 1]) + block[1:]],
        [bob, alice, secret, hash_lock_leaf(1), block],
    ):
        refuses_spend(tx.with_witness(0, wrong), 0, [prevout])


def test_every_leaf_of_a_large_tree_can_be_spent() -> None:
    scripts = [script(n, Op.OP_DROP, ALICE.x_only, Op.OP_CHECKSIG) for n in range(1_001)]
    output = TaprootOutput(NUMS_H, balanced_tree(scripts))
    prevout = TxOut(VALUE, output.script)
    tx = spending(prevout)
    digest = TxDigest(tx, [prevout])
    for index in (0, 1, 511, 512, 999, 1_000):
        signature = ALICE.sign_schnorr(digest.taproot(0, leaf_hash=output.leaf_hash(index)))
        verify_spend(tx.with_witness(0, output.script_path(index, signature)), 0, [prevout])
        other = output.script_path((index + 1) % 1_001, signature)
        refuses_spend(tx.with_witness(0, other), 0, [prevout])


def test_anyone_spends_an_anchor_with_an_empty_witness() -> None:
    verify_spend(spending(TxOut(VALUE, P2A_SCRIPT)), 0, [TxOut(VALUE, P2A_SCRIPT)])


def test_judge_refuses_outputs_that_exceed_inputs() -> None:
    prevout = TxOut(Sat(10), P2A_SCRIPT)
    tx = Tx(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(Sat(11), P2A_SCRIPT),))
    verify_spend(tx, 0, [prevout])
    with pytest.raises(AssertionError):
        verify_all_spends(tx, [prevout])

"""Taproot outputs are those of BIP 341, and trees have the form that the design fixes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    NUMS_H,
    Branch,
    InvalidKey,
    Leaf,
    Network,
    PrivateKey,
    PublicKey,
    ScriptError,
    TaprootOutput,
    TapTree,
    Tx,
    TxDigest,
    TxOut,
    address_of_script,
    balanced_tree,
    sha256,
    tap_branch_hash,
    tap_leaf_hash,
    tweak_secret,
    verify_schnorr,
)
from lightspeed.tagged import tagged_hash
from lightspeed.units import Sat
from strategies import private_keys, tap_trees

VECTORS = Path(__file__).parents[1] / "vectors" / "bip"
WALLET: dict[str, Any] = json.loads((VECTORS / "bip341_wallet_vectors.json").read_text())


def tree_of(node: Any) -> TapTree | None:
    if node is None:
        return None
    if isinstance(node, list):
        left, right = (tree_of(child) for child in node)
        assert left is not None
        assert right is not None
        return Branch(left, right)
    return Leaf(bytes.fromhex(node["script"]), node["leafVersion"])


def test_outputs_of_bip_341(vectors: Callable[[str, int], None]) -> None:
    for case in WALLET["scriptPubKey"]:
        tree = tree_of(case["given"]["scriptTree"])
        output = TaprootOutput(bytes.fromhex(case["given"]["internalPubkey"]), tree)
        middle, expected = case["intermediary"], case["expected"]
        assert output.merkle_root.hex() == (middle["merkleRoot"] or "")
        assert output.output_key.hex() == middle["tweakedPubkey"]
        assert output.script.hex() == expected["scriptPubKey"]
        assert address_of_script(output.script, Network.MAINNET) == expected["bip350Address"]
        for index, leaf_hash in enumerate(middle.get("leafHashes", [])):
            assert output.leaf_hash(index).hex() == leaf_hash
            assert output.control_block(index).hex() == expected["scriptPathControlBlocks"][index]
    assert len(WALLET["scriptPubKey"]) == 7
    vectors("BIP 341 wallet, outputs", 7)


def test_key_path_spends_of_bip_341(vectors: Callable[[str, int], None]) -> None:
    (case,) = WALLET["keyPathSpending"]
    tx = Tx.parse(bytes.fromhex(case["given"]["rawUnsignedTx"]))
    prevouts = [
        TxOut(Sat(spent["amountSats"]), bytes.fromhex(spent["scriptPubKey"]))
        for spent in case["given"]["utxosSpent"]
    ]
    signed = Tx.parse(bytes.fromhex(case["auxiliary"]["fullySignedTx"]))
    shared = TxDigest(tx, prevouts)
    for spend in case["inputSpending"]:
        given_, middle = spend["given"], spend["intermediary"]
        index, hash_type = given_["txinIndex"], given_["hashType"]
        internal = PrivateKey(bytes.fromhex(given_["internalPrivkey"]))
        assert internal.x_only.hex() == middle["internalPubkey"]
        key = tweak_secret(internal, bytes.fromhex(given_["merkleRoot"] or ""))
        assert key.secret.hex() == middle["tweakedPrivkey"]
        digest = shared.taproot(index, hash_type=hash_type)
        assert digest.hex() == middle["sigHash"]
        signature = key.sign_schnorr(digest)
        verify_schnorr(key.x_only, signature=signature, digest=digest)
        witness = signature + bytes([hash_type] if hash_type else [])
        assert [witness.hex()] == spend["expected"]["witness"]
        assert signed.inputs[index].witness == (witness,)
    assert len(case["inputSpending"]) == 7
    vectors("BIP 341 wallet, key path spends", 7)


def test_nobody_knows_the_secret_of_h() -> None:
    # BIP 341: H is the point whose X is the hash of G, uncompressed.
    generator = coincurve.PrivateKey((1).to_bytes(32, "big")).public_key
    assert sha256(generator.format(compressed=False)) == NUMS_H
    PublicKey.from_x_only(NUMS_H)


def root_by_control_block(output: TaprootOutput, index: int) -> bytes:
    """BIP 341, "Script validation rules": from the leaf up, by the control block alone."""
    block = output.control_block(index)
    node = tap_leaf_hash(output.leaf(index).script, block[0] & 0xFE)
    for start in range(33, len(block), 32):
        node = tap_branch_hash(node, block[start : start + 32])
    return node


@given(tap_trees, private_keys)
def test_every_control_block_proves_its_leaf(tree: TapTree, key: PrivateKey) -> None:
    output = TaprootOutput(key.x_only, tree)
    for index in range(len(leaves_of(tree))):
        block = output.control_block(index)
        assert root_by_control_block(output, index) == output.merkle_root
        assert block[1:33] == key.x_only
        tweak = tagged_hash("TapTweak", key.x_only, output.merkle_root)
        tweaked = PublicKey.from_x_only(key.x_only).add_tweak(tweak)
        assert tweaked.x_only == output.output_key
        assert block[0] & 1 == tweaked.has_odd_y


@given(tap_trees, private_keys)
def test_tweaked_secret_signs_for_the_output_key(tree: TapTree, key: PrivateKey) -> None:
    output = TaprootOutput(key.x_only, tree)
    assert output.tweak_secret(key).x_only == output.output_key


def leaves_of(tree: TapTree, depth: int = 0) -> list[tuple[bytes, int]]:
    if isinstance(tree, Leaf):
        return [(tree.script, depth)]
    return leaves_of(tree.left, depth + 1) + leaves_of(tree.right, depth + 1)


@given(st.integers(1, 300))
def test_balanced_tree_keeps_order_and_puts_a_power_of_two_left(count: int) -> None:
    scripts = [n.to_bytes(2, "big") for n in range(count)]
    tree = balanced_tree(scripts)
    leaves = leaves_of(tree)
    assert [script for script, _ in leaves] == scripts
    assert max(depth for _, depth in leaves) == (count - 1).bit_length()
    if isinstance(tree, Branch):
        left = len(leaves_of(tree.left))
        assert left & (left - 1) == 0
        assert left < count <= 2 * left


def test_ladder_of_127_rungs_and_a_refund_is_seven_deep() -> None:
    output = TaprootOutput(NUMS_H, balanced_tree([bytes([n]) for n in range(128)]))
    assert {len(output.control_block(n)) for n in range(128)} == {257}


def test_tree_deeper_than_128_is_refused() -> None:
    tree: TapTree = Leaf(b"")
    for _ in range(128):
        tree = Branch(tree, Leaf(b""))
    assert len(TaprootOutput(NUMS_H, tree).control_block(0)) == 33 + 128 * 32
    with pytest.raises(ScriptError):
        TaprootOutput(NUMS_H, Branch(tree, Leaf(b"")))


def test_tree_without_leaves_is_refused() -> None:
    with pytest.raises(ScriptError):
        balanced_tree([])


@pytest.mark.parametrize("internal_key", [b"", bytes(31), bytes(32), b"\xff" * 32, bytes(33)])
def test_internal_key_that_is_no_x_is_refused(internal_key: bytes) -> None:
    with pytest.raises(InvalidKey):
        TaprootOutput(internal_key)

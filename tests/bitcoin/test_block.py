"""Blocks round trip, and those built here are accepted by consensus code."""

import tempfile

import pbk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge import root_by_branch
from lightspeed.bitcoin import (
    NUMS_H,
    REGTEST_BITS,
    Block,
    BlockHeader,
    OutPoint,
    PrivateKey,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    TxParseError,
    block_subsidy,
    build_block,
    coinbase,
    merkle_branch,
    merkle_root,
    p2tr,
    target_of,
    txid_from_hex,
    txid_hex,
)
from lightspeed.units import Sat
from strategies import block_headers, blocks, bytes32

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c"
    "3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c01010000000100000000000000"
    "00000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65"
    "732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261"
    "696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7"
    "105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6b"
    "f11d5fac00000000"
)


def test_genesis_block_reads_as_it_was_written() -> None:
    block = Block.parse(GENESIS)
    assert block.serialize() == GENESIS
    assert txid_hex(block.hash) == (
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    )
    assert block.header.meets_target
    assert block.header.merkle_root == merkle_root([tx.txid for tx in block.transactions])
    assert block.transactions[0].is_coinbase


@given(block_headers)
def test_any_header_round_trips(header: BlockHeader) -> None:
    assert BlockHeader.parse(header.serialize()) == header


@given(blocks)
def test_any_block_round_trips(block: Block) -> None:
    assert Block.parse(block.serialize()) == block


@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_raise_the_declared_error(raw: bytes) -> None:
    for parse in (Block.parse, BlockHeader.parse):
        try:
            parsed = parse(raw)
        except TxParseError:
            continue
        assert parsed.serialize() == raw


def test_bytes_after_a_block_are_refused() -> None:
    with pytest.raises(TxParseError):
        Block.parse(GENESIS + b"\x00")
    with pytest.raises(TxParseError):
        BlockHeader.parse(GENESIS[:81])


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (REGTEST_BITS, 0x7FFFFF << 232),
        (0x01123456, 0x12),
        (0x04923456, 0),
        (0x05009234, 0x92340000),
        (0xFF123456, 0),
    ],
)
def test_compact_targets_are_those_of_core(bits: int, target: int) -> None:
    assert target_of(bits) == target


def test_subsidy_halves_every_150_blocks_on_regtest() -> None:
    coin = 100_000_000
    assert [block_subsidy(h) for h in (0, 149, 150, 300)] == [
        50 * coin,
        50 * coin,
        25 * coin,
        25 * coin // 2,
    ]
    assert block_subsidy(150 * 64) == 0


def test_merkle_root_of_block_100000() -> None:
    ids = [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ]
    assert txid_hex(merkle_root([txid_from_hex(txid) for txid in ids])) == (
        "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
    )


@given(st.lists(bytes32, min_size=1, max_size=20), st.data())
def test_merkle_branch_leads_to_the_root(hashes: list[bytes], data: st.DataObject) -> None:
    before = list(hashes)
    index = data.draw(st.integers(0, len(hashes) - 1))
    branch = merkle_branch(hashes, index)
    assert root_by_branch(hashes[index], index, branch=branch) == merkle_root(hashes)
    assert hashes == before


def test_blocks_with_a_taproot_spend_extend_the_chain() -> None:
    key = PrivateKey(b"\x07" * 32)
    payout = p2tr(key.x_only)  # untweaked: the output key itself
    verdict: dict[str, str] = {}
    callbacks = pbk.ValidationInterfaceCallbacks(
        block_checked=lambda _data, _block, state: verdict.update(
            mode=state.validation_mode.name, why=state.block_validation_result.name
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        manager = pbk.load_chainman(folder, pbk.ChainType.REGTEST, callbacks)
        chain = manager.get_active_chain()
        tip = bytes(chain.block_tree_entries[0].block_hash)
        first: Tx | None = None
        for height in range(1, 104):
            transactions: tuple[Tx, ...] = ()
            if height == 102:
                assert first is not None
                spent = first.outputs[0]
                spend = Tx(
                    2, (TxIn(first.outpoint(0)),), (TxOut(Sat(spent.value - 500), p2tr(NUMS_H)),)
                )
                signature = key.sign_schnorr(TxDigest(spend, [spent]).taproot(0))
                transactions = (spend.with_witness(0, [signature]),)
            block = build_block(
                tip,
                height=height,
                time=1_700_000_000 + height,
                payout=TxOut(block_subsidy(height), payout),
                transactions=transactions,
            )
            manager.process_block(pbk.Block(block.serialize()))
            assert (chain.height, verdict["mode"]) == (height, "VALID"), verdict
            first = first or block.transactions[0]
            tip = block.hash
        greedy = build_block(
            tip,
            height=104,
            time=1_700_000_104,
            payout=TxOut(Sat(block_subsidy(104) + 1), payout),
        )
        manager.process_block(pbk.Block(greedy.serialize()))
        assert (chain.height, verdict["mode"]) == (103, "INVALID")
        del chain, manager


@given(st.integers(1, 1_000_000))
def test_coinbase_names_its_height_and_commits_to_witnesses(height: int) -> None:
    tx = coinbase(height, TxOut(Sat(1), b"\x51"))
    assert tx.is_coinbase
    assert 2 <= len(tx.inputs[0].script_sig) <= 100
    assert tx.outputs[1].script[:6].hex() == "6a24aa21a9ed"
    other = coinbase(
        height,
        TxOut(Sat(1), b"\x51"),
        transactions=[Tx(2, (TxIn(OutPoint(bytes(32), 0)),), ())],
    )
    assert other.outputs[1] != tx.outputs[1]

"""Both sides build the same coloured commitments, and each proves who has which tokens."""

import hashlib

import pytest

from channel_pair import Node
from colour_pair import ColouredPair, channel_of, open_coloured_pair
from lightspeed.bitcoin import OutPoint
from lightspeed.channel import Side
from lightspeed.channel.build import BuiltCommitment
from lightspeed.channel.graph import HtlcKey, ToBroadcaster, ToCountersignatory
from lightspeed.colour import TokenCommitment
from lightspeed.rgb import Method, dbc_method
from lightspeed.units import Msat

ONION = bytes(1366)


def commitments(coloured: ColouredPair) -> list[tuple[Node, BuiltCommitment]]:
    """Both current ones, with their broadcaster."""
    return [
        (node, channel_of(node).holder_commitment()) for node in (coloured.funder, coloured.fundee)
    ]


def check_proved(coloured: ColouredPair) -> None:
    """Each commitment's history gives each side what the balances say."""
    coloured.pair.check_mirrored()
    for node, built in commitments(coloured):
        sheet = channel_of(node).state.base
        frozen = built.frozen
        assert frozen.coloured is not None
        proved = coloured.proved(frozen.coloured.witness)
        expected = {
            frozen.outpoint(key): tokens
            for key, tokens in (
                (ToBroadcaster(), sheet.holder_tokens),
                (ToCountersignatory(), sheet.counterparty_tokens),
            )
            if tokens
        }
        assert proved == expected
        for key in (ToBroadcaster(), ToCountersignatory()):
            assert frozen.has(key)
            amount = sum(token.amount for token in frozen.tokens(key))
            assert amount == expected.get(frozen.outpoint(key), 0)


@pytest.mark.parametrize("pushed", [0, 1, 400, 1_000])
def test_first_commitments_prove_both_sides_tokens(pushed: int) -> None:
    coloured = open_coloured_pair(tokens=1_000, pushed=pushed)
    assert coloured.tokens() == (1_000 - pushed, pushed)
    check_proved(coloured)


def test_op_return_is_output_0_and_decides_where_rgb_looks() -> None:
    coloured = open_coloured_pair()
    for _, built in commitments(coloured):
        frozen = built.frozen
        assert frozen.vout(TokenCommitment()) == 0
        assert frozen.tx.outputs[0].value == 0
        assert dbc_method(frozen.tx) is Method.OPRET
        values = [(output.value, output.script) for output in frozen.tx.outputs]
        assert values == sorted(values)


def test_htlcs_stand_beside_and_hold_no_tokens() -> None:
    coloured = open_coloured_pair(pushed=400)
    pair, preimages = coloured.pair, [bytes([n]) * 32 for n in range(3)]
    for node, preimage in zip((pair.funder, pair.fundee, pair.funder), preimages, strict=True):
        _, effects = channel_of(node).add_htlc(
            amount_msat=Msat(20_000_000),
            payment_hash=hashlib.sha256(preimage).digest(),
            cltv_expiry=500,
            onion=ONION,
        )
        node.run(effects)
        node.run(channel_of(node).commit())
        pair.settle()
    check_proved(coloured)
    for node, built in commitments(coloured):
        assert len(built.htlc_children()) == 3
        for htlc in channel_of(node).state.base.htlcs:
            key = HtlcKey(htlc.offered_by is Side.HOLDER, htlc.add.id)
            assert built.frozen.tokens(key) == ()
            for child in built.htlc_children():
                assert child.tx.inputs[0].outpoint.txid == built.frozen.tx.txid
    pair.fundee.run(channel_of(pair.fundee).fulfill_htlc(0, preimages[0]))
    pair.fundee.run(channel_of(pair.fundee).commit())
    pair.settle()
    check_proved(coloured)
    assert coloured.tokens() == (600, 400)


def test_fee_update_makes_other_bytes_and_proves_the_same() -> None:
    coloured = open_coloured_pair(pushed=400)
    before = {built.frozen.tx.txid for _, built in commitments(coloured)}
    coloured.funder.run(channel_of(coloured.funder).update_fee(2_000))
    coloured.funder.run(channel_of(coloured.funder).commit())
    coloured.pair.settle()
    assert before.isdisjoint({built.frozen.tx.txid for _, built in commitments(coloured)})
    check_proved(coloured)


def test_trades_of_both_sides_are_proved() -> None:
    coloured = open_coloured_pair(tokens=1_000, pushed=400)
    msat = channel_of(coloured.funder).state.base.holder_msat
    coloured.trade(coloured.funder, 400, 7_777)
    assert coloured.tokens() == (1_000, 0)
    assert channel_of(coloured.funder).state.base.holder_msat == msat - 7_777
    check_proved(coloured)
    coloured.trade(coloured.fundee, 1_000, 0)
    assert coloured.tokens() == (0, 1_000)
    check_proved(coloured)


def test_restarted_channels_build_the_same_bytes() -> None:
    coloured = open_coloured_pair(pushed=400)
    coloured.trade(coloured.fundee, 5, 1_000)
    before = [built.frozen for _, built in commitments(coloured)]
    for node in (coloured.funder, coloured.fundee):
        state = channel_of(node).state.extension_states["rgb"]
        node.restart()
        assert channel_of(node).state.extension_states["rgb"] == state
    assert [built.frozen for _, built in commitments(coloured)] == before
    coloured.pair.disconnect()
    coloured.pair.reconnect()
    coloured.pair.settle()
    coloured.trade(coloured.funder, 5, 1_000)
    check_proved(coloured)


def test_closing_transaction_proves_both_sides_tokens() -> None:
    coloured = open_coloured_pair(pushed=400)
    coloured.funder.run(channel_of(coloured.funder).shutdown())
    coloured.pair.settle()
    (tx,) = coloured.funder.published
    assert coloured.fundee.published == [tx]
    moved = channel_of(coloured.fundee).closing_coloured(tx)
    assert moved is not None
    assert moved.tx.txid == tx.txid
    proved = coloured.proved(moved.witness)
    outputs = {
        output.script: proved.get(OutPoint(tx.txid, vout), 0)
        for vout, output in enumerate(tx.outputs)
    }
    assert outputs[channel_of(coloured.funder).state.holder_shutdown_script or b""] == 600
    assert outputs[channel_of(coloured.fundee).state.holder_shutdown_script or b""] == 400

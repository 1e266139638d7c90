"""HTLCs between two channels in memory: nobody's money changes but as agreed."""

import hashlib

import pytest

from channel_pair import Node, Pair, open_pair
from lightspeed.channel import (
    ChannelRefusal,
    ChannelUsable,
    HtlcFailed,
    HtlcFulfilled,
    HtlcReceived,
    Phase,
)
from lightspeed.units import Msat

PREIMAGE = b"\x07" * 32
PAYMENT_HASH = hashlib.sha256(PREIMAGE).digest()
ONION = bytes(1366)


def offer(
    pair: Pair, node: Node, amount_msat: int = 1_000_000, payment_hash: bytes = PAYMENT_HASH
) -> int:
    htlc_id, effects = node.channel.add_htlc(
        amount_msat=Msat(amount_msat), payment_hash=payment_hash, cltv_expiry=500, onion=ONION
    )
    node.run(effects)
    node.run(node.channel.commit())
    return htlc_id


def test_channel_opens_on_both_sides() -> None:
    pair = open_pair()
    for node in (pair.funder, pair.fundee):
        assert node.channel.state.phase is Phase.NORMAL
        assert node.take(ChannelUsable)
    pair.check_mirrored()


@pytest.mark.parametrize("payer_name", ["funder", "fundee"])
def test_fulfilled_htlc_moves_its_amount(payer_name: str) -> None:
    pair = open_pair()
    payer = getattr(pair, payer_name)
    payee = pair.other(payer)
    before = payer.channel.state.base.holder_msat
    htlc_id = offer(pair, payer)
    said = pair.settle()
    assert [entry.split()[1] for entry in said] == [
        "UpdateAddHtlc",
        "CommitmentSigned",
        "RevokeAndAck",
        "CommitmentSigned",
        "RevokeAndAck",
    ]
    (received,) = payee.take(HtlcReceived)
    assert received.payment_hash == PAYMENT_HASH
    payee.run(payee.channel.fulfill_htlc(htlc_id, PREIMAGE))
    payee.run(payee.channel.commit())
    pair.settle()
    (fulfilled,) = payer.take(HtlcFulfilled)
    assert fulfilled.preimage == PREIMAGE
    assert payer.channel.state.base.holder_msat == before - 1_000_000
    pair.check_mirrored()


def test_failed_htlc_returns_its_amount() -> None:
    pair = open_pair()
    before = pair.funder.channel.state.base.holder_msat
    htlc_id = offer(pair, pair.funder)
    pair.settle()
    pair.fundee.run(pair.fundee.channel.fail_htlc(htlc_id, b"reason"))
    pair.fundee.run(pair.fundee.channel.commit())
    pair.settle()
    (failed,) = pair.funder.take(HtlcFailed)
    assert failed.reason == b"reason"
    assert pair.funder.channel.state.base.holder_msat == before
    pair.check_mirrored()


def test_updates_that_cross_end_in_the_same_commitments() -> None:
    pair = open_pair()
    offer(pair, pair.funder)
    offer(pair, pair.fundee, 2_000_000)
    offer(pair, pair.funder, 3_000_000)
    pair.settle()
    assert len(pair.funder.channel.state.base.htlcs) == 3
    pair.check_mirrored()


def test_wrong_preimage_is_refused_and_changes_nothing() -> None:
    pair = open_pair()
    htlc_id = offer(pair, pair.funder)
    pair.settle()
    before = pair.fundee.channel.state
    with pytest.raises(ChannelRefusal):
        pair.fundee.channel.fulfill_htlc(htlc_id, bytes(32))
    assert pair.fundee.channel.state is before


def test_fee_update_reaches_both_commitments() -> None:
    pair = open_pair()
    pair.funder.run(pair.funder.channel.update_fee(2_000))
    pair.funder.run(pair.funder.channel.commit())
    pair.settle()
    assert pair.fundee.channel.state.base.feerate_per_kw == 2_000
    pair.check_mirrored()
    with pytest.raises(ChannelRefusal):
        pair.fundee.channel.update_fee(3_000)


def test_cooperative_close_pays_both_balances() -> None:
    pair = open_pair()
    pair.fundee.run(pair.fundee.channel.shutdown())
    pair.settle()
    for node in (pair.funder, pair.fundee):
        assert node.channel.state.phase is Phase.CLOSED
    assert pair.funder.published == pair.fundee.published
    (tx,) = pair.funder.published
    assert 100_000 in {output.value for output in tx.outputs}


@pytest.mark.parametrize("cut", range(14))
def test_lost_connection_at_any_message_loses_no_update(cut: int) -> None:
    """The connection is lost after `cut` deliveries, both sides restart from their stores."""
    pair = open_pair()
    htlc_id = offer(pair, pair.funder)
    offer(pair, pair.fundee, 2_000_000)
    for step in range(cut):
        pair.deliver(pair.funder if step % 2 else pair.fundee)
    pair.disconnect()
    for node in (pair.funder, pair.fundee):
        node.restart()
    pair.reconnect()
    pair.settle()
    assert len(pair.funder.channel.state.base.htlcs) == 2
    pair.check_mirrored()
    pair.fundee.run(pair.fundee.channel.fulfill_htlc(htlc_id, PREIMAGE))
    pair.fundee.run(pair.fundee.channel.commit())
    pair.settle()
    assert len(pair.funder.channel.state.base.htlcs) == 1
    pair.check_mirrored()

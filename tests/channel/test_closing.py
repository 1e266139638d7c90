"""A cooperative close pays out everything but the fee, and is signed by both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_pair import open_pair
from judge import verify_all_spends
from lightspeed.bitcoin import SEQUENCE_FINAL, OutPoint, TxOut, p2tr, p2wpkh
from lightspeed.channel import ChannelClosed, Phase
from lightspeed.channel.closing import (
    ClosingFeeTooHigh,
    ClosingKey,
    ClosingShare,
    closing_transaction,
)
from lightspeed.channel.funding import funding_digest, funding_witness
from lightspeed.channel.scripts import funding_output_script
from lightspeed.channel.weights import closing_weight
from lightspeed.units import Msat, Sat
from strategies import channel_secrets

OUTPOINT = OutPoint(b"\x02" * 32, 0)
FUNDER, OTHER = channel_secrets(1), channel_secrets(2)
FUNDER_SCRIPT, OTHER_SCRIPT = p2wpkh(FUNDER.payment.public.data), p2tr(OTHER.payment.x_only)


@given(
    funder_msat=st.integers(0, 10**9),
    other_msat=st.integers(0, 10**9) | st.integers(0, 1_000_000),
    fee=st.integers(0, 20_000),
    dust=st.sampled_from([294, 546]),
)
def test_a_close_pays_everything_but_fee_and_dust(
    funder_msat: int, other_msat: int, fee: int, dust: int
) -> None:
    def close(fee_sat: int) -> tuple[TxOut, ...]:
        return closing_transaction(
            funding_outpoint=OUTPOINT,
            funder=ClosingShare(Msat(funder_msat), FUNDER_SCRIPT),
            other=ClosingShare(Msat(other_msat), OTHER_SCRIPT),
            fee_sat=Sat(fee_sat),
            dust_limit_sat=Sat(dust),
        ).tx.outputs

    if fee > funder_msat // 1_000:
        with pytest.raises(ClosingFeeTooHigh) as refused:
            close(fee)
        assert (refused.value.fee_sat, refused.value.funder_sat) == (fee, funder_msat // 1_000)
        return
    due = {FUNDER_SCRIPT: funder_msat // 1_000 - fee, OTHER_SCRIPT: other_msat // 1_000}
    outputs = close(fee)
    assert {output.script: output.value for output in outputs} == {
        script: amount for script, amount in due.items() if amount >= dust
    }
    assert [output.value for output in outputs] == sorted(output.value for output in outputs)


def test_both_signatures_close_the_channel() -> None:
    frozen = closing_transaction(
        funding_outpoint=OUTPOINT,
        funder=ClosingShare(Msat(700_000_999), FUNDER_SCRIPT),
        other=ClosingShare(Msat(299_999_001), OTHER_SCRIPT),
        fee_sat=Sat(500),
        dust_limit_sat=Sat(546),
    )
    assert frozen.output(ClosingKey(funder=True)).value == 700_000 - 500
    assert frozen.output(ClosingKey(funder=False)).value == 299_999
    assert (frozen.tx.version, frozen.tx.locktime) == (2, 0)
    assert frozen.tx.inputs[0].sequence == SEQUENCE_FINAL
    keys = (OTHER.funding.public, FUNDER.funding.public)
    digest = funding_digest(frozen.tx, funding_sat=Sat(1_000_000), funding_keys=keys)
    signatures = (OTHER.funding.sign_ecdsa(digest), FUNDER.funding.sign_ecdsa(digest))
    signed = frozen.tx.with_witness(0, funding_witness(funding_keys=keys, signatures=signatures))
    verify_all_spends(signed, [TxOut(Sat(1_000_000), funding_output_script(*keys))])
    expected = closing_weight(FUNDER_SCRIPT, OTHER_SCRIPT)
    assert expected - 6 <= signed.weight <= expected  # signatures of 71 or 72 bytes, not of 73


@pytest.mark.parametrize("below", [0, 1])
def test_an_output_is_left_out_exactly_below_the_dust_limit(below: int) -> None:
    frozen = closing_transaction(
        funding_outpoint=OUTPOINT,
        funder=ClosingShare(Msat(1_000 * (546 + 500 - below)), FUNDER_SCRIPT),
        other=ClosingShare(Msat(1_000 * 546 - below), OTHER_SCRIPT),
        fee_sat=Sat(500),
        dust_limit_sat=Sat(546),
    )
    assert len(frozen.outputs) == (0 if below else 2)


def test_close_seen_on_chain_needs_no_last_message() -> None:
    """The peer may publish before its closing_signed arrives, or hang up without it."""
    pair = open_pair()
    pair.fundee.run(pair.fundee.channel.shutdown())
    while not pair.fundee.published:
        pair.deliver(pair.fundee)
        pair.deliver(pair.funder)
    (closing,) = pair.fundee.published
    funder = pair.funder.channel
    assert funder.state.phase is Phase.SHUTTING_DOWN
    assert funder.funding_spent(pair.fundee.channel.holder_commitment_tx()) == ()
    assert funder.state.phase is Phase.SHUTTING_DOWN

    pair.funder.run(funder.funding_spent(closing))

    assert funder.state.phase is Phase.CLOSED
    assert pair.funder.take(ChannelClosed) == [ChannelClosed(closing)]
    pair.settle()
    assert pair.funder.published == []

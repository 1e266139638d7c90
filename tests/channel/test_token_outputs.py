"""No transaction is frozen that would lose tokens of its outputs."""

from dataclasses import replace

import pytest

from lightspeed.bitcoin import FeeRate, OutPoint, TxIn, TxOut
from lightspeed.channel.closing import ClosingFeeTooHigh, ClosingShare, closing_transaction
from lightspeed.channel.commitment import OutputBelowDust, commitment_constructor, obscuring_factor
from lightspeed.channel.graph import (
    Draft,
    Output,
    ToBroadcaster,
    ToCountersignatory,
    TokensNotMoved,
    build,
)
from lightspeed.channel.keys import ChannelSecrets, CommitmentKeys
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms
from lightspeed.rgb import OPRET_PLACEHOLDER, Opout, TokenInput, colour
from lightspeed.units import Msat, Sat

BROADCASTER, OTHER = (ChannelSecrets.derive(bytes([n]) * 32) for n in (1, 2))
FUNDING = OutPoint(bytes(32), 1)
TOKENS = [TokenInput(Opout(bytes(32), 4000, 0), 10)]
DRAFT = Draft(
    version=2,
    locktime=0,
    inputs=(TxIn(FUNDING),),
    outputs=(Output("opret", OPRET_PLACEHOLDER), Output("mine", TxOut(Sat(546), b"x"), tokens=10)),
)


def coloured(draft: Draft) -> Draft:
    moved = colour(draft.tx, contract_id=bytes(32), inputs=TOKENS, allocations=[(1, 10)])
    filled = replace(draft.outputs[0], txout=moved.tx.outputs[0])
    return replace(draft, outputs=(filled, *draft.outputs[1:]), coloured=moved)


def test_tokens_of_an_output_are_known_once_they_are_moved() -> None:
    frozen = build(lambda: DRAFT, modifiers=(coloured,))
    assert [token.amount for token in frozen.tokens("mine")] == [10]
    assert frozen.tokens("opret") == ()


def test_tokens_that_nothing_moves_are_not_frozen() -> None:
    with pytest.raises(TokensNotMoved):
        build(lambda: DRAFT, modifiers=())


def test_nothing_changes_after_the_tokens_were_moved() -> None:
    def later(draft: Draft) -> Draft:
        return replace(draft, locktime=1)

    with pytest.raises(TokensNotMoved):
        build(lambda: DRAFT, modifiers=(coloured, later))


@pytest.mark.parametrize("side", ["broadcaster", "countersignatory"])
def test_output_with_tokens_is_not_trimmed(side: str) -> None:
    terms = CommitmentTerms(
        funding_outpoint=FUNDING,
        funding_sat=Sat(100_000),
        funding_keys=(BROADCASTER.basepoints.funding, OTHER.basepoints.funding),
        broadcaster_is_funder=side != "broadcaster",
        obscuring_factor=obscuring_factor(
            opener=BROADCASTER.basepoints.payment, accepter=OTHER.basepoints.payment
        ),
        dust_limit_sat=Sat(354),
        to_self_delay_blocks=6,
        anchors=True,
    )
    keys = CommitmentKeys.derive(
        BROADCASTER.per_commitment_point(0),
        broadcaster=BROADCASTER.basepoints,
        countersignatory=OTHER.basepoints,
    )
    key = ToBroadcaster() if side == "broadcaster" else ToCountersignatory()
    for amount, tokens in ((353, 0), (354, 1), (353, 1)):
        amounts = {
            f"to_{name}_msat": Msat(90_000_000) for name in ("broadcaster", "countersignatory")
        }
        amounts[f"to_{side}_msat"] = Msat(1_000 * amount + 999)
        balance = CommitmentBalance(
            number=0,
            feerate_per_kw=FeeRate(253),
            **amounts,
            **{f"to_{side}_tokens": tokens},  # type: ignore[arg-type]
        )
        if amount < 354 and tokens:
            with pytest.raises(OutputBelowDust):
                commitment_constructor(terms, balance, keys)
            continue
        outputs = {
            output.key: output for output in commitment_constructor(terms, balance, keys).outputs
        }
        assert (key in outputs) is (amount >= 354)
        if tokens:
            assert outputs[key].tokens == tokens


@pytest.mark.parametrize(("funder_tokens", "other_tokens"), [(1, 0), (0, 1)])
def test_closing_output_with_tokens_is_not_left_out(funder_tokens: int, other_tokens: int) -> None:
    def close(*, fee: int, other_sat: int) -> int:
        frozen = closing_transaction(
            funding_outpoint=FUNDING,
            funder=ClosingShare(Msat(10_000_000), b"f", tokens=funder_tokens),
            other=ClosingShare(Msat(1_000 * other_sat), b"o", tokens=other_tokens),
            fee_sat=Sat(fee),
            dust_limit_sat=Sat(354),
            modifiers=[
                lambda draft: replace(
                    draft, outputs=tuple(replace(o, tokens=0) for o in draft.outputs)
                )
            ],
        )
        return len(frozen.outputs)

    assert close(fee=10_000 - 354, other_sat=354) == 2
    refused = ClosingFeeTooHigh if funder_tokens else OutputBelowDust
    with pytest.raises(refused):
        close(fee=10_000 - 353, other_sat=353)

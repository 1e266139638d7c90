"""A coloured channel opens only on what both sides have seen on the funding output."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from channel_pair import opening_terms
from colour_pair import Token, open_coloured_pair
from lightspeed.bitcoin import OutPoint
from lightspeed.channel import ChannelRefusal, ChannelViolation, Opening, Side
from lightspeed.colour import (
    ACCEPTER_TLV,
    MAX_ALLOCATIONS,
    OPENER_TLV,
    Colouring,
    ColourParameters,
    ColourTerms,
    allocations_on,
    offered_terms,
    with_allocations,
)
from lightspeed.colour.negotiation import negotiate
from lightspeed.rgb import Opout, TokenInput

CONTRACT = bytes([7]) * 32
TERMS = ColourTerms(contract_id=CONTRACT, tokens=1_000, pushed=400)
KEY: Any = None  # colouring has no keys of its own


def tokens(*amounts: int) -> list[TokenInput]:
    return [TokenInput(Opout(bytes([9]) * 32, 4000, n), each) for n, each in enumerate(amounts)]


def records(terms: ColourTerms, *, opener: bool) -> dict[int, bytes]:
    return Colouring(terms).offer(extension_key=KEY, funder=opener)


def test_opener_says_what_it_brings_and_accepter_agrees() -> None:
    ours, theirs = records(TERMS, opener=True), records(TERMS, opener=False)
    assert offered_terms(ours) == TERMS
    assert offered_terms(theirs) is None
    assert negotiate(offered=ours, received=theirs).terms == TERMS
    assert negotiate(offered=theirs, received=ours).terms == TERMS
    with pytest.raises(ChannelRefusal):
        Colouring().offer(extension_key=KEY, funder=True)


def test_disagreement_fails_the_opening() -> None:
    ours, theirs = records(TERMS, opener=True), records(TERMS, opener=False)
    other = records(replace(TERMS, contract_id=bytes(32)), opener=False)
    opener = ours[OPENER_TLV]
    for offered, received in (
        (ours, {}),
        (ours, other),
        (other, ours),
        (ours, ours),
        (theirs, theirs),
        (theirs, {}),
        (ours, {ACCEPTER_TLV: theirs[ACCEPTER_TLV] + b"\0"}),
        (theirs, {OPENER_TLV: opener[:-1]}),
        (theirs, {OPENER_TLV: b"\2" + opener[1:]}),
        (theirs, {OPENER_TLV: opener[:33] + bytes(16)}),  # no tokens
        (theirs, {OPENER_TLV: opener[:-8] + b"\xff" * 8}),  # more for the accepter than there are
    ):
        with pytest.raises(ChannelViolation):
            negotiate(offered=offered, received=received)


def test_allocations_are_those_of_the_terms_each_once() -> None:
    opening = Opening(
        funder=Side.HOLDER,
        **dict.fromkeys(
            (
                "temporary_channel_id",
                "chain_hash",
                "funding_sat",
                "push_msat",
                "feerate_per_kw",
                "anchors",
                "terms",
                "holder",
                "offered",
            )
        ),  # type: ignore[arg-type]
        extension_parameters={"rgb": ColourParameters(terms=TERMS).to_bytes(), "x": b"y"},
    )
    known = with_allocations(opening, tokens(400, 600)[::-1]).extension_parameters
    assert known["x"] == b"y"
    assert ColourParameters.from_bytes(known["rgb"]).allocations == tuple(tokens(400, 600))
    many = [1] * MAX_ALLOCATIONS
    for wrong in (
        tokens(),
        tokens(999),
        tokens(1_001),
        tokens(1_000, 0),
        tokens(1_001, -1),
        tokens(500) * 2,
        tokens(1_000 - MAX_ALLOCATIONS, *many),
    ):
        with pytest.raises(ChannelViolation):
            with_allocations(opening, wrong)


def test_opening_without_the_allocations_is_refused() -> None:
    def unknown(opening: Opening, _: Sequence[TokenInput]) -> Opening:
        return opening

    with pytest.raises(ChannelRefusal, match="with_allocations"):
        open_coloured_pair(know_funding=unknown)


def test_accepter_with_other_allocations_does_not_take_the_openers_signature() -> None:
    def other(opening: Opening, found: Sequence[TokenInput]) -> Opening:
        if opening.funder is Side.HOLDER:
            return with_allocations(opening, found)
        (token,) = found
        wrong = replace(token, opout=replace(token.opout, number=token.opout.number + 1))
        return with_allocations(opening, [wrong])

    with pytest.raises(ChannelViolation, match="signature"):
        open_coloured_pair(know_funding=other)


@pytest.mark.parametrize(("push_sat", "opens"), [(353, False), (354, True)])
def test_both_outputs_stand_above_dust_from_the_first_commitment_on(
    push_sat: int, opens: bool
) -> None:
    if opens:
        open_coloured_pair(push_sat=push_sat)
        return
    with pytest.raises(ChannelRefusal, match="own output"):
        open_coloured_pair(push_sat=push_sat)


def test_the_higher_dust_limit_counts_on_both_commitments() -> None:
    terms = opening_terms("a", dust_limit_sat=546)
    open_coloured_pair(push_sat=546, funder_terms=terms)
    with pytest.raises(ChannelRefusal, match="own output"):
        open_coloured_pair(push_sat=545, funder_terms=terms)


def test_opener_keeps_its_own_output_too() -> None:
    """Fee at twice the rate with one more HTLC: (1,124 + 172 + 172) x 2; then the anchors."""
    cost = (1_124 + 172 + 172) * 2 + 660 + 354
    open_coloured_pair(funding_sat=100_000, push_sat=100_000 - cost)
    with pytest.raises(ChannelRefusal, match="own output"):
        open_coloured_pair(funding_sat=100_000, push_sat=100_001 - cost)


def test_allocations_are_found_on_the_funding_outpoint_only() -> None:
    coloured = open_coloured_pair()
    later = coloured.put_on_funding(25)
    contract_id = coloured.token.contract_id
    validated = coloured.token.validate(*coloured.history)
    found = allocations_on(validated, coloured.funding, contract_id=contract_id)
    assert sum(token.amount for token in found) == 1_025
    assert later in found
    elsewhere = OutPoint(coloured.funding.txid, coloured.funding.vout + 1)
    rest = allocations_on(validated, elsewhere, contract_id=contract_id)
    assert sum(token.amount for token in rest) == Token().supply_each - 1_000
    with pytest.raises(ChannelViolation):
        allocations_on(validated, coloured.funding, contract_id=CONTRACT)

"""What a book may be: each limit holds at its edge, and the error names the number."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import FeeRate, PrivateKey
from lightspeed.channel import ChannelViolation, StateError
from lightspeed.lsf import (
    CHAIN_RULES,
    REGTEST_RULES,
    BookRefused,
    DelayRules,
    LsfBasepoints,
    LsfParameters,
    Party,
    PayeeLimits,
    RejectReason,
    Settlement,
    check_book,
    check_claim_cost,
    check_payee_delay,
    default_refund_delay_blocks,
    offered_party,
)
from lightspeed.lsf.negotiation import LIMITS_TLV, PARTY_TLV, negotiate, offer
from lightspeed.payment import SATS, BookTerms, Scheme
from lsf_world import book_terms

LIMITS = PayeeLimits()
POINT, OTHER_POINT = PrivateKey(b"\x01" * 32).public, PrivateKey(b"\x02" * 32).public


def check(
    terms: BookTerms,
    *,
    limits: PayeeLimits = LIMITS,
    rules: DelayRules = REGTEST_RULES,
    payee_delay_blocks: int = 6,
    contract_id: bytes | None = None,
) -> Settlement:
    return check_book(
        terms,
        limits=limits,
        rules=rules,
        payee_delay_blocks=payee_delay_blocks,
        contract_id=contract_id,
    )


def settled(terms: BookTerms, **changes: Any) -> BookTerms:
    settlement = replace(Settlement.from_bytes(terms.settlement), **changes)
    return replace(terms, settlement=settlement.to_bytes())


EDGES: dict[str, tuple[Callable[[int], BookTerms], int, int, str]] = {
    "locks": (lambda n: book_terms(locks=n), 2_322, 2_323, "2323 locks, at most 2322"),
    "lock amount": (lambda n: book_terms(lock_amount=n), 330, 329, "329 is not from 330"),
    "claim cost": (
        lambda n: book_terms(lock_amount=n, child_feerate=1_000),
        3 * 403,
        3 * 403 - 1,
        "1208 sat, which cost 403 sat to claim",
    ),
    "refund delay": (lambda n: book_terms(refund_delay_blocks=n), 17, 16, "16 is not from 17"),
    "child fee rate": (lambda n: book_terms(child_feerate=n), 253, 252, "252 sat/kw is too low"),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_limit_holds_at_its_edge(name: str) -> None:
    terms, good, bad, problem = EDGES[name]
    check(terms(good))
    with pytest.raises(BookRefused, match=problem) as refused:
        check(terms(bad))
    assert refused.value.reason is RejectReason.TERMS


TIGHT = PayeeLimits(
    max_locks=10,
    max_chain_length=100,
    min_lock_amount=500,
    max_lock_amount=5_000,
    max_window=128,
    min_refund_delay_blocks=30,
    max_refund_delay_blocks=60,
    min_child_feerate=FeeRate(300),
)


@pytest.mark.parametrize(
    ("terms", "good"),
    [
        ({}, True),
        ({"locks": 11}, False),
        ({"chain_length": 100}, True),
        ({"chain_length": 125}, False),
        ({"lock_amount": 499}, False),
        ({"lock_amount": 5_001}, False),
        ({"chain_length": 100, "window": 129}, False),
        ({"refund_delay_blocks": 29}, False),
        ({"refund_delay_blocks": 61}, False),
        ({"child_feerate": 299}, False),
    ],
)
def test_what_the_payee_told_is_binding(terms: dict[str, int], good: bool) -> None:
    window = terms.pop("window", None)
    base = {"refund_delay_blocks": 40, "child_feerate": 300}
    made = book_terms(**(base | terms))  # type: ignore[arg-type]
    if window is not None:
        made = replace(made, window=window)
    if good:
        check(made, limits=TIGHT)
    else:
        with pytest.raises(BookRefused):
            check(made, limits=TIGHT)


def test_delays_are_longer_where_there_is_money() -> None:
    terms = book_terms(refund_delay_blocks=144 + 288)
    check(terms, rules=CHAIN_RULES, payee_delay_blocks=144)
    with pytest.raises(BookRefused, match="431 is not from 432"):
        check(settled(terms, refund_delay_blocks=431), rules=CHAIN_RULES, payee_delay_blocks=144)
    with pytest.raises(BookRefused, match="143 blocks, 144 are needed"):
        check(terms, rules=CHAIN_RULES, payee_delay_blocks=143)
    with pytest.raises(BookRefused, match="5 blocks, 6 are needed"):
        check_payee_delay(5, rules=REGTEST_RULES)


def test_literal_script_is_for_regtest_only() -> None:
    terms = book_terms(literal=True, refund_delay_blocks=1_008)
    assert check(terms).literal
    with pytest.raises(BookRefused, match="without a signature"):
        check(terms, rules=CHAIN_RULES, payee_delay_blocks=144)


@pytest.mark.parametrize(("delay", "refund"), [(144, 1_008), (720, 1_008), (721, 1_009)])
def test_default_refund_delay_is_a_week_or_two_days_after_d(delay: int, refund: int) -> None:
    assert default_refund_delay_blocks(delay) == refund


CONTRACT = bytes([7]) * 32


def token_terms(**changes: object) -> BookTerms:
    values: dict[str, object] = {"scheme": Scheme.SEALS, "asset": CONTRACT, "lock_amount": 1}
    return replace(book_terms(), **(values | changes))  # type: ignore[arg-type]


def test_schemes_are_for_the_assets_that_they_can_carry() -> None:
    check(token_terms(), contract_id=CONTRACT)
    check(token_terms(scheme=Scheme.LADDER), contract_id=CONTRACT)
    check(book_terms(), contract_id=CONTRACT)  # sats move in a coloured channel too
    for wrong in (token_terms(asset=SATS), token_terms(scheme=Scheme.OUTPUTS)):
        with pytest.raises(BookRefused, match="is not for this asset"):
            check(wrong, contract_id=CONTRACT)
    with pytest.raises(BookRefused, match="scheme outputs is not offered"):
        check(book_terms(), limits=replace(LIMITS, schemes=frozenset()))


@pytest.mark.parametrize("contract_id", [None, bytes(32)])
@pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])
def test_a_book_is_in_tokens_that_the_channel_holds(
    scheme: Scheme, contract_id: bytes | None
) -> None:
    with pytest.raises(BookRefused, match="no tokens of the book's contract"):
        check(token_terms(scheme=scheme), contract_id=contract_id)


def test_a_transition_has_room_for_65_535_seals() -> None:
    check(token_terms(locks=65_535), contract_id=CONTRACT)
    for limits in (LIMITS, replace(LIMITS, max_seals=1 << 24)):
        with pytest.raises(BookRefused, match="65536 locks, at most 65535"):
            check(token_terms(locks=65_536), limits=limits, contract_id=CONTRACT)
    with pytest.raises(BookRefused, match="at most 9"):
        check(token_terms(locks=10), limits=replace(LIMITS, max_seals=9), contract_id=CONTRACT)


@pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])
def test_a_book_holds_no_more_tokens_than_an_asset_can_have(scheme: Scheme) -> None:
    half = token_terms(scheme=scheme, locks=2, lock_amount=(1 << 63) - 1)
    check(half, contract_id=CONTRACT)
    with pytest.raises(BookRefused, match="more tokens than an asset can have"):
        check(replace(half, lock_amount=1 << 63), contract_id=CONTRACT)


def test_amounts_in_tokens_have_a_limit_of_their_own() -> None:
    limits = replace(LIMITS, max_lock_tokens=50)
    check(token_terms(lock_amount=50), limits=limits, contract_id=CONTRACT)
    check(book_terms(), limits=limits)
    with pytest.raises(BookRefused, match="lock amount 51 is not from 1 to 50"):
        check(token_terms(lock_amount=51), limits=limits, contract_id=CONTRACT)


def test_claiming_must_be_worth_it_at_the_current_fee_rate_too() -> None:
    check_claim_cost(book_terms(lock_amount=1_209), feerate=FeeRate(1_000))
    with pytest.raises(BookRefused):
        check_claim_cost(book_terms(lock_amount=1_208), feerate=FeeRate(1_000))


# --- wire forms -----------------------------------------------------------------------------


@given(st.binary(max_size=12))
def test_settlement_parses_or_is_refused(data: bytes) -> None:
    try:
        parsed = Settlement.from_bytes(data)
    except BookRefused:
        return
    assert parsed.to_bytes() == data


@pytest.mark.parametrize("changes", [{"refund_delay_blocks": 0}, {"refund_delay_blocks": 65_536}])
def test_settlement_refuses_delays_that_have_no_sequence(changes: dict[str, int]) -> None:
    with pytest.raises(BookRefused):
        replace(Settlement(refund_delay_blocks=20), **changes)


@pytest.mark.parametrize("limits", [LIMITS, TIGHT, replace(LIMITS, schemes=frozenset(Scheme))])
def test_limits_round_trip(limits: PayeeLimits) -> None:
    assert PayeeLimits.from_bytes(limits.to_bytes()) == limits


def test_both_sides_negotiate_the_same() -> None:
    payer = offer(Party.PAYER, basepoint=POINT, limits=LIMITS)
    payee = offer(Party.PAYEE, basepoint=OTHER_POINT, limits=TIGHT)
    ours = negotiate(offered=payer, received=payee)
    theirs = negotiate(offered=payee, received=payer)
    assert ours == LsfParameters(
        holder=Party.PAYER,
        basepoints=LsfBasepoints(payer=POINT, payee=OTHER_POINT),
        limits=TIGHT,
    )
    assert theirs == replace(ours, holder=Party.PAYEE)
    for parameters in (ours, theirs):
        assert LsfParameters.from_bytes(parameters.to_bytes()) == parameters
    assert offered_party(payer) is Party.PAYER
    assert all(kind % 2 and kind >= 65_536 for kind in (*payer, *payee))


def test_negotiation_refuses_what_does_not_fit() -> None:
    payer = offer(Party.PAYER, basepoint=POINT, limits=LIMITS)
    payee = offer(Party.PAYEE, basepoint=OTHER_POINT, limits=LIMITS)
    bad = [
        payer,  # both want to pay
        {},
        {LIMITS_TLV: payee[LIMITS_TLV]},
        {PARTY_TLV: payee[PARTY_TLV]},
        payee | {PARTY_TLV: payee[PARTY_TLV][:-1]},
        payee | {PARTY_TLV: b"\x02" + payee[PARTY_TLV][1:]},
        payee | {PARTY_TLV: b"\x01\x02" + payee[PARTY_TLV][2:]},
        payee | {PARTY_TLV: b"\x01\x01" + bytes(33)},
        payee | {LIMITS_TLV: b""},
        payee | {LIMITS_TLV: b"\x02" + payee[LIMITS_TLV][1:]},
        payee | {LIMITS_TLV: payee[LIMITS_TLV][:2] + b"\x00" + payee[LIMITS_TLV][3:]},
    ]
    for received in bad:
        with pytest.raises(ChannelViolation):
            negotiate(offered=payer, received=received)


@given(st.binary(max_size=120))
def test_stored_parameters_parse_or_raise_the_declared_error(data: bytes) -> None:
    with pytest.raises(StateError):
        LsfParameters.from_bytes(data)

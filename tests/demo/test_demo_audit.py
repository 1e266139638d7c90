"""The demo's books are right to the satoshi, or the demo says so."""

from dataclasses import replace

import pytest

from lightspeed.cli.demo.audit import Audit, Redeemed, WalletChange, audit
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.trail import Movement, Role, Trail

PLAN = DemoPlan(calls=25, locks=10, lock_amount=1_000, chain_length=10, conventional_calls=3)
LOCKS = [bytes([n]) * 32 for n in range(PLAN.locks)]
FUNDING_FEE_SAT = 200
PUSHED_AND_INVOICED_SAT = PLAN.push_sat + 3 * PLAN.conventional_price_sat

REDEEMED = Redeemed(
    calls_answered=28,
    calls_served=28,
    calls_by_units=25,
    units=25,
    completed_locks=frozenset(LOCKS[:2]),  # 25 units of 10 per lock
    conventional_sat=3 * PLAN.conventional_price_sat,
)


def movement(what: str, owner: Closer | None, fee_sat: int, *, role: Role = Role.BOOK) -> Movement:
    return Movement(
        txid="00" * 32,
        what=what,
        owner=owner,
        role=role,
        size_bytes=300,
        vbytes=200,
        fee_sat=fee_sat,
        height=120,
    )


MOVEMENTS = (
    movement("commitment", None, 300, role=Role.COMMITMENT),
    movement("micropayment transaction", None, 500),
    movement("claim", Closer.PAYEE, 70),
    movement("refund", Closer.PAYER, 110),
)
TRAIL = Trail(
    capacity_sat=PLAN.capacity_sat,
    movements=MOVEMENTS,
    claimed=dict.fromkeys(LOCKS[:2], 1_000),
    lsf_sat=10_500,
    refunded_sat=8_000,
    received_sat={
        Closer.PAYEE: PUSHED_AND_INVOICED_SAT + 2_000 + 330 - 70,
        Closer.PAYER: PLAN.capacity_sat - PUSHED_AND_INVOICED_SAT - 2_000 - 660 - 800 - 110,
    },
    anchors_sat={Closer.PAYEE: 330, Closer.PAYER: 0},
    left_sat=330,
    waiting_sat=0,
)
WALLETS = {
    Closer.PAYEE: WalletChange(before_sat=100, after_sat=100 + TRAIL.received_sat[Closer.PAYEE]),
    Closer.PAYER: WalletChange(
        before_sat=6_000_000,
        after_sat=6_000_000
        - PLAN.capacity_sat
        - FUNDING_FEE_SAT
        + TRAIL.received_sat[Closer.PAYER],
    ),
}


def audited(
    redeemed: Redeemed = REDEEMED,
    *,
    plan: DemoPlan = PLAN,
    trail: Trail = TRAIL,
    wallets: dict[Closer, WalletChange] = WALLETS,
    funding_fee_sat: int = FUNDING_FEE_SAT,
) -> Audit:
    return audit(plan, redeemed, trail=trail, wallets=wallets, funding_fee_sat=funding_fee_sat)


def test_right_balances_pass() -> None:
    found = audited()
    assert found.ok, found.faults
    assert (found.claimed_sat, found.refunded_sat) == (2_000, 8_000)
    assert found.unenforced_sat == 500  # five units of a lock that was not completed


def test_the_example_keeps_every_satoshi() -> None:
    fees = sum(m.fee_sat for m in MOVEMENTS)
    assert sum(TRAIL.received_sat.values()) + fees + TRAIL.left_sat == PLAN.capacity_sat


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    "field", ["calls_answered", "calls_served", "calls_by_units", "units", "conventional_sat"]
)
def test_one_more_or_less_redeemed_is_a_fault(field: str, by: int) -> None:
    assert not audited(replace(REDEEMED, **{field: getattr(REDEEMED, field) + by})).ok


@pytest.mark.parametrize("completed", [LOCKS[:1], LOCKS[:3], LOCKS[1:3]])
def test_claims_of_other_locks_than_the_completed_ones_are_a_fault(completed: list[bytes]) -> None:
    assert not audited(replace(REDEEMED, completed_locks=frozenset(completed))).ok


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("who", Closer)
def test_a_satoshi_more_or_less_on_chain_is_a_fault(who: Closer, by: int) -> None:
    received = {**TRAIL.received_sat, who: TRAIL.received_sat[who] + by}
    change = WALLETS[who]
    wallets = {**WALLETS, who: replace(change, after_sat=change.after_sat + by)}
    found = audited(trail=replace(TRAIL, received_sat=received), wallets=wallets)
    assert [check.what for check in found.faults] != []
    assert all(who.value in check.what for check in found.faults)


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("who", Closer)
def test_a_satoshi_more_or_less_in_a_wallet_is_a_fault(who: Closer, by: int) -> None:
    change = WALLETS[who]
    wallets = {**WALLETS, who: replace(change, after_sat=change.after_sat + by)}
    assert not audited(wallets=wallets).ok


@pytest.mark.parametrize(
    "trail",
    [
        replace(TRAIL, claimed={**TRAIL.claimed, LOCKS[0]: 1_001}),
        replace(TRAIL, claimed={**TRAIL.claimed, LOCKS[5]: 1_000}),
        replace(TRAIL, refunded_sat=7_999),
        replace(TRAIL, waiting_sat=1),
        replace(TRAIL, left_sat=331),
        replace(TRAIL, movements=(replace(MOVEMENTS[0], height=None), *MOVEMENTS[1:])),
        replace(TRAIL, movements=(replace(MOVEMENTS[0], fee_sat=301), *MOVEMENTS[1:])),
    ],
)
def test_whatever_else_is_off_on_chain_is_a_fault(trail: Trail) -> None:
    assert not audited(trail=trail).ok


def test_a_book_without_a_completed_lock_goes_back_whole() -> None:
    redeemed = replace(
        REDEEMED,
        calls_answered=12,
        calls_served=12,
        calls_by_units=9,
        units=9,
        completed_locks=frozenset(),
    )
    moved = {Closer.PAYEE: -2_000 + 70, Closer.PAYER: 2_000 + 500}
    trail = replace(
        TRAIL,
        movements=(MOVEMENTS[0], MOVEMENTS[3]),
        claimed={},
        refunded_sat=10_500,
        received_sat={who: sat + moved[who] for who, sat in TRAIL.received_sat.items()},
    )
    wallets = {
        who: replace(change, after_sat=change.after_sat + moved[who])
        for who, change in WALLETS.items()
    }
    found = audited(redeemed, trail=trail, wallets=wallets)
    assert found.ok, found.faults
    assert (found.claimed_sat, found.unenforced_sat) == (0, 900)
    assert not audited(redeemed, trail=replace(trail, refunded_sat=10_499), wallets=wallets).ok


def test_the_funding_fee_is_the_payers() -> None:
    assert not audited(funding_fee_sat=FUNDING_FEE_SAT + 1).ok


def test_a_conventional_run_is_judged_by_its_invoices() -> None:
    plan = replace(PLAN, scheme=DemoScheme.CONVENTIONAL, calls=3)
    redeemed = Redeemed(
        calls_answered=3, calls_served=3, calls_by_units=0, units=0, conventional_sat=3_000
    )
    trail = replace(
        TRAIL,
        claimed={},
        refunded_sat=0,
        received_sat={
            Closer.PAYEE: TRAIL.received_sat[Closer.PAYEE] - 2_000,
            Closer.PAYER: TRAIL.received_sat[Closer.PAYER] + 2_000,
        },
    )
    wallets = {
        who: replace(
            change, after_sat=change.after_sat + (2_000 if who is Closer.PAYER else -2_000)
        )
        for who, change in WALLETS.items()
    }
    found = audited(redeemed, plan=plan, trail=trail, wallets=wallets)
    assert found.ok, found.faults
    assert found.claimed_sat == 3_000
    short = replace(redeemed, conventional_sat=2_999)
    assert not audited(short, plan=plan, trail=trail, wallets=wallets).ok


LADDER = replace(PLAN, scheme=DemoScheme.LADDER)
SETTLEMENT = movement("settlement transaction", None, 500)
LADDER_TRAIL = replace(
    TRAIL,
    claimed={LOCKS[1]: 2_000},  # rung 2 pays both locks
    movements=(
        MOVEMENTS[0],
        SETTLEMENT,
        movement("paid locks", Closer.PAYEE, 70, role=Role.SWEEP),
        movement("unpaid locks", Closer.PAYER, 110, role=Role.SWEEP),
    ),
)


def test_a_ladder_pays_and_gives_back_with_one_transaction() -> None:
    found = audited(plan=LADDER, trail=LADDER_TRAIL)
    assert found.ok, found.faults
    assert (found.claimed_sat, found.refunded_sat, found.unenforced_sat) == (2_000, 8_000, 500)


@pytest.mark.parametrize(
    "trail",
    [
        replace(LADDER_TRAIL, claimed={LOCKS[0]: 1_000}),  # a lower rung than was paid
        replace(LADDER_TRAIL, claimed={LOCKS[2]: 3_000}),  # a higher one
        replace(LADDER_TRAIL, claimed={LOCKS[2]: 2_000}),  # by a secret that was not redeemed
        replace(LADDER_TRAIL, refunded_sat=7_999),
        replace(LADDER_TRAIL, movements=(*LADDER_TRAIL.movements, SETTLEMENT)),
        replace(LADDER_TRAIL, waiting_sat=8_000),
    ],
)
def test_any_other_end_of_a_ladder_is_a_fault(trail: Trail) -> None:
    assert not audited(plan=LADDER, trail=trail).ok


def test_a_ladder_without_a_completed_lock_goes_back_whole() -> None:
    redeemed = replace(
        REDEEMED,
        calls_answered=12,
        calls_served=12,
        calls_by_units=9,
        units=9,
        completed_locks=frozenset(),
    )
    refund = movement("refund of the LSF", Closer.PAYER, 110)
    moved = {Closer.PAYEE: -2_000 + 70, Closer.PAYER: 2_000 + 500}
    trail = replace(
        LADDER_TRAIL,
        movements=(MOVEMENTS[0], refund),
        claimed={},
        refunded_sat=10_500,
        received_sat={who: sat + moved[who] for who, sat in TRAIL.received_sat.items()},
    )
    wallets = {
        who: replace(change, after_sat=change.after_sat + moved[who])
        for who, change in WALLETS.items()
    }
    found = audited(redeemed, plan=LADDER, trail=trail, wallets=wallets)
    assert found.ok, found.faults
    assert (found.claimed_sat, found.unenforced_sat) == (0, 900)

"""A demo that cannot work is refused before anything is started."""

from typing import Any

import pytest

from lightspeed.cli.demo.plan import BOOK_SIZES, DemoPlan, DemoScheme
from lightspeed.cli.errors import UsageError


def test_the_default_is_the_one_of_the_paper_table() -> None:
    plan = DemoPlan()
    assert (plan.locks, plan.chain_length, plan.units) == (1_000, 100, 100_000)
    assert (plan.capacity_sat, plan.unit_msat, plan.calls) == (5_000_000, 10_000, 20_000)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"calls": 0}, "at least one call"),
        ({"clients": 0}, "at least one client"),
        ({"calls": 101, "locks": 10, "chain_length": 10}, "more than the 100 units"),
        ({"calls": 7, "chain_length": 7}, "whole number of msat"),
        ({"conventional_calls": 4_000}, "the channel has"),
        ({"locks": 4_900, "lock_amount": 1_000}, "the channel has"),
        ({"calls": 100, "lock_amount": 300}, "would be dust"),
        ({"lock_amount": 65_536, "locks": 1, "chain_length": 65_536}, "at most 65,535 units"),
        ({"scheme": DemoScheme.LADDER, "locks": 128}, "at most 127 locks"),
        (
            {"scheme": DemoScheme.LADDER, "calls": 9, "locks": 120, "lock_amount": 40_900},
            "the book needs",
        ),
        ({"scheme": DemoScheme.CONVENTIONAL, "calls": 5_000}, "the channel has"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(numbers: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DemoPlan(**numbers)


def test_a_conventional_run_needs_no_room_for_a_book() -> None:
    assert DemoPlan(scheme=DemoScheme.CONVENTIONAL, calls=4_800).calls == 4_800


def ladder(*, locks: int, amount: int, length: int, calls: int = 20_000) -> DemoPlan:
    return DemoPlan(
        scheme=DemoScheme.LADDER,
        calls=calls,
        locks=locks,
        lock_amount=amount,
        chain_length=length,
    )


def test_the_default_ladder_has_a_million_units() -> None:
    size = BOOK_SIZES[DemoScheme.LADDER]
    plan = ladder(locks=size.locks, amount=size.lock_amount, length=size.chain_length)
    assert (plan.units, plan.unit_msat) == (1_000_000, 1_000)


@pytest.mark.parametrize(
    ("plan", "locks"),
    [
        (ladder(locks=125, amount=8_000, length=8_000), 1_000),
        (ladder(locks=6, amount=8_000, length=80, calls=100), 48),
        (ladder(locks=6, amount=8_000, length=50, calls=100), 30),
        (ladder(locks=6, amount=7_000, length=16, calls=10), 24),
        (ladder(locks=6, amount=999, length=999, calls=10), 6),
    ],
)
def test_a_ladder_is_compared_with_as_many_units_of_the_same_worth(
    plan: DemoPlan, locks: int
) -> None:
    compared = plan.comparison
    assert compared is not None
    assert (compared.scheme, compared.locks) == (DemoScheme.OUTPUTS, locks)
    assert (compared.units, compared.unit_msat) == (plan.units, plan.unit_msat)
    assert (compared.calls, compared.conventional_calls) == (plan.calls, 0)
    assert compared.comparison is None

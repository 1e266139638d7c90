"""A demo that cannot work is refused before anything is started."""

from typing import Any

import pytest

from lightspeed.cli.demo.plan import DemoPlan, DemoScheme
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
        ({"locks": 4_900, "lock_amount_sat": 1_000}, "the channel has"),
        ({"scheme": DemoScheme.CONVENTIONAL, "calls": 5_000}, "the channel has"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(numbers: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DemoPlan(**numbers)


def test_a_conventional_run_needs_no_room_for_a_book() -> None:
    assert DemoPlan(scheme=DemoScheme.CONVENTIONAL, calls=4_800).calls == 4_800

"""A build without one of the rules is caught: each by the scenario that it is named with.

The scenarios pass with the rules in force (`test_scenarios`), so that it is the rule that they
need.
"""

from contextlib import ExitStack

import pytest

from adversary_mutations import MUTATIONS, Mutation
from adversary_record import Fault
from adversary_scenarios import play
from adversary_world import Lost
from lightspeed.payment import Scheme


@pytest.mark.parametrize(
    ("mutation", "scheme"),
    [(mutation, scheme) for mutation in MUTATIONS for scheme in mutation.schemes],
    ids=lambda value: (
        f"{value.name}-{value.caught_by}" if isinstance(value, Mutation) else value.name.lower()
    ),
)
async def test_build_without_the_rule_is_caught(mutation: Mutation, scheme: Scheme) -> None:
    with ExitStack() as stack:
        mutation.broken(stack)
        with pytest.raises((Lost, Fault)):
            await play(mutation.caught_by, scheme=scheme)

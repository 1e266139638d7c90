"""Every known attack, against whole nodes and consensus code: nobody loses what is theirs."""

import pytest

from adversary_scenarios import SCENARIOS, play
from lightspeed.payment import Scheme


@pytest.mark.parametrize(
    ("name", "scheme"),
    [(name, scheme) for name, chosen in SCENARIOS.items() for scheme in chosen.schemes],
    ids=lambda value: value.name.lower() if isinstance(value, Scheme) else value,
)
async def test_honest_side_ends_with_what_it_is_owed(name: str, scheme: Scheme) -> None:
    await play(name, scheme=scheme)

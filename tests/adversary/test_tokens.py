"""The adversary with tokens in the channel: known attacks, builds that lose tokens, random games.

Tokens count as far as a stranger believes in them, from a consignment whose transactions are
mined; `make adversary` plays the attacks on sats with tokens too.
"""

import asyncio
from contextlib import AsyncExitStack, ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from adversary_mutations import Mutation
from adversary_record import Fault
from adversary_token_mutations import TOKEN_MUTATIONS
from adversary_token_play import TOKEN_CHEATS, TOKEN_LIFE, TokenGame, random_token_game
from adversary_token_scenarios import TOKEN_PLAYS, TOKEN_SCENARIOS, TOKEN_SCHEMES, play_tokens
from adversary_token_world import TokenWorld
from adversary_world import Lost, world_of
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

NUMBER = st.integers(0, 255)
PLAYED = {*TOKEN_SCENARIOS, *(mutation.caught_by for mutation in TOKEN_MUTATIONS)}


def _name(value: object) -> str:
    if isinstance(value, Mutation):
        return f"{value.name}-{value.caught_by}"
    return value.name.lower() if isinstance(value, Scheme) else str(value)


@pytest.mark.parametrize(
    ("name", "scheme"), [play for play in TOKEN_PLAYS if play[0] in PLAYED], ids=_name
)
async def test_honest_side_ends_with_the_tokens_that_it_is_owed(name: str, scheme: Scheme) -> None:
    await play_tokens(name, scheme=scheme)


@pytest.mark.parametrize(
    ("mutation", "scheme"),
    [(mutation, scheme) for mutation in TOKEN_MUTATIONS for scheme in mutation.schemes],
    ids=_name,
)
async def test_build_that_loses_tokens_is_caught(mutation: Mutation, scheme: Scheme) -> None:
    with ExitStack() as stack:
        mutation.broken(stack)
        with pytest.raises((Lost, Fault)):
            await play_tokens(mutation.caught_by, scheme=scheme)


@pytest.mark.parametrize("seed", range(6))
async def test_random_game_with_tokens_is_not_lost(seed: int) -> None:
    await random_token_game(seed)


class _Games(RuleBasedStateMachine):
    """One world per example; the law at its end."""

    cheat: Party | None

    @initialize(scheme=st.sampled_from(TOKEN_SCHEMES), a=NUMBER, b=NUMBER)
    def begin(self, scheme: Scheme, a: int, b: int) -> None:
        self.runner = asyncio.Runner()
        self.open = AsyncExitStack()

        async def start() -> TokenGame:
            world = await self.open.enter_async_context(
                world_of(self.cheat, scheme=scheme, kind=TokenWorld)
            )
            game = TokenGame(world)
            await game.step("open_book", a, b)
            await game.step("calls", a, b)
            return game

        self.game = self.runner.run(start())

    @rule(name=st.sampled_from(TOKEN_LIFE), a=NUMBER, b=NUMBER)
    def live(self, name: str, a: int, b: int) -> None:
        self.runner.run(self.game.step(name, a, b))

    @rule(name=st.sampled_from(TOKEN_CHEATS), a=NUMBER, b=NUMBER)
    def cheat_somehow(self, name: str, a: int, b: int) -> None:
        self.runner.run(self.game.step(name, a, b))

    def teardown(self) -> None:
        if not hasattr(self, "game"):
            return
        try:
            self.runner.run(self.game.finish(1, 0))
        finally:
            self.runner.run(self.open.aclose())
            self.runner.close()


class CheatingPayer(_Games):
    cheat = Party.PAYER


class CheatingPayee(_Games):
    cheat = Party.PAYEE


_BRIEF = settings(
    max_examples=5,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
CheatingPayer.TestCase.settings = _BRIEF
CheatingPayee.TestCase.settings = _BRIEF
TestCheatingPayer = CheatingPayer.TestCase
TestCheatingPayee = CheatingPayee.TestCase

"""Anything at any time: Hypothesis, or a seed, chooses; the honest side never loses."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from adversary_play import CHEATS, LIFE, Game, random_game
from adversary_world import world_of
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

NUMBER = st.integers(0, 255)


@pytest.mark.parametrize("seed", range(8))
async def test_random_game_is_not_lost(seed: int) -> None:
    await random_game(seed)


class _Games(RuleBasedStateMachine):
    """One world per example; the law at its end."""

    cheat: Party | None

    @initialize(scheme=st.sampled_from((Scheme.OUTPUTS, Scheme.LADDER)), a=NUMBER, b=NUMBER)
    def begin(self, scheme: Scheme, a: int, b: int) -> None:
        self.runner = asyncio.Runner()
        self.open = AsyncExitStack()

        async def start() -> Game:
            world = await self.open.enter_async_context(world_of(self.cheat, scheme=scheme))
            game = Game(world)
            await game.step("open_book", a, b)
            await game.step("calls", a, b)
            return game

        self.game = self.runner.run(start())

    @rule(name=st.sampled_from(LIFE), a=NUMBER, b=NUMBER)
    def live(self, name: str, a: int, b: int) -> None:
        self.runner.run(self.game.step(name, a, b))

    @rule(name=st.sampled_from(CHEATS), a=NUMBER, b=NUMBER)
    def cheat_somehow(self, name: str, a: int, b: int) -> None:
        self.runner.run(self.game.step(name, a, b))

    def teardown(self) -> None:
        if not hasattr(self, "game"):
            return
        try:
            self.runner.run(self.game.finish(*self.ending))
        finally:
            self.runner.run(self.open.aclose())
            self.runner.close()

    ending = (1, 0)


class CheatingPayer(_Games):
    cheat = Party.PAYER


class CheatingPayee(_Games):
    cheat = Party.PAYEE


_BRIEF = settings(
    max_examples=8,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
CheatingPayer.TestCase.settings = _BRIEF
CheatingPayee.TestCase.settings = _BRIEF
TestCheatingPayer = CheatingPayer.TestCase
TestCheatingPayee = CheatingPayee.TestCase

"""Games that Hypothesis plays: anything at any time, and the law at the end."""

import asyncio
from contextlib import AsyncExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from adversary_play import Game
from adversary_world import world_of
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

__all__ = ["games"]

_NUMBER = st.integers(0, 255)


def games(
    game_of: type[Game], *, cheat: Party, max_examples: int, steps: int
) -> type[RuleBasedStateMachine.TestCase]:
    """A test case with a world for each example, in which `cheat` is the thief."""

    class Games(RuleBasedStateMachine):
        @initialize(scheme=st.sampled_from(game_of.schemes), a=_NUMBER, b=_NUMBER)
        def begin(self, scheme: Scheme, a: int, b: int) -> None:
            self.runner = asyncio.Runner()
            self.open = AsyncExitStack()

            async def start() -> Game:
                world = await self.open.enter_async_context(
                    world_of(cheat, scheme=scheme, kind=game_of.kind)
                )
                game = game_of(world)
                await game.step("open_book", a, b)
                await game.step("calls", a, b)
                return game

            self.game = self.runner.run(start())

        @rule(name=st.sampled_from(game_of.life), a=_NUMBER, b=_NUMBER)
        def live(self, name: str, a: int, b: int) -> None:
            self.runner.run(self.game.step(name, a, b))

        @rule(name=st.sampled_from(game_of.cheats), a=_NUMBER, b=_NUMBER)
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

    Games.TestCase.settings = settings(
        max_examples=max_examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return Games.TestCase

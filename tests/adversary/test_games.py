"""Anything at any time: Hypothesis, or a seed, chooses; the honest side never loses."""

import pytest

from adversary_games import games
from adversary_play import Game, random_game
from lightspeed.lsf import Party


@pytest.mark.parametrize("seed", range(8))
async def test_random_game_is_not_lost(seed: int) -> None:
    await random_game(seed)


TestCheatingPayer = games(Game, cheat=Party.PAYER, max_examples=8, steps=20)
TestCheatingPayee = games(Game, cheat=Party.PAYEE, max_examples=8, steps=20)

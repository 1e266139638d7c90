"""The adversary with tokens in the channel: known attacks, builds that lose tokens, random games.

Tokens count as far as a stranger believes in them, from a consignment whose transactions are
mined; `make adversary` plays the attacks on sats with tokens too.
"""

from contextlib import ExitStack

import pytest

from adversary_games import games
from adversary_mutations import Mutation
from adversary_play import random_game
from adversary_record import Fault
from adversary_token_mutations import TOKEN_MUTATIONS
from adversary_token_play import TokenGame
from adversary_token_scenarios import TOKEN_PLAYS, TOKEN_SCENARIOS, play_tokens
from adversary_world import Lost
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

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
    await random_game(seed, game_of=TokenGame)


TestCheatingPayer = games(TokenGame, cheat=Party.PAYER, max_examples=5, steps=15)
TestCheatingPayee = games(TokenGame, cheat=Party.PAYEE, max_examples=5, steps=15)

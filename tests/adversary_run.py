"""The adversary at length: `make adversary`, or `python tests/adversary_run.py [SEED]`.

Every known attack, every build without a rule, a node that dies at each of its I/O points (each
once before any a second time, in at most half of the time), then random games until
ADVERSARY_SECONDS (600) have passed; all of it with sats and with tokens. With a SEED: that one
game; odd ones are with tokens. Exits with 1 if anything was lost, or a build without a rule was
not caught.
"""

import asyncio
import itertools
import logging
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from adversary_crashes import PHASES, TOKEN_PHASES, Death, deaths_in, die
from adversary_mutations import MUTATIONS, Mutation
from adversary_play import Game, Outcome, random_game
from adversary_record import Fault
from adversary_scenarios import SCENARIOS, play
from adversary_token_mutations import TOKEN_MUTATIONS
from adversary_token_play import TokenGame
from adversary_token_scenarios import TOKEN_PLAYS, TOKEN_SCHEMES, play_tokens
from adversary_token_world import TokenWorld
from adversary_world import Lost, World
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

_PROGRESS_SECONDS = 15.0
_SCHEMES = (Scheme.OUTPUTS, Scheme.LADDER)


_TOKENS_TOO = tuple(
    m for m in MUTATIONS if Scheme.LADDER in m.schemes and m.caught_by != "double_settlement"
)
"""Builds that lose sats, and tokens as well. (There, sats are paid back for what was settled.)"""
_BUILDS: tuple[tuple[Mutation, Scheme, bool], ...] = (
    *((mutation, scheme, False) for mutation in MUTATIONS for scheme in mutation.schemes),
    *((mutation, scheme, True) for mutation in TOKEN_MUTATIONS for scheme in mutation.schemes),
    *((mutation, scheme, True) for mutation in _TOKENS_TOO for scheme in TOKEN_SCHEMES),
)


def _named(scheme: Scheme, tokens: bool) -> str:
    return f"{scheme.name.lower()}{', tokens' if tokens else ''}"


def _played(name: str, scheme: Scheme, tokens: bool) -> None:
    if tokens:
        asyncio.run(play_tokens(name, scheme=scheme))
    else:
        asyncio.run(play(name, scheme=scheme))


def _scenario(task: tuple[str, Scheme, bool]) -> str:
    """What went wrong, or nothing."""
    name, scheme, tokens = task
    try:
        _played(name, scheme, tokens)
    except Exception as error:
        return f"{name} ({_named(scheme, tokens)}): {type(error).__name__}: {error}"
    return ""


def _mutation(index: int) -> str:
    mutation, scheme, tokens = _BUILDS[index]
    with ExitStack() as stack:
        mutation.broken(stack)
        try:
            _played(mutation.caught_by, scheme, tokens)
        except (Lost, Fault):
            return ""
    return f"{mutation.name} ({_named(scheme, tokens)}) is not caught by {mutation.caught_by}"


def _deaths(task: tuple[str, Party, Scheme, type[World]]) -> list[Death]:
    phase, party, scheme, kind = task
    return asyncio.run(deaths_in(phase, party, scheme=scheme, kind=kind))


def _death(death: Death) -> str:
    try:
        asyncio.run(die(death, to_the_end=death.point % 3 == 0))
    except Exception as error:
        return f"{death}: {type(error).__name__}: {error}"
    return ""


def _each_point_once_first(deaths: list[Death]) -> list[Death]:
    """Whatever the scheme, and whether last words arrive; else in this order."""
    met: Counter[tuple[object, ...]] = Counter()
    times = []
    for death in deaths:
        point = (death.phase, death.party, death.kind, death.point)
        times.append(met[point])
        met[point] += 1
    return [deaths[at] for at in sorted(range(len(deaths)), key=times.__getitem__)]


def _game(seed: int) -> Outcome | str:
    try:
        return asyncio.run(random_game(seed, game_of=TokenGame if seed % 2 else Game))
    except Exception as error:
        return f"game {seed}: {type(error).__name__}: {error}"


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


@dataclass
class _Tally:
    games: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome | str) -> None:
        self.games += 1
        if isinstance(outcome, str):
            self.problems.append(outcome)
            print(outcome, flush=True)
            return
        self.tried += outcome.tried
        cheat = outcome.cheat.name.lower() if outcome.cheat is not None else "nobody"
        book = f"{outcome.scheme.name.lower()} in {outcome.money}"
        self.ends[f"{cheat} cheats, {book}, {outcome.end}"] += 1

    def show(self, seconds: float) -> None:
        print(
            f"{seconds:5.0f} s  {self.games} games, {self.tried.total()} steps, "
            f"{len(self.problems)} lost",
            flush=True,
        )


def main() -> int:
    if len(sys.argv) > 1:
        outcome = _game(int(sys.argv[1]))
        print(outcome)
        return int(isinstance(outcome, str))
    seconds = float(os.environ.get("ADVERSARY_SECONDS", "600"))
    began = time.monotonic()
    first_seed = int(os.environ.get("ADVERSARY_SEED", "1000"))
    with multiprocessing.get_context("spawn").Pool(initializer=_quiet) as pool:
        scenarios = [(n, s, False) for n, chosen in SCENARIOS.items() for s in chosen.schemes]
        scenarios += [(name, scheme, True) for name, scheme in TOKEN_PLAYS]
        problems = [found for found in pool.map(_scenario, scenarios) if found]
        print(f"{len(scenarios)} known attacks, {len(problems)} of them not withstood", flush=True)
        missed = [found for found in pool.map(_mutation, range(len(_BUILDS))) if found]
        print(f"{len(_BUILDS)} builds without a rule, {len(missed)} of them not caught", flush=True)
        problems += missed
        lives = [
            *((phase, scheme, World) for phase in PHASES for scheme in _SCHEMES),
            *((phase, scheme, TokenWorld) for phase in TOKEN_PHASES for scheme in TOKEN_SCHEMES),
        ]
        sides = [(phase, party, s, kind) for phase, s, kind in lives for party in Party]
        deaths = [death for found in pool.map(_deaths, sides) for death in found]
        random.Random(first_seed).shuffle(deaths)
        deaths = _each_point_once_first(deaths)
        at_once = 16 * (os.cpu_count() or 1)
        died, fatal = 0, []
        while died < len(deaths) and (not died or time.monotonic() - began < seconds / 2):
            some = deaths[died : died + at_once]
            fatal += [found for found in pool.map(_death, some) if found]
            died += len(some)
        print(f"{died} of {len(deaths)} deaths, {len(fatal)} of them not survived", flush=True)
        problems += fatal
        for problem in problems:
            print(problem, flush=True)

        tally, shown = _Tally(problems=problems), time.monotonic()
        for outcome in pool.imap_unordered(_game, itertools.count(first_seed)):
            tally.add(outcome)
            now = time.monotonic()
            if now - shown > _PROGRESS_SECONDS:
                tally.show(now - began)
                shown = now
            if now - began > seconds:
                break
        pool.terminate()
    tally.show(time.monotonic() - began)
    for what, count in sorted(tally.tried.items()):
        print(f"{count:8}  {what}")
    for what, count in sorted(tally.ends.items()):
        print(f"{count:8}  {what}")
    return int(bool(tally.problems))


if __name__ == "__main__":
    sys.exit(main())

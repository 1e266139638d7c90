"""The adversary at length: `make adversary`, or `python tests/adversary_run.py [SEED]`.

Every known attack, every build without a rule, a node that dies at each of its I/O points (in at
most half of the time), then random games until ADVERSARY_SECONDS (600) have passed. With a SEED:
that one game. Exits with 1 if anything was lost, or a build without a rule was not caught.
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

from adversary_crashes import PHASES, Death, deaths_in, die
from adversary_mutations import MUTATIONS
from adversary_play import Outcome, random_game
from adversary_record import Fault
from adversary_scenarios import SCENARIOS, play
from adversary_world import Lost
from lightspeed.lsf import Party
from lightspeed.payment import Scheme

_PROGRESS_SECONDS = 15.0
_SCHEMES = (Scheme.OUTPUTS, Scheme.LADDER)


def _scenario(task: tuple[str, Scheme]) -> str:
    """What went wrong, or nothing."""
    name, scheme = task
    try:
        asyncio.run(play(name, scheme=scheme))
    except Exception as error:
        return f"{name} ({scheme.name.lower()}): {type(error).__name__}: {error}"
    return ""


def _mutation(task: tuple[int, Scheme]) -> str:
    index, scheme = task
    mutation = MUTATIONS[index]
    with ExitStack() as stack:
        mutation.broken(stack)
        try:
            asyncio.run(play(mutation.caught_by, scheme=scheme))
        except (Lost, Fault):
            return ""
    return f"{mutation.name} ({scheme.name.lower()}) is not caught by {mutation.caught_by}"


def _deaths(task: tuple[str, Party, Scheme]) -> list[Death]:
    phase, party, scheme = task
    return asyncio.run(deaths_in(phase, party, scheme=scheme))


def _death(death: Death) -> str:
    try:
        asyncio.run(die(death, to_the_end=death.point % 3 == 0))
    except Exception as error:
        return f"{death}: {type(error).__name__}: {error}"
    return ""


def _game(seed: int) -> Outcome | str:
    try:
        return asyncio.run(random_game(seed))
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
        self.ends[f"{cheat} cheats, {outcome.scheme.name.lower()}, {outcome.end}"] += 1

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
        scenarios = [(name, s) for name, chosen in SCENARIOS.items() for s in chosen.schemes]
        problems = [found for found in pool.map(_scenario, scenarios) if found]
        print(f"{len(scenarios)} known attacks, {len(problems)} of them not withstood", flush=True)
        builds = [(index, s) for index, m in enumerate(MUTATIONS) for s in m.schemes]
        missed = [found for found in pool.map(_mutation, builds) if found]
        print(f"{len(builds)} builds without a rule, {len(missed)} of them not caught", flush=True)
        problems += missed
        sides = [(phase, party, s) for phase in PHASES for party in Party for s in _SCHEMES]
        deaths = [death for found in pool.map(_deaths, sides) for death in found]
        random.Random(first_seed).shuffle(deaths)
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

"""The laws of fuzz/, on a fixed set of inputs and without a fuzzer."""

import importlib
from pathlib import Path
from random import Random

import pytest

from target import Target

FUZZ = Path(__file__).parents[1] / "fuzz"
NAMES = sorted(path.stem for path in FUZZ.glob("fuzz_*.py"))
RANDOM_INPUTS = 2_000
MUTATIONS_PER_SEED = 100


def target_of(name: str) -> Target:
    target = importlib.import_module(name).TARGET
    assert isinstance(target, Target)
    return target


@pytest.mark.parametrize("name", NAMES)
def test_random_bytes_parse_or_raise_the_declared_error(name: str) -> None:
    target, random = target_of(name), Random(8)
    for _ in range(RANDOM_INPUTS):
        target.feed(random.randbytes(random.randrange(120)))


@pytest.mark.parametrize("name", NAMES)
def test_mutated_seeds_parse_or_raise_the_declared_error(name: str) -> None:
    target, random = target_of(name), Random(4)
    for seed in target.inputs():
        for _ in range(MUTATIONS_PER_SEED):
            mutated = bytearray(seed)
            mutated[random.randrange(1, len(seed))] = random.randrange(256)
            target.feed(bytes(mutated))
            target.feed(bytes(mutated[: random.randrange(1, len(seed) + 1)]))


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_valid_and_every_parser_is_declared(name: str) -> None:
    target = target_of(name)
    assert f"fuzz_{target.name}" == name
    assert {parser for parser, _ in target.seeds} <= {parser for parser, _ in target.parsers}
    for parser, data in target.seeds:
        parser(data)


def test_any_other_error_escapes() -> None:
    def parser(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        Target("broken", ((parser, ValueError),), ()).feed(b"\x00a")

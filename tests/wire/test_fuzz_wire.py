"""The law of fuzz/fuzz_wire.py, on a fixed set of inputs and without a fuzzer."""

import importlib.util
from pathlib import Path
from random import Random

import pytest

_PATH = Path(__file__).parents[2] / "fuzz" / "fuzz_wire.py"
_spec = importlib.util.spec_from_file_location("fuzz_wire", _PATH)
fuzz_wire = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_wire)


def test_random_bytes_parse_or_raise_wire_error():
    random = Random(8)
    for _ in range(2_000):
        fuzz_wire.fuzz_one(random.randbytes(random.randrange(120)))


def test_mutated_seeds_parse_or_raise_wire_error():
    random = Random(4)
    for seed in fuzz_wire.SEEDS:
        fuzz_wire.fuzz_one(seed)
        for _ in range(50):
            mutated = bytearray(seed)
            mutated[random.randrange(1, len(seed))] = random.randrange(256)
            fuzz_wire.fuzz_one(bytes(mutated[: random.randrange(1, len(seed) + 1)]))


def test_every_seed_is_valid():
    for seed in fuzz_wire.SEEDS:
        fuzz_wire.PARSERS[seed[0]](seed[1:])


def test_any_other_error_escapes(monkeypatch):
    monkeypatch.setattr(fuzz_wire, "PARSERS", (lambda data: {}[data],))
    with pytest.raises(KeyError):
        fuzz_wire.fuzz_one(b"\0a")

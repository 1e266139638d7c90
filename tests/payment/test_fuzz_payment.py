"""The law of fuzz/fuzz_payment.py, on a fixed set of inputs and without a fuzzer."""

import importlib.util
from pathlib import Path
from random import Random

import pytest

_PATH = Path(__file__).parents[2] / "fuzz" / "fuzz_payment.py"
_spec = importlib.util.spec_from_file_location("fuzz_payment", _PATH)
fuzz_payment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_payment)


def test_random_bytes_parse_or_raise_the_declared_error():
    random = Random(2)
    for _ in range(2_000):
        fuzz_payment.fuzz_one(random.randbytes(random.randrange(120)))


def test_mutated_seeds_parse_or_raise_the_declared_error():
    random = Random(3)
    for seed in fuzz_payment.SEEDS:
        for _ in range(300):
            mutated = bytearray(seed)
            mutated[random.randrange(1, len(seed))] = random.randrange(256)
            fuzz_payment.fuzz_one(bytes(mutated[: random.randrange(1, len(seed) + 1)]))


def test_every_seed_is_valid():
    for seed in fuzz_payment.SEEDS:
        fuzz_payment.PARSERS[seed[0]][0](seed[1:])


def test_any_other_error_escapes(monkeypatch):
    monkeypatch.setattr(fuzz_payment, "PARSERS", ((lambda data: {}[data], ValueError),))
    with pytest.raises(KeyError):
        fuzz_payment.fuzz_one(b"\0a")

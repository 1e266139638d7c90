"""A fuzz target: parsers, each with the one error that it declares, and inputs that it takes.

The first byte of an input chooses the parser, the rest is what it is fed. Anything but a value
and the declared error escapes, and is a crash.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BUILD = Path(__file__).parents[1] / "build"

Parser = Callable[[bytes], None]
Declared = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds` are inputs that parse, and with which the corpus begins."""

    name: str
    parsers: tuple[tuple[Parser, Declared], ...]
    seeds: tuple[tuple[Parser, bytes], ...]

    def inputs(self) -> list[bytes]:
        """The seeds as inputs."""
        number = {parser: index for index, (parser, _) in enumerate(self.parsers)}
        return [bytes([number[parser]]) + data for parser, data in self.seeds]

    def feed(self, data: bytes) -> None:
        """One input."""
        if not data:
            return
        parser, declared = self.parsers[data[0] % len(self.parsers)]
        try:
            parser(data[1:])
        except declared:
            return

    def run(self) -> None:
        """Until a crash or a limit in the arguments (those of libFuzzer).

        The corpus grows in build/fuzz_<name>/, a crash is written beside it.
        """
        import atheris

        corpus = BUILD / f"fuzz_{self.name}"
        corpus.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(self.inputs()):
            (corpus / f"seed-{index}").write_bytes(seed)
        atheris.instrument_all()
        atheris.Setup([*sys.argv, f"-artifact_prefix={corpus}-", str(corpus)], self.feed)
        atheris.Fuzz()

"""Commands run in this process, and commands that serve in processes of their own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.testing import CliRunner

from lightspeed.cli.app import app

__all__ = ["ask", "run", "serving", "wait_until"]


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def ask(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


@contextmanager
def serving(*arguments: object) -> Iterator[dict[str, Any]]:
    """A command that serves, in a process of its own; what it printed when it was ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lightspeed.cli", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.rstrip() == "}":
                break
        yield json.loads(said)
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)

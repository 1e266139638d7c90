"""Makes the published vectors that ran visible at the end of every test run."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is no reason to fail; and what CI judges must not hang on chance.
settings.register_profile("lightspeed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lightspeed")

_PROPERTY = "published vectors"

# A shell starts background jobs with SIGINT ignored, and programs inherit that. Tests that
# interrupt programs of theirs want them as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def vectors(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """`vectors("BIP 341 wallet", 14)`: this test judged so many published vectors.

    Call it after the last of them. User properties travel with the report, so the sum is right
    also when the tests run in several processes.
    """

    def record(name: str, count: int) -> None:
        request.node.user_properties.append((_PROPERTY, [name, count]))

    return record


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == _PROPERTY:
                counts[value[0]] += value[1]
    if not counts:
        return
    terminalreporter.section(_PROPERTY)
    for name, count in sorted(counts.items()):
        terminalreporter.line(f"{count:>6}  {name}")
    terminalreporter.line(f"{counts.total():>6}  in total")

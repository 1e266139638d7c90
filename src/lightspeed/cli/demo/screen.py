"""What a person sees of the demo while it runs: steps with their times, and moving bars.

Where the output is no terminal, every step is a plain line and nothing moves.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

__all__ = ["Screen", "Step"]

_INDENT = "    "


class Step:
    """One thing that is being done; `say` what came out of it, as often as there is news."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def say(self, outcome: str) -> None:
        self.outcomes.append(outcome)


class Screen:
    """Prints to one console; one step at a time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def note(self, text: str) -> None:
        """A line below the step before."""
        self.console.print(Text(_INDENT + text, style="dim"), soft_wrap=True)

    @contextmanager
    def step(self, doing: str) -> Iterator[Step]:
        """A line when it is done, with the seconds that it took."""
        step = Step()
        began = time.monotonic()
        try:
            with self._moving(SpinnerColumn(), TextColumn("{task.description}")) as progress:
                progress.add_task(f"{doing} ...", total=None)
                yield step
        except BaseException:
            self._line(doing, began, mark="✗", style="bold red")
            raise
        self._line(doing, began, mark="✓", style="green")
        for outcome in step.outcomes:
            self.note(outcome)

    @contextmanager
    def count(self, doing: str, total: int) -> Iterator[tuple[Step, Callable[[int], None]]]:
        """As `step`, with a bar; call the second with the number done so far."""
        step = Step()
        began = time.monotonic()
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
        try:
            with self._moving(*columns, TimeElapsedColumn()) as progress:
                task = progress.add_task(doing, total=total)
                yield step, lambda done: progress.update(task, completed=done)
        except BaseException:
            self._line(doing, began, mark="✗", style="bold red")
            raise
        self._line(doing, began, mark="✓", style="green")
        for outcome in step.outcomes:
            self.note(outcome)

    def _moving(self, *columns: ProgressColumn) -> Progress:
        return Progress(
            *columns,
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _line(self, doing: str, began: float, *, mark: str, style: str) -> None:
        now = time.monotonic()
        line = Text(f"{mark} ", style=style)
        line.append(doing, style="not bold default")
        line.append(f"  {now - began:.1f} s", style="not bold dim default")
        self.console.print(line, soft_wrap=True)

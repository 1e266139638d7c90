"""What commands print: text for people, one JSON document with `--json` for programs.

Answers go to stdout, everything else to stderr.
"""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from lightspeed.node.views import TokenNameView

__all__ = ["JsonFlag", "fields", "sats", "show_json", "stderr", "stdout", "table", "tokens"]

_WIDTH_OF_NO_TERMINAL = 120

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def stdout() -> "Console":
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL
    return Console(highlight=False, width=width)


def stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def show_json(document: Any) -> None:
    """A plain value, a dataclass, or a list of either."""
    typer.echo(json.dumps(document, indent=2, default=asdict))


def fields(rows: "Iterable[tuple[str, object]]") -> None:
    """Names on the left, values on the right; a value may be copied as it stands."""
    from rich.text import Text

    shown = list(rows)
    width = max((len(name) for name, _ in shown), default=0)
    console = stdout()
    for name, value in shown:
        line = Text(f"{name:<{width}}  ", style="dim").append(str(value), style="not dim")
        console.print(line, soft_wrap=True)


def table(columns: "Sequence[str]", rows: "Iterable[Sequence[object]]", *, empty: str) -> None:
    """Columns of numbers are aligned to the right; `empty` is printed where there is no row."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    listed = [tuple(row) for row in rows]
    if not listed:
        stdout().print(empty)
        return
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int) for row in listed)
        grid.add_column(
            name,
            justify="right" if numeric else "left",
            no_wrap=position == 0,  # ids are there to be copied
            overflow="fold",
        )
    for row in listed:
        grid.add_row(*(Text(sats(cell) if isinstance(cell, int) else str(cell)) for cell in row))
    stdout().print(grid)


def sats(amount: int) -> str:
    """12,345"""
    return f"{amount:,}"


def tokens(amount: int, token: "TokenNameView") -> str:
    """12,345.67 CALL, by the contract's precision."""
    whole, part = divmod(amount, 10**token.precision)
    decimals = f".{part:0{token.precision}}" if token.precision else ""
    return f"{whole:,}{decimals} {token.ticker}"

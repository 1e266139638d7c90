"""Writes docs/states.md from the tables of the code.

python docs/states.py
"""

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from lightspeed.channel.phases import ALLOWED_PHASES, EXTENSION_PHASES, TRANSITIONS, Phase
from lightspeed.lsf.life import IRREVOCABLE, UPDATES, Stage

TARGET = Path(__file__).with_suffix(".md")


def render() -> str:
    """The document."""
    head = [
        "# States",
        "",
        "Written by `python docs/states.py` from the tables in `lightspeed.channel.phases` and "
        "`lightspeed.lsf.life`, which the code obeys: what they do not have is refused, and "
        "changes nothing.",
        "",
    ]
    return "\n".join([*head, *_channel(), "", *_book()]) + "\n"


def _channel() -> list[str]:
    ways = [(start, end, "") for start, ends in TRANSITIONS.items() for end in Phase if end in ends]
    rows = [(f"`{_wire_name(kind)}`", phases) for kind, phases in ALLOWED_PHASES.items()]
    lines = [
        "## A channel",
        "",
        *_diagram([f"[*] --> {_id(Phase.AWAITING_READY)}"], ways, Phase),
        "",
        "Which messages are handled in which of them:",
        "",
        f"| message | {' | '.join(phase.value for phase in Phase)} |",
        "|---" * (1 + len(Phase)) + "|",
    ]
    for name, phases in [*rows, ("messages of extensions", EXTENSION_PHASES)]:
        marks = ("x" if phase in phases else " " for phase in Phase)
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return lines


def _book() -> list[str]:
    said = [(needed, after, _wire_name(kind)) for kind, (needed, after) in UPDATES.items()]
    ways = [*said, *((start, end, "irrevocable") for start, end in IRREVOCABLE.items())]
    accepted = _id(Stage.ACCEPTED)
    return [
        "## A book",
        "",
        "For each side, by what it said and heard. An update in another state than the one from "
        "which its arrow starts is a protocol error. When a disconnection makes it void, who heard "
        "it is back in that state until it is said again.",
        "",
        *_diagram(
            [f"[*] --> {accepted}: lsf_accept", f"{accepted} --> [*]: the next lsf_propose"],
            ways,
            [stage for stage in Stage if stage is not Stage.UNKNOWN],
        ),
    ]


def _diagram(
    ends: Iterable[str], ways: Iterable[tuple[Enum, Enum, str]], states: Iterable[Enum]
) -> list[str]:
    return [
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {end}" for end in ends),
        *(
            f"    {_id(start)} --> {_id(end)}{f': {why}' if why else ''}"
            for start, end, why in ways
        ),
        *(f"    {_id(state)}: {state.value}" for state in states),
        "```",
    ]


def _id(state: Enum) -> str:
    return state.name.lower()


def _wire_name(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


if __name__ == "__main__":
    TARGET.write_text(render())

"""Writes docs/states.md from the tables of the code.

python docs/states.py
"""

from pathlib import Path

from lightspeed.channel.phases import ALLOWED_PHASES, EXTENSION_PHASES, TRANSITIONS, Phase

TARGET = Path(__file__).with_suffix(".md")


def render() -> str:
    """The document."""
    lines = [
        "# States of a channel",
        "",
        "Written by `python docs/states.py` from the tables in `lightspeed.channel.phases`, which "
        "the code obeys: a way that is not in the first table, or a message where the second has "
        "no mark, is refused and changes nothing.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {_id(Phase.AWAITING_READY)}",
    ]
    for start, ends in TRANSITIONS.items():
        lines += [f"    {_id(start)} --> {_id(end)}" for end in Phase if end in ends]
    lines += [f"    {_id(phase)}: {phase.value}" for phase in Phase]
    lines += ["```", "", f"| message | {' | '.join(phase.value for phase in Phase)} |"]
    lines += ["|---" * (1 + len(Phase)) + "|"]
    rows = [(kind.__name__, phases) for kind, phases in ALLOWED_PHASES.items()]
    for name, phases in [*rows, ("messages of extensions", EXTENSION_PHASES)]:
        marks = ("x" if phase in phases else " " for phase in Phase)
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def _id(phase: Phase) -> str:
    return phase.name.lower()


if __name__ == "__main__":
    TARGET.write_text(render())

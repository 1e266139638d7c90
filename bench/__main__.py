"""Runs every benchmark, one after the other, and writes what they print to docs/performance.md.

    python -m bench [NAME ...]

Without names all of them. Each states its question and its method; figures are medians, and what
is compared was measured in the same run.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "performance.md"
NAMES = sorted(
    path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
)


def run(name: str) -> str:
    """What the benchmark prints; it is shown while it runs. Raises `CalledProcessError`."""
    command = [sys.executable, "-u", str(Path(__file__).parent / f"bench_{name}.py")]
    print(f"--- {name}", flush=True)
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines)


def report(outputs: dict[str, str]) -> str:
    """The document."""
    parts = [
        "# Performance",
        "Written by `make bench`; nothing in it is typed by hand. Trust the ratios: they compare "
        "what ran in turn on one machine. Absolute figures move with what else the machine does.",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"{platform.system()}, Python {platform.python_version()}.",
    ]
    for name, output in outputs.items():
        parts += [f"## {name}", f"```\n{output.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    chosen = sys.argv[1:] or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    outputs = {name: run(name) for name in chosen}
    if chosen == NAMES:
        REPORT.write_text(report(outputs))
        print(f"written to {REPORT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

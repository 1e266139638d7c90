"""The comparison's numbers are those of its rounds, and what it calls nothing was counted."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from bench_calls import Way, question, report
from calls.load import Client, Round
from lightspeed.cli.demo.counts import Counts

ROOT = Path(__file__).parents[2]


def way(
    name: str, *, calls: int, milliseconds: float, messages: int = 0, signatures: int = 0
) -> Way:
    """Two rounds of one second; everything counted in the first."""
    found = Round(
        seconds=1.0,
        latencies=[milliseconds / 1_000] * calls,
        requests=calls,
        clients_share=0.5,
    )
    first = Counts(
        signatures=signatures,
        messages={"CommitmentSigned": messages, "Ping": 1},
        http_requests=calls,
    )
    counted = [first, Counts(http_requests=calls)]
    return Way(name, Client.unpaid, rounds=[found, found], counted=counted)


def report_of(*, invoices: int = 10, signatures: int = 0) -> str:
    ways = (
        way("unpaid", calls=4_000, milliseconds=10),
        way("unit", calls=1_000, milliseconds=15, signatures=signatures),
        way("invoice", calls=invoices, milliseconds=1_010, messages=8 * invoices),
        way("batched", calls=20, milliseconds=2_010, messages=40),
    )
    return report({one.name: one for one in ways})


def test_ratios_are_of_calls_and_of_what_paying_adds() -> None:
    shown = report_of()
    assert re.search(r"^unit +5\.0 .*", shown, re.M)
    assert re.search(r"unit / invoice  calls/s +100 .* goal 100 x or more: reached", shown)
    assert re.search(r"unit / invoice  added median +1/200 .* goal 1/20 or less: reached", shown)
    assert re.search(r"unit / batched  calls/s +50 ", shown)
    assert re.search(r"^invoice +1 HTLC changes in each commitment_signed", shown, re.M)
    assert re.search(r"^batched +4 HTLC changes in each commitment_signed", shown, re.M)


def test_a_goal_that_is_missed_is_called_so() -> None:
    assert re.search(r"calls/s +91 .* goal 100 x or more: NOT reached", report_of(invoices=11))


def test_one_signature_in_two_thousand_calls_is_seen() -> None:
    nothing = r"^unit +0 +0 +0 +0 +2,000  goal 0 / 0 / 0 / 0: reached"
    assert re.search(nothing, report_of(), re.M)
    one = r"^unit +0\.0005 +0 +0 +0 +2,000  goal 0 / 0 / 0 / 0: NOT reached"
    assert re.search(one, report_of(signatures=1), re.M)


@pytest.mark.slow
def test_units_are_paid_with_nothing_while_invoices_are_counted_by_the_same_counters() -> None:
    mark = uuid.uuid4().hex
    finished = subprocess.run(
        [
            *(sys.executable, "bench/bench_calls.py"),
            *("--clients", "4", "--seconds", "1", "--rounds", "1"),
        ],
        cwd=ROOT,
        env={**os.environ, "BENCH_TEST": mark},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    shown = finished.stdout
    assert shown.startswith(question())
    assert "4 clients; for each way 1 x 1 s" in shown
    assert "c = 1,000, window 1,000 units" in shown
    assert "8 calls in flight in each channel" in shown
    assert "4/4 clients have a book" in finished.stderr

    per_call = shown.partition("per call ")[2]
    counted = dict(re.findall(r"^(\w+) +(\S+ +\S+ +\S+ +\S+ +[\d,]+)(?: |$)", per_call, re.M))
    *of_units, calls = counted["unit"].split()
    assert of_units == ["0", "0", "0", "0"]
    assert int(calls.replace(",", "")) >= 4
    signatures, messages, *rest, _ = counted["invoice"].split()
    # paper 1.2, and an invoice; less where a call is so quick that it shares a commitment
    assert float(signatures) == pytest.approx(7, abs=0.5)
    assert float(messages) == pytest.approx(10, abs=0.5)
    assert rest == ["3", "1"]
    _, messages, *rest, _ = counted["batched"].split()
    assert 2 < float(messages) <= 10  # of signatures there may be more: each HTLC's come again
    assert rest == ["3", "1"]
    for other in ("invoice", "batched"):
        for what in ("calls/s", "added median", "added p95"):
            assert re.search(rf"^unit / {other} +{what} +\S+  \[\S+ \.\. \S+\]", shown, re.M)

    running = [path for path in Path("/proc").glob("[0-9]*/environ") if mark in _text_of(path)]
    assert not running


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

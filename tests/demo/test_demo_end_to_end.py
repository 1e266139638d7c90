"""The demo and the chain agree, whoever closes and however calls are paid."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CAPACITY_SAT = 5_000_000
PUSH_SAT = 50_000
CALLS, LOCKS, CHAIN_LENGTH, LOCK_SAT = 305, 40, 10, 1_000
COMPLETED = CALLS // CHAIN_LENGTH
INVOICES, INVOICE_SAT = 5, 1_000

REQUIRED = {
    "scheme",
    "locks",
    "chain_length",
    "units",
    "calls_paid",
    "units_redeemed",
    "calls_per_second",
    "signatures_per_call",
    "node_messages_per_call",
    "local_calls_per_call",
    "extra_requests_per_call",
    "payee_claimed_sat",
    "payer_refunded_sat",
    "onchain_vbytes",
    "closed_by",
    "ok",
}
SMALL = (
    *("--calls", str(CALLS)),
    *("--locks", str(LOCKS)),
    *("--chain-length", str(CHAIN_LENGTH)),
    *("--conventional-calls", str(INVOICES)),
)


def demo(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Runs it in a process of its own: (its document, what it printed)."""
    document = folder / "demo.json"
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "lightspeed.cli", "demo", *options),
            *("--folder", str(folder / "demo"), "--json", str(document)),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "\x1b[" not in finished.stdout  # no terminal, so plain lines
    return json.loads(document.read_text()), finished.stdout


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def assert_no_satoshi_is_missing(found: dict[str, Any]) -> None:
    fees, anchors = found["fees_sat"], found["anchors_sat"]
    received = found["received_sat"]
    assert sum(received.values()) + sum(fees.values()) + anchors["left"] == CAPACITY_SAT
    assert found["onchain_vbytes"] == sum(tx["vbytes"] for tx in found["transactions"])
    assert sum(fees.values()) == sum(tx["fee_sat"] for tx in found["transactions"])
    assert all(tx["height"] for tx in found["transactions"])
    assert all(check["expected"] == check["found"] for check in found["checks"])


@pytest.mark.slow
@pytest.mark.parametrize("closer", ["payer", "payee"])
def test_calls_paid_with_secrets_are_enforced_on_chain(tmp_path: Path, closer: str) -> None:
    found, shown = demo(tmp_path, *SMALL, "--close", closer)
    assert found.keys() >= REQUIRED
    assert found["ok"] is True
    assert (found["scheme"], found["closed_by"]) == ("outputs", closer)
    assert (found["locks"], found["chain_length"]) == (LOCKS, CHAIN_LENGTH)
    assert found["units"] == LOCKS * CHAIN_LENGTH
    assert found["calls_paid"] == found["units_redeemed"] == CALLS
    assert found["completed_locks"] == COMPLETED
    assert found["payee_claimed_sat"] == COMPLETED * LOCK_SAT
    assert found["payer_refunded_sat"] == (LOCKS - COMPLETED) * LOCK_SAT
    assert found["unenforced_sat"] == (CALLS % CHAIN_LENGTH) * LOCK_SAT / CHAIN_LENGTH

    owed = PUSH_SAT + INVOICES * INVOICE_SAT + COMPLETED * LOCK_SAT
    fees, anchors, received = found["fees_sat"], found["anchors_sat"], found["received_sat"]
    assert received["payee"] == owed - fees["payee"] + anchors["payee"]
    channel_costs = fees["channel"] + anchors["payee"] + anchors["left"]
    assert received["payer"] == CAPACITY_SAT - owed - channel_costs - fees["payer"]
    assert_no_satoshi_is_missing(found)

    for name in ("signatures", "node_messages", "local_calls", "extra_requests"):
        assert found[f"{name}_per_call"] == 0
    conventional = found["measured"]["conventional"]
    assert conventional["calls"] == INVOICES
    assert conventional["signatures_per_call"] == 7  # Paper 1.2, and the invoice's
    assert conventional["node_messages_per_call"] == 10
    assert conventional["local_calls_per_call"] == 3
    assert conventional["extra_requests_per_call"] == 1

    assert "402 book-closed" in shown
    assert re.search(r"signatures\s+6 or more\s+7\s+0\s+0", shown)
    assert not processes_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("closer", ["payer", "payee"])
def test_a_ladder_is_settled_by_one_small_transaction(tmp_path: Path, closer: str) -> None:
    rungs, amount, length, calls = 6, 8_000, 80, 305
    completed = calls // length
    found, shown = demo(
        tmp_path,
        *("--scheme", "ladder", "--close", closer, "--calls", str(calls)),
        *("--locks", str(rungs), "--lock-amount", str(amount), "--chain-length", str(length)),
        *("--conventional-calls", "0"),
    )
    assert found.keys() >= REQUIRED
    assert found["ok"] is True
    assert (found["scheme"], found["closed_by"]) == ("ladder", closer)
    assert (found["locks"], found["chain_length"], found["units"]) == (rungs, length, 480)
    assert found["calls_paid"] == found["units_redeemed"] == calls
    assert found["completed_locks"] == completed
    assert found["payee_claimed_sat"] == completed * amount
    assert found["payer_refunded_sat"] == (rungs - completed) * amount
    assert found["unenforced_sat"] == (calls % length) * amount / length
    assert_no_satoshi_is_missing(found)

    book = [tx for tx in found["transactions"] if tx["role"] == "book"]
    assert [tx["what"] for tx in book] == ["settlement transaction"]
    assert book[0]["vbytes"] < 400
    fees, anchors, received = found["fees_sat"], found["anchors_sat"], found["received_sat"]
    owed = PUSH_SAT + completed * amount
    assert received["payee"] == owed - fees["payee"] + anchors["payee"]

    outputs = found["comparison"]
    assert outputs["ok"] is True
    assert (outputs["scheme"], outputs["closed_by"]) == ("outputs", closer)
    assert (outputs["units"], outputs["calls_paid"]) == (480, calls)
    assert outputs["locks"] == rungs * 8
    assert_no_satoshi_is_missing(outputs)
    onchain = found["onchain"]
    for name, run in (("ladder", found), ("outputs", outputs)):
        assert onchain[name]["vbytes"] == run["onchain_vbytes"]
        assert onchain[name]["bytes"] == sum(tx["bytes"] for tx in run["transactions"])
    assert onchain["ladder"]["book_vbytes"] == book[0]["vbytes"]
    assert onchain["outputs"]["book_vbytes"] > 10 * onchain["ladder"]["book_vbytes"]

    assert shown.count("402 book-closed") == 2
    assert not processes_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("closer", ["payer", "payee"])
@pytest.mark.parametrize("scheme", ["seals", "ladder"])
def test_calls_paid_in_tokens_end_in_tokens_that_a_stranger_believes(
    tmp_path: Path, scheme: str, closer: str
) -> None:
    locks, amount, length, calls = 12, 60, 30, 100
    completed = calls // length
    found, shown = demo(
        tmp_path,
        *("--scheme", scheme, "--asset", "token", "--close", closer, "--calls", str(calls)),
        *("--locks", str(locks), "--lock-amount", str(amount), "--chain-length", str(length)),
        *("--conventional-calls", "2"),
    )
    assert found["ok"] is True
    assert (found["scheme"], found["asset"], found["closed_by"]) == (scheme, "token", closer)
    assert found["calls_paid"] == found["units_redeemed"] == calls
    assert found["completed_locks"] == completed
    assert found["payee_claimed_tokens"] == completed * amount
    assert found["unenforced_tokens"] == (calls % length) * amount // length
    tokens = found["tokens"]
    book, rest = locks * amount, (locks - completed) * amount
    lost = rest if scheme == "seals" else 0
    assert tokens["in_the_book"] == book
    assert tokens["payer"]["before"] == tokens["bought_by_payer"] > book
    assert tokens["payer"]["after"] == tokens["payer"]["before"] - completed * amount - lost
    assert tokens["payee"]["before"] == tokens["issued"] - tokens["bought_by_payer"]
    assert tokens["payee"]["after"] == tokens["payee"]["before"] + completed * amount
    assert tokens["lost"] == {"payer": lost, "payee": 0}
    sent = completed * amount // 2
    assert tokens["stranger"] == {"before": 0, "after": sent}
    assert tokens["payee"]["after_sending"] == tokens["payee"]["after"] - sent
    assert_no_satoshi_is_missing(found)
    assert found["signatures_per_call"] == found["node_messages_per_call"] == 0
    assert "402 book-closed" in shown
    assert not processes_of(tmp_path)


@pytest.mark.slow
def test_the_conventional_run_is_the_other_column(tmp_path: Path) -> None:
    found, _ = demo(tmp_path, "--scheme", "conventional", "--calls", "8", "--close", "payee")
    assert found.keys() >= REQUIRED
    assert found["ok"] is True
    assert (found["scheme"], found["calls_paid"], found["units_redeemed"]) == ("conventional", 8, 0)
    assert found["payee_claimed_sat"] == 8 * INVOICE_SAT
    assert found["received_sat"]["payee"] + found["fees_sat"]["payee"] - (
        found["anchors_sat"]["payee"]
    ) == (PUSH_SAT + 8 * INVOICE_SAT)
    assert (found["signatures_per_call"], found["node_messages_per_call"]) == (7, 10)
    assert (found["local_calls_per_call"], found["extra_requests_per_call"]) == (3, 1)
    assert_no_satoshi_is_missing(found)
    assert not processes_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc to see processes")
    demo_process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lightspeed.cli", "demo", "--folder", str(tmp_path / "demo")),
            *("--json", str(tmp_path / "demo.json")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert demo_process.stdout is not None
    for line in demo_process.stdout:
        if line.startswith("✓"):
            break
    assert len(processes_of(tmp_path)) >= 3
    demo_process.send_signal(number)
    said = demo_process.stdout.read()
    assert demo_process.wait(timeout=60) == (-9 if number is signal.SIGKILL else 130)
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(tmp_path)
    assert not (tmp_path / "demo.json").exists()

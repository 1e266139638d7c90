"""What a run found is printed, written, and decides the exit status."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lightspeed.cli.app import app
from lightspeed.cli.demo import show
from lightspeed.cli.demo.audit import Redeemed, WalletChange, audit
from lightspeed.cli.demo.counts import Counts
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.report import DemoResult, Measured
from lightspeed.cli.demo.trail import Movement, Role, Trail

PLAN = DemoPlan(calls=20, locks=2, chain_length=10, conventional_calls=4)
LOCKS = [bytes([n]) * 32 for n in range(2)]
COMMITMENT = Movement(
    txid="11" * 32,
    what="commitment",
    owner=None,
    role=Role.COMMITMENT,
    size_bytes=450,
    vbytes=300,
    fee_sat=400,
    height=116,
)
RECEIVED = {Closer.PAYEE: 50_000 + 4_000 + 2_000, Closer.PAYER: 5_000_000 - 56_000 - 400}


def result(*, received_by_payee: int = RECEIVED[Closer.PAYEE]) -> DemoResult:
    """Everything as it should be, but what arrived in the payee's wallet."""
    trail = Trail(
        capacity_sat=PLAN.capacity_sat,
        movements=(COMMITMENT,),
        claimed=dict.fromkeys(LOCKS, 1_000),
        lsf_sat=2_000,
        refunded_sat=0,
        received_sat=RECEIVED,
        anchors_sat=dict.fromkeys(Closer, 0),
        left_sat=0,
        waiting_sat=0,
    )
    redeemed = Redeemed(
        calls_answered=24,
        calls_served=24,
        calls_by_units=20,
        units=20,
        completed_locks=frozenset(LOCKS),
        conventional_sat=4_000,
    )
    wallets = {
        Closer.PAYEE: WalletChange(before_sat=0, after_sat=received_by_payee),
        Closer.PAYER: WalletChange(before_sat=5_000_000, after_sat=RECEIVED[Closer.PAYER]),
    }
    conventional = Counts(
        signatures=28,
        messages={"CommitmentSigned": 40},
        local_calls={"POST /v1/invoices": 12},
        http_requests=8,
    )
    return DemoResult(
        plan=PLAN,
        calls_paid=20,
        units_redeemed=20,
        completed_locks=2,
        lightspeed=Measured(calls=20, seconds=0.5, in_flight=4, counts=Counts(http_requests=20)),
        conventional=Measured(calls=4, seconds=2.0, in_flight=1, counts=conventional),
        trail=trail,
        audit=audit(PLAN, redeemed, trail=trail, wallets=wallets, funding_fee_sat=0),
        seconds=3.0,
    )


def shown(found: DemoResult, monkeypatch: pytest.MonkeyPatch, file: Path) -> Result:
    async def run_demo(*_: object, **__: object) -> DemoResult:
        return found

    monkeypatch.setattr(show, "run_demo", run_demo)
    return CliRunner().invoke(app, ["demo", "--json", str(file)])


def test_right_balances_end_with_status_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "demo.json"
    printed = shown(result(), monkeypatch, file)
    assert printed.exit_code == 0, printed.output
    found = json.loads(file.read_text())
    assert found["ok"] is True
    assert (found["calls_paid"], found["calls_per_second"]) == (20, 40)
    assert (found["payee_claimed_sat"], found["payer_refunded_sat"]) == (2_000, 0)
    assert (found["onchain_vbytes"], found["closed_by"]) == (300, "payer")
    assert found["measured"]["conventional"]["node_messages_per_call"] == 10
    assert "✗" not in printed.output


@pytest.mark.parametrize("by", [-1, 1])
def test_one_satoshi_off_ends_with_status_1(
    by: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    off = result(received_by_payee=RECEIVED[Closer.PAYEE] + by)
    printed = shown(off, monkeypatch, tmp_path / "demo.json")
    assert printed.exit_code == 1
    assert "the balances are off: payee: wallet" in printed.output
    assert printed.output.count("✗") == 1
    assert json.loads((tmp_path / "demo.json").read_text())["ok"] is False


def test_the_table_has_the_papers_figures_and_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed = shown(result(), monkeypatch, tmp_path / "demo.json").output
    rows = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert rows["signatures"][1:] == ["6", "or", "more", "7", "0", "0"]
    assert rows["node messages"][2:] == ["3", "10", "0", "0"]
    assert rows["local calls"][2:] == ["4", "3", "0", "0"]
    assert rows["extra requests"][2:] == ["1", "1", "0", "0"]


def test_one_request_among_many_calls_is_not_rounded_away() -> None:
    counts = Counts(http_requests=10_001)
    measured = Measured(calls=10_000, seconds=1.0, in_flight=1, counts=counts)
    assert measured.document()["extra_requests_per_call"] == 1 / 10_000
    alone = replace(result(), lightspeed=measured)
    assert alone.main.per_call.extra_requests > 0


def compared(*, received_by_payee: int = RECEIVED[Closer.PAYEE]) -> DemoResult:
    """A ladder, and the run by outputs that follows it."""
    outputs = result(received_by_payee=received_by_payee)
    settlement = replace(
        COMMITMENT, what="settlement transaction", role=Role.BOOK, size_bytes=500, vbytes=250
    )
    trail = replace(outputs.trail, movements=(COMMITMENT, settlement))
    plan = replace(PLAN, scheme=DemoScheme.LADDER)
    return replace(outputs, plan=plan, trail=trail, audit=result().audit, comparison=outputs)


def test_both_closes_are_in_the_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    printed = shown(compared(), monkeypatch, file)
    assert printed.exit_code == 0, printed.output
    found = json.loads(file.read_text())
    assert (found["scheme"], found["onchain_vbytes"]) == ("ladder", 550)
    ladder, outputs = found["onchain"]["ladder"], found["onchain"]["outputs"]
    assert (ladder["vbytes"], ladder["bytes"], ladder["transactions"]) == (550, 950, 2)
    assert (ladder["commitment_vbytes"], ladder["book_vbytes"]) == (300, 250)
    assert (ladder["book_transactions"], ladder["sweep_transactions"]) == (1, 0)
    assert (outputs["vbytes"], outputs["bytes"], outputs["book_vbytes"]) == (300, 450, 0)
    assert ladder["vbytes_per_call"] == 550 / 20
    assert found["comparison"]["scheme"] == "outputs"
    assert found["measured"].keys() == {"ladder", "outputs", "conventional"}
    rows = [line.split() for line in printed.output.splitlines()]
    assert ["all", "transactions:", "vbytes", "550", "300"] in rows


@pytest.mark.parametrize("by", [-1, 1])
def test_one_satoshi_off_in_the_comparison_ends_with_status_1(
    by: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    off = compared(received_by_payee=RECEIVED[Closer.PAYEE] + by)
    printed = shown(off, monkeypatch, tmp_path / "demo.json")
    assert printed.exit_code == 1
    assert "the balances are off: payee: wallet" in printed.output
    assert json.loads((tmp_path / "demo.json").read_text())["ok"] is False

"""Runs the demo in front of a person: steps, then the closing, the balances and the table."""

import json
from pathlib import Path

from rich.console import Console

from lightspeed.cli.demo.plan import MSAT_PER_SAT, DemoPlan, DemoScheme
from lightspeed.cli.demo.processes import run_until_asked_to_end
from lightspeed.cli.demo.report import (
    DemoResult,
    document,
    show_balances,
    show_closes,
    show_table,
    show_trail,
)
from lightspeed.cli.demo.run import run_demo
from lightspeed.cli.demo.screen import Screen
from lightspeed.cli.demo.token_audit import TokenAccount
from lightspeed.cli.errors import CheckFailed, UsageError
from lightspeed.cli.output import stdout

__all__ = ["show_demo"]


def show_demo(plan: DemoPlan, *, folder: Path | None, json_file: Path) -> None:
    """Raises `UsageError`, `CheckFailed` when a balance is off, `KeyboardInterrupt`."""
    if folder is not None and folder.exists():
        raise UsageError(f"{folder} exists already: name another folder, or remove it")
    console = stdout()
    screen = Screen(console)
    result = run_until_asked_to_end(run_demo(plan, screen, folder=folder))
    for run in result.runs:
        of = f", scheme {run.plan.scheme.value}" if result.comparison else ""
        screen.heading(f"The close on chain{of}")
        show_trail(run.trail, console)
        screen.heading(f"The money, to the satoshi{of}")
        show_balances(run.audit, console)
        _explain(run, console)
    if result.comparison is not None:
        screen.heading("What the two closes took of the chain")
        show_closes(result, console)
        _explain_closes(result, result.comparison, console)
    screen.heading("What a paid call costs besides itself")
    show_table(result, console)
    _explain_table(result, console)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(document(result), indent=2) + "\n")
    console.print(f"\n{result.seconds:.0f} s in all; the numbers are in {json_file}")
    if not result.ok:
        raise CheckFailed(_faults(result))


def _faults(result: DemoResult) -> str:
    faults = [check for run in result.runs for check in run.audit.faults]
    wrong = "; ".join(f"{c.what}: {c.found:,} instead of {c.expected:,}" for c in faults)
    return f"the balances are off: {wrong}"


def _explain(result: DemoResult, console: Console) -> None:
    if not result.plan.has_book:
        return
    audit, plan = result.audit, result.plan
    if result.tokens is not None:
        _explain_tokens(result, result.tokens, console)
        return
    console.print(
        f"{result.units_redeemed:,} units of {plan.unit_msat / MSAT_PER_SAT:g} sat were redeemed. "
        f"They complete {result.completed_locks:,} locks, and only complete locks count on chain: "
        f"{audit.claimed_sat:,} sat. The remaining {audit.unenforced_sat:,g} sat stay with the "
        "payer; the exposure rule keeps them below one lock and the window."
    )


def _explain_tokens(result: DemoResult, tokens: TokenAccount, console: Console) -> None:
    plan = result.plan
    console.print(
        f"{result.units_redeemed:,} units of {plan.amount_text(plan.unit_value)} were redeemed. "
        f"They complete {result.completed_locks:,} locks, and only complete locks count on chain: "
        f"{plan.amount_text(tokens.claimed)}. The exposure rule keeps the rest, "
        f"{plan.amount_text(tokens.unenforced)}, below one lock and the window."
    )
    if plan.scheme is DemoScheme.LADDER:
        console.print("In a ladder nobody loses tokens: the book's rest went back to the payer.")
    else:
        console.print(
            f"The payer lost {plan.amount_text(tokens.lost)}, the rest of the book: what was not "
            "redeemed died with the claim. A book that is settled and closed in the channel loses "
            "none, nor does a ladder."
        )


def _explain_closes(ladder: DemoResult, outputs: DemoResult, console: Console) -> None:
    console.print(
        "A ladder's settlement transaction pays every completed lock and gives the others back, "
        "whatever their number; scheme outputs claims or refunds each lock. What goes into the "
        "wallets nobody else can spend, and takes its time. The price is a coarser lock: "
        f"{ladder.plan.lock_amount:,} sat here, {outputs.plan.lock_amount:,} in outputs, "
        "and what a lock not completed holds is not enforced on chain."
    )


def _explain_table(result: DemoResult, console: Console) -> None:
    if result.conventional is None:
        return
    console.print(
        "Counted at the signers, at the nodes' sockets and APIs, and at the API server, while the "
        f"calls were made. Conventional calls cost {result.plan.conventional_price_sat:,} sat, so "
        "that the chain enforces the HTLC, and go one at a time; the seventh signature is the "
        "invoice's."
    )

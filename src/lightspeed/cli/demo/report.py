"""What a run found: one JSON document, and the paper's table with measured columns."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightspeed.cli.demo.audit import Audit
from lightspeed.cli.demo.counts import Counts, PerCall
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.trail import Movement, Trail

__all__ = ["DemoResult", "Measured", "document", "show_balances", "show_table", "show_trail"]

_PAPER_CONVENTIONAL = ("6 or more", "3", "4", "1")  # Paper 1.2
_PAPER_LIGHTSPEED = ("0", "0", "0", "0")  # Paper 2.1.2
_ROWS = ("signatures", "node messages", "local calls", "extra requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way to pay: `calls` paid calls, and what was counted while they were made."""

    calls: int
    seconds: float
    in_flight: int
    counts: Counts

    @property
    def per_call(self) -> PerCall:
        return self.counts.per_call(self.calls)

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds

    def document(self) -> dict[str, Any]:
        per_call = self.per_call
        return {
            "calls": self.calls,
            "calls_in_flight": self.in_flight,
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(self.calls_per_second, 1),
            "signatures_per_call": per_call.signatures,
            "node_messages_per_call": per_call.node_messages,
            "local_calls_per_call": per_call.local_calls,
            "extra_requests_per_call": per_call.extra_requests,
            "counted": {
                "signatures": self.counts.signatures,
                "node_messages": dict(self.counts.messages),
                "local_calls": dict(self.counts.local_calls),
                "http_requests": self.counts.http_requests,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Everything that a run found."""

    plan: DemoPlan
    calls_paid: int
    units_redeemed: int
    completed_locks: int
    outputs: Measured | None
    conventional: Measured | None
    trail: Trail
    audit: Audit
    seconds: float

    @property
    def main(self) -> Measured:
        """Of the scheme that was asked for."""
        by_outputs = self.plan.scheme is DemoScheme.OUTPUTS
        measured = self.outputs if by_outputs else self.conventional
        assert measured is not None
        return measured


def document(result: DemoResult) -> dict[str, Any]:
    """Sums in sat unless the name says otherwise."""
    plan, trail, audit = result.plan, result.trail, result.audit
    has_book = plan.scheme is DemoScheme.OUTPUTS
    per_call = result.main.per_call
    return {
        "scheme": plan.scheme.value,
        "locks": plan.locks if has_book else 0,
        "chain_length": plan.chain_length if has_book else 0,
        "lock_amount_sat": plan.lock_amount_sat if has_book else 0,
        "units": plan.units if has_book else 0,
        "calls_paid": result.calls_paid,
        "units_redeemed": result.units_redeemed,
        "completed_locks": result.completed_locks,
        "calls_per_second": round(result.main.calls_per_second, 1),
        "signatures_per_call": per_call.signatures,
        "node_messages_per_call": per_call.node_messages,
        "local_calls_per_call": per_call.local_calls,
        "extra_requests_per_call": per_call.extra_requests,
        "payee_claimed_sat": audit.claimed_sat,
        "payer_refunded_sat": audit.refunded_sat,
        "unenforced_sat": audit.unenforced_sat,
        "onchain_vbytes": trail.vbytes,
        "closed_by": plan.closer.value,
        "ok": audit.ok,
        "capacity_sat": trail.capacity_sat,
        "push_sat": plan.push_sat,
        "received_sat": {owner.value: trail.received_sat[owner] for owner in Closer},
        "fees_sat": {
            "channel": trail.fees_sat(None),
            **{owner.value: trail.fees_sat(owner) for owner in Closer},
        },
        "anchors_sat": {
            **{owner.value: trail.anchors_sat[owner] for owner in Closer},
            "left": trail.left_sat,
        },
        "transactions": [_movement_document(movement) for movement in trail.movements],
        "checks": [
            {"what": c.what, "expected": c.expected, "found": c.found, "ok": c.ok}
            for c in audit.checks
        ],
        "measured": {
            name: measured.document()
            for name, measured in (
                ("outputs", result.outputs),
                ("conventional", result.conventional),
            )
            if measured is not None
        },
        "seconds": round(result.seconds, 1),
    }


def _movement_document(movement: Movement) -> dict[str, Any]:
    return {
        "txid": movement.txid,
        "what": movement.what,
        "of": "channel" if movement.owner is None else movement.owner.value,
        "vbytes": movement.vbytes,
        "fee_sat": movement.fee_sat,
        "height": movement.height,
    }


def show_trail(trail: Trail, console: Console) -> None:
    """The transactions of the closing, in the order of their blocks."""
    grid = _grid("block", "transaction", "of", "vbytes", "fee, sat", left=(1, 2))
    for movement in sorted(trail.movements, key=lambda m: m.height or 1 << 32):
        grid.add_row(
            "mempool" if movement.height is None else str(movement.height),
            movement.what,
            "channel" if movement.owner is None else movement.owner.value,
            f"{movement.vbytes:,}",
            f"{movement.fee_sat:,}",
        )
    console.print(grid)


def show_balances(audit: Audit, console: Console) -> None:
    """What follows from the ledger, beside what the chain and the wallets say."""
    grid = _grid("sat, unless it says otherwise", "expected", "found", left=(0,))
    for check in audit.checks:
        mark = Text("✓ ", "green") if check.ok else Text("✗ ", "bold red")
        grid.add_row(mark + Text(check.what), f"{check.expected:,}", f"{check.found:,}")
    console.print(grid)


def show_table(result: DemoResult, console: Console) -> None:
    """The paper's table (1.2, 2.1.2): its figures, and those counted in this run."""
    columns: list[tuple[str, tuple[str, ...]]] = []
    if result.conventional is not None:
        columns.append(("conventional,\npaper", (*_PAPER_CONVENTIONAL, "")))
        columns.append(("conventional,\nmeasured", _column(result.conventional)))
    if result.outputs is not None:
        columns.append(("Lightspeed,\npaper", (*_PAPER_LIGHTSPEED, "")))
        columns.append(("Lightspeed,\nmeasured", _column(result.outputs)))
    grid = _grid("per paid call", *(name for name, _ in columns), left=(0,))
    for row, name in enumerate((*_ROWS, "calls per second")):
        grid.add_row(name, *(cells[row] for _, cells in columns))
    console.print(grid)


def _column(measured: Measured) -> tuple[str, ...]:
    per_call = measured.per_call
    numbers = (
        per_call.signatures,
        per_call.node_messages,
        per_call.local_calls,
        per_call.extra_requests,
    )
    return (*(f"{number:.4f}".rstrip("0").rstrip(".") for number in numbers), _rate(measured))


def _rate(measured: Measured) -> str:
    return f"{measured.calls_per_second:,.0f}"


def _grid(*columns: str, left: tuple[int, ...]) -> Table:
    from rich.box import SIMPLE_HEAD

    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        grid.add_column(name, justify="left" if position in left else "right")
    return grid

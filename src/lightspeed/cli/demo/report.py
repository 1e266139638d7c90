"""What a run found: one JSON document, and the paper's table with measured columns."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightspeed.cli.demo.audit import Audit
from lightspeed.cli.demo.counts import Counts, PerCall
from lightspeed.cli.demo.plan import Closer, DemoPlan
from lightspeed.cli.demo.token_audit import TokenAccount
from lightspeed.cli.demo.trail import Movement, Role, Trail

__all__ = [
    "DemoResult",
    "Measured",
    "document",
    "show_balances",
    "show_closes",
    "show_table",
    "show_trail",
]

_PAPER_CONVENTIONAL = ("6 or more", "3", "4", "1")  # Paper 1.2
_PAPER_LIGHTSPEED = ("0", "0", "0", "0")  # Paper 2.1.2
_ROLES = {
    Role.COMMITMENT: "commitment",
    Role.BOOK: "paying and giving back the locks",
    Role.SWEEP: "into the wallets",
}
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
    lightspeed: Measured | None
    """Calls paid with secrets."""
    conventional: Measured | None
    trail: Trail
    audit: Audit
    seconds: float
    tokens: TokenAccount | None = None
    """Where they are, if the calls were paid with tokens."""
    comparison: "DemoResult | None" = None
    """The same calls by another scheme, in another channel."""

    @property
    def main(self) -> Measured:
        """Of the scheme that was asked for."""
        measured = self.lightspeed if self.plan.has_book else self.conventional
        assert measured is not None
        return measured

    @property
    def runs(self) -> "tuple[DemoResult, ...]":
        """This one, and the one that it is compared with."""
        return (self,) if self.comparison is None else (self, self.comparison)

    @property
    def ok(self) -> bool:
        """No balance is off, of any channel."""
        return all(run.audit.ok for run in self.runs)

    @property
    def measured(self) -> dict[str, Measured]:
        """By scheme."""
        found = {run.plan.scheme.value: run.lightspeed for run in self.runs}
        found["conventional"] = self.conventional
        return {name: measured for name, measured in found.items() if measured is not None}


def document(result: DemoResult) -> dict[str, Any]:
    """Sums in sat unless the name says otherwise."""
    plan, trail, audit = result.plan, result.trail, result.audit
    has_book = plan.has_book
    per_call = result.main.per_call
    if result.tokens is None:
        sums = {
            "lock_amount_sat": plan.lock_amount if has_book else 0,
            "payee_claimed_sat": audit.claimed_sat,
            "payer_refunded_sat": audit.refunded_sat,
            "unenforced_sat": audit.unenforced_sat,
        }
    else:
        sums = _token_document(plan, result.tokens)
    return {
        "scheme": plan.scheme.value,
        "asset": plan.asset.value,
        "locks": plan.locks if has_book else 0,
        "chain_length": plan.chain_length if has_book else 0,
        "units": plan.units if has_book else 0,
        "calls_paid": result.calls_paid,
        "units_redeemed": result.units_redeemed,
        "completed_locks": result.completed_locks,
        "calls_per_second": round(result.main.calls_per_second, 1),
        "signatures_per_call": per_call.signatures,
        "node_messages_per_call": per_call.node_messages,
        "local_calls_per_call": per_call.local_calls,
        "extra_requests_per_call": per_call.extra_requests,
        **sums,
        "onchain_vbytes": trail.vbytes,
        "onchain": {run.plan.scheme.value: _onchain_document(run) for run in result.runs},
        "closed_by": plan.closer.value,
        "ok": result.ok,
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
        "measured": {name: measured.document() for name, measured in result.measured.items()},
        "seconds": round(result.seconds, 1),
        **({} if result.comparison is None else {"comparison": document(result.comparison)}),
    }


def _token_document(plan: DemoPlan, tokens: TokenAccount) -> dict[str, Any]:
    """Sums in tokens unless the name says otherwise."""
    payer, payee = (tokens.changes[who] for who in (Closer.PAYER, Closer.PAYEE))
    return {
        "lock_amount_tokens": plan.lock_amount,
        "payee_claimed_tokens": tokens.claimed,
        "payer_given_back_tokens": tokens.given_back,
        "unenforced_tokens": tokens.unenforced,
        "tokens": {
            "contract": tokens.contract,
            "issued": plan.tokens_issued,
            "bought_by_payer": plan.tokens_bought,
            "bought_for_sat": plan.sale_sat,
            "in_the_book": plan.book_tokens,
            "payer": {"before": payer.before, "after": payer.after},
            "payee": {
                "before": payee.before,
                "after": payee.after,
                "after_sending": payee.after - tokens.sent.tokens,
            },
            "stranger": {"before": 0, "after": tokens.sent.tokens},
            "lost": {"payer": tokens.lost, "payee": 0},
            "consignment": {
                "transactions": len(tokens.sent.txids),
                "bytes": tokens.sent.size_bytes,
            },
        },
    }


def _onchain_document(run: DemoResult) -> dict[str, Any]:
    """What the close of one scheme's channel took of the chain."""
    plan, trail = run.plan, run.trail
    return {
        "locks": plan.locks if plan.has_book else 0,
        "units": plan.units if plan.has_book else 0,
        "calls_paid": run.calls_paid,
        "bytes": trail.size_bytes,
        "vbytes": trail.vbytes,
        "vbytes_per_call": round(trail.vbytes / run.calls_paid, 4),
        "transactions": len(trail.movements),
        **{f"{role.value}_transactions": len(trail.of(role)) for role in Role},
        **{f"{role.value}_vbytes": _vbytes(trail, role) for role in Role},
    }


def _vbytes(trail: Trail, role: Role) -> int:
    return sum(movement.vbytes for movement in trail.of(role))


def _movement_document(movement: Movement) -> dict[str, Any]:
    return {
        "txid": movement.txid,
        "what": movement.what,
        "of": "channel" if movement.owner is None else movement.owner.value,
        "role": movement.role.value,
        "bytes": movement.size_bytes,
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
    if result.lightspeed is not None:
        columns.append(("Lightspeed,\npaper", (*_PAPER_LIGHTSPEED, "")))
    for run in result.runs:
        if run.lightspeed is not None:
            columns.append((f"{run.plan.scheme.value},\nmeasured", _column(run.lightspeed)))
    grid = _grid("per paid call", *(name for name, _ in columns), left=(0,))
    for row, name in enumerate((*_ROWS, "calls per second")):
        grid.add_row(name, *(cells[row] for _, cells in columns))
    console.print(grid)


def show_closes(result: DemoResult, console: Console) -> None:
    """What each scheme's close took of the chain, side by side."""
    runs = result.runs
    grid = _grid("mined", *(run.plan.scheme.value for run in runs), left=(0,))

    def row(name: str, *cells: str) -> None:
        grid.add_row(name, *cells)

    row("paid calls", *(f"{run.calls_paid:,}" for run in runs))
    row("units in the book", *(f"{run.plan.units:,}" for run in runs))
    row("locks in the book", *(f"{run.plan.locks:,}" for run in runs))
    for role, name in _ROLES.items():
        numbers = [(len(run.trail.of(role)), _vbytes(run.trail, role)) for run in runs]
        row(f"{name}: transactions", *(f"{count:,}" for count, _ in numbers))
        row(f"{name}: vbytes", *(f"{vbytes:,}" for _, vbytes in numbers))
    row("all transactions: bytes", *(f"{run.trail.size_bytes:,}" for run in runs))
    row("all transactions: vbytes", *(f"{run.trail.vbytes:,}" for run in runs))
    row("vbytes per paid call", *(f"{run.trail.vbytes / run.calls_paid:.3f}" for run in runs))
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

"""Compares what was redeemed with what the chain paid. To the satoshi, or it is a fault.

Only completed locks count on chain: the units of a lock whose secret was not revealed cannot be
enforced, which the exposure rule bounds below one lock and the window. Whatever the calls paid
beyond the last completed lock stays with the payer. In a ladder the rung of the last completed
lock pays all of them, and the rest comes back in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightspeed.cli.demo.plan import MSAT_PER_SAT, Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.trail import Role, Trail

__all__ = ["Audit", "Check", "Redeemed", "WalletChange", "audit", "wallet_checks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """The ledger's word after the fence, and the calls that were answered."""

    calls_answered: int
    """With status 200 and the right body, as the client counted."""
    calls_served: int
    """As the API server counted."""
    calls_by_units: int
    """Of those answered, the ones paid with a unit of the book."""
    units: int
    """Redeemed in the ledger."""
    completed_locks: frozenset[bytes] = field(default=frozenset(), repr=False)
    """Lock hashes of those whose secret was redeemed."""
    conventional_sat: int = 0
    """Paid by invoices, over the same channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletChange:
    """A node's on-chain wallet before the channel was funded, and at the end."""

    before_sat: int
    after_sat: int


@dataclass(frozen=True, slots=True)
class Check:
    """One number that follows from what was redeemed, and the same number as it was found."""

    what: str
    expected: int
    found: int

    @property
    def ok(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The checks, and the sums of the closing."""

    checks: tuple[Check, ...]
    claimed_sat: int
    refunded_sat: int
    unenforced_sat: float
    """Redeemed, but of a lock that was not completed."""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def faults(self) -> Sequence[Check]:
        return [check for check in self.checks if not check.ok]


def audit(
    plan: DemoPlan,
    redeemed: Redeemed,
    *,
    trail: Trail,
    wallets: Mapping[Closer, WalletChange],
    funding_fee_sat: int,
) -> Audit:
    """`wallets` are the nodes' own views, `trail` is the chain's."""
    completed = len(redeemed.completed_locks)
    owed_sat = plan.push_sat + redeemed.conventional_sat + completed * plan.lock_amount
    checks = [
        Check("calls answered, as served", redeemed.calls_answered, redeemed.calls_served),
        *wallet_checks(
            plan,
            owed_sat=owed_sat,
            trail=trail,
            wallets=wallets,
            funding_fee_sat=funding_fee_sat,
        ),
    ]
    if plan.scheme is DemoScheme.CONVENTIONAL:
        return Audit(
            checks=tuple(checks),
            claimed_sat=trail.received_sat[Closer.PAYEE]
            + trail.fees_sat(Closer.PAYEE)
            - trail.anchors_sat[Closer.PAYEE]
            - plan.push_sat,
            refunded_sat=trail.received_sat[Closer.PAYER],
            unenforced_sat=0,
        )
    claimed_sat = sum(trail.claimed.values())
    foreign = sum(lock not in redeemed.completed_locks for lock in trail.claimed)
    ladder = plan.scheme is DemoScheme.LADDER
    checks += [
        Check("units redeemed, one per call", redeemed.calls_by_units, redeemed.units),
        Check(
            f"{'paid' if ladder else 'claimed'}: completed locks x lock amount",
            completed * plan.lock_amount,
            claimed_sat,
        ),
        Check("secrets on chain that were not redeemed", 0, foreign),
        _refund(plan, completed, trail),
    ]
    if ladder:
        checks.append(Check("transactions for all the locks", 1, len(trail.of(Role.BOOK))))
    paid_sat = redeemed.units * plan.unit_msat / MSAT_PER_SAT
    return Audit(
        checks=tuple(checks),
        claimed_sat=claimed_sat,
        refunded_sat=trail.refunded_sat,
        unenforced_sat=paid_sat - completed * plan.lock_amount,
    )


def wallet_checks(
    plan: DemoPlan,
    *,
    owed_sat: int,
    trail: Trail,
    wallets: Mapping[Closer, WalletChange],
    funding_fee_sat: int,
) -> list[Check]:
    """Who got what of the channel's sats, of which the payee is owed so many."""
    # The payer funded the channel, and so every fee and anchor of its transactions.
    channel_costs = trail.fees_sat(None) + trail.left_sat + trail.anchors_sat[Closer.PAYEE]
    return [
        Check(
            "payee: balance and completed locks, less its fees",
            owed_sat + trail.anchors_sat[Closer.PAYEE] - trail.fees_sat(Closer.PAYEE),
            trail.received_sat[Closer.PAYEE],
        ),
        Check(
            "payer: the rest, less fees",
            plan.capacity_sat - owed_sat - channel_costs - trail.fees_sat(Closer.PAYER),
            trail.received_sat[Closer.PAYER],
        ),
        Check(
            "payer: wallet",
            wallets[Closer.PAYER].before_sat
            - plan.capacity_sat
            - funding_fee_sat
            + trail.received_sat[Closer.PAYER],
            wallets[Closer.PAYER].after_sat,
        ),
        Check(
            "payee: wallet",
            wallets[Closer.PAYEE].before_sat + trail.received_sat[Closer.PAYEE],
            wallets[Closer.PAYEE].after_sat,
        ),
        Check("left for somebody to take", 0, trail.waiting_sat),
        Check("unconfirmed transactions", 0, sum(m.height is None for m in trail.movements)),
    ]


def _refund(plan: DemoPlan, completed: int, trail: Trail) -> Check:
    """Without a secret there is no micropayment transaction: the LSF goes back as it is."""
    if not completed:
        return Check("refunded: the whole LSF", trail.lsf_sat, trail.refunded_sat)
    rest_sat = (plan.locks - completed) * plan.lock_amount
    verb = "given back" if plan.scheme is DemoScheme.LADDER else "refunded"
    return Check(f"{verb}: other locks x lock amount", rest_sat, trail.refunded_sat)

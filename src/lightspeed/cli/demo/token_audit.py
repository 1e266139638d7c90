"""Compares what was redeemed in tokens with who holds how many. To the last token.

As in sats only completed locks count on chain. Scheme seals: whoever claims spends the output of
all locks, and what was not redeemed is lost with it (Paper 4). A ladder gives it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lightspeed.cli.demo.audit import Audit, Check, Redeemed, WalletChange, wallet_checks
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.tokens import TokensSent
from lightspeed.cli.demo.trail import Role, Trail

__all__ = ["TokenAccount", "TokenChange", "audit_tokens"]

_TOKEN_OUTPUT_SAT = 330
_CLOSE_TRANSACTIONS = 3
"""That claimed tokens went through: commitment, the book's child, the payee's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChange:
    """What a node held on chain before the channel, and after its close."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAccount:
    """Where all tokens are."""

    contract: str
    changes: Mapping[Closer, TokenChange]
    claimed: int
    """By the payee for completed locks."""
    given_back: int
    """To the payer, of the book."""
    unenforced: int
    """Redeemed, but of a lock that was not completed."""
    sent: TokensSent

    @property
    def lost(self) -> int:
        """Out of the payer's book, and nobody's any more."""
        gone = [change.before - change.after for change in self.changes.values()]
        return sum(gone)


def audit_tokens(
    plan: DemoPlan,
    redeemed: Redeemed,
    *,
    trail: Trail,
    wallets: Mapping[Closer, WalletChange],
    funding_fee_sat: int,
    contract: str,
    changes: Mapping[Closer, TokenChange],
    claimed: int,
    to_send: int,
    sent: TokensSent,
) -> tuple[Audit, TokenAccount]:
    """`claimed`: by the payee's own transactions, as its node tells of them."""
    completed = len(redeemed.completed_locks)
    paid = completed * plan.lock_amount
    rest = plan.book_tokens - paid
    dies = plan.scheme is DemoScheme.SEALS and completed > 0
    account = TokenAccount(
        contract=contract,
        changes=changes,
        claimed=claimed,
        given_back=0 if dies else rest,
        unenforced=redeemed.units * plan.unit_value - paid,
        sent=sent,
    )
    payer, payee = changes[Closer.PAYER], changes[Closer.PAYEE]
    owed_sat = plan.push_sat + redeemed.conventional_sat + _TOKEN_OUTPUT_SAT * (completed > 0)
    checks = [
        Check("calls answered, as served", redeemed.calls_answered, redeemed.calls_served),
        Check("units redeemed, one per call", redeemed.calls_by_units, redeemed.units),
        Check("tokens claimed: completed locks x lock amount", paid, claimed),
        Check("tokens of the payee", payee.before + paid, payee.after),
        Check("tokens of the payer", payer.before - paid - rest * dies, payer.after),
        Check("tokens lost", rest * dies, account.lost),
        Check("tokens that the stranger validated", to_send, sent.tokens),
        Check(
            "transactions of the close in their history",
            _CLOSE_TRANSACTIONS if completed else 0,
            len(sent.txids & {movement.txid for movement in trail.movements}),
        ),
        *wallet_checks(
            plan,
            owed_sat=owed_sat,
            trail=trail,
            wallets=wallets,
            funding_fee_sat=funding_fee_sat,
        ),
    ]
    if plan.scheme is DemoScheme.LADDER:
        checks.append(Check("transactions for all the locks", 1, len(trail.of(Role.BOOK))))
    found = Audit(
        checks=tuple(checks),
        claimed_sat=_TOKEN_OUTPUT_SAT * (completed > 0),
        refunded_sat=trail.refunded_sat,
        unenforced_sat=0,
    )
    return found, account

"""A demo in tokens: its plan, where its tokens are in the end, and what it says of them."""

from dataclasses import replace

import pytest

from lightspeed.cli.demo.audit import Audit, Redeemed, WalletChange
from lightspeed.cli.demo.counts import Counts
from lightspeed.cli.demo.plan import BOOK_SIZES, Closer, DemoAsset, DemoPlan, DemoScheme
from lightspeed.cli.demo.report import DemoResult, Measured, document
from lightspeed.cli.demo.token_audit import TokenAccount, TokenChange, audit_tokens
from lightspeed.cli.demo.tokens import TokensSent
from lightspeed.cli.demo.trail import Movement, Role, Trail
from lightspeed.cli.errors import UsageError

SCHEMES = pytest.mark.parametrize("scheme", [DemoScheme.SEALS, DemoScheme.LADDER])
LOCKS = [bytes([number]) * 32 for number in range(10)]
OWED_SAT = 50_000 + 330
FEES_SAT = {None: 300, Closer.PAYEE: 70, Closer.PAYER: 90}


def plan(scheme: DemoScheme, **changes: object) -> DemoPlan:
    size = {"locks": 10, "lock_amount": 20, "chain_length": 10, "calls": 25, "tokens_sent": 30}
    values = {"asset": DemoAsset.TOKEN, "conventional_calls": 0, **size, **changes}
    return DemoPlan(scheme=scheme, **values)  # type: ignore[arg-type]


def trail(of: DemoPlan) -> Trail:
    movements = [
        Movement(
            txid=f"{fee:02}" * 32,
            what="transaction",
            owner=owner,
            role=Role.BOOK if owner is None else Role.SWEEP,
            size_bytes=400,
            vbytes=300,
            fee_sat=fee,
            height=116,
        )
        for owner, fee in FEES_SAT.items()
    ]
    received = {
        Closer.PAYEE: OWED_SAT - FEES_SAT[Closer.PAYEE],
        Closer.PAYER: of.capacity_sat - OWED_SAT - 300 - 660 - FEES_SAT[Closer.PAYER],
    }
    return Trail(
        capacity_sat=of.capacity_sat,
        movements=tuple(movements),
        claimed={},
        lsf_sat=1_000,
        refunded_sat=0,
        received_sat=received,
        anchors_sat=dict.fromkeys(Closer, 0),
        left_sat=660,
        waiting_sat=0,
    )


def audited(
    of: DemoPlan,
    *,
    payer: int,
    payee: int,
    claimed: int = 40,
    sent: int = 30,
    seen: int = 3,
) -> tuple[Audit, TokenAccount]:
    """25 units of 2 tokens were redeemed, which complete two locks of 20; held after it."""
    redeemed = Redeemed(
        calls_answered=25,
        calls_served=25,
        calls_by_units=25,
        units=25,
        completed_locks=frozenset(LOCKS[:2]),
    )
    found = trail(of)
    txids = [movement.txid for movement in found.movements[:seen]] + ["issue", "sale"]
    paid = {Closer.PAYER: of.capacity_sat + 150, Closer.PAYEE: 0}  # 150: of the funding
    wallets = {
        who: WalletChange(before_sat=9_000_000, after_sat=9_000_000 - paid[who] + received)
        for who, received in found.received_sat.items()
    }
    changes = {
        Closer.PAYER: TokenChange(before=240, after=payer),
        Closer.PAYEE: TokenChange(before=160, after=payee),
    }
    return audit_tokens(
        of,
        redeemed,
        trail=found,
        wallets=wallets,
        funding_fee_sat=150,
        contract="rgb:contract",
        changes=changes,
        claimed=claimed,
        to_send=30,
        sent=TokensSent(tokens=sent, txids=frozenset(txids), size_bytes=9_000),
    )


def test_default_books_are_a_million_calls_of_a_token() -> None:
    for scheme in (DemoScheme.SEALS, DemoScheme.LADDER):
        size = BOOK_SIZES[scheme]
        of = plan(
            scheme,
            locks=size.locks,
            lock_amount=size.lock_amount,
            chain_length=size.chain_length,
            calls=20_000,
        )
        assert (of.units, of.unit_value, of.book_tokens) == (1_000_000, 1, 1_000_000)
        assert of.tokens_issued > of.tokens_bought > of.book_tokens
        assert of.comparison is None
    assert BOOK_SIZES[DemoScheme.SEALS].locks == 10_000


@pytest.mark.parametrize(
    ("scheme", "changes", "text"),
    [
        (DemoScheme.SEALS, {"asset": DemoAsset.SAT}, "seals is for tokens"),
        (DemoScheme.OUTPUTS, {}, "by scheme seals or ladder"),
        (DemoScheme.CONVENTIONAL, {}, "by scheme seals or ladder"),
        (DemoScheme.SEALS, {"locks": 65_536}, "at most 65,535 locks"),
        (DemoScheme.LADDER, {"locks": 128}, "at most 127 locks"),
        (DemoScheme.SEALS, {"lock_amount": 15}, "whole number of tokens"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(
    scheme: DemoScheme, changes: dict[str, object], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        plan(scheme, **changes)


def test_a_claim_of_seals_loses_the_rest_and_a_ladder_gives_it_back() -> None:
    found, account = audited(plan(DemoScheme.SEALS), payer=40, payee=200)
    assert found.ok, found.faults
    assert (account.lost, account.given_back, account.unenforced) == (160, 0, 10)
    found, account = audited(plan(DemoScheme.LADDER), payer=200, payee=200)
    assert found.ok, found.faults
    assert (account.lost, account.given_back, account.unenforced) == (0, 160, 10)


@SCHEMES
@pytest.mark.parametrize(
    "changes",
    [
        {"payer": 1},
        {"payee": 1},
        {"payer": -1, "payee": 1},
        {"claimed": 20},
        {"sent": 1},
        {"seen": -1},
    ],
)
def test_a_token_that_is_off_is_a_fault(scheme: DemoScheme, changes: dict[str, int]) -> None:
    held = {"payer": 40 if scheme is DemoScheme.SEALS else 200, "payee": 200}
    for name, more in changes.items():
        held[name] = held.get(name, 3 if name == "seen" else 0) + more
    found, _ = audited(plan(scheme), **held)
    assert not found.ok


@SCHEMES
def test_document_tells_who_had_how_many_and_who_lost_them(scheme: DemoScheme) -> None:
    of = plan(scheme)
    seals = scheme is DemoScheme.SEALS
    found, account = audited(of, payer=40 if seals else 200, payee=200)
    result = DemoResult(
        plan=of,
        calls_paid=25,
        units_redeemed=25,
        completed_locks=2,
        lightspeed=Measured(calls=25, seconds=0.5, in_flight=4, counts=Counts(http_requests=25)),
        conventional=None,
        trail=trail(of),
        audit=found,
        seconds=1.0,
        tokens=account,
    )
    said = document(result)
    assert (said["scheme"], said["asset"], said["ok"]) == (scheme.value, "token", True)
    assert (said["units"], said["lock_amount_tokens"], said["payee_claimed_tokens"]) == (
        100,
        20,
        40,
    )
    tokens = said["tokens"]
    assert (tokens["issued"], tokens["bought_by_payer"], tokens["in_the_book"]) == (400, 240, 200)
    assert tokens["payer"] == {"before": 240, "after": 40 if seals else 200}
    assert tokens["payee"] == {"before": 160, "after": 200, "after_sending": 170}
    assert tokens["stranger"] == {"before": 0, "after": 30}
    assert tokens["lost"] == {"payer": 160 if seals else 0, "payee": 0}
    held = tokens["payer"]["after"] + tokens["payee"]["after"] + tokens["lost"]["payer"]
    assert held == tokens["issued"]
    wrong = replace(account, sent=replace(account.sent, tokens=31))
    assert document(replace(result, tokens=wrong))["tokens"]["stranger"]["after"] == 31

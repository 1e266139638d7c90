"""The demo from the first block to the last: what happens, in its order."""

import contextlib
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from lightspeed.cli.demo.audit import Redeemed, WalletChange, audit
from lightspeed.cli.demo.calls import (
    call_after_the_end,
    first_call,
    make_calls_by_invoices,
    make_calls_by_units,
)
from lightspeed.cli.demo.ending import Ending
from lightspeed.cli.demo.house import House, TookTooLong, open_house, start_server, until
from lightspeed.cli.demo.opening import confirmed_sat, fund_wallets, open_book, open_channel
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.report import DemoResult, Measured
from lightspeed.cli.demo.screen import Screen
from lightspeed.cli.demo.token_audit import TokenChange, audit_tokens
from lightspeed.cli.demo.tokens import issue_and_sell, send_to_stranger, token_balances
from lightspeed.cli.demo.trail import Trail
from lightspeed.ledger import SQLiteLedger
from lightspeed.node.views import ChannelView
from lightspeed.payment import lock_hash

__all__ = ["run_demo"]

_WALLET_SECONDS = 10.0
_CLAIMS = ("claim", "paid locks")


async def run_demo(plan: DemoPlan, screen: Screen, *, folder: Path | None = None) -> DemoResult:
    """Everything is in one folder, a temporary one if None, and in processes that end with it.

    Raises `LightspeedError` when a step fails; a balance that is off is in the result.
    """
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="lightspeed-demo-")
            folder = Path(stack.enter_context(temporary))
        folder.mkdir(parents=True, exist_ok=True)
        screen.heading("Setting up")
        who = "the payer's node, the payee's node"
        who += ", a stranger's" if plan.in_tokens else ", an API server"
        with screen.step(f"A regtest chain, {who}"):
            house = await stack.enter_async_context(open_house(plan, folder))
        await fund_wallets(house, screen, channels=2 if plan.comparison else 1)
        result = await _life_of_a_channel(house, screen)
        if plan.comparison is not None:
            screen.heading("For comparison: the same calls from a book of scheme outputs")
            compared = await _life_of_a_channel(replace(house, plan=plan.comparison), screen)
            result = replace(result, comparison=compared)
    return replace(result, seconds=time.monotonic() - began)


async def _life_of_a_channel(house: House, screen: Screen) -> DemoResult:
    """Opened, paid with, closed by force, audited."""
    plan = house.plan
    began = time.monotonic()
    tokens_before: dict[Closer, int] = {}
    if plan.in_tokens:
        screen.heading("Tokens")
        house = await issue_and_sell(house, screen)
        await start_server(house)
        tokens_before = await token_balances(house)
    before = await confirmed_sat(house)
    served_before = await house.served()
    channel = await open_channel(house, screen)
    conventional = lightspeed = None
    book_id = None
    if not plan.has_book:
        conventional = await _pay_with_invoices(house, screen, plan.calls)
    else:
        if plan.conventional_calls:
            conventional = await _pay_with_invoices(house, screen, plan.conventional_calls)
        screen.heading(f"Lightspeed, scheme {plan.scheme.value}")
        book_id = await open_book(house, screen, channel.channel_id)
        with screen.step("The first call, as any client would make it") as step:
            step.say(await first_call(house, book_id))
        lightspeed = await _pay_with_secrets(house, screen, book_id)
    answered = (conventional.calls if conventional else 0) + (plan.calls if lightspeed else 0)
    trail = await _close(house, screen, channel, book_id)
    redeemed = await _redeemed(
        house, book_id, answered, conventional, served=await house.served() - served_before
    )
    funding = await house.chain.transaction(channel.funding_txid)
    wallets = await _wallets(house, before, trail, funding_fee_sat=funding["fee"])
    tokens = None
    if plan.in_tokens:
        changes = await _token_changes(house, tokens_before)
        claimed = await _claimed_tokens(house, channel.channel_id)
        to_send = min(plan.tokens_sent, max(1, claimed // 2))
        found, tokens = audit_tokens(
            plan,
            redeemed,
            trail=trail,
            wallets=wallets,
            funding_fee_sat=funding["fee"],
            contract=house.contract,
            changes=changes,
            claimed=claimed,
            to_send=to_send,
            sent=await send_to_stranger(house, screen, to_send),
        )
    else:
        found = audit(plan, redeemed, trail=trail, wallets=wallets, funding_fee_sat=funding["fee"])
    return DemoResult(
        plan=plan,
        calls_paid=plan.calls,
        units_redeemed=redeemed.units,
        completed_locks=len(redeemed.completed_locks),
        lightspeed=lightspeed,
        conventional=conventional,
        trail=trail,
        audit=found,
        tokens=tokens,
        seconds=time.monotonic() - began,
    )


async def _token_changes(house: House, before: dict[Closer, int]) -> dict[Closer, TokenChange]:
    after = await token_balances(house)
    return {who: TokenChange(before=before[who], after=after[who]) for who in Closer}


async def _claimed_tokens(house: House, channel_id: str) -> int:
    """For locks: the payee's node tells which transactions of its own moved how many."""
    channel = await house.payee.client.channel(channel_id)
    return sum(tx.tokens for tx in channel.transactions if tx.purpose in _CLAIMS)


async def _pay_with_invoices(house: House, screen: Screen, calls: int) -> Measured:
    if house.plan.has_book:
        screen.heading("For comparison: the conventional payment, one invoice per call")
    else:
        screen.heading("The conventional payment: one invoice per call")
    price = f"{house.plan.conventional_price_sat:,} sat"
    with screen.count(f"{calls:,} calls of {price} each", calls) as (step, progress):
        measured = await make_calls_by_invoices(house, calls=calls, progress=progress)
        step.say(f"{measured.calls_per_second:,.0f} calls/s, one in flight")
    return measured


async def _pay_with_secrets(house: House, screen: Screen, book_id: str) -> Measured:
    plan = house.plan
    calls = plan.calls - 1  # the first is made already
    with screen.count(f"{calls:,} more paid calls from {plan.clients} clients at once", calls) as (
        step,
        progress,
    ):
        measured = await make_calls_by_units(
            house, book_id=book_id, first=2, calls=calls, progress=progress
        )
        step.say(
            f"{measured.calls_per_second:,.0f} calls/s, every answer checked, "
            "every unit on the disk before it was served"
        )
    return measured


async def _close(house: House, screen: Screen, channel: ChannelView, book_id: str | None) -> Trail:
    plan = house.plan
    screen.heading(f"A close without cooperation, by the {plan.closer.value}")
    ending = Ending(
        house,
        channel_id=channel.channel_id,
        funding_txid=channel.funding_txid,
        vout=channel.funding_vout,
    )
    with screen.step(f"The {plan.closer.value}'s node publishes its commitment") as step:
        height = await ending.publish_commitment()
        step.say(f"mined at height {height}")
    if book_id is not None:
        await _claim_and_refund(house, screen, ending, book_id, commitment_height=height)
    with screen.step("The nodes sweep what is left of their balances"):
        return await ending.settled()


async def _claim_and_refund(
    house: House, screen: Screen, ending: Ending, book_id: str, *, commitment_height: int
) -> None:
    plan = house.plan
    completed = await _completed_locks(house, book_id)
    if not completed:
        with screen.step("No lock was completed: the payer's node takes back everything"):
            await ending.whole_refund(commitment_height)
        return
    ladder = plan.scheme is DemoScheme.LADDER
    kind = "settlement" if ladder else "micropayment"
    left = plan.locks - len(completed)
    paid, rest = (plan.amount_text(n * plan.lock_amount) for n in (len(completed), left))
    with screen.step(f"The payee's node publishes the {kind} transaction") as step:
        child_height = await ending.child(commitment_height)
        step.say(f"mined at height {child_height}")
        if ladder:
            step.say(f"it pays {len(completed):,} locks, {paid}, and gives {left:,} back, {rest}")
    if plan.calls < plan.units:
        with screen.step("One more call, with the next secret") as step:
            step.say(f"refused: 402 {await call_after_the_end(house, book_id)}")
    if ladder:
        return
    seals = plan.scheme is DemoScheme.SEALS
    with screen.step(f"The payee's node claims {len(completed):,} locks") as step:
        height = await (ending.claim_of_seals() if seals else ending.claims(len(completed)))
        step.say(f"mined at height {height}: {paid}")
        if seals and left:
            step.say(f"the other {left:,} locks, {rest}, are lost with it")
    if left and not seals:
        with screen.step(
            f"After {plan.refund_delay_blocks} blocks the payer's node takes back {left:,} locks"
        ) as step:
            height = await ending.refunds(child_height)
            step.say(f"mined at height {height}: {rest}")


async def _completed_locks(house: House, book_id: str) -> frozenset[bytes]:
    """Lock hashes, from the ledger. The hash is of the secret there, not of what was agreed."""
    ledger = SQLiteLedger(house.ledger)
    try:
        secrets = await ledger.completed_secrets(bytes.fromhex(book_id))
    finally:
        await ledger.aclose()
    return frozenset(lock_hash(secret.element) for secret in secrets)


async def _redeemed(
    house: House,
    book_id: str | None,
    answered: int,
    conventional: Measured | None,
    *,
    served: int,
) -> Redeemed:
    conventional_calls = conventional.calls if conventional else 0
    units = 0
    completed: frozenset[bytes] = frozenset()
    if book_id is not None:
        completed = await _completed_locks(house, book_id)
        ledger = SQLiteLedger(house.ledger)
        try:
            units = (await ledger.status(bytes.fromhex(book_id))).redeemed_units
        finally:
            await ledger.aclose()
    return Redeemed(
        calls_answered=answered,
        calls_served=served,
        calls_by_units=answered - conventional_calls,
        units=units,
        completed_locks=completed,
        conventional_sat=conventional_calls * house.plan.conventional_price_sat,
    )


async def _wallets(
    house: House, before: dict[Closer, int], trail: Trail, *, funding_fee_sat: int
) -> dict[Closer, WalletChange]:
    """The nodes' own words, once their wallets have seen the last block."""
    expected = {who: before[who] + trail.received_sat[who] for who in Closer}
    expected[Closer.PAYER] -= house.plan.capacity_sat + funding_fee_sat

    async def have_seen() -> bool:
        return await confirmed_sat(house) == expected

    with contextlib.suppress(TookTooLong):  # the audit says what differs
        await until(have_seen, what="agreement of wallets and chain", seconds=_WALLET_SECONDS)
    after = await confirmed_sat(house)
    return {who: WalletChange(before_sat=before[who], after_sat=after[who]) for who in Closer}

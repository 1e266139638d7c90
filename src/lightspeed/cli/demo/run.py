"""The demo from the first block to the last: what happens, in its order."""

import contextlib
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from lightspeed.cli.demo.audit import Redeemed, WalletChange, audit
from lightspeed.cli.demo.calls import (
    call_after_the_end,
    first_call,
    make_calls_by_invoices,
    make_calls_by_units,
)
from lightspeed.cli.demo.ending import Ending
from lightspeed.cli.demo.house import House, TookTooLong, open_house, until
from lightspeed.cli.demo.plan import Closer, DemoPlan, DemoScheme
from lightspeed.cli.demo.report import DemoResult, Measured
from lightspeed.cli.demo.screen import Screen
from lightspeed.cli.demo.trail import Trail
from lightspeed.ledger import SQLiteLedger
from lightspeed.node.views import ChannelView
from lightspeed.payment import lock_hash

__all__ = ["run_demo"]

_SPARE_SAT = 1_000_000
"""In the payer's wallet beside the channel: the funding fee, and coins for bumping."""
_PAYEE_WALLET_SAT = 100_000
"""For bumping, should it be needed."""
_WALLET_SECONDS = 10.0


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
        with screen.step("A regtest chain, the payer's node, the payee's node, an API server"):
            house = await stack.enter_async_context(open_house(plan, folder))
        before = await _fund_wallets(house, screen)
        channel = await _open_channel(house, screen)
        conventional = outputs = None
        book_id = None
        if plan.scheme is DemoScheme.CONVENTIONAL:
            conventional = await _pay_with_invoices(house, screen, plan.calls)
        else:
            if plan.conventional_calls:
                conventional = await _pay_with_invoices(house, screen, plan.conventional_calls)
            book_id = await _open_book(house, screen, channel.channel_id)
            outputs = await _pay_with_secrets(house, screen, book_id)
        answered = (conventional.calls if conventional else 0) + (plan.calls if outputs else 0)
        trail = await _close(house, screen, channel, book_id)
        redeemed = await _redeemed(house, book_id, answered, conventional)
        funding = await house.chain.transaction(channel.funding_txid)
        found = audit(
            plan,
            redeemed,
            trail=trail,
            wallets=await _wallets(house, before, trail, funding_fee_sat=funding["fee"]),
            funding_fee_sat=funding["fee"],
        )
    return DemoResult(
        plan=plan,
        calls_paid=plan.calls,
        units_redeemed=redeemed.units,
        completed_locks=len(redeemed.completed_locks),
        outputs=outputs,
        conventional=conventional,
        trail=trail,
        audit=found,
        seconds=time.monotonic() - began,
    )


async def _fund_wallets(house: House, screen: Screen) -> dict[Closer, int]:
    """Coins from the faucet; what each wallet then has."""
    amounts = {
        Closer.PAYER: house.plan.capacity_sat + _SPARE_SAT,
        Closer.PAYEE: _PAYEE_WALLET_SAT,
    }
    with screen.step("Coins from the regtest's faucet for both wallets"):
        for who, amount_sat in amounts.items():
            address = (await house.nodes[who].client.new_address()).address
            await house.chain.fund(address, amount_sat)

        async def have_them() -> bool:
            return await _confirmed(house) == amounts

        await until(have_them, what="coins in both wallets")
    return amounts


async def _confirmed(house: House) -> dict[Closer, int]:
    """What each node's wallet says."""
    return {who: (await node.client.balance()).confirmed_sat for who, node in house.nodes.items()}


async def _open_channel(house: House, screen: Screen) -> ChannelView:
    plan, payer, payee = house.plan, house.payer, house.payee
    with screen.step(
        f"A channel of {plan.capacity_sat:,} sat from payer to payee, "
        f"{plan.push_sat:,} sat pushed to the payee"
    ) as step:
        await payer.client.connect(payee.address)
        opened = await payer.client.open_channel(
            payee.node_id, funding_sat=plan.capacity_sat, push_sat=plan.push_sat, party="payer"
        )
        await house.mine(plan.minimum_depth)

        async def usable() -> bool:
            views = [await node.client.channels() for node in house.nodes.values()]
            return all(view.usable for channels in views for view in channels)

        await until(usable, what="usable channel")
        step.say(f"funding transaction {opened.funding_txid}, {plan.minimum_depth} blocks deep")
    return opened


async def _pay_with_invoices(house: House, screen: Screen, calls: int) -> Measured:
    if house.plan.scheme is DemoScheme.OUTPUTS:
        screen.heading("For comparison: the conventional payment, one invoice per call")
    else:
        screen.heading("The conventional payment: one invoice per call")
    price = f"{house.plan.conventional_price_sat:,} sat"
    with screen.count(f"{calls:,} calls of {price} each", calls) as (step, progress):
        measured = await make_calls_by_invoices(house, calls=calls, progress=progress)
        step.say(f"{measured.calls_per_second:,.0f} calls/s, one in flight")
    return measured


async def _open_book(house: House, screen: Screen, channel_id: str) -> str:
    plan = house.plan
    screen.heading("Lightspeed")
    began = time.monotonic()
    with screen.step(
        f"A book of {plan.locks:,} locks of {plan.lock_amount_sat:,} sat with "
        f"{plan.chain_length:,} units each: {plan.units:,} payments of {_sat(plan.unit_msat)} sat"
    ) as step:
        book = await house.payer.client.open_book(
            channel_id,
            locks=plan.locks,
            chain_length=plan.chain_length,
            lock_amount_sat=plan.lock_amount_sat,
            origins=[house.origin],
            refund_delay_blocks=plan.refund_delay_blocks,
        )
        step.say(f"book {book.book_id}, agreed in {time.monotonic() - began:.1f} s")
    with screen.step("The first call, as any client would make it") as step:
        step.say(await first_call(house))
    return book.book_id


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
    with screen.step("The payee's node publishes the micropayment transaction") as step:
        child_height = await ending.micropayment(commitment_height)
        step.say(f"mined at height {child_height}")
    with screen.step("One more call, with the next secret") as step:
        step.say(f"refused: 402 {await call_after_the_end(house)}")
    with screen.step(f"The payee's node claims {len(completed):,} locks") as step:
        height = await ending.claims(len(completed))
        step.say(f"mined at height {height}: {len(completed) * plan.lock_amount_sat:,} sat")
    left = plan.locks - len(completed)
    if left:
        with screen.step(
            f"After {plan.refund_delay_blocks} blocks the payer's node takes back {left:,} locks"
        ) as step:
            height = await ending.refunds(child_height)
            step.say(f"mined at height {height}: {left * plan.lock_amount_sat:,} sat")


async def _completed_locks(house: House, book_id: str) -> frozenset[bytes]:
    """Lock hashes, from the ledger. The hash is of the secret there, not of what was agreed."""
    ledger = SQLiteLedger(house.ledger)
    try:
        secrets = await ledger.completed_secrets(bytes.fromhex(book_id))
    finally:
        await ledger.aclose()
    return frozenset(lock_hash(secret.element) for secret in secrets)


async def _redeemed(
    house: House, book_id: str | None, answered: int, conventional: Measured | None
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
        calls_served=await house.served(),
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
        return await _confirmed(house) == expected

    with contextlib.suppress(TookTooLong):  # the audit says what differs
        await until(have_seen, what="agreement of wallets and chain", seconds=_WALLET_SECONDS)
    after = await _confirmed(house)
    return {who: WalletChange(before_sat=before[who], after_sat=after[who]) for who in Closer}


def _sat(msat: int) -> str:
    return f"{msat / 1_000:g}"

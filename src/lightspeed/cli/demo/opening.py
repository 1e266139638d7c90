"""From nothing to a book that pays: the steps that the demo and the sandbox begin with."""

import time

from lightspeed.cli.demo.house import House, until
from lightspeed.cli.demo.plan import MSAT_PER_SAT, Closer
from lightspeed.cli.demo.screen import Screen
from lightspeed.node.views import ChannelView

__all__ = ["confirmed_sat", "fund_wallets", "open_book", "open_channel"]

_SPARE_SAT = 1_000_000
"""In the payer's wallet beside the channel: the funding fee, and coins for bumping."""
_PAYEE_WALLET_SAT = 100_000
"""For bumping, should it be needed."""
_TOKEN_COINS = 4
"""Of the payee, where there are tokens: they stand on one, and others pay for moving them."""


async def fund_wallets(house: House, screen: Screen, *, channels: int = 1) -> None:
    """Coins from the faucet, enough for so many channels."""
    plan = house.plan
    coins = {
        Closer.PAYER: [channels * (plan.capacity_sat + plan.sale_sat + _SPARE_SAT)],
        Closer.PAYEE: [channels * _PAYEE_WALLET_SAT] * (_TOKEN_COINS if plan.in_tokens else 1),
    }
    with screen.step("Coins from the regtest's faucet for both wallets"):
        for who, amounts in coins.items():
            for amount_sat in amounts:
                address = (await house.nodes[who].client.new_address()).address
                await house.chain.fund(address, amount_sat)

        async def have_them() -> bool:
            return await confirmed_sat(house) == {who: sum(each) for who, each in coins.items()}

        await until(have_them, what="coins in both wallets")


async def confirmed_sat(house: House) -> dict[Closer, int]:
    """What each node's wallet says."""
    return {who: (await node.client.balance()).confirmed_sat for who, node in house.nodes.items()}


async def open_channel(house: House, screen: Screen) -> ChannelView:
    plan, payer, payee = house.plan, house.payer, house.payee
    with screen.step(
        f"A channel of {plan.capacity_sat:,} sat"
        f"{f' and {plan.tokens_bought:,} tokens' if plan.in_tokens else ''} from payer to payee, "
        f"{plan.push_sat:,} sat pushed to the payee"
    ) as step:
        await payer.client.connect(payee.address)
        opened = await payer.client.open_channel(
            payee.node_id,
            funding_sat=plan.capacity_sat,
            push_sat=plan.push_sat,
            party="payer",
            contract=house.contract or None,
            tokens=plan.tokens_bought,
        )
        await house.mine(plan.minimum_depth)

        async def usable() -> bool:
            views = [await node.client.channels() for node in house.nodes.values()]
            ours = [v for vs in views for v in vs if v.channel_id == opened.channel_id]
            return len(ours) == len(views) and all(view.usable for view in ours)

        await until(usable, what="usable channel")
        step.say(f"funding transaction {opened.funding_txid}, {plan.minimum_depth} blocks deep")
    return opened


async def open_book(house: House, screen: Screen, channel_id: str) -> str:
    plan = house.plan
    began = time.monotonic()
    unit = plan.unit_value if plan.in_tokens else plan.unit_value / MSAT_PER_SAT
    with screen.step(
        f"A book of {plan.locks:,} locks of {plan.amount_text(plan.lock_amount)} with "
        f"{plan.chain_length:,} units each: {plan.units:,} payments of {plan.amount_text(unit)}"
    ) as step:
        book = await house.payer.client.open_book(
            channel_id,
            locks=plan.locks,
            chain_length=plan.chain_length,
            lock_amount_sat=None if plan.in_tokens else plan.lock_amount,
            lock_tokens=plan.lock_amount if plan.in_tokens else None,
            origins=[house.origin],
            scheme=plan.scheme.value,
            refund_delay_blocks=plan.refund_delay_blocks,
        )
        seconds = time.monotonic() - began
        step.say(f"book {book.book_id}, scheme {book.scheme}, agreed in {seconds:.1f} s")
    return book.book_id

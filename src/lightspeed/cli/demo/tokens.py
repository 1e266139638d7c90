"""The demo's tokens: issued and sold by the payee; at the end some of them go to a stranger."""

import base64
from dataclasses import dataclass, replace

from lightspeed.cli.demo.house import House, Household, until
from lightspeed.cli.demo.plan import Closer
from lightspeed.cli.demo.screen import Screen
from lightspeed.rgb import Consignment

__all__ = ["TokensSent", "issue_and_sell", "send_to_stranger", "token_balances"]

_TICKER, _NAME = "CALL", "Calls of the demo's API"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensSent:
    """What the stranger has now, and the history that it validated to believe it."""

    tokens: int
    txids: frozenset[str]
    """Which the history rests on."""
    size_bytes: int
    """Of the consignment."""


async def issue_and_sell(house: House, screen: Screen) -> House:
    """The house with its tokens; the payer has bought some, for sats, in one transaction."""
    plan, payer, payee = house.plan, house.payer, house.payee
    with screen.step(
        f"The payee issues {plan.tokens_issued:,} tokens, worth one call each"
    ) as step:
        issued = await payee.client.tokens.issue(_TICKER, _NAME, supply=plan.tokens_issued)
        step.say(issued.contract)
        house = replace(house, contract=issued.contract)
        await house.mine(plan.minimum_depth)  # nobody buys tokens on a coin that may be undone
        await _until_tokens(house, payee, plan.tokens_issued)
    with screen.step(
        f"The payer buys {plan.tokens_bought:,} of them for {plan.sale_sat:,} sat"
    ) as step:
        offer = await payee.client.tokens.sell(
            house.contract, plan.tokens_bought, price_sat=plan.sale_sat
        )
        order = await payer.client.tokens.buy(
            offer.text or "", max_price_sat=plan.sale_sat, contract=house.contract
        )
        deal = await payee.client.tokens.complete(order.text or "")
        step.say(f"tokens and sats change hands in one transaction, {deal.txid}")
        await house.mine(plan.minimum_depth)
        await _until_tokens(house, payer, plan.tokens_bought)
        await _until_tokens(house, payee, plan.tokens_issued - plan.tokens_bought)
    return house


async def token_balances(house: House) -> dict[Closer, int]:
    """What each node holds on chain, mined."""
    return {who: await _tokens_of(house, node) for who, node in house.nodes.items()}


async def send_to_stranger(house: House, screen: Screen, amount: int) -> TokensSent:
    """By an invoice and a consignment; the stranger knows nothing of the contract before."""
    plan, payee, stranger = house.plan, house.payee, house.stranger
    assert stranger is not None
    with screen.step(f"The payee sends {amount:,} tokens to a stranger") as step:
        await house.mine(plan.minimum_depth)  # what was claimed is young; nobody spends that
        invoice = await stranger.client.tokens.invoice(amount=amount)
        sent = await payee.client.tokens.send(
            invoice.invoice, contract=house.contract, amount=amount
        )
        await house.mine(plan.minimum_depth)
        data = base64.b64decode(sent.consignment)
        received = await stranger.client.tokens.accept(data)
        bundles = Consignment.parse(data).bundles
        step.say(
            f"who validates their history, {len(bundles)} transactions in {len(data):,} bytes, "
            "with a stash that knew nothing"
        )
    return TokensSent(
        tokens=received.amount,
        txids=frozenset(bundle.txid[::-1].hex() for bundle in bundles),
        size_bytes=len(data),
    )


async def _tokens_of(house: House, node: Household) -> int:
    held = [token for token in await node.client.tokens.all() if token.contract == house.contract]
    return sum(token.settled for token in held)


async def _until_tokens(house: House, node: Household, amount: int) -> None:
    async def there() -> bool:
        return await _tokens_of(house, node) == amount

    await until(there, what=f"{amount:,} tokens in a wallet")

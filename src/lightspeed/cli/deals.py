"""Commands of `lightspeed token`: tokens against sats, in one transaction on chain."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.contracts import full_contract
from lightspeed.cli.files import check_writable, text_of
from lightspeed.cli.ids import full_id
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.node import NodeClient
    from lightspeed.node.token_views import OfferView, OrderView

__all__ = ["buy", "complete", "deals", "sell", "withdraw"]

_SHORT = 20

Written = Annotated[Path, typer.Argument(dir_okay=False, help="To be written.")]
Given = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


def sell(
    data_dir: DataDir,
    contract: Annotated[
        str, typer.Argument(metavar="CONTRACT", help="Ticker, or rgb:..., or how that begins.")
    ],
    amount: Annotated[int, typer.Argument(min=1, help="Tokens, in their smallest part.")],
    price: Annotated[int, typer.Argument(min=1, metavar="SAT", help="For all of them.")],
    offer: Written,
    valid: Annotated[int, typer.Option(min=1, metavar="SECONDS")] = 3_600,
    as_json: JsonFlag = False,
) -> None:
    """Offer tokens for sats, on chain. It binds nobody.

    Give the file to a buyer, who runs: lightspeed token buy OFFER ORDER --max-price SAT. What
    comes back is for: lightspeed token complete ORDER.
    """

    async def offered(node: "NodeClient") -> "OfferView":
        contract_id = await full_contract(node, contract)
        return await node.tokens.sell(contract_id, amount, price_sat=price, valid_seconds=valid)

    check_writable(offer)
    found = ask(data_dir, offered)
    offer.write_text(found.text or "")
    if as_json:
        show_json(replace(found, text=None))
    else:
        fields([("offer", found.offer_id), ("file", offer)])


def buy(
    data_dir: DataDir,
    offer: Given,
    order: Written,
    max_price: Annotated[
        int, typer.Option("--max-price", min=1, metavar="SAT", help="What you pay at most.")
    ],
    contract: Annotated[
        str, typer.Option(metavar="CONTRACT", help="Refuse another: ticker or rgb:....")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Validate an offer of tokens and order it.

    The order is a transaction in which both change hands, signed by us: its seller may publish
    it until you run: lightspeed token withdraw TXID.
    """
    text = text_of(offer)
    check_writable(order)

    async def ordered(node: "NodeClient") -> "OrderView":
        contract_id = await full_contract(node, contract) if contract else None
        return await node.tokens.buy(text, max_price_sat=max_price, contract=contract_id)

    found = ask(data_dir, ordered)
    order.write_text(found.text or "")
    if as_json:
        show_json(replace(found, text=None))
    else:
        fields(
            [
                ("tokens", f"{sats(found.amount)} of {found.contract}"),
                ("price", f"{sats(found.price_sat)} sat"),
                ("transaction", found.txid),
                ("file", order),
            ]
        )


def complete(data_dir: DataDir, order: Given, as_json: JsonFlag = False) -> None:
    """Sign a buyer's order, if it is what we offered, and publish it."""
    text = text_of(order)
    found = ask(data_dir, lambda node: node.tokens.complete(text))
    if as_json:
        show_json(found)
    else:
        fields(
            [
                ("transaction", found.txid),
                ("sold", f"{sats(found.amount)} of {found.contract}"),
            ]
        )


def deals(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """Our offers and orders, and what became of them."""

    async def both(node: "NodeClient") -> "tuple[list[OfferView], list[OrderView]]":
        return await node.tokens.offers(), await node.tokens.orders()

    offers, orders = ask(data_dir, both)
    if as_json:
        show_json({"offers": offers, "orders": orders})
        return
    found: list[tuple[str, str, OfferView | OrderView]] = [
        *(("offer", each.offer_id, each) for each in offers),
        *(("order", each.txid, each) for each in orders),
    ]
    table(
        ("deal", "what", "tokens", "sat", "state"),
        [
            (name[:_SHORT], what, each.amount, each.price_sat, each.state)
            for what, name, each in found
        ],
        empty="no deals",
    )


def withdraw(
    data_dir: DataDir,
    deal: Annotated[str, typer.Argument(metavar="DEAL", help="Or its first characters.")],
    as_json: JsonFlag = False,
) -> None:
    """Take back an offer, or an order: that by a payment to ourselves, and while there is time."""

    async def withdrawn(node: "NodeClient") -> "OfferView | OrderView":
        offers = [each.offer_id for each in await node.tokens.offers()]
        orders = [each.txid for each in await node.tokens.orders()]
        found = full_id(deal, (*offers, *orders), what="deal", see="lightspeed token deals")
        if found in offers:
            return await node.tokens.withdraw(found)
        return await node.tokens.cancel_order(found)

    found = ask(data_dir, withdrawn)
    if as_json:
        show_json(found)
    else:
        typer.echo("taken back")

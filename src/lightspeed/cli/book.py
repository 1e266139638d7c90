"""`lightspeed book`: what is paid from."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.channel import full_channel_id
from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.ids import full_id
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table, tokens

if TYPE_CHECKING:
    from lightspeed.node import BookView, NodeClient

__all__ = ["app"]

app = typer.Typer(help="Books: a channel's money, divided beforehand.", no_args_is_help=True)


class SchemeName(Enum):
    """How locks become transactions; see GLOSSARY.md."""

    OUTPUTS = "outputs"
    LADDER = "ladder"
    SEALS = "seals"


class AssetName(Enum):
    SAT = "sat"
    TOKEN = "token"


_LOCKS = {SchemeName.OUTPUTS: 1_000, SchemeName.LADDER: 127, SchemeName.SEALS: 1_000}
_LOCK_SAT = 1_000
_LOOKS = 50
_LOOK_SECONDS = 0.1


@app.command(name="open")
def open_(
    data_dir: DataDir,
    channel_id: Annotated[str, typer.Argument(metavar="CHANNEL_ID", help="Or how it starts.")],
    origin: Annotated[
        list[str],
        typer.Option(help="Where it may be spent, such as https://api.example. May be repeated."),
    ],
    locks: Annotated[
        int | None,
        typer.Option(min=1, help="Number of locks.", show_default="1,000; for a ladder 127"),
    ] = None,
    lock_amount: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="AMOUNT",
            help="Of each lock: sats, or tokens in their smallest part.",
            show_default="1,000 sat, or a token per unit",
        ),
    ] = None,
    chain_length: Annotated[int, typer.Option(min=1, help="Units per lock.")] = 100,
    asset: Annotated[
        AssetName | None,
        typer.Option(
            help="What the book is in; token: those that the channel holds.",
            show_default="sat; for seals token",
        ),
    ] = None,
    scheme: Annotated[
        SchemeName | None,
        typer.Option(
            help="ladder: one small transaction after a close; 127 locks at most, unless the payee "
            "allows more. seals: tokens only, up to 65,535 locks; the payee may burn what is left "
            "at a close.",
            show_default="outputs; for tokens ladder",
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Units that may run ahead.", show_default="from the chain length"),
    ] = None,
    refund_delay: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="BLOCKS",
            help="After a close by force: when the rest comes back.",
            show_default="a week or more",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Open a book in a channel whose payer this node is; it can be paid from at once.

    It takes LOCKS x AMOUNT from our balance. What is not spent comes back when the book is closed.
    """
    in_tokens = asset is AssetName.TOKEN or (asset is None and scheme is SchemeName.SEALS)
    scheme = scheme or (SchemeName.LADDER if in_tokens else SchemeName.OUTPUTS)
    amount = lock_amount or (chain_length if in_tokens else _LOCK_SAT)

    async def opened(node: "NodeClient") -> "BookView":
        return await node.open_book(
            await full_channel_id(node, channel_id),
            locks=locks or _LOCKS[scheme],
            chain_length=chain_length,
            lock_amount_sat=None if in_tokens else amount,
            lock_tokens=amount if in_tokens else None,
            origins=origin,
            scheme=scheme.value,
            window=window,
            refund_delay_blocks=refund_delay,
        )

    found = ask(data_dir, opened)
    if as_json:
        show_json(found)
        return
    fields(
        [
            ("book", found.book_id),
            ("units", f"{sats(found.units)} of {_unit(found)}"),
            ("spent at", ", ".join(found.origins)),
            ("window", f"{sats(found.window)} units"),
        ]
    )


BookId = Annotated[str, typer.Argument(metavar="BOOK_ID", help="Or its first characters.")]


@app.command()
def settle(data_dir: DataDir, book_id: BookId, as_json: JsonFlag = False) -> None:
    """As the payee: move what is completed into our balance, now. The book goes on."""

    async def settled(node: "NodeClient") -> "BookView":
        full = await _full_book_id(node, book_id)
        (before,) = (each for each in await node.books() if each.book_id == full)
        view = await node.settle_book(full)
        for _ in range(_LOOKS):  # the peer has to agree
            if view.settled_units > before.settled_units:
                break
            await asyncio.sleep(_LOOK_SECONDS)
            (view,) = (each for each in await node.books() if each.book_id == full)
        return view

    _show(ask(data_dir, settled), as_json=as_json)


@app.command()
def close(data_dir: DataDir, book_id: BookId, as_json: JsonFlag = False) -> None:
    """Close a book: what was paid is the payee's, to the unit, and the rest the payer's.

    Nothing is paid from it any more. A payer asks its payee, who alone can end a book.
    """

    async def closed(node: "NodeClient") -> "BookView":
        return await node.close_book(await _full_book_id(node, book_id))

    _show(ask(data_dir, closed), as_json=as_json)


def _show(found: "BookView", *, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        fields(
            [
                ("book", found.book_id),
                ("state", found.state),
                ("settled", f"{sats(found.settled_units)} of {sats(found.units)} units"),
            ]
        )


def _unit(view: "BookView") -> str:
    if view.token is not None:
        return tokens(view.unit_tokens or 0, view.token)
    return f"{(view.unit_msat or 0) / 1_000:g} sat"


async def _full_book_id(node: "NodeClient", start: str) -> str:
    """Of the one book whose id starts so. Raises `UsageError`."""
    ids = [view.book_id for view in await node.books()]
    return full_id(start, ids, what="book", see="lightspeed book list")


@app.command(name="list")
def list_(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """All books; for a payee with what was redeemed, and what of it is not settled yet."""
    found = ask(data_dir, lambda node: node.books())
    if as_json:
        show_json(found)
        return
    table(
        (
            "book",
            "channel",
            "state",
            "units",
            "each",
            "redeemed",
            "settled",
            "at risk",
            "origins",
        ),
        [
            (
                view.book_id[:16],
                view.channel_id[:8],
                view.state,
                view.units,
                _unit(view),
                "" if view.redeemed_units is None else sats(view.redeemed_units),
                view.settled_units,
                "" if view.at_risk_units is None else sats(view.at_risk_units),
                " ".join(view.origins),
            )
            for view in found
        ],
        empty="no books",
    )

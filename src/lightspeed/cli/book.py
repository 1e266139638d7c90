"""`lightspeed book`: what is paid from."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.channel import full_channel_id
from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.node import BookView, NodeClient

__all__ = ["app"]

app = typer.Typer(help="Books: a channel's money, divided beforehand.", no_args_is_help=True)


class SchemeName(Enum):
    """How locks become transactions; see GLOSSARY.md."""

    OUTPUTS = "outputs"
    LADDER = "ladder"


_LOCKS = {SchemeName.OUTPUTS: 1_000, SchemeName.LADDER: 127}


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
    lock_amount: Annotated[int, typer.Option(min=1, metavar="SAT", help="Of each lock.")] = 1_000,
    chain_length: Annotated[int, typer.Option(min=1, help="Units per lock.")] = 100,
    scheme: Annotated[
        SchemeName,
        typer.Option(help="ladder: one small transaction after a close; at most 127 locks."),
    ] = SchemeName.OUTPUTS,
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

    It takes LOCKS x SAT from our balance. What is not spent comes back when the book is closed.
    """

    async def opened(node: "NodeClient") -> "BookView":
        return await node.open_book(
            await full_channel_id(node, channel_id),
            locks=locks or _LOCKS[scheme],
            chain_length=chain_length,
            lock_amount_sat=lock_amount,
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
            ("units", f"{sats(found.units)} of {found.unit_msat / 1_000:g} sat"),
            ("spent at", ", ".join(found.origins)),
            ("window", f"{sats(found.window)} units"),
        ]
    )


@app.command(name="list")
def list_(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """All books; for a payee with what was redeemed."""
    found = ask(data_dir, lambda node: node.books())
    if as_json:
        show_json(found)
        return
    table(
        ("book", "channel", "state", "units", "sat each", "redeemed", "origins"),
        [
            (
                view.book_id,
                view.channel_id[:8],
                view.state,
                view.units,
                f"{view.unit_msat / 1_000:g}",
                "" if view.redeemed_units is None else sats(view.redeemed_units),
                " ".join(view.origins),
            )
            for view in found
        ],
        empty="no books",
    )

"""`lightspeed channel`: open, look at, close."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.node import ChannelView, NodeClient

__all__ = ["app"]

app = typer.Typer(help="Channels with other nodes.", no_args_is_help=True)


class PartyName(Enum):
    """What we are in the channel's Lightspeed funding."""

    PAYER = "payer"
    PAYEE = "payee"
    NONE = "none"


ChannelId = Annotated[str, typer.Argument(metavar="CHANNEL_ID", help="Or its first characters.")]


@app.command(name="open")
def open_(
    data_dir: DataDir,
    peer: Annotated[str, typer.Argument(metavar="NODE_ID[@HOST:PORT]")],
    sat: Annotated[int, typer.Argument(min=1, help="What the channel holds; from our wallet.")],
    push: Annotated[int, typer.Option(min=0, metavar="SAT", help="Given to the peer at once.")] = 0,
    party: Annotated[
        PartyName, typer.Option(help="Ours in books of this channel; none: no books.")
    ] = PartyName.PAYER,
    as_json: JsonFlag = False,
) -> None:
    """Open a channel. It can be used once its funding is deep enough in the chain.

    A book needs a payee whose own output stands above dust: push a little.
    """

    async def opened(node: "NodeClient") -> "ChannelView":
        if "@" in peer:
            await node.connect(peer)
        return await node.open_channel(
            peer.partition("@")[0],
            funding_sat=sat,
            push_sat=push,
            party=None if party is PartyName.NONE else party.value,
        )

    found = ask(data_dir, opened)
    if as_json:
        show_json(found)
    else:
        fields(
            [
                ("channel", found.channel_id),
                ("funding", f"{sats(found.funding_sat)} sat in {found.funding_txid}"),
                ("state", found.phase),
            ]
        )


@app.command(name="list")
def list_(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """All channels, and how far the end of those has got that are closing."""
    found = ask(data_dir, lambda node: node.channels())
    if as_json:
        show_json(found)
        return
    table(
        ("channel", "peer", "state", "ours, sat", "theirs, sat", "books"),
        [
            (
                view.channel_id[:16],
                view.node_id[:16],
                _state(view),
                view.holder_msat // 1_000,
                view.counterparty_msat // 1_000,
                view.open_books,
            )
            for view in found
        ],
        empty="no channels",
    )


@app.command()
def close(
    data_dir: DataDir,
    channel_id: ChannelId,
    force: Annotated[
        bool, typer.Option("--force", help="Publish our commitment, without asking the peer.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Close a channel; by agreement, unless --force.

    Open books are closed first, to the unit. With --force what was paid is claimed on chain.
    """

    async def closed(node: "NodeClient") -> "ChannelView":
        return await node.close_channel(await full_channel_id(node, channel_id), force=force)

    found = ask(data_dir, closed)
    if as_json:
        show_json(found)
    else:
        fields([("channel", found.channel_id), ("state", _state(found))])


async def full_channel_id(node: "NodeClient", start: str) -> str:
    """Of the one channel whose id starts so. Raises `UsageError`."""
    from lightspeed.cli.errors import UsageError

    ids = [view.channel_id for view in await node.channels()]
    found = [channel_id for channel_id in ids if channel_id.startswith(start.lower())]
    if len(found) != 1:
        which = "no channel" if not found else f"{len(found)} channels"
        raise UsageError(
            f"{which} with an id that starts with {start}; see: lightspeed channel list"
        )
    return found[0]


def _state(view: "ChannelView") -> str:
    if view.onchain_state != "open":
        return f"on chain: {view.onchain_state}"
    if view.usable:
        return "usable"
    return f"{view.phase}, {'connected' if view.connected else 'not connected'}"

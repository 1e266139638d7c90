"""`lightspeed channel`: open, look at, close."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.contracts import full_contract
from lightspeed.cli.ids import full_id
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table, tokens

if TYPE_CHECKING:
    from lightspeed.node import ChannelView, NodeClient, TradeView

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
    token: Annotated[
        str,
        typer.Option(metavar="CONTRACT", help="The channel is to hold tokens too: of this kind."),
    ] = "",
    amount: Annotated[
        int, typer.Option("--tokens", min=0, metavar="N", help="So many, from our wallet.")
    ] = 0,
    push_tokens: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of these, given to the peer at once.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Open a channel. It can be used once its funding is deep enough in the chain.

    A book needs a payee whose own output stands above dust: push a little. So does a channel with
    tokens. Its peer has to have the contract on its list (tokens in node.toml), or have issued it.
    No watchtower guards it.
    """
    from lightspeed.cli.errors import UsageError

    if bool(token) is not bool(amount):
        raise UsageError("--token CONTRACT and --tokens N go together")

    async def opened(node: "NodeClient") -> "ChannelView":
        if "@" in peer:
            await node.connect(peer)
        return await node.open_channel(
            peer.partition("@")[0],
            funding_sat=sat,
            push_sat=push,
            party=None if party is PartyName.NONE else party.value,
            contract=await full_contract(node, token) if token else None,
            tokens=amount,
            push_tokens=push_tokens,
        )

    found = ask(data_dir, opened)
    if as_json:
        show_json(found)
    else:
        fields(
            [
                ("channel", found.channel_id),
                ("funding", f"{sats(found.funding_sat)} sat in {found.funding_txid}"),
                *_tokens(found),
                ("state", found.phase),
            ]
        )


@app.command()
def show(data_dir: DataDir, channel_id: ChannelId, as_json: JsonFlag = False) -> None:
    """One channel: what is whose in it, and how far its end has got."""

    async def shown(node: "NodeClient") -> "ChannelView":
        return await node.channel(await full_channel_id(node, channel_id))

    found = ask(data_dir, shown)
    if as_json:
        show_json(found)
        return
    fields(
        [
            ("channel", found.channel_id),
            ("peer", found.node_id),
            ("funding", f"{sats(found.funding_sat)} sat in {found.funding_txid}"),
            ("state", _state(found)),
            ("in books", f"we are the {found.party}" if found.party else "no part"),
            ("open books", found.open_books),
            ("ours", f"{found.holder_msat / 1_000:,.3f} sat"),
            ("theirs", f"{found.counterparty_msat / 1_000:,.3f} sat"),
            *_tokens(found),
            *(("transaction", f"{each.purpose}: {each.txid}") for each in found.transactions),
            *(("problem", problem) for problem in found.problems),
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
        ("channel", "peer", "state", "ours, sat", "theirs, sat", "our tokens", "theirs", "books"),
        [
            (
                view.channel_id[:16],
                view.node_id[:8],
                _state(view),
                view.holder_msat // 1_000,
                view.counterparty_msat // 1_000,
                tokens(view.holder_tokens, view.token) if view.token else "",
                tokens(view.counterparty_tokens, view.token) if view.token else "",
                view.open_books,
            )
            for view in found
        ],
        empty="no channels",
    )


@app.command()
def buy(
    data_dir: DataDir,
    channel_id: ChannelId,
    amount: Annotated[int, typer.Option("--tokens", min=1, metavar="N", help="How many.")],
    max_price: Annotated[
        int, typer.Option(min=0, metavar="MSAT", help="For all of them; asked more, nothing is.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Buy tokens from the channel's peer, with sats of ours in the channel.

    The peer sells if its operator has set a price (sell_price_msat in node.toml). With a
    --max-price of 0 the answer tells what it asks. On chain, between strangers: lightspeed token.
    """

    async def bought(node: "NodeClient") -> "TradeView":
        full = await full_channel_id(node, channel_id)
        return await node.buy_tokens(full, amount, max_price_msat=max_price)

    found = ask(data_dir, bought)
    if as_json:
        show_json(found)
    elif found.token is not None:
        fields(
            [
                ("bought", tokens(found.tokens, found.token)),
                ("paid", f"{found.price_msat / 1_000:,.3f} sat"),
            ]
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
    ids = [view.channel_id for view in await node.channels()]
    return full_id(start, ids, what="channel", see="lightspeed channel list")


def _tokens(view: "ChannelView") -> list[tuple[str, object]]:
    if view.token is None:
        return []
    return [
        ("contract", view.token.contract),
        ("our tokens", tokens(view.holder_tokens, view.token)),
        ("their tokens", tokens(view.counterparty_tokens, view.token)),
    ]


def _state(view: "ChannelView") -> str:
    if view.onchain_state != "open":
        return f"on chain: {view.onchain_state}"
    if view.usable:
        return "usable"
    if view.phase == "failed":
        return "closing by force"
    return f"{view.phase}, {'connected' if view.connected else 'not connected'}"

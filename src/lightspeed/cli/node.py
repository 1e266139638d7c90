"""`lightspeed node`: make one, run it, look at it."""

import asyncio
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lightspeed.cli.client import DataDir, ask, read_config
from lightspeed.cli.output import JsonFlag, fields, sats, show_json

__all__ = ["app"]

app = typer.Typer(help="A node: its wallet, peers and channels.", no_args_is_help=True)

_REGTEST_ESPLORA = "http://127.0.0.1:3002"


class NetworkName(Enum):
    """As in `node.toml`."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    SIGNET = "signet"
    REGTEST = "regtest"


@app.command()
def init(
    data_dir: DataDir,
    network: Annotated[NetworkName, typer.Option(help="Which chain.")] = NetworkName.REGTEST,
    mainnet_accepted: Annotated[
        bool,
        typer.Option(
            "--mainnet-i-accept-the-risk",
            help="Needed for mainnet: this is young software.",
        ),
    ] = False,
    esplora: Annotated[
        str | None,
        typer.Option(help="URL of an Esplora API.", show_default=f"regtest: {_REGTEST_ESPLORA}"),
    ] = None,
    host: Annotated[str, typer.Option(help="Where it listens for peers.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="For peers.")] = 9735,
    api_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65_535, help="Of its own API, on loopback.", show_default="--port + 1"
        ),
    ] = None,
    payee_for: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Take payments for this origin, such as https://api.example. May be repeated.",
        ),
    ] = None,
    payer: Annotated[bool, typer.Option(help="Whether it may open books of its own.")] = True,
    token: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONTRACT",
            help="Peers may open channels with tokens of this rgb:... (always with those that the "
            "node issues itself). May be repeated.",
        ),
    ] = None,
    token_price: Annotated[
        int, typer.Option(min=0, metavar="MSAT", help="Sell a channel's tokens to its peer; 0: no.")
    ] = 0,
    to_self_delay: Annotated[
        int, typer.Option(min=1, max=2_016, help="Blocks for which a peer's own money waits.")
    ] = 144,
    minimum_depth: Annotated[
        int, typer.Option(min=1, max=144, help="Blocks upon a channel's funding.")
    ] = 3,
    as_json: JsonFlag = False,
) -> None:
    """Make a node: a folder with its seed and its settings (node.toml).

    The folder holds secrets and the state of the channels. Never run two copies of it: an old
    state, published, costs the whole channel.
    """
    from lightspeed.bitcoin import Network
    from lightspeed.cli.errors import UsageError
    from lightspeed.lsf import Party
    from lightspeed.node.config import LightspeedConfig, NodeConfig
    from lightspeed.node.folder import CONFIG_NAME
    from lightspeed.node.keys import NodeKeys
    from lightspeed.node.service import init_node

    if (data_dir / CONFIG_NAME).exists():
        raise UsageError(f"{data_dir} has a node already: choose another --data-dir")
    if network is NetworkName.MAINNET and not mainnet_accepted:
        raise UsageError(
            "this is young software: mainnet is refused unless you say --mainnet-i-accept-the-risk"
        )
    if esplora is None and network is not NetworkName.REGTEST:
        raise UsageError(f"on {network.value} say which Esplora to ask: --esplora URL")
    origins = tuple(payee_for or ())
    parties = {Party.PAYER} if payer else set()
    if origins:
        parties.add(Party.PAYEE)
    lightspeed = LightspeedConfig(
        parties=frozenset(parties),
        origins=origins,
        ledger=Path("ledger.sqlite") if origins else None,
        payer_store=Path("payer.sqlite") if payer else None,
        tokens=tuple(token or ()),
        sell_price_msat=token_price,
    )
    config = NodeConfig(
        data_dir=data_dir,
        esplora_url=esplora or _REGTEST_ESPLORA,
        network=Network(network.value),
        mainnet_allowed=mainnet_accepted,
        listen_host=host,
        listen_port=port,
        api_port=api_port or port + 1,
        minimum_depth=minimum_depth,
        to_self_delay_blocks=to_self_delay,
        lightspeed=lightspeed if parties else None,
    )
    init_node(config)
    node_id = NodeKeys.read(config.seed_path).node_id.data.hex()
    if as_json:
        show_json({"node_id": node_id, "data_dir": str(data_dir)})
        return
    fields(
        [
            ("node id", node_id),
            ("network", network.value),
            ("folder", data_dir),
            ("start it", f"lightspeed node run --data-dir {data_dir}"),
        ]
    )


@app.command()
def run(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """Run the node until Ctrl-C. Its log goes to stderr, a JSON object per line."""
    config = read_config(data_dir)
    from lightspeed.node.daemon import Node
    from lightspeed.node.service import log_to_stderr, run_node

    def ready(node: Node, url: str) -> None:
        address = f"{node.keys.node_id.data.hex()}@{config.listen_host}:{node.peers.port}"
        if as_json:
            show_json({"address": address, "api": url})
        else:
            fields([("peers connect to", address), ("API", url)])

    log_to_stderr()
    asyncio.run(run_node(config, on_ready=ready))


@app.command()
def info(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """Who the node is, and how far it has seen the chain."""
    found = ask(data_dir, lambda node: node.info())
    if as_json:
        show_json(found)
        return
    fields(
        [
            ("node id", found.node_id),
            ("peers connect to", f"{found.node_id}@{found.listen_host}:{found.listen_port}"),
            ("network", found.network),
            ("block height", sats(found.block_height)),
            ("Lightspeed", " and ".join(found.lightspeed_parties) or "off"),
            *(("problem", problem) for problem in found.problems),
        ]
    )


@app.command()
def connect(
    data_dir: DataDir,
    address: Annotated[str, typer.Argument(metavar="NODE_ID@HOST:PORT")],
    as_json: JsonFlag = False,
) -> None:
    """Connect to a peer."""
    found = ask(data_dir, lambda node: node.connect(address))
    if as_json:
        show_json(found)
    else:
        fields(
            [("connected to", found.node_id), ("Lightspeed", "yes" if found.lightspeed else "no")]
        )


@app.command()
def address(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """A new address of the node's on-chain wallet."""
    found = ask(data_dir, lambda node: node.new_address())
    if as_json:
        show_json(found)
    else:
        typer.echo(found.address)


@app.command()
def balance(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """What is in the wallet, and in channels."""
    found = ask(data_dir, lambda node: node.balance())
    if as_json:
        show_json(found)
        return
    fields(
        [
            ("on chain", f"{sats(found.confirmed_sat)} sat"),
            ("unconfirmed", f"{sats(found.pending_sat)} sat"),
            ("beside tokens", f"{sats(found.beside_tokens_sat)} sat, which go nowhere alone"),
            ("in channels", f"{found.channels_msat / 1_000:,.3f} sat"),
        ]
    )

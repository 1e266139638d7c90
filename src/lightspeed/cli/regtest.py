"""`lightspeed regtest`: a chain of one's own, and coins on it."""

import asyncio
from typing import Annotated

import typer

from lightspeed.cli.output import JsonFlag, show_json

__all__ = ["app"]

_DEFAULT_PORT = 3002
_DEFAULT_URL = f"http://127.0.0.1:{_DEFAULT_PORT}"

app = typer.Typer()

UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="LIGHTSPEED_REGTEST_URL", help="Of the running regtest."),
]


@app.callback(invoke_without_command=True)
def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="A loopback address: there is no access control.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = (
        _DEFAULT_PORT
    ),
    as_json: JsonFlag = False,
) -> None:
    """Serve a fresh regtest chain as an Esplora API, until Ctrl-C.

    Bitcoin Core's own consensus code runs in this process; the chain lives in memory and ends
    with it. Wallets and nodes connect to the URL that is printed.
    """
    if ctx.invoked_subcommand is not None:
        return
    import time

    from lightspeed.chain import Regtest
    from lightspeed.chain.esplora_server import run

    regtest = Regtest(clock=lambda: int(time.time()))

    def ready(url: str) -> None:
        if as_json:
            show_json({"url": url, "height": regtest.height})
        else:
            typer.echo(f"Regtest at height {regtest.height}, Esplora API at {url}")
            typer.echo("Mine with: lightspeed regtest mine; end with Ctrl-C")

    run(regtest, host=host, port=port, on_ready=ready)


@app.command()
def mine(
    blocks: Annotated[int, typer.Argument(min=1, max=10_000)] = 1,
    every: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="One at a time, so that nodes can follow."),
    ] = 0,
    url: UrlOption = _DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Mine blocks on the running regtest."""
    from lightspeed.cli.regtest_client import RegtestClient

    async def ask() -> int:
        async with RegtestClient(url) as client:
            for _ in range(blocks - 1 if every else 0):
                await client.mine()
                await asyncio.sleep(every)
            return await client.mine(1 if every else blocks)

    height = asyncio.run(ask())
    if as_json:
        show_json({"height": height})
    else:
        typer.echo(f"height {height}")


@app.command()
def fund(
    address: Annotated[str, typer.Argument(help="Who gets the coins.")],
    sat: Annotated[int, typer.Argument(min=1)],
    url: UrlOption = _DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Pay coins from the running regtest's faucet, and mine them."""
    from lightspeed.cli.regtest_client import RegtestClient

    async def ask() -> str:
        async with RegtestClient(url) as client:
            return await client.fund(address, sat)

    txid = asyncio.run(ask())
    if as_json:
        show_json({"txid": txid})
    else:
        typer.echo(f"{sat:,} sat in transaction {txid}")

"""`lightspeed tower`: run a watchtower, say who may use it, and let a node use one."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.client import DataDir, read_config
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.node.tower import TowerStore

__all__ = ["app"]

app = typer.Typer(
    help="A watchtower: publishes what a node would lose by being off.", no_args_is_help=True
)

_DEFAULT_ESPLORA = "http://127.0.0.1:3002"
_DEFAULT_PORT = 9911
_STORE_NAME = "tower.sqlite"
_MEGABYTE = 1 << 20


def default_tower_dir() -> Path:
    return Path.home() / ".lightspeed-tower"


TowerDir = Annotated[
    Path,
    typer.Option(
        "--tower-dir",
        "-t",
        envvar="LIGHTSPEED_TOWER_DIR",
        help="The tower's folder, made if it is missing.",
        show_default="~/.lightspeed-tower",
        default_factory=default_tower_dir,
    ),
]


def open_store(tower_dir: Path) -> "TowerStore":
    from lightspeed.node.tower import TowerStore

    tower_dir.mkdir(parents=True, exist_ok=True)
    tower_dir.chmod(0o700)
    return TowerStore(tower_dir / _STORE_NAME)


@app.command()
def run(
    tower_dir: TowerDir,
    esplora: Annotated[str, typer.Option(help="URL of an Esplora API.")] = _DEFAULT_ESPLORA,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="On loopback; 0 takes a free one.")
    ] = _DEFAULT_PORT,
    as_json: JsonFlag = False,
) -> None:
    """Guard the channels of this tower's clients until Ctrl-C.

    What they hand over is sealed: the tower learns what it is about when a commitment of theirs
    is on chain, and then publishes it. For clients on other machines put a reverse proxy with
    TLS in front. Its log goes to stderr, a JSON object per line.
    """
    from lightspeed.node.service import log_to_stderr
    from lightspeed.node.tower.process import run_tower

    def ready(url: str) -> None:
        if as_json:
            show_json({"url": url})
        else:
            fields([("tower", url), ("add a client", "lightspeed tower add-client NAME")])

    log_to_stderr()
    with open_store(tower_dir) as store:
        asyncio.run(run_tower(store, esplora_url=esplora, port=port, on_ready=ready))


@app.command("add-client")
def add_client(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    tower_dir: TowerDir,
    megabytes: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="That it may store at most.")
    ] = 64,
    as_json: JsonFlag = False,
) -> None:
    """Let a node use this tower: prints the token for it, this once."""
    with open_store(tower_dir) as store:
        token = store.add_client(name, quota_bytes=megabytes * _MEGABYTE)
    if as_json:
        show_json({"name": name, "token": token})
        return
    fields([("token", token), ("on the node", "lightspeed tower use URL TOKEN")])


@app.command("remove-client")
def remove_client(
    name: Annotated[str, typer.Argument()], tower_dir: TowerDir, as_json: JsonFlag = False
) -> None:
    """Forget a client and everything that it handed over."""
    with open_store(tower_dir) as store:
        store.remove_client(name)
    if as_json:
        show_json({"removed": name})
    else:
        typer.echo(f"{name} is not guarded any more")


@app.command()
def clients(tower_dir: TowerDir, as_json: JsonFlag = False) -> None:
    """Who uses this tower, and how much they store."""
    with open_store(tower_dir) as store:
        found = store.clients()
    if as_json:
        show_json(
            [
                {"name": c.name, "used_bytes": c.used_bytes, "quota_bytes": c.quota_bytes}
                for c in found
            ]
        )
        return
    table(
        ("name", "used bytes", "quota bytes"),
        [(client.name, client.used_bytes, client.quota_bytes) for client in found],
        empty="no clients; add one with: lightspeed tower add-client NAME",
    )


@app.command()
def use(
    url: Annotated[str, typer.Argument(help="The tower's; https, or on loopback.")],
    token: Annotated[
        str,
        typer.Argument(envvar="LIGHTSPEED_TOWER_TOKEN", help="That its operator gave you."),
    ],
    data_dir: DataDir,
    as_json: JsonFlag = False,
) -> None:
    """Let a node hand its channels to a tower, from its next start on.

    Breaches are then answered in all its channels. Closes are in those that are opened after
    that, because the payer has to sign more for them.
    """
    from dataclasses import replace

    from lightspeed.node.keys import create_secret_file
    from lightspeed.node.tower import TowerClient

    config = replace(read_config(data_dir), tower_url=url)

    async def ask() -> int:
        async with TowerClient(url, token) as tower:
            account = await tower.account()
            return int(account["quota_bytes"])

    quota_bytes = asyncio.run(ask())
    config.tower_token_path.unlink(missing_ok=True)
    create_secret_file(config.tower_token_path, token.encode())
    config.write()
    if as_json:
        show_json({"tower_url": url, "quota_bytes": quota_bytes})
        return
    fields(
        [
            ("tower", url),
            ("it stores for you", f"{sats(quota_bytes)} bytes"),
            ("start the node again", f"lightspeed node run --data-dir {data_dir}"),
        ]
    )

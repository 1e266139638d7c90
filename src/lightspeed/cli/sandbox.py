"""`lightspeed sandbox`: everything around an API that is paid by Lightspeed, for trying it out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.output import JsonFlag, show_json, stderr

if TYPE_CHECKING:
    from lightspeed.cli.demo.house import House
    from lightspeed.cli.demo.screen import Screen

__all__ = ["command"]


def command(
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="For its files; must not exist yet.")
    ] = Path("sandbox"),
    origin: Annotated[
        str, typer.Option(help="Where your API will be: the book pays nobody else.")
    ] = "http://127.0.0.1:8000",
    as_json: JsonFlag = False,
) -> None:
    """Run a chain, two nodes, a channel and a book for your API, until Ctrl-C.

    Your server opens the ledger, your client the payer's store: both paths are printed. All of
    it is on this machine, in processes that end with this one; the coins are worth nothing.
    """
    from rich.console import Console

    from lightspeed.cli.demo.processes import run_until_asked_to_end
    from lightspeed.cli.demo.screen import Screen
    from lightspeed.cli.errors import UsageError

    if folder.exists():
        raise UsageError(f"{folder} exists already: name another folder, or remove it")
    folder.mkdir(parents=True)
    screen = Screen(stderr() if as_json else Console())
    main = _run(screen, folder=folder.absolute(), origin=origin, as_json=as_json)
    run_until_asked_to_end(main)


async def _run(screen: "Screen", *, folder: Path, origin: str, as_json: bool) -> None:
    import asyncio
    from contextlib import AsyncExitStack

    from lightspeed.cli.demo.house import open_house
    from lightspeed.cli.demo.opening import fund_wallets, open_book, open_channel
    from lightspeed.cli.demo.plan import DemoPlan

    async with AsyncExitStack() as stack:
        with screen.step("A regtest chain, the payer's node, the payee's node"):
            opening = open_house(DemoPlan(), folder, origin=origin)
            house = await stack.enter_async_context(opening)
        await fund_wallets(house, screen)
        channel = await open_channel(house, screen)
        book_id = await open_book(house, screen, channel.channel_id)
        await _leased(house, book_id)
        found = {
            "book_id": book_id,
            "origin": origin,
            "ledger": str(house.ledger),
            "payer_store": str(house.payer_store),
        }
        if as_json:
            show_json(found)
        else:
            typer.echo(f"\nYour API at {origin} opens the ledger   {found['ledger']}")
            typer.echo(f"Your client opens the payer's store      {found['payer_store']}")
            typer.echo("Ends with Ctrl-C")
        await asyncio.Event().wait()


async def _leased(house: "House", book_id: str) -> None:
    """Until the payee's node has put the book into the ledger, and a server may redeem it."""
    from lightspeed.cli.demo.house import until
    from lightspeed.ledger import SQLiteLedger

    ledger = SQLiteLedger(house.ledger)

    async def leased() -> bool:
        statuses = await ledger.statuses()
        return any(status.book_id.hex() == book_id and status.open_until for status in statuses)

    try:
        await until(leased, what="book in the ledger")
    finally:
        await ledger.aclose()

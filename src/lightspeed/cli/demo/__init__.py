"""`lightspeed demo`: a whole life of a channel, in front of one's eyes."""

from pathlib import Path
from typing import Annotated

import typer

from lightspeed.cli.demo.plan import BOOK_SIZES, Closer, DemoAsset, DemoPlan, DemoScheme

__all__ = ["command"]

_DEFAULTS = DemoPlan()


def command(
    scheme: Annotated[
        DemoScheme, typer.Option(help="How the calls are paid.")
    ] = DemoScheme.OUTPUTS,
    asset: Annotated[
        DemoAsset | None,
        typer.Option(help="What they are paid with.", show_default="sat; for seals token"),
    ] = None,
    calls: Annotated[int, typer.Option(min=2, help="Paid calls to make.")] = _DEFAULTS.calls,
    close: Annotated[
        Closer, typer.Option(help="Whose node closes the channel, without asking the other.")
    ] = Closer.PAYER,
    json_file: Annotated[
        Path, typer.Option("--json", dir_okay=False, help="Where the numbers go.")
    ] = Path("build/demo.json"),
    locks: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the book.", show_default="1,000; for a ladder 125, for seals 10,000"
        ),
    ] = None,
    lock_amount: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Sat or tokens per lock.",
            show_default="1,000; for a ladder 8,000, for seals 100",
        ),
    ] = None,
    chain_length: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Units per lock; a call costs one.",
            show_default="100; for a ladder 8,000",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Where the processes keep their files and logs; a new one.",
            show_default="temporary",
        ),
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="Calls in flight.")] = _DEFAULTS.clients,
    conventional_calls: Annotated[
        int, typer.Option(min=0, help="Invoices paid first, for comparison.")
    ] = _DEFAULTS.conventional_calls,
) -> None:
    """Open a channel, make paid calls, close it by force, count the money.

    Starts a regtest chain, two nodes and an API server on this machine, and stops them at the
    end. Ends with status 1 if a balance is off by a satoshi or a token. A ladder of sats is
    followed by the same calls from a book of scheme outputs, in a channel of its own, so that both
    closes are on chain. Tokens are issued and sold first; at the end some of them go to a third
    node, which knows nothing but their history.
    """
    from lightspeed.cli.demo.show import show_demo

    size = BOOK_SIZES.get(scheme, BOOK_SIZES[DemoScheme.OUTPUTS])
    by_default = DemoAsset.TOKEN if scheme is DemoScheme.SEALS else DemoAsset.SAT
    plan = DemoPlan(
        scheme=scheme,
        asset=asset or by_default,
        calls=calls,
        closer=close,
        locks=locks or size.locks,
        lock_amount=lock_amount or size.lock_amount,
        chain_length=chain_length or size.chain_length,
        clients=clients,
        conventional_calls=conventional_calls,
    )
    show_demo(plan, folder=folder and folder.absolute(), json_file=json_file)

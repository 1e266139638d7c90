"""`lightspeed invoice` and `lightspeed pay`: ordinary Lightning payments (BOLT 11)."""

from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.output import JsonFlag, fields, show_json

if TYPE_CHECKING:
    from lightspeed.node import InvoiceView

__all__ = ["app", "pay"]

app = typer.Typer(help="Invoices for ordinary Lightning payments.", no_args_is_help=True)

_MSAT_PER_SAT = 1_000


@app.command()
def create(
    data_dir: DataDir,
    sat: Annotated[int, typer.Argument(min=1)],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    expiry: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long it holds.")] = (
        3_600
    ),
    as_json: JsonFlag = False,
) -> None:
    """Make an invoice; prints what the payer needs."""
    found = ask(
        data_dir,
        lambda node: node.create_invoice(
            sat * _MSAT_PER_SAT, description=description, expiry_seconds=expiry
        ),
    )
    if as_json:
        show_json(found)
    else:
        typer.echo(found.bolt11)


@app.command()
def lookup(
    data_dir: DataDir,
    payment_hash: Annotated[str, typer.Argument(metavar="PAYMENT_HASH")],
    as_json: JsonFlag = False,
) -> None:
    """Whether an invoice of ours was paid."""
    found = ask(data_dir, lambda node: node.invoice(payment_hash))
    if as_json:
        show_json(found)
    else:
        fields(_invoice_fields(found))


def pay(
    data_dir: DataDir,
    bolt11: Annotated[str, typer.Argument(metavar="INVOICE")],
    as_json: JsonFlag = False,
) -> None:
    """Pay a BOLT 11 invoice over a direct channel. Status 1 unless it was paid."""
    from lightspeed.cli.errors import CheckFailed

    found = ask(data_dir, lambda node: node.pay(bolt11))
    if as_json:
        show_json(found)
    else:
        fields(
            [
                ("payment", found.payment_hash),
                ("amount", f"{found.amount_msat / _MSAT_PER_SAT:,g} sat"),
                ("state", found.state),
            ]
        )
    if found.state != "paid":
        raise CheckFailed(f"the payment is {found.state}: {found.failure or 'no answer yet'}")


def _invoice_fields(found: "InvoiceView") -> list[tuple[str, object]]:
    amount = "any"
    if found.amount_msat is not None:
        amount = f"{found.amount_msat / _MSAT_PER_SAT:,g} sat"
    return [
        ("payment hash", found.payment_hash),
        ("amount", amount),
        ("description", found.description),
        ("state", found.state),
        ("received", f"{found.received_msat / _MSAT_PER_SAT:,g} sat"),
    ]

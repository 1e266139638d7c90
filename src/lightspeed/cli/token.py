"""`lightspeed token`: RGB tokens on chain: issue, send, receive, buy and sell."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed.cli import deals
from lightspeed.cli.client import DataDir, ask
from lightspeed.cli.contracts import full_contract
from lightspeed.cli.files import check_writable
from lightspeed.cli.ids import full_id
from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.node import NodeClient
    from lightspeed.node.token_views import (
        ConsignmentView,
        ReceivedView,
        SentView,
        TokenInvoiceView,
        TokenView,
        TransferView,
    )

__all__ = ["app"]

app = typer.Typer(help="RGB tokens on chain (v0.11.1, NIA).", no_args_is_help=True)

_SHORT = 20

Contract = Annotated[
    str, typer.Argument(metavar="CONTRACT", help="Ticker, or rgb:..., or how that begins.")
]
Amount = Annotated[
    int | None,
    typer.Option("--amount", min=1, help="Tokens, in their smallest part.", show_default=False),
]
ContractOption = Annotated[
    str, typer.Option("--contract", metavar="CONTRACT", help="Ticker, rgb:... or its beginning.")
]
ConsignmentFile = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A consignment.")
]


@app.command()
def issue(
    data_dir: DataDir,
    ticker: Annotated[str, typer.Argument(help="Up to 8 letters and digits.")],
    supply: Annotated[int, typer.Argument(min=1, help="All there will ever be.")],
    name: Annotated[str, typer.Option(help="Up to 40 characters.", show_default="TICKER")] = "",
    precision: Annotated[int, typer.Option(min=0, max=18, help="Decimals that wallets show.")] = 0,
    terms: Annotated[str, typer.Option(help="The contract's text, public for ever.")] = "",
    details: Annotated[str, typer.Option(help="What it is, in a sentence.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Issue a token. Its whole supply is on a coin of this node's wallet then.

    Amounts, here and everywhere, count the smallest part of a token.
    """

    async def issued(node: "NodeClient") -> "TokenView":
        return await node.tokens.issue(
            ticker,
            name or ticker,
            supply=supply,
            precision=precision,
            terms=terms,
            details=details or None,
        )

    found = ask(data_dir, issued)
    if as_json:
        show_json(found)
    else:
        fields([("contract", found.contract), ("supply", sats(found.supply))])


@app.command(name="list")
def list_(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """The tokens that the node knows, and how many of them it holds on chain."""
    found = ask(data_dir, lambda node: node.tokens.all())
    if as_json:
        show_json(found)
        return
    table(
        ("contract", "ticker", "held", "pending", "reserved"),
        [(view.contract, view.ticker, view.settled, view.pending, view.reserved) for view in found],
        empty="no tokens",
    )


@app.command()
def invoice(
    data_dir: DataDir,
    contract: ContractOption = "",
    amount: Amount = None,
    blinded: Annotated[
        bool, typer.Option("--blinded", help="To a coin of ours that the payer does not learn.")
    ] = False,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="rpc://HOST:PORT/PATH", help="A proxy for the consignment; repeat."),
    ] = None,
    expiry: Annotated[int, typer.Option(min=1, metavar="SECONDS")] = 86_400,
    as_json: JsonFlag = False,
) -> None:
    """Ask for tokens. Without --contract or --amount that is left to the payer.

    Without --endpoint the payer hands over a file: lightspeed token accept FILE.
    """

    async def made(node: "NodeClient") -> "TokenInvoiceView":
        return await node.tokens.invoice(
            contract=await full_contract(node, contract) if contract else None,
            amount=amount,
            blinded=blinded,
            expiry_seconds=expiry,
            endpoints=endpoint,
        )

    found = ask(data_dir, made)
    if as_json:
        show_json(found)
    else:
        typer.echo(found.invoice)


@app.command()
def send(
    data_dir: DataDir,
    invoice: Annotated[str, typer.Argument(metavar="INVOICE", help="rgb:...")],
    contract: ContractOption = "",
    amount: Amount = None,
    consignment: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Write the payee's consignment there."),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Publish without waiting for the payee's word.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Pay an invoice for tokens. Status 1 if it failed.

    Where the invoice names an endpoint, the consignment is posted there, and the transaction is
    published once the payee has accepted it; that may take until the payee looks. Where it names
    none, hand over the file of --consignment.
    """
    from lightspeed.cli.errors import CheckFailed, UsageError

    async def sent(node: "NodeClient") -> "SentView":
        return await node.tokens.send(
            invoice,
            contract=await full_contract(node, contract) if contract else None,
            amount=amount,
            at_once=at_once,
        )

    if not invoice.startswith("rgb:"):
        raise UsageError("an invoice is written rgb:...; ask the payee: lightspeed token invoice")
    if consignment is not None:
        check_writable(consignment)
    elif "endpoints=" not in invoice:
        raise UsageError(
            "the invoice names no endpoint (is it in quotes? shells cut it at &): say with "
            "--consignment FILE where to write what the payee needs"
        )
    found = ask(data_dir, sent)
    if consignment is not None:
        consignment.write_bytes(base64.b64decode(found.consignment))
    if as_json:
        show_json(found.transfer)
    else:
        _show_transfer(found.transfer)
    if found.transfer.state == "failed":
        raise CheckFailed(f"nothing was sent: {found.transfer.reason}")


@app.command()
def receive(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """Look for consignments at the endpoints of our invoices, and show all invoices.

    A running node does so by itself.
    """
    found = ask(data_dir, lambda node: node.tokens.look())
    if as_json:
        show_json(found)
        return
    table(
        ("invoice", "state", "asked", "received", "why"),
        [
            (
                view.recipient_id.rpartition(":")[2][:_SHORT],
                view.state,
                "any" if view.amount is None else sats(view.amount),
                sats(view.received),
                view.reason or "",
            )
            for view in found
        ],
        empty="no invoices for tokens",
    )


@app.command()
def accept(data_dir: DataDir, file: ConsignmentFile, as_json: JsonFlag = False) -> None:
    """Validate a consignment that pays an invoice of ours, and keep its tokens."""
    data = file.read_bytes()
    _show_received(ask(data_dir, lambda node: node.tokens.accept(data)), as_json=as_json)


@app.command(name="import")
def import_(
    data_dir: DataDir,
    file: ConsignmentFile,
    holdings: Annotated[
        bool,
        typer.Option("--holdings", help="A backup of ours: take in all tokens on our coins."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Learn of a contract; with --holdings, take in tokens that no invoice asked for.

    A coin with tokens on it pays for nothing else: take --holdings for files of your own only.
    """
    data = file.read_bytes()
    found = ask(data_dir, lambda node: node.tokens.accept(data, any_coin=holdings))
    _show_received(found, as_json=as_json)


@app.command()
def export(
    data_dir: DataDir,
    contract: Contract,
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)],
    holdings: Annotated[
        bool, typer.Option("--holdings", help="What proves the tokens that we hold: a backup.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a contract to a file, for others to learn of it."""

    async def exported(node: "NodeClient") -> "ConsignmentView":
        return await node.tokens.export(await full_contract(node, contract), holdings=holdings)

    check_writable(file)
    _write(ask(data_dir, exported), file, as_json=as_json)


@app.command()
def history(data_dir: DataDir, as_json: JsonFlag = False) -> None:
    """Transfers of tokens that this node made, and how far they have got."""
    found = ask(data_dir, lambda node: node.tokens.transfers())
    if as_json:
        show_json(found)
        return
    table(
        ("transaction", "what", "tokens", "contract", "state", "why"),
        [
            (
                view.txid[:_SHORT],
                view.purpose,
                view.amount,
                view.contract[:_SHORT],
                view.state,
                view.reason or "",
            )
            for view in found
        ],
        empty="no transfers",
    )


@app.command()
def proof(
    data_dir: DataDir,
    txid: Annotated[str, typer.Argument(metavar="TXID", help="Or its first characters.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)],
    as_json: JsonFlag = False,
) -> None:
    """Write once more what the payee of a transfer needs: its tokens are lost without it.

    For a file that did not arrive, or a proxy that kept it. Take it with: lightspeed token accept.
    """

    async def proved(node: "NodeClient") -> "ConsignmentView":
        ids = [view.txid for view in await node.tokens.transfers()]
        found = full_id(txid, ids, what="transfer", see="lightspeed token history")
        return await node.tokens.proof(found)

    check_writable(file)
    _write(ask(data_dir, proved), file, as_json=as_json)


@app.command()
def cancel(
    data_dir: DataDir,
    txid: Annotated[str, typer.Argument(metavar="TXID", help="Or its first characters.")],
    as_json: JsonFlag = False,
) -> None:
    """Give up a transfer that waits for its payee's word. Nothing of it was published."""

    async def cancelled(node: "NodeClient") -> "TransferView":
        ids = [view.txid for view in await node.tokens.transfers()]
        found = full_id(txid, ids, what="transfer", see="lightspeed token history")
        return await node.tokens.cancel(found)

    found = ask(data_dir, cancelled)
    if as_json:
        show_json(found)
    else:
        _show_transfer(found)


for command in (deals.sell, deals.buy, deals.complete, deals.deals, deals.withdraw):
    app.command()(command)


def _write(found: "ConsignmentView", file: Path, *, as_json: bool) -> None:
    data = base64.b64decode(found.consignment)
    file.write_bytes(data)
    if as_json:
        show_json({"contract": found.contract, "file": str(file), "bytes": len(data)})
    else:
        fields([("contract", found.contract), ("file", f"{file}, {sats(len(data))} bytes")])


def _show_transfer(found: "TransferView") -> None:
    rows: list[tuple[str, object]] = [
        ("transaction", found.txid),
        ("tokens", f"{sats(found.amount)} of {found.contract}"),
        ("state", found.state),
    ]
    if found.reason is not None:
        rows.append(("why", found.reason))
    fields(rows)


def _show_received(found: "ReceivedView", *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    fields(
        [
            ("contract", found.contract),
            ("tokens", sats(found.amount)),
            *(("on", outpoint) for outpoint in found.outpoints),
        ]
    )

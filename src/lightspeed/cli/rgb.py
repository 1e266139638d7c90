"""`lightspeed rgb`: look into consignments of tokens, and validate them without a node."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lightspeed.cli.output import JsonFlag, fields, sats, show_json, table

if TYPE_CHECKING:
    from lightspeed.rgb import Consignment, Validated, Witness

__all__ = ["app"]

app = typer.Typer(help="Consignments of RGB tokens (v0.11.1, NIA).", no_args_is_help=True)

_MAX_FILE_SIZE = 256 << 20  # bytes; a claim of 65,535 locks is below 20 MB

T = TypeVar("T")

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A consignment, with or without magic bytes, or as JSON.",
    ),
]


class ChainName(Enum):
    MAINNET = "mainnet"
    TESTNET3 = "testnet3"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"


@app.command()
def inspect(file: File, as_json: JsonFlag = False) -> None:
    """Tell what a consignment says. Nothing of it is checked: see validate."""
    from lightspeed.bitcoin import txid_hex
    from lightspeed.rgb import (
        RgbFormatError,
        contract_id_text,
        secret_seal_text,
        spec_of,
        supply_of,
    )

    found = _told(lambda: _consignment(file), as_json=as_json)
    genesis = found.genesis
    said: dict[str, Any] = {
        "kind": "transfer" if found.transfer else "contract",
        "contract": contract_id_text(found.contract_id),
        "chain": _chain_name(genesis.chain_net),
        "issuer": genesis.issuer,
        "issued_at": genesis.timestamp,
    }
    try:
        spec = spec_of(genesis)
        said |= {
            "ticker": spec.ticker,
            "name": spec.name,
            "precision": spec.precision,
            "supply": supply_of(genesis),
        }
    except (IndexError, RgbFormatError):
        said["name"] = None
    bundles: list[dict[str, Any]] = [
        {
            "txid": txid_hex(bundle.txid),
            "bundle": bundle.bundle.bundle_id.hex(),
            "proof": bundle.dbc_proof.method.name.lower(),
            "transitions": [
                {
                    "opid": opid.hex(),
                    "inputs": [str(opout) for opout in transition.inputs],
                    "assignments": [
                        {
                            "number": number,
                            "type": kind,
                            "amount": each.state if isinstance(each.state, int) else None,
                            "seal": secret_seal_text(each.seal)
                            if isinstance(each.seal, bytes)
                            else str(each.seal),
                        }
                        for kind, number, each in transition.assignments
                    ],
                }
                for opid, transition in bundle.bundle.known
            ],
        }
        for bundle in found.bundles
    ]
    said["terminals"] = [secret_seal_text(seal) for _, seals in found.terminals for seal in seals]
    if as_json:
        show_json(said | {"bundles": bundles})
        return
    fields([(name, _shown(value)) for name, value in said.items()])
    table(
        ("transaction", "proof", "transitions", "seals"),
        [
            (
                bundle["txid"],
                bundle["proof"],
                len(bundle["transitions"]),
                sum(len(each["assignments"]) for each in bundle["transitions"]),
            )
            for bundle in bundles
        ],
        empty="no history",
    )


@app.command()
def validate(
    file: File,
    txs: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="The history's transactions: raw hex in *.hex, the reference's JSON in *.json.",
        ),
    ],
    chain: Annotated[ChainName, typer.Option(help="Where the contract must live.")] = (
        ChainName.REGTEST
    ),
    as_json: JsonFlag = False,
) -> None:
    """Validate a consignment against transactions in a folder, offline.

    Whether they are mined is not looked at: only give what is. Exit status 0: valid; 1: invalid,
    and the failure is named.
    """
    from lightspeed.rgb import contract_id_text

    found = _told(lambda: _validated(file, txs, chain), as_json=as_json)
    contract = contract_id_text(found.contract_id)
    owned = sum(each.amount for each in found.revealed.values())
    concealed = sum(each.amount for each in found.concealed.values())
    if as_json:
        show_json(
            {
                "valid": True,
                "contract": contract,
                "transactions": len(found.statuses),
                "allocations": [
                    {"outpoint": str(each.outpoint), "amount": each.amount}
                    for each in found.revealed.values()
                ],
                "concealed": [
                    {"seal": _seal_text(each.seal), "amount": each.amount}
                    for each in found.concealed.values()
                ],
            }
        )
        return
    fields(
        [
            ("valid", "yes"),
            ("contract", contract),
            ("transactions", sats(len(found.statuses))),
            ("on known outpoints", f"{sats(owned)} in {sats(len(found.revealed))} allocations"),
            ("concealed", f"{sats(concealed)} in {sats(len(found.concealed))} allocations"),
        ]
    )


def _validated(file: Path, txs: Path, chain: ChainName) -> "Validated":
    """With a bar on a terminal: claims of many locks and long histories take a moment."""
    from rich.progress import Progress

    from lightspeed.cli.output import stderr
    from lightspeed.rgb import ChainNet
    from lightspeed.rgb import validate as validated

    console = stderr()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        consignment, witnesses = _consignment(file), _witnesses(txs)
        bar.update(task, description="validating", total=len(consignment.bundles))
        return validated(
            consignment,
            witnesses,
            chain_net=ChainNet[f"BITCOIN_{chain.name}"],
            progress=lambda done: bar.update(task, completed=done),
        )


def _seal_text(seal: Any) -> str:
    from lightspeed.rgb import secret_seal_text

    return secret_seal_text(seal)


def _chain_name(chain_net: Any) -> str:
    return str(chain_net.name.lower().replace("_", " "))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value) or "none"
    return "unreadable" if value is None else str(value)


def _told(work: Callable[[], T], *, as_json: bool) -> T:
    """Turns a refusal into the failure's name and status 1."""
    from lightspeed.cli.errors import CheckFailed
    from lightspeed.rgb import Failure, RgbError

    try:
        return work()
    except RgbError as error:
        name = type(error).__name__
        if not as_json:
            raise CheckFailed(f"{name}: {error}") from error
        details = error.details() if isinstance(error, Failure) else {}
        show_json({"valid": False, "failure": name, "reason": str(error), "details": details})
        raise typer.Exit(1) from error


def _read(path: Path) -> bytes:
    """Raises `UsageError`: status 1 is for what was read, and is invalid."""
    from lightspeed.cli.errors import UsageError

    try:
        if path.stat().st_size > _MAX_FILE_SIZE:
            raise UsageError(f"{path} is larger than any consignment")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _consignment(path: Path) -> "Consignment":
    from lightspeed.rgb import Consignment, consignment_from_json

    data = _read(path)
    return consignment_from_json(data) if data.lstrip()[:1] == b"{" else Consignment.parse(data)


def _witnesses(folder: Path) -> "dict[bytes, Witness]":
    """Raises `UsageError` for a file that is no transaction."""
    from lightspeed.bitcoin import BitcoinError, Tx
    from lightspeed.cli.errors import UsageError
    from lightspeed.rgb import RgbError, Witness, WitnessStatus, tx_from_json

    found = {}
    for path in sorted(folder.iterdir()):
        try:
            match path.suffix:
                case ".hex":
                    tx = Tx.parse(bytes.fromhex(_read(path).decode()))
                case ".json":
                    tx = tx_from_json(_read(path))
                case _:
                    continue
        except (BitcoinError, RgbError, ValueError) as error:
            raise UsageError(f"{path} holds no transaction: {error}") from error
        found[tx.txid] = Witness(tx, WitnessStatus.MINED)
    return found

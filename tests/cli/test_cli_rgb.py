"""`lightspeed rgb` tells what is in a file, and says by its status whether it is valid."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lightspeed.cli.app import app
from lightspeed.rgb import consignment_from_json
from rgb_world import FIXTURES, VECTORS, consignment, published_txs

RUNNER = CliRunner()


def validated(path: Path, txs: Path, *more: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["rgb", "validate", str(path), "--txs", str(txs), *more])
    return result.exit_code, result.output


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("form", ["rgb", "json"])
def test_published_consignments_are_valid(name: str, form: str) -> None:
    path, txs = VECTORS / f"consignment_{name}.{form}", VECTORS / f"txs_{name}"
    assert validated(path, txs)[0] == 0
    status, output = validated(path, txs, "--json")
    found = json.loads(output)
    assert status == 0
    assert found["valid"] is True
    assert found["contract"].startswith("rgb:")
    owned = [*found["allocations"], *found["concealed"]]
    assert sum(each["amount"] for each in owned) == {"A": 666, "D": 999}[name]


def test_magic_bytes_and_raw_transactions_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.rgb"
    path.write_bytes(consignment("A").serialize(magic=True))
    for tx in published_txs("A"):
        (tmp_path / f"{tx.txid.hex()}.hex").write_text(tx.serialize().hex() + "\n")
    assert validated(path, tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("path", "txs", "more", "failure"),
    [
        (VECTORS / "attack_chain.json", "txs_A", (), "ContractChainNetMismatch"),
        (VECTORS / "consignment_A.rgb", "txs_A", ("--chain", "signet"), "ContractChainNetMismatch"),
        (VECTORS / "consignment_A.rgb", "txs_D", (), "SealNoPubWitness"),
        (VECTORS / "NonInflatableAsset.rgb", "txs_A", (), "RgbFormatError"),
    ],
    ids=["attack", "chain", "transactions", "kit"],
)
def test_a_refusal_is_named(path: Path, txs: str, more: tuple[str, ...], failure: str) -> None:
    status, output = validated(path, VECTORS / txs, *more)
    assert status == 1
    assert failure in output
    status, output = validated(path, VECTORS / txs, *more, "--json")
    found = json.loads(output)
    assert status == 1
    assert (found["valid"], found["failure"]) == (False, failure)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"garbage", "no consignment"),
        (b"", "empty"),
        (b"\xff" * 99, "no consignment"),
        (b"{", "JSON"),
    ],
    ids=["text", "empty", "bytes", "cut"],
)
def test_what_is_no_consignment_is_told(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    status, output = validated(path, VECTORS / "txs_A")
    assert (status, "RgbFormatError" in output, says in output) == (1, True, True)
    inspected = RUNNER.invoke(app, ["rgb", "inspect", str(path), "--json"])
    assert (inspected.exit_code, json.loads(inspected.output)["valid"]) == (1, False)


def test_a_folder_is_no_consignment_and_a_file_no_folder(tmp_path: Path) -> None:
    path = VECTORS / "consignment_A.rgb"
    for found in (
        RUNNER.invoke(app, ["rgb", "inspect", str(tmp_path)]),
        RUNNER.invoke(app, ["rgb", "validate", str(tmp_path), "--txs", str(tmp_path)]),
        RUNNER.invoke(app, ["rgb", "validate", str(path), "--txs", str(path)]),
    ):
        assert found.exit_code == 2
        assert "is a directory" in found.output or "is a file" in found.output


def test_what_is_no_transaction_is_an_error_of_use(tmp_path: Path) -> None:
    (tmp_path / "a.hex").write_text("no hex")
    status, output = validated(VECTORS / "consignment_A.rgb", tmp_path)
    assert status == 2
    assert "a.hex" in output
    (tmp_path / "a.hex").unlink()
    (tmp_path / "a.hex").mkdir()
    status, output = validated(VECTORS / "consignment_A.rgb", tmp_path)
    assert (status, "a.hex cannot be read" in output) == (2, True)


@pytest.mark.parametrize("name", FIXTURES)
def test_inspect_tells_what_a_consignment_says(name: str) -> None:
    path = str(VECTORS / f"consignment_{name}.rgb")
    result = RUNNER.invoke(app, ["rgb", "inspect", path])
    assert result.exit_code == 0
    assert "NIA asset name" in result.output
    found = json.loads(RUNNER.invoke(app, ["rgb", "inspect", path, "--json"]).output)
    said = json.loads((VECTORS / f"consignment_{name}.json").read_bytes())
    assert found["ticker"] == "NIATCKR"
    assert found["chain"] == "bitcoin regtest"
    opids = [each["opid"] for bundle in found["bundles"] for each in bundle["transitions"]]
    assert opids == [
        each["opid"] for bundle in said["bundles"] for each in bundle["bundle"]["knownTransitions"]
    ]
    text = (VECTORS / f"consignment_{name}.json").read_bytes()
    assert len(found["bundles"]) == len(consignment_from_json(text).bundles)


def test_inspect_names_a_schema_that_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "other.rgb"
    data = consignment("A").serialize()
    path.write_bytes(data.replace(b"\x12NonInflatableAsset", b"\x05Other"))
    result = RUNNER.invoke(app, ["rgb", "inspect", str(path)])
    assert result.exit_code == 1
    assert "UnknownSchema" in result.output
    assert "Other" in result.output

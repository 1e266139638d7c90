"""Tokens from the command line: issued, paid to an invoice, looked at, taken elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_world import ask, run, serving, wait_until
from lightspeed.cli.demo.processes import free_ports


@pytest.fixture(scope="module")
def regtest() -> Iterator[str]:
    with serving("regtest", "--port", "0") as ready:
        yield ready["url"]


@pytest.fixture(scope="module")
def nodes(regtest: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("nodes")
    issuer, buyer = folder / "issuer", folder / "buyer"
    ports = free_ports(4)
    common = ("--esplora", regtest, "--minimum-depth", 1)
    run("node", "init", "-d", issuer, *common, "--port", ports[0], "--api-port", ports[1])
    run("node", "init", "-d", buyer, *common, "--port", ports[2], "--api-port", ports[3])
    with serving("node", "run", "-d", issuer), serving("node", "run", "-d", buyer):
        for node in (issuer, buyer):
            address = run("node", "address", "-d", node).strip()
            run("regtest", "fund", address, 1_000_000, "--url", regtest)
            wait_until(lambda node=node: ask("node", "balance", "-d", node)["confirmed_sat"])
        yield issuer, buyer


def _held(node: Path) -> tuple[int, int]:
    found = ask("token", "list", "-d", node)
    return sum(each["settled"] for each in found), sum(each["pending"] for each in found)


def test_token_from_issue_to_another_wallet(
    regtest: str, nodes: tuple[Path, Path], tmp_path: Path
) -> None:
    issuer, buyer = nodes
    assert "no tokens" in run("token", "list", "-d", issuer)
    issued = ask("token", "issue", "-d", issuer, "CALL", 1_000_000, "--name", "API calls")
    contract = issued["contract"]
    assert contract.startswith("rgb:")
    assert issued["supply"] == 1_000_000
    assert "not a ticker" in run("token", "issue", "-d", issuer, "no ticker", 5, status=1)
    run("regtest", "mine", 1, "--url", regtest)
    assert _held(issuer) == (1_000_000, 0)

    introduction, proof, backup = (tmp_path / name for name in ("contract", "proof", "backup"))
    run("token", "export", "-d", issuer, "CALL", introduction)
    assert contract in run("token", "import", "-d", buyer, introduction)
    invoice = run("token", "invoice", "-d", buyer, "--contract", "CALL", "--amount", 400).strip()
    assert "names no endpoint" in run("token", "send", "-d", issuer, invoice, status=2)
    sent = ask("token", "send", "-d", issuer, invoice, "--consignment", proof)
    assert (sent["state"], sent["amount"]) == ("published", 400)
    again = run("token", "send", "-d", issuer, invoice, "--consignment", proof, status=1)
    assert "paid already" in again
    assert "for an invoice" in run("token", "accept", "-d", issuer, proof, status=1)
    accepted = ask("token", "accept", "-d", buyer, proof)
    assert (accepted["contract"], accepted["amount"]) == (contract, 400)
    again = tmp_path / "again"
    assert ask("token", "proof", "-d", issuer, sent["txid"][:12], again)["contract"] == contract
    assert ask("token", "accept", "-d", buyer, again)["amount"] == 400
    (shown,) = ask("token", "receive", "-d", buyer)
    assert (shown["state"], shown["received"]) == ("received", 400)
    assert "received" in run("token", "receive", "-d", buyer)
    run("regtest", "mine", 1, "--url", regtest)
    wait_until(lambda: _held(buyer) == (400, 0))
    wait_until(lambda: _held(issuer) == (999_600, 0))
    assert "published" in run("token", "history", "-d", issuer)
    assert "CALL" in run("token", "list", "-d", buyer)
    assert "published" in run("token", "cancel", "-d", issuer, sent["txid"], status=1)

    run("token", "export", "-d", buyer, contract[:16], backup, "--holdings")
    said = json.loads(run("rgb", "inspect", backup, "--json"))
    assert said["contract"] == contract
    wait_until(lambda: ask("node", "balance", "-d", buyer)["confirmed_sat"] == 1_001_000)
    # A stranger's file that puts tokens on our coins does not keep these from paying fees.
    run("token", "export", "-d", issuer, "CALL", backup, "--holdings")
    assert "for an invoice" in run("token", "import", "-d", issuer, backup, status=1)
    assert ask("token", "import", "-d", issuer, backup, "--holdings")["amount"] == 999_600


def test_tokens_are_sold_for_sats(regtest: str, nodes: tuple[Path, Path], tmp_path: Path) -> None:
    issuer, buyer = nodes
    offer, order = tmp_path / "offer", tmp_path / "order"
    held = _held(buyer)[0]
    run("regtest", "mine", 1, "--url", regtest)
    wait_until(lambda: ask("token", "list", "-d", issuer)[0]["pending"] == 0)
    made = ask("token", "sell", "-d", issuer, "CALL", 600, 30_000, offer)
    assert made["state"] == "open"
    dear = run("token", "buy", "-d", buyer, offer, order, "--max-price", 29_999, status=1)
    assert "30000 sat" in dear
    ordered = ask("token", "buy", "-d", buyer, offer, order, "--max-price", 30_000)
    sold = ask("token", "complete", "-d", issuer, order)
    assert (sold["txid"], sold["purpose"]) == (ordered["txid"], "sold")
    run("regtest", "mine", 1, "--url", regtest)
    wait_until(lambda: _held(buyer) == (held + 600, 0))
    assert "done" in run("token", "deals", "-d", issuer)
    assert ask("token", "deals", "-d", buyer)["orders"][0]["txid"] == sold["txid"]
    assert "over" in run("token", "complete", "-d", issuer, order, status=1)

    wait_until(lambda: ask("token", "list", "-d", issuer)[0]["pending"] == 0)
    run("token", "sell", "-d", issuer, "CALL", 1, 5_000, offer)
    run("token", "buy", "-d", buyer, offer, order, "--max-price", 5_000)
    second = ask("token", "deals", "-d", buyer)["orders"][-1]["txid"]
    assert "taken back" in run("token", "withdraw", "-d", buyer, second[:12])
    assert "spent" in run("token", "complete", "-d", issuer, order, status=1)
    first = ask("token", "deals", "-d", issuer)["offers"][-1]
    assert ask("token", "withdraw", "-d", issuer, first["offer_id"])["state"] == "cancelled"


def test_what_is_wrong_is_told(nodes: tuple[Path, Path], tmp_path: Path) -> None:
    issuer, _ = nodes
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage")
    assert "error:" in run("token", "accept", "-d", issuer, garbage, status=1)
    for name in ("NONE", "", "rgb:"):
        refused = run("token", "export", "-d", issuer, name, tmp_path / "x", status=2)
        assert f"no token called {name!r}" in refused
    assert "no deal" in run("token", "withdraw", "-d", issuer, "", status=2)
    assert "up to 7 letters" in run("token", "issue", "-d", issuer, "1CALL", 5, status=1)
    assert "9,223,372" in run("token", "issue", "-d", issuer, "CALL", 2**63, status=1)
    assert "error:" in run(
        "token", "send", "-d", issuer, "rgb:no", "--consignment", tmp_path / "x", status=1
    )
    assert "rpc://" in run("token", "invoice", "-d", issuer, "--endpoint", "http://x", status=1)

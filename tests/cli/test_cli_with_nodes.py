"""Two nodes lived with from the command line, from `node init` to a close by force."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_world import ask, run, serving, wait_until
from lightspeed.cli.demo.processes import free_ports

ORIGIN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def regtest() -> Iterator[str]:
    with serving("regtest", "--port", "0") as ready:
        yield ready["url"]


@pytest.fixture(scope="module")
def nodes(regtest: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Folders of a payer's and a payee's running nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    payer, payee = folder / "payer", folder / "payee"
    ports = free_ports(4)
    common = ("--esplora", regtest, "--to-self-delay", "6")
    run("node", "init", "-d", payer, *common, "--port", ports[0], "--api-port", ports[1])
    run(
        *("node", "init", "-d", payee, *common, "--port", ports[2], "--api-port", ports[3]),
        *("--payee-for", ORIGIN, "--no-payer"),
    )
    with serving("node", "run", "-d", payer), serving("node", "run", "-d", payee):
        yield payer, payee


def test_a_channel_and_a_book_from_first_to_last(regtest: str, nodes: tuple[Path, Path]) -> None:
    payer, payee = nodes
    peer = ask("node", "info", "-d", payee)
    assert peer["lightspeed_parties"] == ["payee"]
    assert "payee" in run("node", "info", "-d", payee)

    address = run("node", "address", "-d", payer).strip()
    assert "sat" not in run("regtest", "fund", address, 2_000_000, "--url", regtest, "--json")
    wait_until(lambda: ask("node", "balance", "-d", payer)["confirmed_sat"] == 2_000_000)
    assert "2,000,000 sat" in run("node", "balance", "-d", payer)

    at = f"{peer['node_id']}@{peer['listen_host']}:{peer['listen_port']}"
    assert peer["node_id"] in run("node", "connect", "-d", payer, at)
    channel = ask("channel", "open", "-d", payer, at, 1_000_000, "--push", 50_000)
    assert "channels yet" not in run("channel", "list", "-d", payer)
    refused = run(
        *("book", "open", "-d", payer, channel["channel_id"], "--origin", ORIGIN), status=1
    )
    assert "error:" in refused
    run("regtest", "mine", 3, "--url", regtest)
    for node in nodes:
        wait_until(lambda node=node: ask("channel", "list", "-d", node)[0]["usable"])
    assert "usable" in run("channel", "list", "-d", payer)

    wait_until(lambda: ask("node", "info", "-d", payee)["problems"])
    assert "the wallet holds 0 sat" in run("node", "info", "-d", payee)

    start = channel["channel_id"][:8]
    sizes = ("--locks", 20, "--lock-amount", 1_000, "--chain-length", 10, "--refund-delay", 20)
    book = ask("book", "open", "-d", payer, start, "--origin", ORIGIN, *sizes)
    assert book["units"] == 200
    assert book["book_id"][:16] in run("book", "list", "-d", payee)
    elsewhere = ("--origin", "https://elsewhere.example")
    assert "reject" in run("book", "open", "-d", payer, start, *elsewhere, *sizes, status=1)

    invoice = ask("invoice", "create", "-d", payee, 2_000, "--description", "coffee")
    assert "open" in run("invoice", "lookup", "-d", payee, invoice["payment_hash"])
    assert "paid" in run("pay", "-d", payer, invoice["bolt11"])
    assert ask("invoice", "lookup", "-d", payee, invoice["payment_hash"])["state"] == "paid"
    assert "error:" in run("pay", "-d", payer, invoice["bolt11"], status=1)  # never twice
    assert "error:" in run("pay", "-d", payer, "lnbcrt1nonsense", status=1)
    assert "error:" in run("invoice", "lookup", "-d", payee, "00" * 32, status=1)

    ladder = ("--scheme", "ladder", "--locks", 3, *sizes[2:])
    second = ask("book", "open", "-d", payer, start, "--origin", ORIGIN, *ladder)
    assert (second["scheme"], second["units"]) == ("ladder", 30)
    assert "nothing to settle" in run(
        *("book", "settle", "-d", payee, second["book_id"][:12]), status=1
    )
    assert "only the payee" in run("book", "settle", "-d", payer, second["book_id"], status=1)
    assert "no book" in run("book", "close", "-d", payer, "ffff", status=2)
    assert "0 of 30 units" in run("book", "close", "-d", payer, second["book_id"][:12])
    wait_until(lambda: {v["state"] for v in ask("book", "list", "-d", payee)} == {"open", "closed"})

    assert "no channel" in run("channel", "close", "-d", payer, "ffff", status=2)
    run("channel", "close", "-d", payer, start, "--force")
    run("regtest", "mine", "--url", regtest)
    wait_until(
        lambda: ask("channel", "list", "-d", payer)[0]["onchain_state"] in ("closing", "done")
    )
    assert "on chain" in run("channel", "list", "-d", payer)

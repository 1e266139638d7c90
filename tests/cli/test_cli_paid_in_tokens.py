"""An API sold for tokens from the command line: issued, bought in the channel, paid per call."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from cli_world import ask, run, serving, wait_until
from lightspeed.cli.demo.processes import free_ports
from lightspeed.http import Budget, BudgetExceeded, Payer, asset_text
from lightspeed.http.challenge import find_request
from lightspeed.http.client import LightspeedAuth, payment_of

TESTS = Path(__file__).parents[1]
PRICE_MSAT = 250


@contextmanager
def api(port: int, ledger: Path, price: str) -> Iterator[str]:
    """The server owner's application, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "http_app:app", "--port", str(port)],
        cwd=TESTS,
        env=os.environ | {"LIGHTSPEED_LEDGER": str(ledger), "LIGHTSPEED_PRICE": price},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens)
        yield f"http://127.0.0.1:{port}/answer"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def regtest() -> Iterator[str]:
    with serving("regtest", "--port", "0") as ready:
        yield ready["url"]


def test_an_api_is_paid_in_tokens_from_issue_to_close(regtest: str, tmp_path: Path) -> None:
    seller, buyer = tmp_path / "seller", tmp_path / "buyer"
    *ports, port = free_ports(5)
    origin = f"http://127.0.0.1:{port}"
    common = ("--esplora", regtest, "--minimum-depth", 1, "--to-self-delay", 6)
    run(
        *("node", "init", "-d", seller, *common, "--port", ports[0], "--api-port", ports[1]),
        *("--payee-for", origin, "--token-price", PRICE_MSAT),
    )
    mine = ("regtest", "mine", 1, "--url", regtest)
    with serving("node", "run", "-d", seller):
        address = run("node", "address", "-d", seller).strip()
        run("regtest", "fund", address, 5_000_000, "--url", regtest)
        wait_until(lambda: ask("node", "balance", "-d", seller)["confirmed_sat"])
        contract = ask("token", "issue", "-d", seller, "CALL", 1_000_000, "--precision", 2)
        contract = contract["contract"]
        run(*mine)
        wait_until(lambda: ask("token", "list", "-d", seller)[0]["settled"] == 1_000_000)
        run(
            *("node", "init", "-d", buyer, *common, "--port", ports[2], "--api-port", ports[3]),
            *("--token", contract),
        )
        with serving("node", "run", "-d", buyer):
            info = ask("node", "info", "-d", buyer)
            at = f"{info['node_id']}@{info['listen_host']}:{info['listen_port']}"
            channel = open_channel(seller, buyer, at, mine)
            buy_and_call(seller, buyer, channel, contract, port)
            close(seller, buyer, channel, mine)


def open_channel(seller: Path, buyer: Path, at: str, mine: tuple[object, ...]) -> str:
    """The seller brings the tokens, and some sats for the buyer to pay with."""
    opening = ("channel", "open", "-d", seller, at, 1_000_000, "--push", 300_000)
    tokens = ("--party", "payee", "--token", "CALL")
    assert "go together" in run(*opening, *tokens, status=2)
    assert "tokens" in run(*opening, *tokens, "--tokens", 1_000_001, status=1)
    opened = ask(*opening, *tokens, "--tokens", 10_000)
    assert (opened["holder_tokens"], opened["token"]["ticker"]) == (10_000, "CALL")
    run(*mine)
    for node in (seller, buyer):
        wait_until(lambda node=node: ask("channel", "list", "-d", node)[0]["usable"])
    assert "100.00 CALL" in run("channel", "list", "-d", seller)
    assert "100.00 CALL" in run("channel", "show", "-d", buyer, opened["channel_id"])
    return str(opened["channel_id"])


def buy_and_call(seller: Path, buyer: Path, channel: str, contract: str, port: int) -> None:
    buy = ("channel", "buy", "-d", buyer, channel, "--tokens", 1_000, "--max-price")
    assert "asks 250000 msat" in run(*buy, 0, status=1)
    assert "10.00 CALL" in run(*buy, 1_000 * PRICE_MSAT)
    wait_until(lambda: ask("channel", "show", "-d", buyer, channel)["holder_tokens"] == 1_000)
    origin = f"http://127.0.0.1:{port}"
    book = ("book", "open", "-d", buyer, channel, "--origin", origin)
    assert "scheme outputs is for sats" in run(
        *book, "--scheme", "outputs", "--asset", "token", status=1
    )
    assert "take 100,000 tokens, of which 1,000 are ours" in run(
        *book, "--scheme", "seals", status=1
    )
    assert "500 of 0.01 CALL" in run(
        *book, "--scheme", "seals", "--locks", 50, "--chain-length", 10
    )
    (opened,) = ask("book", "list", "-d", buyer)
    assert (opened["lock_tokens"], opened["unit_tokens"], opened["unit_msat"]) == (10, 1, None)

    with api(port, seller / "ledger.sqlite", f"2 {contract}") as url:
        stranger = httpx.get(url)
        assert stranger.status_code == 402
        asked = find_request(stranger.headers.get_list("WWW-Authenticate"))
        assert asked is not None
        (price,) = asked.prices
        assert (price.amount, asset_text(price.asset)) == (2, contract)
        store = str(buyer / "payer.sqlite")
        with (
            Payer(store) as payer,
            httpx.Client(auth=LightspeedAuth(payer)) as client,
            pytest.raises(BudgetExceeded),
        ):
            client.get(url)
        limits = [f"{amount} {contract}" for amount in (2, 100, 100)]
        budget = Budget(per_call=limits[0], per_hour=limits[1], per_day=limits[2])
        with (
            Payer(store, budgets=[budget]) as payer,
            httpx.Client(auth=LightspeedAuth(payer)) as client,
        ):
            for _ in range(12):
                answer = client.get(url)
                assert answer.json()["units"] == 2
            paid = payment_of(answer)
            assert paid is not None
            assert paid.amount == 2
    assert ask("book", "list", "-d", seller)[0]["redeemed_units"] == 24


def close(seller: Path, buyer: Path, channel: str, mine: tuple[object, ...]) -> None:
    run("channel", "close", "-d", buyer, channel)
    wait_until(lambda: ask("channel", "list", "-d", buyer)[0]["phase"] == "closed")
    run(*mine)
    run(*mine)

    def held() -> tuple[int, int]:
        found = [ask("token", "list", "-d", node)[0]["settled"] for node in (seller, buyer)]
        return found[0], found[1]

    wait_until(lambda: held() == (1_000_000 - 976, 976))

"""The node's API and its client: who may call, what it answers, and what it never tells."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from lightspeed.lsf import Party
from lightspeed.node import NodeApiError, NodeClient
from lightspeed.node.api import api_token, serving_api
from lightspeed.node.service import JsonLogFormatter
from lightspeed.units import Sat
from node_world import ORIGIN, NodeWorld, RunningNode, eventually, node_world

TOKEN = "a token of this test"
GENERATOR = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


class Api(NamedTuple):
    world: NodeWorld
    payer: RunningNode
    payee: RunningNode
    payer_client: NodeClient
    payee_client: NodeClient
    payer_url: str

    @property
    def payee_address(self) -> str:
        return f"{self.payee.node_id.hex()}@127.0.0.1:{self.payee.node.peers.port}"


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with node_world(tmp_path) as world:
        payer = await world.start("payer", party=Party.PAYER)
        payee = await world.start("payee", party=Party.PAYEE)
        async with (
            serving_api(payer.node, token=TOKEN, port=0) as payer_url,
            serving_api(payee.node, token=TOKEN, port=0) as payee_url,
            NodeClient(payer_url, TOKEN) as payer_client,
            NodeClient(payee_url, TOKEN) as payee_client,
        ):
            yield Api(world, payer, payee, payer_client, payee_client, payer_url)


async def open_channel(api: Api) -> str:
    address = await api.payer_client.new_address()
    api.world.regtest.fund(bytes.fromhex(address.script), 10_000_000)  # type: ignore[arg-type]
    api.world.mine()
    await eventually(lambda: api.payer.node.wallet.balance().confirmed_sat)
    await api.payer_client.connect(api.payee_address)
    channel = await api.payer_client.open_channel(
        api.payee.node_id.hex(), funding_sat=1_000_000, push_sat=20_000, party="payer"
    )
    api.world.mine()
    await eventually(lambda: api.payer.usable() and api.payee.usable())
    return channel.channel_id


async def test_whole_life_of_a_channel_through_the_api(api: Api) -> None:
    channel_id = await open_channel(api)
    (peer,) = await api.payer_client.peers()
    assert (peer.node_id, peer.lightspeed) == (api.payee.node_id.hex(), True)
    channel = await api.payer_client.channel(channel_id)
    assert (channel.usable, channel.party, channel.funder) == (True, "payer", True)

    book = await api.payer_client.open_book(
        channel_id,
        locks=5,
        chain_length=10,
        lock_amount_sat=10_000,
        origins=[ORIGIN],
        refund_delay_blocks=20,
    )
    assert (book.units, book.unit_msat, book.state) == (50, 1_000_000, "usable")
    secret = api.payer.payer_store.load(bytes.fromhex(book.book_id))  # type: ignore[union-attr]
    await eventually(lambda: api.payee.node.payee_books._extended_at)  # type: ignore[union-attr]
    await api.payee.ledger.redeem(secret.credential(1, 10))  # type: ignore[union-attr]
    (at_payee,) = await api.payee_client.books()
    assert (at_payee.state, at_payee.redeemed_units, at_payee.secured_locks) == ("open", 10, 1)
    assert (at_payee.settled_units, at_payee.at_risk_units, at_payee.unused_units) == (0, 10, None)
    await check_settle_and_close(api, channel_id)

    invoice = await api.payee_client.create_invoice(5_000_000, description="a call")
    assert (await api.payee_client.invoice(invoice.payment_hash)).state == "open"
    payment = await api.payer_client.pay(invoice.bolt11)
    assert payment.state == "paid"
    assert await api.payer_client.payment(payment.payment_hash) == payment
    paid = await api.payee_client.invoice(invoice.payment_hash)
    assert (paid.state, paid.received_msat) == ("paid", 5_000_000)
    assert len(await api.payee_client.invoices()) == len(await api.payer_client.payments()) == 1

    closing = await api.payer_client.close_channel(channel_id, force=True)
    assert closing.phase == "failed"
    for _ in range(60):
        api.world.mine()
        height = api.world.regtest.height
        for running in (api.payer, api.payee):
            await eventually(
                lambda n=running.node, h=height: n.watch._seen and n.watch._seen.height == h
            )
    ended = await api.payee_client.channel(channel_id)
    assert (ended.onchain_state, ended.closed_by, ended.waiting) == ("done", "counterparty", [])
    assert {tx.purpose for tx in ended.transactions if tx.ours} >= {"micropayments", "claim"}
    balance = await api.payee_client.balance()
    assert 36_500 < balance.confirmed_sat < 37_500 + 300
    info = await api.payer_client.info()
    assert (info.network, info.lightspeed_parties) == ("regtest", ["payer"])


async def check_settle_and_close(api: Api, channel_id: str) -> None:
    """Of a second book, as both sides see it."""
    opened = await api.payer_client.open_book(
        channel_id,
        locks=4,
        chain_length=10,
        lock_amount_sat=1_000,
        origins=[ORIGIN],
        scheme="ladder",
        refund_delay_blocks=20,
    )
    assert (opened.scheme, opened.unused_units) == ("ladder", 40)

    async def seen(client: NodeClient) -> Any:
        return next(view for view in await client.books() if view.book_id == opened.book_id)

    async def says(client: NodeClient, **values: Any) -> bool:
        view = await seen(client)
        return all(getattr(view, name) == value for name, value in values.items())

    secret = api.payer.payer_store.load(bytes.fromhex(opened.book_id))  # type: ignore[union-attr]
    await eventually(lambda: len(api.payee.node.payee_books._extended_at) == 2)  # type: ignore[union-attr]
    await api.payee.ledger.redeem(secret.credential(1, 25))  # type: ignore[union-attr]
    assert (await api.payee_client.settle_book(opened.book_id)).book_id == opened.book_id
    await eventually(
        lambda: says(api.payee_client, settled_units=20, redeemed_units=25, at_risk_units=5)
    )
    with pytest.raises(NodeApiError, match="only the payee"):
        await api.payer_client.settle_book(opened.book_id)
    with pytest.raises(NodeApiError, match="no book") as caught:
        await api.payer_client.close_book("00" * 16)
    assert caught.value.status == 404
    with pytest.raises(NodeApiError, match="16 bytes"):
        await api.payer_client.close_book("00")

    assert (await api.payer_client.close_book(opened.book_id)).state in ("closing", "closed")
    await eventually(lambda: says(api.payer_client, state="closed", settled_units=25))
    await eventually(
        lambda: says(api.payee_client, state="closed", settled_units=25, at_risk_units=0)
    )


async def test_who_asks_right_after_a_block_need_not_wait(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        payer = await world.start("payer", poll_seconds=3_600)
        payee = await world.start("payee")
        async with (
            serving_api(payer.node, token=TOKEN, port=0) as url,
            NodeClient(url, TOKEN) as client,
        ):
            address = await client.new_address()
            world.regtest.fund(bytes.fromhex(address.script), Sat(1_000_000))
            world.regtest.mine()
            assert (await client.balance()).confirmed_sat == 1_000_000

            world.regtest.fund(bytes.fromhex(address.script), Sat(1_000_000))
            world.regtest.mine()
            await client.connect(f"{payee.node_id.hex()}@127.0.0.1:{payee.node.peers.port}")
            await client.open_channel(payee.node_id.hex(), funding_sat=1_500_000)

            world.regtest.mine()
            assert (await client.tokens.issue("CALL", "Calls", supply=1)).supply == 1


async def test_wallet_that_cannot_catch_up_answers_from_what_it_knows(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("lightspeed.node.watch._CATCH_UP_SECONDS", 0.05)
    monkeypatch.setattr(api.payer.node.watch._chain, "tip", never)
    assert (await api.payer_client.balance()).confirmed_sat == 0


async def test_peer_that_hangs_up_at_once_is_told_of(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = api.payer.node
    connect = node.connect

    async def connect_in_vain(*to: Any, **where: Any) -> Any:
        peer = await connect(*to, **where)
        await peer.close()
        await eventually(lambda: not list(node.peers))
        return peer

    monkeypatch.setattr(node, "connect", connect_in_vain)
    with pytest.raises(NodeApiError, match="hung up") as refused:
        await api.payer_client.connect(api.payee_address)
    assert refused.value.status == 409


async def test_metrics_count_calls_by_route(api: Api) -> None:
    await api.payer_client.info()
    await api.payer_client.info()
    with pytest.raises(NodeApiError):
        await api.payer_client.payment("00" * 32)
    metrics = await api.payer_client.metrics()
    assert metrics.api_calls == {
        "GET /v1/info": 2,
        "GET /v1/payments/{id}": 1,
        "GET /v1/metrics": 1,
    }


async def test_nobody_calls_without_the_token(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.get(f"{api.payer_url}/v1/info")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:lightspeed:node:unauthorized"
        assert TOKEN not in answer.text
    assert not api.payer.node.metrics.api_calls


BAD_CALLS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "channels/" + "00" * 32, None, 404, "not-found"),
    ("GET", "channels/xyz", None, 400, "bad-request"),
    ("GET", "invoices/" + "00" * 32, None, 404, "not-found"),
    ("POST", "invoices", b"[]", 400, "bad-request"),
    ("POST", "invoices", b"{", 400, "bad-request"),
    ("POST", "invoices", b"[" * 40_000, 400, "bad-request"),
    ("POST", "invoices", b" " * 70_000, 400, "bad-request"),
    ("POST", "invoices", {"amount_msat": "1"}, 400, "bad-request"),
    ("POST", "invoices", {"amount_msat": -1}, 400, "bad-request"),
    ("POST", "invoices", {"amount_msat": True}, 400, "bad-request"),
    ("POST", "invoices", {"amount": 1}, 400, "bad-request"),
    ("POST", "invoices", {"amount_msat": 0}, 400, "invoice-error"),
    ("POST", "payments", {"bolt11": "lnbc1"}, 400, "invoice-error"),
    ("POST", "peers", {"address": "nobody"}, 400, "bad-request"),
    ("POST", "peers", {"address": "00" * 33 + "@127.0.0.1:1"}, 400, "bad-request"),
    ("POST", "peers", {"address": GENERATOR + "@127.0.0.1:1"}, 502, "peer-unreachable"),
    (
        "POST",
        "channels",
        {"node_id": "02" * 33, "funding_sat": 100_000},
        409,
        "peer-not-connected",
    ),
    ("POST", "channels", {"node_id": "02", "funding_sat": 1}, 400, "bad-request"),
    ("POST", "channels/" + "00" * 32 + "/close", {"force": 1}, 400, "bad-request"),
    ("POST", "books", {"channel_id": "00" * 32}, 404, "not-found"),
]


async def test_errors_are_problems_of_their_own_type(api: Api) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        for method, path, body, status, slug in BAD_CALLS:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            answer = await client.request(method, f"{api.payer_url}/v1/{path}", content=content)
            found = (answer.status_code, answer.json()["type"])
            assert found == (status, f"urn:lightspeed:node:{slug}"), (path, body)
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_unexpected_error_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the seed is 0123")

    monkeypatch.setattr(api.payer.node.wallet, "balance", broken)
    with pytest.raises(NodeApiError) as caught:
        await api.payer_client.balance()
    assert caught.value.status == 500
    assert "0123" not in str(caught.value)


async def test_client_reports_a_node_that_does_not_answer() -> None:
    async with NodeClient("http://127.0.0.1:1", TOKEN) as client:
        with pytest.raises(NodeApiError, match="no answer") as caught:
            await client.info()
    assert caught.value.status == 0
    assert TOKEN not in repr(client) + str(caught.value)


async def test_secrets_are_in_no_log_repr_or_file_of_others(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="lightspeed")
    channel_id = await open_channel(api)
    book = await api.payer_client.open_book(
        channel_id,
        locks=2,
        chain_length=2,
        lock_amount_sat=10_000,
        origins=[ORIGIN],
        refund_delay_blocks=20,
    )
    invoice = await api.payee_client.create_invoice(5_000_000)
    await api.payer_client.pay(invoice.bolt11)
    await api.payer_client.close_channel(channel_id, force=True)
    await eventually(lambda: api.payee.driver.phase.value == "failed")

    secret_book = api.payer.payer_store.load(bytes.fromhex(book.book_id))  # type: ignore[union-attr]
    stored = api.payee.node.invoices.get(bytes.fromhex(invoice.payment_hash))
    secrets = [secret_book.seed.hex(), secret_book.lock_secret(1).hex(), stored.preimage]
    secrets += [stored.payment_secret, TOKEN]
    for running in (api.payer, api.payee):
        keys = running.node.keys
        secrets += [running.config.seed_path.read_bytes().hex(), keys.node_key.secret.hex()]
        secrets += [running.channel.signer.secrets.funding.secret.hex()]
    formatter = JsonLogFormatter()
    said = [formatter.format(record) for record in caplog.records if record.name != "asyncio"]
    said += [repr(thing) for running in (api.payer, api.payee) for thing in _things(running)]
    said += [repr(stored), repr(api.payer.node.payments.all()), repr(api.payer_client)]
    text = "\n".join(said)
    assert "channel failed" in text
    for secret in secrets:
        assert secret not in text
        assert repr(bytes.fromhex(secret))[2:-1] not in text if secret != TOKEN else True
    for path in api.payer.config.data_dir.iterdir():
        if path.name != "node.toml":
            assert path.stat().st_mode & 0o077 == 0, path


def _things(running: RunningNode) -> list[object]:
    node = running.node
    return [node.keys, node.config, running.driver, running.channel.state, node.drivers]


def test_token_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "api-token"
    token = api_token(path)
    assert len(token) >= 32
    assert api_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ValueError, match="0600"):
        api_token(path)


async def test_port_that_is_taken_is_named(api: Api) -> None:
    port = int(api.payer_url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use") as taken:
        async with serving_api(api.payee.node, token=TOKEN, port=port):
            pass
    assert taken.value.filename == f"127.0.0.1:{port}"

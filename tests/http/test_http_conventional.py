"""The baseline: an invoice per call, and every call to a node counted."""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from http_world import ORIGIN, Application
from lightspeed.http import ChallengeError, Invoice, InvoiceMiddleware, InvoicePayer
from lightspeed.http.encoding import canonical_json, to_base64url


class Node:
    """Issues and pays invoices of its own."""

    def __init__(self) -> None:
        self.issued: dict[str, bytes] = {}
        self.paid: set[bytes] = set()

    async def create_invoice(self, amount_msat: int) -> Invoice:
        bolt11 = f"lnbcrt{amount_msat}p{len(self.issued)}"
        self.issued[bolt11] = hashlib.sha256(bolt11.encode()).digest()
        return Invoice(bolt11, self.issued[bolt11])

    async def is_paid(self, payment_hash: bytes) -> bool:
        return payment_hash in self.paid

    async def pay(self, bolt11: str, amount_msat: int) -> None:
        assert amount_msat == 10_000
        self.paid.add(self.issued[bolt11])


@pytest.fixture
def node() -> Node:
    return Node()


def api(node: Node, app: Any = None) -> InvoiceMiddleware:
    return InvoiceMiddleware(
        app or Application(),
        create_invoice=node.create_invoice,
        is_paid=node.is_paid,
        price="10 sat",
        challenge_key=b"key",
    )


def client_for(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)


async def test_call_takes_two_requests_and_three_local_calls(node: Node) -> None:
    app = api(node)
    payer = InvoicePayer(node.pay, max_amount=10_000)
    async with client_for(app) as client:
        asked = await client.get("/")
        assert asked.status_code == 402
        assert asked.headers["cache-control"] == "no-store"
        authorization = await payer.authorize(asked.headers.get_list("www-authenticate"))
        answer = await client.get("/", headers={"Authorization": authorization})
        assert (answer.status_code, answer.text) == (200, "served")
    assert (app.local_calls, payer.local_calls) == (2, 1)


async def test_invoice_serves_once_and_only_when_paid(node: Node) -> None:
    app = api(node)
    kept: list[str] = []

    async def keep(bolt11: str, amount_msat: int) -> None:
        kept.append(bolt11)

    async with client_for(app) as client:
        asked = await client.get("/")
        payer = InvoicePayer(keep, max_amount=10_000)
        authorization = await payer.authorize(asked.headers.get_list("www-authenticate"))
        headers = {"Authorization": authorization}
        unpaid = await client.get("/", headers=headers)
        assert unpaid.json()["type"] == "urn:lightspeed:problem:not-paid"
        await node.pay(kept[0], 10_000)
        answers = await asyncio.gather(*[client.get("/", headers=headers) for _ in range(8)])
        assert sorted(answer.status_code for answer in answers) == [200] + [402] * 7
        again = await client.get("/", headers=headers)
        assert again.json()["type"] == "urn:lightspeed:problem:unknown-invoice"


async def test_other_credentials_are_refused(node: Node) -> None:
    def credential(payload: Any) -> str:
        return f"Payment {to_base64url(canonical_json({'payload': payload}))}"

    texts = {
        "Payment !": "malformed",
        "Payment": "no-payment",
        "Bearer x": "no-payment",
        credential({}): "malformed",
        credential({"paymentHash": 7}): "malformed",
        credential({"paymentHash": "00"}): "malformed",
        credential({"paymentHash": "00" * 32}): "unknown-invoice",
    }
    async with client_for(api(node)) as client:
        for text, slug in texts.items():
            answer = await client.get("/", headers={"Authorization": text})
            assert answer.json()["type"] == f"urn:lightspeed:problem:{slug}"


async def test_failing_node_loses_no_invoice(node: Node) -> None:
    app = api(node)
    payer = InvoicePayer(node.pay, max_amount=10_000)
    async with client_for(app) as client:
        asked = await client.get("/")
        headers = {
            "Authorization": await payer.authorize(asked.headers.get_list("www-authenticate"))
        }

        async def failing(payment_hash: bytes) -> bool:
            raise ConnectionError

        app._is_paid = failing
        with pytest.raises(ConnectionError):
            await client.get("/", headers=headers)
        app._is_paid = node.is_paid
        assert (await client.get("/", headers=headers)).status_code == 200


async def test_payer_pays_no_more_than_it_was_told(node: Node) -> None:
    async with client_for(api(node)) as client:
        challenges = (await client.get("/")).headers.get_list("www-authenticate")
    paid: list[str] = []

    async def pay(bolt11: str, amount_msat: int) -> None:
        paid.append(bolt11)

    refusals: list[Callable[[], Any]] = [
        lambda: InvoicePayer(pay, max_amount=9_999).authorize(challenges),
        lambda: InvoicePayer(pay, max_amount=10_000).authorize([]),
        lambda: InvoicePayer(pay, max_amount=10_000).authorize(
            ['Payment method="lightning", intent="charge", request="e30"']
        ),
    ]
    for request in (b'{"amount":1e999,"invoice":"","paymentHash":""}', b'{"amount":"-1"}', b"[]"):
        said = f'Payment method="lightning", intent="charge", request="{to_base64url(request)}"'
        refusals.append(partial(InvoicePayer(pay, max_amount=10_000).authorize, [said]))
    for refused in refusals:
        with pytest.raises(ChallengeError):
            await refused()
    assert paid == []

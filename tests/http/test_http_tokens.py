"""Calls that are sold for tokens: which asset pays, within whose limits, and false seals."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from http_world import ORIGIN, Application, World, make_book
from lightspeed.http import (
    Budget,
    BudgetExceeded,
    LightspeedMiddleware,
    NoBook,
    Paid,
    PayeeMisbehaves,
    Payer,
    asset_text,
    seal_of,
)
from lightspeed.http.client import LightspeedAuth, payment_of
from lightspeed.ledger import SQLiteLedger
from lightspeed.payment import (
    SATS,
    BookState,
    Scheme,
    SealCheckMissing,
    SecretBook,
    StopReason,
)
from lightspeed.rgb import secret_lock_seal

ASSET, OTHER_ASSET = bytes(range(32)), bytes([7]) * 32
CONTRACT = asset_text(ASSET)
TOKENS = Budget(per_call=f"50 {CONTRACT}", per_hour=f"100 {CONTRACT}", per_day=f"100 {CONTRACT}")


def token_book(**other: Any) -> SecretBook:
    """40 locks of 10 units of 2 tokens each."""
    return make_book(**{"asset": ASSET, "lock_amount": 20, "scheme": Scheme.SEALS, **other})


def with_garbage(secret_book: SecretBook, lock: int) -> SecretBook:
    seals = bytearray(secret_book.book.seals)
    seals[32 * lock - 1] ^= 1
    return SecretBook(book=replace(secret_book.book, seals=bytes(seals)), seed=secret_book.seed)


def client_for(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN)


def paying_client(world: World, app: Any, *budgets: Budget) -> httpx.AsyncClient:
    auth = LightspeedAuth(Payer(world.store, budgets=budgets))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, auth=auth)


def paid_units(book: SecretBook, first_unit: int, count: int) -> dict[str, str]:
    return {"Lightspeed-Payment": book.credential(first_unit, count).to_token()}


# --- assets ---------------------------------------------------------------------------------


async def test_a_stranger_learns_the_contract_and_pays_in_its_tokens(world: World) -> None:
    book = await world.agree(token_book())
    application = Application()
    app = world.middleware(application, price=f"5 {CONTRACT}")
    async with paying_client(world, app, TOKENS) as client:
        response = await client.get("/")
    assert response.status_code == 200
    payment = payment_of(response)
    assert payment is not None
    assert (payment.units, payment.amount, payment.asset) == (3, 6, ASSET)
    paid = Paid.of(application.scopes[0])
    assert paid is not None
    assert (paid.amount, paid.asset) == (6, ASSET)
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 3


async def test_nothing_is_paid_in_an_asset_without_a_budget(world: World) -> None:
    book = await world.agree(token_book())
    async with paying_client(world, world.middleware(price=f"1 {CONTRACT}"), Budget()) as client:
        with pytest.raises(BudgetExceeded, match=CONTRACT):
            await client.get("/")
    assert world.store.reservation(book.book.book_id).reserved_end == 0


@pytest.mark.parametrize(
    ("budgets", "asset"),
    [
        ((Budget(),), SATS),
        ((TOKENS,), ASSET),
        ((Budget(per_call="1 sat"), TOKENS), ASSET),
        ((Budget(), replace(TOKENS, per_call=f"1 {CONTRACT}")), SATS),
    ],
)
async def test_of_the_prices_of_a_call_one_is_paid_that_a_budget_allows(
    world: World, budgets: tuple[Budget, ...], asset: bytes
) -> None:
    for book in (token_book(scheme=Scheme.LADDER), make_book()):
        await world.agree(book)
    app = world.middleware(price=[f"4 {CONTRACT}", "2 sat"])
    async with paying_client(world, app, *budgets) as client:
        payment = payment_of(await client.get("/"))
    assert payment is not None
    assert payment.asset == asset


async def test_limits_count_per_asset(world: World) -> None:
    for book in (token_book(), make_book()):
        await world.agree(book)
    app = world.middleware(price=[f"50 {CONTRACT}", "30 sat"])
    assets = []
    async with paying_client(world, app, Budget(per_hour="40 sat"), TOKENS) as client:
        for _ in range(3):
            payment = payment_of(await client.get("/"))
            assert payment is not None
            assets.append(payment.asset)
        with pytest.raises(BudgetExceeded, match="within an hour"):
            await client.get("/")
    assert sorted(assets) == [SATS, ASSET, ASSET]


async def test_tokens_of_another_contract_do_not_pay(world: World) -> None:
    book = await world.agree(token_book(asset=OTHER_ASSET))
    app = world.middleware(price=f"1 {CONTRACT}")
    async with paying_client(world, app, TOKENS) as client:
        with pytest.raises(NoBook):
            await client.get("/")
    async with client_for(app) as client:
        response = await client.get("/", headers=paid_units(book, 1, 1))
    assert response.json()["type"] == "urn:lightspeed:problem:wrong-asset"


# --- seals ----------------------------------------------------------------------------------


def test_the_seal_of_a_lock_is_rgbs() -> None:
    assert seal_of(ASSET) == secret_lock_seal(ASSET)


async def test_a_garbage_lock_is_refused_by_name_and_its_book_closed(world: World) -> None:
    """The middleware's own ledger checks seals without being told to."""
    book = await world.agree(with_garbage(token_book(), 2))
    application = Application()
    app = LightspeedMiddleware(application, ledger=world.ledger_path, price=f"1 {CONTRACT}")
    async with client_for(app) as client:
        response = await client.get("/", headers=paid_units(book, 1, 19))
        assert response.status_code == 200
        response = await client.get("/", headers=paid_units(book, 20, 1))
        assert response.status_code == 402
        problem = response.json()
        assert problem["type"] == "urn:lightspeed:problem:garbage-lock"
        assert problem["lock"] == 2
        assert response.headers["lightspeed-receipt"].endswith(", next=20")
        response = await client.get("/", headers=paid_units(book, 21, 1))
        assert response.json()["type"] == "urn:lightspeed:problem:book-closed"
    await app._close()
    assert len(application.scopes) == 1
    status = await world.ledger.status(book.book.book_id)
    assert (status.state, status.redeemed_units) == (BookState.CLOSING, 19)


async def test_a_payer_whose_lock_is_called_garbage_stops_its_book(world: World) -> None:
    """An honest payer's locks are none: the payee has a secret and gives nothing for it."""
    book = await world.agree(with_garbage(token_book(), 1))
    app = world.middleware(price=f"20 {CONTRACT}")
    async with paying_client(world, app, TOKENS) as client:
        with pytest.raises(PayeeMisbehaves):
            await client.get("/")
    assert world.store.stopped(book.book.book_id) is StopReason.GARBAGE_LOCK


async def test_a_ledger_that_cannot_check_seals_serves_nothing_for_them(world: World) -> None:
    book = await world.agree(token_book())
    application = Application()
    async with SQLiteLedger(world.ledger_path) as ledger:
        app = world.middleware(application, ledger=ledger, price=f"1 {CONTRACT}")
        async with client_for(app) as client:
            with pytest.raises(SealCheckMissing, match="seal_of"):
                await client.get("/", headers=paid_units(book, 1, 1))
    assert application.scopes == []
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 0

"""Paid calls with httpx and httpx2, sync and async, and with aiohttp."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import httpx
import httpx2
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from http_world import ORIGIN, Application, World, free_port, make_book, served
from lightspeed.http import (
    Budget,
    BudgetExceeded,
    InsecureOrigin,
    LightspeedMiddleware,
    NoBook,
    Paid,
    PayeeMisbehaves,
    Payer,
    PaymentRejected,
    Send,
    parse_price,
    payment_flow,
)
from lightspeed.http.aiohttp_client import PaymentMiddleware
from lightspeed.http.client import LightspeedAuth, payment_of
from lightspeed.http.dependency import paid
from lightspeed.ledger import BookInUse, PayerStore
from lightspeed.payment import BookStopped, Receipt, StopReason

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.get("/answer")
    async def answer(payment: Annotated[Paid, Depends(paid)]) -> dict[str, int]:
        return {"units": payment.units}

    return app


@pytest.fixture
def port() -> int:
    return free_port()


@LIBRARIES
async def test_calls_over_the_network_are_paid(world: World, port: int, library: Any) -> None:
    """FastAPI behind a real server: sync and async, one extra request for the price only."""
    book = await world.agree(make_book(f"http://127.0.0.1:{port}"))
    app = fastapi_app()
    app.add_middleware(LightspeedMiddleware, ledger=world.ledger_path, price="2 sat")
    auth = LightspeedAuth(world.store)

    def call_sync(url: str) -> None:
        with library.Client(auth=auth) as client:
            for _ in range(3):
                response = client.get(url)
                assert (response.status_code, response.json()) == (200, {"units": 2})

    with served(app, port) as origin:
        await asyncio.to_thread(call_sync, f"{origin}/answer")
        async with library.AsyncClient(auth=auth) as client:
            responses = await asyncio.gather(*[client.get(f"{origin}/answer") for _ in range(20)])
            assert {response.json()["units"] for response in responses} == {2}
            assert not any(response.history for response in responses)
            payment = payment_of(responses[0])
            assert payment is not None
            assert (payment.units, payment.amount) == (2, 2_000)
            assert payment.receipt is not None
            assert payment.receipt.book_id == book.book.book_id
        assert auth.payer.spent(origin) == 23 * 2_000
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 46


@LIBRARIES
async def test_bare_application_is_paid_in_process(world: World, library: Any) -> None:
    await world.agree(make_book())
    application = Application()
    transport = library.ASGITransport(world.middleware(application))
    async with library.AsyncClient(transport=transport, auth=LightspeedAuth(world.store)) as client:
        first = await client.get(f"{ORIGIN}/one")
        second = await client.post(f"{ORIGIN}/two", content=b"body")
    assert (first.status_code, second.status_code) == (200, 200)
    assert len(first.history) == 1  # asked for the price
    assert not second.history  # the price holds for the whole origin
    for response in (first, second):
        assert "lightspeed-payment" not in response.request.headers
        assert "lightspeed-payment" not in str(response.request.headers).lower()


async def test_aiohttp_calls_are_paid(world: World, port: int) -> None:
    book = await world.agree(make_book(f"http://127.0.0.1:{port}"))
    payment = PaymentMiddleware(world.store)
    with served(world.middleware(ledger=world.ledger_path), port) as origin:
        async with aiohttp.ClientSession(middlewares=[payment]) as session:

            async def call() -> int:
                async with session.get(f"{origin}/answer") as response:
                    assert await response.text() == "served"
                    return response.status

            assert set(await asyncio.gather(*[call() for _ in range(20)])) == {200}
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 20


class Network:
    """A transport of httpx with faults: `fault(request number, response)` may replace it."""

    def __init__(self, app: Any, fault: Callable[[int, httpx.Response], Any]) -> None:
        self._inner = httpx.ASGITransport(app)
        self._fault = fault
        self.presented: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = dict(request.headers.raw).get(b"Lightspeed-Payment", b"")
        self.presented.append(token)
        number = len(self.presented)
        return self._fault(number, await self._inner.handle_async_request(request))

    async def __aenter__(self) -> "Network":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def aclose(self) -> None:
        pass


def paying_client(world: World, network: Any, **options: Any) -> httpx.AsyncClient:
    payer = Payer(world.store, **options)
    return httpx.AsyncClient(transport=network, auth=LightspeedAuth(payer), base_url=ORIGIN)


async def test_units_of_lost_responses_are_presented_again_in_order(world: World) -> None:
    book = await world.agree(make_book())

    def fault(number: int, response: httpx.Response) -> httpx.Response:
        if number in (3, 4):
            raise httpx.ReadError("lost")  # redeemed, but nobody hears of it
        if number == 5:
            return httpx.Response(502)
        return response

    network = Network(world.middleware(), fault)
    async with paying_client(world, network) as client:
        assert (await client.get("/")).status_code == 200  # 1: the price, 2: unit 1
        for _ in range(2):
            with pytest.raises(httpx.ReadError):
                await client.get("/")  # 3: unit 2; 4: unit 2 again
        assert (await client.get("/")).status_code == 502  # 5: unit 2 again
        response = await client.get("/")  # 6: unit 2 is redeemed; 7: unit 3
        assert response.status_code == 200
    units = [book.credential(unit, 1).to_token().encode() for unit in (1, 2, 2, 2, 2, 3)]
    assert network.presented == [b"", *units]
    status = await world.ledger.status(book.book.book_id)
    assert (status.redeemed_units, status.next_unit) == (3, 4)


async def test_units_that_never_arrived_are_used(world: World) -> None:
    book = await world.agree(make_book())
    application = world.middleware()

    class Lossy(Network):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if len(self.presented) == 2:
                self.presented.append(b"")
                raise httpx.ConnectError("no route")
            return await super().handle_async_request(request)

    async with paying_client(world, Lossy(application, lambda _, response: response)) as client:
        assert (await client.get("/")).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        assert (await client.get("/")).status_code == 200
    status = await world.ledger.status(book.book.book_id)
    assert (status.redeemed_units, status.next_unit) == (2, 3)


async def test_new_process_goes_on_after_a_crash(world: World) -> None:
    book = await world.agree(make_book())
    network = Network(world.middleware(), lambda _, response: response)
    for _ in range(3):  # nobody closes the payer: its reservation stays
        async with paying_client(world, network) as client:
            for _ in range(5):
                assert (await client.get("/")).status_code == 200
    status = await world.ledger.status(book.book.book_id)
    assert (status.redeemed_units, status.next_unit) == (15, 16)


async def test_closed_payer_presents_nothing_again(world: World) -> None:
    await world.agree(make_book())
    network = Network(world.middleware(), lambda _, response: response)
    for _ in range(3):
        with Payer(world.store) as payer:
            transport = network
            auth = LightspeedAuth(payer)
            async with httpx.AsyncClient(transport=transport, auth=auth) as client:
                assert (await client.get(ORIGIN)).status_code == 200
    assert len(network.presented) == 6  # each time the price and one unit


async def test_two_processes_do_not_share_a_book(world: World) -> None:
    book = await world.agree(make_book())
    network = Network(world.middleware(), lambda _, response: response)
    other = World.__new__(World)
    with PayerStore(world.store_path) as other.store:
        async with paying_client(world, network) as one, paying_client(other, network) as two:
            assert (await one.get("/")).status_code == 200
            with pytest.raises(BookInUse):
                await two.get("/")
            world.store.close()
            assert (await two.get("/")).status_code == 200
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 2


async def test_more_tasks_than_the_window_holds_take_turns(world: World) -> None:
    book = await world.agree(make_book(window=4))
    network = Network(world.middleware(), lambda _, response: response)
    async with paying_client(world, network) as client:
        responses = await asyncio.gather(*[client.get("/") for _ in range(60)])
    assert {response.status_code for response in responses} == {200}
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 60


async def test_waiting_task_that_is_cancelled_holds_nobody_up(world: World) -> None:
    await world.agree(make_book(window=1))
    go_on = asyncio.Event()
    two_in_flight = asyncio.Barrier(3)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if not go_on.is_set():
            await two_in_flight.wait()
        await go_on.wait()
        await Application()(scope, receive, send)

    network = Network(world.middleware(slow), lambda _, response: response)
    async with paying_client(world, network) as client:
        tasks = [asyncio.create_task(client.get("/")) for _ in range(8)]
        await two_in_flight.wait()
        tasks[5].cancel()
        go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[5], asyncio.CancelledError)
    others = [result for result in results if result is not results[5]]
    assert [result.status_code for result in others] == [200] * 7


async def test_turn_of_a_request_that_was_given_up_goes_to_the_next(world: World) -> None:
    await world.agree(make_book(window=1))
    price = [parse_price("1 sat")]
    payer = Payer(world.store)
    payer.known_prices.learn("GET", ORIGIN, "/", scope="/", prices=price)
    in_flight = [payer.start(ORIGIN, price) for _ in range(2)]
    first, second = [payment_flow(payer, "GET", ORIGIN) for _ in range(2)]
    turn_of_first, turn_of_second = next(first), next(second)
    assert isinstance(turn_of_first, Future)
    assert isinstance(turn_of_second, Future)
    in_flight[0].lost()
    assert turn_of_first.done()
    assert not turn_of_second.done()
    first.close()
    assert turn_of_second.done()
    assert isinstance(second.send(None), Send)
    second.close()


async def test_turn_that_came_too_late_goes_to_the_next(world: World) -> None:
    """The book was closed meanwhile: nobody waits for units that never come."""
    book = await world.agree(make_book(window=1))
    price = [parse_price("1 sat")]
    payer = Payer(world.store)
    payer.known_prices.learn("GET", ORIGIN, "/", scope="/", prices=price)
    in_flight = [payer.start(ORIGIN, price) for _ in range(2)]
    first, second = [payment_flow(payer, "GET", ORIGIN) for _ in range(2)]
    next(first)
    turn_of_second = next(second)
    assert isinstance(turn_of_second, Future)
    book_id = book.book.book_id
    in_flight[0].end(200, [Receipt(book_id, 1, 1, 2).to_header()])
    world.store.stop(book_id, StopReason.REQUESTED)
    with pytest.raises(NoBook):
        first.send(None)
    assert turn_of_second.done()


def test_threads_share_one_payer(world_sync: World, port: int) -> None:
    world = world_sync
    book = make_book(f"http://127.0.0.1:{port}", window=4)
    asyncio.run(world.agree(book))
    auth = LightspeedAuth(world.store)
    with served(world.middleware(ledger=world.ledger_path), port) as origin:

        def call(_: int) -> int:
            with httpx2.Client(auth=auth) as client:
                return client.get(origin).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(call, range(40))) == {200}
    assert asyncio.run(world.ledger.status(book.book.book_id)).redeemed_units == 40


@pytest.fixture
def world_sync(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    asyncio.run(world.close())


# --- where a credential goes ----------------------------------------------------------------


def redirecting_app(target: str, status: int) -> Starlette:
    async def redirect(request: Request) -> RedirectResponse:
        return RedirectResponse(target, status)

    async def here(request: Request) -> JSONResponse:
        return JSONResponse({"path": request.url.path})

    return Starlette(routes=[Route("/away", redirect), Route("/here", here)])


class Thief:
    """Another origin that keeps every header that it gets."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.headers += scope["headers"]
        await Application()(scope, receive, send)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@LIBRARIES
async def test_redirect_to_another_origin_carries_no_credential(
    world: World, port: int, library: Any, status: int
) -> None:
    await world.agree(make_book(f"http://127.0.0.1:{port}"))
    thief = Thief()
    with served(thief, free_port()) as elsewhere:
        app = redirecting_app(f"{elsewhere}/loot", status)
        middleware = world.middleware(app, ledger=world.ledger_path)
        with served(middleware, port) as origin:
            auth = LightspeedAuth(world.store)
            async with library.AsyncClient(auth=auth, follow_redirects=True) as client:
                response = await client.get(f"{origin}/away")
            assert response.text == "served"
            async with (
                aiohttp.ClientSession(middlewares=[PaymentMiddleware(auth.payer)]) as session,
                session.get(f"{origin}/away") as answer,
            ):
                assert await answer.text() == "served"
    names = {name for name, _ in thief.headers}
    assert b"host" in names
    assert not {b"lightspeed-payment", b"authorization"} & names


@LIBRARIES
async def test_redirect_within_the_origin_is_paid_again(world: World, library: Any) -> None:
    book = await world.agree(make_book())
    middleware = world.middleware(redirecting_app("/here", 307))
    transport = library.ASGITransport(middleware)
    auth = LightspeedAuth(world.store)
    async with library.AsyncClient(transport=transport, auth=auth, follow_redirects=True) as client:
        response = await client.get(f"{ORIGIN}/away")
    assert response.json() == {"path": "/here"}
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 2


async def test_other_origins_are_not_paid(world: World) -> None:
    await world.agree(make_book("https://api.example"))
    transport = httpx.ASGITransport(world.middleware())
    auth = LightspeedAuth(world.store)
    async with httpx.AsyncClient(transport=transport, auth=auth) as client:
        assert (await client.get("https://API.example:443/")).status_code == 200
        for url in ("https://api.example:444", "https://other.example", "http://127.0.0.1"):
            with pytest.raises(NoBook):
                await client.get(url)
        with pytest.raises(InsecureOrigin):
            await client.get("http://api.example/")


async def test_plain_http_pays_on_loopback_only(world: World) -> None:
    await world.agree(make_book("http://api.example"))
    transport = httpx.ASGITransport(world.middleware())
    async with httpx.AsyncClient(transport=transport, auth=LightspeedAuth(world.store)) as client:
        with pytest.raises(InsecureOrigin):
            await client.get("http://api.example/")


async def test_unpaid_origin_is_left_alone(world: World) -> None:
    async with paying_client(world, httpx.ASGITransport(Application())) as client:
        response = await client.get("/")
    assert response.status_code == 200
    assert payment_of(response) is None


async def test_402_of_another_method_is_the_callers(world: World) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"www-authenticate", b'Payment id="x", method="card", intent="charge"')]
        await send({"type": "http.response.start", "status": 402, "headers": headers})
        await send({"type": "http.response.body", "body": b"pay by card"})

    async with paying_client(world, httpx.ASGITransport(other)) as client:
        response = await client.get("/")
    assert (response.status_code, response.text) == (402, "pay by card")


# --- what it may cost -----------------------------------------------------------------------


async def test_budget_holds_per_call_and_per_time(world: World) -> None:
    book = await world.agree(make_book())
    price = ["5 sat"]
    now = [0.0]
    network = httpx.ASGITransport(world.middleware(price=lambda scope: price[0]))
    budget = Budget(per_call="5 sat", per_hour="12 sat", per_day="20 sat")
    client = paying_client(world, network, budgets=[budget], clock=lambda: now[0])
    async with client:
        for _ in range(2):
            assert (await client.get("/")).status_code == 200
        with pytest.raises(BudgetExceeded, match="within an hour"):
            await client.get("/")
        now[0] += 3_700
        for _ in range(2):
            assert (await client.get("/")).status_code == 200
        now[0] += 3_700
        with pytest.raises(BudgetExceeded, match="within a day"):
            await client.get("/")
        now[0] += 90_000
        price[0] = "6 sat"
        with pytest.raises(BudgetExceeded, match="per call"):
            await client.get("/other")
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 20


async def test_budget_is_on_by_default_and_per_origin(world: World) -> None:
    await world.agree(make_book(locks=4, chain_length=1_000, lock_amount=1_000))
    network = httpx.ASGITransport(world.middleware(price="1001 sat"))
    async with paying_client(world, network) as client:
        with pytest.raises(BudgetExceeded, match="per call"):
            await client.get("/")
    own = Budget(per_call="1001 sat", origin=ORIGIN)
    async with paying_client(world, network, budgets=[Budget(), own]) as client:
        assert (await client.get("/")).status_code == 200


async def test_dearer_call_is_paid_after_one_refusal(world: World) -> None:
    await world.agree(make_book())
    price = ["1 sat"]
    network = httpx.ASGITransport(world.middleware(price=lambda scope: price[0]))
    async with paying_client(world, network) as client:
        await client.get("/")
        price[0] = "3 sat"
        response = await client.get("/")
        assert response.status_code == 200
        payment = payment_of(response)
        assert payment is not None
        assert payment.units == 3
        assert len(response.history) == 1
        price[0] = "2000 sat"
        with pytest.raises(BudgetExceeded):
            await client.get("/")


# --- payees that misbehave ------------------------------------------------------------------


def answering(status: int, slug: str, **more: Any) -> Any:
    """A payee that asks for a price, then answers every payment with a problem."""

    class Payee:
        def __init__(self, world: World) -> None:
            self._honest = world.middleware()
            self.payments = 0

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if b"lightspeed-payment" not in dict(scope["headers"]):
                await self._honest(scope, receive, send)
                return
            self.payments += 1
            body = {"type": f"urn:lightspeed:problem:{slug}", **more}
            await JSONResponse(body, status)(scope, receive, send)

    return Payee


async def test_wrong_secret_stops_the_book_for_good(world: World) -> None:
    book = await world.agree(make_book())
    payee = answering(402, "wrong-secret")(world)
    async with paying_client(world, httpx.ASGITransport(payee)) as client:
        with pytest.raises(PayeeMisbehaves) as caught:
            await client.get("/")
        assert caught.value.book_id == book.book.book_id
        with pytest.raises(BookStopped):
            await client.get("/")
    assert payee.payments == 1
    assert world.store.stopped(book.book.book_id) is StopReason.WRONG_SECRET
    async with paying_client(world, httpx.ASGITransport(payee)) as client:
        with pytest.raises(BookStopped):
            await client.get("/")
    assert payee.payments == 1


async def test_already_redeemed_for_new_units_stops_the_book(world: World) -> None:
    book = await world.agree(make_book())
    payee = answering(402, "already-redeemed", unit=1)(world)
    async with paying_client(world, httpx.ASGITransport(payee)) as client:
        with pytest.raises(PayeeMisbehaves):
            await client.get("/")
    assert world.store.stopped(book.book.book_id) is StopReason.ALREADY_REDEEMED


@pytest.mark.parametrize("slug", ["no-payment", "malformed", "book-closed", "anything", "too-many"])
async def test_refusal_ends_the_call(world: World, slug: str) -> None:
    await world.agree(make_book())
    payee = answering(402, slug)(world)
    async with paying_client(world, httpx.ASGITransport(payee)) as client:
        if slug == "no-payment":  # without a challenge it is nobody's 402
            assert (await client.get("/")).status_code == 402
        else:
            with pytest.raises(PaymentRejected) as caught:
                await client.get("/")
            assert caught.value.slug == slug
    assert payee.payments == 1


async def test_payee_that_asks_again_and_again_is_paid_once(world: World) -> None:
    """A proxy that drops the header, or a payee that takes it and says nothing."""
    await world.agree(make_book())
    honest = world.middleware()
    calls = []

    async def dropping(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope)
        await honest({**scope, "headers": []}, receive, send)

    async with paying_client(world, httpx.ASGITransport(dropping)) as client:
        with pytest.raises(PaymentRejected):
            await client.get("/")
    assert len(calls) == 2


async def get_often(client: httpx.AsyncClient, calls: int) -> None:
    for _ in range(calls):
        await client.get("/")


async def test_payee_that_takes_and_never_answers_is_left(world: World) -> None:
    book = await world.agree(make_book(window=8))
    network = Network(
        world.middleware(),
        lambda number, response: response if response.status_code == 402 else httpx.Response(502),
    )
    async with paying_client(world, network) as client:
        with pytest.raises((BookStopped, PayeeMisbehaves)):
            await get_often(client, 20)
    status = await world.ledger.status(book.book.book_id)
    assert status.redeemed_units <= 9


async def test_next_book_pays_when_one_is_closed_or_exhausted(world: World) -> None:
    small = await world.agree(make_book(locks=1, chain_length=2, lock_amount=2))
    closed = await world.agree(make_book(seed=b"\1" * 32))
    await world.ledger.fence(closed.book.book_id)
    last = await world.agree(make_book(seed=b"\2" * 32))
    network = httpx.ASGITransport(world.middleware())
    async with paying_client(world, network) as client:
        for _ in range(6):
            assert (await client.get("/")).status_code == 200
    redeemed = [
        (await world.ledger.status(book.book.book_id)).redeemed_units
        for book in (small, closed, last)
    ]
    assert redeemed == [2, 0, 4]


async def test_receipt_for_other_units_acknowledges_nothing(world: World) -> None:
    book = await world.agree(make_book())

    def fault(number: int, response: httpx.Response) -> httpx.Response:
        if "lightspeed-receipt" in response.headers:
            lie = Receipt(book.book.book_id, first_unit=7, count=1, next_unit=400)
            response.headers["lightspeed-receipt"] = lie.to_header()
        return response

    network = Network(world.middleware(), fault)
    async with paying_client(world, network) as client:
        response = await client.get("/")
        payment = payment_of(response)
        assert payment is not None
        assert payment.receipt is None


def test_other_threads_wait_no_longer_than_they_are_told(world_sync: World) -> None:
    world = world_sync
    asyncio.run(world.agree(make_book(window=1)))
    payer = Payer(world.store)
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    calls = [payer.start(ORIGIN, [parse_price("1 sat")]) for _ in range(2)]
    auth = LightspeedAuth(payer, wait_seconds=0.01)
    payer.known_prices.learn("GET", ORIGIN, "/", scope="/", prices=[parse_price("1 sat")])
    with httpx.Client(transport=transport, auth=auth) as client, pytest.raises(TimeoutError):
        client.get(ORIGIN)
    released = threading.Timer(0.01, calls[0].lost)
    released.start()
    auth = LightspeedAuth(payer, wait_seconds=10)
    with httpx.Client(transport=transport, auth=auth) as client:
        assert client.get(ORIGIN).status_code == 200
    released.join()

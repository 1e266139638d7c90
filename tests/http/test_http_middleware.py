"""What the middleware answers, and what it lets through to the application."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from http_world import NODE, ORIGIN, Application, World, make_book
from lightspeed.http import LightspeedMiddleware, Paid
from lightspeed.http.auth_header import parse_challenges
from lightspeed.http.challenge import challenge_id, find_request
from lightspeed.http.encoding import canonical_json, to_base64url
from lightspeed.payment import SATS, Price, Receipt, Scheme, SecretBook


def client_for(app: Any, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, **options)
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN)


def token(book: SecretBook, first_unit: int, count: int = 1) -> str:
    return book.credential(first_unit, count).to_token()


def paying(text: str) -> dict[str, str]:
    return {"Lightspeed-Payment": text}


def problem_of(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    return response.json()["type"].removeprefix("urn:lightspeed:problem:")


async def test_call_without_payment_is_challenged(world: World) -> None:
    application = Application()
    async with client_for(world.middleware(application, price="10 sat")) as client:
        response = await client.get("/answer")
    assert response.status_code == 402
    assert problem_of(response) == "no-payment"
    assert response.headers["cache-control"] == "no-store"
    assert "lightspeed-receipt" not in response.headers
    assert application.scopes == []
    (challenge,) = parse_challenges(response.headers["www-authenticate"])
    assert challenge.scheme == "payment"
    assert (challenge.params["method"], challenge.params["intent"]) == ("lightspeed", "session")
    request = find_request([response.headers["www-authenticate"]])
    assert request is not None
    assert request.prices == (Price(10_000),)
    assert request.scope == "/"
    assert request.offer is not None
    assert request.offer.node == NODE
    assert request.offer.schemes == (Scheme.OUTPUTS,)


async def test_paid_call_reaches_the_application_without_its_credential(world: World) -> None:
    book = await world.agree(make_book())
    application = Application()
    async with client_for(world.middleware(application, price="3 sat")) as client:
        response = await client.get("/answer", headers=paying(token(book, 1, 3)))
    assert (response.status_code, response.text) == (200, "served")
    receipt = Receipt(book.book.book_id, first_unit=1, count=3, next_unit=4)
    assert response.headers["lightspeed-receipt"] == receipt.to_header()
    assert response.headers.get_list("cache-control") == ["private, no-store"]
    (scope,) = application.scopes
    assert not {b"lightspeed-payment", b"authorization"} & {name for name, _ in scope["headers"]}
    payment = Paid.of(scope)
    assert payment is not None
    assert (payment.units, payment.amount, payment.asset) == (3, 3_000, SATS)
    assert payment.receipt == receipt


async def challenge_params(client: httpx.AsyncClient) -> dict[str, str]:
    response = await client.get("/answer")
    (challenge,) = parse_challenges(response.headers["www-authenticate"])
    return dict(challenge.params)


def payment_scheme(challenge: Any, text: Any) -> dict[str, str]:
    credential = {"challenge": challenge, "payload": {"credential": text}}
    return {"Authorization": f"Payment {to_base64url(canonical_json(credential))}"}


async def test_credential_is_the_same_in_all_three_places(world: World) -> None:
    book = await world.agree(make_book())
    application = Application()
    async with client_for(world.middleware(application)) as client:
        challenge = await challenge_params(client)
        places = [
            lambda text: paying(text),
            lambda text: {"Authorization": f"Lightspeed {text}"},
            lambda text: {"Authorization": f"lIGHTSPEED   {text}"},
            lambda text: payment_scheme(challenge, text),
        ]
        for unit, place in enumerate(places, 1):
            response = await client.get("/answer", headers=place(token(book, unit)))
            assert response.status_code == 200
            for other in places:
                response = await client.get("/answer", headers=other(token(book, unit)))
                assert problem_of(response) == "already-redeemed"
    assert len(application.scopes) == len(places)
    assert len({Paid.of(scope).key for scope in application.scopes}) == len(places)
    for scope in application.scopes:
        assert not {b"lightspeed-payment", b"authorization"} & {n for n, _ in scope["headers"]}


async def test_applications_own_authorization_stays(world: World) -> None:
    book = await world.agree(make_book())
    application = Application()
    async with client_for(world.middleware(application)) as client:
        headers = {**paying(token(book, 1)), "Authorization": "Bearer key"}
        assert (await client.get("/answer", headers=headers)).status_code == 200
    assert (b"authorization", b"Bearer key") in application.scopes[0]["headers"]


async def test_two_credentials_are_refused(world: World) -> None:
    book = await world.agree(make_book())
    async with client_for(world.middleware()) as client:
        one, two = token(book, 1), token(book, 2)
        for headers in (
            {**paying(one), "Authorization": f"Lightspeed {two}"},
            {**paying(one), "Authorization": f"Lightspeed {one}"},
            httpx.Headers([("Lightspeed-Payment", one), ("Lightspeed-Payment", two)]),
        ):
            assert problem_of(await client.get("/answer", headers=headers)) == "malformed"
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 0


@pytest.mark.parametrize("change", ["realm", "request", "id", "method", "intent"])
async def test_payment_credential_for_another_challenge_is_refused(
    world: World, change: str
) -> None:
    book = await world.agree(make_book())
    async with client_for(world.middleware()) as client:
        challenge = await challenge_params(client)
        challenge[change] += "x"
        response = await client.get("/answer", headers=payment_scheme(challenge, token(book, 1)))
        assert problem_of(response) == "invalid-challenge"
        for broken in ("", "e30", "bm90IGpzb24", to_base64url(b'{"payload":[]}')):
            response = await client.get("/answer", headers={"Authorization": f"Payment {broken}"})
            assert problem_of(response) == "malformed"
        for text in (7, None, ["x"]):
            challenge = await challenge_params(client)
            response = await client.get("/answer", headers=payment_scheme(challenge, text))
            assert problem_of(response) == "malformed"
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 0


async def test_challenge_that_has_no_utf8_is_not_ours(world: World) -> None:
    """JSON can say half a surrogate pair, in a parameter that only the id binds."""
    book = await world.agree(make_book())
    async with client_for(world.middleware()) as client:
        challenge = {**await challenge_params(client), "opaque": "\ud800"}
        credential = {"challenge": challenge, "payload": {"credential": token(book, 1)}}
        headers = {"Authorization": f"Payment {to_base64url(json.dumps(credential).encode())}"}
        assert problem_of(await client.get("/answer", headers=headers)) == "invalid-challenge"
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 0


async def test_old_price_does_not_bind(world: World) -> None:
    book = await world.agree(make_book())
    async with client_for(world.middleware(price="1 sat")) as client:
        challenge = await challenge_params(client)
    async with client_for(world.middleware(price="2 sat")) as client:
        response = await client.get("/answer", headers=payment_scheme(challenge, token(book, 1, 2)))
        assert problem_of(response) == "invalid-challenge"


async def test_workers_agree_on_challenges_unless_told_otherwise(world: World) -> None:
    book = await world.agree(make_book())
    async with client_for(world.middleware()) as one, client_for(world.middleware()) as two:
        headers = payment_scheme(await challenge_params(one), token(book, 1))
        assert (await two.get("/answer", headers=headers)).status_code == 200
    params = {"realm": "r", "method": "m", "intent": "i", "request": "q"}
    assert challenge_id(b"a", params) != challenge_id(b"b", params)


async def test_price_is_by_path_or_by_function(world: World) -> None:
    book = await world.agree(make_book())
    routes = {"/free": None, "/cheap": "1 sat", "/cheap/dear": "5 sat", "/zero": "0 sat"}

    async def required(app: LightspeedMiddleware, path: str) -> tuple[int, str]:
        async with client_for(app) as client:
            response = await client.get(path)
        if response.status_code == 200:
            return 0, ""
        request = find_request([response.headers["www-authenticate"]])
        assert request is not None
        return request.prices[0].amount // 1_000, request.scope

    by_path = world.middleware(price=routes)
    assert await required(by_path, "/free") == (0, "")
    assert await required(by_path, "/zero/x") == (0, "")
    assert await required(by_path, "/elsewhere") == (0, "")
    assert await required(by_path, "/cheaper") == (0, "")
    assert await required(by_path, "/cheap") == (1, "")  # not all below it costs the same
    assert await required(by_path, "/cheap/x") == (1, "")
    assert await required(by_path, "/cheap/dear/x") == (5, "/cheap/dear")
    by_query = world.middleware(price=lambda scope: f"{len(scope['query_string'])} sat")
    assert await required(by_query, "/?abc") == (3, "")
    assert await required(by_query, "/") == (0, "")
    async with client_for(by_path) as client:
        response = await client.get("/cheap/dear", headers=paying(token(book, 1, 4)))
        assert problem_of(response) == "too-little"
        assert response.json()["required_units"] == 5
        response = await client.get("/cheap/dear", headers=paying(token(book, 1, 5)))
        assert response.status_code == 200


async def test_tokens_pay_where_they_are_sold(world: World) -> None:
    asset = bytes(range(32))
    sats = await world.agree(make_book())
    tokens = await world.agree(make_book(asset=asset, lock_amount=20))
    prices = [Price(4, asset), "3 sat"]
    application = Application()
    async with client_for(world.middleware(application, price=prices)) as client:
        assert (await client.get("/", headers=paying(token(tokens, 1, 2)))).status_code == 200
        assert (await client.get("/", headers=paying(token(sats, 1, 3)))).status_code == 200
    amounts = [(Paid.of(scope).amount, Paid.of(scope).asset) for scope in application.scopes]
    assert amounts == [(4, asset), (3_000, SATS)]
    async with client_for(world.middleware(price="3 sat")) as client:
        response = await client.get("/", headers=paying(token(tokens, 3, 9)))
        assert problem_of(response) == "wrong-asset"


async def test_free_call_hands_no_credential_to_the_application(world: World) -> None:
    book = await world.agree(make_book())
    application = Application()
    async with client_for(world.middleware(application, price=lambda scope: None)) as client:
        response = await client.get("/", headers=paying(token(book, 1)))
    assert response.status_code == 200
    assert "lightspeed-receipt" not in response.headers
    assert response.headers["cache-control"] == "public"
    assert b"lightspeed-payment" not in dict(application.scopes[0]["headers"])
    assert Paid.of(application.scopes[0]) is None


async def test_failure_of_the_application_carries_the_receipt(world: World) -> None:
    book = await world.agree(make_book())

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    async def complaining(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body", "body": b""})

    async with client_for(world.middleware(failing), raise_app_exceptions=False) as client:
        response = await client.get("/", headers=paying(token(book, 1)))
        assert response.status_code == 500
        assert problem_of(response) == "application-failed"
        assert "secret detail" not in response.text
        assert Receipt.from_header(response.headers["lightspeed-receipt"]).first_unit == 1
    async with client_for(world.middleware(complaining)) as client:
        response = await client.get("/", headers=paying(token(book, 2)))
        assert response.status_code == 404
        assert Receipt.from_header(response.headers["lightspeed-receipt"]).first_unit == 2


async def test_exception_reaches_the_server_for_its_log(world: World) -> None:
    book = await world.agree(make_book())

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    async with client_for(world.middleware(failing)) as client:
        with pytest.raises(RuntimeError, match="broken"):
            await client.get("/", headers=paying(token(book, 1)))


async def test_streamed_response_is_not_buffered(world: World) -> None:
    book = await world.agree(make_book())
    go_on = asyncio.Event()
    sent: list[dict] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"second"})

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body") == b"first":
            go_on.set()

    headers = [(b"lightspeed-payment", token(book, 1).encode())]
    scope = {"type": "http", "path": "/", "headers": headers}
    async with asyncio.timeout(60):
        await world.middleware(streaming)(scope, None, send)
    assert [message.get("body") for message in sent] == [None, b"first", b"second"]


async def test_other_scopes_pass_through(world: World) -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "websocket", "path": "/", "headers": []}
    await world.middleware(application)(scope, None, None)
    assert seen == [scope]


async def test_lifespan_opens_and_closes_a_ledger_of_its_own(world: World) -> None:
    book = await world.agree(make_book())
    middleware = LightspeedMiddleware(Application(), ledger=world.ledger_path, price="1 sat")
    messages = asyncio.Queue()
    answers = asyncio.Queue()
    open_at: dict[str, bool] = {}

    async def send(message: Any) -> None:
        open_at[message["type"]] = middleware._ledger is not None
        await answers.put(message)

    task = asyncio.create_task(middleware({"type": "lifespan"}, messages.get, send))
    await messages.put({"type": "lifespan.startup"})
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    ledger = middleware._ledger
    async with client_for(middleware) as client:
        assert (await client.get("/", headers=paying(token(book, 1)))).status_code == 200
    assert middleware._ledger is ledger
    await messages.put({"type": "lifespan.shutdown"})
    assert (await answers.get())["type"] == "lifespan.shutdown.complete"
    await task
    # The server may stop its loop as soon as it is told: by then all is closed.
    assert open_at == {"lifespan.startup.complete": True, "lifespan.shutdown.complete": False}
    async with client_for(middleware) as client:  # a server without lifespan
        assert (await client.get("/", headers=paying(token(book, 2)))).status_code == 200
    await middleware._ledger.aclose()


async def test_repeated_call_may_be_answered_again(world: World) -> None:
    book = await world.agree(make_book())
    answers: dict[bytes, str] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        text = answers.setdefault(Paid.of(scope).key, f"answer {len(answers)}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})

    async def replay(key: bytes, scope: Any) -> Any:
        return application if key in answers else None

    async with client_for(world.middleware(application, replay=replay)) as client:
        first = await client.get("/", headers=paying(token(book, 1)))
        second = await client.get("/", headers={"Authorization": f"Lightspeed {token(book, 1)}"})
        assert first.text == second.text == "answer 0"
        assert first.headers["lightspeed-receipt"] == second.headers["lightspeed-receipt"]
        forged = book.credential(1, 1)._replace(elements=bytes(32)).to_token()
        assert problem_of(await client.get("/", headers=paying(forged))) == "already-redeemed"
        longer = await client.get("/", headers=paying(token(book, 1, 2)))
        assert problem_of(longer) == "already-redeemed"
    assert (await world.ledger.status(book.book.book_id)).redeemed_units == 1


async def test_secrets_are_in_no_answer_and_no_repr(world: World) -> None:
    book = await world.agree(make_book())
    application = Application()
    async with client_for(world.middleware(application)) as client:
        credential = book.credential(1, 1)
        responses = [await client.get("/", headers=paying(credential.to_token())) for _ in "12"]
    shown = repr(Paid.of(application.scopes[0])) + "".join(
        response.text + str(response.headers) for response in responses
    )
    assert credential.elements.hex() not in shown
    assert repr(credential.elements)[2:-1] not in shown
    assert credential.to_token() not in shown


@pytest.mark.parametrize("route", ["/v1", "/api/v1"])
def test_a_priced_path_is_not_free_behind_a_root_path(route: str) -> None:
    from lightspeed.http.pricing import Pricing

    pricing = Pricing({route: "10 sat"})
    assert pricing.quote({"path": "/api/v1/answer", "root_path": "/api"}) is not None
    assert pricing.quote({"path": "/api/v10", "root_path": "/api"}) is None

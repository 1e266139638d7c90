"""Nobody gets in: every bad credential has its own problem type and changes nothing."""

import hashlib
import random
from collections.abc import Callable

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_world import ORIGIN, Application, World, make_book
from lightspeed.payment import Credential, Receipt, SecretBook, step

Make = Callable[[SecretBook], Credential | str]


def with_elements(credential: Credential, elements: bytes) -> Credential:
    return credential._replace(elements=elements)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def foreign(book: SecretBook) -> Credential:
    """Right secrets of another book, under this book's name."""
    other = make_book(seed=b"\7" * 32).credential(4, 1)
    return other._replace(book_id=book.book.book_id)


# Units 1 .. 3 of 400 are redeemed; c = 10, window = 64.
REFUSALS: dict[str, tuple[str, Make]] = {
    "nothing": ("malformed", lambda book: ""),
    "no base64url": ("malformed", lambda book: "!" * 75),
    "random text": ("malformed", lambda book: "x" * 40),
    "random bytes": (
        "malformed",
        lambda book: Credential(random.Random(1).randbytes(16), 4, 1, bytes(32)).to_token()[:-1],
    ),
    "unknown book": ("unknown-book", lambda book: make_book(seed=b"\5" * 32).credential(1, 1)),
    "truncated": ("malformed", lambda book: book.credential(4, 1).to_token()[:-2]),
    "trailing bytes": ("malformed", lambda book: book.credential(4, 1).to_token() + "AAAA"),
    "padded": ("malformed", lambda book: book.credential(4, 1).to_token() + "="),
    "last bits set": ("malformed", lambda book: book.credential(4, 1).to_token()[:-1] + "/"),
    "white space inside": (
        "malformed",
        lambda book: book.credential(4, 1).to_token()[:8] + " " + book.credential(4, 1).to_token(),
    ),
    "another version": (
        "malformed",
        lambda book: "Ag" + book.credential(4, 1).to_token()[2:],
    ),
    "count 0": ("malformed", lambda book: book.credential(4, 1)._replace(count=0)),
    "unit 0": ("malformed", lambda book: book.credential(4, 1)._replace(first_unit=0)),
    "outside the book": ("malformed", lambda book: book.credential(400, 1)._replace(count=2)),
    "too many elements": (
        "malformed",
        lambda book: with_elements(book.credential(4, 2), bytes(64)),
    ),
    "too few elements": (
        "malformed",
        lambda book: with_elements(book.credential(4, 20), bytes(32)),
    ),
    "replayed": ("already-redeemed", lambda book: book.credential(3, 1)),
    "replayed in part": ("already-redeemed", lambda book: book.credential(2, 5)),
    "replayed with garbage": (
        "already-redeemed",
        lambda book: with_elements(book.credential(3, 1), bytes(32)),
    ),
    "mutated element": (
        "wrong-secret",
        lambda book: with_elements(book.credential(4, 1), flipped(book.element(1, 4))),
    ),
    "mutated unit": ("wrong-secret", lambda book: book.credential(4, 1)._replace(first_unit=5)),
    "mutated count": ("wrong-secret", lambda book: book.credential(4, 1)._replace(count=2)),
    "of another book": ("wrong-secret", foreign),
    "the lock hash": (
        "wrong-secret",
        lambda book: with_elements(book.credential(10, 1), book.book.lock_hash(1)),
    ),
    "the lock hash as the unit below": (
        "wrong-secret",
        lambda book: with_elements(book.credential(9, 1), book.book.lock_hash(1)),
    ),
    "stepped down from the lock hash": (
        "wrong-secret",
        lambda book: with_elements(book.credential(8, 1), step(book.book.lock_hash(1))),
    ),
    "the anchor": (
        "wrong-secret",
        lambda book: with_elements(book.credential(11, 1), book.book.anchor(2)),
    ),
    "hash of the anchor": (
        "wrong-secret",
        lambda book: with_elements(
            book.credential(11, 1), hashlib.sha256(book.book.anchor(2)).digest()
        ),
    ),
    "an element seen before": (
        "wrong-secret",
        lambda book: with_elements(book.credential(4, 1), book.element(1, 3)),
    ),
    "above the exposure limit": ("exposure", lambda book: book.credential(75, 1)),
    "too many units": ("too-many", lambda book: book.credential(4, 21)),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal_has_its_own_problem_and_changes_nothing(world: World, name: str) -> None:
    slug, make = REFUSALS[name]
    book = await world.agree(make_book())
    application = Application()
    world.ledger = await reopened(world, max_count=20)
    transport = httpx.ASGITransport(world.middleware(application))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        paid = {"Lightspeed-Payment": book.credential(1, 3).to_token()}
        assert (await client.get("/", headers=paid)).status_code == 200
        before = await world.ledger.status(book.book.book_id)
        made = make(book)
        text = made if isinstance(made, str) else made.to_token()
        response = await client.get("/", headers={"Lightspeed-Payment": text})
        assert response.status_code == 402
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["www-authenticate"].startswith("Payment id=")
        assert response.json()["type"] == f"urn:lightspeed:problem:{slug}"
        if isinstance(made, Credential) and slug not in ("unknown-book", "malformed"):
            receipt = Receipt.from_header(response.headers["lightspeed-receipt"])
            assert receipt == Receipt(book.book.book_id, 0, 0, next_unit=4)
        assert await world.ledger.status(book.book.book_id) == before
        assert len(application.scopes) == 1
        honest = {"Lightspeed-Payment": book.credential(4, 1).to_token()}
        assert (await client.get("/", headers=honest)).status_code == 200


async def reopened(world: World, **options):
    await world.ledger.aclose()
    return type(world.ledger)(world.ledger_path, **options)


async def test_far_unit_of_a_lock_is_refused_before_any_hash(world: World) -> None:
    book = await world.agree(make_book(locks=2, chain_length=1_000, lock_amount=1_000))
    transport = httpx.ASGITransport(world.middleware())
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        headers = {"Lightspeed-Payment": book.credential(66, 1).to_token()}
        response = await client.get("/", headers=headers)
    assert response.json()["type"] == "urn:lightspeed:problem:too-far"


async def test_book_without_a_lease_or_fenced_is_closed(world: World) -> None:
    expired = await world.agree(make_book(), open_until=1.0)
    fenced = await world.agree(make_book(seed=b"\1" * 32))
    await world.ledger.fence(fenced.book.book_id)
    transport = httpx.ASGITransport(world.middleware())
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        for book in (expired, fenced):
            headers = {"Lightspeed-Payment": book.credential(1, 1).to_token()}
            response = await client.get("/", headers=headers)
            assert response.json()["type"] == "urn:lightspeed:problem:book-closed"
            receipt = Receipt.from_header(response.headers["lightspeed-receipt"])
            assert receipt == Receipt(book.book.book_id, 0, 0, next_unit=1)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([b"lightspeed-payment", b"authorization"]),
    value=st.binary(max_size=120)
    | st.binary(max_size=80).map(lambda tail: b"Lightspeed " + tail)
    | st.binary(max_size=80).map(lambda tail: b"Payment " + tail),
)
def test_any_header_bytes_are_answered_402(world_for_fuzz, name: bytes, value: bytes) -> None:
    """Whatever stands in a credential's place: a 402, never an exception, nothing served."""
    run, application = world_for_fuzz
    assert run([(name, value)]) == 402
    assert application.scopes == []


@pytest.fixture
def world_for_fuzz(tmp_path):
    import asyncio

    loop = asyncio.new_event_loop()
    opened = World(tmp_path)
    application = Application()
    middleware = opened.middleware(application)

    def run(headers):
        statuses = []

        async def send(message):
            statuses.append(message.get("status"))

        scope = {"type": "http", "path": "/", "headers": headers}
        loop.run_until_complete(middleware(scope, None, send))
        return statuses[0]

    yield run, application
    loop.run_until_complete(opened.close())
    loop.close()

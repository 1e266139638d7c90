"""The tower's API: who may store, how much, how fast; what is refused changes nothing."""

import base64
import json
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.chain import LocalChain, Regtest
from lightspeed.node.errors import StoreFormatError
from lightspeed.node.problems import BadRequest, Unauthorized
from lightspeed.node.tower import (
    Change,
    ClientExists,
    QuotaExceeded,
    TooLarge,
    TooManyRequests,
    Tower,
    TowerClient,
    TowerRefused,
    TowerStore,
    TowerUnavailable,
    UnknownClient,
    serving_tower,
)
from lightspeed.node.tower.limits import RateLimit
from lightspeed.node.tower.service import MAX_BODY_SIZE, MAX_CHANGES, read_changes
from lightspeed.node.tower.store import MAX_BLOB_SIZE, PART_OVERHEAD

LABEL, HINT, BLOB = b"l" * 16, b"h" * 16, bytes(500)


@dataclass
class Served:
    url: str
    store: TowerStore
    token: str

    def stored(self, hint: bytes = HINT) -> list[tuple[int, bytes]]:
        return [(part.number, part.blob) for part in self.store.parts(hint)]

    @property
    def used_bytes(self) -> int:
        return sum(account.used_bytes for account in self.store.clients())

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """(status, document)."""
        sent = {"Authorization": f"Bearer {self.token}"} | headers
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, data=body, headers=sent) as response,
        ):
            return response.status, await response.json(content_type=None)


@asynccontextmanager
async def served(folder: Path, *, quota_bytes: int = 100_000) -> AsyncIterator[Served]:
    with TowerStore(folder / "tower.sqlite") as store:
        token = store.add_client("node", quota_bytes=quota_bytes)
        tower = Tower(store, LocalChain(Regtest()), clock=lambda: 0.0)
        async with serving_tower(tower, port=0) as url:
            yield Served(url, store, token)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TowerStore]:
    with TowerStore(tmp_path / "tower.sqlite") as opened:
        yield opened


# --- over HTTP ------------------------------------------------------------------------------


async def test_client_stores_replaces_and_deletes_parts(tmp_path: Path) -> None:
    async with served(tmp_path) as tower, TowerClient(tower.url, tower.token) as client:
        await client.hand_over(LABEL, [Change(HINT, 0, b"a" * 500), Change(HINT, 7, b"b")])
        assert tower.stored() == [(0, b"a" * 500), (7, b"b")]
        await client.hand_over(LABEL, [Change(HINT, 0, b"c"), Change(HINT, 7)])
        assert tower.stored() == [(0, b"c")]
        assert (await client.account())["used_bytes"] == 1 + PART_OVERHEAD == tower.used_bytes
        await client.hand_over(LABEL, [Change(HINT, None), Change(HINT, 2, b"d")])
        assert tower.stored() == [(2, b"d")]
        await client.hand_over(b"m" * 16, [Change(HINT, 2, b"other channel")])
        await client.forget(LABEL)
        assert tower.stored() == [(2, b"other channel")]
        assert tower.token not in repr(client)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 5_000])
async def test_stranger_is_refused(tmp_path: Path, token: str) -> None:
    async with served(tmp_path) as tower, TowerClient(tower.url, token) as client:
        for call in (
            lambda: client.hand_over(LABEL, [Change(HINT, 0, BLOB)]),
            lambda: client.forget(LABEL),
            client.account,
        ):
            with pytest.raises(TowerRefused) as refused:
                await call()
            assert refused.value.status == 401
        assert tower.stored() == []


async def test_client_above_its_quota_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    async with (
        served(tmp_path, quota_bytes=1_000) as tower,
        TowerClient(tower.url, tower.token) as client,
    ):
        await client.hand_over(LABEL, [Change(HINT, 0, BLOB)])
        two = [Change(HINT, 10, BLOB), Change(HINT, 11, BLOB)]
        with pytest.raises(TowerRefused) as refused:
            await client.hand_over(LABEL, [Change(HINT, None), *two])
        assert refused.value.status == 507
        assert tower.stored() == [(0, BLOB)]
        await client.hand_over(LABEL, [Change(HINT, 0), Change(HINT, 1, BLOB)])
        assert tower.stored() == [(1, BLOB)]


async def test_part_and_request_have_their_largest_size(tmp_path: Path) -> None:
    async with served(tmp_path, quota_bytes=1 << 30) as tower:
        async with TowerClient(tower.url, tower.token) as client:
            await client.hand_over(LABEL, [Change(HINT, 0, bytes(MAX_BLOB_SIZE))])
            with pytest.raises(TowerRefused) as refused:
                await client.hand_over(LABEL, [Change(HINT, 1, bytes(MAX_BLOB_SIZE + 1))])
            assert refused.value.status == 413
        path = f"/v1/channels/{LABEL.hex()}"
        status, _ = await tower.ask("PUT", path, b" " * (MAX_BODY_SIZE + 1))
        assert status == 413
        assert len(tower.stored()) == 1


async def test_client_that_asks_too_fast_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path) as tower:  # its clock stands still
        statuses = [(await tower.ask("GET", "/v1/account"))[0] for _ in range(102)]
        assert statuses == [200] * 100 + [429] * 2
        async with TowerClient(tower.url, tower.token) as client:
            with pytest.raises(TowerUnavailable):
                await client.account()


BODIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "another member": b'{"changes": [], "more": 1}',
    "no list": b'{"changes": {}}',
    "too many": json.dumps({"changes": [{}] * (MAX_CHANGES + 1)}).encode(),
    "no change": b'{"changes": [1]}',
    "deep": b'{"changes": ' + b"[" * 100_000,
}
CHANGES = {
    "hint too short": {"hint": "00", "part": 0, "blob": None},
    "hint no hex": {"hint": "x" * 32, "part": 0, "blob": None},
    "hint no text": {"hint": 5, "part": 0, "blob": None},
    "part below 0": {"hint": HINT.hex(), "part": -1, "blob": None},
    "part too high": {"hint": HINT.hex(), "part": 1 << 32, "blob": None},
    "part true": {"hint": HINT.hex(), "part": True, "blob": None},
    "blob without part": {"hint": HINT.hex(), "part": None, "blob": "AAAA"},
    "blob no base64": {"hint": HINT.hex(), "part": 0, "blob": "?"},
    "blob not ascii": {"hint": HINT.hex(), "part": 0, "blob": "é"},
    "blob a number": {"hint": HINT.hex(), "part": 0, "blob": 3},
    "no blob": {"hint": HINT.hex(), "part": 0},
}
BODIES |= {name: json.dumps({"changes": [change]}).encode() for name, change in CHANGES.items()}


@pytest.mark.parametrize("name", BODIES)
def test_malformed_changes_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        read_changes(BODIES[name])


@given(
    body=st.binary(max_size=200)
    | st.from_regex(r'\{"changes": .*\}', fullmatch=True).map(str.encode)
)
@settings(max_examples=150, deadline=None)
def test_reading_changes_raises_only_the_declared_error(body: bytes) -> None:
    try:
        changes = read_changes(body)
    except BadRequest:
        return
    assert all(isinstance(change, Change) for change in changes)


async def test_malformed_request_is_a_problem(tmp_path: Path) -> None:
    async with served(tmp_path) as tower:
        path = f"/v1/channels/{LABEL.hex()}"
        for target, body in ((path, b"{"), ("/v1/channels/00", b'{"changes": []}')):
            status, problem = await tower.ask("PUT", target, body)
            assert (status, problem["type"]) == (400, "urn:lightspeed:node:bad-request")
        change = {"hint": HINT.hex(), "part": 1, "blob": base64.b64encode(b"fine").decode()}
        bad = {"hint": HINT.hex(), "part": 2, "blob": "?"}
        body = json.dumps({"changes": [change, bad]}).encode()
        assert (await tower.ask("PUT", path, body))[0] == 400
        assert tower.stored() == []


async def test_tower_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    async with TowerClient("http://127.0.0.1:9", "token") as client:
        with pytest.raises(TowerUnavailable):
            await client.account()


# --- the store ------------------------------------------------------------------------------


def test_tower_keeps_no_token_and_nobody_else_reads_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tower.sqlite"
    with TowerStore(path) as store:
        token = store.add_client("a")
        assert store.authenticate(token).name == "a"
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert token.encode() not in path.read_bytes()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_clients_are_apart(store: TowerStore) -> None:
    first, second = (store.authenticate(store.add_client(name)).id for name in "ab")
    store.apply(first, LABEL, [Change(HINT, 0, b"first")])
    store.apply(second, LABEL, [Change(HINT, 0, b"second")])
    store.apply(second, LABEL, [Change(HINT, None)])
    assert [part.blob for part in store.parts(HINT)] == [b"first"]
    store.apply(second, LABEL, [Change(HINT, 0, b"second")])
    store.remove_client("a")
    assert [part.blob for part in store.parts(HINT)] == [b"second"]
    with pytest.raises(UnknownClient):
        store.remove_client("a")
    with pytest.raises(ClientExists):
        store.add_client("b")
    with pytest.raises(Unauthorized):
        store.apply(first, LABEL, [Change(HINT, 0, b"removed meanwhile")])


def test_refused_changes_leave_what_was_there(store: TowerStore) -> None:
    client = store.authenticate(store.add_client("a", quota_bytes=1_000)).id
    store.apply(client, LABEL, [Change(HINT, 0, BLOB)])
    with pytest.raises(QuotaExceeded):
        store.apply(client, LABEL, [Change(HINT, 0, bytes(937))])
    store.apply(client, LABEL, [Change(HINT, 0, bytes(936))])
    with pytest.raises(TooLarge):
        store.apply(client, LABEL, [Change(HINT, None), Change(HINT, 1, bytes(MAX_BLOB_SIZE + 1))])
    assert [part.blob for part in store.parts(HINT)] == [bytes(936)]
    store.forget(client, LABEL)
    assert [account.used_bytes for account in store.clients()] == [0]


def test_other_file_is_not_taken_for_a_store(tmp_path: Path) -> None:
    path = tmp_path / "tower.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(StoreFormatError):
        TowerStore(path)


def test_rate_limit_refills_with_the_clock() -> None:
    limit = RateLimit(per_second=2.0, burst=4.0)
    limit.take(1, 4, now=0.0)
    with pytest.raises(TooManyRequests) as refused:
        limit.take(1, 3, now=0.0)
    assert refused.value.retry_after_seconds == 2
    limit.take(2, 4, now=0.0)  # another client
    limit.take(1, 3, now=1.5)
    with pytest.raises(TooManyRequests):
        limit.take(1, 1, now=1.5)
    limit.take(1, 400, now=60.0)  # never more than a full bucket is asked for
    with pytest.raises(TooManyRequests):
        limit.take(1, 1, now=30.0)  # a clock that goes back gives nothing

"""Redeeming in the SQLite ledger: the same verdicts as the reference, once, and in groups."""

import asyncio
import random
import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.ledger import (
    BookExists,
    LedgerFormatError,
    LedgerUnavailable,
    PayerStore,
    SQLiteLedger,
)
from lightspeed.ledger.database import LedgerDatabase
from lightspeed.payment import (
    AlreadyRedeemed,
    LeaseExpired,
    PaymentRefused,
    Price,
    Receipt,
    Scheme,
    TooLittle,
    TooMany,
    UnknownBook,
    WrongAsset,
    WrongSecret,
)
from payment_books import FOREVER, MemoryPayee, make_book, seal_of, with_garbage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def database(path, clock=lambda: 0.0, seal_of=seal_of):
    return LedgerDatabase(path, clock=clock, max_count=4_096, seal_of=seal_of)


def verdict(outcome):
    if isinstance(outcome, PaymentRefused):
        return type(outcome), outcome.args, outcome.next_unit
    return outcome


def reference(payee, credential, prices=()):
    try:
        return payee.redeem(credential, prices=prices)
    except PaymentRefused as refusal:
        return refusal


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_verdicts_are_those_of_the_reference(data, tmp_path_factory):
    """In batches, over two connections to one file that come and go and prune, for every chain
    length and scheme, with and without garbage."""
    chain_length = data.draw(st.sampled_from([1, 3, 12]))
    scheme = data.draw(st.sampled_from(Scheme))
    secret_book = make_book(
        locks=36 // chain_length, chain_length=chain_length, window=5, scheme=scheme
    )
    if scheme is Scheme.SEALS and data.draw(st.booleans()):
        secret_book = with_garbage(secret_book, data.draw(st.integers(1, 36 // chain_length)))
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    connections = [database(path), database(path)]
    connections[0].store_book(secret_book.book, FOREVER)
    payee = MemoryPayee(secret_book)
    for _ in range(data.draw(st.integers(1, 6))):
        requests = []
        for _ in range(data.draw(st.integers(1, 8))):
            first = data.draw(st.integers(1, 36) | st.just(min(36, payee.record.next_unit)))
            count = data.draw(st.integers(1, min(5, 37 - first)))
            credential = secret_book.credential(first, count)
            if data.draw(st.integers(0, 6)) == 0:
                credential = credential._replace(elements=bytes(len(credential.elements)))
            prices = data.draw(st.sampled_from([(), (Price(2_000),), (Price(1, bytes(32)),)]))
            requests.append((credential, prices))
        at = data.draw(st.integers(0, 1))
        if data.draw(st.integers(0, 4)) == 0:
            connections[at].close()
            connections[at] = database(path)
        if data.draw(st.booleans()):
            settled = data.draw(st.integers(0, 36 // chain_length))
            connections[data.draw(st.integers(0, 1))].prune(secret_book.book.book_id, settled)
        outcomes = connections[at].redeem(requests)
        expected = [reference(payee, *request) for request in requests]
        assert [verdict(found) for found in outcomes] == [verdict(found) for found in expected]
    for connection in connections:
        status = connection.status(secret_book.book.book_id)
        record = payee.record
        assert status.state == record.state
        assert status.redeemed_units == record.redeemed_units
        assert status.secured_locks == record.secured_locks
        assert status.next_unit == record.next_unit
        connection.close()


async def test_callers_at_the_same_time_redeem_each_unit_once(path):
    secret_book = make_book(locks=10, chain_length=10, window=100)
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        credentials = [secret_book.credential(unit, 1) for unit in range(1, 101)] * 3
        outcomes = await asyncio.gather(
            *(ledger.redeem(credential) for credential in credentials), return_exceptions=True
        )
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert sorted(receipt.first_unit for receipt in receipts) == list(range(1, 101))
    assert sum(isinstance(outcome, AlreadyRedeemed) for outcome in outcomes) == 200


async def test_who_waits_while_a_flush_runs_goes_into_the_next(path, monkeypatch):
    batches = []
    redeem = LedgerDatabase.redeem
    monkeypatch.setattr(
        LedgerDatabase,
        "redeem",
        lambda self, requests: batches.append(len(requests)) or redeem(self, requests),
    )
    secret_book = make_book(locks=10, chain_length=10, window=100)
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        await asyncio.gather(
            *(ledger.redeem(secret_book.credential(unit, 1)) for unit in range(1, 101))
        )
    assert sum(batches) == 100
    assert len(batches) < 20


async def test_a_flush_checks_units_in_their_order_and_answers_each_caller_with_its_own(
    path, monkeypatch
):
    """In a chain's order the next unit costs one step, whatever order the callers came in."""
    batches = []
    redeem = LedgerDatabase.redeem
    monkeypatch.setattr(
        LedgerDatabase,
        "redeem",
        lambda self, requests: batches.append(requests) or redeem(self, requests),
    )
    secret_book = make_book(locks=10, chain_length=10, window=100)
    units = random.Random(1).sample(range(1, 101), 100)
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        receipts = await asyncio.gather(
            *(ledger.redeem(secret_book.credential(unit, 1)) for unit in units)
        )
    assert [receipt.first_unit for receipt in receipts] == units
    assert [request[0].first_unit for request in batches[0]] == list(range(1, 101))


async def test_a_receipt_is_durable(path):
    """What another connection reads is committed."""
    secret_book = make_book()
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        await ledger.redeem(secret_book.credential(1, 7))
        other = database(path)
        assert other.status(secret_book.book.book_id).redeemed_units == 7
        (refusal,) = other.redeem([(secret_book.credential(7, 1), ())])
        assert isinstance(refusal, AlreadyRedeemed)
        other.close()


async def test_every_refusal_reaches_its_caller_and_changes_nothing(path):
    secret_book = make_book()
    stranger = make_book(seed=bytes([1]) * 32)
    async with SQLiteLedger(path, max_count=6) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        await ledger.redeem(secret_book.credential(1, 1))
        before = await ledger.status(secret_book.book.book_id)
        one = secret_book.credential(2, 1)
        for credential, prices, expected in (
            (stranger.credential(1, 1), (), UnknownBook),
            (secret_book.credential(2, 7), (), TooMany),
            (one, (Price(1_001),), TooLittle),
            (one, (Price(1, bytes(32)),), WrongAsset),
            (secret_book.credential(1, 1), (), AlreadyRedeemed),
            (one._replace(elements=bytes(32)), (), WrongSecret),
        ):
            with pytest.raises(expected) as caught:
                await ledger.redeem(credential, prices=prices)
            assert caught.value.next_unit == (None if expected is UnknownBook else 2)
        assert await ledger.status(secret_book.book.book_id) == before
        assert (await ledger.redeem(one, prices=(Price(1_000),))).next_unit == 3


def test_threads_redeem_without_a_loop(path):
    secret_book = make_book()
    with SQLiteLedger(path) as ledger:
        asyncio.run(ledger.store_book(secret_book.book, open_until=FOREVER))
        assert ledger.redeem_blocking(secret_book.credential(1, 2)).next_unit == 3
        with pytest.raises(AlreadyRedeemed):
            ledger.redeem_blocking(secret_book.credential(1, 2))
        assert ledger.book_blocking(secret_book.book.book_id) == secret_book.book
        with pytest.raises(UnknownBook):
            ledger.book_blocking(bytes(16))


async def test_a_cancelled_caller_disturbs_nobody(path):
    secret_book = make_book()
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        first = asyncio.ensure_future(ledger.redeem(secret_book.credential(1, 1)))
        second = asyncio.ensure_future(ledger.redeem(secret_book.credential(2, 1)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).first_unit == 2
        assert first.cancelled()
        assert (await ledger.status(secret_book.book.book_id)).redeemed_units == 2


async def test_a_book_is_stored_once_and_read_back(path):
    secret_book = make_book()
    async with SQLiteLedger(path) as ledger:
        assert ledger.cached_book(secret_book.book.book_id) is None
        with pytest.raises(UnknownBook):
            await ledger.book(secret_book.book.book_id)
        await ledger.store_book(secret_book.book)
        assert await ledger.book(secret_book.book.book_id) == secret_book.book
        assert ledger.cached_book(secret_book.book.book_id) == secret_book.book
        with pytest.raises(BookExists):
            await ledger.store_book(secret_book.book)
        with pytest.raises(LeaseExpired):
            await ledger.redeem(secret_book.credential(1, 1))


async def test_a_closed_ledger_refuses(path):
    ledger = SQLiteLedger(path)
    await ledger.aclose()
    await ledger.aclose()
    for attempt in (ledger.redeem(make_book().credential(1, 1)), ledger.statuses()):
        with pytest.raises(LedgerUnavailable):
            await attempt


def test_the_file_is_its_owners_alone(path):
    SQLiteLedger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_something_else_is_not_touched(path):
    path.write_bytes(b"no database at all, and long enough to be looked at" * 10)
    with pytest.raises(LedgerUnavailable):
        SQLiteLedger(path)
    store = path.with_name("payer.sqlite")
    PayerStore(store).close()
    with pytest.raises(LedgerFormatError):
        SQLiteLedger(store)


async def test_a_locked_database_is_unavailable_and_then_serves_again(path, monkeypatch):
    monkeypatch.setattr("lightspeed.ledger.connection.BUSY_TIMEOUT_SECONDS", 0.05)
    secret_book = make_book()
    async with SQLiteLedger(path) as ledger:
        await ledger.store_book(secret_book.book, open_until=FOREVER)
        blocker = database(path)
        blocker._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable) as caught:
            await ledger.redeem(secret_book.credential(1, 1))
        assert not caught.value.outcome_unknown
        assert caught.value.http_status == 503
        blocker._connection.execute("ROLLBACK")
        blocker.close()
        assert (await ledger.redeem(secret_book.credential(1, 1))).count == 1


class LostCommit:
    """A connection whose next COMMIT fails, before or after it has taken effect."""

    def __init__(self, connection, *, takes_effect):
        self._connection = connection
        self._takes_effect = takes_effect
        self._armed = True

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *parameters):
        if statement == "COMMIT" and self._armed:
            self._armed = False
            if self._takes_effect:
                self._connection.execute("COMMIT")
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)


@pytest.mark.parametrize("takes_effect", [False, True])
def test_after_an_unknown_outcome_the_database_is_asked_again(path, takes_effect):
    secret_book = make_book()
    ledger = database(path)
    ledger.store_book(secret_book.book, FOREVER)
    ledger.redeem([(secret_book.credential(1, 1), ())])
    request = (secret_book.credential(2, 1), ())
    ledger._connection = LostCommit(ledger._connection, takes_effect=takes_effect)
    with pytest.raises(LedgerUnavailable) as caught:
        ledger.redeem([request])
    assert caught.value.outcome_unknown
    (outcome,) = ledger.redeem([request])
    if takes_effect:
        assert isinstance(outcome, AlreadyRedeemed)
    else:
        assert outcome.first_unit == 2
    assert ledger.status(secret_book.book.book_id).redeemed_units == 2
    ledger.close()

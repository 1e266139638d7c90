"""The payer's store: seeds and reservations survive, and a book has one user at a time."""

import stat

import pytest

from lightspeed.ledger import BookExists, BookInUse, LedgerUnavailable, PayerStore
from lightspeed.payment import BookStopped, Receipt, StopReason, UnknownBook
from payment_books import make_book

SECRET_BOOK = make_book(seed=bytes(range(32)), locks=10, chain_length=5, window=8)
BOOK_ID = SECRET_BOOK.book.book_id


@pytest.fixture
def path(tmp_path):
    return tmp_path / "payer.sqlite"


@pytest.fixture
def store(path):
    with PayerStore(path) as store:
        store.save(SECRET_BOOK)
        yield store


def test_a_book_comes_back_with_its_seed(store, path):
    other = make_book(seed=bytes([1]) * 32)
    store.save(other)
    with PayerStore(path) as reopened:
        assert reopened.load(BOOK_ID) == SECRET_BOOK
        assert reopened.book_ids() == (BOOK_ID, other.book.book_id)
    with pytest.raises(BookExists):
        store.save(SECRET_BOOK)


def test_a_crash_presents_again_what_was_reserved(store, path):
    allocator = store.take_over(SECRET_BOOK)
    first = allocator.allocate(2)
    allocator.allocate(1)
    allocator.served(first, Receipt(BOOK_ID, 1, 2, 3))
    store.close()
    with PayerStore(path) as after_crash:
        again = after_crash.take_over(SECRET_BOOK)
        assert (again.low, again.handed_out, again.reserved_end) == (1, 9, 9)
        assert again.allocate(1).first_unit == 1


def test_an_orderly_end_presents_nothing_again(store):
    allocator = store.take_over(SECRET_BOOK)
    allocator.served(allocator.allocate(2), Receipt(BOOK_ID, 1, 2, 3))
    allocator.give_back()
    again = store.take_over(SECRET_BOOK)
    assert (again.low, again.handed_out) == (3, 2)


def test_a_book_has_one_user_at_a_time(store, path):
    earlier = store.take_over(SECRET_BOOK)
    with PayerStore(path) as other:
        with pytest.raises(BookInUse):
            other.take_over(SECRET_BOOK)
        later = store.take_over(SECRET_BOOK)
        assert later.allocate(1).first_unit == 1
        with pytest.raises(BookInUse):
            earlier.allocate(1)
        assert earlier.handed_out == 0
        store.close()
        assert other.take_over(SECRET_BOOK).handed_out == 9


def test_a_stopped_book_stays_stopped(store):
    assert store.stopped(BOOK_ID) is None
    store.stop(BOOK_ID, StopReason.WRONG_SECRET)
    store.stop(BOOK_ID, StopReason.REQUESTED)
    assert store.stopped(BOOK_ID) is StopReason.WRONG_SECRET
    assert store.take_over(SECRET_BOOK).stopped is StopReason.WRONG_SECRET


def test_an_unknown_book_is_not_found(store):
    stranger = make_book(seed=bytes([2]) * 32)
    for attempt in (
        lambda: store.load(stranger.book.book_id),
        lambda: store.take_over(stranger),
        lambda: store.stopped(stranger.book.book_id),
    ):
        with pytest.raises(UnknownBook):
            attempt()


def test_the_file_is_its_owners_alone_and_errors_are_declared(path):
    store = PayerStore(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()
    with pytest.raises(LedgerUnavailable):
        store.book_ids()
    with pytest.raises(LedgerUnavailable):
        PayerStore(path.with_name("missing") / "payer.sqlite")


def test_a_stopped_book_hands_out_nothing_beyond_what_was_reserved(store, path):
    allocator = store.take_over(SECRET_BOOK)
    first = allocator.allocate(2)
    assert store.reservation(BOOK_ID) == (1, 9, None)
    with PayerStore(path) as node:
        node.stop(BOOK_ID, StopReason.REQUESTED)
    allocator.served(first, Receipt(BOOK_ID, 1, 2, 3))
    second = allocator.allocate(7)
    allocator.served(second, Receipt(BOOK_ID, 3, 7, 10))
    with pytest.raises(BookStopped, match="closed by its owner"):
        allocator.allocate(1)
    allocator.give_back()
    assert store.reservation(BOOK_ID) == (10, 9, StopReason.REQUESTED)


def test_a_book_that_is_not_there_has_no_reservation(store):
    with pytest.raises(UnknownBook):
        store.reservation(bytes(16))

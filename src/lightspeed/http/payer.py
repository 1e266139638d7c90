"""The payer's side of paid calls, for any HTTP client: it makes credentials and takes receipts.

call = payer.start("https://api.example", [parse_price("10 sat")])
... send the request with the header `Lightspeed-Payment: call.token` ...
call.end(status, receipts)      # or call.lost(), if no answer came
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Self

from lightspeed.http.budget import Budget, Spending
from lightspeed.http.errors import (
    BudgetExceeded,
    ChallengeError,
    InsecureOrigin,
    NoBook,
    PayeeMisbehaves,
)
from lightspeed.http.known_prices import KnownPrices
from lightspeed.http.origin import is_secure
from lightspeed.http.problems import ProblemReport, parse_problem
from lightspeed.http.tokens import asset_text
from lightspeed.ledger import PayerStore
from lightspeed.payment import (
    DEFAULT_MAX_COUNT,
    SATS,
    Allocation,
    Allocator,
    BookClosed,
    BookExhausted,
    BookStopped,
    NoPayment,
    Price,
    Receipt,
    ReceiptError,
    SecretBook,
    UnknownBook,
    WindowFull,
)

__all__ = ["Call", "Ended", "Payer"]

_PAYMENT_REQUIRED = 402
_SETS_ASIDE = frozenset((BookClosed.slug, UnknownBook.slug))


class Ended(NamedTuple):
    """How a call ended: `receipt` if it was paid, `refusal` if the payment was refused.

    Neither: it is not known whether its units were redeemed; they are presented again.
    """

    receipt: Receipt | None = None
    refusal: ProblemReport | None = None


class _Purse:
    """A book in use."""

    def __init__(self, secret_book: SecretBook, allocator: Allocator) -> None:
        self.secret_book = secret_book
        self.allocator = allocator
        self.set_aside = False  # exhausted or refused: other books come first
        self.counted_unit = allocator.low - 1  # up to here a budget has counted it, or another run
        self.stop_stored = allocator.stopped is not None


class Call:
    """One credential in flight. End it exactly once, with `end` or `lost`."""

    __slots__ = ("_allocation", "_payer", "_purse", "amount", "asset", "token")

    def __init__(self, payer: "Payer", purse: _Purse, allocation: Allocation) -> None:
        terms = purse.secret_book.book.terms
        self._payer = payer
        self._purse = purse
        self._allocation = allocation
        self.asset = terms.asset
        self.amount = allocation.count * terms.unit_value
        credential = purse.secret_book.credential(allocation.first_unit, allocation.count)
        self.token = credential.to_token()

    @property
    def book_id(self) -> bytes:
        """The book that pays."""
        return self._purse.secret_book.book.book_id

    @property
    def units(self) -> int:
        """How many units it presents."""
        return self._allocation.count

    def end(self, status: int, receipts: Iterable[str] = (), body: bytes = b"") -> Ended:
        """The answer came: its status, its `Lightspeed-Receipt` fields and, for a 402, its body.

        Raises PayeeMisbehaves for a refusal after which the book is not used any more.
        """
        return self._payer.end_call(self._purse, self._allocation, status, receipts, body)

    def lost(self) -> None:
        """No answer came."""
        self._payer.end_call(self._purse, self._allocation, 0, (), b"")


class Payer:
    """Pays from the books of a store, each at the origins that it is bound to.

    Any number of threads and tasks may share it: make one for a store. A book belongs to the
    process that pays from it first, until it ends or closes the store; in another one `start`
    raises BookInUse. Once per window of units a call waits for the disk. `book_id` limits the
    payer to one book. `budgets`: at most one for each origin and asset, and per asset one for all
    others; nothing is paid in an asset without one.
    """

    def __init__(
        self,
        store: PayerStore | str | Path,
        *,
        book_id: bytes | None = None,
        budgets: Iterable[Budget] = (Budget(),),
        max_count: int = DEFAULT_MAX_COUNT,
        max_unserved: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owns_store = not isinstance(store, PayerStore)
        self._store = store if isinstance(store, PayerStore) else PayerStore(store)
        self._only_book = book_id
        self._budgets = {(budget.origin, budget.asset): budget for budget in budgets}
        self._max_count = max_count
        self._max_unserved = max_unserved
        self._clock = clock
        self._lock = threading.RLock()
        self.known_prices = KnownPrices(clock)
        self._books: dict[bytes, SecretBook] = {}
        self._purses: dict[bytes, _Purse] = {}
        self._spending: dict[tuple[str, bytes], Spending] = {}
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Store what was handed out, so that little is presented again next time."""
        with self._lock:
            for purse in self._purses.values():
                purse.allocator.give_back()
            self._purses.clear()
            if self._owns_store:
                self._store.close()

    def spent(self, origin: str, asset: bytes = SATS) -> int:
        """What was handed out at an origin since this payer was made; msat or token units."""
        with self._lock:
            spending = self._spending.get((origin, asset))
            return 0 if spending is None else spending.total

    def start(self, origin: str, prices: Sequence[Price]) -> Call:
        """Units for one call at an origin that costs one of `prices`, ready to be sent.

        Raises WindowFull (end a call first), NoBook, InsecureOrigin, BudgetExceeded,
        BookExhausted, BookStopped, BookInUse; then nothing was handed out.
        """
        if not is_secure(origin):
            raise InsecureOrigin(origin)
        with self._lock:
            refusal: BookExhausted | BudgetExceeded | None = None
            for secret_book, price in self._books_for(origin, prices):
                purse = self._take_over(secret_book)
                try:
                    return self._start_from(purse, origin, price)
                except BookExhausted as error:
                    purse.set_aside = True
                    refusal = error
                except BudgetExceeded as error:
                    refusal = error  # that of another asset may allow it
                except BookStopped:
                    continue
            if refusal is not None:
                raise refusal
            raise self._why_no_book(origin)

    def start_or_wait(self, origin: str, prices: Sequence[Price]) -> "Call | Future[None]":
        """`start`, or what to wait for before the next try."""
        with self._lock:
            future: Future[None] | None = None
            try:
                return self.start(origin, prices)
            except WindowFull:
                if not any(purse.allocator.outstanding_units for purse in self._purses.values()):
                    raise
                future = Future()
                self._waiting.append(future)
                return future
            finally:
                if future is None:  # started or refused: what is left is for the next one
                    self.wake_next()

    def wake_next(self) -> None:
        """Let the next one that waits try again."""
        with self._lock:
            while self._waiting:
                future = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    future.set_result(None)
                    return

    def has_other_book(self, origin: str, prices: Sequence[Price]) -> bool:
        """Whether there is a book for this call that the payee has not refused."""
        with self._lock:
            return any(not self._is_set_aside(book) for book, _ in self._books_for(origin, prices))

    def end_call(
        self,
        purse: _Purse,
        allocation: Allocation,
        status: int,
        receipts: Iterable[str],
        body: bytes,
    ) -> Ended:
        """See `Call.end`."""
        book_id = purse.secret_book.book.book_id
        receipt = _receipt_of(book_id, receipts)
        refusal = _refusal_of(body) if status == _PAYMENT_REQUIRED else None
        allocator = purse.allocator
        with self._lock:
            if receipt is not None and receipt.count:
                purse.set_aside = False
                refusal = None
                allocator.served(allocation, receipt)
                if receipt[1:3] != (allocation.first_unit, allocation.count):
                    receipt = None
            elif refusal is None or refusal.slug == NoPayment.slug:
                receipt = refusal = None
                allocator.lost(allocation)
            else:
                allocator.refused(
                    allocation, refusal.slug, receipt=receipt, redeemed_unit=refusal.unit
                )
                receipt = None
                purse.set_aside = purse.set_aside or refusal.slug in _SETS_ASIDE
            if allocator.stopped is not None and not purse.stop_stored:
                self._store.stop(book_id, allocator.stopped)
                purse.stop_stored = True
            self.wake_next()
        if refusal is not None and allocator.stopped is not None:
            raise PayeeMisbehaves(book_id, allocator.stopped.value)
        return Ended(receipt, refusal)

    def _start_from(self, purse: _Purse, origin: str, price: Price) -> Call:
        terms = purse.secret_book.book.terms
        count = max(1, price.units(terms))
        now = self._clock()
        amount = count * terms.unit_value
        spending = self._spending_at(origin, terms.asset, amount)
        spending.check(amount, now)
        if count > self._max_count:
            raise BudgetExceeded(origin, "units per call", amount=count, allowed=self._max_count)
        allocation = purse.allocator.allocate(count)
        new_units = max(0, allocation.last_unit - purse.counted_unit)
        purse.counted_unit += new_units
        spending.add(new_units * terms.unit_value, now)
        return Call(self, purse, allocation)

    def _books_for(
        self, origin: str, prices: Sequence[Price]
    ) -> Sequence[tuple[SecretBook, Price]]:
        """Books in use that can pay one of `prices` at an origin, those set aside last.

        Looks into the store for new books when all known ones are set aside.
        """
        found = self._known_books_for(origin, prices)
        if not found or self._is_set_aside(found[0][0]):
            self._read_store()
            found = self._known_books_for(origin, prices)
        return found

    def _known_books_for(
        self, origin: str, prices: Sequence[Price]
    ) -> Sequence[tuple[SecretBook, Price]]:
        found = [
            (secret_book, price)
            for secret_book in self._books.values()
            if origin in secret_book.book.terms.origins and not self._is_stopped(secret_book)
            for price in prices
            if price.asset == secret_book.book.terms.asset
        ]
        if len(found) > 1:
            found.sort(key=lambda pair: self._is_set_aside(pair[0]))
        return found

    def _read_store(self) -> None:
        for book_id in self._store.book_ids():
            if book_id not in self._books and self._only_book in (None, book_id):
                self._books[book_id] = self._store.load(book_id)

    def _is_set_aside(self, secret_book: SecretBook) -> bool:
        purse = self._purses.get(secret_book.book.book_id)
        return purse is not None and purse.set_aside

    def _is_stopped(self, secret_book: SecretBook) -> bool:
        purse = self._purses.get(secret_book.book.book_id)
        return purse is not None and purse.allocator.stopped is not None

    def _take_over(self, secret_book: SecretBook) -> _Purse:
        book_id = secret_book.book.book_id
        purse = self._purses.get(book_id)
        if purse is None:
            allocator = self._store.take_over(
                secret_book, max_unserved=self._max_unserved, max_count=self._max_count
            )
            purse = self._purses[book_id] = _Purse(secret_book, allocator)
        return purse

    def _spending_at(self, origin: str, asset: bytes, amount: int) -> Spending:
        spending = self._spending.get((origin, asset))
        if spending is None:
            budget = self._budgets.get((origin, asset)) or self._budgets.get((None, asset))
            if budget is None:
                limit = f"in {asset_text(asset)}, which no budget names"
                raise BudgetExceeded(origin, limit, amount=amount, allowed=0)
            spending = self._spending[(origin, asset)] = Spending(origin, budget)
        return spending

    def _why_no_book(self, origin: str) -> NoBook | BookStopped:
        bound = [book for book in self._books.values() if origin in book.book.terms.origins]
        for secret_book in bound:
            purse = self._purses.get(secret_book.book.book_id)
            if purse is not None and purse.allocator.stopped is not None:
                return BookStopped(purse.allocator.stopped.value)
        return NoBook(origin, "no book in an asset of the price") if bound else NoBook(origin)


def _receipt_of(book_id: bytes, fields: Iterable[str]) -> Receipt | None:
    """The receipt for this book; after a redirect there may be more than one, from others."""
    found = None
    for field in fields:
        try:
            receipt = Receipt.from_header(field)
        except ReceiptError:
            continue
        if receipt.book_id == book_id and (found is None or not found.count):
            found = receipt
    return found


def _refusal_of(body: bytes) -> ProblemReport | None:
    try:
        return parse_problem(body)
    except ChallengeError:
        return None

"""The embedded ledger: SQLite behind one thread that commits in groups.

Whoever asks while one flush runs goes into the next. Several processes may open the same file,
each after its fork.
"""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar

from lightspeed.ledger.database import LedgerDatabase, Outcome, Request
from lightspeed.ledger.errors import LedgerUnavailable
from lightspeed.ledger.interface import BookStatus, FinalState
from lightspeed.payment import (
    DEFAULT_MAX_COUNT,
    Book,
    Credential,
    LockElement,
    Price,
    Receipt,
    SealOf,
)

__all__ = ["SQLiteLedger"]

T = TypeVar("T")

MAX_BATCH = 4_096  # about; bounds how long one flush holds the database's lock


_Future = asyncio.Future[Receipt] | Future[Receipt]
_Redeem = tuple[Request, _Future]
_Loop = asyncio.AbstractEventLoop
_Group = tuple[_Loop | None, list[_Redeem]]
"""Waiting redeems: with asyncio futures of one loop, or with a thread's future and no loop."""

_Call = Callable[[], None]
"""Anything else that wants the connection."""

_Answer = tuple[_Future, Receipt | Exception]


class SQLiteLedger:
    """`Ledger` in one SQLite file (WAL, synchronous FULL, 0600), with a blocking twin for threads.

    The clock is the machine's, which is the database's; tests hand in another. A credential may
    hold at most `max_count` units. Without `seal_of` nothing is redeemed from books of scheme
    seals (SealCheckMissing).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_count: int = DEFAULT_MAX_COUNT,
        seal_of: SealOf | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = LedgerDatabase(
            Path(path), clock=clock, max_count=max_count, seal_of=seal_of
        )
        self._queue: SimpleQueue[_Group | _Call | None] = SimpleQueue()
        self._gathered: dict[_Loop, list[_Redeem]] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()

    async def redeem(self, credential: Credential, *, prices: Iterable[Price] = ()) -> Receipt:
        """See `Ledger.redeem`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        gathered = self._gathered.get(loop)
        if gathered is None:
            # The thread is woken once for all that this turn of the loop asks for.
            gathered = self._gathered[loop] = []
            loop.call_soon(self._hand_over, loop)
        gathered.append(((credential, tuple(prices)), future))
        return await future

    def redeem_blocking(self, credential: Credential, *, prices: Iterable[Price] = ()) -> Receipt:
        """`redeem` for threads: any number of them share a flush."""
        future: Future[Receipt] = Future()
        self._put((None, [((credential, tuple(prices)), future)]))
        return future.result()

    def cached_book(self, book_id: bytes) -> Book | None:
        """The public part if it is in memory; asks nobody."""
        return self._database.cached_book(book_id)

    async def book(self, book_id: bytes) -> Book:
        """See `Ledger.book`."""
        cached = self.cached_book(book_id)
        return cached if cached is not None else await self._run(self._reading(book_id))

    def book_blocking(self, book_id: bytes) -> Book:
        """`book` for threads."""
        cached = self.cached_book(book_id)
        return cached if cached is not None else self._start(self._reading(book_id)).result()

    async def store_book(self, book: Book, *, open_until: float = 0.0) -> None:
        """See `Ledger.store_book`."""
        await self._run(lambda: self._database.store_book(book, open_until))

    async def extend_lease(
        self,
        book_id: bytes,
        *,
        open_until: float,
        generation: bytes,
        redeemed_at_least: int = 0,
    ) -> BookStatus:
        """See `Ledger.extend_lease`."""
        return await self._run(
            lambda: self._database.extend_lease(
                book_id,
                open_until=open_until,
                generation=generation,
                redeemed_at_least=redeemed_at_least,
            )
        )

    async def fence(self, book_id: bytes) -> FinalState:
        """See `Ledger.fence`."""
        return await self._run(lambda: self._database.fence(book_id))

    async def close_book(self, book_id: bytes) -> None:
        """See `Ledger.close_book`."""
        await self._run(lambda: self._database.close_book(book_id))

    async def prune(self, book_id: bytes, *, settled_locks: int = 0) -> int:
        """See `Ledger.prune`."""
        return await self._run(lambda: self._database.prune(book_id, settled_locks))

    async def status(self, book_id: bytes) -> BookStatus:
        """See `Ledger.status`."""
        return await self._run(lambda: self._database.status(book_id))

    async def statuses(self) -> tuple[BookStatus, ...]:
        """See `Ledger.statuses`."""
        return await self._run(self._database.statuses)

    async def completed_secrets(
        self, book_id: bytes, *, after_lock: int = 0
    ) -> tuple[LockElement, ...]:
        """See `Ledger.completed_secrets`."""
        return await self._run(lambda: self._database.completed_secrets(book_id, after_lock))

    async def generation(self) -> bytes:
        """See `Ledger.generation`."""
        return await self._run(self._database.generation)

    async def declare_restored(self) -> None:
        """See `Ledger.declare_restored`."""
        await self._run(lambda: self._database.declare_restored(secrets.token_bytes(16)))

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        self._hand_over(asyncio.get_running_loop())
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what was begun, then let go of the file."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _put(self, item: _Group | _Call) -> None:
        with self._closing:
            if self._closed:
                raise LedgerUnavailable("the ledger was closed")
            self._queue.put(item)

    def _hand_over(self, loop: _Loop) -> None:
        gathered = self._gathered.pop(loop, [])
        try:
            self._put((loop, gathered))
        except LedgerUnavailable as error:
            _answer([(future, error) for _, future in gathered])

    def _start(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._put(run)
        return future

    def _reading(self, book_id: bytes) -> Callable[[], Book]:
        return lambda: self._database.book(book_id)

    async def _run(self, work: Callable[[], T]) -> T:
        # Shielded: a write that was begun is not undone by cancelling the one who waits.
        return await asyncio.shield(asyncio.wrap_future(self._start(work)))

    def _serve(self) -> None:
        """The thread: take all that waits, redeem it in one flush, answer, again."""
        queue = self._queue
        ended = False
        while not ended:
            groups: list[_Group] = []
            waiting = 0
            calls: list[_Call] = []
            while not ended:
                item = queue.get()
                if item is None:
                    ended = True
                elif isinstance(item, tuple):
                    groups.append(item)
                    waiting += len(item[1])
                else:
                    calls.append(item)
                if queue.empty() or waiting >= MAX_BATCH:
                    break
            if waiting:
                self._flush(groups)
            for call in calls:
                call()
        self._database.close()

    def _flush(self, groups: Sequence[_Group]) -> None:
        waiting = [(loop, *redeem) for loop, redeems in groups for redeem in redeems]
        # They came at the same time. In the order of a chain each unit is one step from the last.
        waiting.sort(key=_first_unit)
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = self._database.redeem([request for _, request, _ in waiting])
        except Exception as error:
            outcomes = [error] * len(waiting)
        by_loop: dict[_Loop | None, list[_Answer]] = {}
        for (loop, _, future), outcome in zip(waiting, outcomes, strict=True):
            by_loop.setdefault(loop, []).append((future, outcome))
        for loop, answers in by_loop.items():
            if loop is None:
                _answer(answers)
                continue
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_answer, answers)


def _first_unit(waiting: tuple[_Loop | None, Request, _Future]) -> int:
    return waiting[1][0].first_unit


def _answer(answers: Iterable[_Answer]) -> None:
    for future, outcome in answers:
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

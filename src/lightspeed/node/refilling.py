"""The payer's books opened again before they are used up, within a budget for each day."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from lightspeed.chain import ChainUnavailable
from lightspeed.channel import ChannelRefusal, Link, Phase
from lightspeed.ledger import LedgerUnavailable, PayerStore
from lightspeed.lsf import Party, usable_books
from lightspeed.node.alarms import Alarms
from lightspeed.node.books import BookRequest, PayerBooks, agreed_books
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal, OpeningRefused
from lightspeed.node.records import Document
from lightspeed.node.store import NodeStore
from lightspeed.payment import SATS, Book, BookTerms, StopReason, UnknownBook
from lightspeed.units import Sat

__all__ = ["RefillPolicy", "Refilling"]

_log = logging.getLogger(__name__)

REFILL_TABLE = "refill"
"""What the budget counts. Key: when it was opened, in microseconds (8 bytes, big endian), and the
channel id."""

_DAY_SECONDS = 86_400.0
_RETRY_SECONDS = 600.0
"""After a refusal, of the payee or of our own channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillPolicy:
    """Off unless `below_units` and the budget of the book's asset are above 0."""

    below_units: int = 0
    """A book with fewer units that were never presented gets a successor."""
    budget_sat_per_day: Sat = Sat(0)
    """What all books opened so may hold together; what comes back when they close counts too."""
    budget_tokens_per_day: int = 0
    """The same of each contract."""

    def budget(self, asset: bytes) -> int:
        return self.budget_sat_per_day if asset == SATS else self.budget_tokens_per_day


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refill(Document):
    at: float
    sat: int
    tokens: int = 0
    contract: str = ""
    """Of the tokens."""

    @classmethod
    def of(cls, terms: BookTerms, *, at: float) -> Self:
        amount = terms.locks * terms.lock_amount
        if terms.asset == SATS:
            return cls(at=at, sat=amount)
        return cls(at=at, sat=0, tokens=amount, contract=terms.asset.hex())


class Refilling:
    """For all channels whose payer we are; one book at a time in each."""

    def __init__(
        self,
        *,
        books: PayerBooks,
        payer_store: PayerStore,
        store: NodeStore,
        policy: RefillPolicy,
        alarms: Alarms,
        clock: Callable[[], float],
    ) -> None:
        self._books = books
        self._payer_store = payer_store
        self._store = store
        self._policy = policy
        self._alarms = alarms
        self._clock = clock
        self._opening: dict[bytes, asyncio.Task[None]] = {}
        self._not_before: dict[bytes, float] = {}
        """By channel id."""

    async def tend(self, driver: ChannelDriver) -> None:
        """Begins to open a book, if one is needed, and does not wait for it."""
        channel_id, state = driver.channel.channel_id, driver.channel.state
        if (
            not self._policy.below_units
            or not (self._policy.budget_sat_per_day or self._policy.budget_tokens_per_day)
            or driver.record.party is not Party.PAYER
            or state.phase is not Phase.NORMAL
            or state.session.link is not Link.UP
            or channel_id in self._opening
            or self._clock() < self._not_before.get(channel_id, 0.0)
        ):
            return
        terms = self._needed(driver)
        if terms is None:
            self._alarms.report(_alarm(channel_id), None)
            return
        amount = terms.locks * terms.lock_amount
        if self._spent(terms.asset) + amount > self._policy.budget(terms.asset):
            unit = "sat" if terms.asset == SATS else "tokens"
            self._alarms.report(
                _alarm(channel_id),
                f"{_alarm(channel_id)}: a book of {amount} {unit} does not fit the budget of the "
                "day",
            )
            return
        task = asyncio.create_task(self._open(driver, terms, self._count(driver, terms)))
        self._opening[channel_id] = task
        task.add_done_callback(lambda _: self._opening.pop(channel_id, None))

    async def close(self) -> None:
        """Nothing more is opened."""
        for task in (tasks := tuple(self._opening.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what is needed -------------------------------------------------------------------
    def _needed(self, driver: ChannelDriver) -> BookTerms | None:
        """The terms of which too few units are left.

        Only where the newest book of these terms was used down: not where it was stopped, or
        where its payee closed it early.
        """
        newest = {_kind(book): book for book in agreed_books(driver.channel)}
        usable = usable_books(driver.channel)
        for kind, last in newest.items():
            left = sum(self._left(book) for book in usable if _kind(book) == kind)
            wanted = self._policy.budget(last.terms.asset) > 0
            if wanted and left < self._policy.below_units and self._is_used_down(last):
                return last.terms
        return None

    def _left(self, book: Book) -> int:
        """Units that were never presented."""
        try:
            reservation = self._payer_store.reservation(book.book_id)
        except (UnknownBook, LedgerUnavailable):
            return 0
        return 0 if reservation.stopped else book.terms.units - reservation.reserved_end

    def _is_used_down(self, book: Book) -> bool:
        try:
            _, reserved_end, stopped = self._payer_store.reservation(book.book_id)
        except (UnknownBook, LedgerUnavailable):
            return False
        few = min(self._policy.below_units, book.terms.units)
        left = book.terms.units - reserved_end
        return left < few and stopped in (None, StopReason.REQUESTED)

    # --- opening --------------------------------------------------------------------------
    def _count(self, driver: ChannelDriver, terms: BookTerms) -> bytes:
        """Under this key, and at once: another channel may be next, or a crash."""
        now = self._clock()
        key = int(now * 1_000_000).to_bytes(8, "big") + driver.channel.channel_id
        self._store.put(REFILL_TABLE, key, _Refill.of(terms, at=now).dump())
        return key

    async def _open(self, driver: ChannelDriver, terms: BookTerms, counted: bytes) -> None:
        channel_id = driver.channel.channel_id
        try:
            book = await self._books.open(driver, BookRequest.like(terms))
        except ChainUnavailable as error:
            self._store.put(REFILL_TABLE, counted, None)  # nothing was proposed
            self._alarms.report(_alarm(channel_id), f"{_alarm(channel_id)}: {error}")
        except (ChannelRefusal, NodeRefusal, OpeningRefused, LedgerUnavailable) as error:
            self._not_before[channel_id] = self._clock() + _RETRY_SECONDS
            self._alarms.report(_alarm(channel_id), f"{_alarm(channel_id)}: {error}")
        else:
            self._alarms.report(_alarm(channel_id), None)
            _log.info("book refilled", extra={"book": book.book_id.hex()})

    def _spent(self, asset: bytes) -> int:
        """In the last 24 hours; older records are forgotten."""
        since, spent = self._clock() - _DAY_SECONDS, 0
        for key, data in self._store.scan(REFILL_TABLE):
            refill = _Refill.load(data)
            if refill.at > since:
                if asset == SATS:
                    spent += refill.sat
                elif refill.contract == asset.hex():
                    spent += refill.tokens
            else:
                self._store.put(REFILL_TABLE, key, None)
        return spent


def _kind(book: Book) -> tuple[object, ...]:
    """What books have in common that replace each other."""
    terms = book.terms
    size = (terms.locks, terms.chain_length, terms.lock_amount)
    return (terms.scheme, terms.asset, terms.origins, *size)


def _alarm(channel_id: bytes) -> str:
    return f"refill of channel {channel_id.hex()}"

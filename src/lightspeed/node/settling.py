"""The payee's books settled and closed: on a policy, on demand, and before the channel ends.

Nothing is remembered of what was begun: what the channel, the ledger and our store say is looked
at again and again, so that a lost connection, a restart or a ledger that was away needs no code
of its own. At most one update of a book is under way (`lsf.next_settle`).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lightspeed.channel import Channel, ChannelRefusal, Effect, Link, Phase
from lightspeed.ledger import LedgerUnavailable
from lightspeed.lsf import (
    BookClosed,
    BookSettled,
    LsfClose,
    LsfSettle,
    Party,
    close_requests,
    next_close,
    next_settle,
    settled_locks,
)
from lightspeed.lsf.books import idle_book
from lightspeed.node.alarms import Alarms
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal
from lightspeed.node.leases import PayeeBooks
from lightspeed.payment import SATS, Book, UnknownBook, completed_run
from lightspeed.units import Sat

__all__ = ["SettlePolicy", "Settling"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlePolicy:
    """When completed locks move into our balance by themselves; 0: not for this reason."""

    at_sat: Sat = Sat(0)
    """They are worth so much."""
    at_tokens: int = 0
    """The same of a book in tokens."""
    after_seconds: float = 0.0
    """The first of them waits so long."""


class Settling:
    """For all books of channels whose payee we are."""

    def __init__(
        self,
        *,
        books: PayeeBooks,
        policy: SettlePolicy,
        alarms: Alarms,
        clock: Callable[[], float],
    ) -> None:
        self._books = books
        self._policy = policy
        self._alarms = alarms
        self._clock = clock
        self._waiting_since: dict[bytes, float] = {}
        """Book id -> when the first lock was seen that could be settled."""

    # --- wishes ---------------------------------------------------------------------------
    async def settle(self, driver: ChannelDriver, book: Book) -> None:
        """Every completed lock, as far as one message holds them.

        Raises `NodeRefusal`, `ChannelRefusal`, `LedgerUnavailable`.
        """
        if driver.channel.state.session.link is not Link.UP:
            raise NodeRefusal("the peer is not connected")
        if not await self._settle(driver, book):
            raise NodeRefusal("there is nothing to settle, or an update of the book is under way")

    async def close(self, driver: ChannelDriver, book: Book) -> None:
        """Fence it now; it is closed as soon as ledger and peer let us, over restarts too."""
        if driver.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
            raise NodeRefusal(f"the channel is {driver.phase.value}")
        self._books.begin_closing(book)
        await self.tend(driver)

    # --- what has to be done --------------------------------------------------------------
    async def tend(self, driver: ChannelDriver) -> None:
        """Everything that the books of this channel ask for now."""
        if driver.record.party is not Party.PAYEE:
            return
        await self._books.finish_closed(driver)
        if driver.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
            return
        for book in self._books.books(driver):
            alarm = _alarm(book.book_id)
            try:
                problem = await self._tend(driver, book)
            except (LedgerUnavailable, ChannelRefusal) as error:
                problem = f"is not settled: {error}"
            self._alarms.report(alarm, problem and f"{alarm} {problem}")

    async def _tend(self, driver: ChannelDriver, book: Book) -> str | None:
        """What is wrong, if anything is."""
        connected = driver.channel.state.session.link is Link.UP
        if self._has_to_close(driver, book):
            if not await self._books.fence_book(book):
                return "is not fenced: the ledger does not answer"
            if connected and idle_book(driver.channel, book.book_id):
                await self._close(driver, book)
        elif self._books.is_fenced(book):
            # By a ledger that lost what was redeemed: only its operator knows what is left of it.
            return "is fenced and has to be closed"
        elif connected and self._is_due(driver.channel, book):
            await self._settle(driver, book)
        return None

    def _has_to_close(self, driver: ChannelDriver, book: Book) -> bool:
        return (
            driver.phase is Phase.SHUTTING_DOWN
            or book.book_id in close_requests(driver.channel)
            or self._books.is_closing(book)
            or self._books.redeemed_units(book) >= book.terms.units
        )

    def _is_due(self, channel: Channel, book: Book) -> bool:
        """By the policy, from what was copied at the last lease."""
        terms, settled = book.terms, settled_locks(channel)[book.book_id]
        run = completed_run(terms, self._books.completed(book), settled_locks=settled)
        ready = min(run, terms.locks - 1) - settled  # the last lock ends with a close
        if ready <= 0 or idle_book(channel, book.book_id) is None:
            self._waiting_since.pop(book.book_id, None)
            return False
        now = self._clock()
        waiting = now - self._waiting_since.setdefault(book.book_id, now)
        policy = self._policy
        worth = policy.at_sat if terms.asset == SATS else policy.at_tokens
        return (0 < worth <= ready * terms.lock_amount) or (0 < policy.after_seconds <= waiting)

    async def _settle(self, driver: ChannelDriver, book: Book) -> bool:
        try:
            await self._books.copy(book)
        except UnknownBook:
            return False
        secrets = dict(self._books.completed(book))
        return await _say(driver, lambda channel: next_settle(channel, book.book_id, secrets))

    async def _close(self, driver: ChannelDriver, book: Book) -> None:
        elements = await self._books.final_elements(book)
        await _say(driver, lambda channel: next_close(channel, book.book_id, elements))

    # --- what the channel tells -----------------------------------------------------------
    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        match event:
            case BookSettled():
                _log.info("book settled", extra={"book": event.book_id.hex(), "locks": event.locks})
                await self._books.prune(event.book_id, settled_locks=event.locks)
            case BookClosed():
                self._waiting_since.pop(event.book_id, None)
                self._alarms.report(_alarm(event.book_id), None)
                await self._books.finish_closed(driver)
            case _:
                pass


def _alarm(book_id: bytes) -> str:
    return f"book {book_id.hex()}"


async def _say(
    driver: ChannelDriver, update_of: Callable[[Channel], LsfSettle | LsfClose | None]
) -> bool:
    """Whether there was an update to say. Raises `ChannelRefusal`."""
    said = False

    def turn(channel: Channel) -> Iterable[Effect]:
        nonlocal said
        update = update_of(channel)
        if update is None:
            return ()
        said = True
        return (*channel.propose(update), *channel.commit())

    await driver.act(turn)
    return said

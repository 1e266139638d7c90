"""The payer's books: seeds stored first, then proposed, opened and waited for."""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate
from lightspeed.chain import Chain
from lightspeed.channel import Channel, ChannelRefusal, Effect
from lightspeed.ledger import PayerStore
from lightspeed.lsf import (
    BookAccepted,
    BookRefused,
    BookRejected,
    BookUsable,
    LightspeedFunding,
    LsfOpen,
    Party,
    Settlement,
    accepted_books,
    default_refund_delay_blocks,
)
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal, OpeningRefused
from lightspeed.payment import (
    SEED_SIZE,
    Book,
    BookTerms,
    Scheme,
    SecretBook,
    StopReason,
    TermsError,
    default_window,
)

__all__ = ["BookRequest", "PayerBooks"]

_log = logging.getLogger(__name__)

_CHILD_TARGET_BLOCKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRequest:
    """What a payer asks for; None takes the default."""

    locks: int
    chain_length: int
    lock_amount_sat: int
    origins: tuple[str, ...]
    scheme: Scheme = Scheme.OUTPUTS
    window: int | None = None
    refund_delay_blocks: int | None = None
    child_feerate_per_kw: int | None = None


class PayerBooks:
    """Opens books in channels whose payer we are."""

    def __init__(self, *, payer_store: PayerStore, chain: Chain) -> None:
        self._payer_store = payer_store
        self._chain = chain
        self._waiting: dict[bytes, asyncio.Future[Book]] = {}

    async def open(
        self, driver: ChannelDriver, request: BookRequest, *, timeout_seconds: float = 60.0
    ) -> Book:
        """Returns once the book can be paid from. The seed is stored before it is proposed.

        Raises `NodeRefusal`, `ChannelRefusal`, and `OpeningRefused` when the payee rejects the
        book or takes too long; in the latter case it may still become usable.
        """
        if driver.record.party is not Party.PAYER:
            raise NodeRefusal("this node is not the payer of a Lightspeed channel here")
        terms = await self._terms(driver.channel, request)
        secret_book = await asyncio.to_thread(
            SecretBook.create,
            channel_id=driver.channel.channel_id,
            terms=terms,
            seed=secrets.token_bytes(SEED_SIZE),
        )
        book = secret_book.book
        self._payer_store.save(secret_book)
        future: asyncio.Future[Book] = asyncio.get_running_loop().create_future()
        self._waiting[book.book_id] = future
        try:
            try:
                await driver.act(lambda channel: _propose(channel, book))
            except ChannelRefusal:
                self._payer_store.stop(book.book_id, StopReason.REQUESTED)
                raise
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            raise OpeningRefused("the payee does not answer") from None
        finally:
            del self._waiting[book.book_id]

    async def _terms(self, channel: Channel, request: BookRequest) -> BookTerms:
        delay = channel.state.config.holder.to_self_delay_blocks
        if request.child_feerate_per_kw is not None:
            feerate = FeeRate(request.child_feerate_per_kw)
        else:
            feerate = max(FEE_RATE_FLOOR, await self._chain.fee_rate(_CHILD_TARGET_BLOCKS))
        try:
            settlement = Settlement(
                refund_delay_blocks=request.refund_delay_blocks
                or default_refund_delay_blocks(delay),
                child_feerate=feerate,
            )
            return BookTerms(
                scheme=request.scheme,
                locks=request.locks,
                chain_length=request.chain_length,
                lock_amount=request.lock_amount_sat,
                window=request.window or default_window(request.chain_length),
                origins=request.origins,
                settlement=settlement.to_bytes(),
            )
        except (TermsError, BookRefused) as error:
            raise NodeRefusal(str(error)) from None

    # --- what the channel tells -----------------------------------------------------------
    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        match event:
            case BookAccepted():
                await self._say_open(driver, event.book)
            case BookRejected():
                self._payer_store.stop(event.book_id, StopReason.REQUESTED)
                refusal = OpeningRefused(f"the payee rejects the book: {event.text}")
                self._settle(event.book_id, refusal)
            case BookUsable():
                self._settle(event.book.book_id, event.book)
            case _:
                pass

    async def resume(self, driver: ChannelDriver) -> None:
        """After a reconnection: books that were accepted and not opened."""
        for book in accepted_books(driver.channel):
            await self._say_open(driver, book)

    async def _say_open(self, driver: ChannelDriver, book: Book) -> None:
        def turn(channel: Channel) -> Iterable[Effect]:
            if book not in accepted_books(channel):
                return ()
            update = LsfOpen(channel_id=channel.channel_id, book_id=book.book_id)
            return (*channel.propose(update), *channel.commit())

        try:
            await driver.act(turn)
        except ChannelRefusal as refusal:
            _log.warning(
                "an accepted book was not opened",
                extra={"book": book.book_id.hex(), "reason": str(refusal)},
            )
            self._settle(book.book_id, refusal)

    def _settle(self, book_id: bytes, outcome: Book | Exception) -> None:
        future = self._waiting.get(book_id)
        if future is None or future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _propose(channel: Channel, book: Book) -> Iterable[Effect]:
    lightspeed = channel.extensions[LightspeedFunding.name]
    assert isinstance(lightspeed, LightspeedFunding)
    return channel.extend(LightspeedFunding.name, lightspeed.propose_book(book))

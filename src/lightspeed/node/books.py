"""The payer's books: seeds stored first, then proposed and opened; closed once nobody pays."""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate
from lightspeed.chain import Chain
from lightspeed.channel import Channel, ChannelRefusal, Effect, Phase
from lightspeed.colour import colour_parameters
from lightspeed.ledger import LedgerUnavailable, PayerStore
from lightspeed.lsf import (
    BookAccepted,
    BookClosed,
    BookRefused,
    BookRejected,
    BookUsable,
    LightspeedFunding,
    LsfOpen,
    LsfState,
    Party,
    Settlement,
    accepted_books,
    close_requests,
    closed_books,
    default_refund_delay_blocks,
    usable_books,
)
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal, OpeningRefused
from lightspeed.node.folder import CONFIG_NAME
from lightspeed.payment import (
    SATS,
    SEED_SIZE,
    Book,
    BookTerms,
    Scheme,
    SealsPolicy,
    SealsTooValuable,
    SecretBook,
    StopReason,
    TermsError,
    UnknownBook,
    default_window,
)
from lightspeed.rgb import secret_lock_seal

__all__ = ["BookRequest", "PayerBooks", "agreed_books"]

_log = logging.getLogger(__name__)

_CHILD_TARGET_BLOCKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRequest:
    """What a payer asks for; None takes the default.

    A lock is worth `lock_amount_sat`, or `lock_tokens` of the tokens in the channel.
    """

    locks: int
    chain_length: int
    lock_amount_sat: int | None = None
    lock_tokens: int | None = None
    origins: tuple[str, ...]
    scheme: Scheme = Scheme.OUTPUTS
    window: int | None = None
    refund_delay_blocks: int | None = None
    child_feerate_per_kw: int | None = None

    @classmethod
    def like(cls, terms: BookTerms) -> Self:
        """The same book again, with a child that pays the fee rate of the day."""
        settlement = Settlement.from_bytes(terms.settlement)
        return cls(
            locks=terms.locks,
            chain_length=terms.chain_length,
            lock_amount_sat=terms.lock_amount if terms.asset == SATS else None,
            lock_tokens=None if terms.asset == SATS else terms.lock_amount,
            origins=terms.origins,
            scheme=terms.scheme,
            window=terms.window,
            refund_delay_blocks=settlement.refund_delay_blocks,
        )


def agreed_books(channel: Channel) -> tuple[Book, ...]:
    """All that are or were usable, in the order in which they were accepted; either party's."""
    usable = {book.book_id for book in usable_books(channel)}
    known = usable | closed_books(channel).keys()
    books = _lsf_state(channel).books
    return tuple(found.book for book_id, found in books.items() if book_id in known)


def _promised_books(channel: Channel) -> list[Book]:
    """Usable, or may still become so."""
    state = _lsf_state(channel)
    promised = [found.book for found in state.live_books]
    return promised if state.proposed is None else [*promised, state.proposed]


def _lsf_state(channel: Channel) -> LsfState:
    state = channel.state.extension_states[LightspeedFunding.name]
    assert isinstance(state, LsfState)
    return state


class PayerBooks:
    """Opens books in channels whose payer we are."""

    def __init__(
        self,
        *,
        payer_store: PayerStore,
        chain: Chain,
        seals_policy: SealsPolicy,
        drivers: Mapping[bytes, ChannelDriver],
    ) -> None:
        """`seals_policy`: for all that a payee's books of a contract hold together."""
        self._payer_store = payer_store
        self._chain = chain
        self._seals_policy = seals_policy
        self._drivers = drivers
        self._waiting: dict[bytes, asyncio.Future[Book]] = {}
        self._seal_secrets: dict[bytes, dict[int, bytes]] = {}

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
        _check_covered(driver.channel, terms)
        self._check_seals(driver, terms)
        secret_book = await asyncio.to_thread(
            SecretBook.create,
            channel_id=driver.channel.channel_id,
            terms=terms,
            seed=secrets.token_bytes(SEED_SIZE),
            seal_of=secret_lock_seal,
        )
        book = secret_book.book
        self._payer_store.save(secret_book)
        future: asyncio.Future[Book] = asyncio.get_running_loop().create_future()
        self._waiting[book.book_id] = future
        forgotten: tuple[Book, ...] = ()

        def propose(channel: Channel) -> Iterable[Effect]:
            nonlocal forgotten
            forgotten = accepted_books(channel)
            if any(other.book_id in self._waiting for other in forgotten):
                raise NodeRefusal("another book is being opened")
            self._check_seals(driver, terms)  # again: books of other channels may be under way
            proposal = _lightspeed(channel).propose_book(book)
            return channel.extend(LightspeedFunding.name, proposal)

        try:
            try:
                await driver.act(propose)
            except (ChannelRefusal, NodeRefusal):
                self._payer_store.stop(book.book_id, StopReason.REQUESTED)
                raise
            for other in forgotten:
                self._payer_store.stop(other.book_id, StopReason.REQUESTED)
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            raise OpeningRefused("the payee does not answer") from None
        finally:
            del self._waiting[book.book_id]

    def _check_seals(self, driver: ChannelDriver, terms: BookTerms) -> None:
        """Raises `NodeRefusal`. Each hash that a payee tries is tried on all of its seals.

        Those that it may still accept count, but for what a new proposal makes the channel forget.
        """
        if terms.scheme is not Scheme.SEALS:
            return
        forgotten = accepted_books(driver.channel)
        others = [
            book.terms.locks * book.terms.lock_amount
            for other in self._drivers.values()
            if other.record.node_id == driver.record.node_id
            and other.record.party is Party.PAYER
            and not other.record.over
            for book in _promised_books(other.channel)
            if (book.terms.scheme, book.terms.asset) == (terms.scheme, terms.asset)
            and book not in forgotten
        ]
        policy = self._seals_policy
        left = replace(policy, max_book_amount=max(policy.max_book_amount - sum(others), 0))
        try:
            left.check(terms)
        except SealsTooValuable as error:
            raise NodeRefusal(
                f"{error}: scheme ladder has no such limit, and max_seals_lock_tokens and "
                f"max_seals_book_tokens under [lightspeed] in {CONFIG_NAME} raise it"
            ) from None

    async def _terms(self, channel: Channel, request: BookRequest) -> BookTerms:
        asset, lock_amount = _asset(channel, request)
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
                lock_amount=lock_amount,
                asset=asset,
                window=request.window or default_window(request.chain_length),
                origins=request.origins,
                settlement=settlement.to_bytes(),
            )
        except (TermsError, BookRefused) as error:
            raise NodeRefusal(str(error)) from None

    # --- the end --------------------------------------------------------------------------
    async def close(self, driver: ChannelDriver, book: Book) -> None:
        """Stop paying from it, durably, and ask the payee to close it. Raises `NodeRefusal`."""
        if driver.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
            raise NodeRefusal(f"the channel is {driver.phase.value}")
        self._payer_store.stop(book.book_id, StopReason.REQUESTED)
        await self._request_close(driver, book)

    def stop_all(self, driver: ChannelDriver) -> None:
        """The channel ends: nothing more is paid from its books."""
        if driver.record.party is Party.PAYER:
            for book in usable_books(driver.channel):
                self._stop(book.book_id)

    def _stop(self, book_id: bytes) -> None:
        try:
            self._payer_store.stop(book_id, StopReason.REQUESTED)
        except LedgerUnavailable as error:  # the payee refuses what is paid from it anyway
            _log.error("the payer's store does not answer", extra={"reason": str(error)})

    def unused_units(self, book: Book) -> int | None:
        """Units that were never presented; None for a book of another store."""
        try:
            reserved_end = self._payer_store.reservation(book.book_id).reserved_end
        except UnknownBook:
            return None
        return book.terms.units - reserved_end

    def seal_secrets(self, driver: ChannelDriver) -> dict[bytes, dict[int, bytes]]:
        """Book id -> lock -> secret, of the channel's books of scheme seals: a refund of their
        tokens opens every seal.
        """
        found = {}
        for book in agreed_books(driver.channel):
            if book.terms.scheme is not Scheme.SEALS:
                continue
            try:
                found[book.book_id] = self._secrets_of(book)
            except UnknownBook:
                _log.error(
                    "the secrets of a book are not in this node's payer store",
                    extra={"book": book.book_id.hex()},
                )
            except LedgerUnavailable as error:  # asked again at the next block
                _log.error("the payer's store does not answer", extra={"reason": str(error)})
        return found

    def _secrets_of(self, book: Book) -> dict[int, bytes]:
        known = self._seal_secrets.get(book.book_id)
        if known is None:
            secret_book = self._payer_store.load(book.book_id)
            locks = range(1, book.terms.locks + 1)
            known = {lock: secret_book.lock_secret(lock) for lock in locks}
            self._seal_secrets[book.book_id] = known
        return known

    async def tend(self, driver: ChannelDriver) -> None:
        """Asks the payee to close what is used up, or what a client has stopped paying from."""
        if driver.record.party is not Party.PAYER or driver.phase is not Phase.NORMAL:
            return
        asked = close_requests(driver.channel)
        for book in usable_books(driver.channel):
            if book.book_id in asked:
                continue
            try:
                low, _, stopped = self._payer_store.reservation(book.book_id)
            except UnknownBook:
                continue  # of another payer's store
            except LedgerUnavailable as error:
                _log.error("the payer's store does not answer", extra={"reason": str(error)})
                return
            if stopped is not None or low > book.terms.units:
                await self._request_close(driver, book)

    async def _request_close(self, driver: ChannelDriver, book: Book) -> None:
        def turn(channel: Channel) -> Iterable[Effect]:
            if book not in usable_books(channel):
                return ()  # the payee was faster
            request = _lightspeed(channel).request_close(book.book_id)
            return channel.extend(LightspeedFunding.name, request)

        _log.info("book is to be closed", extra={"book": book.book_id.hex()})
        await driver.act(turn)

    # --- what the channel tells -----------------------------------------------------------
    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        match event:
            case BookAccepted():
                await self._say_open(driver, event.book)
            case BookRejected():
                self._stop(event.book_id)
                refusal = OpeningRefused(f"the payee rejects the book: {event.text}")
                self._settle(event.book_id, refusal)
            case BookUsable():
                self._settle(event.book.book_id, event.book)
            case BookClosed():
                self._stop(event.book_id)
                self._seal_secrets.pop(event.book_id, None)
                _log.info("book closed", extra={"book": event.book_id.hex(), "units": event.units})
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


def _asset(channel: Channel, request: BookRequest) -> tuple[bytes, int]:
    """What a book is in, and how much of it a lock is worth. Raises `NodeRefusal`."""
    if (request.lock_amount_sat is None) is (request.lock_tokens is None):
        raise NodeRefusal("a lock is worth either sats or tokens: say which")
    if request.lock_amount_sat is not None:
        if request.scheme is Scheme.SEALS:
            raise NodeRefusal(
                "scheme seals is for tokens: give a lock's worth in tokens, or take another"
            )
        return SATS, request.lock_amount_sat
    colour = colour_parameters(channel.state.config)
    if colour is None:
        raise NodeRefusal("this channel holds no tokens: open one that does")
    assert request.lock_tokens is not None
    if request.scheme is Scheme.OUTPUTS:
        raise NodeRefusal("scheme outputs is for sats: tokens take ladder or seals")
    return colour.contract_id, request.lock_tokens


def _check_covered(channel: Channel, terms: BookTerms) -> None:
    """Raises `NodeRefusal`, before anything is proposed that could not be opened."""
    sheet = channel.state.base
    if terms.asset == SATS:
        ours, unit = sheet.holder_msat // 1_000, "sat"
    else:
        ours, unit = sheet.holder_tokens, "tokens"
    taken = terms.locks * terms.lock_amount
    if taken > ours:
        raise NodeRefusal(
            f"{terms.locks:,} locks of {terms.lock_amount:,} take {taken:,} {unit}, of which "
            f"{ours:,} are ours in the channel"
        )


def _lightspeed(channel: Channel) -> LightspeedFunding:
    lightspeed = channel.extensions[LightspeedFunding.name]
    assert isinstance(lightspeed, LightspeedFunding)
    return lightspeed

"""How a book is agreed on, before any commitment knows of it (docs/protocol.md, "Messages").

    payer                     payee
    lsf_propose, lsf_locks -> checks terms, locks, origins
                           <- lsf_accept or lsf_reject

One proposal waits per channel. After a reconnection the payer says it again, the same bytes,
unless it was answered; the payee answers a repetition in the same way. With a new proposal both
forget a book that was accepted and whose `lsf_open` was not said: no commitment knows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import FeeRate
from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.effects import Effect, Notify, Put, Send
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import ChannelView, ExtensionStep
from lightspeed.channel.phases import Link, Phase
from lightspeed.channel.side import Side
from lightspeed.channel.turn import Turn
from lightspeed.colour import colour_parameters
from lightspeed.lsf.collect import LockCollector, lock_messages
from lightspeed.lsf.errors import BookRefused, ChunksOutOfOrder
from lightspeed.lsf.events import BookAccepted, BookRejected
from lightspeed.lsf.limits import (
    DelayRules,
    check_book,
    check_claim_cost,
    exposure,
    rungs,
    seals,
)
from lightspeed.lsf.messages import (
    LsfAccept,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    Party,
    RejectReason,
)
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.schemes import derive_book
from lightspeed.lsf.state import LsfState, forget_book, store_book
from lightspeed.lsf.updates import content_of
from lightspeed.payment import SATS, Book, BookTerms, TermsError
from lightspeed.units import Msat, Sat, msat_to_sat_floor, sat_to_msat
from lightspeed.wire import printable

__all__ = ["Proposals", "payee_delay_blocks"]

Step = ExtensionStep[LsfState]


def payee_delay_blocks(config: ChannelConfig, holder: Party) -> int:
    """D: the to_self_delay that the payer sent."""
    payer = Side.HOLDER if holder is Party.PAYER else Side.COUNTERPARTY
    return config.side(payer).to_self_delay_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Both parties' part in it, and what a node decides itself."""

    rules: DelayRules
    origins: frozenset[str]
    """As a payee it accepts books for these only."""
    max_exposure_sat: Sat
    """What a payee may lose to one channel, by the exposure rule of each of its books."""
    max_exposure_tokens: int
    """The same of its books in tokens."""
    claim_feerate: Callable[[], FeeRate]
    """The current fee rate: locks have to be worth claiming at it."""

    # --- payer -------------------------------------------------------------------------
    def propose(self, book: Book) -> Callable[[Turn, LsfState], Step]:
        """For `Channel.extend`. Raises `ChannelRefusal`, within the turn."""

        def act(turn: Turn, state: LsfState) -> Step:
            if turn.state.phase is not Phase.NORMAL:
                raise ChannelRefusal(f"the channel is {turn.state.phase.value}")
            view = turn.view()
            state, forgotten = _without_unopened(view, state, besides=book.book_id)
            self._check_proposable(view, state, book)
            delay = payee_delay_blocks(view.config, state.parameters.holder)
            up = turn.state.session.link is Link.UP
            return ExtensionStep(
                state=replace(state, proposed=book),
                effects=_say(book) if up else (),
                puts=(*forgotten, store_book(book, payee_delay_blocks=delay)),
            )

        return act

    def _check_proposable(self, view: ChannelView, state: LsfState, book: Book) -> None:
        if state.parameters.holder is not Party.PAYER:
            raise ChannelRefusal("only the payer proposes books")
        if state.proposed is not None:
            raise ChannelRefusal("another proposal waits for its answer")
        if book.channel_id != view.config.channel_id:
            raise ChannelRefusal("the book was made for another channel")
        if book.book_id in state.books:
            raise ChannelRefusal("the book was proposed before")
        try:
            self._check_terms(view, state, book.terms)
            _check_room(state, book.terms)
            self._check_claim_cost(book.terms)
        except BookRefused as refused:
            raise ChannelRefusal(refused.text) from None

    def repeat(self, state: LsfState) -> Step:
        """After a reconnection."""
        effects = _say(state.proposed) if state.proposed is not None else ()
        return ExtensionStep(state, effects=effects)

    def _take_answer(self, state: LsfState, book_id: bytes) -> Book:
        book = state.proposed
        if book is None or book.book_id != book_id:
            raise ChannelViolation("an answer to a book that was not proposed")
        return book

    def receive_accept(self, view: ChannelView, state: LsfState, message: LsfAccept) -> Step:
        book = self._take_answer(state, message.book_id)
        accepted = replace(state, proposed=None).with_book(self._derive(view, state, book))
        return ExtensionStep(accepted, effects=(Notify(BookAccepted(book)),))

    def receive_reject(self, state: LsfState, message: LsfReject) -> Step:
        book = self._take_answer(state, message.book_id)
        event = BookRejected(book.book_id, message.reason, printable(message.text))
        return ExtensionStep(
            replace(state, proposed=None),
            effects=(Notify(event),),
            puts=(forget_book(book.book_id),),
        )

    # --- payee -------------------------------------------------------------------------
    def receive_propose(self, view: ChannelView, state: LsfState, message: LsfPropose) -> Step:
        """Check the terms; if they will do, wait for the locks."""
        if state.parameters.holder is not Party.PAYEE:
            raise ChannelViolation("lsf_propose to the payer")
        if state.locks is not None:
            raise ChannelViolation("a second proposal while one is arriving")
        state, forgotten = _without_unopened(view, state, besides=message.book_id)
        step = self._judge(view, replace(state, ignored=None), message)
        return replace(step, puts=(*forgotten, *step.puts))

    def _judge(self, view: ChannelView, state: LsfState, message: LsfPropose) -> Step:
        if state.rejected is not None and state.rejected.book_id == message.book_id:
            return self._reject(state, state.rejected)
        try:
            terms = BookTerms.from_bytes(message.terms)
            known = state.books.get(message.book_id)
            if known is None:
                self._check_new(view, state, terms)
            elif known.book.terms != terms:
                raise BookRefused(RejectReason.BOOK_ID, "the id is that of other terms")
            elif message.book_id in state.closed:
                raise BookRefused(RejectReason.BOOK_ID, "the book was closed")
        except BookRefused as refused:
            return self._reject(state, _rejection(message, refused))
        except TermsError as error:
            malformed = BookRefused(RejectReason.TERMS, str(error))
            return self._reject(state, _rejection(message, malformed))
        locks = LockCollector(book_id=message.book_id, terms=terms)
        return ExtensionStep(replace(state, locks=locks))

    def _check_new(self, view: ChannelView, state: LsfState, terms: BookTerms) -> None:
        if view.shutting_down:
            raise BookRefused(RejectReason.CLOSING, "the channel is shutting down")
        self._check_terms(view, state, terms)
        _check_room(state, terms)
        self._check_claim_cost(terms)
        foreign = [origin for origin in terms.origins if origin not in self.origins]
        if foreign:
            raise BookRefused(RejectReason.ORIGIN, f"{foreign[0]} is not served here")
        self._check_exposure([*(book.book.terms for book in state.live_books), terms])

    def _check_exposure(self, books: Sequence[BookTerms]) -> None:
        msat = Msat(sum(exposure(terms) for terms in books if terms.asset == SATS))
        if msat > sat_to_msat(self.max_exposure_sat):
            raise _exposed(msat_to_sat_floor(msat), self.max_exposure_sat, "sat")
        tokens = sum(exposure(terms) for terms in books if terms.asset != SATS)
        if tokens > self.max_exposure_tokens:
            raise _exposed(tokens, self.max_exposure_tokens, "tokens")

    def receive_locks(self, view: ChannelView, state: LsfState, message: LsfLocks) -> Step:
        """The next locks; with the last of them the proposal is answered."""
        if message.book_id == state.ignored:
            return ExtensionStep(state)
        if state.locks is None:
            raise ChannelViolation("lsf_locks without a proposal")
        try:
            locks = state.locks.add(message)
        except ChunksOutOfOrder as error:
            raise ChannelViolation(str(error)) from None
        if not locks.complete:
            return ExtensionStep(replace(state, locks=locks))
        state = replace(state, locks=None)
        book = locks.book(view.config.channel_id)
        if book.book_id != message.book_id:
            refused = BookRefused(RejectReason.BOOK_ID, "the id is not that of these locks")
            return self._reject(state, _rejection(message, refused))
        accept = Send(LsfAccept(channel_id=book.channel_id, book_id=book.book_id))
        if book.book_id in state.books:
            return ExtensionStep(state, effects=(accept,))
        accepted = self._derive(view, state, book)
        return ExtensionStep(
            state.with_book(accepted),
            effects=(accept,),
            puts=(store_book(book, payee_delay_blocks=accepted.payee_delay_blocks),),
        )

    def _reject(self, state: LsfState, rejection: LsfReject) -> Step:
        """Locks of this proposal that are under way are dropped."""
        return ExtensionStep(
            replace(state, rejected=rejection, ignored=rejection.book_id),
            effects=(Send(rejection),),
        )

    # --- both --------------------------------------------------------------------------
    def _check_terms(self, view: ChannelView, state: LsfState, terms: BookTerms) -> None:
        """Raises `BookRefused`."""
        colouring = colour_parameters(view.config)
        check_book(
            terms,
            limits=state.parameters.limits,
            rules=self.rules,
            payee_delay_blocks=payee_delay_blocks(view.config, state.parameters.holder),
            contract_id=colouring.contract_id if colouring else None,
        )

    def _check_claim_cost(self, terms: BookTerms) -> None:
        """Raises `BookRefused`. Only before a book is agreed: the fee rate changes."""
        check_claim_cost(terms, feerate=self.claim_feerate())

    def _derive(self, view: ChannelView, state: LsfState, book: Book) -> SchemeBook:
        return derive_book(
            book,
            basepoints=state.parameters.basepoints,
            payee_delay_blocks=payee_delay_blocks(view.config, state.parameters.holder),
        )


def _without_unopened(
    view: ChannelView, state: LsfState, *, besides: bytes
) -> tuple[LsfState, tuple[Put, ...]]:
    """Forgets accepted books, but this one, that are not open and are not being opened.

    Both sides do so at the same place of what the payer says: `lsf_open` comes before what is
    said behind it, also when it is said again after a reconnection.
    """
    under_way = {update.book_id for update in view.updates if isinstance(update, LsfOpen)}
    content = content_of(view.base)
    unopened = {
        book.book.book_id
        for book in state.live_books
        if book.book.book_id not in under_way and content.find(book.book.book_id) is None
    } - {besides}
    if not unopened:
        return state, ()
    books = {book_id: book for book_id, book in state.books.items() if book_id not in unopened}
    return replace(state, books=books), tuple(map(forget_book, unopened))


def _check_room(state: LsfState, terms: BookTerms) -> None:
    """Raises `BookRefused` when the channel has too many books, rungs or seals already."""
    limits, live = state.parameters.limits, [book.book.terms for book in state.live_books]
    if len(live) >= limits.max_books:
        raise BookRefused(RejectReason.POLICY, f"the channel has {len(live)} books already")
    for what, counted, most in (
        ("rungs", rungs, limits.max_channel_rungs),
        ("seals", seals, limits.max_seals),
    ):
        total = sum(map(counted, [*live, terms]))
        if total > most:
            raise BookRefused(
                RejectReason.POLICY,
                f"{total} {what} in the channel, at most {most} are possible",
            )


def _exposed(amount: int, allowed: int, unit: str) -> BookRefused:
    return BookRefused(
        RejectReason.POLICY,
        f"units of {amount} {unit} could be served without being enforced, "
        f"{allowed} {unit} are allowed in a channel",
    )


def _say(book: Book) -> tuple[Effect, ...]:
    propose = LsfPropose(
        channel_id=book.channel_id, book_id=book.book_id, terms=book.terms.to_bytes()
    )
    return tuple(Send(message) for message in (propose, *lock_messages(book)))


def _rejection(message: LsfPropose | LsfLocks, refused: BookRefused) -> LsfReject:
    return LsfReject(
        channel_id=message.channel_id,
        book_id=message.book_id,
        reason=refused.reason,
        text=refused.text.encode("ascii", "replace"),
    )

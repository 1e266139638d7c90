"""What lsf_open, lsf_settle and lsf_close need, and what they do to a commitment.

    update       by      the payer's balance              the payee's balance
    lsf_open     payer   pays the whole LSF               -
    lsf_settle   payee   what the child no longer needs   the locks
    lsf_close    payee   the rest of the LSF              the units that were paid

Of a book in tokens these are tokens, beside the sats of the LSF, which are the payer's.

A settle or a close refers to a book that is irrevocably open and of which no other update is
under way: what it moves follows from the book and from itself, whatever crosses it.
"""

from dataclasses import dataclass
from typing import assert_never

from lightspeed.bitcoin import FeeRate
from lightspeed.channel.commitment import ANCHOR_SAT, commitment_fee
from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.effects import Notify
from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import ChannelView, ContentChange, ExtensionStep
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.colour import OPRET_WEIGHT, colour_parameters
from lightspeed.lsf.children import EXTENSION_NAME
from lightspeed.lsf.events import BookClosed, BookSettled, BookUsable
from lightspeed.lsf.life import UPDATES, stage_of
from lightspeed.lsf.messages import (
    MAX_SETTLE_SECRETS,
    LsfClose,
    LsfOpen,
    LsfSettle,
    Party,
)
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.scripts import LSF_OUTPUT_WEIGHT
from lightspeed.lsf.state import LsfContent, LsfState, OpenBook
from lightspeed.payment import (
    SATS,
    BookTerms,
    ProofRefused,
    Scheme,
    check_final,
    check_secret,
    final_units,
)
from lightspeed.units import msat_to_sat_floor, sat_to_msat

__all__ = ["LsfUpdate", "apply", "check", "check_sheet", "committed", "content_of"]

LsfUpdate = LsfOpen | LsfSettle | LsfClose

_FEERATE_MARGIN = 2
"""The payee's output stands dust limit and fees at twice the fee rate when a book is opened."""


def content_of(sheet: Sheet) -> LsfContent:
    content = sheet.extensions[EXTENSION_NAME]
    assert isinstance(content, LsfContent)
    return content


# --- whether it may be said -----------------------------------------------------------------


def check(
    view: ChannelView, state: LsfState, content: LsfContent, sender: Side, update: LsfUpdate
) -> None:
    """`content` has everything that is pending applied. Raises `ChannelViolation`."""
    match update:
        case LsfOpen():
            _check_open(view, state, content, sender, update)
        case LsfSettle():
            _check_settle(view, state, content, sender, update)
        case LsfClose():
            _check_close(view, state, content, sender, update)
        case _:
            assert_never(update)


def _check_open(
    view: ChannelView, state: LsfState, content: LsfContent, sender: Side, update: LsfOpen
) -> None:
    if state.party(sender) is not Party.PAYER:
        raise ChannelViolation("only the payer opens books")
    _check_stage(view, state, content, update)
    if sender is Side.COUNTERPARTY and view.counterparty_shut_down:
        # It may hold our signature for a closing transaction that knows of no book.
        raise ChannelViolation("lsf_open after shutdown")
    if sender is Side.HOLDER:
        # Only its sender: the payee's own updates and shutdown may cross an lsf_open.
        if view.shutting_down:
            raise ChannelViolation("the channel is shutting down")
        coloured = colour_parameters(view.config) is not None
        for broadcaster in Side:
            _check_payee_output(
                view,
                state,
                view.base,
                broadcaster,
                extension_weight=LSF_OUTPUT_WEIGHT * (len(content.books) + 1)
                + OPRET_WEIGHT * coloured,
                feerate_factor=_FEERATE_MARGIN,
            )


def _check_settle(
    view: ChannelView, state: LsfState, content: LsfContent, sender: Side, update: LsfSettle
) -> None:
    book = _quiet_book(view, state, content, sender, update)
    terms = book.book.terms
    if not update.first_lock <= update.last_lock < terms.locks:
        raise ChannelViolation(
            f"lsf_settle of locks {update.first_lock} to {update.last_lock} of {terms.locks}; "
            "the last one ends with lsf_close"
        )
    if terms.scheme is Scheme.LADDER:
        proved: tuple[int, ...] = (update.last_lock,)
    else:
        proved = tuple(range(update.first_lock, update.last_lock + 1))
    if len(update.secrets) != len(proved) or len(proved) > MAX_SETTLE_SECRETS:
        raise ChannelViolation(f"lsf_settle with {len(update.secrets)} secrets for {len(proved)}")
    try:
        for lock, secret in zip(proved, update.secrets, strict=True):
            check_secret(book.book, lock, secret)
    except ProofRefused as refused:
        raise ChannelViolation(f"lsf_settle: {refused}") from None


def _check_close(
    view: ChannelView, state: LsfState, content: LsfContent, sender: Side, update: LsfClose
) -> None:
    book = _quiet_book(view, state, content, sender, update)
    try:
        check_final(book.book, update.elements, settled_locks=update.first_lock - 1)
    except ProofRefused as refused:
        raise ChannelViolation(f"lsf_close: {refused}") from None


def _quiet_book(
    view: ChannelView,
    state: LsfState,
    content: LsfContent,
    sender: Side,
    update: LsfSettle | LsfClose,
) -> SchemeBook:
    """The payee may settle or close it now; the update continues where the book stands."""
    if state.party(sender) is not Party.PAYEE:
        raise ChannelViolation("only the payee settles and closes books")
    _check_stage(view, state, content, update)
    open_book = content.find(update.book_id)
    assert open_book is not None
    if update.first_lock != open_book.settled + 1:
        raise ChannelViolation(
            f"{open_book.settled} locks are settled, lock {update.first_lock} is not the next"
        )
    return state.books[update.book_id]


def _check_stage(
    view: ChannelView, state: LsfState, content: LsfContent, update: LsfUpdate
) -> None:
    stage = stage_of(state, update.book_id, irrevocable=content_of(view.base), pending=content)
    needed, _ = UPDATES[type(update)]
    if stage is not needed:
        raise ChannelViolation(
            f"{type(update).__name__} of a book that is {stage.value}, not {needed.value}"
        )


# --- what it does ---------------------------------------------------------------------------


def apply(state: LsfState, content: LsfContent, update: LsfUpdate) -> ContentChange[LsfContent]:
    """Raises `ChannelViolation` when the book is not where the update says."""
    book = state.books[update.book_id]
    terms = book.book.terms
    match update:
        case LsfOpen():
            freed = -_held(book, settled=0)
            after, paid = content.with_opened(update.book_id), _NOTHING
        case LsfSettle():
            settled = _settled_before(content, update).settled
            freed = _held(book, settled=settled) - _held(book, settled=update.last_lock)
            units = (update.last_lock - settled) * terms.chain_length
            after, paid = (
                content.with_settled(update.book_id, update.last_lock),
                _worth(terms, units),
            )
        case LsfClose():
            settled = _settled_before(content, update).settled
            freed = _held(book, settled=settled)
            units = final_units(terms, update.elements, settled_locks=settled)
            after, paid = content.without(update.book_id), _worth(terms, units)
        case _:
            assert_never(update)
    return _change(state, after, payer=freed - paid, payee=paid)


@dataclass(frozen=True, slots=True)
class _Value:
    """What moves."""

    msat: int = 0
    tokens: int = 0

    def __neg__(self) -> "_Value":
        return _Value(-self.msat, -self.tokens)

    def __sub__(self, other: "_Value") -> "_Value":
        return _Value(self.msat - other.msat, self.tokens - other.tokens)


_NOTHING = _Value()


def _held(book: SchemeBook, *, settled: int) -> _Value:
    """By the LSF."""
    return _Value(sat_to_msat(book.amount_sat(settled=settled)), book.tokens(settled=settled))


def _worth(terms: BookTerms, units: int) -> _Value:
    value = units * terms.unit_value
    return _Value(msat=value) if terms.asset == SATS else _Value(tokens=value)


def _settled_before(content: LsfContent, update: LsfSettle | LsfClose) -> OpenBook:
    book = content.find(update.book_id)
    if book is None or book.settled != update.first_lock - 1:
        raise ChannelViolation("the book is not where the update says")
    return book


def _change(
    state: LsfState, content: LsfContent, *, payer: _Value, payee: _Value
) -> ContentChange[LsfContent]:
    holder_is_payer = state.parameters.holder is Party.PAYER
    holder, counterparty = (payer, payee) if holder_is_payer else (payee, payer)
    return ContentChange(
        content=content,
        holder_msat=holder.msat,
        counterparty_msat=counterparty.msat,
        holder_tokens=holder.tokens,
        counterparty_tokens=counterparty.tokens,
    )


def committed(state: LsfState, update: LsfUpdate) -> ExtensionStep[LsfState]:
    """It is irrevocable on both sides: tell the node."""
    match update:
        case LsfOpen():
            return _told(state, BookUsable(state.books[update.book_id].book))
        case LsfSettle():
            return _told(state, BookSettled(update.book_id, update.last_lock))
        case LsfClose():
            terms = state.books[update.book_id].book.terms
            settled = update.first_lock - 1
            units = settled * terms.chain_length
            units += final_units(terms, update.elements, settled_locks=settled)
            closed = state.with_closed(update.book_id, units)
            return _told(closed, BookClosed(update.book_id, units))
        case _:
            assert_never(update)


def _told(state: LsfState, event: object) -> ExtensionStep[LsfState]:
    return ExtensionStep(state, effects=(Notify(event),))


# --- the payee's own output -----------------------------------------------------------------


def check_sheet(
    view: ChannelView,
    state: LsfState,
    sheet: Sheet,
    broadcaster: Side,
    *,
    extension_weight: int,
) -> None:
    """While a book is open the payee's own output stays above dust; else `ChannelViolation`."""
    if content_of(sheet).books:
        _check_payee_output(
            view, state, sheet, broadcaster, extension_weight=extension_weight, feerate_factor=1
        )


def _check_payee_output(
    view: ChannelView,
    state: LsfState,
    sheet: Sheet,
    broadcaster: Side,
    *,
    extension_weight: int,
    feerate_factor: int,
) -> None:
    payee = next(side for side in Side if state.party(side) is Party.PAYEE)
    cost = 0
    if view.config.is_funder(payee):
        cost = _highest_cost(
            view.config,
            sheet,
            extension_weight=extension_weight,
            feerate_factor=feerate_factor,
        )
    amount = msat_to_sat_floor(sheet.balance_msat(payee)) - cost
    dust_limit = view.config.side(broadcaster).dust_limit_sat
    if amount < dust_limit:
        raise ChannelViolation(
            f"the payee's own output would be {amount} sat, with books it has to be {dust_limit}"
        )


def _highest_cost(
    config: ChannelConfig, sheet: Sheet, *, extension_weight: int, feerate_factor: int
) -> int:
    """What the funder pays for a commitment if no HTLC of it is trimmed."""
    fee = commitment_fee(
        feerate_per_kw=FeeRate(sheet.feerate_per_kw * feerate_factor),
        untrimmed_htlcs=len(sheet.htlcs),
        anchors=config.anchors,
        extension_weight=extension_weight,
    )
    return fee + (2 * ANCHOR_SAT if config.anchors else 0)

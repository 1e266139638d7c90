"""lsf_close_request: the payer has stopped paying from a book and wants the rest back.

It changes no commitment: only the payee ends a book, with `lsf_close`. The payer says it again
after each reconnection until the book is closed.
"""

from collections.abc import Callable
from dataclasses import replace

from lightspeed.channel.effects import Effect, Notify, Send
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import ChannelView, ExtensionStep
from lightspeed.channel.phases import Link
from lightspeed.channel.turn import Turn
from lightspeed.lsf.events import CloseRequested
from lightspeed.lsf.messages import LsfCloseRequest, Party
from lightspeed.lsf.state import LsfState
from lightspeed.lsf.updates import content_of

__all__ = ["receive", "repeat", "request"]

Step = ExtensionStep[LsfState]


def request(book_id: bytes) -> Callable[[Turn, LsfState], Step]:
    """For `Channel.extend`. Raises `ChannelRefusal`, within the turn."""

    def act(turn: Turn, state: LsfState) -> Step:
        view = turn.view()
        if state.parameters.holder is not Party.PAYER:
            raise ChannelRefusal("only the payer asks for a close")
        if not _is_open(view, book_id):
            raise ChannelRefusal("the book is not open")
        if book_id in state.close_requested:
            return ExtensionStep(state)
        up = turn.state.session.link is Link.UP
        return ExtensionStep(
            _with_request(state, book_id),
            effects=(_message(view, book_id),) if up else (),
        )

    return act


def repeat(view: ChannelView, state: LsfState) -> tuple[Effect, ...]:
    """After a reconnection."""
    if state.parameters.holder is not Party.PAYER:
        return ()
    return tuple(_message(view, book_id) for book_id in sorted(state.close_requested))


def receive(view: ChannelView, state: LsfState, message: LsfCloseRequest) -> Step:
    """It may cross the payee's own close, and then says nothing new."""
    if state.parameters.holder is not Party.PAYEE:
        raise ChannelViolation("lsf_close_request to the payer")
    if message.book_id in state.closed:
        return ExtensionStep(state)
    if not _is_open(view, message.book_id):
        raise ChannelViolation("lsf_close_request for a book that is not open")
    event = Notify(CloseRequested(message.book_id))
    return ExtensionStep(_with_request(state, message.book_id), effects=(event,))


def _is_open(view: ChannelView, book_id: bytes) -> bool:
    return content_of(view.base).find(book_id) is not None


def _with_request(state: LsfState, book_id: bytes) -> LsfState:
    return replace(state, close_requested=state.close_requested | {book_id})


def _message(view: ChannelView, book_id: bytes) -> Effect:
    return Send(LsfCloseRequest(channel_id=view.config.channel_id, book_id=book_id))

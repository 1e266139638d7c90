"""Child signatures that the peer owes us, and what is done when they do not come.

While `lsf_sign_request` is unanswered we may say nothing else, so a peer that does not answer
holds the channel still. A new connection gives it another chance; after some of them the channel
is failed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from lightspeed.channel import Phase, Side
from lightspeed.node.driver import ChannelDriver

__all__ = ["AnswersOwed"]

_log = logging.getLogger(__name__)

_MAX_DISCONNECTIONS = 5


@dataclass(slots=True, kw_only=True)
class _Question:
    """About one commitment, over all connections."""

    commitment_number: int
    asked_at: float | None = None
    """On the present connection."""
    disconnections: int = 0


class AnswersOwed:
    """For all channels of a node."""

    def __init__(self, *, patience_seconds: float, clock: Callable[[], float]) -> None:
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._questions: dict[bytes, _Question] = {}
        """By channel id."""

    async def tend(self, driver: ChannelDriver) -> None:
        """Hangs up when an answer is late, and fails the channel when that has not helped."""
        channel_id, state = driver.channel.channel_id, driver.channel.state
        number = state.counterparty_commitments[-1].number + 1
        question = self._questions.get(channel_id)
        if question is not None and question.commitment_number != number:
            question = self._questions.pop(channel_id, None) and None
        if state.session.pending is None or state.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
            if question is not None:
                question.asked_at = None
            return
        if question is None:
            question = self._questions[channel_id] = _Question(commitment_number=number)
        now = self._clock()
        if question.asked_at is None:
            question.asked_at = now
        if now - question.asked_at < self._patience_seconds:
            return
        question.asked_at = None
        question.disconnections += 1
        if question.disconnections >= _MAX_DISCONNECTIONS:
            await driver.fail("child signatures never came", at_fault=Side.COUNTERPARTY)
        elif driver.peer is not None:
            _log.warning(
                "child signatures do not come: hanging up",
                extra={"channel": channel_id.hex(), "times": question.disconnections},
            )
            await driver.peer.close()

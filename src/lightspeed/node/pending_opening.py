"""An opening that is under way, and how long it may take."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from lightspeed.bitcoin import Tx
from lightspeed.channel import Acceptance, ChannelViolation, Extensions, Opening, Signer
from lightspeed.colour import ConsignmentCollector
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import OpeningRefused
from lightspeed.node.records import ChannelRecord
from lightspeed.wire import Message
from lightspeed.wire.peer import Peer

__all__ = ["PendingOpening", "answer_of", "opening_id_of"]

T = TypeVar("T")

_ANSWER_TIMEOUT_SECONDS = 60.0


@dataclass(kw_only=True)
class PendingOpening:
    """One opening; `opening` moves on with each message."""

    peer: Peer
    opening: Opening
    signer: Signer
    extensions: Extensions
    record: ChannelRecord
    accepted: "asyncio.Future[Acceptance]" = field(default_factory=asyncio.Future)
    """Funder: accept_channel was good."""
    done: "asyncio.Future[ChannelDriver]" = field(default_factory=asyncio.Future)
    """Funder: funding_signed was good, and the channel is stored."""
    funding_tx: Tx | None = None
    proof: bytes = b""
    """Funder: of the tokens on the funding output."""
    history: ConsignmentCollector | None = None
    """Fundee: of the tokens that the funder brings."""
    checking: "asyncio.Task[None] | None" = None
    """Fundee: that history is validated."""
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    stored: bool = False
    """The channel exists: its funding transaction is published, whatever happens."""

    def fail(self, error: Exception) -> None:
        if self.checking is not None and self.checking is not asyncio.current_task():
            self.checking.cancel()
        for future in (self.accepted, self.done):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits for the other one is told there


def opening_id_of(message: Message) -> bytes:
    for name in ("temporary_channel_id", "channel_id"):
        value = getattr(message, name, None)
        if isinstance(value, bytes):
            return value
    raise ChannelViolation(f"{type(message).__name__} names no channel")


async def answer_of(future: "asyncio.Future[T]", *, seconds: float = _ANSWER_TIMEOUT_SECONDS) -> T:
    """Raises `OpeningRefused` when the peer takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return await future
    except TimeoutError:
        raise OpeningRefused("the peer does not answer") from None

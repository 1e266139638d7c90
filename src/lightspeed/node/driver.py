"""One channel in the world: its turns, one at a time, and their effects in order."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from lightspeed.bitcoin import Tx, txid_hex
from lightspeed.chain import BroadcastRefused, Chain, ChainUnavailable
from lightspeed.channel import (
    Broadcast,
    Channel,
    ChannelRefusal,
    ChannelViolation,
    ChannelWarning,
    Effect,
    Notify,
    PeerIsAhead,
    Persist,
    Phase,
    Put,
    Send,
    Side,
)
from lightspeed.errors import StoreError
from lightspeed.node.records import ChannelRecord
from lightspeed.node.store import NodeStore
from lightspeed.wire import ErrorMessage, Message, WarningMessage
from lightspeed.wire.peer import Peer, PeerDisconnected

__all__ = ["ChannelDriver", "ChannelListener", "Turn", "publish"]

_log = logging.getLogger(__name__)

Turn = Callable[[Channel], Iterable[Effect]]

_OVER = frozenset({Phase.FAILED, Phase.BEHIND})


class ChannelListener(Protocol):
    """Who acts on what a channel tells, and who has to be asked before it fails."""

    def records(self, driver: "ChannelDriver", event: object) -> Sequence[Put]:
        """What is stored together with the turn in which the event happened.

        Asked of `Broadcast` effects too: before anything is published.
        """

    async def on_event(self, driver: "ChannelDriver", event: object) -> None:
        """Called once the event is stored and the turn is over."""

    async def before_failure(self, driver: "ChannelDriver") -> None:
        """Fence what may not be paid with any more."""

    def on_store_failure(self, error: StoreError) -> None:
        """A turn was not stored: nothing more may be done until a restart."""


class ChannelDriver:
    """Owns a `Channel`; whoever wants something of it calls `act`."""

    def __init__(
        self,
        channel: Channel,
        *,
        record: ChannelRecord,
        store: NodeStore,
        chain: Chain,
        listener: ChannelListener,
        peer: Peer | None = None,
    ) -> None:
        self.channel = channel
        self.record = record
        self.peer = peer
        self._store = store
        self._chain = chain
        self._listener = listener
        self._lock = asyncio.Lock()
        self._broken = False

    def __repr__(self) -> str:
        return f"ChannelDriver({self.channel!r})"

    @property
    def phase(self) -> Phase:
        return self.channel.state.phase

    # --- turns ----------------------------------------------------------------------------
    async def act(self, turn: Turn) -> None:
        """Take a turn and tell of its events. What it persists is stored in one transaction.

        Raises what the turn raises; then nothing has happened. Once begun it is not cancelled.
        """
        await self._shielded(turn)

    async def _shielded(self, turn: Turn, *, from_peer: Peer | None = None) -> None:
        # A turn that was stored but not sent would leave the peer waiting.
        await asyncio.shield(asyncio.ensure_future(self._act(turn, from_peer)))

    async def _act(self, turn: Turn, from_peer: Peer | None) -> None:
        async with self._lock:
            if self._broken:
                raise ChannelRefusal("the node's store failed: restart the node")
            if from_peer is not None and from_peer is not self.peer:
                return  # the last words of a connection that was replaced
            events = await self._run(self._take(turn))
        for event in events:
            await self._listener.on_event(self, event)

    def _take(self, turn: Turn) -> tuple[Effect, ...]:
        """All of the turn or, when a part of it is refused, nothing."""
        before = self.channel.state
        try:
            return tuple(turn(self.channel))
        except BaseException:
            self.channel.state = before
            raise

    async def _run(self, effects: Sequence[Effect]) -> list[object]:
        """The effects in their order; what is to be stored comes first and in one go."""
        events = [effect.event for effect in effects if isinstance(effect, Notify)]
        stored = [put for effect in effects if isinstance(effect, Persist) for put in effect.puts]
        published = [effect for effect in effects if isinstance(effect, Broadcast)]
        with self._storing():
            for event in (*events, *published):
                stored += self._listener.records(self, event)
            if stored:
                self._store.apply(stored)
        for effect in effects:
            match effect:
                case Send():
                    await self._send(effect.message)
                case Broadcast():
                    await publish(self._chain, effect.tx, purpose=effect.purpose)
                case _:
                    pass
        return events

    def _persist(self, puts: Sequence[Put]) -> None:
        with self._storing():
            self._store.apply(puts)

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            # The channel in memory is ahead of the one on disk: it must not speak again.
            self._broken = True
            self._listener.on_store_failure(error)
            raise

    async def _send(self, message: Message) -> None:
        if self.peer is not None:
            with contextlib.suppress(PeerDisconnected):
                await self.peer.send(message)

    async def forget(self, puts: Sequence[Put]) -> None:
        """Take no turn any more for the peer; `puts` delete what is stored."""
        async with self._lock:
            self.peer = None
            self._persist(puts)

    # --- the peer -------------------------------------------------------------------------
    async def connected(self, peer: Peer) -> None:
        """A connection is up; it replaces an earlier one."""
        if self._broken:
            return

        def turn(channel: Channel) -> Iterable[Effect]:
            ended = () if self.peer is None else channel.disconnected()
            self.peer = peer
            return (*ended, *channel.connected())

        await self.act(turn)

    async def disconnected(self, peer: Peer | None) -> None:
        """`peer` is gone; nothing happens if it is not the present one."""
        if peer is None or peer is not self.peer or self._broken:
            return

        def turn(channel: Channel) -> Iterable[Effect]:
            if peer is not self.peer:
                return ()  # replaced before it was our turn
            self.peer = None
            return channel.disconnected()

        await self.act(turn)

    async def receive(self, peer: Peer, message: Message) -> None:
        """A message for this channel. A violation fails the channel, as BOLT 1 says."""
        try:
            await self._shielded(lambda channel: channel.receive(message), from_peer=peer)
        except ChannelWarning as warning:
            await self._send(
                WarningMessage(channel_id=self.channel.channel_id, data=str(warning).encode())
            )
        except ChannelViolation as violation:
            if self.phase in _OVER:
                await self._say_over()
            else:
                await self.fail(str(violation), at_fault=Side.COUNTERPARTY)

    async def fail(self, reason: str, *, at_fault: Side, publishing: bool = True) -> None:
        """End the channel unilaterally, after the fence.

        `publishing=False`: the funding output is spent already, or is about to be; otherwise the
        watch publishes our commitment at the next block. A channel whose state may be old is not
        failed by us; its peer is asked to.
        """
        if self.phase in (*_OVER, Phase.CLOSED):
            return
        if publishing and self.record.doubtful:
            _log.critical(
                "a channel waits for its peer: our state may be old",
                extra={"channel": self.channel.channel_id.hex(), "reason": reason},
            )
            await self._say_over()
            return
        await self._listener.before_failure(self)

        def turn(channel: Channel) -> Iterable[Effect]:
            effects = channel.fail(reason, at_fault=at_fault)
            return [e for e in effects if publishing or not isinstance(e, Broadcast)]

        _log.warning(
            "channel failed",
            extra={
                "channel": self.channel.channel_id.hex(),
                "reason": reason,
                "at_fault": at_fault.value,
            },
        )
        await self.act(turn)

    async def _say_over(self) -> None:
        """The peer speaks of a channel that is over for us: tell it (again)."""
        if self.phase is Phase.BEHIND or self.record.doubtful:
            reason = "our state is old: please close the channel"
        else:
            reason = "the channel was failed"
        await self._send(ErrorMessage(channel_id=self.channel.channel_id, data=reason.encode()))

    def confirmed(self) -> None:
        """The peer has shown that our state is the current one."""
        if self.record.doubtful:
            self.record = replace(self.record, doubtful=False)
            self._persist([self.record.put(self.channel.channel_id)])

    async def on_peer_is_ahead(self, _: PeerIsAhead) -> None:
        """Only the peer can close, so it is asked to."""
        _log.critical(
            "this node's state is old; the peer has to close",
            extra={"channel": self.channel.channel_id.hex()},
        )
        await self._say_over()


async def publish(chain: Chain, tx: Tx, *, purpose: str) -> None:
    """Broadcast. What is not taken now is logged; the watch tries it again."""
    details = {"txid": txid_hex(tx.txid), "purpose": purpose}
    try:
        await chain.broadcast(tx)
    except BroadcastRefused as refused:
        _log.warning("broadcast refused", extra={**details, "reason": str(refused)})
    except ChainUnavailable as error:
        _log.warning("broadcast failed", extra={**details, "reason": str(error)})
    else:
        _log.info("broadcast", extra=details)

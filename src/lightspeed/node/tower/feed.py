"""The node's hand to its tower: after each change of a channel, what the tower has not got yet.

What was handed over is remembered by fingerprint, so that a lost answer, a crash or a tower that
was away for a week lead to nothing but handing over the rest.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lightspeed.channel import Channel, Phase, Put, UnknownCommitment
from lightspeed.errors import LightspeedError
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.records import Document, dump_document, load_document
from lightspeed.node.store import NodeStore
from lightspeed.node.tower.client import TowerClient
from lightspeed.node.tower.errors import TokensNotGuarded
from lightspeed.node.tower.handover import GuardedState, current_states, revoked_state
from lightspeed.node.tower.sealing import NONCE_SIZE, hint_of, seal
from lightspeed.node.tower.store import LABEL_SIZE, Change

__all__ = ["TowerFeed"]

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_BATCH_BYTES = 1_000_000
_BATCH_CHANGES = 1_000

_CHANNEL_TABLE = "tower_channel"
"""Key: channel id."""
_STATE_TABLE = "tower_state"
"""What the tower holds for a commitment that is not revoked. Key: channel id, hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handed(Document):
    """How far the tower has been told of a channel."""

    label: str
    """Random, so that the tower cannot tell which channel it is."""
    revoked_below: int = 0
    """The counterparty's commitments with lower numbers are at the tower as revoked."""


@dataclass(frozen=True, slots=True)
class _Paid:
    """What the node knows beside the channel's state."""

    preimages: Mapping[bytes, bytes] = field(repr=False)
    lock_secrets: Mapping[bytes, Mapping[int, bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Changes for one request, and what is to be remembered once they are at the tower."""

    changes: list[Change]
    puts: list[Put]


class TowerFeed:
    """For all channels of a node."""

    def __init__(
        self,
        client: TowerClient,
        *,
        store: NodeStore,
        drivers: Callable[[], Iterable[ChannelDriver]],
        destination: Callable[[Channel], bytes],
        preimages: Callable[[Channel], Mapping[bytes, bytes]],
        lock_secrets: Callable[[ChannelDriver], Mapping[bytes, Mapping[int, bytes]]],
        fenced: Callable[[ChannelDriver], Awaitable[bool]],
        report: Callable[[str, str | None], None],
    ) -> None:
        """`destination`: the script that a channel's close is swept to; `fenced`: is nothing
        redeemed any more in the channel's books? `report(key, text)` tells the operator.
        """
        self._client = client
        self._store = store
        self._drivers = drivers
        self._destination = destination
        self._preimages = preimages
        self._lock_secrets = lock_secrets
        self._fenced = fenced
        self._report = report
        self._greeted = False
        self._told: dict[bytes, object] = {}
        """Channel id -> what was handed over last; the same again is nothing to do."""

    async def run(self) -> None:
        """Until cancelled."""
        pause = _PAUSE_SECONDS
        while True:
            pause = _PAUSE_SECONDS if await self.hand_over() else pause * 2
            pause = min(pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def hand_over(self) -> bool:
        """Everything that the tower has not got. False if it does not have it all then."""
        found = [await self._try("tower", "the tower is of no use", self._greet)]
        for driver in tuple(self._drivers()):
            channel_id = driver.channel.channel_id.hex()
            told = await self._try(
                f"tower {channel_id}",
                f"channel {channel_id}: the tower does not guard its last state",
                partial(self._tell, driver),
            )
            found.append(told)
        return all(found)

    async def _try(self, key: str, alarm: str, act: Callable[[], Awaitable[None]]) -> bool:
        """What fails is an alarm while it fails, and no reason to leave the rest undone."""
        try:
            await act()
        except TokensNotGuarded as error:
            self._report(key, f"{alarm}: {error}")
            return True  # it never will
        except LightspeedError as error:
            self._report(key, f"{alarm}: {error}")
            return False
        except Exception as error:
            _log.exception("the tower could not be told")
            self._report(key, f"{alarm}: {type(error).__name__}")
            return False
        self._report(key, None)
        return True

    async def _greet(self) -> None:
        """Once, so that a wrong token is known before there is anything to guard."""
        if not self._greeted:
            await self._client.account()
            self._greeted = True

    async def _tell(self, driver: ChannelDriver) -> None:
        channel_id = driver.channel.channel_id
        if driver.record.over:
            await self._forget(channel_id)
            return
        if driver.record.doubtful or driver.phase is Phase.BEHIND:
            return  # the tower may know better than an old copy
        if driver.channel.holder_commitment().frozen.coloured is not None:
            raise TokensNotGuarded
        final = driver.phase is Phase.FAILED and await self._fenced(driver)
        state = driver.channel.state
        paid = _Paid(self._preimages(driver.channel), self._lock_secrets(driver))
        told = (state, final, paid)
        if self._told.get(channel_id) == told:
            return
        # The channel may move on while we wait for the tower: work on what it is now.
        channel = Channel(state, signer=driver.channel.signer, extensions=driver.channel.extensions)
        handed = self._handed(channel_id)
        destination = self._destination(channel)
        await self._tell_revoked(channel, handed, destination)
        await self._tell_current(channel, handed, destination, paid, final=final)
        self._told[channel_id] = told

    def _handed(self, channel_id: bytes) -> _Handed:
        """The label is stored before the tower hears it."""
        data = self._store.get(_CHANNEL_TABLE, channel_id)
        if data is not None:
            return _Handed.load(data)
        handed = _Handed(label=secrets.token_hex(LABEL_SIZE))
        self._store.put(_CHANNEL_TABLE, channel_id, handed.dump())
        return handed

    async def _send(self, handed: _Handed, batch: _Batch) -> None:
        if batch.changes:
            await self._client.hand_over(bytes.fromhex(handed.label), batch.changes)
        if batch.puts:
            self._store.apply(batch.puts)

    # --- revoked commitments --------------------------------------------------------------
    async def _tell_revoked(
        self, channel: Channel, handed: _Handed, destination_script: bytes
    ) -> None:
        channel_id = channel.channel_id
        end = channel.state.counterparty_commitments[0].number
        number = handed.revoked_below
        while number < end:
            batch = _Batch([], [])
            while number < end and not _is_full(batch.changes):
                state = self._revoked(channel, number, destination_script)
                if state is not None:
                    hint = hint_of(state.txid)
                    # What it was given while the commitment was current is of no use any more.
                    batch.changes.append(Change(hint, None))
                    batch.changes.extend(_made(state, state.parts))
                    batch.puts.append(Put(_STATE_TABLE, channel_id + hint, None))
                number += 1
                await asyncio.sleep(0)  # signing takes its time
            handed = replace(handed, revoked_below=number)
            batch.puts.append(Put(_CHANNEL_TABLE, channel_id, handed.dump()))
            await self._send(handed, batch)

    def _revoked(
        self, channel: Channel, number: int, destination_script: bytes
    ) -> GuardedState | None:
        try:
            return revoked_state(
                channel, number, lookup=self._store.get, destination_script=destination_script
            )
        except UnknownCommitment as error:
            _log.error(
                "a revoked commitment cannot be guarded",
                extra={"channel": channel.channel_id.hex(), "reason": str(error)},
            )
            return None

    # --- current commitments --------------------------------------------------------------
    async def _tell_current(
        self,
        channel: Channel,
        handed: _Handed,
        destination_script: bytes,
        paid: _Paid,
        *,
        final: bool,
    ) -> None:
        states = current_states(
            channel,
            destination_script=destination_script,
            preimages=paid.preimages,
            lock_secrets=paid.lock_secrets,
            own_is_final=final,
        )
        for state in states:
            await self._tell_state(channel.channel_id, handed, state)
        kept = {channel.channel_id + hint_of(state.txid) for state in states}
        batch = _Batch([], [])
        for key, _ in self._store.scan(_STATE_TABLE, channel.channel_id):
            if key not in kept:
                batch.changes.append(Change(key[len(channel.channel_id) :], None))
                batch.puts.append(Put(_STATE_TABLE, key, None))
        await self._send(handed, batch)

    async def _tell_state(self, channel_id: bytes, handed: _Handed, state: GuardedState) -> None:
        hint = hint_of(state.txid)
        key = channel_id + hint
        stored = self._store.get(_STATE_TABLE, key)
        known: dict[str, str] = load_document(stored) if stored is not None else {}
        wanted = {str(number): plan.fingerprint.hex() for number, plan in state.parts.items()}
        changes = [Change(hint, int(number)) for number in known.keys() - wanted.keys()]
        for number in wanted:
            if known.get(number) == wanted[number]:
                continue
            changes.extend(_made(state, (int(number),)))
            await asyncio.sleep(0)
            if _is_full(changes):
                await self._send(handed, _Batch(changes, []))
                changes = []
        if known != wanted:
            put = Put(_STATE_TABLE, key, dump_document(wanted) if wanted else None)
            await self._send(handed, _Batch(changes, [put]))

    # --- the end --------------------------------------------------------------------------
    async def _forget(self, channel_id: bytes) -> None:
        data = self._store.get(_CHANNEL_TABLE, channel_id)
        if data is None:
            return
        await self._client.forget(bytes.fromhex(_Handed.load(data).label))
        states = [
            Put(_STATE_TABLE, key, None) for key, _ in self._store.scan(_STATE_TABLE, channel_id)
        ]
        self._store.apply([*states, Put(_CHANNEL_TABLE, channel_id, None)])
        self._told.pop(channel_id, None)


def _made(state: GuardedState, numbers: Iterable[int]) -> Iterator[Change]:
    """Sealed; what is not worth its fee is deleted, should it be there."""
    hint = hint_of(state.txid)
    for number in numbers:
        part = state.parts[number].make()
        blob = None
        if part is not None:
            nonce = secrets.token_bytes(NONCE_SIZE)
            blob = seal(part.to_bytes(), txid=state.txid, part=number, nonce=nonce)
        yield Change(hint, number, blob)


def _is_full(changes: Sequence[Change]) -> bool:
    """Enough for one request?"""
    size = sum(len(change.blob or b"") for change in changes)
    return size >= _BATCH_BYTES or len(changes) >= _BATCH_CHANGES

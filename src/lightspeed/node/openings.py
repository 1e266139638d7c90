"""Channels before they are channels: open_channel to funding_signed, from both sides.

Nothing of it is stored but the index of the channel's secrets, which is used once. Until
`funding_signed` there is nothing to lose: a lost connection ends an opening.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, TypeVar

from lightspeed.bitcoin import FeeRate, OutPoint, Tx, txid_hex
from lightspeed.chain import Chain
from lightspeed.channel import (
    ANCHORS_BIT,
    CHANNEL_TABLE,
    Acceptance,
    Channel,
    ChannelRefusal,
    ChannelViolation,
    Extensions,
    Opening,
    OpeningTerms,
    Put,
    Signer,
    accept,
    accepted,
    channel_id_of,
    funded,
    propose,
    receive_funding_created,
    receive_funding_signed,
)
from lightspeed.lsf import LightspeedFunding, Party, offered_party
from lightspeed.node.config import NodeConfig, not_configured
from lightspeed.node.driver import ChannelDriver, publish
from lightspeed.node.errors import (
    InsufficientFunds,
    NodeRefusal,
    OpeningRefused,
    PeerLacksLightspeed,
)
from lightspeed.node.extensions import extensions_for
from lightspeed.node.keys import NodeKeys
from lightspeed.node.metrics import Metrics
from lightspeed.node.records import COUNTER_TABLE, FUNDING_TX_TABLE, ChannelRecord
from lightspeed.node.store import NodeStore
from lightspeed.node.wallet import Wallet
from lightspeed.units import Msat, Sat
from lightspeed.wire import (
    AcceptChannel,
    ErrorMessage,
    FundingCreated,
    FundingSigned,
    Message,
    OpenChannel,
)
from lightspeed.wire.peer import Peer, PeerDisconnected

__all__ = ["OPENING_MESSAGES", "Adopt", "Openings"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

OPENING_MESSAGES = (OpenChannel, AcceptChannel, FundingCreated, FundingSigned)

_ANSWER_TIMEOUT_SECONDS = 60.0
_MAX_OPENINGS_PER_PEER = 4
_FUNDING_TARGET_BLOCKS = 6
_INDEX_KEY = b"channel_index"


class Adopt(Protocol):
    """Makes the node run a new channel; `puts` are stored with it."""

    async def __call__(
        self, channel: Channel, *, record: ChannelRecord, peer: Peer, puts: Sequence[Put]
    ) -> ChannelDriver: ...


@dataclass(kw_only=True)
class _Pending:
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
    stored: bool = False
    """The channel exists: its funding transaction is published, whatever happens."""

    def fail(self, error: Exception) -> None:
        for future in (self.accepted, self.done):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits for the other one is told there


_Key: TypeAlias = tuple[bytes, bytes]
"""The peer's public key; the temporary channel id, later the channel id."""


class Openings:
    """All openings under way, of all peers."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        keys: NodeKeys,
        store: NodeStore,
        wallet: Wallet,
        chain: Chain,
        metrics: Metrics,
        adopt: Adopt,
        claim_feerate: Callable[[], FeeRate],
        reserve_sat: Callable[[], Sat],
    ) -> None:
        self._config = config
        self._keys = keys
        self._store = store
        self._wallet = wallet
        self._chain = chain
        self._metrics = metrics
        self._adopt = adopt
        self._claim_feerate = claim_feerate
        self._reserve_sat = reserve_sat
        self._pending: dict[_Key, _Pending] = {}

    # --- the funder -----------------------------------------------------------------------
    async def open(
        self, peer: Peer, *, funding_sat: Sat, push_sat: Sat = Sat(0), party: Party | None = None
    ) -> ChannelDriver:
        """Open and fund a channel; `party`: what we are in Lightspeed funding.

        Returns once the funding transaction is published. Raises `PeerLacksLightspeed`,
        `InsufficientFunds`, `ChannelRefusal`, `OpeningRefused`. What other channels may need for
        their fees stays in the wallet.
        """
        self._check_party(peer, party)
        self._check_reserve(funding_sat)
        feerate = await self._chain.fee_rate(_FUNDING_TARGET_BLOCKS)
        signer, index = self._new_signer()
        extensions = self._extensions(party)
        anchors = party is not None or peer.init.features.supports(ANCHORS_BIT)
        opening, message = propose(
            temporary_channel_id=secrets.token_bytes(32),
            chain_hash=self._config.chain_hash,
            funding_sat=funding_sat,
            push_msat=Msat(push_sat * 1_000),
            feerate_per_kw=feerate,
            terms=replace(self._terms(), anchors=anchors),
            signer=signer,
            extensions=extensions,
        )
        pending = _Pending(
            peer=peer,
            opening=opening,
            signer=signer,
            extensions=extensions,
            record=ChannelRecord(node_id=peer.node_id.data, index=index, party=party),
        )
        key = (peer.node_id.data, opening.temporary_channel_id)
        self._pending[key] = pending
        try:
            await peer.send(message)
            acceptance = await _answer(pending.accepted)
            tx = await self._wallet.fund(
                acceptance.funding_script, acceptance.amount_sat, feerate_per_kw=feerate
            )
            self._metrics.other_signatures += len(tx.inputs)
            try:
                driver = await self._fund(pending, acceptance, tx)
            except BaseException:
                if not pending.stored:
                    self._wallet.release(tx)
                raise
        except PeerDisconnected as error:
            raise OpeningRefused(str(error)) from None
        finally:
            self._forget(pending)
        self._wallet.note_broadcast(tx)
        await publish(self._chain, tx, purpose="funding")
        return driver

    def _check_reserve(self, funding_sat: Sat) -> None:
        reserve_sat = self._reserve_sat()
        needed = funding_sat + reserve_sat
        if reserve_sat and (there := self._wallet.spendable_sat()) < needed:
            raise InsufficientFunds(needed_sat=needed, available_sat=there)

    def _check_party(self, peer: Peer, party: Party | None) -> None:
        if party is None:
            return
        lightspeed = self._config.lightspeed
        if lightspeed is None or party not in lightspeed.parties:
            raise not_configured(party)
        if not peer.init.features.supports(LightspeedFunding.feature_bit):
            raise PeerLacksLightspeed("the peer does not offer Lightspeed funding")

    async def _fund(self, pending: _Pending, acceptance: Acceptance, tx: Tx) -> ChannelDriver:
        vout = [out.script for out in tx.outputs].index(acceptance.funding_script)
        outpoint = OutPoint(tx.txid, vout)
        pending.opening, message = funded(
            acceptance.opening, outpoint, signer=pending.signer, extensions=pending.extensions
        )
        pending.funding_tx = tx
        self._pending[pending.peer.node_id.data, channel_id_of(outpoint)] = pending
        await pending.peer.send(message)
        return await _answer(pending.done)

    def _extensions(self, party: Party | None) -> Extensions:
        return extensions_for(party, self._config, claim_feerate=self._claim_feerate)

    def _terms(self) -> OpeningTerms:
        return self._config.opening_terms(self._wallet.new_script())

    def _new_signer(self) -> tuple[Signer, int]:
        stored = self._store.get(COUNTER_TABLE, _INDEX_KEY)
        index = int.from_bytes(stored, "big") if stored is not None else 0
        self._store.apply((Put(COUNTER_TABLE, _INDEX_KEY, (index + 1).to_bytes(8, "big")),))
        signer = Signer(self._keys.channel_secrets(index))
        self._metrics.add_signer(signer)
        return signer, index

    # --- messages -------------------------------------------------------------------------
    async def receive(self, peer: Peer, message: Message) -> None:
        """One of `OPENING_MESSAGES`. What is wrong with it is answered with an `error`."""
        channel_id = _id_of(message)
        try:
            match message:
                case OpenChannel():
                    await self._receive_open(peer, message)
                case AcceptChannel():
                    pending = self._of(peer, channel_id)
                    acceptance = accepted(pending.opening, message, extensions=pending.extensions)
                    if not pending.accepted.done():
                        pending.accepted.set_result(acceptance)
                case FundingCreated():
                    await self._receive_funding_created(peer, message)
                case FundingSigned():
                    await self._receive_funding_signed(self._of(peer, channel_id), message)
                case _:
                    raise ChannelViolation(f"{type(message).__name__} out of place")
        except (ChannelViolation, ChannelRefusal, NodeRefusal) as error:
            _log.warning(
                "opening ended", extra={"peer": peer.node_id.data.hex(), "reason": str(error)}
            )
            pending_or_none = self._pending.get((peer.node_id.data, channel_id))
            if pending_or_none is not None:
                self._forget(pending_or_none)
                pending_or_none.fail(OpeningRefused(str(error)))
            with contextlib.suppress(PeerDisconnected):
                await peer.send(ErrorMessage(channel_id=channel_id, data=str(error).encode()))

    def receive_error(self, peer: Peer, message: ErrorMessage) -> bool:
        """The peer ended an opening. Returns whether there was one of this id."""
        pending = self._pending.get((peer.node_id.data, message.channel_id))
        if pending is None:
            return False
        self._forget(pending)
        pending.fail(OpeningRefused(f"the peer refused: {message.text}"))
        return True

    def peer_gone(self, peer: Peer) -> None:
        """What was under way with it is over."""
        for pending in [p for p in self._pending.values() if p.peer is peer]:
            self._forget(pending)
            pending.fail(OpeningRefused("the connection was lost"))

    def _of(self, peer: Peer, channel_id: bytes) -> _Pending:
        try:
            return self._pending[peer.node_id.data, channel_id]
        except KeyError:
            raise ChannelViolation("no such channel is being opened") from None

    def _forget(self, pending: _Pending) -> None:
        self._pending = {k: p for k, p in self._pending.items() if p is not pending}

    async def _receive_funding_signed(self, pending: _Pending, message: FundingSigned) -> None:
        tx = pending.funding_tx
        if tx is None:
            raise ChannelViolation("funding_signed that nobody waits for")
        state = receive_funding_signed(
            pending.opening, message, signer=pending.signer, extensions=pending.extensions
        )
        self._forget(pending)
        funding = Put(FUNDING_TX_TABLE, message.channel_id, tx.serialize())
        driver = await self._become_channel(
            pending,
            Channel(state, signer=pending.signer, extensions=pending.extensions),
            puts=(funding,),
        )
        _log.info(
            "channel funded",
            extra={"channel": message.channel_id.hex(), "txid": txid_hex(tx.txid)},
        )
        if not pending.done.done():
            pending.done.set_result(driver)

    async def _become_channel(
        self, pending: _Pending, channel: Channel, *, puts: Sequence[Put] = ()
    ) -> ChannelDriver:
        if self._store.get(CHANNEL_TABLE, channel.channel_id) is not None:
            raise ChannelViolation("a channel with this funding output exists")
        pending.stored = True
        return await self._adopt(channel, record=pending.record, peer=pending.peer, puts=puts)

    # --- the fundee -----------------------------------------------------------------------
    async def _receive_open(self, peer: Peer, message: OpenChannel) -> None:
        node_id = peer.node_id.data
        key = (node_id, message.temporary_channel_id)
        if key in self._pending:
            raise ChannelViolation("this temporary channel id is in use")
        if sum(owner == node_id for owner, _ in self._pending) >= _MAX_OPENINGS_PER_PEER:
            raise ChannelViolation("too many channels are being opened")
        party = self._party_for(message)
        signer, index = self._new_signer()
        extensions = self._extensions(party)
        opening, reply = accept(
            message,
            chain_hash=self._config.chain_hash,
            terms=self._terms(),
            signer=signer,
            extensions=extensions,
        )
        self._pending[key] = _Pending(
            peer=peer,
            opening=opening,
            signer=signer,
            extensions=extensions,
            record=ChannelRecord(node_id=node_id, index=index, party=party),
        )
        await peer.send(reply)

    def _party_for(self, message: OpenChannel) -> Party | None:
        """What the funder wants us to be; `ChannelViolation` if we do not want to."""
        bit = LightspeedFunding.feature_bit
        if message.channel_type is None or not message.channel_type.requires(bit):
            return None
        lightspeed = self._config.lightspeed
        party = offered_party(message.extension_tlvs).other
        if lightspeed is None or party not in lightspeed.parties:
            raise ChannelViolation(f"this node is not a {party.name.lower()}")
        return party

    async def _receive_funding_created(self, peer: Peer, message: FundingCreated) -> None:
        pending = self._of(peer, message.temporary_channel_id)
        state, reply = receive_funding_created(
            pending.opening, message, signer=pending.signer, extensions=pending.extensions
        )
        self._forget(pending)
        channel = Channel(state, signer=pending.signer, extensions=pending.extensions)
        await self._become_channel(pending, channel)
        await peer.send(reply)


def _id_of(message: Message) -> bytes:
    for name in ("temporary_channel_id", "channel_id"):
        value = getattr(message, name, None)
        if isinstance(value, bytes):
            return value
    raise ChannelViolation(f"{type(message).__name__} names no channel")


async def _answer(future: "asyncio.Future[T]") -> T:
    """Raises `OpeningRefused` when the peer takes too long."""
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
            return await future
    except TimeoutError:
        raise OpeningRefused("the peer does not answer") from None

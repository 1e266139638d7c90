"""Channels before they are channels: open_channel to funding_signed, from both sides.

Nothing of it is stored but the index of the channel's secrets, which is used once. Until
`funding_signed` there is nothing to lose: a lost connection ends an opening.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

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
    OpeningTerms,
    Put,
    Side,
    Signer,
    accept,
    accepted,
    channel_id_of,
    funded,
    propose,
    receive_funding_created,
    receive_funding_signed,
)
from lightspeed.colour import (
    Colouring,
    ColourTerms,
    ConsignmentCollector,
    RgbConsignment,
    consignment_messages,
    offered_terms,
)
from lightspeed.errors import LightspeedError, StoreError
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
from lightspeed.node.pending_opening import PendingOpening, answer_of, opening_id_of
from lightspeed.node.records import COUNTER_TABLE, FUNDING_TX_TABLE, ChannelRecord
from lightspeed.node.store import NodeStore
from lightspeed.node.token_openings import Proved, TokenOpenings
from lightspeed.node.unfunded import Unfunded
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

__all__ = ["Adopt", "Openings"]

_log = logging.getLogger(__name__)

_OPENING_MESSAGES = (OpenChannel, AcceptChannel, FundingCreated, FundingSigned)

_TOKENS_TIMEOUT_SECONDS = 600.0
"""For funding_signed of a channel with tokens: the peer validates their history first."""
_MAX_OPENINGS_PER_PEER = 4
_TOKENS_PATIENCE_SECONDS = 60.0
"""For the history of a channel with tokens, when another opening wants its place."""
_MAX_HISTORIES = 8
"""Openings with tokens of all peers together, whose histories are in memory."""
_FUNDING_TARGET_BLOCKS = 6
_INDEX_KEY = b"channel_index"


class Adopt(Protocol):
    """Makes the node run a new channel; `puts` are stored with it."""

    async def __call__(
        self, channel: Channel, *, record: ChannelRecord, peer: Peer, puts: Sequence[Put]
    ) -> ChannelDriver: ...


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
        tokens: TokenOpenings,
        unfunded: Unfunded,
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
        self._tokens = tokens
        self._unfunded = unfunded
        self._metrics = metrics
        self._adopt = adopt
        self._claim_feerate = claim_feerate
        self._reserve_sat = reserve_sat
        self._pending: dict[_Key, PendingOpening] = {}
        self._one_funding = asyncio.Lock()

    # --- the funder -----------------------------------------------------------------------
    async def open(
        self,
        peer: Peer,
        *,
        funding_sat: Sat,
        push_sat: Sat = Sat(0),
        party: Party | None = None,
        tokens: ColourTerms | None = None,
    ) -> ChannelDriver:
        """Open and fund a channel; `party`: what we are in Lightspeed funding.

        Returns once the funding transaction is published. Raises `PeerLacksLightspeed`,
        `InsufficientFunds`, `UnknownContract`, `NotEnoughTokens`, `ChannelRefusal`,
        `OpeningRefused`. What other channels may need for their fees stays in the wallet.
        """
        self._check_party(peer, party)
        self._check_reserve(funding_sat)
        if tokens is not None:
            _check_knows_tokens(peer)
            await self._tokens.check_brought(tokens)
        feerate = await self._chain.fee_rate(_FUNDING_TARGET_BLOCKS)
        signer, index = self._new_signer()
        extensions = self._extensions(party, tokens)
        anchors = bool(extensions) or peer.init.features.supports(ANCHORS_BIT)
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
        pending = PendingOpening(
            peer=peer,
            opening=opening,
            signer=signer,
            extensions=extensions,
            record=ChannelRecord(
                node_id=peer.node_id.data,
                index=index,
                party=party,
                coloured=tokens is not None,
            ),
        )
        key = (peer.node_id.data, opening.temporary_channel_id)
        self._pending[key] = pending
        try:
            await peer.send(message)
            acceptance = await answer_of(pending.accepted)
            tx = await self._funding(pending, acceptance, feerate)
            self._metrics.other_signatures += len(tx.inputs)
            try:
                driver = await self._fund(pending, tx, acceptance.funding_script)
            except BaseException:
                if not pending.stored:
                    self._wallet.release(tx)
                raise
        except PeerDisconnected as error:
            raise OpeningRefused(str(error)) from None
        except LightspeedError:
            # Or the peer would keep a place for it.
            over = ErrorMessage(channel_id=opening.temporary_channel_id, data=b"given up")
            with contextlib.suppress(PeerDisconnected):
                await peer.send(over)
            raise
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

    async def _funding(
        self, pending: PendingOpening, acceptance: Acceptance, feerate: FeeRate
    ) -> Tx:
        """Signed; with tokens in it, their history has to come before funding_created."""
        pending.opening = acceptance.opening
        async with self._one_funding:
            self._check_reserve(acceptance.amount_sat)  # other openings have gone on meanwhile
            if not pending.record.coloured:
                return await self._wallet.fund(
                    acceptance.funding_script, acceptance.amount_sat, feerate_per_kw=feerate
                )
            brought = await self._tokens.fund(acceptance, feerate_per_kw=feerate)
        pending.opening, pending.proof = brought.opening, brought.consignment
        return brought.tx

    async def _fund(self, pending: PendingOpening, tx: Tx, script: bytes) -> ChannelDriver:
        vout = [out.script for out in tx.outputs].index(script)
        outpoint = OutPoint(tx.txid, vout)
        pending.opening, message = funded(
            pending.opening, outpoint, signer=pending.signer, extensions=pending.extensions
        )
        pending.funding_tx = tx
        self._pending[pending.peer.node_id.data, channel_id_of(outpoint)] = pending
        for piece in consignment_messages(pending.opening.temporary_channel_id, pending.proof):
            await pending.peer.send(piece)
        await pending.peer.send(message)
        if pending.record.coloured:
            return await answer_of(pending.done, seconds=_TOKENS_TIMEOUT_SECONDS)
        return await answer_of(pending.done)

    def _extensions(self, party: Party | None, tokens: ColourTerms | None) -> Extensions:
        return extensions_for(
            party,
            self._config,
            claim_feerate=self._claim_feerate,
            colouring=None if tokens is None else Colouring(tokens),
        )

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
    def concerns(self, peer: Peer, message: Message) -> bool:
        """Is it for `receive`?"""
        if isinstance(message, RgbConsignment):
            return (peer.node_id.data, message.channel_id) in self._pending
        return isinstance(message, _OPENING_MESSAGES)

    async def receive(self, peer: Peer, message: Message) -> None:
        """What is wrong with it is answered with an `error`."""
        channel_id = opening_id_of(message)
        try:
            match message:
                case OpenChannel():
                    await self._receive_open(peer, message)
                case AcceptChannel():
                    pending = self._of(peer, channel_id)
                    acceptance = accepted(pending.opening, message, extensions=pending.extensions)
                    if not pending.accepted.done():
                        pending.accepted.set_result(acceptance)
                case RgbConsignment():
                    self._receive_history(self._of(peer, channel_id), message)
                case FundingCreated():
                    await self._receive_funding_created(self._of(peer, channel_id), message)
                case FundingSigned():
                    await self._receive_funding_signed(self._of(peer, channel_id), message)
                case _:
                    raise ChannelViolation(f"{type(message).__name__} out of place")
        except (ChannelViolation, ChannelRefusal, NodeRefusal) as error:
            await self._refuse(peer, channel_id, str(error))

    async def _refuse(self, peer: Peer, channel_id: bytes, reason: str) -> None:
        _log.warning("opening ended", extra={"peer": peer.node_id.data.hex(), "reason": reason})
        pending = self._pending.get((peer.node_id.data, channel_id))
        if pending is not None:
            self._forget(pending)
            pending.fail(OpeningRefused(reason))
        with contextlib.suppress(PeerDisconnected):
            await peer.send(ErrorMessage(channel_id=channel_id, data=reason.encode()))

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

    def _of(self, peer: Peer, channel_id: bytes) -> PendingOpening:
        try:
            return self._pending[peer.node_id.data, channel_id]
        except KeyError:
            raise ChannelViolation("no such channel is being opened") from None

    def _forget(self, pending: PendingOpening) -> None:
        self._pending = {k: p for k, p in self._pending.items() if p is not pending}

    async def _receive_funding_signed(
        self, pending: PendingOpening, message: FundingSigned
    ) -> None:
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
        self, pending: PendingOpening, channel: Channel, *, puts: Sequence[Put] = ()
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
        theirs = (p.opening for (owner, _), p in self._pending.items() if owner == node_id)
        under_way = sum(each.funder is Side.COUNTERPARTY for each in theirs)
        self._unfunded.check_another(node_id, opening=under_way)
        party, tokens = self._party_for(message), self._tokens_for(peer, message)
        signer, index = self._new_signer()
        extensions = self._extensions(party, tokens)
        opening, reply = accept(
            message,
            chain_hash=self._config.chain_hash,
            terms=self._terms(),
            signer=signer,
            extensions=extensions,
        )
        self._pending[key] = PendingOpening(
            peer=peer,
            opening=opening,
            signer=signer,
            extensions=extensions,
            record=ChannelRecord(
                node_id=node_id, index=index, party=party, coloured=tokens is not None
            ),
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

    def _tokens_for(self, peer: Peer, message: OpenChannel) -> ColourTerms | None:
        """What the funder brings; `ChannelViolation` if we do not want it."""
        bit = Colouring.feature_bit
        if message.channel_type is None or not message.channel_type.requires(bit):
            return None
        tokens = offered_terms(message.extension_tlvs)
        if tokens is None:
            raise ChannelViolation("open_channel does not say which tokens it brings")
        self._tokens.check_wanted(tokens)
        self._end_slow_histories()
        others = [each for each in self._pending.values() if each.record.coloured]
        if len(others) >= _MAX_HISTORIES or any(each.peer is peer for each in others):
            raise ChannelViolation("another channel with tokens is being opened: try again later")
        return tokens

    def _end_slow_histories(self) -> None:
        """Nobody holds the places of others by saying nothing."""
        now = asyncio.get_running_loop().time()
        for pending in [*self._pending.values()]:
            brought = pending.record.coloured and pending.opening.funder is Side.COUNTERPARTY
            waits = pending.checking is None and now - pending.since > _TOKENS_PATIENCE_SECONDS
            if brought and waits:
                self._forget(pending)
                pending.fail(OpeningRefused("the history of the tokens did not come"))

    def _receive_history(self, pending: PendingOpening, message: RgbConsignment) -> None:
        """The next piece of what the funder has to prove."""
        wanted = pending.record.coloured and pending.opening.funder is Side.COUNTERPARTY
        if not wanted or pending.checking is not None:
            raise ChannelViolation("rgb_consignment out of place")
        if pending.history is None:
            pending.history = ConsignmentCollector.begin(message)
        else:
            pending.history = pending.history.add(message)

    async def _receive_funding_created(
        self, pending: PendingOpening, message: FundingCreated
    ) -> None:
        if not pending.record.coloured:
            await self._complete(pending, message)
            return
        if pending.history is None or not pending.history.complete:
            raise ChannelViolation("funding_created before the history of its tokens")
        if pending.checking is not None:
            raise ChannelViolation("a second funding_created")
        # It takes as long as the history is: meanwhile the peer's other channels go on.
        pending.checking = asyncio.create_task(
            self._check_tokens(pending, message, pending.history.data)
        )

    async def _check_tokens(
        self, pending: PendingOpening, message: FundingCreated, history: bytes
    ) -> None:
        outpoint = OutPoint(message.funding_txid, message.funding_output_index)
        try:
            proved = await self._tokens.prove(pending.opening, history, outpoint)
            pending.opening = proved.opening
            await self._complete(pending, message, proved=proved)
        except (ChannelViolation, ChannelRefusal, NodeRefusal) as error:
            await self._refuse(pending.peer, message.temporary_channel_id, str(error))
        except Exception as error:
            _log.exception("the history of tokens was not checked")
            reason = "no store" if isinstance(error, StoreError) else "an internal error"
            await self._refuse(pending.peer, message.temporary_channel_id, reason)

    async def _complete(
        self, pending: PendingOpening, message: FundingCreated, *, proved: Proved | None = None
    ) -> None:
        state, reply = receive_funding_created(
            pending.opening, message, signer=pending.signer, extensions=pending.extensions
        )
        if proved is not None:
            self._tokens.keep(proved)
        self._forget(pending)
        channel = Channel(state, signer=pending.signer, extensions=pending.extensions)
        await self._become_channel(pending, channel)
        with contextlib.suppress(PeerDisconnected):
            await pending.peer.send(reply)


def _check_knows_tokens(peer: Peer) -> None:
    if not peer.init.features.supports(Colouring.feature_bit):
        raise PeerLacksLightspeed("the peer does not offer channels with tokens")

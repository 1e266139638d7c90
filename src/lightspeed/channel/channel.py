"""A channel as a sans-I/O state machine: messages and wishes in, effects out.

Each call is one turn. It returns the effects in the order in which they have to happen, or
raises and leaves the channel as it was: `ChannelViolation` when the peer is at fault (then
call `fail`), `ChannelRefusal` when the caller asked for what is not possible now.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import PublicKey, Tx
from lightspeed.channel.build import BuiltCommitment
from lightspeed.channel.commit import (
    answer_request,
    commit,
    receive_commitment_signed,
    receive_revoke_and_ack,
    receive_signatures,
)
from lightspeed.channel.commitment import commitment_digest, is_commitment
from lightspeed.channel.effects import (
    Broadcast,
    ChannelClosed,
    ChannelFailed,
    ChannelUsable,
    Effect,
    HtlcFulfilled,
    HtlcReceived,
    Persist,
    Put,
)
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.extension import Extensions, ExtensionStep, Lookup
from lightspeed.channel.funding import funding_witness
from lightspeed.channel.phases import ALLOWED_PHASES, EXTENSION_PHASES, Link, Phase
from lightspeed.channel.records import CHANNEL_TABLE, dump_channel, load_channel
from lightspeed.channel.reestablish import (
    channel_ready,
    connect,
    disconnect,
    receive_reestablish,
)
from lightspeed.channel.sheet import REMOVALS
from lightspeed.channel.shutdown import (
    begin_shutdown,
    closing_coloured,
    continue_closing,
    receive_closing_signed,
    receive_shutdown,
)
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.channel.state import ChannelState, Session
from lightspeed.channel.turn import Turn, peer_point
from lightspeed.channel.updates import add_update, is_update
from lightspeed.rgb import Coloured
from lightspeed.units import Msat
from lightspeed.wire import (
    ChannelReady,
    ChannelReestablish,
    ClosingSigned,
    CommitmentSigned,
    ErrorMessage,
    Message,
    RevokeAndAck,
    Shutdown,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)

__all__ = ["Channel"]

_MAX_INBOX = 1_024
"""Messages that wait for the end of our question; two times 483 HTLCs, added or removed, fit."""


class Channel:
    """One channel of this node. `state` is replaced whole by each turn."""

    def __init__(self, state: ChannelState, *, signer: Signer, extensions: Extensions) -> None:
        self.state = state
        self.signer = signer
        self.extensions = extensions

    @classmethod
    def load(
        cls, data: bytes, *, signer: Signer, extensions: Extensions, lookup: Lookup
    ) -> "Channel":
        """From what `Persist` stored; disconnected. Raises `StateError`."""
        state = load_channel(data, extensions, lookup)
        return cls(state, signer=signer, extensions=extensions)

    @property
    def channel_id(self) -> bytes:
        return self.state.config.channel_id

    def __repr__(self) -> str:
        return f"Channel({self.channel_id.hex()}, {self.state.phase.value})"

    def as_it_is(self) -> "Channel":
        """A channel that no turn of this one changes: to be read, and in any thread."""
        return Channel(self.state, signer=self.signer, extensions=self.extensions)

    # --- turns -------------------------------------------------------------------------
    def _turn(self) -> Turn:
        return Turn(self.state, signer=self.signer, extensions=self.extensions)

    def _adopt(self, turn: Turn) -> tuple[Effect, ...]:
        """The turn is good: what it changed is stored before anything of it is done."""
        stored_before = replace(self.state, session=Session())
        stored_after = replace(turn.state, session=Session())
        self.state = turn.state
        puts = list(turn.puts)
        if stored_after != stored_before:
            puts.append(self._own_record())
        persist = (Persist(tuple(puts)),) if puts else ()
        return (*persist, *turn.effects)

    def _own_record(self) -> Put:
        return Put(CHANNEL_TABLE, self.channel_id, dump_channel(self.state, self.extensions))

    def _wish(self, act: Callable[[Turn], None]) -> tuple[Effect, ...]:
        """A turn that the holder asked for: what would be a violation is a refusal."""
        turn = self._turn()
        try:
            act(turn)
        except ChannelViolation as violation:
            raise ChannelRefusal(str(violation)) from None
        continue_closing(turn)
        return self._adopt(turn)

    def created(self) -> tuple[Effect, ...]:
        """Store a channel that establishment has just made."""
        return (Persist((self._own_record(),)),)

    # --- the peer ----------------------------------------------------------------------
    def connected(self) -> tuple[Effect, ...]:
        """A connection to the peer is up and `init` is exchanged."""
        if self.state.phase in (Phase.FAILED, Phase.BEHIND):
            return ()
        return self._wish(connect)

    def disconnected(self) -> tuple[Effect, ...]:
        """The connection is gone."""
        return self._wish(disconnect)

    def receive(self, message: Message) -> tuple[Effect, ...]:
        """A message of the peer for this channel."""
        turn = self._turn()
        try:
            self._receive(turn, message)
            while turn.state.session.inbox and turn.state.session.pending is None:
                first, *rest = turn.state.session.inbox
                turn.update_session(inbox=tuple(rest))
                self._receive(turn, first)
            continue_closing(turn)
        except ChannelRefusal as refusal:
            raise ChannelViolation(str(refusal)) from None
        return self._adopt(turn)

    def _receive(self, turn: Turn, message: Message) -> None:
        self._check_allowed(turn, message)
        pending = turn.state.session.pending
        if pending is not None and not self._breaks_pending(message):
            if len(turn.state.session.inbox) >= _MAX_INBOX:
                raise ChannelViolation("too many messages while child signatures are owed")
            turn.update_session(inbox=(*turn.state.session.inbox, message))
            return
        if is_update(turn, message):
            self._receive_update(turn, message)
            return
        match message:
            case CommitmentSigned():
                receive_commitment_signed(turn, message)
            case RevokeAndAck():
                receive_revoke_and_ack(turn, message)
            case ChannelReestablish():
                receive_reestablish(turn, message)
            case ChannelReady():
                _receive_channel_ready(turn, message)
            case Shutdown():
                receive_shutdown(turn, message)
            case ClosingSigned():
                receive_closing_signed(turn, message)
            case _:
                self._receive_extension(turn, message)

    def _check_allowed(self, turn: Turn, message: Message) -> None:
        phases = ALLOWED_PHASES.get(type(message))
        if phases is None:
            if not turn.extensions.owns(message):
                raise ChannelViolation(f"{type(message).__name__} is not for a channel")
            phases = EXTENSION_PHASES
        phase, link = turn.state.phase, turn.state.session.link
        if phase not in phases:
            raise ChannelViolation(f"{type(message).__name__} while the channel is {phase.value}")
        expected = Link.REESTABLISHING if isinstance(message, ChannelReestablish) else Link.UP
        if link is not expected:
            raise ChannelViolation(f"{type(message).__name__} while the link is {link.value}")

    def _breaks_pending(self, message: Message) -> bool:
        """May it be acted on while our question is open? The answer, and the peer's question."""
        if not self.extensions.owns(message):
            return False
        owner = self.extensions.owner_of(message)
        return type(message) in (owner.signatures, owner.request)

    def _receive_update(self, turn: Turn, message: Message) -> None:
        add_update(turn, Side.COUNTERPARTY, message)
        if isinstance(message, UpdateFulfillHtlc):
            htlc = turn.state.base.htlc(Side.HOLDER, message.id)
            turn.notify(HtlcFulfilled(message.id, htlc.add.payment_hash, message.payment_preimage))

    def _receive_extension(self, turn: Turn, message: Message) -> None:
        extension = turn.extensions.owner_of(message)
        if type(message) is extension.request:
            answer_request(turn, message)
        elif type(message) is extension.signatures:
            receive_signatures(turn, message)
        else:
            state = turn.state.extension_states[extension.name]
            turn.adopt(extension, extension.receive(turn.view(), state, message))

    # --- the holder's wishes -----------------------------------------------------------
    def funding_confirmed(self) -> tuple[Effect, ...]:
        """The funding transaction has reached the minimum depth: say `channel_ready`."""

        def act(turn: Turn) -> None:
            if turn.state.holder_ready:
                return
            turn.update(holder_ready=True)
            if turn.state.session.link is Link.UP:
                turn.send(channel_ready(turn))
            _become_usable(turn)

        return self._wish(act)

    def add_htlc(
        self, *, amount_msat: Msat, payment_hash: bytes, cltv_expiry: int, onion: bytes
    ) -> tuple[int, tuple[Effect, ...]]:
        """Offer an HTLC; returns its id. Takes effect with `commit`."""
        htlc_id = self.state.holder_htlcs_added
        add = UpdateAddHtlc(
            channel_id=self.channel_id,
            id=htlc_id,
            amount_msat=amount_msat,
            payment_hash=payment_hash,
            cltv_expiry=cltv_expiry,
            onion_routing_packet=onion,
        )
        return htlc_id, self.propose(add)

    def fulfill_htlc(self, htlc_id: int, preimage: bytes) -> tuple[Effect, ...]:
        return self.propose(
            UpdateFulfillHtlc(channel_id=self.channel_id, id=htlc_id, payment_preimage=preimage)
        )

    def fail_htlc(self, htlc_id: int, reason: bytes) -> tuple[Effect, ...]:
        """`reason`: the encrypted error onion for the sender (BOLT 4, "Returning Errors")."""
        return self.propose(UpdateFailHtlc(channel_id=self.channel_id, id=htlc_id, reason=reason))

    def update_fee(self, feerate_per_kw: int) -> tuple[Effect, ...]:
        return self.propose(UpdateFee(channel_id=self.channel_id, feerate_per_kw=feerate_per_kw))

    def propose(self, update: Message) -> tuple[Effect, ...]:
        """Add an update of ours, of the base protocol or of an extension."""

        def act(turn: Turn) -> None:
            if turn.state.session.link is not Link.UP:
                raise ChannelRefusal("the peer is not connected")
            add_update(turn, Side.HOLDER, update)
            turn.send_update(update)

        return self._wish(act)

    def commit(self) -> tuple[Effect, ...]:
        """Sign what is pending as soon as the protocol lets us; nothing if there is nothing."""
        return self._wish(commit)

    def extend(
        self, name: str, act: Callable[[Turn, Any], ExtensionStep[Any]]
    ) -> tuple[Effect, ...]:
        """Let an extension do something on the holder's wish: `act(turn, its state)`."""

        def run(turn: Turn) -> None:
            extension = turn.extensions[name]
            turn.adopt(extension, act(turn, turn.state.extension_states[name]))

        return self._wish(run)

    def shutdown(self, script: bytes | None = None) -> tuple[Effect, ...]:
        """Close cooperatively, to the script announced at open unless told otherwise."""
        chosen = script or self.state.config.holder.upfront_shutdown_script
        return self._wish(lambda turn: begin_shutdown(turn, chosen))

    def fail(self, reason: str, *, at_fault: Side) -> tuple[Effect, ...]:
        """End the channel unilaterally: tell the peer and publish our commitment."""
        if self.state.phase in (Phase.FAILED, Phase.CLOSED, Phase.BEHIND):
            return ()
        turn = self._turn()
        turn.enter(Phase.FAILED)
        if turn.state.session.link is not Link.DOWN:
            turn.send(ErrorMessage(channel_id=self.channel_id, data=reason.encode()[:256]))
        coloured = self.holder_commitment().frozen.coloured
        turn.effects.append(Broadcast(self.holder_commitment_tx(), "unilateral close", coloured))
        turn.notify(ChannelFailed(reason, at_fault))
        return self._adopt(turn)

    def funding_spent(self, tx: Tx) -> tuple[Effect, ...]:
        """`tx` spends the funding output. The cooperative close ends the channel well.

        We have signed it, but the peer's `closing_signed` is still under way, or was lost. For a
        commitment nothing is done: `fail` follows.
        """
        if self.state.phase is not Phase.SHUTTING_DOWN or is_commitment(tx):
            return ()
        turn = self._turn()
        turn.enter(Phase.CLOSED)
        turn.notify(ChannelClosed(tx, closing_coloured(turn, tx)))
        return self._adopt(turn)

    # --- what there is -----------------------------------------------------------------
    def unresolved_htlcs(self) -> tuple[HtlcReceived, ...]:
        """Irrevocably committed HTLCs of the counterparty that we neither fulfilled nor failed."""
        removed = {u.id for u in self.state.holder_log if isinstance(u, REMOVALS)}
        return tuple(
            HtlcReceived(
                htlc.add.id,
                htlc.add.amount_msat,
                htlc.add.payment_hash,
                htlc.add.cltv_expiry,
                htlc.add.onion_routing_packet,
            )
            for htlc in self.state.base.htlcs
            if htlc.offered_by is Side.COUNTERPARTY and htlc.add.id not in removed
        )

    def holder_commitment(self) -> BuiltCommitment:
        """Our current commitment, unsigned."""
        commitment = self.state.holder_commitment
        return self._turn().commitment(
            Side.HOLDER,
            number=commitment.number,
            point=self.signer.secrets.per_commitment_point(commitment.number),
            included=commitment.included,
        )

    def counterparty_commitments(self) -> tuple[BuiltCommitment, ...]:
        """The counterparty's, one or two: it may broadcast each of them."""
        return tuple(
            self._turn().commitment(
                Side.COUNTERPARTY,
                number=commitment.number,
                point=PublicKey(commitment.per_commitment_point),
                included=commitment.included,
            )
            for commitment in self.state.counterparty_commitments
        )

    def closing_coloured(self, tx: Tx) -> Coloured | None:
        """What moves the tokens in the cooperative closing transaction that was agreed."""
        return closing_coloured(self._turn(), tx)

    def holder_commitment_tx(self) -> Tx:
        """Our current commitment with both signatures."""
        built = self.holder_commitment()
        ours = self.signer.ecdsa(
            self.signer.secrets.funding, commitment_digest(built.frozen.tx, built.terms)
        )
        witness = funding_witness(
            funding_keys=built.terms.funding_keys,
            signatures=(ours, self.state.holder_commitment.signature),
        )
        return built.frozen.tx.with_witness(0, witness)


def _receive_channel_ready(turn: Turn, message: ChannelReady) -> None:
    point = peer_point(message.second_per_commitment_point, "second_per_commitment_point")
    if turn.state.counterparty_ready:
        return
    turn.update(counterparty_ready=True, counterparty_next_point=point.data)
    _become_usable(turn)


def _become_usable(turn: Turn) -> None:
    state = turn.state
    if not (state.holder_ready and state.counterparty_ready):
        return
    if state.phase is Phase.AWAITING_READY:
        turn.enter(Phase.NORMAL)
        turn.notify(ChannelUsable(state.config.funding_outpoint))

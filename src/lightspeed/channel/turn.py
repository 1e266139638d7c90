"""One step of a channel while it happens.

A turn starts from a state and gathers what changes and what is to be done. The channel adopts
it whole at the end; an error on the way leaves the channel as it was.
"""

from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import InvalidKey, PublicKey
from lightspeed.channel.build import BuiltCommitment, commitment_context, commitment_of
from lightspeed.channel.effects import Effect, Notify, Put, Send
from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import ChannelView, Extension, Extensions, ExtensionStep
from lightspeed.channel.phases import TRANSITIONS, Phase
from lightspeed.channel.sheet import Sheet, fold
from lightspeed.channel.side import Side
from lightspeed.channel.signer import Signer
from lightspeed.channel.state import ChannelState, Included
from lightspeed.wire import Message

__all__ = ["Turn", "peer_point"]


def peer_point(data: bytes, what: str) -> PublicKey:
    """A point that the peer sent; `ChannelViolation` when it is not on the curve."""
    try:
        return PublicKey(data)
    except InvalidKey:
        raise ChannelViolation(f"{what} is not a point") from None


class Turn:
    """Mutable, and gone when the step is over."""

    def __init__(self, state: ChannelState, *, signer: Signer, extensions: Extensions) -> None:
        self.state = state
        self.signer = signer
        self.extensions = extensions
        self.effects: list[Effect] = []
        self.puts: list[Put] = []

    # --- what changes ------------------------------------------------------------------
    def update(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def enter(self, phase: Phase) -> None:
        """Go on to `phase`, or stay in it; `ChannelViolation` unless the table has the way."""
        if phase is not self.state.phase and phase not in TRANSITIONS[self.state.phase]:
            raise ChannelViolation(f"{phase.value} after {self.state.phase.value}")
        self.update(phase=phase)

    def update_session(self, **changes: Any) -> None:
        self.update(session=replace(self.state.session, **changes))

    def append_update(self, sender: Side, update: Message) -> None:
        if sender is Side.HOLDER:
            self.update(holder_log=(*self.state.holder_log, update))
        else:
            self.update(counterparty_log=(*self.state.counterparty_log, update))

    def adopt(self, extension: Extension[Any, Any], step: ExtensionStep[Any]) -> None:
        """Take over what an extension did."""
        self.set_extension_state(extension, step.state)
        self.effects.extend(step.effects)
        self.puts.extend(step.puts)

    def set_extension_state(self, extension: Extension[Any, Any], state: Any) -> None:
        if state is not self.state.extension_states[extension.name]:
            states = {**self.state.extension_states, extension.name: state}
            self.update(extension_states=states)

    # --- what is to be done ------------------------------------------------------------
    def send(self, message: Message) -> None:
        self.effects.append(Send(message))

    def send_update(self, update: Message) -> None:
        """Now, or once the question that we asked is answered ("Signatures for children")."""
        session = self.state.session
        if session.pending is None:
            self.send(update)
        else:
            self.update_session(held=(*session.held, update))

    def notify(self, event: object) -> None:
        self.effects.append(Notify(event))

    # --- what there is -----------------------------------------------------------------
    @property
    def channel_id(self) -> bytes:
        return self.state.config.channel_id

    def view(self) -> ChannelView:
        return ChannelView(
            config=self.state.config,
            signer=self.signer,
            base=self.state.base,
            shutting_down=self.state.phase is Phase.SHUTTING_DOWN,
            counterparty_shut_down=self.state.counterparty_shutdown_script is not None,
            updates=(*self.state.holder_log, *self.state.counterparty_log),
        )

    def sheet(self, included: Included) -> Sheet:
        """The commitment's content; `ChannelViolation` when the updates cannot be applied."""
        return fold(
            self.state.base,
            holder_updates=self.state.holder_log[: included.holder],
            counterparty_updates=self.state.counterparty_log[: included.counterparty],
            extensions=self.extensions,
            states=self.state.extension_states,
        )

    def commitment(
        self, broadcaster: Side, *, number: int, point: PublicKey, included: Included
    ) -> BuiltCommitment:
        context = commitment_context(
            self.state.config, broadcaster=broadcaster, number=number, point=point
        )
        return commitment_of(
            self.view(),
            self.sheet(included),
            context,
            extensions=self.extensions,
            states=self.state.extension_states,
        )

    def next_holder_commitment(self) -> BuiltCommitment:
        """The one that the counterparty may sign now."""
        number = self.state.holder_commitment.number + 1
        return self.commitment(
            Side.HOLDER,
            number=number,
            point=self.signer.secrets.per_commitment_point(number),
            included=self.state.next_included(Side.HOLDER),
        )

    def next_counterparty_commitment(self, included: Included) -> BuiltCommitment:
        return self.commitment(
            Side.COUNTERPARTY,
            number=self.state.counterparty_commitments[-1].number + 1,
            point=PublicKey(self.state.counterparty_next_point),
            included=included,
        )

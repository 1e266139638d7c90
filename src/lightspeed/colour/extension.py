"""Tokens of one RGB contract in a channel: what the channel asks, and who answers it."""

from collections.abc import Mapping, Sequence

from lightspeed.bitcoin import PublicKey
from lightspeed.channel import (
    ChannelRefusal,
    ChannelView,
    ChannelViolation,
    CommitmentContext,
    ContentChange,
    ExtensionStep,
    Facts,
    Lookup,
    Remedy,
    Sheet,
    Side,
)
from lightspeed.channel.graph import Draft, Frozen, Output
from lightspeed.colour import offers, updates
from lightspeed.colour.commitment import OPRET_WEIGHT, check_outputs, coloured_draft
from lightspeed.colour.messages import (
    COLOUR_MESSAGES,
    RefusedSubject,
    RgbAsk,
    RgbOffer,
    RgbRefuse,
    RgbTrade,
)
from lightspeed.colour.negotiation import (
    ACCEPTER_TLV,
    EXTENSION_NAME,
    OPENER_TLV,
    ColourParameters,
    ColourTerms,
    accepter_record,
    negotiate,
)
from lightspeed.colour.offers import Act
from lightspeed.colour.state import (
    ColourContent,
    ColourState,
    dump_content,
    dump_state,
    load_content,
    load_state,
)
from lightspeed.wire import Message

__all__ = ["Colouring"]


class Colouring:
    """A `channel.Extension[ColourState, ColourContent]`; the last one of its channel.

    `terms` are the opener's: what it brings, or, for the accepter, what it was offered and
    agrees to. Once a channel is open its parameters say it.
    """

    name = EXTENSION_NAME
    feature_bit = 340
    messages: tuple[type[Message], ...] = COLOUR_MESSAGES
    updates: tuple[type[Message], ...] = (RgbTrade,)
    request: type[Message] | None = None
    signatures: type[Message] | None = None

    def __init__(self, terms: ColourTerms | None = None) -> None:
        self._terms = terms

    # --- establishment -----------------------------------------------------------------
    def offer(self, *, extension_key: PublicKey, funder: bool) -> dict[int, bytes]:
        if self._terms is None:
            raise ChannelRefusal("which tokens come into the channel is not known")
        if funder:
            return {OPENER_TLV: self._terms.to_bytes()}
        return {ACCEPTER_TLV: accepter_record(self._terms.contract_id)}

    def negotiate(self, *, offered: Mapping[int, bytes], received: Mapping[int, bytes]) -> bytes:
        return negotiate(offered=offered, received=received).to_bytes()

    def initial_state(self, parameters: bytes) -> ColourState:
        return ColourState(parameters=ColourParameters.from_bytes(parameters))

    def initial_content(self, parameters: bytes) -> ColourContent:
        if not ColourParameters.from_bytes(parameters).allocations:
            raise ChannelRefusal("what is on the funding output is not known: `with_allocations`")
        return ColourContent()

    def initial_tokens(self, parameters: bytes) -> tuple[int, int]:
        terms = ColourParameters.from_bytes(parameters).terms
        return terms.tokens - terms.pushed, terms.pushed

    # --- storage -----------------------------------------------------------------------
    def dump_state(self, state: ColourState) -> bytes:
        return dump_state(state)

    def load_state(self, parameters: bytes, data: bytes, lookup: Lookup) -> ColourState:
        return load_state(parameters, data)

    def dump_content(self, content: ColourContent) -> bytes:
        return dump_content(content)

    def load_content(self, data: bytes) -> ColourContent:
        return load_content(data)

    # --- wishes: `channel.extend("rgb", colouring.ask_for(...))` --------------------------
    def ask_for(self, tokens: int) -> Act:
        """Buyer: `TokensOffered` or `AskRefused` answers, unless the connection is lost.

        The offer is taken with `channel.propose(RgbTrade(...))`.
        """
        return offers.ask(tokens)

    def offer_tokens(self, tokens: int, price_msat: int) -> Act:
        """Seller, after `TokensAsked`. The tokens are reserved while the offer stands."""
        return offers.offer(tokens, price_msat)

    def refuse_ask(self, text: bytes = b"") -> Act:
        return offers.refuse_ask(text)

    def withdraw_offer(self, text: bytes = b"") -> Act:
        """Seller: the standing offer is void once the buyer has answered; it may cross a trade."""
        return offers.withdraw(text)

    # --- messages ----------------------------------------------------------------------
    def receive(
        self, view: ChannelView, state: ColourState, message: Message
    ) -> ExtensionStep[ColourState]:
        match message:
            case RgbAsk():
                return offers.receive_ask(state, message)
            case RgbOffer():
                return offers.receive_offer(view, state, message)
            case RgbRefuse(subject=RefusedSubject.ASK):
                return offers.receive_refusal(state, message)
            case RgbRefuse(subject=RefusedSubject.OFFER):
                return offers.receive_withdrawal(view, state)
            case _:
                raise ChannelViolation(f"{type(message).__name__} out of place")

    def disconnected(self, state: ColourState) -> ColourState:
        return state.without_connection()

    def reconnected(self, view: ChannelView, state: ColourState) -> ExtensionStep[ColourState]:
        return ExtensionStep(state)

    # --- updates -----------------------------------------------------------------------
    def check_update(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        sender: Side,
        update: Message,
    ) -> None:
        assert isinstance(update, RgbTrade)
        updates.check(view, state, sender, update)

    def check_sheet(
        self,
        view: ChannelView,
        state: ColourState,
        sheet: Sheet,
        broadcaster: Side,
        *,
        extension_weight: int,
        careful: bool,
    ) -> None:
        check_outputs(view, sheet, extension_weight=extension_weight, careful=careful)
        if careful and broadcaster is Side.HOLDER:
            updates.check_reserved(state, sheet)

    def apply(
        self, state: ColourState, content: ColourContent, sender: Side, update: Message
    ) -> ContentChange[ColourContent]:
        assert isinstance(update, RgbTrade)
        return updates.apply(content, sender, update)

    def committed(
        self, view: ChannelView, state: ColourState, sender: Side, update: Message
    ) -> ExtensionStep[ColourState]:
        assert isinstance(update, RgbTrade)
        return updates.committed(state, sender, update)

    # --- commitments -------------------------------------------------------------------
    def weight(self, state: ColourState, content: ColourContent) -> int:
        return OPRET_WEIGHT

    def outputs(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        context: CommitmentContext,
    ) -> Sequence[Output]:
        return ()

    def modify(
        self, view: ChannelView, state: ColourState, content: ColourContent, draft: Draft
    ) -> Draft:
        agreed = state.parameters
        return coloured_draft(draft, contract_id=agreed.contract_id, inputs=agreed.allocations)

    # --- signatures for children: it has none --------------------------------------------
    def sign_children(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[Message, ...]:
        return ()

    def ask(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> Message | None:
        return None

    def check_request(self, request: Message, context: CommitmentContext, frozen: Frozen) -> None:
        raise ChannelViolation("colouring has no children to sign")

    def collect(self, view: ChannelView, state: ColourState, message: Message) -> ColourState:
        raise ChannelViolation("colouring has no children to sign")

    def answered(self, state: ColourState, context: CommitmentContext) -> bool:
        return True

    def take_signatures(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[ColourState, bytes]:
        return state, b""

    # --- the end -----------------------------------------------------------------------
    def blocks_closing(self, state: ColourState, content: ColourContent) -> bool:
        return False

    def remedies(
        self,
        view: ChannelView,
        state: ColourState,
        content: ColourContent,
        context: CommitmentContext,
        frozen: Frozen,
        *,
        child_signatures: bytes,
        facts: Facts,
    ) -> Sequence[Remedy]:
        """The channel's own outputs carry all its tokens."""
        return ()

"""Lightspeed funding as a channel extension: what the channel asks, and who answers it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, PublicKey
from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import (
    ChannelView,
    CommitmentContext,
    ContentChange,
    ExtensionStep,
    Lookup,
)
from lightspeed.channel.graph import Draft, Frozen, Output
from lightspeed.channel.onchain import Facts, Remedy
from lightspeed.channel.sheet import Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.turn import Turn
from lightspeed.lsf import children, requests, updates
from lightspeed.lsf.limits import (
    CHAIN_RULES,
    DEFAULT_MAX_EXPOSURE_SAT,
    DelayRules,
    PayeeLimits,
)
from lightspeed.lsf.messages import (
    LSF_MESSAGES,
    LsfAccept,
    LsfClose,
    LsfCloseRequest,
    LsfLocks,
    LsfOpen,
    LsfPropose,
    LsfReject,
    LsfSettle,
    LsfSignatures,
    LsfSignRequest,
    Party,
)
from lightspeed.lsf.negotiation import LsfParameters, negotiate, offer
from lightspeed.lsf.proposals import Proposals
from lightspeed.lsf.resolution import resolve
from lightspeed.lsf.scripts import LSF_OUTPUT_WEIGHT
from lightspeed.lsf.state import (
    LsfContent,
    LsfState,
    dump_content,
    dump_state,
    load_content,
    load_state,
)
from lightspeed.lsf.updates import LsfUpdate
from lightspeed.payment import Book
from lightspeed.units import Sat
from lightspeed.wire import Message

__all__ = ["LightspeedFunding"]


class LightspeedFunding:
    """A `channel.Extension[LsfState, LsfContent]`.

    `party` is what this node offers to be when a channel is opened; afterwards the channel's
    parameters say it. `origins` are those that it serves as a payee, which loses at most
    `max_exposure_sat` and `max_exposure_tokens` to one channel; `claim_feerate` tells the current
    fee rate, at which the locks of a new book have to be worth claiming.
    """

    name = children.EXTENSION_NAME
    feature_bit = 338
    messages: tuple[type[Message], ...] = LSF_MESSAGES
    updates: tuple[type[Message], ...] = (LsfOpen, LsfSettle, LsfClose)
    request: type[Message] | None = LsfSignRequest
    signatures: type[Message] | None = LsfSignatures

    def __init__(
        self,
        *,
        party: Party,
        rules: DelayRules = CHAIN_RULES,
        limits: PayeeLimits | None = None,
        origins: frozenset[str] = frozenset(),
        max_exposure_sat: Sat = DEFAULT_MAX_EXPOSURE_SAT,
        max_exposure_tokens: int = 0,
        claim_feerate: Callable[[], FeeRate] = lambda: FEE_RATE_FLOOR,
    ) -> None:
        self._party = party
        self._limits = limits or PayeeLimits()
        self._proposals = Proposals(
            rules=rules,
            origins=origins,
            max_exposure_sat=max_exposure_sat,
            max_exposure_tokens=max_exposure_tokens,
            claim_feerate=claim_feerate,
        )

    # --- establishment -----------------------------------------------------------------
    def offer(self, *, extension_key: PublicKey, funder: bool) -> dict[int, bytes]:
        return offer(self._party, basepoint=extension_key, limits=self._limits)

    def negotiate(self, *, offered: Mapping[int, bytes], received: Mapping[int, bytes]) -> bytes:
        return negotiate(offered=offered, received=received).to_bytes()

    def initial_state(self, parameters: bytes) -> LsfState:
        return LsfState(parameters=LsfParameters.from_bytes(parameters))

    def initial_content(self, parameters: bytes) -> LsfContent:
        return LsfContent()

    def initial_tokens(self, parameters: bytes) -> tuple[int, int]:
        return 0, 0

    # --- storage -----------------------------------------------------------------------
    def dump_state(self, state: LsfState) -> bytes:
        return dump_state(state)

    def load_state(self, parameters: bytes, data: bytes, lookup: Lookup) -> LsfState:
        return load_state(parameters, data, lookup)

    def dump_content(self, content: LsfContent) -> bytes:
        return dump_content(content)

    def load_content(self, data: bytes) -> LsfContent:
        return load_content(data)

    # --- messages ----------------------------------------------------------------------
    def propose_book(self, book: Book) -> Callable[[Turn, LsfState], ExtensionStep[LsfState]]:
        """The payer offers a book: `channel.extend("lsf", lsf.propose_book(book))`.

        The book's seed must be stored before. `BookAccepted` or `BookRejected` answers;
        after the former, `LsfOpen` is proposed to the channel like any update.
        """
        return self._proposals.propose(book)

    def request_close(self, book_id: bytes) -> Callable[[Turn, LsfState], ExtensionStep[LsfState]]:
        """The payer pays no more from the book: `channel.extend("lsf", ...)`.

        `CloseRequested` tells the payee, after every reconnection again, until `BookClosed`.
        """
        return requests.request(book_id)

    def receive(
        self, view: ChannelView, state: LsfState, message: Message
    ) -> ExtensionStep[LsfState]:
        match message:
            case LsfPropose():
                return self._proposals.receive_propose(view, state, message)
            case LsfLocks():
                return self._proposals.receive_locks(view, state, message)
            case LsfAccept():
                return self._proposals.receive_accept(view, state, message)
            case LsfReject():
                return self._proposals.receive_reject(state, message)
            case LsfCloseRequest():
                return requests.receive(view, state, message)
            case _:
                raise ChannelViolation(f"{type(message).__name__} out of place")

    def disconnected(self, state: LsfState) -> LsfState:
        return state.without_connection()

    def reconnected(self, view: ChannelView, state: LsfState) -> ExtensionStep[LsfState]:
        step = self._proposals.repeat(state)
        return replace(step, effects=(*step.effects, *requests.repeat(view, state)))

    # --- updates -----------------------------------------------------------------------
    def check_update(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        sender: Side,
        update: Message,
    ) -> None:
        assert isinstance(update, LsfUpdate)
        updates.check(view, state, content, sender, update)

    def check_sheet(
        self,
        view: ChannelView,
        state: LsfState,
        sheet: Sheet,
        broadcaster: Side,
        *,
        extension_weight: int,
        careful: bool,
    ) -> None:
        updates.check_sheet(view, state, sheet, broadcaster, extension_weight=extension_weight)

    def apply(
        self, state: LsfState, content: LsfContent, sender: Side, update: Message
    ) -> ContentChange[LsfContent]:
        assert isinstance(update, LsfUpdate)
        return updates.apply(state, content, update)

    def committed(
        self, view: ChannelView, state: LsfState, sender: Side, update: Message
    ) -> ExtensionStep[LsfState]:
        assert isinstance(update, LsfUpdate)
        return updates.committed(state, update)

    # --- commitments -------------------------------------------------------------------
    def weight(self, state: LsfState, content: LsfContent) -> int:
        return LSF_OUTPUT_WEIGHT * len(content.books)

    def outputs(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        context: CommitmentContext,
    ) -> Sequence[Output]:
        return children.lsf_outputs(state, content, context)

    def modify(
        self, view: ChannelView, state: LsfState, content: LsfContent, draft: Draft
    ) -> Draft:
        return draft

    # --- signatures for children -------------------------------------------------------
    def sign_children(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[Message, ...]:
        return children.sign(view, state, content, context, frozen)

    def ask(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> Message | None:
        return children.request(view, state, content, context, frozen)

    def check_request(self, request: Message, context: CommitmentContext, frozen: Frozen) -> None:
        assert isinstance(request, LsfSignRequest)
        children.check_request(request, context, frozen)

    def collect(self, view: ChannelView, state: LsfState, message: Message) -> LsfState:
        assert isinstance(message, LsfSignatures)
        return children.collect(state, message)

    def answered(self, state: LsfState, context: CommitmentContext) -> bool:
        return children.all_arrived(state, context)

    def take_signatures(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[LsfState, bytes]:
        return children.verify(state, content, context, frozen)

    # --- the end -----------------------------------------------------------------------
    def blocks_closing(self, state: LsfState, content: LsfContent) -> bool:
        return bool(content.books)

    def remedies(
        self,
        view: ChannelView,
        state: LsfState,
        content: LsfContent,
        context: CommitmentContext,
        frozen: Frozen,
        *,
        child_signatures: bytes,
        facts: Facts,
    ) -> Sequence[Remedy]:
        return tuple(
            resolve(
                view,
                state,
                content,
                context,
                frozen,
                child_signatures=child_signatures,
                facts=facts,
            )
        )

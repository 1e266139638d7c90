"""gLNP: what a channel extension is, and what the channel asks of it.

An extension adds outputs to the commitments and transactions that spend them, without new
messages in the base protocol. The channel calls it; it never reaches into the channel. All
its methods are pure: they take what they need and return what changed.

Two kinds of data belong to an extension:

* its *state* (`S`), one per channel, beside the commitments: proposals, books, signatures
  that are being collected;
* its *content* (`C`) of a commitment, which updates change and which both sides fold to the
  same value: which books are open, how much of them is settled.

docs/protocol.md, "Extensions"; Paper 2.1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from lightspeed.bitcoin import PublicKey
from lightspeed.channel.effects import Effect, Put
from lightspeed.channel.graph import Draft, Frozen, Output
from lightspeed.channel.keys import CommitmentKeys
from lightspeed.channel.side import Side
from lightspeed.wire import Message

if TYPE_CHECKING:
    from lightspeed.channel.config import ChannelConfig
    from lightspeed.channel.onchain import Facts, Remedy
    from lightspeed.channel.sheet import Sheet
    from lightspeed.channel.signer import Signer

__all__ = [
    "ChannelView",
    "CommitmentContext",
    "ContentChange",
    "Extension",
    "ExtensionStep",
    "Extensions",
    "Lookup",
]

S = TypeVar("S")
C = TypeVar("C")

Lookup = Callable[[str, bytes], bytes | None]
"""Reads back one record that a `Put` stored: (table, key) -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """What an extension may know of the channel while it acts."""

    config: "ChannelConfig"
    signer: "Signer"
    base: "Sheet"
    """What is irrevocably committed on both sides."""
    shutting_down: bool
    counterparty_shut_down: bool = False
    """The counterparty said `shutdown`: it knows that it may open nothing new."""
    updates: tuple[Message, ...] = ()
    """Under way: said by either side, and not irrevocably committed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentContext:
    """One commitment, before or after it is frozen."""

    broadcaster: Side
    number: int
    keys: CommitmentKeys

    @property
    def per_commitment_point(self) -> PublicKey:
        return self.keys.per_commitment_point


@dataclass(frozen=True, slots=True)
class ExtensionStep(Generic[S]):
    """The extension's new state, what has to be stored with it, and what is to happen."""

    state: S
    effects: tuple[Effect, ...] = ()
    puts: tuple[Put, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChange(Generic[C]):
    """What an update does to a commitment: new content, and what each side gains."""

    content: C
    holder_msat: int = 0
    counterparty_msat: int = 0
    holder_tokens: int = 0
    counterparty_tokens: int = 0


class Extension(Protocol[S, C]):
    """Everything a channel asks of an extension.

    Methods raise `ChannelViolation` for what a peer must not do and `ChannelRefusal` for what
    the holder cannot do now; nothing else.
    """

    name: str
    feature_bit: int
    """The even bit: offered odd in `init`, set even in the channel type of a channel with it."""
    messages: tuple[type[Message], ...]
    """All messages that it owns: odd types >= 32768."""
    updates: tuple[type[Message], ...]
    """Those of them that change commitments, and follow the rules of BOLT 2 for `update_*`."""
    request: type[Message] | None
    """The question that has to be answered before a commitment is signed, if it has one."""
    signatures: type[Message] | None
    """The message that carries signatures for children."""

    # --- establishment -----------------------------------------------------------------
    def offer(self, *, extension_key: PublicKey, funder: bool) -> dict[int, bytes]:
        """The TLV records (types >= 65536, odd) for our open_channel or accept_channel."""

    def negotiate(self, *, offered: Mapping[int, bytes], received: Mapping[int, bytes]) -> bytes:
        """The parameters of this channel, kept in its configuration.

        `ChannelViolation` when what the peer sent does not parse or does not fit.
        """

    def initial_state(self, parameters: bytes) -> S: ...

    def initial_content(self, parameters: bytes) -> C: ...

    def initial_tokens(self, parameters: bytes) -> tuple[int, int]:
        """What the opener and the accepter have in the first commitments.

        `ChannelRefusal` when it is not known yet.
        """

    # --- storage -----------------------------------------------------------------------
    def dump_state(self, state: S) -> bytes:
        """Without what belongs to the connection and without records stored by `puts`."""

    def load_state(self, parameters: bytes, data: bytes, lookup: Lookup) -> S: ...

    def dump_content(self, content: C) -> bytes: ...

    def load_content(self, data: bytes) -> C: ...

    # --- messages ----------------------------------------------------------------------
    def receive(self, view: ChannelView, state: S, message: Message) -> ExtensionStep[S]:
        """A message of the peer that is neither an update, nor a request, nor signatures."""

    def check_update(
        self, view: ChannelView, state: S, content: C, sender: Side, update: Message
    ) -> None:
        """Is `update` allowed now, on top of `content` (everything that is pending applied)?"""

    def check_sheet(
        self,
        view: ChannelView,
        state: S,
        sheet: "Sheet",
        broadcaster: Side,
        *,
        extension_weight: int,
        careful: bool,
    ) -> None:
        """May this be the next commitment of `broadcaster`? Asked after every update.

        And of the first ones. `extension_weight` is that of all extensions' outputs. `careful`
        when the holder proposes something that costs it: then a margin for what may cross it is
        in place.
        """

    def apply(self, state: S, content: C, sender: Side, update: Message) -> ContentChange[C]: ...

    def committed(
        self, view: ChannelView, state: S, sender: Side, update: Message
    ) -> ExtensionStep[S]:
        """`update` is now irrevocably committed on both sides."""

    def disconnected(self, state: S) -> S:
        """Forget what a lost connection makes void."""

    def reconnected(self, view: ChannelView, state: S) -> ExtensionStep[S]:
        """After both `channel_reestablish`; say again what was not answered."""

    # --- commitments -------------------------------------------------------------------
    def weight(self, state: S, content: C) -> int:
        """Weight units that its outputs add to a commitment."""

    def outputs(
        self, view: ChannelView, state: S, content: C, context: CommitmentContext
    ) -> Sequence[Output]: ...

    def modify(self, view: ChannelView, state: S, content: C, draft: Draft) -> Draft:
        """Runs last, on commitments and on the cooperative closing transaction, in their order.

        The draft as it is, unless something in it has to commit to everything else.
        """

    # --- signatures for children -------------------------------------------------------
    def sign_children(
        self,
        view: ChannelView,
        state: S,
        content: C,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[Message, ...]:
        """Our signatures for the children of this commitment that the peer is to hold.

        Empty when it needs none. Used before our `commitment_signed` (the counterparty's
        commitment) and to answer its request (our own).
        """

    def ask(
        self, view: ChannelView, state: S, content: C, context: CommitmentContext, frozen: Frozen
    ) -> Message | None:
        """What has to be answered before we may sign this commitment of the counterparty."""

    def check_request(self, request: Message, context: CommitmentContext, frozen: Frozen) -> None:
        """`ChannelViolation` when the peer asks about another commitment than this one."""

    def collect(self, view: ChannelView, state: S, message: Message) -> S:
        """Signatures of the peer arrived, whole or in part."""

    def answered(self, state: S, context: CommitmentContext) -> bool:
        """Have all signatures for this commitment's children arrived?"""

    def take_signatures(
        self,
        view: ChannelView,
        state: S,
        content: C,
        context: CommitmentContext,
        frozen: Frozen,
    ) -> tuple[S, bytes]:
        """Verify every signature that we need for this commitment's children.

        Returns what to keep with the commitment (empty: nothing is needed), and the state
        without it. `ChannelViolation` when one is missing or wrong.
        """

    # --- the end -----------------------------------------------------------------------
    def blocks_closing(self, state: S, content: C) -> bool:
        """Must a cooperative close still wait?"""

    def remedies(
        self,
        view: ChannelView,
        state: S,
        content: C,
        context: CommitmentContext,
        frozen: Frozen,
        *,
        child_signatures: bytes,
        facts: "Facts",
    ) -> Sequence["Remedy"]:
        """What to publish once this commitment, current or revoked, is on chain."""


class Extensions:
    """The extensions of one channel, in the order in which they extend commitments."""

    def __init__(self, extensions: Sequence[Extension[Any, Any]] = ()) -> None:
        self._by_name = {extension.name: extension for extension in extensions}
        self._by_message = {
            message: extension for extension in extensions for message in extension.messages
        }

    def __iter__(self) -> Iterator[Extension[Any, Any]]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: str) -> Extension[Any, Any]:
        return self._by_name[name]

    def owns(self, message: Message) -> bool:
        return type(message) in self._by_message

    def owner_of(self, message: Message) -> Extension[Any, Any]:
        """`KeyError` for a message that no extension owns."""
        return self._by_message[type(message)]

    def is_update(self, message: Message) -> bool:
        owner = self._by_message.get(type(message))
        return owner is not None and type(message) in owner.updates

"""Two channels without a network: every message goes through its wire form."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightspeed.bitcoin import OutPoint, p2wpkh, sha256
from lightspeed.channel import (
    Broadcast,
    Channel,
    ChannelSecrets,
    Effect,
    Extensions,
    Notify,
    Opening,
    OpeningTerms,
    Persist,
    Send,
    Signer,
    accept,
    accepted,
    channel_codec,
    funded,
    propose,
    receive_funding_created,
    receive_funding_signed,
)
from lightspeed.units import Msat, Sat
from lightspeed.wire import Message

CHAIN_HASH = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
FUNDING = OutPoint(sha256(b"funding"), 1)
FEERATE_PER_KW = 1_000


def opening_terms(name: str, **changes: Any) -> OpeningTerms:
    values = {
        "shutdown_script": p2wpkh(ChannelSecrets.derive(sha256(name.encode())).payment.public.data)
    }
    return OpeningTerms(**(values | changes))


@dataclass
class Node:
    """One side: its channel, what it stored, what it published, what it learnt."""

    name: str
    signer: Signer
    extensions: Extensions
    channel: Channel | None = None
    store: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    sent: deque[Message] = field(default_factory=deque)
    published: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)

    def lookup(self, table: str, key: bytes) -> bytes | None:
        return self.store.get((table, key))

    def run(self, effects: Iterable[Effect]) -> None:
        done_something = False
        for effect in effects:
            match effect:
                case Persist():
                    assert not done_something, "something happened before it was stored"
                    for put in effect.puts:
                        if put.value is None:
                            self.store.pop((put.table, put.key), None)
                        else:
                            self.store[put.table, put.key] = put.value
                case Send():
                    done_something = True
                    self.sent.append(effect.message)
                case Broadcast():
                    done_something = True
                    self.published.append(effect.tx)
                case Notify():
                    self.events.append(effect.event)

    def restart(self) -> None:
        """Killed and started again: all that is left is the store."""
        assert self.channel is not None
        channel_id = self.channel.channel_id
        self.sent.clear()
        self.channel = Channel.load(
            self.store["channel", channel_id],
            signer=self.signer,
            extensions=self.extensions,
            lookup=self.lookup,
        )

    def take(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Pair:
    """Funder and fundee."""

    funder: Node
    fundee: Node

    def other(self, node: Node) -> Node:
        return self.fundee if node is self.funder else self.funder

    def deliver(self, sender: Node) -> Message | None:
        """One message of `sender`, over the wire format."""
        if not sender.sent:
            return None
        message = sender.sent.popleft()
        receiver = self.other(sender)
        assert receiver.channel is not None
        decoded = channel_codec(receiver.extensions).decode(message.encode())
        assert decoded == message
        receiver.run(receiver.channel.receive(decoded))
        return message

    def settle(self) -> list[str]:
        """Deliver until nobody has anything to say; who said what, in order."""
        said = []
        while self.funder.sent or self.fundee.sent:
            for node in (self.funder, self.fundee):
                message = self.deliver(node)
                if message is not None:
                    said.append(f"{node.name} {type(message).__name__}")
        return said

    def disconnect(self) -> None:
        for node in (self.funder, self.fundee):
            node.sent.clear()
            assert node.channel is not None
            node.run(node.channel.disconnected())

    def reconnect(self) -> None:
        for node in (self.funder, self.fundee):
            assert node.channel is not None
            node.run(node.channel.connected())

    def check_mirrored(self) -> None:
        """Nothing pending: both sides' books agree, and so do the signed transactions."""
        ours, theirs = self.funder.channel, self.fundee.channel
        assert ours is not None
        assert theirs is not None
        assert ours.state.base.holder_msat == theirs.state.base.counterparty_msat
        assert ours.state.base.counterparty_msat == theirs.state.base.holder_msat
        assert ours.state.base.holder_tokens == theirs.state.base.counterparty_tokens
        assert ours.state.base.counterparty_tokens == theirs.state.base.holder_tokens
        for a, b in ((ours, theirs), (theirs, ours)):
            (seen,) = b.counterparty_commitments()
            assert a.holder_commitment().frozen == seen.frozen


def open_pair(
    *,
    funding_sat: int = 5_000_000,
    push_sat: int = 100_000,
    funder_extensions: Sequence[Any] = (),
    fundee_extensions: Sequence[Any] = (),
    funder_terms: OpeningTerms | None = None,
    fundee_terms: OpeningTerms | None = None,
    funding: OutPoint = FUNDING,
    feerate_per_kw: int = FEERATE_PER_KW,
    know_funding: Callable[[Opening], Opening] = lambda opening: opening,
) -> Pair:
    """A channel opened message by message, confirmed, and ready.

    `know_funding` is what either side learns before the first commitments.
    """
    funder = Node(
        "funder", Signer(ChannelSecrets.derive(sha256(b"a"))), Extensions(funder_extensions)
    )
    fundee = Node(
        "fundee", Signer(ChannelSecrets.derive(sha256(b"b"))), Extensions(fundee_extensions)
    )
    opening, open_channel = propose(
        temporary_channel_id=sha256(b"temporary"),
        chain_hash=CHAIN_HASH,
        funding_sat=Sat(funding_sat),
        push_msat=Msat(push_sat * 1_000),
        feerate_per_kw=feerate_per_kw,
        terms=funder_terms or opening_terms("a"),
        signer=funder.signer,
        extensions=funder.extensions,
    )
    accepting, accept_channel = accept(
        open_channel,
        chain_hash=CHAIN_HASH,
        terms=fundee_terms or opening_terms("b"),
        signer=fundee.signer,
        extensions=fundee.extensions,
    )
    acceptance = accepted(opening, accept_channel, extensions=funder.extensions)
    opening, funding_created = funded(
        know_funding(acceptance.opening),
        funding,
        signer=funder.signer,
        extensions=funder.extensions,
    )
    fundee_state, funding_signed = receive_funding_created(
        know_funding(accepting), funding_created, signer=fundee.signer, extensions=fundee.extensions
    )
    funder_state = receive_funding_signed(
        opening, funding_signed, signer=funder.signer, extensions=funder.extensions
    )
    pair = Pair(funder, fundee)
    for node, state in ((funder, funder_state), (fundee, fundee_state)):
        node.channel = Channel(state, signer=node.signer, extensions=node.extensions)
        node.run(node.channel.created())
        node.run(node.channel.funding_confirmed())
    pair.settle()
    return pair

"""What thefts by word are made of: what the victim refuses, holds and can still do."""

import pytest

from channel_pair import Node, Pair
from lightspeed.bitcoin import sha256
from lightspeed.channel import Broadcast, Channel, ChannelViolation, Side
from lightspeed.lsf.children import children
from lightspeed.wire import Message
from lsf_pair import channel_of, payee_of

__all__ = [
    "accepts",
    "can_close_alone",
    "check_payee_holds_signatures",
    "commit",
    "offer",
    "refuses",
    "take",
]


def refuses(node: Node, message: Message, problem: str = "") -> None:
    """A violation that changes nothing."""
    before = channel_of(node).state
    with pytest.raises(ChannelViolation, match=problem or None):
        channel_of(node).receive(message)
    assert channel_of(node).state is before


def accepts(node: Node, message: Message) -> bool:
    """Let the node hear it; False if it is a violation."""
    try:
        node.run(channel_of(node).receive(message))
    except ChannelViolation:
        return False
    return True


def can_close_alone(node: Node) -> bool:
    """Would the node publish its commitment if it had to?"""
    channel = channel_of(node)
    probe = Channel(channel.state, signer=channel.signer, extensions=channel.extensions)
    effects = probe.fail("the end", at_fault=Side.COUNTERPARTY)
    return any(isinstance(effect, Broadcast) for effect in effects)


def offer(node: Node, number: int, amount_sat: int = 20_000) -> None:
    _, effects = channel_of(node).add_htlc(
        amount_msat=amount_sat * 1_000,
        payment_hash=sha256(sha256(bytes([number]))),
        cltv_expiry=500,
        onion=bytes(1_366),
    )
    node.run(effects)


def commit(node: Node) -> None:
    node.run(channel_of(node).commit())


def take(node: Node, kind: type[Message]) -> Message:
    """The first message of this kind that the node has said, off its queue."""
    message = next(message for message in node.sent if isinstance(message, kind))
    node.sent.remove(message)
    return message


def check_payee_holds_signatures(pair: Pair) -> None:
    """For the children of every commitment that somebody could publish now."""
    payee = channel_of(payee_of(pair))
    known = payee.state.extension_states["lsf"]
    held = [
        (payee.holder_commitment(), payee.state.holder_commitment.child_signatures),
        *zip(
            payee.counterparty_commitments(),
            [c.child_signatures for c in payee.state.counterparty_commitments],
            strict=True,
        ),
    ]
    for built, signatures in held:
        kept = signatures.get("lsf", b"")
        expected = children(known, built.sheet.extensions["lsf"], built.context, built.frozen)
        assert len(kept) == 64 * len(expected)
        for index, child in enumerate(expected):
            child.verify(kept[64 * index :][:64])

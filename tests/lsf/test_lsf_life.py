"""A book's life goes by its tables: what they say is done, and nothing else."""

import itertools
import re

import pytest

from channel_pair import Node, Pair
from lightspeed.channel import ChannelRefusal, ChannelViolation
from lightspeed.lsf import LsfClose, LsfOpen, LsfSettle, Party
from lightspeed.lsf.life import IRREVOCABLE, UPDATES, Stage
from lightspeed.payment import SecretBook
from lightspeed.wire import Message
from lsf_pair import (
    channel_of,
    elements_of,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    secret_book,
)
from lsf_world import book_terms

SAID_BY = {LsfOpen: Party.PAYER, LsfSettle: Party.PAYEE, LsfClose: Party.PAYEE}
UNDER_WAY = {after: kind for kind, (_, after) in UPDATES.items()}


def sides(pair: Pair, kind: type[Message]) -> tuple[Node, Node]:
    """Who says it, and who hears it."""
    payer, payee = payer_of(pair), payee_of(pair)
    return (payer, payee) if SAID_BY[kind] is Party.PAYER else (payee, payer)


def message_of(kind: type[Message], secret: SecretBook) -> Message:
    names = {"channel_id": secret.book.channel_id, "book_id": secret.book.book_id}
    if kind is LsfSettle:
        return LsfSettle(**names, first_lock=1, last_lock=1, secrets=(secret.lock_secret(1),))
    if kind is LsfClose:
        return LsfClose(**names, first_lock=1, elements=elements_of(secret, (1, 8)))
    return LsfOpen(**names)


def say(pair: Pair, kind: type[Message], secret: SecretBook) -> None:
    """Both logs have it; no commitment yet."""
    speaker, _ = sides(pair, kind)
    speaker.run(channel_of(speaker).propose(message_of(kind, secret)))
    pair.deliver(speaker)


def make_irrevocable(pair: Pair) -> None:
    for node in (pair.funder, pair.fundee):
        node.run(channel_of(node).commit())
    pair.settle()


def in_stage(stage: Stage) -> tuple[Pair, SecretBook]:
    pair = open_lsf_pair()
    secret = secret_book(pair, book_terms(chain_length=8))
    if stage is not Stage.UNKNOWN:
        propose_book(pair, secret.book)
        pair.settle()
    if stage in (Stage.UNKNOWN, Stage.ACCEPTED):
        return pair, secret
    say(pair, LsfOpen, secret)
    if stage is Stage.OPENING:
        return pair, secret
    make_irrevocable(pair)
    if stage is Stage.OPEN:
        return pair, secret
    say(pair, UNDER_WAY[Stage.CLOSING if stage is Stage.CLOSED else stage], secret)
    if stage is Stage.CLOSED:
        make_irrevocable(pair)
    return pair, secret


def stage_told(node: Node, pair: Pair, secret: SecretBook) -> str:
    """By what it refuses to say or to hear; in each stage there is something."""
    channel, before = channel_of(node), channel_of(node).state
    for kind in UPDATES:
        act = channel.propose if node is sides(pair, kind)[0] else channel.receive
        refusal = ""
        try:
            act(message_of(kind, secret))
        except (ChannelRefusal, ChannelViolation) as refused:
            refusal = str(refused)
        channel.state = before
        found = re.search(r"of a book that is (\w+), not", refusal)
        if found:
            return found[1]
    raise AssertionError("nothing is refused")


@pytest.mark.parametrize(
    ("stage", "kind"),
    [*itertools.product(Stage, UPDATES)],
    ids=lambda value: value.value if isinstance(value, Stage) else value.__name__,
)
def test_an_update_is_said_in_its_stage_alone(stage: Stage, kind: type[Message]) -> None:
    pair, secret = in_stage(stage)
    speaker, hearer = sides(pair, kind)
    needed, after = UPDATES[kind]
    if stage is not needed:
        told = f"is {stage.value}, not {needed.value}"
        with pytest.raises(ChannelRefusal, match=told):
            channel_of(speaker).propose(message_of(kind, secret))
        with pytest.raises(ChannelViolation, match=told):
            channel_of(hearer).receive(message_of(kind, secret))
        return
    for reached in (after, IRREVOCABLE[after]):
        if reached is after:
            say(pair, kind, secret)
        else:
            make_irrevocable(pair)
        for node in (speaker, hearer):
            assert stage_told(node, pair, secret) == reached.value


@pytest.mark.parametrize("kind", UPDATES, ids=lambda kind: kind.__name__)
def test_what_a_disconnection_forgot_leads_back_for_who_heard_it(kind: type[Message]) -> None:
    """Until it is said again."""
    needed, after = UPDATES[kind]
    pair, secret = in_stage(needed)
    speaker, hearer = sides(pair, kind)
    say(pair, kind, secret)
    pair.disconnect()
    pair.reconnect()
    for node in (speaker, hearer):
        pair.deliver(node)  # channel_reestablish
    assert stage_told(hearer, pair, secret) == needed.value
    pair.settle()
    make_irrevocable(pair)
    for node in (speaker, hearer):
        assert stage_told(node, pair, secret) == IRREVOCABLE[after].value

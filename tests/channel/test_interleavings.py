"""Any order of wishes, deliveries and lost connections ends with both sides agreeing."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from channel_pair import Node, Pair, open_pair
from lightspeed.channel import ChannelRefusal, Effect, HtlcFulfilled, Link, Side
from lightspeed.units import Msat

ONION = bytes(1366)


def preimage(number: int) -> bytes:
    return hashlib.sha256(b"preimage %d" % number).digest()


class TwoChannels(RuleBasedStateMachine):
    """Both sides are honest; the network and the power supply are not."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Pair = open_pair(push_sat=2_000_000)
        self.total_msat = 5_000_000_000
        self.next_preimage = 0
        self.preimages: dict[bytes, bytes] = {}

    def node(self, side: bool) -> Node:
        return self.pair.funder if side else self.pair.fundee

    @property
    def connected(self) -> bool:
        return self.pair.funder.channel.state.session.link is not Link.DOWN

    def wish(self, node: Node, act: Callable[[], Iterable[Effect]]) -> None:
        with contextlib.suppress(ChannelRefusal):
            node.run(act())

    @rule(side=st.booleans(), amount=st.integers(1_000, 400_000_000))
    def offer(self, side: bool, amount: int) -> None:
        node = self.node(side)
        secret = preimage(self.next_preimage)
        self.next_preimage += 1
        payment_hash = hashlib.sha256(secret).digest()
        self.preimages[payment_hash] = secret

        def act() -> Iterable[Effect]:
            return node.channel.add_htlc(
                amount_msat=Msat(amount), payment_hash=payment_hash, cltv_expiry=500, onion=ONION
            )[1]

        self.wish(node, act)

    @rule(side=st.booleans(), fulfil=st.booleans())
    def resolve(self, side: bool, fulfil: bool) -> None:
        node = self.node(side)
        unresolved = node.channel.unresolved_htlcs()
        if not unresolved:
            return
        htlc, secret = unresolved[0], self.preimages[unresolved[0].payment_hash]
        if fulfil:
            self.wish(node, lambda: node.channel.fulfill_htlc(htlc.id, secret))
        else:
            self.wish(node, lambda: node.channel.fail_htlc(htlc.id, b"no"))

    @rule(feerate=st.integers(253, 5_000))
    def change_fee(self, feerate: int) -> None:
        self.wish(self.pair.funder, lambda: self.pair.funder.channel.update_fee(feerate))

    @rule(side=st.booleans())
    def commit(self, side: bool) -> None:
        node = self.node(side)
        self.wish(node, node.channel.commit)

    @rule(side=st.booleans(), count=st.integers(1, 6))
    def deliver(self, side: bool, count: int) -> None:
        for _ in range(count):
            self.pair.deliver(self.node(side))

    @precondition(lambda self: self.connected)
    @rule(crash=st.sampled_from(["none", "funder", "fundee", "both"]))
    def lose_connection(self, crash: str) -> None:
        self.pair.disconnect()
        for name in ("funder", "fundee"):
            if crash in (name, "both"):
                getattr(self.pair, name).restart()

    @precondition(lambda self: not self.connected)
    @rule()
    def reconnect(self) -> None:
        self.pair.reconnect()

    @invariant()
    def no_money_appears_or_vanishes(self) -> None:
        for node in (self.pair.funder, self.pair.fundee):
            sheet = node.channel.state.base
            held = sum(htlc.add.amount_msat for htlc in sheet.htlcs)
            assert sheet.holder_msat + sheet.counterparty_msat + held == self.total_msat

    def teardown(self) -> None:
        if not self.connected:
            self.pair.reconnect()
        self.pair.settle()
        for node in (self.pair.funder, self.pair.fundee):
            self.wish(node, node.channel.commit)
        self.pair.settle()
        self.pair.check_mirrored()
        for node in (self.pair.funder, self.pair.fundee):
            for event in node.take(HtlcFulfilled):
                assert hashlib.sha256(event.preimage).digest() == event.payment_hash
            offered = [h for h in node.channel.state.base.htlcs if h.offered_by is Side.HOLDER]
            assert len({htlc.add.id for htlc in offered}) == len(offered)


TwoChannels.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestTwoChannels = TwoChannels.TestCase

"""Any order of trades, payments, deliveries and lost connections: no token appears, none
is lost, and both sides agree who has which.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from channel_pair import Node
from colour_pair import channel_of, colouring_of, open_coloured_pair, state_of
from lightspeed.channel import ChannelRefusal, Effect, Link
from lightspeed.colour import TokensTraded
from lightspeed.units import Msat

ONION = bytes(1366)
TOKENS = 1_000


class ColouredChannels(RuleBasedStateMachine):
    """Both sides are honest; the network and the power supply are not."""

    def __init__(self) -> None:
        super().__init__()
        self.coloured = open_coloured_pair(tokens=TOKENS, pushed=400, push_sat=2_000_000)
        self.pair = self.coloured.pair
        self.htlcs = 0

    def node(self, side: bool) -> Node:
        return self.pair.funder if side else self.pair.fundee

    @property
    def connected(self) -> bool:
        return channel_of(self.pair.funder).state.session.link is not Link.DOWN

    def wish(self, node: Node, act: Callable[[], Iterable[Effect]]) -> None:
        with contextlib.suppress(ChannelRefusal):
            node.run(act())

    def extend(self, node: Node, act: Callable[..., object]) -> None:
        self.wish(node, lambda: channel_of(node).extend("rgb", act))  # type: ignore[arg-type]

    @rule(side=st.booleans(), tokens=st.integers(1, 400), rounds=st.integers(0, 9))
    def ask(self, side: bool, tokens: int, rounds: int) -> None:
        self.extend(self.node(side), colouring_of(self.node(side)).ask_for(tokens))
        self.talk(rounds, tokens, price=1_000)

    @rule(side=st.booleans(), withdraw=st.booleans())
    def refuse_or_withdraw(self, side: bool, withdraw: bool) -> None:
        colouring = colouring_of(self.node(side))
        act = colouring.withdraw_offer() if withdraw else colouring.refuse_ask()
        self.extend(self.node(side), act)

    @rule(side=st.booleans(), rounds=st.integers(0, 9))
    def take(self, side: bool, rounds: int) -> None:
        node = self.node(side)
        if state_of(node).counterparty_offer is not None:
            trade = self.coloured.trade_of(node)
            self.wish(node, lambda: channel_of(node).propose(trade))
            self.wish(node, channel_of(node).commit)
            self.talk(rounds, 1, price=1_000)

    @rule(side=st.booleans(), amount=st.integers(1_000, 400_000_000))
    def offer_htlc(self, side: bool, amount: int) -> None:
        self.htlcs += 1
        payment_hash = hashlib.sha256(b"%d" % self.htlcs).digest()
        self.wish(
            self.node(side),
            lambda: channel_of(self.node(side)).add_htlc(
                amount_msat=Msat(amount), payment_hash=payment_hash, cltv_expiry=500, onion=ONION
            )[1],
        )

    @rule(feerate=st.integers(253, 5_000))
    def change_fee(self, feerate: int) -> None:
        self.wish(self.pair.funder, lambda: channel_of(self.pair.funder).update_fee(feerate))

    @rule(side=st.booleans())
    def commit(self, side: bool) -> None:
        self.wish(self.node(side), channel_of(self.node(side)).commit)

    @rule(side=st.booleans(), count=st.integers(1, 6))
    def deliver(self, side: bool, count: int) -> None:
        for _ in range(count):
            self.pair.deliver(self.node(side))

    @rule(rounds=st.integers(1, 9), tokens=st.integers(0, 800), price=st.integers(0, 10**8))
    def hear(self, rounds: int, tokens: int, price: int) -> None:
        self.talk(rounds, tokens, price)

    def talk(self, rounds: int, tokens: int, price: int) -> None:
        """Both are heard, and a seller that is asked says its price."""
        for _ in range(rounds):
            for side in (True, False):
                node = self.node(side)
                self.pair.deliver(node)
                if state_of(node).session.asked and tokens:
                    self.extend(node, colouring_of(node).offer_tokens(tokens, price))

    @precondition(lambda self: self.connected)
    @rule(
        crash=st.sampled_from(["none", "funder", "fundee", "both"]),
        stays_down=st.sampled_from([False, False, True]),
    )
    def lose_connection(self, crash: str, stays_down: bool) -> None:
        self.pair.disconnect()
        for name in ("funder", "fundee"):
            if crash in (name, "both"):
                getattr(self.pair, name).restart()
        if not stays_down:
            self.pair.reconnect()

    @precondition(lambda self: not self.connected)
    @rule()
    def reconnect(self) -> None:
        self.pair.reconnect()

    @invariant()
    def no_token_appears_or_vanishes(self) -> None:
        for node in (self.pair.funder, self.pair.fundee):
            sheet = channel_of(node).state.base
            assert sheet.holder_tokens + sheet.counterparty_tokens == TOKENS
            for built in (
                channel_of(node).holder_commitment(),
                *channel_of(node).counterparty_commitments(),
            ):
                moved = built.frozen.coloured
                assert moved is not None
                held = sum(output.tokens for output in built.frozen.outputs)
                found = sum(
                    token.amount
                    for vout in range(len(built.frozen.outputs))
                    for token in moved.on_output(vout)
                )
                assert held == found == built.sheet.holder_tokens + built.sheet.counterparty_tokens

    def teardown(self) -> None:
        if not self.connected:
            self.pair.reconnect()
        self.pair.settle()
        for node in (self.pair.funder, self.pair.fundee):
            self.wish(node, channel_of(node).commit)
        self.pair.settle()
        self.pair.check_mirrored()
        ours, theirs = self.pair.funder, self.pair.fundee
        for buyer, seller in ((ours, theirs), (theirs, ours)):
            known = state_of(buyer).counterparty_offer
            assert known in (None, state_of(seller).holder_offer)
        assert len(ours.take(TokensTraded)) == len(theirs.take(TokensTraded))


ColouredChannels.TestCase.settings = settings(
    max_examples=30, stateful_step_count=50, deadline=None
)
TestColouredChannels = ColouredChannels.TestCase

"""Whatever crosses on the wire and whenever the connection breaks: no honest side is failed,
both end with the same commitments, and the payee never lacks a child signature."""

import contextlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from channel_pair import Node, Pair
from lightspeed.bitcoin import sha256
from lightspeed.channel import ChannelRefusal, Link, Sheet
from lightspeed.lsf import (
    BookClosed,
    BookSettled,
    BookUsable,
    LsfOpen,
    accepted_books,
    close_requests,
    closed_books,
    next_close,
    next_settle,
    settled_locks,
    usable_books,
)
from lightspeed.lsf.children import children
from lightspeed.payment import SATS, LockElement, Scheme, SecretBook
from lsf_pair import (
    channel_of,
    elements_of,
    lsf_of,
    open_lsf_pair,
    payee_of,
    payer_of,
    propose_book,
    say_open,
    secret_book,
)
from lsf_token_pair import open_token_pair
from lsf_world import book_terms

PUSH_SAT = 2_000_000
CHAIN_LENGTH = 4


def check_payee_holds_signatures(pair: Pair) -> None:
    """For every commitment that either side could broadcast: verified, for every child."""
    payee = channel_of(payee_of(pair))
    state = payee.state.extension_states["lsf"]
    pairs: list[tuple[Any, Any]] = [
        (payee.holder_commitment(), payee.state.holder_commitment),
        *zip(payee.counterparty_commitments(), payee.state.counterparty_commitments, strict=True),
    ]
    for built, commitment in pairs:
        content = built.sheet.extensions["lsf"]
        expected = children(state, content, built.context, built.frozen)
        kept = commitment.child_signatures.get("lsf", b"")
        assert len(kept) == 64 * len(expected)
        for index, child in enumerate(expected):
            child.verify(kept[64 * index :][:64])


def commit_all(pair: Pair) -> None:
    for node in (pair.funder, pair.fundee):
        node.run(channel_of(node).commit())


# --- one book, broken at each point ---------------------------------------------------------


def break_connection(pair: Pair, *, restart: bool) -> None:
    pair.disconnect()
    if restart:
        for node in (pair.funder, pair.fundee):
            node.restart()
    check_payee_holds_signatures(pair)
    pair.reconnect()


def go_on(pair: Pair) -> None:
    """What nodes do whenever they can: open accepted books, commit."""
    payer = payer_of(pair)
    if channel_of(payer).state.session.link is not Link.UP:
        return
    for book in accepted_books(channel_of(payer)):
        with contextlib.suppress(ChannelRefusal):
            say_open(pair, book)
    commit_all(pair)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("break_after", range(12))
def test_a_disconnection_at_any_point_loses_no_book(break_after: int, restart: bool) -> None:
    """A book is opened by 11 messages; the connection breaks after the first `break_after`."""
    pair = open_lsf_pair()
    propose_book(pair, secret_book(pair).book)
    delivered = 0
    while delivered < break_after:
        speaker = next(node for node in (pair.funder, pair.fundee) if node.sent)
        pair.deliver(speaker)
        delivered += 1
        go_on(pair)
    break_connection(pair, restart=restart)
    while pair.funder.sent or pair.fundee.sent:
        for node in (pair.funder, pair.fundee):
            pair.deliver(node)
            check_payee_holds_signatures(pair)
        go_on(pair)
    pair.check_mirrored()
    for node in (pair.funder, pair.fundee):
        assert len(usable_books(channel_of(node))) == 1
        assert len(node.take(BookUsable)) == 1


# --- anything at any time -------------------------------------------------------------------


class TwoChannelsWithBooks(RuleBasedStateMachine):
    """Both sides are honest; the network and the power supply are not.

    Books of two schemes have locks of 4 units, 250 sat each, which are paid in order.
    """

    schemes = (Scheme.OUTPUTS, Scheme.LADDER)
    asset = SATS

    def __init__(self) -> None:
        super().__init__()
        self.pair = self.opened()
        self.counter = 0
        self.preimages: dict[bytes, bytes] = {}
        self.secrets: dict[bytes, SecretBook] = {}
        self.paid: dict[bytes, int] = {}
        self.fenced: set[bytes] = set()
        self.to_payee_msat = PUSH_SAT * 1_000
        """What HTLCs leave of the payee's balance."""

    def opened(self) -> Pair:
        return open_lsf_pair(push_sat=PUSH_SAT)

    @initialize()
    def open_a_book_of_each_scheme(self) -> None:
        for scheme in range(len(self.schemes)):
            self.propose_book(locks=3, scheme=scheme)
            self.pair.settle()
            self.calm()

    def node(self, payer: bool) -> Node:
        return self.pair.funder if payer else self.pair.fundee

    @property
    def connected(self) -> bool:
        return channel_of(self.pair.funder).state.session.link is not Link.DOWN

    @rule(locks=st.integers(1, 3), scheme=st.integers(0, 1))
    def propose_book(self, locks: int, scheme: int) -> None:
        self.counter += 1
        terms = book_terms(
            locks=locks,
            chain_length=CHAIN_LENGTH,
            scheme=self.schemes[scheme],
            asset=self.asset,
        )
        secret = secret_book(self.pair, terms, seed=self.counter.to_bytes(4, "big"))
        with contextlib.suppress(ChannelRefusal):
            propose_book(self.pair, secret.book)
            self.secrets[secret.book.book_id] = secret
            self.paid[secret.book.book_id] = 0

    def usable(self, which: int) -> bytes | None:
        """One of the books that the payee's ledger would know."""
        books = usable_books(channel_of(self.pair.fundee))
        return books[which % len(books)].book_id if books else None

    @rule(which=st.integers(0, 3), units=st.integers(1, 12))
    def pay(self, which: int, units: int) -> None:
        book_id = self.usable(which)
        if book_id is not None and book_id not in self.fenced:
            most = self.secrets[book_id].book.terms.units
            self.paid[book_id] = min(most, self.paid[book_id] + units)

    def elements(self, book_id: bytes) -> tuple[LockElement, ...]:
        complete, begun = divmod(self.paid[book_id], CHAIN_LENGTH)
        parts = [(lock, CHAIN_LENGTH) for lock in range(1, complete + 1)]
        return elements_of(self.secrets[book_id], *parts, *[(complete + 1, begun)] * bool(begun))

    @rule(which=st.integers(0, 3))
    def settle_book(self, which: int) -> None:
        payee, book_id = self.pair.fundee, self.usable(which)
        if book_id is None:
            return
        secrets = {
            each.lock: each.element for each in self.elements(book_id) if each.unit == CHAIN_LENGTH
        }
        update = next_settle(channel_of(payee), book_id, secrets)
        if update is not None:
            with contextlib.suppress(ChannelRefusal):
                payee.run(channel_of(payee).propose(update))

    @rule(which=st.integers(0, 3))
    def close_book(self, which: int) -> None:
        payee, book_id = self.pair.fundee, self.usable(which)
        if book_id is None:
            return
        self.fenced.add(book_id)
        update = next_close(channel_of(payee), book_id, self.elements(book_id))
        if update is not None:
            with contextlib.suppress(ChannelRefusal):
                payee.run(channel_of(payee).propose(update))

    @rule(which=st.integers(0, 3))
    def request_close(self, which: int) -> None:
        payer = self.pair.funder
        books = usable_books(channel_of(payer))
        if books:
            act = lsf_of(payer).request_close(books[which % len(books)].book_id)
            payer.run(channel_of(payer).extend("lsf", act))

    @rule()
    def open_books(self) -> None:
        for book in accepted_books(channel_of(self.pair.funder)):
            with contextlib.suppress(ChannelRefusal):
                payer = channel_of(self.pair.funder)
                message = LsfOpen(channel_id=payer.channel_id, book_id=book.book_id)
                self.pair.funder.run(payer.propose(message))

    @rule(payer=st.booleans(), amount=st.integers(1_000, 400_000_000))
    def offer(self, payer: bool, amount: int) -> None:
        self.counter += 1
        preimage = sha256(self.counter.to_bytes(4, "big"))
        self.preimages[sha256(preimage)] = preimage
        node = self.node(payer)
        with contextlib.suppress(ChannelRefusal):
            _, effects = channel_of(node).add_htlc(
                amount_msat=amount,
                payment_hash=sha256(preimage),
                cltv_expiry=500,
                onion=bytes(1_366),
            )
            node.run(effects)
            if not payer:
                self.to_payee_msat -= amount

    @rule(payer=st.booleans())
    def fulfil(self, payer: bool) -> None:
        node = self.node(payer)
        for htlc in channel_of(node).unresolved_htlcs()[:1]:
            with contextlib.suppress(ChannelRefusal):
                preimage = self.preimages[htlc.payment_hash]
                node.run(channel_of(node).fulfill_htlc(htlc.id, preimage))
                if not payer:
                    self.to_payee_msat += htlc.amount_msat

    @rule(feerate=st.integers(253, 3_000))
    def change_fee(self, feerate: int) -> None:
        with contextlib.suppress(ChannelRefusal):
            self.pair.funder.run(channel_of(self.pair.funder).update_fee(feerate))

    @rule(payer=st.booleans())
    def commit(self, payer: bool) -> None:
        self.node(payer).run(channel_of(self.node(payer)).commit())

    @rule(payer=st.booleans(), count=st.integers(1, 6))
    def deliver(self, payer: bool, count: int) -> None:
        for _ in range(count):
            self.pair.deliver(self.node(payer))

    @precondition(lambda self: self.connected)
    @rule()
    def calm(self) -> None:
        """Now and then everything arrives, so that books get further than a proposal."""
        commit_all(self.pair)
        self.pair.settle()
        self.open_books()
        commit_all(self.pair)
        self.pair.settle()

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
    def payee_holds_all_signatures(self) -> None:
        check_payee_holds_signatures(self.pair)

    @invariant()
    def no_money_appears_or_vanishes(self) -> None:
        for node in (self.pair.funder, self.pair.fundee):
            channel = channel_of(node)
            sheet, books = channel.state.base, channel.state.extension_states["lsf"].books
            held = sum(htlc.add.amount_msat for htlc in sheet.htlcs)
            in_lsf = sum(
                books[book.book_id].amount_sat(settled=book.settled)
                for book in sheet.extensions["lsf"].books
            )
            total = sheet.holder_msat + sheet.counterparty_msat + held + in_lsf * 1_000
            assert total == 5_000_000_000

    def teardown(self) -> None:
        if not self.connected:
            self.pair.reconnect()
        for _ in range(3):
            self.pair.settle()
            commit_all(self.pair)
        self.pair.settle()
        self.pair.check_mirrored()
        self.check_events()
        self.check_what_was_paid()

    def check_events(self) -> None:
        """Both sides learn of everything once, and in the same order."""
        payer, payee = self.pair.funder, self.pair.fundee
        for kind in (BookUsable, BookSettled, BookClosed):
            assert payer.take(kind) == payee.take(kind)
        opened = [event.book.book_id for event in payer.take(BookUsable)]
        closed = [event.book_id for event in payer.take(BookClosed)]
        assert len(set(opened)) == len(opened)
        assert len(set(closed)) == len(closed)
        usable = {book.book_id for book in usable_books(channel_of(payer))}
        assert usable == set(opened) - set(closed)
        for node in (payer, payee):
            assert close_requests(channel_of(node)) <= usable

    def check_what_was_paid(self) -> None:
        payee = channel_of(self.pair.fundee)
        closed = closed_books(payee)
        assert all(units == self.paid[book_id] for book_id, units in closed.items())
        units = sum(closed.values())
        units += sum(settled_locks(payee).values()) * CHAIN_LENGTH
        self.check_payees_balance(payee.state.base, units)

    def check_payees_balance(self, sheet: Sheet, units: int) -> None:
        assert sheet.holder_msat == self.to_payee_msat + units * 250_000


class TwoColouredChannelsWithBooks(TwoChannelsWithBooks):
    """The same with books in tokens; the payer brought 20,000, and 100 for the payee."""

    schemes = (Scheme.SEALS, Scheme.LADDER)

    def opened(self) -> Pair:
        coloured = open_token_pair(tokens=20_000, pushed=100, push_sat=PUSH_SAT)
        self.asset = coloured.token.contract_id
        return coloured.pair

    @invariant()
    def no_token_appears_or_vanishes(self) -> None:
        for node in (self.pair.funder, self.pair.fundee):
            channel = channel_of(node)
            sheet, books = channel.state.base, channel.state.extension_states["lsf"].books
            in_lsf = sum(
                books[book.book_id].tokens(settled=book.settled)
                for book in sheet.extensions["lsf"].books
            )
            assert sheet.holder_tokens + sheet.counterparty_tokens + in_lsf == 20_000

    def check_payees_balance(self, sheet: Sheet, units: int) -> None:
        assert sheet.holder_msat == self.to_payee_msat
        assert sheet.holder_tokens == 100 + units * 250


TwoChannelsWithBooks.TestCase.settings = settings(
    max_examples=16, stateful_step_count=50, deadline=None
)
TestTwoChannelsWithBooks = TwoChannelsWithBooks.TestCase
TwoColouredChannelsWithBooks.TestCase.settings = settings(
    max_examples=8, stateful_step_count=50, deadline=None
)
TestTwoColouredChannelsWithBooks = TwoColouredChannelsWithBooks.TestCase

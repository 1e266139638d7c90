"""The allocator against a payee over a network that loses, delays and repeats; and a lying payee.

Whatever happens: no gap, nothing presented that was not stored first, and a bounded loss.
"""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lightspeed.payment import (
    Allocator,
    AlreadyRedeemed,
    BookExhausted,
    BookStopped,
    PaymentRefused,
    Receipt,
    StopReason,
    WindowFull,
)
from payment_books import MemoryPayee, make_book

INDEX = st.integers(0, 1_000)


class PayerMachine(RuleBasedStateMachine):
    """One payer with calls in flight; what the payee does with them is for the subclass."""

    @initialize(
        chain_length=st.sampled_from([1, 4, 10]),
        window=st.sampled_from([2, 5, 12, 60]),
        max_unserved=st.sampled_from([1, 3, 12]),
    )
    def open_book(self, chain_length, window, max_unserved):
        self.secret_book = make_book(
            locks=120 // chain_length, chain_length=chain_length, window=window
        )
        self.book = self.secret_book.book
        self.payee = MemoryPayee(self.secret_book)
        self.max_unserved = max_unserved
        self.stored = (1, 0)
        self.presented = set()
        self.served = set()
        self.in_flight = []
        self.late = []  # requests that may still arrive although nobody waits for the answer
        self.most_in_flight = 0
        self.open_at_crash = 0
        self.restart()

    def restart(self):
        low, reserved_end = self.stored
        self.allocator = Allocator(
            self.book.book_id,
            self.book.terms,
            reserve=self.store,
            low=low,
            reserved_end=reserved_end,
            max_unserved=self.max_unserved,
        )

    def store(self, low, reserved_end):
        self.stored = (low, reserved_end)

    def call(self, count):
        before = self.stored
        allocation = self.allocator.allocate(count)
        low, reserved_end = self.stored
        assert allocation.last_unit <= reserved_end, "stored before use"
        if self.stored != before:
            assert reserved_end <= max(low + self.book.terms.window, allocation.last_unit)
        units = set(range(allocation.first_unit, allocation.last_unit + 1))
        new = {unit for unit in units if unit >= allocation.first_new_unit}
        assert not new & self.presented
        self.presented |= units
        self.in_flight.append((allocation, self.credential(allocation)))
        self.most_in_flight = max(self.most_in_flight, self.allocator.outstanding_units)
        return allocation

    def credential(self, allocation):
        return self.secret_book.credential(allocation.first_unit, allocation.count)

    @rule(count=st.sampled_from([1, 1, 1, 2, 3, 9]))
    def pay(self, count):
        with suppress(WindowFull, BookExhausted, BookStopped):
            self.call(count)

    @precondition(lambda self: self.in_flight)
    @rule(index=INDEX)
    def lose_request(self, index):
        allocation, credential = self.in_flight.pop(index % len(self.in_flight))
        self.late.append(credential)
        self.allocator.lost(allocation)

    def answer_honestly(self, index):
        allocation, credential = self.in_flight.pop(index % len(self.in_flight))
        try:
            receipt = self.payee.redeem(credential)
        except PaymentRefused as refusal:
            self.allocator.refused(
                allocation,
                refusal.slug,
                receipt=Receipt(self.book.book_id, 0, 0, refusal.next_unit),
                redeemed_unit=refusal.unit if isinstance(refusal, AlreadyRedeemed) else None,
            )
            return
        self.served |= set(range(allocation.first_unit, allocation.last_unit + 1))
        self.allocator.served(allocation, receipt)

    @invariant()
    def no_gap(self):
        handed_out = self.allocator.handed_out
        assert self.presented == set(range(1, handed_out + 1)), "never a gap"

    @invariant()
    def what_is_lost_is_bounded(self):
        """Even if the payee keeps every secret that it ever saw."""
        lost = len(self.presented - self.served) - self.allocator.outstanding_units
        assert lost <= self.max_unserved + self.most_in_flight + self.open_at_crash


class FaultyNetwork(PayerMachine):
    """An honest payee: the book is never called cheated, and every unit gets through."""

    @precondition(lambda self: self.in_flight)
    @rule(index=INDEX)
    def answer(self, index):
        self.answer_honestly(index)

    @precondition(lambda self: self.in_flight)
    @rule(index=INDEX)
    def lose_answer(self, index):
        allocation, credential = self.in_flight.pop(index % len(self.in_flight))
        self.arrive(credential)
        self.allocator.lost(allocation)

    @precondition(lambda self: self.late)
    @rule(index=INDEX)
    def request_arrives_late(self, index):
        self.arrive(self.late[index % len(self.late)])

    def arrive(self, credential):
        with suppress(PaymentRefused):
            self.payee.redeem(credential)

    @rule()
    def crash_of_the_payer(self):
        self.late += [credential for _, credential in self.in_flight]
        self.in_flight.clear()
        self.restart()
        low, reserved_end = self.stored
        self.open_at_crash += max(0, reserved_end - low + 1)
        # The payer cannot know which of them were out, and takes all for presented.
        self.presented |= set(range(1, reserved_end + 1))
        self.served |= set(range(1, low))

    @invariant()
    def an_honest_payee_is_not_called_a_cheat(self):
        if self.allocator.stopped is StopReason.NOT_TAKEN:
            # Only a hole that the payer gave up for good can hold back the payee.
            assert self.payee.record.next_unit < self.allocator.low
        else:
            assert self.allocator.stopped in (None, StopReason.UNSERVED)

    def teardown(self):
        """The network heals: calls of one unit then fill every hole and use up the book."""
        if not hasattr(self, "allocator"):
            return
        for _ in range(4 * self.book.terms.units):
            while self.in_flight:
                self.answer_honestly(0)
            self.an_honest_payee_is_not_called_a_cheat()
            self.no_gap()
            try:
                self.call(1)
            except (BookExhausted, BookStopped):
                break
        else:
            raise AssertionError("the payer goes round in circles")
        if self.allocator.stopped is None:
            assert self.allocator.handed_out == self.book.terms.units


class LyingPayee(PayerMachine):
    """A payee that answers anything: it gets what the payer's policy risks, and no more."""

    @precondition(lambda self: self.in_flight)
    @rule(index=INDEX)
    def answer(self, index):
        self.answer_honestly(index)

    @precondition(lambda self: self.in_flight)
    @rule(
        index=INDEX,
        slug=st.sampled_from(["already-redeemed", "exposure", "malformed", "nonsense"]),
        next_unit=st.none() | st.integers(1, 130),
        redeemed_unit=st.none() | st.integers(1, 130),
    )
    def refuse(self, index, slug, next_unit, redeemed_unit):
        allocation, _ = self.in_flight.pop(index % len(self.in_flight))
        receipt = None if next_unit is None else Receipt(self.book.book_id, 0, 0, next_unit)
        self.allocator.refused(allocation, slug, receipt=receipt, redeemed_unit=redeemed_unit)

    @precondition(lambda self: self.in_flight)
    @rule(index=INDEX, next_unit=st.integers(1, 130), shift=st.integers(-2, 2))
    def answer_with_a_false_receipt(self, index, next_unit, shift):
        allocation, _ = self.in_flight.pop(index % len(self.in_flight))
        if shift == 0:
            self.served |= set(range(allocation.first_unit, allocation.last_unit + 1))
        receipt = Receipt(
            self.book.book_id, allocation.first_unit + shift, allocation.count, next_unit
        )
        self.allocator.served(allocation, receipt)


TestFaultyNetwork = FaultyNetwork.TestCase
TestLyingPayee = LyingPayee.TestCase
TestFaultyNetwork.settings = TestLyingPayee.settings = settings(
    max_examples=80, stateful_step_count=60, deadline=None
)

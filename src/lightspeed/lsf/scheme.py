"""What every scheme does: a book as outputs of commitments and as transactions that spend them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lightspeed.bitcoin import OutPoint, PrivateKey, TaprootOutput
from lightspeed.channel.graph import Frozen, Output
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
from lightspeed.lsf.child import LsfChild, LsfKey
from lightspeed.lsf.keys import LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.payment import Book
from lightspeed.units import Sat

__all__ = ["LsfOnChain", "SchemeBook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LsfOnChain:
    """The LSF of one book on a confirmed commitment, and what one party has to take it with."""

    frozen: Frozen
    keys: LsfKeys
    whose: Party
    """Who broadcast the commitment."""
    settled: int
    confirmed_height: int
    lsf_secret: PrivateKey = field(repr=False)
    book_secret: PrivateKey = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)
    """Payee: the payer's for `children` (or the late ones), in their order; empty if it holds
    none."""
    lock_secrets: Mapping[int, bytes] = field(repr=False)
    """Payee: lock -> secret, as far as they were paid."""
    spends: Mapping[OutPoint, SpentOnChain] = field(repr=False)
    late: bool = False
    """Payee: is the child to publish the late one?"""


class SchemeBook(Protocol):
    """One book, with what no commitment changes.

    `settled` is everywhere the number of locks that the commitment no longer holds: always the
    first ones, and never all.
    """

    @property
    def book(self) -> Book: ...

    @property
    def payee_delay_blocks(self) -> int:
        """D: the payer's to_self_delay, d on the payee's own commitment."""

    @property
    def refund_delay_blocks(self) -> int:
        """R."""

    @property
    def key(self) -> LsfKey:
        """Of its LSF in the commitment's graph."""

    def amount_sat(self, *, settled: int) -> Sat:
        """What the LSF holds, the same on both commitments; it only falls as locks are settled,
        and by at least `lock_amount` for each."""

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """The output on one commitment. Its last leaf is the refund."""

    def output(self, keys: LsfKeys, *, whose: Party, settled: int) -> Output:
        """For the commitment's graph."""

    def child_count(self, *, settled: int) -> int:
        """How many `children` there are, without building them."""

    def children(
        self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int
    ) -> Sequence[LsfChild]:
        """All that the payer signs in advance, in the order in which it does."""

    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """The payee: the child to publish while the LSF is unspent; None if nothing was paid."""

    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Out of what spent the LSF, if that is a child."""

    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Out of what spent the LSF, if that is a child."""

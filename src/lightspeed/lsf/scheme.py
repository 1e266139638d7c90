"""What every scheme does: a book as outputs of commitments and as transactions that spend them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from lightspeed.bitcoin import OutPoint, PrivateKey, TaprootOutput, TxOut
from lightspeed.channel.graph import Frozen, Output
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
from lightspeed.lsf.child import LsfChild, LsfKey, child_delay_blocks
from lightspeed.lsf.keys import BookKeys, LsfBasepoints, LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scripts import lsf_output, refund_leaf, secret_leaf
from lightspeed.lsf.settlement import Settlement
from lightspeed.payment import Book
from lightspeed.units import Sat

__all__ = ["LsfOnChain", "SchemeBook", "graph_output", "lsf_by_secrets", "publication_of"]


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
    """Lock -> secret: payee's as far as they were paid; payer's all, which scheme seals needs."""
    spends: Mapping[OutPoint, SpentOnChain] = field(repr=False)
    late: bool = False
    """Payee: is the child to publish the late one?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeBook(ABC):
    """One book, with what no commitment changes. Its scheme says what is abstract here.

    `settled` is everywhere the number of locks that the commitment no longer holds: always the
    first ones, and never all.
    """

    book: Book
    settlement: Settlement
    keys: BookKeys
    payee_delay_blocks: int
    """D: the payer's to_self_delay, d on the payee's own commitment."""

    @classmethod
    def derive(cls, book: Book, *, basepoints: LsfBasepoints, payee_delay_blocks: int) -> Self:
        """Raises `BookRefused` when the settlement part of the terms does not parse."""
        return cls(
            book=book,
            settlement=Settlement.from_bytes(book.terms.settlement),
            keys=BookKeys.derive(basepoints, book_id=book.book_id),
            payee_delay_blocks=payee_delay_blocks,
        )

    @property
    def key(self) -> LsfKey:
        """Of its LSF in the commitment's graph."""
        return LsfKey(self.book.book_id)

    @property
    def refund_delay_blocks(self) -> int:
        """R."""
        return self.settlement.refund_delay_blocks

    @property
    def locks(self) -> int:
        return self.book.terms.locks

    @abstractmethod
    def amount_sat(self, *, settled: int) -> Sat:
        """What the LSF holds, the same on both commitments; it only falls as locks are settled,
        by at least `lock_amount` for each if that is in sats."""

    @abstractmethod
    def tokens(self, *, settled: int) -> int:
        """What the LSF holds besides; 0 for a book in sats."""

    @abstractmethod
    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """The output on one commitment. Its last leaf is the refund."""

    @abstractmethod
    def child_count(self, *, settled: int) -> int:
        """How many `children` there are, without building them."""

    @abstractmethod
    def children(
        self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int
    ) -> Sequence[LsfChild]:
        """All that the payer signs in advance, in the order in which it does."""

    @abstractmethod
    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """The payee: the child to publish while the LSF is unspent; None if nothing was paid."""

    @abstractmethod
    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Out of what spent the LSF, if that is a child."""

    @abstractmethod
    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Out of what spent the LSF, if that is a child."""


def graph_output(book: SchemeBook, keys: LsfKeys, *, whose: Party, settled: int) -> Output:
    """For the commitment's graph."""
    script = book.lsf(keys, whose=whose, settled=settled).script
    return Output(
        book.key,
        TxOut(book.amount_sat(settled=settled), script),
        tokens=book.tokens(settled=settled),
    )


def lsf_by_secrets(
    book: SchemeBook, keys: LsfKeys, *, whose: Party, locks: Iterable[int]
) -> TaprootOutput:
    """An LSF with a leaf for the secret of each of `locks`, in this order."""
    delay = child_delay_blocks(whose, payee_delay_blocks=book.payee_delay_blocks)
    spending = [
        secret_leaf(
            book.book.lock_hash(lock), payer=keys.payer, payee=keys.payee, delay_blocks=delay
        )
        for lock in locks
    ]
    refund = refund_leaf(keys.payer, refund_delay_blocks=book.refund_delay_blocks)
    return lsf_output(keys.revocation, spending=spending, refund=refund)


def publication_of(
    book: SchemeBook, lsf: LsfOnChain, child: LsfChild, *, secret: bytes, purpose: str
) -> Publication:
    """The payee completes `child`; leaf n of an LSF is what the payer's signature n is for."""
    if lsf.late:
        child = child.late(book.payee_delay_blocks)
    tx = child.completed(
        payer_signature=lsf.signatures[child.leaf],
        payee_signature=child.sign(lsf.lsf_secret),
        secret=secret,
    )
    height = lsf.confirmed_height + child.tx.inputs[0].sequence
    return Publication(
        tx=tx, purpose=purpose, mature_height=height, history=child.history(lsf.frozen)
    )

"""Scheme `outputs`: a book as transactions. Paper 2.1.1; design section 6."""

from dataclasses import dataclass, field
from typing import Self

from lightspeed.bitcoin import PublicKey, TaprootOutput, TxOut
from lightspeed.channel.graph import Frozen, Output
from lightspeed.lsf.keys import BookKeys, LsfBasepoints, LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.micropayment import (
    MAX_LOCKS_WITH_P2A,
    LsfKey,
    Micropayment,
    build_micropayment,
    lsf_amount,
)
from lightspeed.lsf.scripts import (
    PAYER_COMMITMENT_DELAY_BLOCKS,
    claim_leaf,
    claim_output,
    literal_claim_leaf,
    lsf_output,
    refund_leaf,
    split_leaf,
)
from lightspeed.lsf.settlement import Settlement
from lightspeed.payment import Book
from lightspeed.units import Sat

__all__ = ["OutputsBook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsBook:
    """One book of this scheme, with everything that no commitment changes computed once.

    Building it takes about 80 µs for each lock. `settled` is everywhere the number of locks
    that the commitment no longer holds: always the first ones.
    """

    book: Book
    settlement: Settlement
    keys: BookKeys
    payee_delay_blocks: int
    """D: the payer's to_self_delay, d on the payee's own commitment."""
    claims: tuple[TaprootOutput, ...] = field(init=False, repr=False, compare=False)
    """The output of each lock, from lock 1."""

    def __post_init__(self) -> None:
        refund = self._refund_leaf(self.keys.payer)
        object.__setattr__(
            self,
            "claims",
            tuple(
                claim_output(self._claim_leaf(lock), refund=refund)
                for lock in range(1, self.locks + 1)
            ),
        )

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
        return LsfKey(self.book.book_id)

    @property
    def locks(self) -> int:
        return self.book.terms.locks

    @property
    def lock_amount_sat(self) -> Sat:
        return Sat(self.book.terms.lock_amount)

    @property
    def with_p2a(self) -> bool:
        """By the size of the book, so that settling never asks the payer for a P2A."""
        return self.locks <= MAX_LOCKS_WITH_P2A

    def amount_sat(self, *, settled: int) -> Sat:
        """What the LSF holds, the same on both commitments; it only falls as locks are settled."""
        return lsf_amount(
            self.locks - settled,
            lock_amount_sat=self.lock_amount_sat,
            with_p2a=self.with_p2a,
            child_feerate=self.settlement.child_feerate,
            payee_delay_blocks=self.payee_delay_blocks,
        )

    def delay_blocks(self, whose: Party) -> int:
        """d: between the confirmation of that side's commitment and that of the child."""
        return PAYER_COMMITMENT_DELAY_BLOCKS if whose is Party.PAYER else self.payee_delay_blocks

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """The output on one commitment. At least one lock is not settled."""
        split = split_leaf(
            self.book.lock_hash(settled + 1),
            payer=keys.payer,
            payee=keys.payee,
            delay_blocks=self.delay_blocks(whose),
        )
        return lsf_output(keys.revocation, spending=[split], refund=self._refund_leaf(keys.payer))

    def output(self, keys: LsfKeys, *, whose: Party, settled: int) -> Output:
        """For the commitment's graph."""
        script = self.lsf(keys, whose=whose, settled=settled).script
        return Output(self.key, TxOut(self.amount_sat(settled=settled), script))

    def child(self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int) -> Micropayment:
        """The micropayment transaction on a frozen commitment."""
        return build_micropayment(
            frozen,
            key=self.key,
            lsf=self.lsf(keys, whose=whose, settled=settled),
            delay_blocks=self.delay_blocks(whose),
            outputs=[TxOut(self.lock_amount_sat, claim.script) for claim in self.claims[settled:]],
            with_p2a=self.with_p2a,
            payer=keys.payer,
        )

    def _claim_leaf(self, lock: int) -> bytes:
        lock_hash = self.book.lock_hash(lock)
        if self.settlement.literal:
            return literal_claim_leaf(lock_hash)
        return claim_leaf(lock_hash, payee=self.keys.payee)

    def _refund_leaf(self, payer: PublicKey) -> bytes:
        return refund_leaf(payer, refund_delay_blocks=self.settlement.refund_delay_blocks)

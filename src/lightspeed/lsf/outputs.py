"""Scheme `outputs`: a book as transactions. Paper 2.1.1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lightspeed.bitcoin import OutPoint, PrivateKey, TaprootOutput, TxOut, sha256
from lightspeed.channel.graph import Frozen
from lightspeed.channel.onchain import Publication, SpentOnChain, Sweep
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE, Spend
from lightspeed.channel.weights import witness_weight
from lightspeed.errors import LocalError
from lightspeed.lsf.child import LsfChild, child_delay_blocks
from lightspeed.lsf.claims import script_spend
from lightspeed.lsf.keys import LsfKeys
from lightspeed.lsf.messages import Party
from lightspeed.lsf.micropayment import (
    MAX_LOCKS_WITH_P2A,
    build_micropayment,
    lsf_amount,
)
from lightspeed.lsf.scheme import LsfOnChain, SchemeBook, lsf_by_secrets, publication_of
from lightspeed.lsf.scripts import (
    CLAIM_LEAF,
    CLAIM_REFUND_LEAF,
    SECRET_SIZE,
    claim_leaf,
    claim_output,
    literal_claim_leaf,
    refund_leaf,
)
from lightspeed.units import Sat

__all__ = ["LockSettled", "OutputsBook", "WrongLockSecret", "claim_spend", "refund_spend"]


class WrongLockSecret(LocalError, ValueError):
    """A secret does not hash to the lock that it is to open."""


class LockSettled(LocalError, LookupError):
    """The child has no output for this lock: it is settled, or not of the book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsBook(SchemeBook):
    """Its children's outputs do not depend on commitments and are made once, at the first use:
    that takes about 80 µs for each lock.
    """

    _claims: list[TaprootOutput] = field(
        init=False, repr=False, compare=False, default_factory=list
    )

    @property
    def claims(self) -> Sequence[TaprootOutput]:
        """The output of each lock in a child, from lock 1."""
        if not self._claims:
            refund = refund_leaf(self.keys.payer, refund_delay_blocks=self.refund_delay_blocks)
            # All at once: another thread finds none or all of them.
            self._claims[:] = [
                claim_output(self._claim_leaf(lock), refund=refund)
                for lock in range(1, self.locks + 1)
            ]
        return self._claims

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

    def tokens(self, *, settled: int) -> int:
        return 0

    def lsf(self, keys: LsfKeys, *, whose: Party, settled: int) -> TaprootOutput:
        """The output on one commitment. At least one lock is not settled."""
        return lsf_by_secrets(self, keys, whose=whose, locks=(settled + 1,))

    def child(self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int) -> LsfChild:
        """The micropayment transaction on a frozen commitment."""
        return build_micropayment(
            frozen,
            key=self.key,
            lsf=self.lsf(keys, whose=whose, settled=settled),
            delay_blocks=child_delay_blocks(whose, payee_delay_blocks=self.payee_delay_blocks),
            outputs=[TxOut(self.lock_amount_sat, claim.script) for claim in self.claims[settled:]],
            with_p2a=self.with_p2a,
            payer=keys.payer,
        )

    def child_count(self, *, settled: int) -> int:
        return 1

    def children(
        self, frozen: Frozen, keys: LsfKeys, *, whose: Party, settled: int
    ) -> tuple[LsfChild, ...]:
        return (self.child(frozen, keys, whose=whose, settled=settled),)

    # --- after a unilateral close ------------------------------------------------------
    def publication(self, lsf: LsfOnChain) -> Publication | None:
        """Nothing before the first lock that is not settled was paid."""
        secret = lsf.lock_secrets.get(lsf.settled + 1)
        if secret is None or not lsf.signatures:
            return None
        child = self._child_on_chain(lsf)
        return publication_of(self, lsf, child, secret=secret, purpose="micropayments")

    def payee_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Claims of what was paid."""
        child = self._published(lsf, spent)
        for lock in self._unspent_locks(lsf, child, spent):
            secret = lsf.lock_secrets.get(lock)
            if secret is None:
                continue
            claim = claim_spend(
                self, lock, child=child, settled=lsf.settled, secret=secret, payee=lsf.book_secret
            )
            yield Sweep(spend=claim, purpose="claim", mature_height=spent.height)

    def payer_sweeps(self, lsf: LsfOnChain, spent: SpentOnChain) -> Iterator[Sweep]:
        """Refunds of what is not claimed in time."""
        child = self._published(lsf, spent)
        for lock in self._unspent_locks(lsf, child, spent):
            refund = refund_spend(
                self, lock, child=child, settled=lsf.settled, payer=lsf.book_secret
            )
            height = spent.height + refund.sequence
            yield Sweep(spend=refund, purpose="lock refund", mature_height=height)

    def _child_on_chain(self, lsf: LsfOnChain) -> LsfChild:
        return self.child(lsf.frozen, lsf.keys, whose=lsf.whose, settled=lsf.settled)

    def _published(self, lsf: LsfOnChain, spent: SpentOnChain) -> LsfChild:
        """The child, or the late one if that is what spent the LSF."""
        child = self._child_on_chain(lsf)
        late = child.late(self.payee_delay_blocks)
        return late if spent.tx.txid == late.tx.txid else child

    def _unspent_locks(
        self, lsf: LsfOnChain, child: LsfChild, spent: SpentOnChain
    ) -> Iterator[int]:
        """None at all when another transaction than the child spent the LSF."""
        if spent.tx.txid != child.tx.txid:
            return
        for lock in range(lsf.settled + 1, self.locks + 1):
            if child.tx.outpoint(lock - lsf.settled - 1) not in lsf.spends:
                yield lock

    # --- scripts -----------------------------------------------------------------------
    def _claim_leaf(self, lock: int) -> bytes:
        lock_hash = self.book.lock_hash(lock)
        if self.settlement.literal:
            return literal_claim_leaf(lock_hash)
        return claim_leaf(lock_hash, payee=self.keys.payee)


def claim_spend(
    book: OutputsBook,
    lock: int,
    *,
    child: LsfChild,
    settled: int,
    secret: bytes,
    payee: PrivateKey,
) -> Spend:
    """The payee takes the output of a lock. `payee` is its `book_private_key`.

    Raises `WrongLockSecret` and `LockSettled`.
    """
    outpoint = _lock_outpoint(book, lock, child=child, settled=settled)
    if len(secret) != SECRET_SIZE or sha256(secret) != book.book.lock_hash(lock):
        raise WrongLockSecret(f"not the secret of lock {lock}")
    output = book.claims[lock - 1]
    if book.settlement.literal:
        witness = output.script_path(CLAIM_LEAF, secret)
        return Spend(
            outpoint=outpoint,
            prevout=TxOut(book.lock_amount_sat, output.script),
            sequence=SEQUENCE_REPLACEABLE,
            witness_weight=witness_weight(*map(len, witness)),
            sign=lambda digest, index: witness,
        )
    return script_spend(
        outpoint,
        TxOut(book.lock_amount_sat, output.script),
        output=output,
        leaf=CLAIM_LEAF,
        key=payee,
        items=(secret,),
    )


def refund_spend(
    book: OutputsBook, lock: int, *, child: LsfChild, settled: int, payer: PrivateKey
) -> Spend:
    """The payer takes back the output of a lock, `refund_delay` after the child confirmed.

    `payer` is its `book_private_key`. Raises `LockSettled`.
    """
    outpoint = _lock_outpoint(book, lock, child=child, settled=settled)
    output = book.claims[lock - 1]
    return script_spend(
        outpoint,
        TxOut(book.lock_amount_sat, output.script),
        output=output,
        leaf=CLAIM_REFUND_LEAF,
        key=payer,
        sequence=book.refund_delay_blocks,
    )


def _lock_outpoint(book: OutputsBook, lock: int, *, child: LsfChild, settled: int) -> OutPoint:
    if not settled < lock <= book.locks:
        raise LockSettled(f"no output for lock {lock}: {settled} of {book.locks} are settled")
    return child.tx.outpoint(lock - settled - 1)

"""What each party publishes once a commitment with books is on chain.

    commitment          payee                               payer
    payer's, current    child from h + 1, then claims       LSF or its children's rest, refunded
    payer's, revoked    LSF by key path, at once            -
    payee's, current    child from h + D, then claims       LSF or its children's rest, refunded
    payee's, revoked    -                                   LSF by key path, at once

h is the height at which the commitment confirmed; a refund waits `refund_delay` from the
confirmation of what it spends. Design section 6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lightspeed.bitcoin import OutPoint, PrivateKey
from lightspeed.channel.extension import ChannelView, CommitmentContext
from lightspeed.channel.graph import Frozen
from lightspeed.channel.keys import derive_revocation_private_key
from lightspeed.channel.onchain import Facts, Publication, Remedy, SpentOnChain, Sweep
from lightspeed.lsf.children import (
    EXTENSION_NAME,
    broadcasting_party,
    children,
    kept_signature,
    lsf_keys,
)
from lightspeed.lsf.claims import (
    claim_spend,
    lsf_refund_spend,
    lsf_revocation_spend,
    refund_spend,
)
from lightspeed.lsf.keys import book_private_key, lsf_private_key
from lightspeed.lsf.messages import Party
from lightspeed.lsf.micropayment import Micropayment
from lightspeed.lsf.outputs import OutputsBook
from lightspeed.lsf.state import LsfContent, LsfState

__all__ = ["resolve"]


def resolve(
    view: ChannelView,
    state: LsfState,
    content: LsfContent,
    context: CommitmentContext,
    frozen: Frozen,
    *,
    child_signatures: bytes,
    facts: Facts,
) -> Iterator[Remedy]:
    """For every book of the commitment; `child_signatures` are the payee's, from `verify`."""
    for index, child in enumerate(children(state, content, context, frozen)):
        one = _OnChainBook(
            view=view,
            state=state,
            context=context,
            frozen=frozen,
            facts=facts,
            book=state.books[content.books[index].book_id],
            settled=content.books[index].settled,
            child=child,
        )
        yield from one.remedies(kept_signature(child_signatures, index))


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnChainBook:
    """One book of a commitment that is on chain."""

    view: ChannelView
    state: LsfState
    context: CommitmentContext
    frozen: Frozen
    facts: Facts
    book: OutputsBook
    settled: int
    child: Micropayment

    def remedies(self, payer_signature: bytes) -> Iterator[Remedy]:
        spent = self.facts.spends.get(self.frozen.outpoint(self.book.key))
        if spent is not None:
            if spent.tx.txid == self.child.tx.txid:
                yield from self._child_outputs(spent)
        elif self.facts.revocation is not None:
            yield self._penalty(self.facts.revocation)
        elif self._holder is Party.PAYER:
            yield self._lsf_refund()
        else:
            yield from self._publication(payer_signature)

    @property
    def _holder(self) -> Party:
        return self.state.parameters.holder

    @property
    def _whose(self) -> Party:
        return broadcasting_party(self.state, self.context)

    @property
    def _secrets(self) -> Mapping[int, bytes]:
        """Of this book's locks, as far as they were paid."""
        return self.facts.lock_secrets.get(self.book.book.book_id, {})

    def _basepoint_secret(self) -> PrivateKey:
        return self.view.signer.secrets.extension_secret(EXTENSION_NAME)

    def _lsf_secret(self) -> PrivateKey:
        return lsf_private_key(self._basepoint_secret(), self.context.per_commitment_point)

    def _book_secret(self) -> PrivateKey:
        return book_private_key(self._basepoint_secret(), book_id=self.book.book.book_id)

    # --- the LSF -----------------------------------------------------------------------
    def _penalty(self, per_commitment_secret: bytes) -> Sweep:
        spend = lsf_revocation_spend(
            self.book,
            self.frozen,
            keys=lsf_keys(self.state, self.context),
            whose=self._whose,
            settled=self.settled,
            revocation=derive_revocation_private_key(
                self.view.signer.secrets.revocation, PrivateKey(per_commitment_secret)
            ),
        )
        height = self.facts.confirmed_height
        return Sweep(spend=spend, purpose="LSF penalty", mature_height=height)

    def _lsf_refund(self) -> Sweep:
        spend = lsf_refund_spend(
            self.book,
            self.frozen,
            keys=lsf_keys(self.state, self.context),
            whose=self._whose,
            settled=self.settled,
            payer=self._lsf_secret(),
        )
        height = self.facts.confirmed_height + spend.sequence
        return Sweep(spend=spend, purpose="LSF refund", mature_height=height)

    def _publication(self, payer_signature: bytes) -> Iterator[Publication]:
        """Nothing before the first lock that is not settled was paid."""
        secret = self._secrets.get(self.settled + 1)
        if secret is None or not payer_signature:
            return
        tx = self.child.completed(
            payer_signature=payer_signature,
            payee_signature=self.child.sign(self._lsf_secret()),
            secret=secret,
        )
        height = self.facts.confirmed_height + self.book.delay_blocks(self._whose)
        yield Publication(tx=tx, purpose="micropayments", mature_height=height)

    # --- the child's outputs -----------------------------------------------------------
    def _child_outputs(self, spent: SpentOnChain) -> Iterator[Sweep]:
        """The payee claims what was paid, the payer takes back what was not claimed in time."""
        secret = self._book_secret()
        for lock in range(self.settled + 1, self.book.locks + 1):
            if self._lock_outpoint(lock) in self.facts.spends:
                continue
            if self._holder is Party.PAYER:
                refund = refund_spend(
                    self.book, lock, child=self.child, settled=self.settled, payer=secret
                )
                height = spent.height + refund.sequence
                yield Sweep(spend=refund, purpose="lock refund", mature_height=height)
            elif (lock_secret := self._secrets.get(lock)) is not None:
                claim = claim_spend(
                    self.book,
                    lock,
                    child=self.child,
                    settled=self.settled,
                    secret=lock_secret,
                    payee=secret,
                )
                yield Sweep(spend=claim, purpose="claim", mature_height=spent.height)

    def _lock_outpoint(self, lock: int) -> OutPoint:
        return self.child.tx.outpoint(lock - self.settled - 1)

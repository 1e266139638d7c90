"""What each party publishes once a commitment with books is on chain.

    commitment          payee                               payer
    payer's, current    child from h + 1, then its outputs  LSF or what the child leaves, later
    payer's, revoked    LSF by key path, at once            -
    payee's, current    child from h + D, then its outputs  LSF or what the child leaves, later
    payee's, revoked    -                                   LSF by key path, at once

h is the height at which the commitment confirmed; a refund waits `refund_delay` from the
confirmation of what it spends. docs/protocol.md, "After a unilateral close".
"""

from collections.abc import Iterator

from lightspeed.bitcoin import PrivateKey
from lightspeed.channel.extension import ChannelView, CommitmentContext
from lightspeed.channel.graph import Frozen
from lightspeed.channel.keys import derive_revocation_private_key
from lightspeed.channel.onchain import Facts, Remedy, Sweep, commitment_history
from lightspeed.lsf.children import (
    EXTENSION_NAME,
    broadcasting_party,
    has_late_children,
    lsf_keys,
    signatures_by_book,
)
from lightspeed.lsf.claims import lsf_refund_spend, lsf_revocation_spend
from lightspeed.lsf.keys import book_private_key, lsf_private_key
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import LsfOnChain, SchemeBook
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
    basepoint_secret = view.signer.secrets.extension_secret(EXTENSION_NAME)
    whose = broadcasting_party(state, context)
    kept = signatures_by_book(state, content, child_signatures, whose=whose)
    for open_book, signatures in zip(content.books, kept, strict=True):
        book = state.books[open_book.book_id]
        if facts.for_tower and book.tokens(settled=open_book.settled):
            continue  # what it took would be sats, and the tokens burnt
        with_late = has_late_children(state, book, whose)
        late = facts.for_tower and whose is Party.PAYER
        at_once = len(signatures) // 2 if with_late else len(signatures)
        lsf = LsfOnChain(
            frozen=frozen,
            keys=lsf_keys(state, context),
            whose=whose,
            settled=open_book.settled,
            confirmed_height=facts.confirmed_height,
            lsf_secret=lsf_private_key(basepoint_secret, context.per_commitment_point),
            book_secret=book_private_key(basepoint_secret, book_id=open_book.book_id),
            late=late,
            signatures=signatures[at_once:] if late else signatures[:at_once],
            lock_secrets=facts.lock_secrets.get(open_book.book_id, {}),
            spends=facts.spends,
        )
        yield from _remedies(book, lsf, holder=state.parameters.holder, view=view, facts=facts)


def _remedies(
    book: SchemeBook, lsf: LsfOnChain, *, holder: Party, view: ChannelView, facts: Facts
) -> Iterator[Remedy]:
    spent = facts.spends.get(lsf.frozen.outpoint(book.key))
    if spent is not None and holder is Party.PAYER:
        yield from book.payer_sweeps(lsf, spent)
    elif spent is not None:
        yield from book.payee_sweeps(lsf, spent)
    elif facts.revocation is not None:
        revocation = derive_revocation_private_key(
            view.signer.secrets.revocation, PrivateKey(facts.revocation)
        )
        yield _penalty(book, lsf, revocation)
    elif holder is Party.PAYER:
        yield _refund(book, lsf)
    else:
        publication = book.publication(lsf)
        if publication is not None:
            yield publication


def _penalty(book: SchemeBook, lsf: LsfOnChain, revocation: PrivateKey) -> Sweep:
    spend = lsf_revocation_spend(
        book,
        lsf.frozen,
        keys=lsf.keys,
        whose=lsf.whose,
        settled=lsf.settled,
        revocation=revocation,
    )
    return Sweep(
        spend=spend,
        purpose="LSF penalty",
        mature_height=lsf.confirmed_height,
        history=commitment_history(lsf.frozen) if spend.tokens else (),
    )


def _refund(book: SchemeBook, lsf: LsfOnChain) -> Sweep:
    spend = lsf_refund_spend(
        book,
        lsf.frozen,
        keys=lsf.keys,
        whose=lsf.whose,
        settled=lsf.settled,
        payer=lsf.lsf_secret,
    )
    height = lsf.confirmed_height + spend.sequence
    return Sweep(
        spend=spend,
        purpose="LSF refund",
        mature_height=height,
        history=commitment_history(lsf.frozen) if spend.tokens else (),
    )

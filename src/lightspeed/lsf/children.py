"""The children of a commitment: who signs them, and what the payee must hold before it signs.

docs/protocol.md, "Signatures for children". Only the payee needs the payer's signatures.
"""

from dataclasses import replace
from itertools import accumulate

from lightspeed.bitcoin import BadSignature
from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import ChannelView, CommitmentContext
from lightspeed.channel.graph import Frozen, Output
from lightspeed.channel.weights import SCHNORR_SIGNATURE_SIZE
from lightspeed.lsf.child import LsfChild
from lightspeed.lsf.collect import SignatureCollector, signature_messages
from lightspeed.lsf.errors import ChunksOutOfOrder
from lightspeed.lsf.keys import LsfKeys, lsf_private_key
from lightspeed.lsf.messages import LsfSignatures, LsfSignRequest, Party
from lightspeed.lsf.scheme import SchemeBook, graph_output
from lightspeed.lsf.state import LsfContent, LsfState
from lightspeed.payment import SATS

__all__ = [
    "EXTENSION_NAME",
    "all_arrived",
    "broadcasting_party",
    "check_request",
    "child_counts",
    "children",
    "collect",
    "has_late_children",
    "lsf_keys",
    "lsf_outputs",
    "request",
    "sign",
    "signatures_by_book",
    "verify",
]

EXTENSION_NAME = "lsf"
"""Also the name of its basepoint's secret."""


def broadcasting_party(state: LsfState, context: CommitmentContext) -> Party:
    """Whose commitment it is."""
    return state.party(context.broadcaster)


def lsf_keys(state: LsfState, context: CommitmentContext) -> LsfKeys:
    return LsfKeys.derive(context.keys, state.parameters.basepoints)


def lsf_outputs(
    state: LsfState, content: LsfContent, context: CommitmentContext
) -> tuple[Output, ...]:
    """One for each book of the commitment."""
    keys, whose = lsf_keys(state, context), broadcasting_party(state, context)
    return tuple(
        graph_output(state.books[book.book_id], keys, whose=whose, settled=book.settled)
        for book in content.books
    )


def children(
    state: LsfState, content: LsfContent, context: CommitmentContext, frozen: Frozen
) -> tuple[LsfChild, ...]:
    """Book by book in the order of the content, of each the late ones last.

    So signatures are exchanged and kept.
    """
    keys, whose = lsf_keys(state, context), broadcasting_party(state, context)
    found: list[LsfChild] = []
    for open_book in content.books:
        book = state.books[open_book.book_id]
        at_once = book.children(frozen, keys, whose=whose, settled=open_book.settled)
        found.extend(at_once)
        if has_late_children(state, book, whose):
            found.extend(child.late(book.payee_delay_blocks) for child in at_once)
    return tuple(found)


def has_late_children(state: LsfState, book: SchemeBook, whose: Party) -> bool:
    """On the payer's commitments, where the payee asked for them. The payee's own children wait
    as long anyhow. A book in tokens has none: a tower moves no tokens.
    """
    wanted = state.parameters.limits.late_children
    return wanted and whose is Party.PAYER and book.book.terms.asset == SATS


def child_counts(state: LsfState, content: LsfContent, whose: Party) -> tuple[int, ...]:
    """Of each book, late ones included."""
    counts = []
    for open_book in content.books:
        book = state.books[open_book.book_id]
        kinds = 2 if has_late_children(state, book, whose) else 1
        counts.append(kinds * book.child_count(settled=open_book.settled))
    return tuple(counts)


# --- payer ----------------------------------------------------------------------------------


def sign(
    view: ChannelView,
    state: LsfState,
    content: LsfContent,
    context: CommitmentContext,
    frozen: Frozen,
) -> tuple[LsfSignatures, ...]:
    """The payer's signatures for all children of either party's commitment."""
    if state.parameters.holder is not Party.PAYER or not content.books:
        return ()
    basepoint_secret = view.signer.secrets.extension_secret(EXTENSION_NAME)
    secret = lsf_private_key(basepoint_secret, context.per_commitment_point)
    return signature_messages(
        tuple(
            view.signer.schnorr(secret, child.digest())
            for child in children(state, content, context, frozen)
        ),
        channel_id=view.config.channel_id,
        commitment_number=context.number,
        whose=broadcasting_party(state, context),
    )


def check_request(request: LsfSignRequest, context: CommitmentContext, frozen: Frozen) -> None:
    """The payee must mean the commitment that it may sign now; `ChannelViolation` if not."""
    if request.commitment_number != context.number:
        raise ChannelViolation(
            f"a sign request for commitment {request.commitment_number}, {context.number} is next"
        )
    if request.txid != frozen.tx.txid:
        raise ChannelViolation("a sign request for another commitment than ours")


# --- payee ----------------------------------------------------------------------------------


def request(
    view: ChannelView,
    state: LsfState,
    content: LsfContent,
    context: CommitmentContext,
    frozen: Frozen,
) -> LsfSignRequest | None:
    """What the payee asks before it signs the payer's commitment; None without books."""
    if state.parameters.holder is not Party.PAYEE or not content.books:
        return None
    return LsfSignRequest(
        channel_id=view.config.channel_id,
        commitment_number=context.number,
        txid=frozen.tx.txid,
    )


def collect(state: LsfState, message: LsfSignatures) -> LsfState:
    """The next signatures; `ChannelViolation` when they cannot be."""
    if state.parameters.holder is not Party.PAYEE:
        raise ChannelViolation("lsf_signatures to the payer")
    max_total = state.parameters.limits.max_children
    try:
        known = next((s for s in state.signatures.values() if s.whose == message.whose), None)
        if known is None:
            known = SignatureCollector.begin(message, max_total=max_total)
        else:
            known = known.add(message)
    except ChunksOutOfOrder as error:
        raise ChannelViolation(str(error)) from None
    return replace(state, signatures={**state.signatures, known.whose: known})


def all_arrived(state: LsfState, context: CommitmentContext) -> bool:
    """`ChannelViolation` when they are for another commitment than the one asked for."""
    collected = state.signatures.get(broadcasting_party(state, context))
    if collected is None or not collected.complete:
        return False
    _check_number(collected, context)
    return True


def verify(
    state: LsfState, content: LsfContent, context: CommitmentContext, frozen: Frozen
) -> tuple[LsfState, bytes]:
    """Every child has its valid signature, and none is left over; else `ChannelViolation`.

    Returns the state without them, and the signatures to keep with the commitment.
    """
    if state.parameters.holder is not Party.PAYEE:
        return state, b""
    whose = broadcasting_party(state, context)
    collected = state.signatures.get(whose)
    if collected is None:
        if content.books:
            raise ChannelViolation("the signatures for the children of the commitment are missing")
        return state, b""
    _check_number(collected, context)
    total = sum(child_counts(state, content, whose))
    if not collected.complete or collected.total != total:
        raise ChannelViolation(f"{len(collected.signatures)} signatures for {total} children")
    expected = children(state, content, context, frozen)
    try:
        for child, signature in zip(expected, collected.signatures, strict=True):
            child.verify(signature)
    except BadSignature:
        raise ChannelViolation("a signature for a child is wrong") from None
    others = {party: known for party, known in state.signatures.items() if party is not whose}
    return replace(state, signatures=others), b"".join(collected.signatures)


def signatures_by_book(
    state: LsfState, content: LsfContent, kept: bytes, *, whose: Party
) -> tuple[tuple[bytes, ...], ...]:
    """For each book the signatures for its children, late ones last, out of what `verify`
    returned.

    Empty ones when nothing is kept: then the holder is the payer, or the commitment is revoked.
    """
    counts = child_counts(state, content, whose)
    if not kept:
        return ((),) * len(counts)
    size = SCHNORR_SIGNATURE_SIZE
    signatures = [kept[at : at + size] for at in range(0, len(kept), size)]
    ends = tuple(accumulate(counts))
    return tuple(
        tuple(signatures[end - count : end]) for count, end in zip(counts, ends, strict=True)
    )


def _check_number(collected: SignatureCollector, context: CommitmentContext) -> None:
    if collected.commitment_number != context.number:
        raise ChannelViolation(
            f"signatures for the children of commitment {collected.commitment_number}, "
            f"{context.number} is next"
        )

"""Late children: what the payee may give away, because it can act before anybody publishes it."""

import pytest

from channel_pair import Pair
from lightspeed.bitcoin import BadSignature
from lightspeed.channel import Facts, OnChain, Publication, SpentOnChain, Sweep, remedies
from lightspeed.channel.build import BuiltCommitment
from lightspeed.lsf import PayeeLimits
from lightspeed.lsf.children import children
from lightspeed.payment import Scheme, SecretBook
from lsf_pair import channel_of, open_book, open_lsf_pair, payee_of, payer_of, secret_book
from lsf_world import book_terms

HEIGHT = 100
DELAY_BLOCKS = 6
LATE = PayeeLimits(late_children=True)


def opened(scheme: Scheme, limits: PayeeLimits | None = LATE) -> tuple[Pair, SecretBook]:
    pair = open_lsf_pair(limits=limits, delay_blocks=DELAY_BLOCKS)
    secret = secret_book(pair, book_terms(scheme=scheme))
    open_book(pair, secret)
    return pair, secret


def payers_commitment(pair: Pair) -> OnChain:
    """As the payee knows it."""
    channel = channel_of(payee_of(pair))
    (built,), (known,) = channel.counterparty_commitments(), channel.state.counterparty_commitments
    return OnChain(built=built, child_signatures=known.child_signatures)


def own_commitment(pair: Pair) -> OnChain:
    channel = channel_of(payee_of(pair))
    return OnChain(
        built=channel.holder_commitment(),
        child_signatures=channel.state.holder_commitment.child_signatures,
    )


def publications(
    pair: Pair, onchain: OnChain, secret: SecretBook, *, for_tower: bool
) -> list[Publication]:
    facts = Facts(
        confirmed_height=HEIGHT,
        lock_secrets={secret.book.book_id: {lock: secret.lock_secret(lock) for lock in (1, 2)}},
        for_tower=for_tower,
    )
    found = remedies(channel_of(payee_of(pair)), onchain, facts)
    return [remedy for remedy in found if isinstance(remedy, Publication)]


def children_of(pair: Pair, built: BuiltCommitment) -> int:
    channel = channel_of(payee_of(pair))
    content = built.sheet.extensions["lsf"]
    return len(
        children(channel.state.extension_states["lsf"], content, built.context, built.frozen)
    )


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_late_child_waits_as_long_as_a_child_of_the_payees_own_commitment(scheme: Scheme) -> None:
    pair, secret = opened(scheme)
    theirs = payers_commitment(pair)
    (at_once,) = publications(pair, theirs, secret, for_tower=False)
    (late,) = publications(pair, theirs, secret, for_tower=True)
    assert at_once.mature_height == HEIGHT + 1
    assert late.mature_height == HEIGHT + DELAY_BLOCKS
    assert [i.sequence for i in late.tx.inputs] == [DELAY_BLOCKS]
    assert late.tx.outputs == at_once.tx.outputs
    assert late.tx.weight == at_once.tx.weight


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_only_the_payers_commitment_has_late_children(scheme: Scheme) -> None:
    pair, secret = opened(scheme)
    kinds = 1 if scheme is Scheme.OUTPUTS else secret.book.terms.locks
    assert children_of(pair, payers_commitment(pair).built) == 2 * kinds
    assert children_of(pair, own_commitment(pair).built) == kinds
    (own,) = publications(pair, own_commitment(pair), secret, for_tower=True)
    assert own.mature_height == HEIGHT + DELAY_BLOCKS


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_nothing_of_the_payers_commitment_leaves_a_payee_that_did_not_ask(scheme: Scheme) -> None:
    pair, secret = opened(scheme, limits=None)
    theirs = payers_commitment(pair)
    assert publications(pair, theirs, secret, for_tower=False)
    assert publications(pair, theirs, secret, for_tower=True) == []


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_late_child_has_its_own_signature(scheme: Scheme) -> None:
    """The payer's signature commits to nSequence: neither serves for the other."""
    pair, _ = opened(scheme)
    onchain = payers_commitment(pair)
    channel, built = channel_of(payee_of(pair)), onchain.built
    state = channel.state.extension_states["lsf"]
    made = children(state, built.sheet.extensions["lsf"], built.context, built.frozen)
    kept = onchain.child_signatures["lsf"]
    signatures = [kept[at : at + 64] for at in range(0, len(kept), 64)]
    for child, signature in zip(made, signatures, strict=True):
        child.verify(signature)
    half = len(made) // 2
    with pytest.raises(BadSignature):
        made[half].verify(signatures[0])


@pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])
def test_both_parties_take_what_a_late_child_leaves_them(scheme: Scheme) -> None:
    pair, secret = opened(scheme)
    (late,) = publications(pair, payers_commitment(pair), secret, for_tower=True)
    spent = {late.tx.inputs[0].outpoint: SpentOnChain(late.tx, 0, HEIGHT + DELAY_BLOCKS)}
    facts = Facts(
        confirmed_height=HEIGHT,
        spends=spent,
        lock_secrets={secret.book.book_id: {lock: secret.lock_secret(lock) for lock in (1, 2)}},
    )
    payer = channel_of(payer_of(pair))
    own = OnChain(built=payer.holder_commitment())
    after = {}
    for party, channel, onchain in (
        ("payee", channel_of(payee_of(pair)), payers_commitment(pair)),
        ("payer", payer, own),
    ):
        after[party] = [
            remedy.purpose
            for remedy in remedies(channel, onchain, facts)
            if isinstance(remedy, Sweep) and remedy.spend.outpoint.txid == late.tx.txid
        ]
    if scheme is Scheme.OUTPUTS:
        locks = secret.book.terms.locks
        assert after == {"payee": ["claim"] * 2, "payer": ["lock refund"] * locks}
    else:
        assert after == {"payee": ["paid locks"], "payer": ["unpaid locks"]}


def test_wish_for_late_children_is_told_in_the_limits() -> None:
    assert PayeeLimits.from_bytes(LATE.to_bytes()) == LATE
    assert LATE.max_children == 2 * PayeeLimits().max_children
    with pytest.raises(ValueError, match="late children"):
        PayeeLimits.from_bytes(LATE.to_bytes()[:-1] + b"\x02")

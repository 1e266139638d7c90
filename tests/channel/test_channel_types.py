"""The funder names the channel's type; both build the commitments of that type."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from channel_pair import CHAIN_HASH, FEERATE_PER_KW, Node, open_pair, opening_terms
from judge import verify_all_spends
from lightspeed.bitcoin import sha256
from lightspeed.channel import (
    ChannelRefusal,
    ChannelSecrets,
    ChannelViolation,
    Extensions,
    Facts,
    OpeningTerms,
    Phase,
    Publication,
    Signer,
    accept,
    accepted,
    identify,
    propose,
    remedies,
)
from lightspeed.channel.graph import Anchor
from lightspeed.lsf import LightspeedFunding, Party
from lightspeed.units import Msat, Sat
from lightspeed.wire import Features, OpenChannel

PREIMAGE = b"\x09" * 32
SIGNER = Signer(ChannelSecrets.derive(sha256(b"types")))


def proposal(terms: OpeningTerms, extensions: Extensions | None = None) -> tuple[Any, OpenChannel]:
    return propose(
        temporary_channel_id=sha256(b"temporary"),
        chain_hash=CHAIN_HASH,
        funding_sat=Sat(1_000_000),
        push_msat=Msat(0),
        feerate_per_kw=FEERATE_PER_KW,
        terms=terms,
        signer=SIGNER,
        extensions=extensions or Extensions(),
    )


def test_channel_without_anchors_pays_and_closes() -> None:
    pair = open_pair(funder_terms=opening_terms("a", anchors=False))
    funder, fundee = pair.funder, pair.fundee
    htlc_id, effects = funder.channel.add_htlc(
        amount_msat=Msat(50_000_000),
        payment_hash=hashlib.sha256(PREIMAGE).digest(),
        cltv_expiry=500,
        onion=bytes(1366),
    )
    funder.run(effects)
    funder.run(funder.channel.commit())
    pair.settle()
    fundee.run(fundee.channel.fulfill_htlc(htlc_id, PREIMAGE))
    fundee.run(fundee.channel.commit())
    pair.settle()
    pair.check_mirrored()
    outputs = [output.key for output in funder.channel.holder_commitment().frozen.outputs]
    assert len(outputs) == 2
    assert not any(isinstance(key, Anchor) for key in outputs)

    funder.run(funder.channel.shutdown())
    pair.settle()

    assert funder.channel.state.phase is fundee.channel.state.phase is Phase.CLOSED
    assert funder.published == fundee.published


def test_channel_type_says_what_the_funder_wants() -> None:
    for anchors, bits in ((True, (12, 22)), (False, (12,))):
        _, message = proposal(opening_terms("a", anchors=anchors))
        assert message.channel_type == Features.of(*bits)


def test_extensions_need_anchors() -> None:
    extensions = Extensions([LightspeedFunding(party=Party.PAYER)])
    with pytest.raises(ChannelRefusal, match="anchors"):
        proposal(opening_terms("a", anchors=False), extensions)


def test_accept_channel_keeps_the_proposed_type() -> None:
    for anchors in (True, False):
        opening, message = proposal(opening_terms("a", anchors=anchors))
        fundee = Node("b", Signer(ChannelSecrets.derive(sha256(b"b"))), Extensions())
        _, reply = accept(
            message,
            chain_hash=CHAIN_HASH,
            terms=opening_terms("b", anchors=not anchors),
            signer=fundee.signer,
            extensions=Extensions(),
        )
        assert reply.channel_type == message.channel_type
        accepted(opening, reply, extensions=Extensions())
        other = Features.of(12) if anchors else Features.of(12, 22)
        with pytest.raises(ChannelViolation, match="channel_type"):
            accepted(opening, replace(reply, channel_type=other), extensions=Extensions())


def test_htlc_transactions_without_anchors_are_published_as_signed() -> None:
    """Their fee and outputs are fixed by the counterparty's SIGHASH_ALL."""
    pair = open_pair(funder_terms=opening_terms("a", anchors=False))
    funder, fundee = pair.funder, pair.fundee
    hashes = []
    for node, secret in ((funder, b"\x0a"), (fundee, b"\x0b")):
        hashes.append(hashlib.sha256(32 * secret).digest())
        _, effects = node.channel.add_htlc(
            amount_msat=Msat(20_000_000),
            payment_hash=hashes[-1],
            cltv_expiry=500,
            onion=bytes(1366),
        )
        node.run(effects)
        node.run(node.channel.commit())
        pair.settle()
    commitment = funder.channel.holder_commitment_tx()
    onchain = identify(funder.channel, commitment, funder.lookup)
    facts = Facts(confirmed_height=100, preimages={hashes[1]: 32 * b"\x0b"})

    published = [r for r in remedies(funder.channel, onchain, facts) if isinstance(r, Publication)]

    heights = {remedy.purpose: remedy.mature_height for remedy in published}
    assert heights == {"HTLC timeout": 501, "HTLC success": 101}
    for remedy in published:
        spent = commitment.outputs[remedy.tx.inputs[0].outpoint.vout]
        verify_all_spends(remedy.tx, [spent])
        assert remedy.tx.outputs[0].value < spent.value

"""Unilateral closes with books on a chain with real consensus: who gets what, and when.

D = 6, R = 20 blocks. Every scenario begins with 5 locks of 1,000 sat.
"""

from dataclasses import replace

import pytest

from lightspeed.bitcoin import (
    TRUC_CHILD_MAX_VSIZE,
    FeeRate,
    PrivateKey,
    Tx,
    TxIn,
    TxOut,
    p2wpkh,
)
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import (
    Facts,
    Publication,
    SpentOnChain,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.lsf import LsfChild, Party, p2a_spend
from lightspeed.units import Sat
from lsf_court import Court, D, R, fee
from lsf_pair import channel_of


@pytest.mark.parametrize("broadcaster", Party)
def test_current_commitment_pays_the_payee_for_its_secrets_and_the_payer_the_rest(
    broadcaster: Party,
) -> None:
    court = Court()
    court.pay(1, 2, 4)
    node = court.payer if broadcaster is Party.PAYER else court.payee
    delay = 1 if broadcaster is Party.PAYER else D
    commitment = court.commitment(node)
    height = court.confirm(commitment)

    # The child confirms at h + d, not a block earlier.
    (publication,) = court.remedies(court.payee, commitment)
    assert isinstance(publication, Publication)
    assert publication.mature_height == height + delay
    while court.regtest.height + 1 < height + delay:
        assert court.act_too_early(court.payee, commitment) == ["non-BIP68-final"]
        court.regtest.mine()
    (child,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert court.height_of(child) == height + delay

    # Claims follow at once; the payer waits R blocks for the rest, and gets no more.
    found = court.remedies(court.payer, commitment)
    assert {remedy.mature_height for remedy in found} == {court.height_of(child) + R}
    (claims,) = court.act(court.payee, commitment)
    assert len(claims.inputs) == 3
    assert set(court.act_too_early(court.payer, commitment)) == {"non-BIP68-final"}
    court.regtest.mine(R - 2)
    assert set(court.act_too_early(court.payer, commitment)) == {"non-BIP68-final"}
    court.regtest.mine()
    assert court.regtest.height + 1 == court.height_of(child) + R
    (refunds,) = court.act(court.payer, commitment)
    assert {txin.outpoint.vout for txin in refunds.inputs} == {2, 4}
    court.regtest.mine()

    claimed = 3_000 - fee(claims, [TxOut(Sat(1_000), b"")] * 3)
    refunded = 2_000 - fee(refunds, [TxOut(Sat(1_000), b"")] * 2)
    assert court.received(court.payee) == claimed
    assert court.received(court.payer) == refunded
    assert court.remedies(court.payer, commitment) == []
    assert court.remedies(court.payee, commitment) == []


@pytest.mark.parametrize("broadcaster", Party)
def test_nothing_paid_returns_everything_after_the_refund_delay(broadcaster: Party) -> None:
    """Nobody can publish the child before something was paid."""
    court = Court()
    court.pay(2)  # without lock 1 there is nothing to open the LSF with
    node = court.payer if broadcaster is Party.PAYER else court.payee
    commitment = court.commitment(node)
    height = court.confirm(commitment)
    assert court.remedies(court.payee, commitment) == []
    (refund_later,) = court.remedies(court.payer, commitment)
    assert refund_later.mature_height == height + R
    court.regtest.mine(R - 2)
    assert court.act_too_early(court.payer, commitment) == ["non-BIP68-final"]
    court.regtest.mine()
    assert court.regtest.height + 1 == height + R
    (refund,) = court.act(court.payer, commitment)
    court.regtest.mine()
    assert court.is_mined(refund)
    lsf = channel_of(court.payer).state.extension_states["lsf"].books[court.secret.book.book_id]
    spent = [TxOut(lsf.amount_sat(settled=0), b"")]
    assert court.received(court.payer) == spent[0].value - fee(refund, spent)


@pytest.mark.parametrize("cheat", Party)
def test_a_revoked_lsf_is_taken_whole_before_any_child_can_confirm(cheat: Party) -> None:
    court = Court()
    court.pay(1, 2)
    cheater = court.payer if cheat is Party.PAYER else court.payee
    honest = court.pair.other(cheater)
    revoked = court.commitment(cheater)
    child = court.child(cheater, revoked)
    cheater_payee_child = _completed_by_payee(court, child) if cheat is Party.PAYEE else None
    court.next_state()

    height = court.confirm(revoked)
    (penalty,) = court.remedies(honest, revoked)
    assert penalty.purpose == "LSF penalty"
    assert penalty.mature_height == height
    if cheater_payee_child is not None:
        for _ in range(D - 2):  # the payer is slow, but not too slow
            with pytest.raises(BroadcastRefused, match="non-BIP68-final"):
                court.publish(cheater_payee_child)
            court.regtest.mine()
    (taken,) = court.act(honest, revoked)
    court.regtest.mine()
    assert court.is_mined(taken)
    assert court.height_of(taken) < height + D
    if cheater_payee_child is not None:
        with pytest.raises(BroadcastRefused):
            court.publish(cheater_payee_child)
    assert court.received(honest) > 5_000
    assert court.remedies(honest, revoked) == []


def _completed_by_payee(court: Court, child: LsfChild) -> Tx:
    """What a cheating payee holds of its own commitment, as long as that was current."""
    channel = channel_of(court.payee)
    onchain = court.onchain(court.payee, court.commitment(court.payee))
    found = remedies(
        channel,
        onchain,
        Facts(confirmed_height=1, lock_secrets={court.secret.book.book_id: court.paid}),
    )
    (publication,) = [remedy for remedy in found if isinstance(remedy, Publication)]
    assert publication.tx.txid == child.tx.txid
    return publication.tx


def test_a_payer_too_late_for_the_penalty_still_gets_what_was_not_paid() -> None:
    court = Court()
    court.pay(1, 2)
    revoked = court.commitment(court.payee)
    child = _completed_by_payee(court, court.child(court.payee, revoked))
    court.next_state()
    court.confirm(revoked)
    court.regtest.mine(D - 1)
    court.confirm(child)
    court.regtest.mine(R - 1)
    (refunds,) = court.act(court.payer, revoked)
    court.regtest.mine()
    assert court.is_mined(refunds)
    assert len(refunds.inputs) == 5  # the cheating payee claimed nothing in time


def test_the_largest_book_is_claimed_in_standard_transactions() -> None:
    court = Court(locks=2_322)
    court.pay(*range(1, 2_323))
    commitment = court.commitment(court.payer)
    court.confirm(commitment)
    (child,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert court.is_mined(child)
    assert child.version == 2
    claims = court.act(court.payee, commitment)
    court.regtest.mine()
    assert all(court.is_mined(tx) for tx in claims)
    assert sum(len(tx.inputs) for tx in claims) == 2_322


def test_a_truc_child_can_be_paid_for_by_its_p2a() -> None:
    """One package: the child, and a bump from the payee's wallet at 20 sat/vB for both."""
    court = Court()
    court.pay(1)
    commitment = court.commitment(court.payer)
    court.confirm(commitment)
    wallet = PrivateKey(b"\x77" * 32)
    coin = court.regtest.fund(p2wpkh(wallet.public.data), Sat(50_000))
    court.regtest.mine()
    (publication,) = court.remedies(court.payee, commitment)
    assert isinstance(publication, Publication)
    bump = sweep_transaction(
        [
            p2a_spend(court.child(court.payee, commitment).tx),
            p2wpkh_spend(coin.outpoint(0), Sat(50_000), secret=wallet),
        ],
        destination_script=court.destination(court.payee),
        feerate_per_kw=FeeRate(5_000),
        extra_fee_sat=Sat(20 * publication.tx.vsize),
        version=3,
    )
    assert bump.vsize <= TRUC_CHILD_MAX_VSIZE
    court.regtest.broadcast_package([publication.tx, bump])
    court.regtest.mine()
    assert court.is_mined(publication.tx)
    assert court.is_mined(bump)


def test_a_child_without_p2a_is_paid_for_by_a_claim() -> None:
    """Above 229 locks: nobody but the payee can spend an output of it unconfirmed."""
    court = Court(locks=230)
    court.pay(*range(1, 60))
    commitment = court.commitment(court.payer)
    court.confirm(commitment)
    (child,) = court.act(court.payee, commitment)
    facts = replace(
        court.facts(court.payee, commitment),
        spends={
            child.inputs[0].outpoint: SpentOnChain(child, 0, court.regtest.height + 1),
        },
    )
    found = remedies(channel_of(court.payee), court.onchain(court.payee, commitment), facts)
    claims = court.sweeps(court.payee, [remedy for remedy in found if remedy.purpose == "claim"])
    for claim in claims:
        court.publish(claim)
    court.regtest.mine()
    assert all(court.is_mined(tx) for tx in (child, *claims))


# --- the paper's literal script -------------------------------------------------------------


def theft(court: Court) -> tuple[Tx, Tx]:
    """The payee's claim of lock 1 in the mempool, and a thief's replacement of it.

    The thief has no key and no secret but what it sees in the mempool.
    """
    court.pay(1)
    commitment = court.commitment(court.payer)
    court.confirm(commitment)
    court.act(court.payee, commitment)
    court.regtest.mine()
    (claim,) = court.act(court.payee, commitment)
    (entry,) = [entry.tx for entry in court.regtest.mempool]
    assert entry == claim
    seen = entry.inputs[0]
    stolen = Tx(
        version=2,
        inputs=(TxIn(seen.outpoint, sequence=seen.sequence, witness=seen.witness),),
        outputs=(TxOut(Sat(entry.outputs[0].value - 300), p2wpkh(b"thief".ljust(20))),),
    )
    return claim, stolen


def test_literal_script_lets_a_thief_replace_the_claim_and_take_the_money() -> None:
    """Paper 2.1.1: "hash-spending script branch does not require signature"."""
    court = Court(literal=True)
    claim, stolen = theft(court)
    court.publish(stolen)
    court.regtest.mine()
    assert court.is_mined(stolen)
    assert not court.is_mined(claim)
    assert court.received(court.payee) == 0


def test_default_script_gives_the_thief_nothing() -> None:
    court = Court()
    claim, stolen = theft(court)
    with pytest.raises(BroadcastRefused, match="script-verify-flag"):
        court.publish(stolen)
    court.regtest.mine()
    assert court.is_mined(claim)
    assert court.received(court.payee) == claim.outputs[0].value

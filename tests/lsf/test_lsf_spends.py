"""Every spend of an LSF and of its child, judged by consensus code; and what it must refuse.

Relative locktimes are judged against the input's nSequence here; against blocks in
test_lsf_chain.py.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from judge import refuses_spend, verify_all_spends, verify_spend
from lightspeed.bitcoin import FEE_RATE_FLOOR, BadSignature, FeeRate, Tx, TxOut, fee_for_weight
from lightspeed.channel.sweeps import Spend, split_spends, sweep_transaction
from lightspeed.lsf.claims import (
    CLAIM_INPUT_WEIGHT,
    lsf_refund_spend,
    lsf_revocation_spend,
    p2a_spend,
)
from lightspeed.lsf.messages import Party
from lightspeed.lsf.micropayment import micropayment_weight
from lightspeed.lsf.outputs import LockSettled, WrongLockSecret, claim_spend, refund_spend
from lsf_world import DESTINATION, World, book_terms, make_world

BOTH = pytest.mark.parametrize("whose", Party)


def sweep(*spends: Spend, feerate: int = 253) -> tuple[Tx, list[TxOut]]:
    tx = sweep_transaction(spends, destination_script=DESTINATION, feerate_per_kw=FeeRate(feerate))
    return tx, [spend.prevout for spend in spends]


def with_sequence(tx: Tx, sequence: int) -> Tx:
    return replace(tx, inputs=tuple(replace(txin, sequence=sequence) for txin in tx.inputs))


# --- the micropayment transaction -----------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 2, 4])
def test_child_spends_the_lsf(whose: Party, settled: int) -> None:
    world = make_world(whose=whose, settled=settled)
    tx = world.completed_child()
    verify_all_spends(tx, world.child.prevouts)
    assert [out.value for out in tx.outputs] == [1_000] * (5 - settled) + [240]
    assert tx.version == 3
    assert tx.inputs[0].sequence == (1 if whose is Party.PAYER else 6)
    fee = world.child.prevouts[0].value - sum(out.value for out in tx.outputs)
    assert fee >= fee_for_weight(tx.weight, FEE_RATE_FLOOR)


@pytest.mark.parametrize("delay", [6, 16, 17, 127, 128, 144, 32_768])
@pytest.mark.parametrize(
    ("locks", "with_p2a"), [(1, True), (229, True), (230, False), (253, False)]
)
def test_child_weight_is_exact_for_the_payees_commitment(
    delay: int, locks: int, with_p2a: bool
) -> None:
    world = make_world(
        book_terms(locks=locks, refund_delay_blocks=40_000),
        whose=Party.PAYEE,
        payee_delay_blocks=delay,
    )
    tx = world.completed_child()
    assert tx.weight == micropayment_weight(locks, with_p2a=with_p2a, delay_blocks=delay)
    fee = world.child.prevouts[0].value - sum(out.value for out in tx.outputs)
    assert fee == fee_for_weight(tx.weight, FEE_RATE_FLOOR)
    assert fee >= tx.vsize  # 1 sat/vB: it relays alone


@BOTH
def test_lsf_holds_the_same_on_both_commitments(whose: Party) -> None:
    world = make_world(whose=whose, payee_delay_blocks=2_016)
    assert world.frozen.output(world.book.key).value == make_world(
        whose=Party.PAYEE, payee_delay_blocks=2_016
    ).book.amount_sat(settled=0)


@pytest.mark.parametrize("locks", [5, 229, 230, 2_322])
def test_settling_never_asks_the_payer_for_money(locks: int) -> None:
    book = make_world(book_terms(locks=locks)).book
    samples = sorted({0, 1, 2, locks // 2, locks - 230, locks - 229, locks - 1} & set(range(locks)))
    for before, after in pairwise(samples):
        freed = book.amount_sat(settled=before) - book.amount_sat(settled=after)
        assert freed >= (after - before) * book.lock_amount_sat


def test_largest_book_makes_a_standard_transaction() -> None:
    world = make_world(book_terms(locks=2_322), whose=Party.PAYEE, payee_delay_blocks=144)
    tx = world.completed_child()
    verify_spend(tx, 0, world.child.prevouts)
    assert (tx.version, tx.vsize, tx.weight) == (2, 99_985, 399_940)
    assert micropayment_weight(2_323, with_p2a=False, delay_blocks=144) > 400_000


def test_largest_book_with_a_p2a_is_a_truc_transaction() -> None:
    world = make_world(book_terms(locks=229), whose=Party.PAYEE, payee_delay_blocks=144)
    tx = world.completed_child()
    verify_spend(tx, 0, world.child.prevouts)
    assert (tx.version, tx.vsize) == (3, 9_997)
    assert micropayment_weight(230, with_p2a=True, delay_blocks=144) > 40_000


@BOTH
def test_child_needs_the_secret_of_the_first_lock_not_settled(whose: Party) -> None:
    world = make_world(whose=whose, settled=1)
    signatures = {
        "payer_signature": world.child.sign(world.lsf_secret(world.payer)),
        "payee_signature": world.child.sign(world.lsf_secret(world.payee)),
    }
    verify_spend(
        world.child.completed(**signatures, secret=world.secret(2)), 0, world.child.prevouts
    )
    for wrong in (world.secret(1), world.secret(3), bytes(32), world.secret(2)[:31], b""):
        tx = world.child.completed(**signatures, secret=wrong)
        refuses_spend(tx, 0, world.child.prevouts)


@BOTH
def test_child_needs_both_signatures(whose: Party) -> None:
    world = make_world(whose=whose)
    payer = world.child.sign(world.lsf_secret(world.payer))
    payee = world.child.sign(world.lsf_secret(world.payee))
    for payer_signature, payee_signature in [
        (b"", payee),
        (payer, b""),
        (payee, payer),
        (b"", b""),
    ]:
        tx = world.child.completed(
            payer_signature=payer_signature, payee_signature=payee_signature, secret=world.secret(1)
        )
        refuses_spend(tx, 0, world.child.prevouts)


@BOTH
def test_child_cannot_lower_its_relative_locktime(whose: Party) -> None:
    world = make_world(whose=whose)
    early = replace(
        world.child,
        tx=with_sequence(world.child.tx, world.child.tx.inputs[0].sequence - 1),
    )
    tx = early.completed(
        payer_signature=early.sign(world.lsf_secret(world.payer)),
        payee_signature=early.sign(world.lsf_secret(world.payee)),
        secret=world.secret(1),
    )
    refuses_spend(tx, 0, world.child.prevouts)


def test_payee_verifies_the_payers_signature_for_this_very_child() -> None:
    world = make_world()
    good = world.child.sign(world.lsf_secret(world.payer))
    world.child.verify(good)
    strangers = [
        world.child.sign(world.lsf_secret(world.payee)),
        make_world(settled=1).child.sign(world.lsf_secret(world.payer)),
        make_world(whose=Party.PAYEE).child.sign(world.lsf_secret(world.payer)),
        make_world(book_terms(child_feerate=300)).child.sign(world.lsf_secret(world.payer)),
        bytes(64),
        good[:63],
    ]
    for signature in strangers:
        with pytest.raises(BadSignature):
            world.child.verify(signature)


# --- claims and refunds of the child's outputs ----------------------------------------------


def claim(world: World, lock: int) -> Spend:
    return claim_spend(
        world.book,
        lock,
        child=world.child,
        settled=world.settled,
        secret=world.secret(lock),
        payee=world.book_secret(world.payee),
    )


def refund(world: World, lock: int) -> Spend:
    return refund_spend(
        world.book,
        lock,
        child=world.child,
        settled=world.settled,
        payer=world.book_secret(world.payer),
    )


@pytest.mark.parametrize("settled", [0, 2])
def test_payee_claims_exactly_the_locks_it_has_secrets_of(settled: int) -> None:
    world = make_world(settled=settled)
    spends = [claim(world, lock) for lock in range(settled + 1, 5)]
    tx, prevouts = sweep(*spends)
    verify_all_spends(tx, prevouts)
    child = world.completed_child()
    assert [child.outputs[txin.outpoint.vout] for txin in tx.inputs] == prevouts
    assert {txin.outpoint.txid for txin in tx.inputs} == {child.txid}


def test_claim_weight_is_exact() -> None:
    world = make_world()
    tx, _ = sweep(claim(world, 1))
    assert tx.vsize == 143  # to P2WPKH; 155 to P2TR or P2WSH
    assert {spend.weight for spend in (claim(world, 1), claim(world, 5))} == {CLAIM_INPUT_WEIGHT}
    two, _ = sweep(claim(world, 1), claim(world, 2))
    assert two.weight - tx.weight == CLAIM_INPUT_WEIGHT


def test_claims_of_the_largest_book_are_batched_within_standardness() -> None:
    world = make_world(book_terms(locks=2_322))
    spends = [claim(world, lock) for lock in range(1, 2_323)]
    parts = list(split_spends(spends, destination_script=DESTINATION))
    assert [spend for part in parts for spend in part] == spends
    for part in parts:
        tx, prevouts = sweep(*part)
        assert tx.weight <= 400_000
        verify_spend(tx, len(part) - 1, prevouts)


def test_claim_needs_the_secret_of_its_own_lock() -> None:
    world = make_world()
    for wrong in (world.secret(2), bytes(32), world.secret(1)[:31], b""):
        with pytest.raises(WrongLockSecret):
            claim_spend(
                world.book,
                1,
                child=world.child,
                settled=0,
                secret=wrong,
                payee=world.book_secret(world.payee),
            )
    tx, prevouts = sweep(claim(world, 1))
    signature, _, script, control = tx.inputs[0].witness
    refuses_spend(tx.with_witness(0, (signature, world.secret(2), script, control)), 0, prevouts)


def test_claim_needs_the_payees_signature() -> None:
    world = make_world()
    for thief in (world.book_secret(world.payer), world.lsf_secret(world.payee)):
        spend = claim_spend(
            world.book, 1, child=world.child, settled=0, secret=world.secret(1), payee=thief
        )
        tx, prevouts = sweep(spend)
        refuses_spend(tx, 0, prevouts)
    tx, prevouts = sweep(claim(world, 1))
    _, *rest = tx.inputs[0].witness
    refuses_spend(tx.with_witness(0, (b"", *rest)), 0, prevouts)


def test_claim_cannot_be_redirected() -> None:
    """What the default script adds to the paper's: seeing a claim is of no use to a thief."""
    world = make_world()
    tx, prevouts = sweep(claim(world, 1))
    redirected = replace(tx, outputs=(TxOut(tx.outputs[0].value, b"\x51"),))
    refuses_spend(redirected, 0, prevouts)


def test_literal_claim_can_be_redirected_by_anybody() -> None:
    """Paper 2.1.1 to the letter: the secret alone spends, to wherever the thief likes."""
    world = make_world(book_terms(literal=True))
    tx, prevouts = sweep(claim(world, 1))
    verify_all_spends(tx, prevouts)
    verify_spend(replace(tx, outputs=(TxOut(tx.outputs[0].value, b"\x51"),)), 0, prevouts)


def test_payer_takes_back_a_lock_only_after_the_refund_delay() -> None:
    world = make_world(settled=1)
    tx, prevouts = sweep(refund(world, 2), refund(world, 5))
    verify_all_spends(tx, prevouts)
    assert [txin.sequence for txin in tx.inputs] == [20, 20]
    early = replace(refund(world, 2), sequence=19)
    tx, prevouts = sweep(early)
    refuses_spend(tx, 0, prevouts)


def test_payee_cannot_take_a_refund() -> None:
    world = make_world()
    spend = refund_spend(
        world.book, 1, child=world.child, settled=0, payer=world.book_secret(world.payee)
    )
    tx, prevouts = sweep(spend)
    refuses_spend(tx, 0, prevouts)


@pytest.mark.parametrize("lock", [0, 2, 6])
def test_locks_without_an_output_are_refused(lock: int) -> None:
    world = make_world(settled=2)
    with pytest.raises(LockSettled):
        refund(world, lock)


def test_anybody_can_pay_for_a_child_by_its_p2a() -> None:
    world = make_world()
    tx, prevouts = sweep(p2a_spend(world.child.tx), claim(world, 1))
    verify_all_spends(tx, prevouts)
    assert p2a_spend(make_world(book_terms(locks=230)).child.tx) is None


# --- the LSF itself -------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 3])
def test_payer_takes_back_the_lsf_only_after_the_refund_delay(whose: Party, settled: int) -> None:
    world = make_world(whose=whose, settled=settled)
    spend = lsf_refund_spend(
        world.book,
        world.frozen,
        keys=world.keys,
        whose=whose,
        settled=settled,
        payer=world.lsf_secret(world.payer),
    )
    tx, prevouts = sweep(spend)
    verify_all_spends(tx, prevouts)
    early, prevouts = sweep(replace(spend, sequence=19))
    refuses_spend(early, 0, prevouts)


@BOTH
def test_payee_cannot_refund_the_lsf(whose: Party) -> None:
    world = make_world(whose=whose)
    spend = lsf_refund_spend(
        world.book,
        world.frozen,
        keys=world.keys,
        whose=whose,
        settled=0,
        payer=world.lsf_secret(world.payee),
    )
    tx, prevouts = sweep(spend)
    refuses_spend(tx, 0, prevouts)


def revocation(world: World) -> Spend:
    return lsf_revocation_spend(
        world.book,
        world.frozen,
        keys=world.keys,
        whose=world.whose,
        settled=world.settled,
        revocation=world.revocation_secret(),
    )


@BOTH
def test_revoked_lsf_is_taken_by_key_path_with_one_input(whose: Party) -> None:
    world = make_world(whose=whose)
    tx, prevouts = sweep(revocation(world))
    verify_all_spends(tx, prevouts)
    assert len(tx.inputs) == 1
    assert tx.inputs[0].sequence & 1 << 31  # no relative locktime
    assert len(tx.inputs[0].witness) == 1


@BOTH
def test_the_broadcaster_cannot_take_its_own_lsf_by_key_path(whose: Party) -> None:
    world = make_world(whose=whose)
    secrets = [
        world.broadcaster.revocation,
        world.countersignatory.revocation,
        world.lsf_secret(world.payer),
        world.lsf_secret(world.payee),
    ]
    for secret in secrets:
        spend = lsf_revocation_spend(
            world.book,
            world.frozen,
            keys=world.keys,
            whose=whose,
            settled=0,
            revocation=secret,
        )
        tx, prevouts = sweep(spend)
        refuses_spend(tx, 0, prevouts)

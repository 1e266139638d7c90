"""Scheme ladder: every spend of an LSF with rungs, judged by consensus code; what it refuses."""

from dataclasses import replace
from itertools import pairwise

import pytest

from judge import refuses_spend, verify_all_spends, verify_spend
from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    TRUC_VERSION,
    BadSignature,
    FeeRate,
    OutPoint,
    Tx,
    TxOut,
    fee_for_weight,
)
from lightspeed.channel import SpentOnChain, Sweep
from lightspeed.channel.sweeps import Spend, sweep_transaction
from lightspeed.lsf import LsfChild, Party, settlement_transaction_weight
from lightspeed.lsf.claims import lsf_refund_spend, lsf_revocation_spend, p2a_spend
from lightspeed.payment import Scheme
from lsf_world import DESTINATION, World, book_terms, make_world

BOTH = pytest.mark.parametrize("whose", Party)


def ladder(*, locks: int = 5, delay: int = 6, **options: object) -> World:
    terms = book_terms(locks=locks, scheme=Scheme.LADDER, refund_delay_blocks=max(20, delay + 300))
    return make_world(terms, payee_delay_blocks=delay, **options)  # type: ignore[arg-type]


def sweep(*spends: Spend) -> tuple[Tx, list[TxOut]]:
    tx = sweep_transaction(spends, destination_script=DESTINATION, feerate_per_kw=FeeRate(253))
    return tx, [spend.prevout for spend in spends]


# --- settlement transactions ----------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 2, 4])
def test_every_settlement_transaction_spends_the_lsf_by_its_own_rung(
    whose: Party, settled: int
) -> None:
    world = ladder(whose=whose, settled=settled)
    assert len(world.children) == 5 - settled
    for lock in range(settled + 1, 6):
        child = world.settlement(lock)
        tx = world.completed(child, lock=lock)
        verify_all_spends(tx, child.prevouts)
        assert tx.version == TRUC_VERSION
        assert tx.inputs[0].sequence == (1 if whose is Party.PAYER else 6)
        rest = [(5 - lock) * 1_000] * (lock < 5)
        assert [out.value for out in tx.outputs] == [(lock - settled) * 1_000, *rest, 240]
        fee = child.prevouts[0].value - sum(out.value for out in tx.outputs)
        assert fee >= fee_for_weight(tx.weight, FEE_RATE_FLOOR)


@pytest.mark.parametrize("delay", [6, 16, 17, 127, 128, 144, 32_768])
@pytest.mark.parametrize("locks", [1, 2, 3, 4, 5, 8, 127, 128])
def test_settlement_weight_is_exact_and_the_heaviest_is_paid_for(locks: int, delay: int) -> None:
    world = ladder(locks=locks, delay=delay, whose=Party.PAYEE)
    weights = []
    for rung in sorted({1, 2, 3, locks // 2, locks - 1, locks} & set(range(1, locks + 1))):
        tx = world.completed(world.settlement(rung), lock=rung)
        weights.append(tx.weight)
        assert tx.weight == settlement_transaction_weight(locks, rung, delay_blocks=delay)
    paid = world.frozen.output(world.book.key).value - locks * 1_000 - 240
    assert paid == fee_for_weight(max(weights), FEE_RATE_FLOOR)
    assert paid >= -(-max(weights) // 4)  # 1 sat/vB: it relays alone


@pytest.mark.parametrize(("locks", "vsizes"), [(127, {242, 285}), (1_000, {258, 301, 309})])
def test_one_transaction_below_400_vbytes_for_any_number_of_payments(
    locks: int, vsizes: set[int]
) -> None:
    found = {
        -(-settlement_transaction_weight(locks, rung, delay_blocks=144) // 4)
        for rung in range(1, locks + 1)
    }
    assert found == vsizes
    world = ladder(locks=locks, delay=144, whose=Party.PAYEE)
    for rung in (1, locks - 1, locks):
        child = world.settlement(rung)
        tx = world.completed(child, lock=rung)
        verify_spend(tx, 0, child.prevouts)
        assert tx.vsize in vsizes


def test_default_ladder_has_control_blocks_that_bip_110_relays() -> None:
    largest = ladder(locks=127)
    assert len(largest.children[0].lsf.control_block(0)) == 257
    assert len(ladder(locks=128).children[0].lsf.control_block(0)) == 289


@BOTH
def test_lsf_holds_the_same_on_both_commitments(whose: Party) -> None:
    world = ladder(whose=whose, delay=2_016)
    assert world.frozen.output(world.book.key).value == ladder(
        whose=Party.PAYEE, delay=2_016
    ).book.amount_sat(settled=0)


def test_settling_never_asks_the_payer_for_money() -> None:
    book = ladder(locks=130).book
    for before, after in pairwise(range(130)):
        freed = book.amount_sat(settled=before) - book.amount_sat(settled=after)
        assert freed >= 1_000


@BOTH
def test_a_rung_needs_the_secret_of_its_own_lock(whose: Party) -> None:
    world = ladder(whose=whose, settled=1)
    child = world.settlement(3)
    signatures = {
        "payer_signature": child.sign(world.lsf_secret(world.payer)),
        "payee_signature": child.sign(world.lsf_secret(world.payee)),
    }
    verify_spend(child.completed(**signatures, secret=world.secret(3)), 0, child.prevouts)
    for wrong in (world.secret(2), world.secret(4), bytes(32), world.secret(3)[:31], b""):
        refuses_spend(child.completed(**signatures, secret=wrong), 0, child.prevouts)


@BOTH
def test_a_rung_needs_both_signatures(whose: Party) -> None:
    world = ladder(whose=whose)
    child = world.settlement(2)
    payer = child.sign(world.lsf_secret(world.payer))
    payee = child.sign(world.lsf_secret(world.payee))
    for payer_signature, payee_signature in [(b"", payee), (payer, b""), (payee, payer)]:
        tx = child.completed(
            payer_signature=payer_signature,
            payee_signature=payee_signature,
            secret=world.secret(2),
        )
        refuses_spend(tx, 0, child.prevouts)


@pytest.mark.parametrize(("rung", "transaction"), [(2, 4), (4, 2)])
def test_a_signature_for_one_rung_does_not_open_another(rung: int, transaction: int) -> None:
    """With s_2 the payee cannot publish S_4: the payer signed that for rung 4 alone."""
    world = ladder()
    honest = world.settlement(transaction)
    stolen = replace(honest, leaf=world.settlement(rung).leaf)
    tx = stolen.completed(
        payer_signature=honest.sign(world.lsf_secret(world.payer)),
        payee_signature=stolen.sign(world.lsf_secret(world.payee)),
        secret=world.secret(rung),
    )
    refuses_spend(tx, 0, stolen.prevouts)
    tx = world.settlement(rung).completed(
        payer_signature=honest.sign(world.lsf_secret(world.payer)),
        payee_signature=world.settlement(rung).sign(world.lsf_secret(world.payee)),
        secret=world.secret(rung),
    )
    refuses_spend(tx, 0, stolen.prevouts)


@BOTH
def test_a_settlement_transaction_cannot_lower_its_relative_locktime(whose: Party) -> None:
    world = ladder(whose=whose)
    child = world.settlement(1)
    (txin,) = child.tx.inputs
    early = replace(
        child, tx=replace(child.tx, inputs=(replace(txin, sequence=txin.sequence - 1),))
    )
    refuses_spend(world.completed(early, lock=1), 0, child.prevouts)


def test_payee_verifies_the_payers_signature_for_this_very_rung() -> None:
    world = ladder()
    child = world.settlement(3)
    good = child.sign(world.lsf_secret(world.payer))
    child.verify(good)
    strangers = [
        child.sign(world.lsf_secret(world.payee)),
        world.settlement(2).sign(world.lsf_secret(world.payer)),
        ladder(settled=1).settlement(3).sign(world.lsf_secret(world.payer)),
        ladder(whose=Party.PAYEE).settlement(3).sign(world.lsf_secret(world.payer)),
        bytes(64),
    ]
    for signature in strangers:
        with pytest.raises(BadSignature):
            child.verify(signature)


# --- its outputs ----------------------------------------------------------------------------


def sweeps_of(world: World, party: Party, tx: Tx) -> list[Sweep]:
    lsf, spent = world.on_chain(party), SpentOnChain(tx, 0, 120)
    if party is Party.PAYER:
        return list(world.book.payer_sweeps(lsf, spent))
    return list(world.book.payee_sweeps(lsf, spent))


@BOTH
@pytest.mark.parametrize("settled", [0, 2])
@pytest.mark.parametrize("lock", [3, 4, 5])
def test_each_party_takes_its_own_output_at_once(whose: Party, settled: int, lock: int) -> None:
    world = ladder(whose=whose, settled=settled)
    published = world.completed(world.settlement(lock), lock=lock)
    taken = {}
    for party in Party:
        found = sweeps_of(world, party, published)
        for each in found:
            assert each.mature_height == 120
            assert each.spend.sequence & 1 << 31  # no relative locktime
            tx, prevouts = sweep(each.spend)
            verify_all_spends(tx, prevouts)
            assert published.outputs[each.spend.outpoint.vout] == each.spend.prevout
            assert tx.weight <= 4 * 112
        taken[party] = sum(each.spend.prevout.value for each in found)
    assert taken == {Party.PAYEE: (lock - settled) * 1_000, Party.PAYER: (5 - lock) * 1_000}


def test_nobody_takes_the_others_output() -> None:
    world = ladder()
    published = world.completed(world.settlement(2), lock=2)
    for party, other in ((Party.PAYER, world.payee), (Party.PAYEE, world.payer)):
        lsf = replace(world.on_chain(party), book_secret=world.book_secret(other))
        spent = SpentOnChain(published, 0, 120)
        sweeps = world.book.payer_sweeps if party is Party.PAYER else world.book.payee_sweeps
        (found,) = sweeps(lsf, spent)
        tx, prevouts = sweep(found.spend)
        refuses_spend(tx, 0, prevouts)


def test_only_a_settlement_transaction_has_outputs_of_ours() -> None:
    world = ladder()
    published = world.completed(world.settlement(2), lock=2)
    strangers = [
        replace(published, version=2),
        replace(published, outputs=(TxOut(published.outputs[0].value, b"\x51"),)),
        replace(published, outputs=(replace(published.outputs[0], value=0),)),  # type: ignore[arg-type]
        replace(published, outputs=(replace(published.outputs[0], value=9_000),)),  # type: ignore[arg-type]
    ]
    for tx in strangers:
        for party in Party:
            assert sweeps_of(world, party, tx) == []


def test_what_is_taken_is_not_taken_again() -> None:
    world = ladder()
    published = world.completed(world.settlement(2), lock=2)
    spent = SpentOnChain(published, 0, 120)
    gone: dict[OutPoint, SpentOnChain] = {
        published.outpoint(vout): SpentOnChain(published, 0, 121) for vout in (0, 1)
    }
    lsf = replace(world.on_chain(Party.PAYEE), spends=gone)
    assert list(world.book.payee_sweeps(lsf, spent)) == []
    assert list(world.book.payer_sweeps(lsf, spent)) == []


@BOTH
@pytest.mark.parametrize(
    ("paid", "rung"), [((1,), 1), ((2, 4), 4), ((5,), 5), ((1, 2, 3), 3), ((), None)]
)
def test_payee_publishes_the_rung_of_the_highest_completed_lock(
    whose: Party, paid: tuple[int, ...], rung: int | None
) -> None:
    world = ladder(whose=whose)
    publication = world.book.publication(world.on_chain(Party.PAYEE, paid=paid))
    if rung is None:
        assert publication is None
        return
    assert publication is not None
    assert publication.tx.txid == world.settlement(rung).tx.txid
    assert publication.mature_height == 100 + (1 if whose is Party.PAYER else 6)
    verify_all_spends(publication.tx, world.settlement(rung).prevouts)


def test_settled_locks_publish_nothing() -> None:
    world = ladder(settled=3)
    assert world.book.publication(world.on_chain(Party.PAYEE, paid=(1, 2, 3))) is None
    lsf = replace(world.on_chain(Party.PAYEE, paid=(4,)), signatures=())
    assert world.book.publication(lsf) is None  # a revoked commitment's are not kept


def test_anybody_can_pay_for_a_settlement_by_its_p2a() -> None:
    world = ladder()
    for lock in (2, 5):
        child: LsfChild = world.settlement(lock)
        (found,) = sweeps_of(world, Party.PAYEE, world.completed(child, lock=lock))
        tx, prevouts = sweep(p2a_spend(child.tx), found.spend)
        verify_all_spends(tx, prevouts)


# --- the LSF itself -------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 3])
def test_payer_takes_back_the_lsf_only_after_the_refund_delay(whose: Party, settled: int) -> None:
    world = ladder(whose=whose, settled=settled)

    def spend(party: object) -> Spend:
        return lsf_refund_spend(
            world.book,
            world.frozen,
            keys=world.keys,
            whose=whose,
            settled=settled,
            payer=world.lsf_secret(party),  # type: ignore[arg-type]
        )

    tx, prevouts = sweep(spend(world.payer))
    verify_all_spends(tx, prevouts)
    assert tx.inputs[0].sequence == 306
    early, prevouts = sweep(replace(spend(world.payer), sequence=305))
    refuses_spend(early, 0, prevouts)
    stolen, prevouts = sweep(spend(world.payee))
    refuses_spend(stolen, 0, prevouts)


@BOTH
def test_revoked_lsf_is_taken_by_key_path_with_one_input(whose: Party) -> None:
    world = ladder(whose=whose, settled=1)

    def spend(secret: object) -> tuple[Tx, list[TxOut]]:
        return sweep(
            lsf_revocation_spend(
                world.book,
                world.frozen,
                keys=world.keys,
                whose=whose,
                settled=1,
                revocation=secret,  # type: ignore[arg-type]
            )
        )

    tx, prevouts = spend(world.revocation_secret())
    verify_all_spends(tx, prevouts)
    assert len(tx.inputs[0].witness) == 1
    for wrong in (world.broadcaster.revocation, world.countersignatory.revocation):
        tx, prevouts = spend(wrong)
        refuses_spend(tx, 0, prevouts)

"""Scheme ladder in tokens: each side gets back exactly its share, whatever rung is published."""

from dataclasses import replace
from itertools import pairwise

import pytest

from judge import refuses_spend, verify_all_spends
from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    TRUC_VERSION,
    FeeRate,
    OutPoint,
    PrivateKey,
    Tx,
    fee_for_weight,
)
from lightspeed.channel import SpentOnChain, Sweep
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.channel.sweeps import SWEEP_VOUT, coloured_sweep
from lightspeed.lsf import Party, settlement_transaction_weight
from lightspeed.payment import Scheme
from lightspeed.rgb import Coloured, Method, dbc_method
from lightspeed.units import Sat
from lsf_world import CONTRACT, DESTINATION, World, make_world, token_terms, validated

BOTH = pytest.mark.parametrize("whose", Party)
AMOUNT = 1_000
COIN = p2wpkh_spend(OutPoint(bytes(32), 9), Sat(10_000), secret=PrivateKey(b"\x09" * 32))


def ladder(*, locks: int = 5, delay: int = 6, **options: object) -> World:
    terms = token_terms(locks=locks, scheme=Scheme.LADDER, refund_delay_blocks=max(20, delay + 300))
    return make_world(terms, payee_delay_blocks=delay, **options)  # type: ignore[arg-type]


def sweeps_of(world: World, party: Party, tx: Tx) -> list[Sweep]:
    lsf, spent = world.on_chain(party), SpentOnChain(tx, 0, 120)
    if party is Party.PAYER:
        return list(world.book.payer_sweeps(lsf, spent))
    return list(world.book.payee_sweeps(lsf, spent))


def swept(found: Sweep) -> Coloured:
    """With a coin for the fee."""
    return coloured_sweep(
        (found.spend, COIN),
        contract_id=CONTRACT,
        destination_script=DESTINATION,
        feerate_per_kw=FeeRate(253),
    )


@BOTH
@pytest.mark.parametrize("settled", [0, 2, 4])
def test_every_rung_moves_all_tokens_to_the_two_parties(whose: Party, settled: int) -> None:
    world = ladder(whose=whose, settled=settled)
    assert world.frozen.coloured is not None
    for lock in range(settled + 1, 6):
        child = world.settlement(lock)
        tx = world.completed(child, lock=lock)
        verify_all_spends(tx, child.prevouts)
        assert tx.version == TRUC_VERSION
        assert dbc_method(tx) is Method.OPRET
        assert [out.value for out in tx.outputs] == [0, 330, *[330] * (lock < 5), 240]
        assert child.coloured is not None
        found = validated(world.frozen.coloured.witness, child.coloured.witness)
        there = {
            each.outpoint.vout: each.amount
            for each in found.revealed.values()
            if each.outpoint.txid == tx.txid
        }
        rest = {2: (5 - lock) * AMOUNT} if lock < 5 else {}
        assert there == {1: (lock - settled) * AMOUNT} | rest


@pytest.mark.parametrize("delay", [6, 16, 17, 144, 32_768])
@pytest.mark.parametrize("locks", [1, 2, 3, 5, 127])
def test_weight_is_exact_and_the_heaviest_is_paid_for(locks: int, delay: int) -> None:
    world = ladder(locks=locks, delay=delay, whose=Party.PAYEE)
    weights = []
    for rung in sorted({1, 2, locks - 1, locks} & set(range(1, locks + 1))):
        tx = world.completed(world.settlement(rung), lock=rung)
        weights.append(tx.weight)
        assert tx.weight == settlement_transaction_weight(
            locks, rung, delay_blocks=delay, tokens=True
        )
        assert tx.vsize < 400
    paid = world.frozen.output(world.book.key).value - 2 * 330 - 240
    assert paid == fee_for_weight(max(weights), FEE_RATE_FLOOR)


def test_settling_never_asks_the_payer_for_sats() -> None:
    book = ladder(locks=127).book
    for before, after in pairwise(range(127)):
        assert book.amount_sat(settled=after) <= book.amount_sat(settled=before)
        assert book.tokens(settled=before) - book.tokens(settled=after) == AMOUNT


@BOTH
@pytest.mark.parametrize("settled", [0, 2])
@pytest.mark.parametrize("lock", [3, 5])
def test_each_party_takes_its_own_tokens_at_once(whose: Party, settled: int, lock: int) -> None:
    world = ladder(whose=whose, settled=settled)
    published = world.completed(world.settlement(lock), lock=lock)
    taken = dict.fromkeys(Party, 0)
    for party in Party:
        for each in sweeps_of(world, party, published):
            assert each.mature_height == 120
            tx = swept(each)
            verify_all_spends(tx.tx, [each.spend.prevout, COIN.prevout])
            found = validated(*each.history, tx.witness)
            outpoint = OutPoint(tx.tx.txid, SWEEP_VOUT)
            here = [a.amount for a in found.revealed.values() if a.outpoint == outpoint]
            taken[party] += sum(here)
    assert taken == {Party.PAYEE: (lock - settled) * AMOUNT, Party.PAYER: (5 - lock) * AMOUNT}


def test_nobody_takes_the_others_output() -> None:
    world = ladder()
    spent = SpentOnChain(world.completed(world.settlement(2), lock=2), 0, 120)
    for party, other in ((Party.PAYER, world.payee), (Party.PAYEE, world.payer)):
        lsf = replace(world.on_chain(party), book_secret=world.book_secret(other))
        sweeps = world.book.payer_sweeps if party is Party.PAYER else world.book.payee_sweeps
        (found,) = sweeps(lsf, spent)
        refuses_spend(swept(found).tx, 0, [found.spend.prevout, COIN.prevout])


def test_a_rung_cannot_be_published_with_the_tokens_of_another() -> None:
    """The payer's signature covers the commitment to the transition: output 0."""
    world = ladder()
    honest, greedy = world.settlement(2), world.settlement(4)
    forged = replace(honest, tx=greedy.tx)
    tx = forged.completed(
        payer_signature=honest.sign(world.lsf_secret(world.payer)),
        payee_signature=forged.sign(world.lsf_secret(world.payee)),
        secret=world.secret(2),
    )
    refuses_spend(tx, 0, honest.prevouts)


@BOTH
def test_payee_publishes_the_highest_rung_with_its_history(whose: Party) -> None:
    world = ladder(whose=whose)
    found = world.book.publication(world.on_chain(Party.PAYEE, paid=[1, 3]))
    assert found is not None
    assert found.tx.txid == world.settlement(3).tx.txid
    validated(*found.history)
    verify_all_spends(found.tx, world.settlement(3).prevouts)


def test_two_locks_with_one_secret_hide_no_settlement() -> None:
    """Two rungs have the same script then; which was published, the transaction tells."""
    world = ladder()
    book = world.secret_book.book
    hashes = bytearray(book.lock_hashes)
    hashes[4 * 32 :] = book.lock_hash(2)
    twice = replace(book, lock_hashes=bytes(hashes))
    world = replace(world, secret_book=replace(world.secret_book, book=twice))
    for lock in (2, 5):
        tx = world.completed(world.settlement(lock), lock=2)
        verify_all_spends(tx, world.settlement(lock).prevouts)
        (found,) = sweeps_of(world, Party.PAYEE, tx)
        assert sum(token.amount for token in found.spend.tokens) == lock * AMOUNT

"""Scheme seals: every spend, judged by consensus code, and what it proves, judged by RGB."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from judge import refuses_spend, verify_all_spends
from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    TRUC_VERSION,
    FeeRate,
    OutPoint,
    PrivateKey,
    TxIn,
    fee_for_weight,
)
from lightspeed.channel import SpentOnChain, Sweep
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.channel.sweeps import SWEEP_VOUT, Spend, coloured_sweep, sweep_transaction
from lightspeed.lsf import MAX_SEALS, Party, SealsBook, seals_child_weight
from lightspeed.lsf.claims import lsf_refund_spend, lsf_revocation_spend, p2a_spend
from lightspeed.payment import Scheme
from lightspeed.rgb import (
    ASSET_OWNER,
    Coloured,
    GraphSeal,
    Method,
    Opout,
    TokenInput,
    TokensWouldBurn,
    WitnessBundle,
    dbc_method,
)
from lightspeed.rgb.failures import NoPrevState, SealsInvalid
from lightspeed.units import Sat
from lsf_world import CONTRACT, DESTINATION, World, make_world, token_terms, validated
from payment_books import with_garbage

BOTH = pytest.mark.parametrize("whose", Party)
AMOUNT = 1_000


def seals(
    *, locks: int = 5, delay: int = 6, garbage: Iterable[int] = (), **options: object
) -> World:
    terms = token_terms(locks=locks, refund_delay_blocks=max(20, delay + 300))
    world = make_world(terms, payee_delay_blocks=delay, **options)  # type: ignore[arg-type]
    return replace(world, secret_book=with_garbage(world.secret_book, *garbage))


def coin() -> Spend:
    """Of the wallet: 330 sat do not pay for their own way."""
    return p2wpkh_spend(OutPoint(bytes(32), 9), Sat(10_000), secret=PrivateKey(b"\x09" * 32))


def sweep(*spends: Spend) -> Coloured:
    """With a coin for the fee, judged by consensus."""
    swept = coloured_sweep(
        (*spends, coin()),
        contract_id=CONTRACT,
        destination_script=DESTINATION,
        feerate_per_kw=FeeRate(253),
    )
    verify_all_spends(swept.tx, [spend.prevout for spend in (*spends, coin())])
    return swept


def sweeps(world: World, party: Party, paid: Iterable[int] = (), **known: object) -> list[Sweep]:
    """What the party takes out of the published child."""
    lsf = replace(world.on_chain(party, paid=paid), **known)
    spent = SpentOnChain(world.completed_child(), 0, 120)
    if party is Party.PAYER:
        return list(world.book.payer_sweeps(lsf, spent))
    return list(world.book.payee_sweeps(lsf, spent))


def proved(swept: Coloured, history: Iterable[WitnessBundle]) -> int:
    """The tokens on the destination, by a valid history."""
    found = validated(*history, swept.witness)
    outpoint = OutPoint(swept.tx.txid, SWEEP_VOUT)
    return sum(each.amount for each in found.revealed.values() if each.outpoint == outpoint)


# --- the micropayment transaction -----------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 2, 4])
def test_child_moves_all_tokens_of_the_lsf_to_concealed_seals(whose: Party, settled: int) -> None:
    world = seals(whose=whose, settled=settled)
    tx, child = world.completed_child(), world.child
    verify_all_spends(tx, child.prevouts)
    assert tx.version == TRUC_VERSION
    assert tx.inputs[0].sequence == (1 if whose is Party.PAYER else 6)
    assert [output.value for output in tx.outputs] == [0, 330, 240]
    assert dbc_method(tx) is Method.OPRET
    fee = child.prevouts[0].value - 330 - 240
    assert fee >= fee_for_weight(tx.weight, FEE_RATE_FLOOR)
    assert child.coloured is not None
    assert world.frozen.coloured is not None
    transition = child.coloured.transition
    assert transition.inputs == tuple(t.opout for t in world.frozen.tokens(world.book.key))
    book = world.secret_book.book
    assert [(each.seal, each.state) for each in transition.assignments.of_type(ASSET_OWNER)] == [
        (book.seal(lock), AMOUNT) for lock in range(settled + 1, 6)
    ]
    found = validated(world.frozen.coloured.witness, child.coloured.witness)
    assert sum(each.amount for each in found.concealed.values()) == (5 - settled) * AMOUNT


@pytest.mark.parametrize("delay", [6, 16, 17, 127, 128, 144, 32_768])
@pytest.mark.parametrize("locks", [1, 300])
def test_weight_is_exact_and_paid_for_whatever_the_locks(locks: int, delay: int) -> None:
    world = seals(locks=locks, delay=delay, whose=Party.PAYEE)
    tx = world.completed_child()
    assert tx.weight == seals_child_weight(delay_blocks=delay)
    assert tx.vsize < 250
    held = world.frozen.output(world.book.key).value
    assert held == 330 + 240 + fee_for_weight(tx.weight, FEE_RATE_FLOOR)


@BOTH
def test_lsf_holds_the_same_on_both_commitments_and_its_sats_all_along(whose: Party) -> None:
    held = {
        seals(whose=whose, settled=settled, delay=2_016).book.amount_sat(settled=settled)
        for settled in range(5)
    }
    assert held == {seals(delay=2_016).book.amount_sat(settled=0)}
    book = seals().book
    assert [book.tokens(settled=settled) for settled in range(5)] == [
        5_000,
        4_000,
        3_000,
        2_000,
        1_000,
    ]


@BOTH
def test_split_needs_the_secret_of_the_first_lock_not_settled(whose: Party) -> None:
    world = seals(whose=whose, settled=1)
    refuses_spend(world.completed(world.child, lock=3), 0, world.child.prevouts)
    refuses_spend(world.completed(world.child, lock=1), 0, world.child.prevouts)


def test_payee_publishes_once_the_first_lock_was_paid() -> None:
    world = seals(settled=1)
    assert world.book.publication(world.on_chain(Party.PAYEE)) is None
    assert world.book.publication(world.on_chain(Party.PAYEE, paid=[1, 3])) is None
    found = world.book.publication(world.on_chain(Party.PAYEE, paid=[2]))
    assert found is not None
    assert found.tx.txid == world.child.tx.txid
    assert found.mature_height == 101
    assert found.history == world.child.history(world.frozen)
    verify_all_spends(found.tx, world.child.prevouts)
    unsigned = replace(world.on_chain(Party.PAYEE, paid=[2]), signatures=())
    assert world.book.publication(unsigned) is None  # a revoked commitment's are not kept


def test_payee_publishes_with_the_secret_of_a_garbage_lock_for_the_sake_of_others() -> None:
    world = seals(garbage=[1])
    assert world.book.publication(world.on_chain(Party.PAYEE, paid=[1])) is None
    found = world.book.publication(world.on_chain(Party.PAYEE, paid=[1, 2]))
    assert found is not None
    verify_all_spends(found.tx, world.child.prevouts)


# --- claims ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 2])
@pytest.mark.parametrize("paid", [(3,), (3, 5), (1, 2, 3, 4, 5)])
def test_payee_claims_exactly_what_was_paid(
    whose: Party, settled: int, paid: tuple[int, ...]
) -> None:
    world = seals(whose=whose, settled=settled)
    (found,) = sweeps(world, Party.PAYEE, paid)
    assert found.purpose == "claim"
    assert found.mature_height == 120
    assert found.spend.outpoint == world.child.tx.outpoint(1)
    swept = sweep(found.spend)
    here = [lock for lock in paid if lock > settled]
    assert proved(swept, found.history) == len(here) * AMOUNT
    assert [token.opout.number for token in found.spend.tokens] == [n - settled - 1 for n in here]


def test_rest_dies_with_the_claim() -> None:
    """Paper 4: who was not paid cannot spend it, and the output is gone."""
    world = seals()
    (found,) = sweeps(world, Party.PAYEE, [1, 2])
    swept = sweep(found.spend)
    left = validated(*found.history, swept.witness).concealed
    assert sum(each.amount for each in left.values()) == 3 * AMOUNT
    assert sweeps(world, Party.PAYER, spends={found.spend.outpoint: None}) == []
    assert sweeps(world, Party.PAYEE, [1, 2], spends={found.spend.outpoint: None}) == []


def test_a_transaction_that_lists_an_unpaid_lock_proves_nothing() -> None:
    world = seals()
    (found,) = sweeps(world, Party.PAYEE, [1, 2])
    opid = found.spend.tokens[0].opout.opid
    greedy = TokenInput(Opout(opid, ASSET_OWNER, 2), AMOUNT)
    swept = sweep(replace(found.spend, tokens=(*found.spend.tokens, greedy)))
    with pytest.raises(NoPrevState):
        validated(*found.history, swept.witness)


def test_an_opout_moves_once() -> None:
    """A second transition of the claimed tokens proves nothing, wherever it is committed to."""
    world = seals()
    (found,) = sweeps(world, Party.PAYEE, [1, 2])
    (refund,) = sweeps(world, Party.PAYER)
    claim, again = sweep(found.spend), sweep(refund.spend)
    with pytest.raises(NoPrevState):
        validated(*refund.history, claim.witness, again.witness)
    elsewhere = coloured_sweep(
        (replace(coin(), tokens=found.spend.tokens),),
        contract_id=CONTRACT,
        destination_script=DESTINATION,
        feerate_per_kw=FeeRate(253),
    )
    with pytest.raises(SealsInvalid):
        validated(*found.history, elsewhere.witness)


def test_another_blinding_opens_no_seal() -> None:
    """Revealed otherwise, the assignment is one of another transition than was committed to."""
    world = seals()
    (found,) = sweeps(world, Party.PAYEE, [1, 2])
    _, child = found.history
    ((opid, transition),) = child.bundle.known
    owned = list(transition.assignments.of_type(ASSET_OWNER))
    owned[2] = replace(owned[2], seal=GraphSeal(None, 1, 12_345))
    forged = replace(
        transition, assignments=type(transition.assignments)(((ASSET_OWNER, tuple(owned)),))
    )
    assert forged.opid != opid


@BOTH
def test_a_garbage_seal_costs_its_own_lock_only(whose: Party) -> None:
    """Its secret opens the hash lock; an input for it would void the whole transition."""
    world = seals(whose=whose, garbage=[2, 4])
    (found,) = sweeps(world, Party.PAYEE, [1, 2, 3])
    swept = sweep(found.spend)
    assert proved(swept, found.history) == 2 * AMOUNT
    assert sweeps(world, Party.PAYEE, [2, 4]) == []


def test_only_the_child_has_an_output_of_ours() -> None:
    world = seals()
    for tx in (
        replace(world.completed_child(), version=2),
        replace(world.completed_child(), inputs=(TxIn(OutPoint(bytes(32), 0)),)),
    ):
        for party in Party:
            lsf, spent = world.on_chain(party, paid=[1]), SpentOnChain(tx, 0, 120)
            assert list(world.book.payee_sweeps(lsf, spent)) == []
            assert list(world.book.payer_sweeps(lsf, spent)) == []


def test_nobody_takes_the_output_by_the_others_leaf() -> None:
    world = seals()
    for party, other in ((Party.PAYER, world.payee), (Party.PAYEE, world.payer)):
        (found,) = sweeps(world, party, [1], book_secret=world.book_secret(other))
        swept = coloured_sweep(
            (found.spend, coin()),
            contract_id=CONTRACT,
            destination_script=DESTINATION,
            feerate_per_kw=FeeRate(253),
        )
        refuses_spend(swept.tx, 0, [found.spend.prevout, coin().prevout])


def test_a_plain_sweep_would_burn_and_is_refused() -> None:
    world = seals()
    (found,) = sweeps(world, Party.PAYEE, [1])
    with pytest.raises(TokensWouldBurn):
        sweep_transaction(
            (found.spend, coin()), destination_script=DESTINATION, feerate_per_kw=FeeRate(253)
        )


def test_anybody_can_pay_for_the_child_by_its_p2a() -> None:
    tx = sweep_transaction(
        (p2a_spend(seals().child.tx), coin()),
        destination_script=DESTINATION,
        feerate_per_kw=FeeRate(253),
    )
    verify_all_spends(tx, [p2a_spend(seals().child.tx).prevout, coin().prevout])


# --- the payer's refunds --------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("settled", [0, 3])
def test_payer_takes_everything_back_after_the_refund_delay(whose: Party, settled: int) -> None:
    world = seals(whose=whose, settled=settled)
    (found,) = sweeps(world, Party.PAYER)
    assert found.purpose == "lock refund"
    assert found.mature_height == 120 + 306
    assert found.spend.sequence == 306
    assert proved(sweep(found.spend), found.history) == (5 - settled) * AMOUNT
    early = coloured_sweep(
        (replace(found.spend, sequence=305), coin()),
        contract_id=CONTRACT,
        destination_script=DESTINATION,
        feerate_per_kw=FeeRate(253),
    )
    refuses_spend(early.tx, 0, [found.spend.prevout, coin().prevout])


def test_payer_waits_rather_than_lose_what_it_has_no_secret_for() -> None:
    world = seals()
    known = {lock: world.secret(lock) for lock in (1, 2, 3, 5)}
    assert sweeps(world, Party.PAYER, lock_secrets=known) == []


def test_payer_loses_its_own_garbage() -> None:
    world = seals(garbage=[3])
    (found,) = sweeps(world, Party.PAYER)
    assert proved(sweep(found.spend), found.history) == 4 * AMOUNT


# --- the LSF itself -------------------------------------------------------------------------


def lsf_spends(world: World) -> list[Spend]:
    """Refund and penalty."""
    common = {"keys": world.keys, "whose": world.whose, "settled": world.settled}
    refund = lsf_refund_spend(
        world.book, world.frozen, payer=world.lsf_secret(world.payer), **common
    )
    penalty = lsf_revocation_spend(
        world.book, world.frozen, revocation=world.revocation_secret(), **common
    )
    return [refund, penalty]


@BOTH
@pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])
@pytest.mark.parametrize("settled", [0, 3])
def test_refund_and_penalty_move_all_tokens_of_the_lsf(
    whose: Party, scheme: Scheme, settled: int
) -> None:
    world = make_world(token_terms(scheme=scheme), whose=whose, settled=settled)
    assert world.frozen.coloured is not None
    for spend in lsf_spends(world):
        swept = sweep(spend)
        assert proved(swept, [world.frozen.coloured.witness]) == (5 - settled) * AMOUNT


# --- size -----------------------------------------------------------------------------------


def test_65_535_locks_are_one_claim() -> None:
    world = seals(locks=MAX_SEALS)
    book = world.book
    assert isinstance(book, SealsBook)
    assert world.completed_child().vsize < 250
    (found,) = sweeps(world, Party.PAYEE, range(1, MAX_SEALS + 1))
    swept = sweep(found.spend)
    assert len(swept.transition.inputs) == MAX_SEALS
    assert proved(swept, found.history) == MAX_SEALS * AMOUNT


def test_assignments_are_made_once_for_all_commitments() -> None:
    """The root over the seals is shared; it is the one that each commitment's child has alone."""
    world = seals(locks=300)
    one = world.child.coloured
    other = replace(world, number=8)
    again = other.book.children(other.frozen, other.keys, whose=other.whose, settled=0)[0].coloured
    with_shared = world.book.children(other.frozen, other.keys, whose=other.whose, settled=0)
    shared = with_shared[0].coloured
    assert one is not None
    assert shared is not None
    assert shared.transition.assignments is one.transition.assignments
    assert shared == again
    assert shared.opid != one.opid

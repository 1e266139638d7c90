"""Thefts by what is broadcast: the honest side ends with what it is owed, less its own fees.

Each scenario is named after the attack; consensus code judges every block.
"""

from dataclasses import replace

import pytest

from channel_pair import Node
from judge import verify_all_spends
from lightspeed.bitcoin import FeeRate, OutPoint, PrivateKey, Tx, TxIn, TxOut, op_return, p2wpkh
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import (
    Broadcast,
    Channel,
    Facts,
    Publication,
    Side,
    identify,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.channel.sweeps import Spend
from lightspeed.lsf import LsfKey, Party, next_close, next_settle, usable_books
from lightspeed.payment import LockElement, SecretBook
from lightspeed.units import Sat
from lsf_pair import channel_of, party_of, propose_book, say_open, secret_book
from lsf_world import book_terms
from theft_world import LOCK_SAT, THIEF_FEERATE, D, Loot, R, TheftWorld, held_sat

EVERY_LOCK = range(1, 6)


def lived() -> TheftWorld:
    """A channel with a past: two books, HTLCs in both directions, some locks paid."""
    world = TheftWorld()
    first = world.open_book()
    world.pay(first, 1, 2)
    world.offer_htlc(world.payer)
    second = world.open_book(locks=3)
    world.pay(second, 1)
    world.offer_htlc(world.payee)
    world.fail_htlcs(world.payee)
    world.fail_htlcs(world.payer)
    world.pay(first, 4)
    return world


def node_of(world: TheftWorld, party: Party) -> Node:
    return world.payer if party is Party.PAYER else world.payee


def mine_until(world: TheftWorld, blocks: int, *, honest: Node, thief: Node, loot: Loot) -> None:
    """Both act before each block, the thief first and with higher fees.

    The thief acts as if its loot were not revoked; of the honest side's it has none.
    """
    for _ in range(blocks):
        world.act(thief, loot.channel if loot in world.loot[thief.name] else channel_of(thief))
        world.act(honest)
        world.regtest.mine()


def lsf_outpoints(world: TheftWorld, node: Node, commitment: Tx) -> set[OutPoint]:
    """The LSFs of a commitment, as `node` knows it."""
    frozen = identify(channel_of(node), commitment, node.lookup).built.frozen
    return {
        frozen.outpoint(output.key) for output in frozen.outputs if isinstance(output.key, LsfKey)
    }


def spends(tx: Tx, outpoint: OutPoint) -> bool:
    return any(txin.outpoint == outpoint for txin in tx.inputs)


# --- revoked commitments --------------------------------------------------------------------


@pytest.mark.parametrize("answer_after", [0, D - 2])
@pytest.mark.parametrize("age", [2, 4, 7])
@pytest.mark.parametrize("cheat", Party)
def test_revoked_commitment_with_its_children_at_the_first_possible_block(
    cheat: Party, age: int, answer_after: int
) -> None:
    """Whatever the commitment held: the honest side takes all of it before a child can confirm."""
    world = lived()
    thief = node_of(world, cheat)
    honest = world.pair.other(thief)
    *revoked, _ = world.loot[thief.name]
    loot = revoked[-age]
    owed = held_sat(channel_of(honest))
    world.regtest.broadcast(loot.tx)
    world.regtest.mine()
    for _ in range(answer_after):
        world.act(thief, loot.channel)
        world.regtest.mine()
    mine_until(world, R + 2, honest=honest, thief=thief, loot=loot)
    fee_and_anchors_sat = 5_000_000 - sum(output.value for output in loot.tx.outputs) + 2 * 330
    got = world.received_sat(honest) + world.own_fees_sat(honest)
    assert got == 5_000_000 - fee_and_anchors_sat
    assert got >= owed - fee_and_anchors_sat
    assert world.received_sat(thief) == 0


def test_revoked_commitment_that_a_reorganisation_brings_back() -> None:
    """The penalty is undone with its block; the honest payer gives it again, in time."""
    world = lived()
    thief, honest = world.payee, world.payer
    *revoked, _ = world.loot[thief.name]
    loot = revoked[-2]
    world.regtest.broadcast(loot.tx)
    world.regtest.mine()
    world.act(honest)
    world.regtest.mine()
    world.regtest.reorganise(1, replacement=[[]])  # without the penalties
    mine_until(world, D + 3, honest=honest, thief=thief, loot=loot)
    assert world.received_sat(thief) == 0
    assert world.received_sat(honest) > held_sat(channel_of(honest))


@pytest.mark.parametrize("ending", ["settled", "closed"])
@pytest.mark.parametrize("cheat", Party)
def test_commitment_from_before_a_settlement_to_be_paid_or_refunded_twice(
    cheat: Party, ending: str
) -> None:
    """The payee would claim again what it was paid, the payer get back what it has paid."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, 1, 2, 3)
    thief = node_of(world, cheat)
    honest = world.pair.other(thief)
    loot = world.loot[thief.name][-1]
    if ending == "settled":
        world.settle_book(secret, to_lock=2)
    else:
        world.close_book(secret)
    owed = held_sat(channel_of(honest))
    world.regtest.broadcast(loot.tx)
    world.regtest.mine()
    mine_until(world, R + 2, honest=honest, thief=thief, loot=loot)
    assert world.received_sat(thief) == 0
    fee_and_anchors_sat = 5_000_000 - sum(output.value for output in loot.tx.outputs) + 2 * 330
    got = world.received_sat(honest) + world.own_fees_sat(honest)
    assert got == 5_000_000 - fee_and_anchors_sat
    assert got > owed


@pytest.mark.parametrize("broadcaster", Party)
def test_close_on_chain_after_a_settlement_pays_the_rest_once(broadcaster: Party) -> None:
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, 1, 2, 3, 4)
    world.settle_book(secret, to_lock=2)
    node = node_of(world, broadcaster)
    loot = world.loot[node.name][-1]
    owed = held_sat(channel_of(world.payee), locks_paid=2)
    assert owed == 1_000_000 + 4 * LOCK_SAT
    world.regtest.broadcast(loot.tx)
    world.regtest.mine()
    mine_until(world, R + D + 4, honest=world.payee, thief=world.payer, loot=loot)
    assert world.received_sat(world.payee) + world.own_fees_sat(world.payee) == owed


@pytest.mark.parametrize("cheat", Party)
def test_thief_who_swaps_its_revoked_commitment_for_the_current_one_gains_nothing(
    cheat: Party,
) -> None:
    """A miner on its side drops what the mempool had seen."""
    world = lived()
    thief = node_of(world, cheat)
    honest = world.pair.other(thief)
    *revoked, current = world.loot[thief.name]
    world.regtest.broadcast(revoked[-1].tx)
    world.regtest.mine_block([current.tx])
    paid = sum(len(locks) for locks in world.paid.values())
    owed = held_sat(channel_of(honest), locks_paid=paid)
    if honest is world.payer:  # it funded the channel: fee and anchors are its own
        owed -= 5_000_000 - sum(output.value for output in current.tx.outputs) + 2 * 330
    mine_until(world, 2 * R + D + 3, honest=honest, thief=thief, loot=current)
    assert world.received_sat(honest) + world.own_fees_sat(honest) == owed


# --- commitments that are not revoked yet ---------------------------------------------------


def answerable(world: TheftWorld, commitment: Tx, secret: SecretBook) -> bool:
    """Can the payee, killed now and started from its store, answer this commitment?

    True for a commitment with books whose children it can publish, or whose LSFs it can take.
    """
    payee = world.payee
    channel_id = channel_of(payee).channel_id
    channel = Channel.load(
        payee.store["channel", channel_id],
        signer=payee.signer,
        extensions=payee.extensions,
        lookup=payee.lookup,
    )
    onchain = identify(channel, commitment, payee.lookup)
    secrets = {lock: secret.lock_secret(lock) for lock in EVERY_LOCK}
    facts = Facts(confirmed_height=100, lock_secrets={secret.book.book_id: secrets})
    found = remedies(channel, onchain, facts)
    books = onchain.built.sheet.extensions["lsf"].books
    taken = 0
    for remedy in found:
        if isinstance(remedy, Publication):
            spent = remedy.tx.inputs[0].outpoint
            assert spent.txid == commitment.txid
            verify_all_spends(remedy.tx, [commitment.outputs[spent.vout]])
            taken += 1
        elif remedy.purpose == "LSF penalty":
            tx = sweep_transaction(
                [remedy.spend], destination_script=p2wpkh(bytes(20)), feerate_per_kw=FeeRate(253)
            )
            verify_all_spends(tx, [remedy.spend.prevout])
            taken += 1
    assert taken == len(books), "an LSF that the payee cannot take"
    return taken > 0


def test_payee_killed_at_any_moment_answers_every_commitment_from_its_store() -> None:
    """Also the one that it has just signed, and the one that it is about to revoke."""
    world = TheftWorld()
    secret = secret_book(
        world.pair, book_terms(locks=5, lock_amount=LOCK_SAT, refund_delay_blocks=R)
    )
    answered = 0

    def settle_and_check() -> None:
        nonlocal answered
        while world.pair.funder.sent or world.pair.fundee.sent:
            for node in (world.payee, world.payer):
                world.pair.deliver(node)
                world.keep()
                for loot in world.loot[world.payer.name]:
                    answered += answerable(world, loot.tx, secret)
                answered += answerable(
                    world, channel_of(world.payee).holder_commitment_tx(), secret
                )

    propose_book(world.pair, secret.book)
    settle_and_check()
    say_open(world.pair, secret.book)
    settle_and_check()
    for node in (world.payee, world.payer):  # both sides' updates cross
        _, effects = channel_of(node).add_htlc(
            amount_msat=30_000_000, payment_hash=bytes(32), cltv_expiry=500, onion=bytes(1_366)
        )
        node.run(effects)
    for node in (world.payee, world.payer):
        node.run(channel_of(node).commit())
    settle_and_check()
    payee, book_id = channel_of(world.payee), secret.book.book_id
    secrets = {lock: secret.lock_secret(lock) for lock in EVERY_LOCK}
    final = [LockElement(lock, 1, secrets[lock]) for lock in EVERY_LOCK]
    for update in (
        lambda: next_settle(payee, book_id, {1: secrets[1], 2: secrets[2]}),
        lambda: next_close(payee, book_id, final[2:]),
    ):
        world.payee.run(payee.propose(update()))
        world.payee.run(payee.commit())
        settle_and_check()
    assert usable_books(payee) == ()
    assert answered > 40


@pytest.mark.parametrize("restarted", [False, True])
def test_broadcast_of_the_commitment_that_the_payee_has_just_signed(restarted: bool) -> None:
    """The payer keeps its revoke_and_ack to itself; the payee's children are there already."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, *EVERY_LOCK)
    world.payee.run(
        channel_of(world.payee).add_htlc(
            amount_msat=30_000_000, payment_hash=bytes(32), cltv_expiry=500, onion=bytes(1_366)
        )[1]
    )
    world.payee.run(channel_of(world.payee).commit())
    for speaker in (world.payee, world.payee, world.payer, world.payee):
        world.pair.deliver(speaker)  # the HTLC, the question, its answer, the signature
    world.keep()
    assert len(channel_of(world.payee).state.counterparty_commitments) == 2
    if restarted:
        world.payee.restart()
    unrevoked = world.loot[world.payer.name][-1]
    world.regtest.broadcast(unrevoked.tx)
    mine_until(world, 6, honest=world.payee, thief=world.payer, loot=unrevoked)
    claimed = world.received_sat(world.payee) + world.own_fees_sat(world.payee)
    assert claimed == 1_000_000 - 30_000 + 5 * LOCK_SAT


def test_broadcast_of_the_commitment_without_the_book_while_it_is_being_opened() -> None:
    """The book is in one commitment only: no call was served for it, so nothing is lost."""
    world = TheftWorld()
    secret = secret_book(world.pair, book_terms(locks=5, refund_delay_blocks=R))
    propose_book(world.pair, secret.book)
    world.settle()
    say_open(world.pair, secret.book)
    before = world.loot[world.payer.name][0]
    while world.payer.sent:
        world.pair.deliver(world.payer)
    assert channel_of(world.payee).state.holder_commitment.number == 1
    assert usable_books(channel_of(world.payee)) == ()
    world.regtest.broadcast(before.tx)
    mine_until(world, 3, honest=world.payee, thief=world.payer, loot=before)
    assert world.received_sat(world.payee) + world.own_fees_sat(world.payee) == 1_000_000


# --- races ----------------------------------------------------------------------------------


def test_theft_race_on_claims() -> None:
    """The secrets are public in the mempool; neither a stranger nor the payer can use them."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, 1, 2, 3)
    commitment = world.loot[world.payer.name][-1]
    world.regtest.broadcast(commitment.tx)
    world.regtest.mine()
    world.act(world.payee)
    world.regtest.mine()
    claims = [tx for tx in world.act(world.payee) if len(tx.inputs[0].witness) == 4]
    assert len(claims) == 3
    for claim in claims:
        (seen,) = claim.inputs
        signature, preimage, leaf, control = seen.witness
        for witness in (
            (signature, preimage, leaf, control),
            (bytes(64), preimage, leaf, control),
            (b"", preimage, leaf, control),
            (preimage, leaf, control),
        ):
            stolen = Tx(
                version=2,
                inputs=(TxIn(seen.outpoint, sequence=seen.sequence, witness=witness),),
                outputs=(TxOut(Sat(LOCK_SAT - 5_000), p2wpkh(b"thief".ljust(20))),),
            )
            with pytest.raises(BroadcastRefused):
                world.regtest.broadcast(stolen)
    early = world.remedies(world.payer, commitment.channel, commitment.tx)
    refunds = world.transactions(world.payer, early, feerate=FeeRate(10_000))
    refused = 0
    for refund in refunds:
        try:
            world.regtest.broadcast(refund)
        except BroadcastRefused:
            refused += 1
    assert refused >= 5
    world.regtest.mine()
    assert all(world.regtest.transaction(tx.txid).confirmed for tx in claims)  # type: ignore[union-attr]


@pytest.mark.parametrize("broadcaster", Party)
def test_refund_at_the_first_possible_block_comes_after_the_payees_whole_window(
    broadcaster: Party,
) -> None:
    """The payer tries at every block; the payee wakes up for the last one before the refund."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, *EVERY_LOCK)
    commitment = world.loot[node_of(world, broadcaster).name][-1]
    world.regtest.broadcast(commitment.tx)
    world.regtest.mine()
    confirmed = world.regtest.height
    (lsf,) = lsf_outpoints(world, world.payer, commitment.tx)
    while world.regtest.height + 1 < confirmed + R - 1:
        assert not any(spends(tx, lsf) for tx in world.act(world.payer))
        world.regtest.mine()
    refund = next(
        remedy
        for remedy in world.remedies(world.payer, channel_of(world.payer), commitment.tx)
        if remedy.purpose == "LSF refund"
    )
    (early,) = world.transactions(world.payer, [refund], feerate=THIEF_FEERATE)
    with pytest.raises(BroadcastRefused, match="non-BIP68-final"):
        world.regtest.broadcast(early)
    world.act(world.payee)
    world.regtest.mine()
    assert world.regtest.height == confirmed + R - 1
    mine_until(world, 3, honest=world.payee, thief=world.payer, loot=commitment)
    got = world.received_sat(world.payee) + world.own_fees_sat(world.payee)
    assert got == 1_000_000 + 5 * LOCK_SAT


def test_lock_refund_at_the_first_possible_block_leaves_r_minus_one_blocks_for_the_claim() -> None:
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, *EVERY_LOCK)
    commitment = world.loot[world.payer.name][-1]
    world.regtest.broadcast(commitment.tx)
    world.regtest.mine()
    world.act(world.payee)
    world.regtest.mine()  # the child
    for _ in range(R - 2):  # the payee sleeps, the payer tries at every block
        world.act(world.payer)
        world.regtest.mine()
    world.act(world.payee)
    world.act(world.payer)
    world.regtest.mine()
    got = world.received_sat(world.payee) + world.own_fees_sat(world.payee)
    assert got == 1_000_000 + 5 * LOCK_SAT


def test_payer_who_leaves_out_the_first_secret_keeps_the_child_off_the_chain() -> None:
    """What the exposure rule bounds: without lock 1 the other secrets open nothing."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, 2, 3, 4, 5)
    commitment = world.loot[world.payer.name][-1]
    world.regtest.broadcast(commitment.tx)
    mine_until(world, 3, honest=world.payee, thief=world.payer, loot=commitment)
    onchain = world.remedies(world.payee, channel_of(world.payee), commitment.tx)
    assert [remedy.purpose for remedy in onchain] == []


# --- ends that somebody else chooses --------------------------------------------------------


@pytest.mark.parametrize("party", Party)
def test_an_error_message_makes_nobody_publish_anything_but_its_latest_commitment(
    party: Party,
) -> None:
    world = lived()
    node = node_of(world, party)
    effects = channel_of(node).fail("the peer said so", at_fault=Side.COUNTERPARTY)
    (broadcast,) = [effect for effect in effects if isinstance(effect, Broadcast)]
    assert broadcast.tx.txid == world.loot[node.name][-1].tx.txid
    assert party_of(node) is party


def test_a_stranger_who_pins_the_child_by_its_p2a_is_outbid_from_the_wallet() -> None:
    """TRUC leaves room for one child of 1,000 vB: it cannot be large, and can be replaced."""
    world = TheftWorld()
    secret = world.open_book()
    world.pay(secret, *EVERY_LOCK)
    commitment = world.loot[world.payer.name][-1]
    wallet = PrivateKey(b"\x77" * 32)
    coin = world.regtest.fund(p2wpkh(wallet.public.data), Sat(50_000))
    world.regtest.broadcast(commitment.tx)
    world.regtest.mine()
    (child,) = [tx for tx in world.act(world.payee) if tx.version == 3]
    p2a = child.outpoint(len(child.outputs) - 1)
    pin = Tx(
        version=3,
        inputs=(TxIn(p2a, sequence=0xFFFFFFFD),),
        outputs=(TxOut(Sat(0), op_return(bytes(850))),),
    )
    with pytest.raises(BroadcastRefused):  # 240 sat do not pay for a large pin
        world.regtest.broadcast(pin)
    pin = replace(pin, outputs=(TxOut(Sat(0), op_return(bytes(60))),))
    world.regtest.broadcast(pin)
    bump = sweep_transaction(
        [
            Spend(
                outpoint=p2a,
                prevout=child.outputs[p2a.vout],
                sequence=0xFFFFFFFD,
                witness_weight=1,
                sign=lambda digest, index: (),
            ),
            p2wpkh_spend(coin.outpoint(0), Sat(50_000), secret=wallet),
        ],
        destination_script=p2wpkh(wallet.public.data),
        feerate_per_kw=FeeRate(5_000),
        extra_fee_sat=Sat(20 * child.vsize),
        version=3,
    )
    world.regtest.broadcast(bump)
    assert world.regtest.transaction(pin.txid) is None
    mine_until(world, 2, honest=world.payee, thief=world.payer, loot=commitment)
    assert world.received_sat(world.payee) + world.own_fees_sat(world.payee) == (
        1_000_000 + 5 * LOCK_SAT
    )

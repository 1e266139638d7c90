"""After a unilateral close every token finds its owner: with signatures that consensus accepts, and
a history that proves it. Revoked commitments give all of them to the victim.
"""

from dataclasses import replace

import pytest

from channel_pair import Node
from colour_pair import ColouredPair, channel_of, open_coloured_pair
from judge import verify_all_spends
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, TxOut, fee_for_weight, p2wpkh, sha256
from lightspeed.channel import (
    Channel,
    ChannelSecrets,
    Facts,
    Spend,
    Sweep,
    coloured_sweep,
    identify,
    remedies,
    remedies_without_state,
    sweep_transaction,
)
from lightspeed.channel.graph import ToBroadcaster, ToCountersignatory
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.channel.sweeps import SWEEP_VOUT, SweepConflict, SweepTooSmall
from lightspeed.rgb import Coloured, TokensWouldBurn, check_moves_tokens
from lightspeed.units import Sat

DESTINATION = p2wpkh(bytes(range(20)))
RATE = FeeRate(253)
FACTS = Facts(confirmed_height=100)
WALLET = p2wpkh_spend(
    OutPoint(sha256(b"wallet"), 3),
    Sat(50_000),
    secret=ChannelSecrets.derive(sha256(b"wallet")).payment,
)


def sweeps(node: Node, commitment: Tx) -> list[Sweep]:
    channel = channel_of(node)
    found = remedies(channel, identify(channel, commitment, node.lookup), FACTS)
    assert all(isinstance(remedy, Sweep) for remedy in found)
    return [remedy for remedy in found if isinstance(remedy, Sweep)]


def swept(coloured: ColouredPair, *spends: Spend) -> Coloured:
    return coloured_sweep(
        spends,
        contract_id=coloured.token.contract_id,
        destination_script=DESTINATION,
        feerate_per_kw=RATE,
    )


def check_proved(coloured: ColouredPair, found: list[Sweep], tx: Coloured, tokens: int) -> None:
    """Valid for consensus, and in the history: `tokens` on the destination."""
    verify_all_spends(tx.tx, [sweep.spend.prevout for sweep in found])
    (history,) = {sweep.history for sweep in found}
    proved = coloured.proved(*history, tx.witness)
    assert proved[tx.tx.outpoint(SWEEP_VOUT)] == tokens
    assert tx.tx.outputs[SWEEP_VOUT].script == DESTINATION


@pytest.mark.parametrize("funder_closes", [True, False])
def test_both_sides_take_their_tokens_after_a_unilateral_close(funder_closes: bool) -> None:
    coloured = open_coloured_pair(pushed=400)
    closer = coloured.funder if funder_closes else coloured.fundee
    commitment = channel_of(closer).holder_commitment_tx()
    for node, tokens in ((coloured.funder, 600), (coloured.fundee, 400)):
        (sweep,) = sweeps(node, commitment)
        assert sum(token.amount for token in sweep.spend.tokens) == tokens
        check_proved(coloured, [sweep], swept(coloured, sweep.spend), tokens)


@pytest.mark.parametrize("funder_cheats", [True, False])
def test_revoked_commitment_gives_the_victim_all_its_tokens(funder_cheats: bool) -> None:
    coloured = open_coloured_pair(pushed=400)
    cheater = coloured.funder if funder_cheats else coloured.fundee
    victim = coloured.pair.other(cheater)
    revoked = channel_of(cheater).holder_commitment_tx()
    coloured.trade(victim, 100, 1_000_000)
    found = sweeps(victim, revoked)
    assert {sweep.purpose for sweep in found} == {"own balance", "penalty"}
    together = swept(coloured, *[sweep.spend for sweep in found])
    check_proved(coloured, found, together, 1_000)


def test_revoked_commitments_are_rebuilt_with_the_same_bytes() -> None:
    coloured = open_coloured_pair(pushed=400)
    cheater, victim = coloured.funder, coloured.fundee
    revoked = []
    for number in range(4):
        revoked.append(channel_of(cheater).holder_commitment())
        coloured.trade(victim, 10 + number, 500)
    victim.restart()
    for built in revoked:
        found = identify(channel_of(victim), built.frozen.tx, victim.lookup)
        assert found.revocation is not None
        assert found.built.frozen == built.frozen


def test_nothing_is_taken_from_a_commitment_that_cannot_be_rebuilt() -> None:
    """Its tokens would be lost; in a channel without them the balance is taken."""
    coloured = open_coloured_pair(pushed=400)
    old = channel_of(coloured.fundee)
    old = Channel(old.state, signer=old.signer, extensions=old.extensions)
    for _ in range(2):
        coloured.trade(coloured.fundee, 10, 1_000)
    unknown = channel_of(coloured.funder).holder_commitment_tx()
    assert remedies_without_state(old, unknown, FACTS) == ()


def test_tokens_never_go_with_an_ordinary_sweep_or_a_signed_output() -> None:
    coloured = open_coloured_pair(pushed=400)
    (sweep,) = sweeps(coloured.fundee, channel_of(coloured.funder).holder_commitment_tx())
    with pytest.raises(TokensWouldBurn):
        sweep_transaction(
            [sweep.spend, WALLET], destination_script=DESTINATION, feerate_per_kw=RATE
        )
    paired = replace(WALLET, paired_output=TxOut(Sat(1_000), DESTINATION))
    with pytest.raises(SweepConflict):
        swept(coloured, sweep.spend, paired)
    with pytest.raises(SweepConflict):
        swept(coloured, sweep.spend, sweep.spend)


def test_coin_pays_for_tokens_on_an_output_that_is_worth_too_little() -> None:
    coloured = open_coloured_pair(pushed=400, push_sat=400)
    (sweep,) = sweeps(coloured.fundee, channel_of(coloured.funder).holder_commitment_tx())
    assert sweep.spend.prevout.value == 400
    with pytest.raises(SweepTooSmall):
        swept(coloured, sweep.spend)
    tx = swept(coloured, sweep.spend, WALLET)
    verify_all_spends(tx.tx, [sweep.spend.prevout, WALLET.prevout])
    assert coloured.proved(*sweep.history, tx.witness)[tx.tx.outpoint(SWEEP_VOUT)] == 400


def test_coloured_sweep_pays_the_fee_rate() -> None:
    coloured = open_coloured_pair(pushed=400)
    (sweep,) = sweeps(coloured.fundee, channel_of(coloured.funder).holder_commitment_tx())
    tx = swept(coloured, sweep.spend).tx
    fee = sweep.spend.prevout.value - sum(output.value for output in tx.outputs)
    shorter = range(3)  # bytes that the signature may have less than expected
    assert fee in {fee_for_weight(tx.weight + missing, RATE) for missing in shorter}


def test_gate_refuses_what_moves_too_little_or_elsewhere() -> None:
    coloured = open_coloured_pair(pushed=400)
    commitment = channel_of(coloured.funder).holder_commitment().frozen
    ours, theirs = (commitment.tokens(key) for key in (ToBroadcaster(), ToCountersignatory()))
    (sweep,) = sweeps(coloured.fundee, commitment.tx)
    tx = swept(coloured, sweep.spend)
    outpoint = sweep.spend.outpoint
    check_moves_tokens(tx.tx, tokens={outpoint: theirs}, coloured=tx)
    check_moves_tokens(tx.tx, tokens={OutPoint(bytes(32), 0): ours}, coloured=None)
    other = replace(tx.tx, locktime=9)
    rest = (TxOut(Sat(0), DESTINATION), *tx.tx.outputs[1:])
    unproved = replace(tx.tx, outputs=rest)
    for wrong, moved, tokens in (
        (tx.tx, None, theirs),
        (other, tx, theirs),
        (tx.tx, tx, (*theirs, *ours)),
        (unproved, replace(tx, tx=unproved), theirs),
    ):
        with pytest.raises(TokensWouldBurn):
            check_moves_tokens(wrong, tokens={outpoint: tokens}, coloured=moved)


def test_gate_refuses_a_transition_of_more_than_is_spent() -> None:
    """One such input makes it void: what is spent beside would be lost."""
    coloured = open_coloured_pair(pushed=400)
    commitment = channel_of(coloured.funder).holder_commitment().frozen
    (sweep,) = sweeps(coloured.fundee, commitment.tx)
    theirs, ours = sweep.spend.tokens, commitment.tokens(ToBroadcaster())
    both = swept(coloured, replace(sweep.spend, tokens=tuple(sorted((*theirs, *ours)))))
    for spent in ({sweep.spend.outpoint: theirs}, {}):
        with pytest.raises(TokensWouldBurn, match="moved and not spent"):
            check_moves_tokens(both.tx, tokens=spent, coloured=both)

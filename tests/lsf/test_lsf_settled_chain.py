"""Unilateral closes of ladders, and of books that were settled or closed before.

D = 6, R = 20 blocks; 5 locks of 1,000 sat; a chain with real consensus.
"""

import pytest

from lightspeed.bitcoin import TRUC_CHILD_MAX_VSIZE, FeeRate, PrivateKey, Tx, TxOut, p2wpkh
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import Facts, Publication, remedies, sweep_transaction
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.lsf import Party, p2a_spend, settlement_transaction_weight
from lightspeed.payment import Scheme
from lightspeed.units import Sat
from lsf_court import Court, D, R, fee
from lsf_pair import channel_of, say_settle

BOTH = pytest.mark.parametrize("broadcaster", Party)
SCHEMES = pytest.mark.parametrize("scheme", [Scheme.OUTPUTS, Scheme.LADDER])


def node_of(court: Court, party: Party) -> object:
    return court.payer if party is Party.PAYER else court.payee


def mature(court: Court, party: Party, height: int) -> None:
    """Until the next block may hold the child."""
    court.regtest.mine(height + (1 if party is Party.PAYER else D) - court.regtest.height - 1)


def value_of(*txs: Tx) -> int:
    return sum(output.value for tx in txs for output in tx.outputs)


# --- ladder ---------------------------------------------------------------------------------


@BOTH
def test_one_settlement_transaction_pays_both(broadcaster: Party) -> None:
    court = Court(scheme=Scheme.LADDER)
    court.pay(1, 3)
    commitment = court.commitment(node_of(court, broadcaster))  # type: ignore[arg-type]
    height = court.confirm(commitment)
    (publication,) = court.remedies(court.payee, commitment)
    assert isinstance(publication, Publication)
    delay = 1 if broadcaster is Party.PAYER else D
    assert publication.mature_height == height + delay
    while court.regtest.height + 1 < height + delay:
        assert court.act_too_early(court.payee, commitment) == ["non-BIP68-final"]
        court.regtest.mine()
    (settlement,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert court.height_of(settlement) == height + delay
    assert settlement.weight == settlement_transaction_weight(5, 3, delay_blocks=delay)
    assert settlement.vsize < 400
    assert [output.value for output in settlement.outputs] == [3_000, 2_000, 240]

    # Both outputs are final: neither waits, neither can take the other's.
    (paid,), (unpaid,) = (court.act(node, commitment) for node in (court.payee, court.payer))
    court.regtest.mine()
    assert court.received(court.payee) == 3_000 - fee(paid, [TxOut(Sat(3_000), b"")])
    assert court.received(court.payer) == 2_000 - fee(unpaid, [TxOut(Sat(2_000), b"")])
    for node in (court.payer, court.payee):
        assert court.remedies(node, commitment) == []


@BOTH
def test_a_ladder_that_nothing_was_paid_from_is_refunded(broadcaster: Party) -> None:
    court = Court(scheme=Scheme.LADDER)
    commitment = court.commitment(node_of(court, broadcaster))  # type: ignore[arg-type]
    height = court.confirm(commitment)
    assert court.remedies(court.payee, commitment) == []
    court.regtest.mine(R - 2)
    assert court.act_too_early(court.payer, commitment) == ["non-BIP68-final"]
    court.regtest.mine()
    assert court.regtest.height + 1 == height + R
    (refund,) = court.act(court.payer, commitment)
    court.regtest.mine()
    assert court.is_mined(refund)


def test_a_settlement_is_paid_for_by_its_p2a() -> None:
    court = Court(scheme=Scheme.LADDER)
    court.pay(2)
    commitment = court.commitment(court.payer)
    court.confirm(commitment)
    wallet = PrivateKey(b"\x77" * 32)
    coin = court.regtest.fund(p2wpkh(wallet.public.data), Sat(50_000))
    court.regtest.mine()
    (publication,) = court.remedies(court.payee, commitment)
    assert isinstance(publication, Publication)
    bump = sweep_transaction(
        [
            p2a_spend(court.children(court.payee, commitment)[1].tx),
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


@pytest.mark.parametrize("cheat", Party)
def test_a_revoked_ladder_is_taken_whole_before_any_rung_can_confirm(cheat: Party) -> None:
    court = Court(scheme=Scheme.LADDER)
    court.pay(5)
    cheater, honest = court.payer, court.payee
    if cheat is Party.PAYEE:
        cheater, honest = honest, cheater
    revoked = court.commitment(cheater)
    held = held_settlement(court, revoked) if cheat is Party.PAYEE else None
    court.next_state()
    court.confirm(revoked)
    if held is not None:
        for _ in range(D - 2):
            with pytest.raises(BroadcastRefused, match="non-BIP68-final"):
                court.publish(held)
            court.regtest.mine()
    (penalty,) = court.act(honest, revoked)
    court.regtest.mine()
    assert court.is_mined(penalty)
    assert len(penalty.inputs) == 1
    assert court.received(honest) > 5_000
    assert court.remedies(honest, revoked) == []
    if held is not None:
        with pytest.raises(BroadcastRefused):
            court.publish(held)


def held_settlement(court: Court, commitment: Tx) -> Tx:
    """What a cheating payee holds of its own commitment, as long as that is current."""
    found = remedies(
        channel_of(court.payee),
        court.onchain(court.payee, commitment),
        Facts(confirmed_height=1, lock_secrets={court.secret.book.book_id: court.paid}),
    )
    (publication,) = [remedy for remedy in found if isinstance(remedy, Publication)]
    return publication.tx


def test_a_payer_too_late_for_the_penalty_still_gets_what_was_not_paid() -> None:
    court = Court(scheme=Scheme.LADDER)
    court.pay(2)
    revoked = court.commitment(court.payee)
    held = held_settlement(court, revoked)
    court.next_state()
    court.confirm(revoked)
    court.regtest.mine(D - 1)
    court.confirm(held)
    (rest,) = court.act(court.payer, revoked)
    court.regtest.mine()
    assert court.is_mined(rest)
    assert court.received(court.payer) == 3_000 - fee(rest, [TxOut(Sat(3_000), b"")])


# --- after a settle -------------------------------------------------------------------------


@SCHEMES
@BOTH
def test_a_settled_book_closes_with_what_is_left_of_it(broadcaster: Party, scheme: Scheme) -> None:
    court = Court(scheme=scheme)
    court.settle(1, 2)
    commitment = court.commitment(node_of(court, broadcaster))  # type: ignore[arg-type]
    height = court.confirm(commitment)
    assert court.remedies(court.payee, commitment) == []  # what was paid is in its balance
    court.pay(3)
    mature(court, broadcaster, height)
    (child,) = court.act(court.payee, commitment)
    court.regtest.mine()
    (claim,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert court.received(court.payee) == 1_000 - fee(claim, [TxOut(Sat(1_000), b"")])
    court.regtest.mine(R)
    (rest,) = court.act(court.payer, commitment)
    court.regtest.mine()
    left = 5_000 - 2_000 - 1_000
    assert court.received(court.payer) == left - fee(rest, [TxOut(Sat(left), b"")])
    assert court.is_mined(child)


@SCHEMES
@pytest.mark.parametrize("cheat", Party)
def test_the_commitment_before_a_settle_is_punished(cheat: Party, scheme: Scheme) -> None:
    """The payer would take back what it settled, the payee be paid twice."""
    court = Court(scheme=scheme)
    cheater, honest = court.payer, court.payee
    if cheat is Party.PAYEE:
        cheater, honest = honest, cheater
    revoked = court.commitment(cheater)
    court.settle(1, 2, 3)
    court.confirm(revoked)
    (penalty,) = court.act(honest, revoked)
    court.regtest.mine()
    assert court.is_mined(penalty)
    assert court.received(honest) > 5_000


@SCHEMES
@BOTH
@pytest.mark.parametrize("stop_after", range(8))
def test_a_close_in_the_middle_of_a_settle_pays_the_same(
    stop_after: int, broadcaster: Party, scheme: Scheme
) -> None:
    """Whichever commitment it is, old or new: the payee has 2,000 sat more than before."""
    court = Court(scheme=scheme)
    court.pay(1, 2)
    before = channel_of(court.payee).state.base.holder_msat // 1_000
    say_settle(court.pair, court.secret, 1, 2)
    for _ in range(stop_after):
        court.pair.deliver(next(n for n in (court.payee, court.payer) if n.sent))
    node = node_of(court, broadcaster)
    commitment = court.commitment(node)  # type: ignore[arg-type]
    height = court.confirm(commitment)
    built = court.onchain(court.payee, commitment).built
    settled = built.sheet.extensions["lsf"].books[0].settled
    gained = built.sheet.holder_msat // 1_000 - before
    assert gained == settled * 1_000
    if settled:
        assert court.remedies(court.payee, commitment) == []
        return
    mature(court, broadcaster, height)
    court.act(court.payee, commitment)
    court.regtest.mine()
    (claim,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert value_of(claim) + fee(claim, [TxOut(Sat(2_000), b"")]) == 2_000


# --- after a close --------------------------------------------------------------------------


@SCHEMES
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("cheat", Party)
def test_the_commitments_of_a_closed_book_are_punished(
    cheat: Party, restart: bool, scheme: Scheme
) -> None:
    court = Court(scheme=scheme)
    cheater, honest = court.payer, court.payee
    if cheat is Party.PAYEE:
        cheater, honest = honest, cheater
    revoked = court.commitment(cheater)
    court.pay(1, 2)
    court.close((1, 1), (2, 1))
    if restart:
        honest.restart()
    court.confirm(revoked)
    (penalty,) = court.act(honest, revoked)
    court.regtest.mine()
    assert court.is_mined(penalty)
    assert court.received(honest) > 5_000


@SCHEMES
@BOTH
def test_a_closed_book_is_in_no_commitment(broadcaster: Party, scheme: Scheme) -> None:
    court = Court(scheme=scheme)
    court.pay(1, 2)
    court.close((1, 1), (2, 1))
    commitment = court.commitment(node_of(court, broadcaster))  # type: ignore[arg-type]
    court.confirm(commitment)
    for node in (court.payer, court.payee):
        assert court.remedies(node, commitment) == []

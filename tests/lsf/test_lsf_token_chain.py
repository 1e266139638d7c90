"""Unilateral closes with books in tokens, on a chain with real consensus and with RGB as judge.

D = 6, R = 20 blocks; 5 locks of 1,000 tokens; the payer's other tokens stay on its own output.
"""

import pytest

from channel_pair import Node
from lightspeed.bitcoin import Tx
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import Facts, Publication, remedies
from lightspeed.lsf import Party
from lightspeed.payment import Scheme
from lsf_court import D, R
from lsf_pair import channel_of
from lsf_token_court import TokenCourt

BROADCASTERS = pytest.mark.parametrize("broadcaster", Party)
SCHEMES = pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])


def broadcast(court: TokenCourt, party: Party) -> tuple[Tx, int]:
    """That party's commitment is mined; when the payee's child may be."""
    node = court.payer if party is Party.PAYER else court.payee
    commitment = court.commitment(node)
    height = court.confirm(commitment)
    return commitment, height + (1 if party is Party.PAYER else D)


def mine_until(court: TokenCourt, height: int) -> None:
    """The next block is that one."""
    court.regtest.mine(height - 1 - court.regtest.height)


def child_mined(court: TokenCourt, party: Party) -> tuple[Tx, Tx]:
    """The commitment, and the child in the first block that may have it."""
    commitment, ripe = broadcast(court, party)
    (publication,) = court.remedies(court.payee, commitment)
    assert isinstance(publication, Publication)
    assert publication.mature_height == ripe
    if ripe > court.regtest.height + 1:
        mine_until(court, ripe - 1)
        assert court.act_too_early(court.payee, commitment) == ["non-BIP68-final"]
        court.regtest.mine()
    (child,) = court.act(court.payee, commitment)
    court.regtest.mine()
    assert court.height_of(child) == ripe
    return commitment, child


def acted(court: TokenCourt, node: Node, commitment: Tx) -> list[Tx]:
    """Published and mined."""
    done = court.act(node, commitment)
    court.regtest.mine()
    assert all(court.is_mined(tx) for tx in done)
    return done


@BROADCASTERS
@pytest.mark.parametrize("settled", [0, 2])
def test_seals_pay_the_payee_for_its_secrets_and_the_rest_is_lost(
    broadcaster: Party, settled: int
) -> None:
    court = TokenCourt(scheme=Scheme.SEALS)
    if settled:
        court.settle(*range(1, settled + 1))
    court.pay(settled + 1, settled + 3)
    commitment, _ = child_mined(court, broadcaster)
    (claim,) = acted(court, court.payee, commitment)
    assert court.tokens_of(court.payee) == 2_000
    assert court.remedies(court.payee, commitment) == []
    assert court.remedies(court.payer, commitment) == []
    court.regtest.mine(R)
    assert court.remedies(court.payer, commitment) == []
    assert court.tokens_of(court.payer) == 0
    assert claim.outputs[0].script[:1] == b"\x6a"


@BROADCASTERS
def test_seals_that_are_not_claimed_in_time_are_the_payers(broadcaster: Party) -> None:
    court = TokenCourt(scheme=Scheme.SEALS)
    court.pay(1, 2)
    commitment, child = child_mined(court, broadcaster)
    (refund,) = court.remedies(court.payer, commitment)
    assert refund.mature_height == court.height_of(child) + R
    mine_until(court, court.height_of(child) + R - 1)
    assert court.act_too_early(court.payer, commitment) == ["non-BIP68-final"]
    court.regtest.mine()
    acted(court, court.payer, commitment)
    assert court.tokens_of(court.payer) == 5_000
    assert court.remedies(court.payee, commitment) == []


@BROADCASTERS
@pytest.mark.parametrize(("settled", "lock"), [(0, 1), (0, 5), (2, 4)])
def test_ladder_gives_each_its_share_in_one_transaction(
    broadcaster: Party, settled: int, lock: int
) -> None:
    court = TokenCourt(scheme=Scheme.LADDER)
    if settled:
        court.settle(settled)
    court.pay(lock)
    commitment, _ = child_mined(court, broadcaster)
    for node in (court.payer, court.payee):
        acted(court, node, commitment)
    assert court.tokens_of(court.payee) == (lock - settled) * 1_000
    assert court.tokens_of(court.payer) == (5 - lock) * 1_000


@BROADCASTERS
@SCHEMES
def test_nothing_paid_returns_all_tokens_after_the_refund_delay(
    broadcaster: Party, scheme: Scheme
) -> None:
    court = TokenCourt(scheme=scheme)
    commitment, _ = broadcast(court, broadcaster)
    assert court.remedies(court.payee, commitment) == []
    ripe = court.height_of(commitment) + R
    mine_until(court, ripe - 1)
    assert court.act_too_early(court.payer, commitment) == ["non-BIP68-final"]
    court.regtest.mine()
    acted(court, court.payer, commitment)
    assert court.tokens_of(court.payer) == 5_000


@SCHEMES
@pytest.mark.parametrize("cheat", Party)
@pytest.mark.parametrize("settled", [0, 2])
def test_a_revoked_lsf_is_taken_with_all_its_tokens(
    scheme: Scheme, cheat: Party, settled: int
) -> None:
    """By the transition of the very commitment that was published, rebuilt."""
    court = TokenCourt(scheme=scheme)
    if settled:
        court.settle(*range(1, settled + 1))
    court.pay(settled + 1)
    cheater = court.payer if cheat is Party.PAYER else court.payee
    honest = court.pair.other(cheater)
    revoked = court.commitment(cheater)
    court.settle(*range(1, settled + 2))
    court.next_state()
    height = court.confirm(revoked)
    (penalty,) = court.remedies(honest, revoked)
    assert penalty.purpose == "LSF penalty"
    assert penalty.mature_height == height
    honest.restart()
    acted(court, honest, revoked)
    assert court.tokens_of(honest) == (5 - settled) * 1_000


def test_payees_old_child_comes_too_late() -> None:
    """D - 1 blocks are the payer's alone, also when the commitment has a child worth more."""
    court = TokenCourt(scheme=Scheme.SEALS)
    court.pay(1)
    revoked = court.commitment(court.payee)
    facts = Facts(
        confirmed_height=court.regtest.height + 1,
        lock_secrets={court.secret.book.book_id: court.paid},
    )
    planned = remedies(channel_of(court.payee), court.onchain(court.payee, revoked), facts)
    (stale,) = [each for each in planned if isinstance(each, Publication)]
    court.next_state()
    court.confirm(revoked)
    mine_until(court, court.height_of(revoked) + D - 1)
    acted(court, court.payer, revoked)
    assert court.tokens_of(court.payer) == 5_000
    with pytest.raises(BroadcastRefused):
        court.publish(stale.tx)

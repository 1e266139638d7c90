"""Which outputs share a transaction when some of them hold tokens."""

from dataclasses import replace

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, OutPoint, TxOut, p2wpkh, sha256
from lightspeed.channel import ChannelSecrets, Sweep
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.node.sweeping import batches, is_worth_taking
from lightspeed.rgb import ASSET_OWNER, Opout, TokenInput
from lightspeed.units import Sat

DESTINATION = p2wpkh(bytes(range(20)))
SECRET = ChannelSecrets.derive(sha256(b"a")).payment


def sweep(number: int, *, tokens: int = 0, paired: bool = False, sat: int = 1_000) -> Sweep:
    """With `tokens` allocations."""
    spend = p2wpkh_spend(OutPoint(sha256(b"parent"), number), Sat(sat), secret=SECRET)
    opid = sha256(b"operation %d" % number)
    held = tuple(TokenInput(Opout(opid, ASSET_OWNER, place), 5) for place in range(tokens))
    output = TxOut(Sat(sat - 100), DESTINATION) if paired else None
    spend = replace(spend, tokens=held, paired_output=output)
    return Sweep(spend=spend, purpose="test", mature_height=0)


def numbers(sweeps: list[Sweep], *, contested: int | None = None) -> set[frozenset[int]]:
    """Of the outputs, by transaction."""
    found = batches(
        sweeps,
        contested={} if contested is None else {OutPoint(sha256(b"parent"), contested)},
        contestable=(),
        destination_script=DESTINATION,
    )
    return {frozenset(each.spend.outpoint.vout for each in batch) for batch in found}


def test_tokens_share_no_transaction_with_anything_else() -> None:
    sweeps = [
        sweep(0, tokens=1),
        sweep(1),
        sweep(2, paired=True),
        sweep(3, tokens=2),
        sweep(4),
        sweep(5, paired=True),
    ]
    assert numbers(sweeps) == {frozenset({0, 3}), frozenset({1, 4}), frozenset({2, 5})}


def test_tokens_that_somebody_competes_for_go_alone() -> None:
    sweeps = [sweep(number, tokens=1) for number in range(3)]
    assert numbers(sweeps, contested=1) == {frozenset({0, 2}), frozenset({1})}


def test_one_transition_takes_no_more_allocations_than_it_can() -> None:
    """A claim of the largest book fills one alone."""
    sweeps = [sweep(0, tokens=65_535), sweep(1, tokens=1), sweep(2, tokens=65_534)]
    assert numbers(sweeps) == {frozenset({0}), frozenset({1, 2})}


def test_tokens_are_worth_taking_at_any_fee_rate() -> None:
    assert not is_worth_taking(sweep(0, sat=1).spend, FEE_RATE_FLOOR)
    assert is_worth_taking(sweep(0, sat=1, tokens=1).spend, FeeRate(1_000_000))

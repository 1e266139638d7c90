"""Every output of a commitment is taken by whom it belongs to, when it does, and by nobody else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge import refuses_spend, verify_all_spends, verify_spend
from lightspeed.bitcoin import (
    NUMS_H,
    FeeRate,
    Leaf,
    Op,
    OutPoint,
    TaprootOutput,
    Tx,
    TxDigest,
    TxOut,
    dust_limit,
    fee_for_weight,
    p2tr,
    p2wpkh,
    script,
    sha256,
)
from lightspeed.channel.commitment import build_commitment, obscuring_factor
from lightspeed.channel.graph import Anchor, HtlcKey, ToBroadcaster, ToCountersignatory
from lightspeed.channel.htlc import HtlcChild, WrongPreimage, htlc_children
from lightspeed.channel.keys import ChannelSecrets, CommitmentKeys, derive_private_key
from lightspeed.channel.spends import (
    anchor_spend,
    delayed_spend,
    p2wpkh_spend,
    preimage_spend,
    revoked_delayed_spend,
    revoked_htlc_spend,
    second_stage_spend,
    timeout_spend,
    to_remote_spend,
)
from lightspeed.channel.sweeps import (
    Spend,
    SweepConflict,
    SweepTooHeavy,
    SweepTooSmall,
    split_spends,
    sweep_transaction,
)
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.channel.weights import SCHNORR_SIGNATURE_SIZE, witness_weight
from lightspeed.units import Msat, Sat
from strategies import channel_secrets

BROADCASTER, COUNTERSIGNATORY, STRANGER = (channel_secrets(n) for n in (1, 2, 3))
NUMBER = 5
DELAY = 144
EXPIRY = 500_000
PREIMAGE = b"\x2a" * 32
DESTINATION = p2tr(STRANGER.payment.x_only)
RATE = FeeRate(1_000)

KEYS = CommitmentKeys.derive(
    BROADCASTER.per_commitment_point(NUMBER),
    broadcaster=BROADCASTER.basepoints,
    countersignatory=COUNTERSIGNATORY.basepoints,
)
OFFERED, RECEIVED = (
    HtlcOutput(HtlcKey(offered, 0), Msat(50_000_000), sha256(PREIMAGE), EXPIRY)
    for offered in (True, False)
)
BALANCE = CommitmentBalance(
    number=NUMBER,
    to_broadcaster_msat=Msat(500_000_000),
    to_countersignatory_msat=Msat(400_000_000),
    feerate_per_kw=RATE,
    htlcs=(OFFERED, RECEIVED),
)


def terms_of(*, anchors: bool) -> CommitmentTerms:
    return CommitmentTerms(
        funding_outpoint=OutPoint(b"\x01" * 32, 1),
        funding_sat=Sat(1_000_000),
        funding_keys=(BROADCASTER.funding.public, COUNTERSIGNATORY.funding.public),
        broadcaster_is_funder=True,
        obscuring_factor=obscuring_factor(
            opener=BROADCASTER.payment.public, accepter=COUNTERSIGNATORY.payment.public
        ),
        dust_limit_sat=Sat(546),
        to_self_delay_blocks=DELAY,
        anchors=anchors,
    )


def wallet_spend(number: int = 0, value: int = 100_000) -> Spend:
    outpoint = OutPoint(b"\x77" * 32, number)
    return p2wpkh_spend(outpoint, Sat(value), secret=STRANGER.payment)


def claim_spend(number: int = 0, value: int = 1_000) -> Spend:
    """A claim as the Lightspeed extension makes it: a tapleaf with a preimage and a signature."""
    secret = COUNTERSIGNATORY.htlc
    leaf = Leaf(
        script(
            *(Op.OP_SIZE, 32, Op.OP_EQUALVERIFY, Op.OP_SHA256, sha256(PREIMAGE)),
            *(Op.OP_EQUALVERIFY, secret.x_only, Op.OP_CHECKSIG),
        )
    )
    output = TaprootOutput(NUMS_H, leaf)
    stack = output.script_path(0, bytes(SCHNORR_SIGNATURE_SIZE), PREIMAGE)

    def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
        signed = digest.taproot(index, leaf_hash=output.leaf_hash(0))
        return output.script_path(0, secret.sign_schnorr(signed), PREIMAGE)

    return Spend(
        outpoint=OutPoint(b"\x55" * 32, number),
        prevout=TxOut(Sat(value), output.script),
        sequence=0xFFFFFFFD,
        witness_weight=witness_weight(*(len(item) for item in stack)),
        sign=sign,
    )


# --- the kinds of spend -----------------------------------------------------------------------


@dataclass(frozen=True)
class Commitment:
    """All outputs of one commitment and its second stage, and how `owner` spends them."""

    anchors: bool

    @property
    def children(self) -> tuple[HtlcChild, ...]:
        terms = terms_of(anchors=self.anchors)
        return htlc_children(build_commitment(terms, BALANCE, KEYS), terms, BALANCE, KEYS)

    def spends(
        self,
        *,
        broadcaster: ChannelSecrets = BROADCASTER,
        countersignatory: ChannelSecrets = COUNTERSIGNATORY,
        revoked: bytes = BROADCASTER.per_commitment_secret(NUMBER),
    ) -> dict[str, Spend]:
        frozen = build_commitment(terms_of(anchors=self.anchors), BALANCE, KEYS)
        to_local = frozen.outpoint(ToBroadcaster())
        to_local_sat = frozen.output(ToBroadcaster()).value
        second_stage = self.children[0].tx
        second_stage_sat = second_stage.outputs[0].value
        delayed = {"keys": KEYS, "to_self_delay_blocks": DELAY}
        on_htlc = {"keys": KEYS, "anchors": self.anchors}
        penalty = {"secrets": countersignatory, "per_commitment_secret": revoked}
        offered, received = (frozen.outpoint(htlc.key) for htlc in (OFFERED, RECEIVED))
        spends = {
            "to_local": delayed_spend(to_local, to_local_sat, **delayed, secrets=broadcaster),
            "second stage": delayed_spend(
                second_stage.outpoint(0), second_stage_sat, **delayed, secrets=broadcaster
            ),
            "to_remote": to_remote_spend(
                frozen.outpoint(ToCountersignatory()),
                frozen.output(ToCountersignatory()).value,
                anchors=self.anchors,
                secrets=countersignatory,
            ),
            "preimage": preimage_spend(
                offered, OFFERED, **on_htlc, secrets=countersignatory, preimage=PREIMAGE
            ),
            "timeout": timeout_spend(received, RECEIVED, **on_htlc, secrets=countersignatory),
            "revoked to_local": revoked_delayed_spend(to_local, to_local_sat, **delayed, **penalty),
            "revoked second stage": revoked_delayed_spend(
                second_stage.outpoint(0), second_stage_sat, **delayed, **penalty
            ),
            "revoked offered HTLC": revoked_htlc_spend(offered, OFFERED, **on_htlc, **penalty),
            "revoked received HTLC": revoked_htlc_spend(received, RECEIVED, **on_htlc, **penalty),
        }
        if self.anchors:
            spends["anchor"] = anchor_spend(frozen.outpoint(Anchor(True)), secrets=broadcaster)
        return spends

    def prevouts(self) -> dict[OutPoint, TxOut]:
        frozen = build_commitment(terms_of(anchors=self.anchors), BALANCE, KEYS)
        transactions = [frozen.tx, *(child.tx for child in self.children)]
        return {
            tx.outpoint(vout): output
            for tx in transactions
            for vout, output in enumerate(tx.outputs)
        }


KINDS = [
    (anchors, kind) for anchors in (False, True) for kind in Commitment(anchors=anchors).spends()
]
RELATIVE = {  # blocks that have to pass, with anchors and without
    "to_local": (DELAY, DELAY),
    "second stage": (DELAY, DELAY),
    "to_remote": (1, 0),
    "preimage": (1, 0),
    "timeout": (1, 0),
}


def swept(*spends: Spend, feerate: FeeRate = RATE) -> tuple[Tx, list[TxOut]]:
    """With a wallet input, so that outputs too small for their own sweep are judged too."""
    fee_payer = wallet_spend()
    tx = sweep_transaction(
        [*spends, fee_payer], destination_script=DESTINATION, feerate_per_kw=feerate
    )
    return tx, [*(spend.prevout for spend in spends), fee_payer.prevout]


@pytest.mark.parametrize(("anchors", "kind"), KINDS)
def test_the_owner_takes_it(anchors: bool, kind: str) -> None:
    commitment = Commitment(anchors=anchors)
    spend = commitment.spends()[kind]
    assert spend.prevout == commitment.prevouts()[spend.outpoint]
    tx, prevouts = swept(spend)
    verify_all_spends(tx, prevouts)
    assert 0 <= spend.witness_weight - len(tx.inputs[0].serialize_witness()) <= 2


@pytest.mark.parametrize(("anchors", "kind"), KINDS)
def test_a_strangers_key_does_not(anchors: bool, kind: str) -> None:
    commitment = Commitment(anchors=anchors)
    wrong = commitment.spends(
        broadcaster=STRANGER,
        countersignatory=STRANGER,
        revoked=STRANGER.per_commitment_secret(NUMBER),
    )[kind]
    tx, prevouts = swept(replace(wrong, prevout=commitment.spends()[kind].prevout))
    refuses_spend(tx, 0, prevouts)


@pytest.mark.parametrize("anchors", [False, True])
@pytest.mark.parametrize("kind", [kind for _, kind in KINDS[:9] if "revoked" in kind])
def test_a_commitment_that_is_not_revoked_gives_no_penalty(anchors: bool, kind: str) -> None:
    """Another commitment's secret, or the broadcaster's key alone, opens nothing."""
    commitment = Commitment(anchors=anchors)
    earlier = BROADCASTER.per_commitment_secret(NUMBER - 1)
    for wrong in (
        commitment.spends(revoked=earlier)[kind],
        commitment.spends(countersignatory=BROADCASTER)[kind],
    ):
        tx, prevouts = swept(wrong)
        refuses_spend(tx, 0, prevouts)


@pytest.mark.parametrize("anchors", [False, True])
@pytest.mark.parametrize("kind", RELATIVE)
def test_nobody_takes_it_a_block_too_early(anchors: bool, kind: str) -> None:
    blocks = RELATIVE[kind][0 if anchors else 1]
    spend = Commitment(anchors=anchors).spends()[kind]
    if not blocks:
        assert spend.sequence == 0xFFFFFFFD
        return
    assert spend.sequence == blocks
    for sequence in (blocks - 1, 0xFFFFFFFD):
        tx, prevouts = swept(replace(spend, sequence=sequence))
        refuses_spend(tx, 0, prevouts)


@pytest.mark.parametrize("anchors", [False, True])
def test_an_htlc_is_not_taken_back_before_it_expires(anchors: bool) -> None:
    spend = Commitment(anchors=anchors).spends()["timeout"]
    assert spend.locktime == EXPIRY
    tx, prevouts = swept(replace(spend, locktime=EXPIRY - 1))
    refuses_spend(tx, 0, prevouts)


def test_a_wrong_preimage_is_not_even_signed() -> None:
    with pytest.raises(WrongPreimage):
        preimage_spend(
            OutPoint(bytes(32), 0),
            OFFERED,
            keys=KEYS,
            anchors=True,
            secrets=COUNTERSIGNATORY,
            preimage=bytes(32),
        )


# --- HTLC transactions with anchors, which need somebody to pay their fee ---------------------


def second_stage(*, secrets: ChannelSecrets = BROADCASTER) -> list[Spend]:
    countersignatory = derive_private_key(COUNTERSIGNATORY.htlc, KEYS.per_commitment_point)
    return [
        second_stage_spend(
            child,
            countersignatory_signature=countersignatory.sign_ecdsa(child.countersignatory_digest()),
            keys=KEYS,
            secrets=secrets,
            preimage=PREIMAGE,
        )
        for child in Commitment(anchors=True).children
    ]


@pytest.mark.parametrize("index", [0, 1], ids=["one direction", "the other"])
def test_a_fee_input_joins_an_htlc_transaction(index: int) -> None:
    child = Commitment(anchors=True).children[index]
    spend = second_stage()[index]
    fee_payer = wallet_spend()
    tx = sweep_transaction([fee_payer, spend], destination_script=DESTINATION, feerate_per_kw=RATE)
    assert tx.inputs[0].outpoint == child.tx.inputs[0].outpoint
    assert tx.outputs[0] == child.tx.outputs[0]
    assert tx.locktime == (EXPIRY if child.key.offered_by_broadcaster else 0)
    verify_all_spends(tx, [spend.prevout, fee_payer.prevout])
    assert 0 <= spend.witness_weight - len(tx.inputs[0].serialize_witness()) <= 4
    wrong = sweep_transaction(
        [fee_payer, second_stage(secrets=STRANGER)[index]],
        destination_script=DESTINATION,
        feerate_per_kw=RATE,
    )
    refuses_spend(wrong, 0, [spend.prevout, fee_payer.prevout])


def test_htlc_transactions_with_other_locktimes_do_not_join() -> None:
    spends = second_stage()
    assert {spend.locktime for spend in spends} == {0, EXPIRY}
    with pytest.raises(SweepConflict):
        swept(*spends)
    with pytest.raises(SweepConflict):
        sweep_transaction(
            [spends[0], wallet_spend()],
            destination_script=DESTINATION,
            feerate_per_kw=RATE,
            locktime=EXPIRY + 1,
        )


def test_change_below_dust_of_an_htlc_transaction_goes_to_the_fee() -> None:
    spend = second_stage()[0]

    def sweep_with(value: int) -> Tx:
        return sweep_transaction(
            [spend, wallet_spend(value=value)],
            destination_script=DESTINATION,
            feerate_per_kw=RATE,
        )

    with_change = sweep_with(10_000)
    needed = 10_000 - with_change.outputs[1].value + dust_limit(DESTINATION)
    assert len(sweep_with(needed).outputs) == 2
    assert len(sweep_with(needed - 1).outputs) == 1
    with pytest.raises(SweepTooSmall):
        sweep_with(500)


def test_success_needs_its_preimage() -> None:
    for child in Commitment(anchors=True).children:
        if child.key.offered_by_broadcaster:
            continue
        with pytest.raises(WrongPreimage):
            second_stage_spend(
                child, countersignatory_signature=bytes(64), keys=KEYS, secrets=BROADCASTER
            )


# --- many spends in one transaction -----------------------------------------------------------


@settings(max_examples=30)
@given(
    kinds=st.sets(st.sampled_from(["to_local", "to_remote", "preimage", "timeout", "anchor"])),
    claims=st.integers(0, 5),
    feerate=st.integers(253, 5_000).map(FeeRate),
    extra=st.integers(0, 1_000).map(Sat),
    destination=st.sampled_from([DESTINATION, p2wpkh(STRANGER.payment.public.data)]),
)
def test_any_mixture_pays_exactly_its_fee(
    kinds: set[str], claims: int, feerate: FeeRate, extra: Sat, destination: bytes
) -> None:
    by_kind = Commitment(anchors=True).spends()
    spends = [by_kind[kind] for kind in sorted(kinds)]
    spends += [claim_spend(n) for n in range(claims)] + [wallet_spend()]
    tx = sweep_transaction(
        spends, destination_script=destination, feerate_per_kw=feerate, extra_fee_sat=extra
    )
    prevouts = [spend.prevout for spend in spends]
    verify_all_spends(tx, prevouts)
    assert tx.locktime == (EXPIRY if "timeout" in kinds else 0)
    assert [txin.outpoint for txin in tx.inputs] == [spend.outpoint for spend in spends]
    (output,) = tx.outputs
    assert output.script == destination
    fee = sum(prevout.value for prevout in prevouts) - output.value
    ecdsa_signatures = len(kinds) + 1
    slack = 2 * ecdsa_signatures
    assert fee >= fee_for_weight(tx.weight, feerate) + extra
    assert fee <= fee_for_weight(tx.weight + slack, feerate) + extra


@pytest.mark.parametrize("count", [1, 2, 252, 253, 254])
def test_the_weight_of_schnorr_spends_is_exact(count: int) -> None:
    """Also where the counts take three bytes."""
    spends = [claim_spend(n) for n in range(count)]
    tx = sweep_transaction(spends, destination_script=DESTINATION, feerate_per_kw=RATE)
    fee = 1_000 * count - tx.outputs[0].value
    assert fee == tx.weight
    assert all(len(txin.serialize_witness()) == spends[0].witness_weight for txin in tx.inputs)
    for index in {0, count - 1}:
        verify_spend(tx, index, [spend.prevout for spend in spends])


def test_the_version_and_locktime_asked_for_are_signed() -> None:
    spend = claim_spend()
    tx = sweep_transaction(
        [spend], destination_script=DESTINATION, feerate_per_kw=RATE, version=3, locktime=9
    )
    assert (tx.version, tx.locktime) == (3, 9)
    verify_all_spends(tx, [spend.prevout])


def test_a_result_below_dust_is_refused() -> None:
    cost = 100_000 - swept()[0].outputs[0].value
    least = cost + dust_limit(DESTINATION)
    tx = sweep_transaction(
        [wallet_spend(value=least)], destination_script=DESTINATION, feerate_per_kw=RATE
    )
    assert tx.outputs[0].value == dust_limit(DESTINATION)
    with pytest.raises(SweepTooSmall) as refused:
        sweep_transaction(
            [wallet_spend(value=least - 1)], destination_script=DESTINATION, feerate_per_kw=RATE
        )
    assert (refused.value.value_sat, refused.value.fee_sat) == (least - 1, cost)
    with pytest.raises(SweepTooSmall):
        sweep_transaction([], destination_script=DESTINATION, feerate_per_kw=RATE)


def test_an_outpoint_is_spent_once() -> None:
    with pytest.raises(SweepConflict):
        swept(claim_spend(1), claim_spend(1))


def test_no_secret_shows_in_the_repr_of_a_spend() -> None:
    for spend in Commitment(anchors=True).spends().values():
        assert "sign" not in repr(spend)


# --- splitting --------------------------------------------------------------------------------


def light_spend(number: int, weight: int) -> Spend:
    """Any witness of this weight: only sizes matter here."""
    return Spend(
        outpoint=OutPoint(bytes(32), number),
        prevout=TxOut(Sat(100_000), DESTINATION),
        sequence=0,
        witness_weight=weight,
        sign=lambda _, __: (bytes(weight - 4),),
    )


def parts_of(spends: Sequence[Spend], max_weight: int) -> list[tuple[Spend, ...]]:
    return list(split_spends(spends, destination_script=DESTINATION, max_weight=max_weight))


@given(weights=st.lists(st.integers(66, 700), max_size=80), max_weight=st.integers(2_000, 20_000))
def test_parts_fit_and_lose_nothing(weights: list[int], max_weight: int) -> None:
    spends = [light_spend(number, weight) for number, weight in enumerate(weights)]
    parts = parts_of(spends, max_weight)
    assert [spend for part in parts for spend in part] == spends
    for part in parts:
        tx = sweep_transaction(part, destination_script=DESTINATION, feerate_per_kw=FeeRate(0))
        assert tx.weight <= max_weight


def test_parts_are_about_equal() -> None:
    """2,322 claims are three transactions, and none of them is a remainder."""
    spends = [claim_spend(0)] * 2_322
    sizes = [len(part) for part in parts_of(spends, 390_000)]
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= 2


def test_too_much_for_one_transaction_is_refused() -> None:
    spends = [light_spend(number, 700) for number in range(500)]
    with pytest.raises(SweepTooHeavy) as refused:
        sweep_transaction(spends, destination_script=DESTINATION, feerate_per_kw=RATE)
    assert refused.value.weight > 390_000


def test_every_key_in_a_commitment_is_used() -> None:
    """The kinds above spend every output of the commitment and of the second stage."""
    commitment = Commitment(anchors=True)
    spent = {spend.outpoint for spend in commitment.spends().values()}
    frozen = build_commitment(terms_of(anchors=True), BALANCE, KEYS)
    other_anchor = frozen.outpoint(Anchor(broadcaster=False))
    theirs = anchor_spend(other_anchor, secrets=COUNTERSIGNATORY)
    tx, prevouts = swept(theirs)
    verify_all_spends(tx, prevouts)
    assert {frozen.tx.outpoint(n) for n in range(len(frozen.outputs))} <= spent | {other_anchor}

"""A commitment divides the funding, all of it, and both sides build the same bytes."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge import verify_all_spends
from lightspeed.bitcoin import (
    P2TR_OUTPUT_WEIGHT,
    BadSignature,
    FeeRate,
    OutPoint,
    PublicKey,
    Tx,
    TxIn,
    TxOut,
    p2wpkh,
    p2wsh,
    sha256,
)
from lightspeed.channel.commitment import (
    ANCHOR_SAT,
    FunderCannotPay,
    NotACommitment,
    build_commitment,
    commitment_digest,
    commitment_number,
    funder_cost,
    obscuring_factor,
)
from lightspeed.channel.funding import funding_witness
from lightspeed.channel.graph import (
    Anchor,
    Draft,
    DuplicateOutput,
    Frozen,
    HtlcKey,
    Output,
    ToBroadcaster,
    ToCountersignatory,
    UnknownOutput,
    build,
)
from lightspeed.channel.htlc import WrongPreimage, htlc_children, htlc_fee, is_trimmed
from lightspeed.channel.keys import ChannelSecrets, CommitmentKeys, derive_private_key
from lightspeed.channel.scripts import funding_output_script
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.channel.weights import commitment_weight
from lightspeed.units import Msat, Sat
from strategies import bytes32, channel_secrets, commitment_cases

Case = tuple[CommitmentTerms, CommitmentBalance]
BROADCASTER, COUNTERSIGNATORY = channel_secrets(1), channel_secrets(2)
KEYS = CommitmentKeys.derive(
    BROADCASTER.per_commitment_point(0),
    broadcaster=BROADCASTER.basepoints,
    countersignatory=COUNTERSIGNATORY.basepoints,
)
TERMS = CommitmentTerms(
    funding_outpoint=OutPoint(b"\x01" * 32, 1),
    funding_sat=Sat(1_000_000),
    funding_keys=(BROADCASTER.funding.public, COUNTERSIGNATORY.funding.public),
    broadcaster_is_funder=True,
    obscuring_factor=obscuring_factor(
        opener=BROADCASTER.payment.public, accepter=COUNTERSIGNATORY.payment.public
    ),
    dust_limit_sat=Sat(546),
    to_self_delay_blocks=144,
    anchors=True,
)
RATE = FeeRate(1_000)
PREIMAGE = b"\x07" * 32


def balance_of(
    to_broadcaster_sat: int, to_countersignatory_sat: int, *htlcs: HtlcOutput
) -> CommitmentBalance:
    return CommitmentBalance(
        number=0,
        to_broadcaster_msat=Msat(1_000 * to_broadcaster_sat),
        to_countersignatory_msat=Msat(1_000 * to_countersignatory_sat),
        feerate_per_kw=RATE,
        htlcs=htlcs,
    )


def htlc_of(amount_msat: int, *, offered: bool = True, number: int = 0) -> HtlcOutput:
    return HtlcOutput(HtlcKey(offered, number), Msat(amount_msat), sha256(PREIMAGE), 500_000)


# --- money ------------------------------------------------------------------------------------


@given(commitment_cases(funder_least_sat=0))
def test_outputs_fee_and_dust_are_the_funding_amount(case: Case) -> None:
    terms, balance = case
    main = [balance.to_broadcaster_msat // 1_000, balance.to_countersignatory_msat // 1_000]
    funder = 0 if terms.broadcaster_is_funder else 1
    anchors_cost = 660 if terms.anchors else 0
    if main[funder] < anchors_cost:
        with pytest.raises(FunderCannotPay):
            build_commitment(terms, balance, KEYS)
        return
    frozen = build_commitment(terms, balance, KEYS)
    paid = sum(output.txout.value for output in frozen.outputs)

    trimmed = {
        htlc.key
        for htlc in balance.htlcs
        if htlc.amount_msat // 1_000
        < terms.dust_limit_sat
        + htlc_fee(htlc.key, feerate_per_kw=balance.feerate_per_kw, anchors=terms.anchors)
    }
    weight = commitment_weight(
        untrimmed_htlcs=len(balance.htlcs) - len(trimmed), anchors=terms.anchors
    )
    fee = weight * balance.feerate_per_kw // 1_000
    main[funder] = max(0, main[funder] - fee - anchors_cost)
    expected = sum(amount for amount in main if amount >= terms.dust_limit_sat)
    expected += sum(h.amount_msat // 1_000 for h in balance.htlcs if h.key not in trimmed)
    expected += 330 * sum(isinstance(output.key, Anchor) for output in frozen.outputs)
    assert paid == expected
    assert paid <= terms.funding_sat
    assert frozen.has(ToBroadcaster()) == (main[0] >= terms.dust_limit_sat)
    assert frozen.has(ToCountersignatory()) == (main[1] >= terms.dust_limit_sat)
    assert {o.key for o in frozen.outputs if isinstance(o.key, HtlcKey)} == {
        htlc.key for htlc in balance.htlcs
    } - trimmed


@given(commitment_cases())
def test_anchors_stand_for_who_has_something_to_bump(case: Case) -> None:
    terms, balance = case
    frozen = build_commitment(terms, balance, KEYS)
    contested = any(isinstance(output.key, HtlcKey) for output in frozen.outputs)
    for anchor, own in ((True, ToBroadcaster()), (False, ToCountersignatory())):
        wanted = terms.anchors and (contested or frozen.has(own))
        assert frozen.has(Anchor(broadcaster=anchor)) == wanted


@given(commitment_cases(funder_least_sat=0), st.integers(1, 5), st.integers(330, 50_000))
def test_with_an_extension_the_funder_pays_in_full_or_not_at_all(
    case: Case, count: int, amount: int
) -> None:
    """An extension's output is never paid for by a fee that comes out short."""
    terms, balance = case
    weight = count * P2TR_OUTPUT_WEIGHT

    def extend(draft: Draft) -> Draft:
        return draft.extended(
            Output(("extension", n), TxOut(Sat(amount), p2wsh(bytes([n])))) for n in range(count)
        )

    funder = (
        balance.to_broadcaster_msat
        if terms.broadcaster_is_funder
        else balance.to_countersignatory_msat
    )
    missing = funder_cost(terms, balance, extension_weight=weight) - funder // 1_000
    if missing > 0:
        with pytest.raises(FunderCannotPay) as refused:
            build_commitment(terms, balance, KEYS, extension_weight=weight, extenders=[extend])
        assert refused.value.missing_sat == missing
        return
    frozen = build_commitment(terms, balance, KEYS, extension_weight=weight, extenders=[extend])
    assert all(frozen.output(("extension", n)).value == amount for n in range(count))
    assert frozen.has(Anchor(True)) == frozen.has(Anchor(False)) == terms.anchors


@pytest.mark.parametrize(("to_broadcaster", "missing"), [(-5, 5), (10, 1_124 + 660 - 10)])
def test_a_negative_balance_is_refused(to_broadcaster: int, missing: int) -> None:
    weight = 0 if to_broadcaster < 0 else 1
    with pytest.raises(FunderCannotPay) as refused:
        build_commitment(TERMS, balance_of(to_broadcaster, 0), KEYS, extension_weight=weight)
    assert refused.value.missing_sat - weight == missing


# --- the boundary of trimming -----------------------------------------------------------------


@given(
    offered=st.booleans(),
    anchors=st.booleans(),
    feerate=st.integers(0, 20_000).map(FeeRate),
    dust=st.integers(294, 3_000).map(Sat),
)
def test_an_htlc_is_trimmed_exactly_below_dust_limit_plus_fee(
    offered: bool, anchors: bool, feerate: FeeRate, dust: Sat
) -> None:
    weight = 0 if anchors else 663 if offered else 703
    limit_msat = 1_000 * (dust + weight * feerate // 1_000)
    terms = replace(TERMS, dust_limit_sat=dust, anchors=anchors)
    for amount_msat, trimmed in ((limit_msat, False), (limit_msat - 1, True)):
        htlc = htlc_of(amount_msat, offered=offered)
        assert trimmed == is_trimmed(
            htlc, dust_limit_sat=dust, feerate_per_kw=feerate, anchors=anchors
        )
        balance = replace(balance_of(900_000, 90_000, htlc), feerate_per_kw=feerate)
        assert build_commitment(terms, balance, KEYS).has(htlc.key) != trimmed


@pytest.mark.parametrize("below", [0, 1])
def test_main_outputs_are_trimmed_exactly_below_the_dust_limit(below: int) -> None:
    cost = 1_124 + 2 * ANCHOR_SAT
    balance = balance_of(546 + cost - below, 546 - below)
    frozen = build_commitment(TERMS, balance, KEYS)
    for key in (ToBroadcaster(), ToCountersignatory()):
        assert frozen.has(key) == (not below)
    assert len(frozen.outputs) == (0 if below else 4)
    with pytest.raises(FunderCannotPay):
        build_commitment(TERMS, balance_of(cost - 1, 0), KEYS, extension_weight=1)


# --- order, numbers, keys ---------------------------------------------------------------------


@given(commitment_cases())
def test_outputs_are_in_bip69_order_and_found_by_key(case: Case) -> None:
    terms, balance = case
    frozen = build_commitment(terms, balance, KEYS)
    order = [(o.txout.value, o.txout.script, o.cltv_expiry) for o in frozen.outputs]
    assert order == sorted(order)
    assert frozen.tx.outputs == tuple(output.txout for output in frozen.outputs)
    for vout, output in enumerate(frozen.outputs):
        assert frozen.outpoint(output.key) == OutPoint(frozen.tx.txid, vout)
        assert frozen.output(output.key) == frozen.tx.outputs[vout]


def test_htlcs_that_differ_only_in_expiry_are_ordered_by_it() -> None:
    """Their outputs are equal; their HTLC-timeout transactions are not."""
    late, early = (
        replace(htlc_of(10_000_000, number=n), cltv_expiry=expiry)
        for n, expiry in ((0, 500_002), (1, 500_001))
    )
    balance = balance_of(900_000, 80_000, late, early)
    frozen = build_commitment(TERMS, balance, KEYS)
    assert frozen.vout(early.key) + 1 == frozen.vout(late.key)
    children = htlc_children(frozen, TERMS, balance, KEYS)
    assert [child.tx.locktime for child in children] == [500_001, 500_002]


@given(commitment_cases())
def test_the_number_is_read_back_from_the_transaction(case: Case) -> None:
    terms, balance = case
    tx = build_commitment(terms, balance, KEYS).tx
    assert commitment_number(tx, terms.obscuring_factor) == balance.number


@pytest.mark.parametrize(
    "tx",
    [
        Tx(2, (TxIn(OutPoint(bytes(32), 0), sequence=0x80000000),), (), 0x21000000),
        Tx(2, (TxIn(OutPoint(bytes(32), 0), sequence=0xFFFFFFFF),), (), 0x20000000),
        Tx(2, (TxIn(OutPoint(bytes(32), 0), sequence=0x80000000),) * 2, (), 0x20000000),
        Tx(2, (), (), 0x20000000),
    ],
    ids=["locktime", "sequence", "two inputs", "no input"],
)
def test_other_transactions_have_no_number(tx: Tx) -> None:
    with pytest.raises(NotACommitment):
        commitment_number(tx, 0)


def test_keys_of_outputs_are_unique_and_known() -> None:
    twice = htlc_of(10_000_000)
    with pytest.raises(DuplicateOutput):
        build_commitment(TERMS, balance_of(900_000, 80_000, twice, twice), KEYS)
    frozen = build(lambda: Draft(2, 0, (TxIn(OutPoint(bytes(32), 0)),), ()))
    with pytest.raises(UnknownOutput):
        frozen.outpoint(ToBroadcaster())


def test_modifiers_run_last_and_in_order() -> None:
    """What commits to everything else sees BIP 69's order, and has the last word."""
    seen: list[int] = []

    def put_first(draft: Draft) -> Draft:
        seen.extend(output.txout.value for output in draft.outputs)
        first = Output("commits to all", TxOut(Sat(0), b"\x6a"))
        return replace(draft, outputs=(first, *draft.outputs))

    balance = balance_of(500_000, 400_000)
    frozen = build_commitment(TERMS, balance, KEYS, modifiers=[put_first])
    assert seen == sorted(seen)
    assert len(seen) == 4
    assert frozen.vout("commits to all") == 0


# --- both sides -------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A channel as one of its nodes sees it: mine and theirs instead of broadcaster and other."""

    mine: ChannelSecrets
    theirs: ChannelSecrets
    """Only its public half is used."""
    i_opened: bool
    my_msat: Msat
    their_msat: Msat
    my_htlcs: tuple[HtlcOutput, ...]
    their_htlcs: tuple[HtlcOutput, ...]

    def mirrored(self) -> "View":
        return View(
            mine=self.theirs,
            theirs=self.mine,
            i_opened=not self.i_opened,
            my_msat=self.their_msat,
            their_msat=self.my_msat,
            my_htlcs=self.their_htlcs,
            their_htlcs=self.my_htlcs,
        )

    def commitment(
        self, *, mine: bool, point: PublicKey, terms: CommitmentTerms, balance: CommitmentBalance
    ) -> tuple[Frozen, tuple[Tx, ...]]:
        me, they = self.mine.basepoints, self.theirs.basepoints
        broadcaster, countersignatory = (me, they) if mine else (they, me)
        opener, accepter = (me, they) if self.i_opened else (they, me)
        terms = replace(
            terms,
            funding_keys=(broadcaster.funding, countersignatory.funding),
            broadcaster_is_funder=self.i_opened == mine,
            obscuring_factor=obscuring_factor(opener=opener.payment, accepter=accepter.payment),
        )
        balance = replace(
            balance,
            to_broadcaster_msat=self.my_msat if mine else self.their_msat,
            to_countersignatory_msat=self.their_msat if mine else self.my_msat,
            htlcs=tuple(
                replace(htlc, key=HtlcKey(my_own == mine, htlc.key.id))
                for my_own, htlcs in ((True, self.my_htlcs), (False, self.their_htlcs))
                for htlc in htlcs
            ),
        )
        keys = CommitmentKeys.derive(
            point, broadcaster=broadcaster, countersignatory=countersignatory
        )
        frozen = build_commitment(terms, balance, keys)
        children = htlc_children(frozen, terms, balance, keys)
        return frozen, tuple(child.tx for child in children)


@given(case=commitment_cases(), broadcaster=st.booleans())
def test_both_sides_build_the_same_bytes_from_mirrored_views(case: Case, broadcaster: bool) -> None:
    terms, balance = case
    view = View(
        mine=BROADCASTER,
        theirs=COUNTERSIGNATORY,
        i_opened=terms.broadcaster_is_funder,
        my_msat=balance.to_broadcaster_msat,
        their_msat=balance.to_countersignatory_msat,
        my_htlcs=tuple(h for h in balance.htlcs if h.key.offered_by_broadcaster),
        their_htlcs=tuple(h for h in balance.htlcs if not h.key.offered_by_broadcaster),
    )
    point = (BROADCASTER if broadcaster else COUNTERSIGNATORY).per_commitment_point(3)
    mine, my_children = view.commitment(mine=broadcaster, point=point, terms=terms, balance=balance)
    theirs, their_children = view.mirrored().commitment(
        mine=not broadcaster, point=point, terms=terms, balance=balance
    )
    assert mine.tx.serialize() == theirs.tx.serialize()
    assert [tx.serialize() for tx in my_children] == [tx.serialize() for tx in their_children]


# --- signatures -------------------------------------------------------------------------------


@pytest.mark.parametrize("anchors", [False, True])
def test_a_signed_commitment_and_its_children_are_valid(anchors: bool) -> None:
    terms = replace(TERMS, anchors=anchors)
    balance = balance_of(900_000, 60_000, htlc_of(20_000_000), htlc_of(20_000_000, offered=False))
    frozen = build_commitment(terms, balance, KEYS)
    digest = commitment_digest(frozen.tx, terms)
    signatures = (
        BROADCASTER.funding.sign_ecdsa(digest),
        COUNTERSIGNATORY.funding.sign_ecdsa(digest),
    )
    signed = frozen.tx.with_witness(
        0, funding_witness(funding_keys=terms.funding_keys, signatures=signatures)
    )
    verify_all_spends(
        signed, [TxOut(terms.funding_sat, funding_output_script(*terms.funding_keys))]
    )
    expected = commitment_weight(untrimmed_htlcs=2, anchors=anchors)
    assert expected - 13 <= signed.weight <= expected  # 73-byte signatures, 3-byte output count

    point = KEYS.per_commitment_point
    broadcaster, countersignatory = (
        derive_private_key(secrets.htlc, point) for secrets in (BROADCASTER, COUNTERSIGNATORY)
    )
    children = htlc_children(frozen, terms, balance, KEYS)
    assert len(children) == 2
    for child in children:
        signature = countersignatory.sign_ecdsa(child.countersignatory_digest())
        child.verify(signature)
        for wrong in (
            broadcaster.sign_ecdsa(child.countersignatory_digest()),
            countersignatory.sign_ecdsa(sha256(b"")),
            bytes(64),
        ):
            with pytest.raises(BadSignature):
                child.verify(wrong)
        own = broadcaster.sign_ecdsa(child.broadcaster_digest())
        witness = child.witness(
            countersignatory_signature=signature, broadcaster_signature=own, preimage=PREIMAGE
        )
        verify_all_spends(child.tx.with_witness(0, witness), child.prevouts)


@given(bytes32)
def test_only_the_preimage_makes_a_success_witness(preimage: bytes) -> None:
    balance = balance_of(900_000, 80_000, htlc_of(20_000_000, offered=False))
    frozen = build_commitment(TERMS, balance, KEYS)
    (child,) = htlc_children(frozen, TERMS, balance, KEYS)
    for wrong in (None, b"", preimage):
        with pytest.raises(WrongPreimage):
            child.witness(
                countersignatory_signature=b"\x01" * 64,
                broadcaster_signature=b"\x01" * 64,
                preimage=wrong,
            )


def test_without_anchors_to_remote_is_a_plain_key() -> None:
    frozen = build_commitment(replace(TERMS, anchors=False), balance_of(500_000, 400_000), KEYS)
    payment = COUNTERSIGNATORY.payment.public.data
    assert frozen.output(ToCountersignatory()).script == p2wpkh(payment)
    assert len(frozen.outputs) == 2

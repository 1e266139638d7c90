"""A history proves what it holds, with no more than it needs, and forgets nothing it was told."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2tr
from lightspeed.rgb import (
    ASSET_OWNER,
    OPRET_PLACEHOLDER,
    AssetSpec,
    ChainNet,
    Coloured,
    Consignment,
    Genesis,
    GenesisSeal,
    GraphSeal,
    History,
    HistoryError,
    Holding,
    NotEnoughTokens,
    Opout,
    SecretSeal,
    TokenInput,
    WitnessStatus,
    colour,
    issue,
    pick_holdings,
    validate,
    witnesses_of,
)
from lightspeed.rgb.failures import NoPrevState
from lightspeed.units import Sat

NET = ChainNet.BITCOIN_REGTEST


def coin(number: int) -> OutPoint:
    return OutPoint(number.to_bytes(32, "big"), 0)


def genesis(*amounts: int) -> Genesis:
    """`amounts` on coins 0, 1, ..."""
    return issue(
        spec=AssetSpec(ticker="CALL", name="Calls"),
        chain_net=NET,
        timestamp=0,
        allocations=[
            (GenesisSeal(coin(number).txid, 0, number), amount)
            for number, amount in enumerate(amounts)
        ],
    )


def issued(token: Genesis, number: int) -> TokenInput:
    assign = token.assignments.of_type(ASSET_OWNER)[number]
    assert isinstance(assign.state, int)
    return TokenInput(Opout(token.contract_id, ASSET_OWNER, number), assign.state)


def moved(
    token: Genesis,
    spent: list[tuple[TokenInput, OutPoint]],
    *to: tuple[int | GraphSeal | SecretSeal, int],
) -> Coloured:
    """By a transaction with two outputs beside the commitment."""
    tx = Tx(
        2,
        tuple(TxIn(outpoint) for outpoint in sorted({outpoint for _, outpoint in spent})),
        (OPRET_PLACEHOLDER, *(TxOut(Sat(330), p2tr(bytes([n]) * 32)) for n in (1, 2))),
        0,
    )
    tokens = [token_input for token_input, _ in spent]
    return colour(tx, contract_id=token.contract_id, inputs=tokens, allocations=to)


def proven(consignment: Consignment) -> dict[Opout, int]:
    """After a round trip, and without a chain."""
    again = Consignment.parse(consignment.serialize(magic=True))
    found = validate(again, witnesses_of(again), chain_net=NET)
    return {opout: each.amount for opout, each in found.revealed.items()}


def statuses(history: History, status: WitnessStatus) -> dict[bytes, WitnessStatus]:
    return dict.fromkeys(history.bundles, status)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_holding_is_proven_by_its_consignment_alone(data: st.DataObject) -> None:
    token = genesis(100, 50, 7)
    history = History(token)
    for _ in range(data.draw(st.integers(0, 12))):
        held = list(history.holdings(statuses(history, WitnessStatus.MINED)).values())
        spent = data.draw(st.lists(st.sampled_from(held), min_size=1, max_size=2, unique=True))
        together = [each for each in held if each.outpoint in {one.outpoint for one in spent}]
        amount = sum(each.token.amount for each in together)
        first = data.draw(st.integers(1, amount))
        to = [(1, first)] + ([(2, amount - first)] if first < amount else [])
        history = history.add(
            moved(token, [(each.token, each.outpoint) for each in together], *to).witness
        )
    holdings = history.holdings(statuses(history, WitnessStatus.MINED))
    assert sum(each.token.amount for each in holdings.values()) == 157
    for opout, holding in holdings.items():
        consignment = history.consignment([opout])
        assert proven(consignment) == {opout: holding.token.amount}
        again = History.of(consignment)
        assert again.holdings(statuses(again, WitnessStatus.MINED)) == {opout: holding}
    together_again = History(token)
    for opout in holdings:
        together_again = together_again.merge(history.consignment([opout]))
    assert proven(together_again.consignment(list(holdings))) == {
        opout: each.token.amount for opout, each in holdings.items()
    }


def test_what_is_not_on_the_way_is_neither_shown_nor_opened() -> None:
    token = genesis(100, 50)
    first = moved(token, [(issued(token, 0), coin(0))], (1, 60), (2, 40))
    other = moved(token, [(issued(token, 1), coin(1))], (1, 50))
    ours, change = first.on_output(1)[0], first.on_output(2)[0]
    consignment = History(token).add(first.witness, other.witness).consignment([ours.opout])
    assert [bundle.txid for bundle in consignment.bundles] == [first.tx.txid]
    owned = consignment.bundles[0].bundle.known[0][1].assignments.of_type(ASSET_OWNER)
    assert isinstance(owned[0].seal, GraphSeal)
    assert owned[1].seal == first.transition.assignments.of_type(ASSET_OWNER)[1].secret_seal
    assert change.opout not in proven(consignment)


def test_signatures_are_not_handed_over() -> None:
    token = genesis(100)
    first = moved(token, [(issued(token, 0), coin(0))], (1, 100))
    signed = replace(first.witness, witness=first.tx.with_witness(0, (bytes(64),)))
    (bundle,) = History(token).add(signed).bundles.values()
    assert bundle.witness == first.tx


def test_receiver_that_named_its_seal_opens_it_and_spends_on() -> None:
    token = genesis(100)
    seal = GraphSeal(coin(5).txid, 0, 99)
    first = moved(token, [(issued(token, 0), coin(0))], (seal.conceal(), 30), (2, 70))
    sent = Opout(first.opid, ASSET_OWNER, 0)
    consignment = History(token).add(first.witness).consignment([sent], named=[seal.conceal()])
    assert consignment.terminals == ((first.witness.bundle.bundle_id, (seal.conceal(),)),)
    assert proven(consignment) == {}

    received = History.of(consignment)
    mined = statuses(received, WitnessStatus.MINED)
    assert received.holdings(mined) == {}
    opened = received.reveal([seal, GraphSeal(None, 1, 1)])
    holding = opened.holdings(mined)[sent]
    assert (holding.outpoint, holding.token.amount) == (coin(5), 30)
    second = moved(token, [(holding.token, holding.outpoint)], (1, 30))
    onward = opened.add(second.witness)
    assert proven(onward.consignment([second.on_output(1)[0].opout]))
    with pytest.raises(HistoryError, match="seal is not known"):
        received.add(second.witness).consignment([second.on_output(1)[0].opout])
    bundles = tuple(received.add(second.witness).bundles.values())
    with pytest.raises(NoPrevState):  # that is so for a reason
        proven(Consignment(transfer=True, genesis=token, bundles=bundles))


def test_merging_keeps_what_either_side_knew() -> None:
    token = genesis(100)
    first = moved(token, [(issued(token, 0), coin(0))], (1, 60), (2, 40))
    one, other = (each[0].opout for each in (first.on_output(1), first.on_output(2)))
    full = History(token).add(first.witness)
    for order in ((one, other), (other, one)):
        history = History.of(full.consignment([order[0]]))
        assert history.merge(full.consignment([order[1]])) == full
    assert full.merge(full.consignment([])) == full


def test_tokens_stand_with_everything_that_they_rest_on() -> None:
    token = genesis(100)
    first = moved(token, [(issued(token, 0), coin(0))], (1, 60), (2, 40))
    ((sixty,), (forty,)) = first.on_output(1), first.on_output(2)
    second = moved(token, [(sixty, first.tx.outpoint(1))], (1, 60))
    history = History(token).add(second.witness, first.witness)
    mined, tentative = WitnessStatus.MINED, WitnessStatus.TENTATIVE

    def held(one: WitnessStatus | None, two: WitnessStatus | None) -> dict[int, bool]:
        told = {first.tx.txid: one, second.tx.txid: two}
        known = {txid: status for txid, status in told.items() if status is not None}
        found = history.holdings(known).values()
        return {each.token.amount + 1_000 * (each.txid is None): each.mined for each in found}

    assert held(mined, mined) == {60: True, 40: True}
    assert held(mined, tentative) == {60: False, 40: True}
    assert held(tentative, mined) == {60: False, 40: False}
    assert held(mined, None) == {60: True, 40: True}
    assert held(None, mined) == {1_100: True}
    assert held(WitnessStatus.ARCHIVED, None) == {1_100: True}
    holding = history.holdings({first.tx.txid: mined})[forty.opout]
    assert holding.txid == first.tx.txid


@pytest.mark.parametrize("mined_first", [True, False])
def test_tokens_are_not_hidden_by_another_transaction_with_their_transition(
    mined_first: bool,
) -> None:
    """Whoever brought them shows it later, unmined: on it the real ones would seem to rest."""
    token = genesis(100)
    coloured = [
        colour(
            Tx(2, (TxIn(coin(0)),), (OPRET_PLACEHOLDER, TxOut(Sat(sat), p2tr(bytes(32)))), 0),
            contract_id=token.contract_id,
            inputs=[issued(token, 0)],
            allocations=[(GraphSeal(None, 1, 5), 100)],
        )
        for sat in (400, 500)
    ]
    real, other = coloured if mined_first else coloured[::-1]
    assert real.opid == other.opid
    (held,) = real.on_output(1)
    ours = moved(token, [(held, real.tx.outpoint(1))], (1, 100))
    bundles = [each.witness for each in coloured]
    history = History(token).add(*bundles, ours.witness)
    mined = dict.fromkeys((real.tx.txid, ours.tx.txid), WitnessStatus.MINED)
    for told in (mined, {**mined, other.tx.txid: WitnessStatus.TENTATIVE}):
        ((opout, holding),) = history.holdings(told).items()
        assert (holding.outpoint, holding.mined) == (ours.tx.outpoint(1), True)
        proof = history.consignment([opout], statuses=told)
        assert [bundle.txid for bundle in proof.bundles] == [real.tx.txid, ours.tx.txid]
        assert proven(proof) == {opout: 100}
    unspent = history.holdings({real.tx.txid: WitnessStatus.MINED})
    assert [each.outpoint for each in unspent.values()] == [real.tx.outpoint(1)]


def test_foreign_contradictory_and_incomplete_histories_are_refused() -> None:
    token = genesis(100)
    first = moved(token, [(issued(token, 0), coin(0))], (1, 60), (2, 40))
    second = moved(token, [(first.on_output(1)[0], first.tx.outpoint(1))], (1, 60))
    with pytest.raises(HistoryError, match="another contract"):
        History(genesis(99)).merge(History(token).contract())
    with pytest.raises(HistoryError, match="not known"):
        History(token).add(second.witness).consignment([second.on_output(1)[0].opout])
    with pytest.raises(HistoryError, match="two bundles"):
        History(token).add(first.witness, replace(second.witness, witness=first.tx))
    itself = Opout(first.opid, ASSET_OWNER, 0)
    loop = replace(first.transition, inputs=(itself,))
    bundle = replace(first.witness.bundle, known=((first.opid, loop),))
    circular = History(token).add(replace(first.witness, bundle=bundle))
    with pytest.raises(HistoryError, match="circle"):
        circular.consignment([itself])


def test_contract_introduces_itself_without_its_seals() -> None:
    token = genesis(100)
    contract = History(token).contract()
    assert contract.contract_id == token.contract_id
    assert proven(contract) == {}
    assert History.of(contract).merge(History(token).consignment([issued(token, 0).opout])) == (
        History(token)
    )


def _holding(amount: int, number: int) -> Holding:
    opout = Opout(amount.to_bytes(32, "big"), ASSET_OWNER, number)
    return Holding(TokenInput(opout, amount), coin(number), None, True)


@given(
    amounts=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5)), max_size=8),
    amount=st.integers(1, 300),
)
def test_picked_tokens_suffice_and_leave_nothing_on_their_outpoints(
    amounts: list[tuple[int, int]], amount: int
) -> None:
    holdings = [_holding(*each) for each in amounts]
    available = sum(each.token.amount for each in holdings)
    if available < amount:
        with pytest.raises(NotEnoughTokens, match=f"{amount} tokens .*, {available} can"):
            pick_holdings(holdings, amount)
        return
    picked = pick_holdings(holdings, amount)
    assert sum(each.token.amount for each in picked) >= amount
    outpoints = {each.outpoint for each in picked}
    assert sorted(picked, key=repr) == sorted(
        (each for each in holdings if each.outpoint in outpoints), key=repr
    )
    for outpoint in outpoints:
        rest = [each.token.amount for each in picked if each.outpoint != outpoint]
        assert sum(rest) < amount


def test_a_thousand_transfers_are_followed_without_recursion() -> None:
    token = genesis(100)
    history, held, at = History(token), issued(token, 0), coin(0)
    bundles = []
    for _ in range(1_000):
        step = moved(token, [(held, at)], (1, 100))
        bundles.append(step.witness)
        (held,), at = step.on_output(1), step.tx.outpoint(1)
    history = history.add(*reversed(bundles))
    assert proven(history.consignment([held.opout])) == {held.opout: 100}
    (only,) = history.holdings(statuses(history, WitnessStatus.MINED)).values()
    assert only.token == held

"""The stash: what it was told survives, what it says follows the chain, and no coin is burnt."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lightspeed.bitcoin import FEE_RATE_FLOOR, OutPoint, Tx, TxOut, p2wsh
from lightspeed.channel import StateError
from lightspeed.node.errors import ConsignmentRefused, InsufficientFunds, UnknownContract
from lightspeed.node.stash import TOKEN_CONTRACT_TABLE
from lightspeed.rgb import (
    Consignment,
    Genesis,
    GraphSeal,
    NotEnoughTokens,
    Opout,
    TokensWouldBurn,
)
from lightspeed.rgb.failures import ContractChainNetMismatch, SealNoPubWitness
from lightspeed.rgb.operation import ChainNet
from lightspeed.units import Sat
from token_world import TokenParty, TokenWorld, token_world

ELSEWHERE = p2wsh(b"\x51")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TokenWorld]:
    async with token_world(tmp_path) as world:
        yield world


@pytest.fixture
async def alice(world: TokenWorld) -> TokenParty:
    party = world.party("alice")
    await party.fund(100_000)
    return party


@pytest.fixture
async def bob(world: TokenWorld) -> TokenParty:
    return world.party("bob")


async def _give(alice: TokenParty, contract_id: bytes, seal: GraphSeal, amount: int) -> Consignment:
    """To a blinded seal of somebody else's; what convinces that one."""
    built = await alice.transfer(contract_id, (seal.conceal(), amount))
    sent = Opout(built.coloured.opid, 4000, 0)
    return alice.stash.consignment(contract_id, [sent], named=[seal.conceal()])


def _opouts(consignment: Consignment) -> list[Opout]:
    return [Opout(consignment.bundles[-1].bundle.known[0][0], 4000, 0)]


async def test_tokens_reach_another_stash_and_go_on_from_there(
    world: TokenWorld, alice: TokenParty, bob: TokenParty
) -> None:
    contract_id = await alice.issue(1_000)
    coin, _ = await bob.fund(2_000, 50_000)
    seal = GraphSeal(coin.txid, coin.vout, 7)
    consignment = await _give(alice, contract_id, seal, 300)
    with pytest.raises(ConsignmentRefused, match="not 1 blocks deep"):
        await bob.stash.check(consignment)
    txid = consignment.bundles[-1].txid
    await bob.stash.check(consignment, unmined=[txid])
    await world.mine()
    await bob.stash.check(consignment)
    bob.stash.take(consignment, _opouts(consignment))
    assert await bob.balance(contract_id) == 0  # the seal is still closed
    bob.stash.reveal(contract_id, [seal])
    assert await bob.balance(contract_id) == 300
    assert await alice.balance(contract_id) == 700

    alice.reopen()
    bob.reopen()
    assert (await bob.balance(contract_id), await alice.balance(contract_id)) == (300, 700)
    onward = await bob.transfer(
        contract_id, (1, 100), outputs=[TxOut(Sat(1_000), alice.wallet.new_script())]
    )
    await world.mine()
    back = bob.stash.consignment(contract_id, [onward.coloured.on_output(1)[0].opout])
    await alice.stash.check(back)
    alice.stash.take(back, _opouts(back))
    assert (await bob.balance(contract_id), await alice.balance(contract_id)) == (200, 800)


async def test_tokens_follow_their_transaction_out_of_the_chain_and_back(
    world: TokenWorld, alice: TokenParty
) -> None:
    contract_id = await alice.issue(1_000)
    built = await alice.transfer(
        contract_id, (1, 400), outputs=[TxOut(Sat(1_000), alice.wallet.new_script())]
    )
    assert (await alice.balance(contract_id), await alice.balance(contract_id, mined=False)) == (
        0,
        1_000,
    )
    await world.mine()
    assert await alice.balance(contract_id) == 1_000
    world.regtest.reorganise(1)
    found = await alice.stash.holdings(contract_id)
    assert {holding.mined for holding in found.values()} == {False}
    assert built.change is not None
    await world.mine(2)
    found = await alice.stash.holdings(contract_id)
    assert found[built.change.opout].mined
    assert found[built.change.opout].token.amount == 600


async def test_coin_with_tokens_pays_for_nothing_else(alice: TokenParty) -> None:
    contract_id = await alice.issue(1_000, sats=60_000)
    (holding,) = await alice.builder.holdings(contract_id)
    assert alice.wallet.balance().confirmed_sat == 160_000
    assert alice.wallet.spendable_sat() == 100_000
    with pytest.raises(InsufficientFunds):
        await alice.wallet.fund(ELSEWHERE, Sat(110_000), feerate_per_kw=FEE_RATE_FLOOR)
    with pytest.raises(InsufficientFunds):
        await alice.wallet.fee_spends(Sat(110_000), feerate_per_kw=FEE_RATE_FLOOR)
    assert await alice.wallet.small_coin(Sat(60_000)) is None
    tx = await alice.wallet.fund(ELSEWHERE, Sat(90_000), feerate_per_kw=FEE_RATE_FLOOR)
    assert holding.outpoint not in {txin.outpoint for txin in tx.inputs}


async def test_no_signature_for_a_transaction_that_burns(alice: TokenParty) -> None:
    """The gate at the signer, whatever chose the inputs."""
    contract_id = await alice.issue(1_000, 50)
    held = await alice.builder.holdings(contract_id)
    one, other = sorted(held, key=lambda holding: holding.token.amount)
    spends = alice.wallet.spends_of([one.outpoint])
    built = await alice.builder.transfer(
        contract_id,
        [(1, 1_050)],
        outputs=[TxOut(Sat(1_000), ELSEWHERE)],
        feerate_per_kw=FEE_RATE_FLOOR,
    )
    coloured = replace(
        built.coloured, transition=replace(built.coloured.transition, inputs=(other.token.opout,))
    )
    with pytest.raises(TokensWouldBurn):
        alice.builder.signed(coloured, spends, tokens=held)
    with pytest.raises(TokensWouldBurn):
        alice.builder.signed(built.coloured, spends, tokens=[])


async def test_everything_on_an_outpoint_moves(world: TokenWorld, alice: TokenParty) -> None:
    contract_id = await alice.issue(5, 500)
    (coin,) = await alice.fund(1_000)
    seals = [GraphSeal(coin.txid, coin.vout, number) for number in (1, 2)]
    with pytest.raises(TokensWouldBurn, match="spends an outpoint"):
        await alice.transfer(contract_id, (seals[0], 11))  # for it would take that as its fee
    alice.wallet.reserve([coin])
    await alice.transfer(contract_id, (seals[0], 5), (seals[1], 6))
    await world.mine()
    alice.wallet.release_coins([coin])
    built = await alice.transfer(
        contract_id, (1, 7), outputs=[TxOut(Sat(1_000), alice.wallet.new_script())]
    )
    assert len(built.inputs) == 2
    assert built.change is not None
    assert built.change.amount == 4
    await world.mine()
    assert await alice.balance(contract_id) == 505


async def test_reserved_and_unmined_tokens_are_not_spent_again(
    world: TokenWorld, alice: TokenParty
) -> None:
    contract_id = await alice.issue(100)
    output = TxOut(Sat(1_000), alice.wallet.new_script())

    async def transfer() -> object:
        return await alice.builder.transfer(
            contract_id, [(1, 30)], outputs=[output], feerate_per_kw=FEE_RATE_FLOOR
        )

    built = await alice.transfer(contract_id, (1, 30), outputs=[output])
    with pytest.raises(NotEnoughTokens):
        await transfer()
    await world.mine()
    assert await transfer()
    with pytest.raises(NotEnoughTokens):
        await alice.builder.transfer(
            contract_id, [(1, 71)], outputs=[output], feerate_per_kw=FEE_RATE_FLOOR
        )
    assert built.tx.txid


async def test_failure_to_pay_the_fee_frees_the_tokens(world: TokenWorld) -> None:
    poor = world.party("poor")
    contract_id = await poor.issue(100)
    with pytest.raises(InsufficientFunds):
        await poor.builder.transfer(
            contract_id,
            [(1, 30)],
            outputs=[TxOut(Sat(1_000), ELSEWHERE)],
            feerate_per_kw=FEE_RATE_FLOOR,
        )
    assert not poor.wallet.reserved()


async def test_foreign_chain_and_missing_witness_are_refused(
    alice: TokenParty, bob: TokenParty
) -> None:
    contract_id = await alice.issue(100)
    built = await alice.builder.transfer(
        contract_id,
        [(1, 30)],
        outputs=[TxOut(Sat(1_000), ELSEWHERE)],
        feerate_per_kw=FEE_RATE_FLOOR,
    )
    alice.stash.add(built.coloured.witness)
    consignment = alice.stash.consignment(contract_id, [built.coloured.on_output(1)[0].opout])
    with pytest.raises(SealNoPubWitness):
        await bob.stash.check(consignment)
    await bob.stash.check(consignment, unmined=[built.tx.txid])
    foreign: Genesis = replace(consignment.genesis, chain_net=ChainNet.BITCOIN_MAINNET)
    with pytest.raises(ContractChainNetMismatch):
        await bob.stash.check(Consignment(transfer=True, genesis=foreign))
    with pytest.raises(UnknownContract):
        bob.stash.history(contract_id)
    with pytest.raises(UnknownContract):
        bob.stash.add(built.coloured.witness)


async def test_nobody_freezes_a_coin_with_tokens_that_were_not_asked_for(
    alice: TokenParty, bob: TokenParty
) -> None:
    contract_id = await alice.issue(100)
    wanted, frozen = await bob.fund(1_000, 90_000)
    named = GraphSeal(wanted.txid, wanted.vout, 1)
    built = await alice.transfer(
        contract_id, (named, 30), (GraphSeal(frozen.txid, frozen.vout, 2), 1)
    )
    opouts = [Opout(built.coloured.opid, 4000, number) for number in (0, 1)]
    consignment = alice.stash.consignment(contract_id, opouts)
    await bob.stash.check(consignment, unmined=[built.tx.txid])
    bob.stash.take(consignment, opouts[:1])
    assert bob.stash.tokens_on(wanted)
    assert not bob.stash.tokens_on(frozen)
    assert bob.wallet.spendable_sat() == 90_000


async def test_two_contracts_do_not_meet_on_an_outpoint(alice: TokenParty, bob: TokenParty) -> None:
    """A transaction of ours moves tokens of one contract: the others would burn."""
    one, other = await alice.issue(100), await alice.issue(200)
    (coin,) = await bob.fund(1_000)

    async def give(contract_id: bytes) -> None:
        built = await alice.transfer(contract_id, (GraphSeal(coin.txid, coin.vout, 1), 30))
        opouts = [Opout(built.coloured.opid, 4000, 0)]
        bob.stash.take(alice.stash.consignment(contract_id, opouts), opouts)

    await give(one)
    with pytest.raises(ConsignmentRefused, match="another contract"):
        await give(other)
    assert bob.stash.contracts == (one,)


async def test_what_is_stored_before_a_crash_is_there_after_it(
    world: TokenWorld, alice: TokenParty
) -> None:
    contract_id = await alice.issue(100)
    built = await alice.builder.transfer(
        contract_id,
        [(1, 30)],
        outputs=[TxOut(Sat(1_000), ELSEWHERE)],
        feerate_per_kw=FEE_RATE_FLOOR,
    )
    alice.stash.add(built.coloured.witness)
    alice.reopen()
    assert await alice.balance(contract_id) == 100  # nothing was published
    await alice.publish(built.tx)
    await world.mine()
    assert await alice.balance(contract_id) == 70
    assert built.change is not None
    assert alice.stash.tokens_on(built.tx.outpoint(2)) == (built.change,)
    assert alice.stash.tokens_on(OutPoint(bytes(32), 0)) == ()


def _signatures(tx: Tx) -> set[bytes]:
    return {item for txin in tx.inputs for item in txin.witness}


async def test_consignment_shows_no_signature(alice: TokenParty) -> None:
    """Who has it before it is published must not be able to publish it."""
    contract_id = await alice.issue(100)
    built = await alice.builder.transfer(
        contract_id,
        [(1, 100)],
        outputs=[TxOut(Sat(1_000), ELSEWHERE)],
        feerate_per_kw=FEE_RATE_FLOOR,
    )
    alice.stash.add(replace(built.coloured.witness, witness=built.tx))
    data = alice.stash.consignment(contract_id, [built.coloured.on_output(1)[0].opout]).serialize()
    assert _signatures(built.tx)
    assert not any(signature in data for signature in _signatures(built.tx))


async def test_unreadable_contract_stops_the_node(alice: TokenParty) -> None:
    contract_id = await alice.issue(100)
    data = alice.store.get(TOKEN_CONTRACT_TABLE, contract_id)
    assert data is not None
    for broken in (b"\2" + data[1:], data[:-1], b""):
        alice.store.put(TOKEN_CONTRACT_TABLE, contract_id, broken)
        with pytest.raises(StateError):
            alice.reopen()

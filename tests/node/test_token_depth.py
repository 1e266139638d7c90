"""Attack: undo, with a block, a transaction that somebody else's tokens have come to rest on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lightspeed.bitcoin import FEE_RATE_FLOOR, TxOut
from lightspeed.node.errors import InsufficientFunds, NodeRefusal
from lightspeed.rgb import AssetSpec, NotEnoughTokens
from lightspeed.units import Sat
from token_world import TokenParty, TokenWorld, token_world

SPEC = AssetSpec(ticker="CALL", name="Calls")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TokenWorld]:
    async with token_world(tmp_path) as world:
        yield world


@pytest.fixture
async def careful(world: TokenWorld) -> TokenParty:
    party = world.party("careful", minimum_depth=3)
    await party.fund(100_000, 100_000)
    await world.mine(2)
    return party


async def pay(payer: TokenParty, payee: TokenParty, contract_id: bytes, amount: int) -> None:
    invoice = await payee.tokens.receiving.invoice()
    sent = await payer.tokens.sending.send(invoice.text, contract_id=contract_id, amount=amount)
    await payer.world.mine()
    await payee.tokens.receiving.accept(sent.consignment)


async def test_tokens_received_one_block_ago_are_no_input_beside_our_own(
    world: TokenWorld, careful: TokenParty
) -> None:
    """A double spend in one reorganised block would void the transition, our inputs with it."""
    contract_id = await careful.tokens.issue(SPEC, 1_000)
    await world.mine(3)
    thief = world.party("thief")
    await thief.fund(50_000)
    await pay(careful, thief, contract_id, 400)
    await world.mine(2)
    await pay(thief, careful, contract_id, 300)
    assert (await careful.tokens.balance(contract_id)).settled == 900

    for wait in ("2 more blocks", "1 more block"):
        with pytest.raises(NotEnoughTokens, match=f"600 can be spent: wait for {wait}$"):
            await careful.builder.pick(contract_id, 700)
        await world.mine()

    assert len(await careful.builder.pick(contract_id, 700)) == 2
    with pytest.raises(NotEnoughTokens, match=r"900 can be spent$"):
        await careful.builder.pick(contract_id, 901)


async def test_dust_that_a_stranger_sent_one_block_ago_gets_no_tokens(
    world: TokenWorld, careful: TokenParty
) -> None:
    (dust,) = await careful.fund(1_000)

    contract_id = await careful.tokens.issue(SPEC, 1_000)
    invoice = await careful.tokens.receiving.invoice(blinded=True)

    (held,) = await careful.builder.holdings(contract_id)
    seal = invoice.graph_seal
    assert seal is not None
    assert dust not in (held.outpoint, seal.outpoint(b""))
    await world.mine(2)
    assert await careful.tokens.receiving.seal_coin() == dust


async def test_coin_for_tokens_is_not_made_of_what_a_stranger_sent_one_block_ago(
    world: TokenWorld,
) -> None:
    """Undone with it, the coin would take the tokens along: an issue has no other place."""
    careful = world.party("careful", minimum_depth=3)
    await careful.fund(100_000)
    poor = (
        "^1000 sat are needed, 0 sat can be spent, and 100000 sat more when they are 3 blocks deep$"
    )
    for _ in range(2):
        with pytest.raises(InsufficientFunds, match=poor):
            await careful.tokens.issue(SPEC, 1_000)
        assert not careful.wallet.reserved()
        await world.mine()

    assert await careful.tokens.issue(SPEC, 1_000)


async def test_transfer_whose_coin_the_wallet_has_lost_is_not_built_without_it(
    careful: TokenParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract_id = await careful.tokens.issue(SPEC, 1_000)
    reserved = careful.wallet.reserved()
    monkeypatch.setattr(careful.wallet, "own_among", lambda _: [])
    with pytest.raises(NodeRefusal, match="the wallet has lost"):
        await careful.builder.transfer(
            contract_id,
            [(1, 1_000)],
            outputs=[TxOut(Sat(1_000), careful.wallet.new_script())],
            feerate_per_kw=FEE_RATE_FLOOR,
        )
    assert careful.wallet.reserved() == reserved

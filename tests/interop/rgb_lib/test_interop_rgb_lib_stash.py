"""Tokens go from rgb-lib's wallet into our stash and back, by invoices that either one wrote."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lightspeed.chain import EsploraChain
from lightspeed.rgb import AssetSpec, contract_id_text, parse_contract_id
from rgb_lib_world import RgbLibWallet, RgbLibWorld, rgb_lib_world
from token_world import TokenParty, TokenWorld

SPEC = AssetSpec(ticker="CALL", name="Calls", precision=2)


@asynccontextmanager
async def _both(folder: Path) -> AsyncIterator[tuple[RgbLibWorld, RgbLibWallet, TokenParty]]:
    """A wallet of rgb-lib, and one of ours with sats."""
    async with rgb_lib_world(folder) as world, EsploraChain(world.indexer_url) as chain:
        ours = TokenWorld(world.regtest, world.indexer_url, chain, folder, now=time.time())
        party = ours.party("ours")
        await party.fund(100_000)
        try:
            yield world, await world.wallet("theirs"), party
        finally:
            await party.tokens.stop()
            party.close()


async def _we_pay(
    world: RgbLibWorld,
    party: TokenParty,
    wallet: RgbLibWallet,
    *,
    asset_id: str,
    amount: int,
    witness: bool,
) -> None:
    """To an invoice of rgb-lib's, until it calls the tokens settled."""
    invoice = await wallet.invoice(witness=witness, amount=amount)
    sent = await party.tokens.sending.send(
        invoice.invoice, contract_id=parse_contract_id(asset_id), patience_seconds=0
    )
    assert sent.transfer.state == "waiting"
    await wallet.refresh()
    await party.tokens.look()
    (transfer,) = [t for t in party.tokens.sending.all() if t.txid == sent.transfer.txid]
    assert transfer.state == "published"
    await party.world.mine()
    await wallet.refresh()
    assert await wallet.status(invoice.recipient_id) == "SETTLED"


async def _they_pay(
    world: RgbLibWorld,
    party: TokenParty,
    wallet: RgbLibWallet,
    *,
    asset_id: str,
    amount: int,
    witness: bool,
) -> None:
    """To an invoice of ours, which rgb-lib reads."""
    record = await party.tokens.receiving.invoice(
        amount=amount, blinded=not witness, endpoints=(world.proxy.endpoint,)
    )
    await party.world.mine()
    read = world.rgb_lib.Invoice(record.text).invoice_data()
    assert read.recipient_id == record.invoice.recipient_id
    assert read.transport_endpoints == [world.proxy.endpoint]
    await wallet.pay(read.recipient_id, asset_id=asset_id, amount=amount)
    await party.tokens.look()
    await wallet.refresh()
    await party.world.mine()
    await wallet.refresh()
    assert await wallet.status(read.recipient_id) == "SETTLED"
    (paid,) = [each for each in party.tokens.receiving.all() if each.text == record.text]
    assert (paid.received, paid.reason) == (amount, None)


@pytest.mark.parametrize("witness", [False, True], ids=["blinded", "witness"])
async def test_token_of_rgb_lib_passes_through_our_stash(tmp_path: Path, witness: bool) -> None:
    async with _both(tmp_path) as (world, wallet, party):
        asset_id = await wallet.issue(1_000)
        move = {"asset_id": asset_id, "witness": witness}
        await _they_pay(world, party, wallet, amount=300, **move)
        assert (await party.tokens.balance(parse_contract_id(asset_id))).settled == 300
        await _we_pay(world, party, wallet, amount=120, **move)
        assert await wallet.balance(asset_id) == (820, 820)
        assert (await party.tokens.balance(parse_contract_id(asset_id))).settled == 180
        other = await world.wallet("other")
        invoice = await other.invoice()
        await world.transfer(wallet, other, invoice, asset_id=asset_id, amount=820)
        assert await other.balance(asset_id) == (820, 820)


@pytest.mark.parametrize("witness", [False, True], ids=["blinded", "witness"])
async def test_token_of_ours_passes_through_rgb_lib(tmp_path: Path, witness: bool) -> None:
    async with _both(tmp_path) as (world, wallet, party):
        contract_id = await party.tokens.issue(SPEC, 1_000)
        await party.world.mine()
        asset_id = contract_id_text(contract_id)
        move = {"asset_id": asset_id, "witness": witness}
        await _we_pay(world, party, wallet, amount=400, **move)
        assert await wallet.balance(asset_id) == (400, 400)
        await _they_pay(world, party, wallet, amount=150, **move)
        assert await wallet.balance(asset_id) == (250, 250)
        assert (await party.tokens.balance(contract_id)).settled == 750

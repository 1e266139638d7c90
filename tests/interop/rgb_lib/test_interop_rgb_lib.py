"""Tokens that rgb-lib issues and moves, as our engine sees them."""

from pathlib import Path

import pytest

from lightspeed.bitcoin import txid_from_hex
from lightspeed.rgb import Consignment, parse_contract_id
from rgb_lib_world import named, rgb_lib_world

SUPPLY = 1_000


@pytest.mark.parametrize("witness", [False, True], ids=["blinded", "witness"])
async def test_consignments_of_rgb_lib_are_valid_and_re_encode(
    tmp_path: Path, witness: bool
) -> None:
    async with rgb_lib_world(tmp_path) as world:
        issuer, payee = await world.wallet("issuer"), await world.wallet("payee")
        asset_id = await issuer.issue(SUPPLY)
        invoice = await payee.invoice(witness=witness)
        posted = await world.transfer(issuer, payee, invoice, asset_id=asset_id, amount=100)

        validated = world.judge(posted.consignment)

        assert validated.contract_id == parse_contract_id(asset_id)
        received = validated.revealed if witness else validated.concealed
        assert 100 in [each.amount for each in received.values()]
        if witness:
            assert posted.vout in [
                each.outpoint.vout
                for each in validated.revealed.values()
                if each.outpoint.txid == txid_from_hex(posted.txid)
            ]
        else:
            ((_, seals),) = Consignment.parse(posted.consignment).terminals
            assert seals == (named(invoice),)
        back = await issuer.invoice(asset_id=asset_id, amount=30)
        await world.transfer(payee, issuer, back, asset_id=asset_id, amount=30)
        assert await payee.balance(asset_id) == (70, 70)
        assert await issuer.balance(asset_id) == (SUPPLY - 70, SUPPLY - 70)


async def test_tokens_that_share_a_coin_move_together(tmp_path: Path) -> None:
    """One transaction commits to the bundles of two contracts, which share a tree."""
    async with rgb_lib_world(tmp_path) as world:
        issuer = await world.wallet("issuer", coins=1)
        payee = await world.wallet("payee")
        first, second = await issuer.issue(SUPPLY), await issuer.issue(2 * SUPPLY)
        for asset_id in (first, second):
            invoice = await payee.invoice()
            posted = await world.transfer(issuer, payee, invoice, asset_id=asset_id, amount=10)
            history = Consignment.parse(posted.consignment).bundles
            assert world.judge(posted.consignment).contract_id == parse_contract_id(asset_id)
        assert len(history) == 2  # the second token moved when the first one was sent
        assert await issuer.balance(first) == (SUPPLY - 10, SUPPLY - 10)
        assert await issuer.balance(second) == (2 * SUPPLY - 10, 2 * SUPPLY - 10)

"""Histories that our engine writes: rgb-lib takes them and spends what they hand over."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import OutPoint, txid_from_hex
from lightspeed.rgb import (
    ChainNet,
    Destination,
    GraphSeal,
    TokenInvoice,
    WitnessOutput,
    transfer,
)
from lightspeed.units import Sat
from rgb_lib_world import (
    RgbLibWallet,
    RgbLibWorld,
    named,
    rgb_lib_world,
    script_of,
)
from rgb_token import OPEN_P2TR, OPEN_P2WSH, Move, Token, sealed


async def settle(world: RgbLibWorld, payee: RgbLibWallet, invoice: Any, move: Move) -> None:
    """Acknowledged before it is published, settled once it is mined."""
    await payee.refresh()
    assert world.proxy.acks[invoice.recipient_id]
    world.regtest.broadcast(move.tx)
    world.regtest.mine()
    await payee.refresh()
    assert await payee.status(invoice.recipient_id) == "SETTLED"


async def spend_all(
    world: RgbLibWorld, payee: RgbLibWallet, third: RgbLibWallet, token: Token
) -> None:
    """To somebody who sees the token for the first time."""
    amount, _ = await payee.balance(token.asset_id)
    onward = await third.invoice()
    await world.transfer(payee, third, onward, asset_id=token.asset_id, amount=amount)
    assert await third.balance(token.asset_id) == (amount, amount)


async def test_token_of_ours_is_received_and_spent_again(tmp_path: Path) -> None:
    async with rgb_lib_world(tmp_path) as world:
        payee, third = await world.wallet("payee"), await world.wallet("third")
        token = Token.issue(world.regtest, 600, 400)
        invoice = await payee.invoice(amount=900)
        paid = token.move(
            [token.issued(0), token.issued(1)],
            [(1, 100), (named(invoice), 900)],
            closes=token.coins,
        )
        world.post(invoice, token.consignment(paid, to=named(invoice)))
        await settle(world, payee, invoice, paid)
        assert await payee.balance(token.asset_id) == (900, 900)
        await spend_all(world, payee, third, token)


LOCKS, LOCK_AMOUNT = 1_000, 5
REDEEMED = range(0, 900, 3)
CLAIMED = LOCK_AMOUNT * len(REDEEMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Its transactions, before any is published."""

    funding: Move
    commitment: Move
    child: Move


def channel(token: Token) -> Channel:
    """10,000 units: 2,000 and 3,000 to the sides, and 5,000 to a scheme output."""
    funding = token.move([token.issued(0)], [(1, 10_000)], closes=[token.coins[0]])
    commitment = token.move(
        funding.on_output(1),
        [(1, 2_000), (3, 3_000), (2, LOCKS * LOCK_AMOUNT)],
        closes=[funding.tx.outpoint(1)],
        outputs=[OPEN_P2WSH, OPEN_P2TR, OPEN_P2WSH],
    )
    child = token.move(
        commitment.on_output(2),
        [(sealed(1), LOCK_AMOUNT) for _ in range(LOCKS)],
        closes=[commitment.tx.outpoint(2), token.coin()],
    )
    return Channel(funding=funding, commitment=commitment, child=child)


def claim(token: Token, child: Move, to: Destination, *, script: bytes = OPEN_P2WSH) -> Move:
    """Of the redeemed locks; the others are lost."""
    locks = child.on_output(1)
    return token.move(
        [locks[number] for number in REDEEMED],
        [(to, CLAIMED)],
        closes=[token.coin(), child.tx.outpoint(1)],
        outputs=[OPEN_P2TR, script],
    )


@pytest.mark.parametrize("witness", [False, True], ids=["blinded", "witness"])
async def test_claim_below_commitment_and_child_is_received_and_spent_again(
    tmp_path: Path, witness: bool
) -> None:
    """A thousand concealed seals in one transition, coins without tokens, P2TR after the opret."""
    async with rgb_lib_world(tmp_path) as world:
        payee, third = await world.wallet("payee"), await world.wallet("third")
        token = Token.issue(world.regtest, 10_000)
        made = channel(token)
        invoice = await payee.invoice(witness=witness)
        if witness:
            claimed = claim(token, made.child, sealed(2), script=script_of(invoice))
            world.post(invoice, token.consignment(claimed, to=2), vout=2)
        else:
            claimed = claim(token, made.child, named(invoice))
            world.post(invoice, token.consignment(claimed, to=named(invoice)))
        for move in (made.funding, made.commitment, made.child):
            world.regtest.broadcast(move.tx)
        await payee.refresh()  # nothing is said as long as a parent is not mined
        assert await payee.status(invoice.recipient_id) == "WAITING_SAFE_HEIGHT"
        assert world.proxy.acks == {}
        world.regtest.mine()
        await settle(world, payee, invoice, claimed)
        assert await payee.balance(token.asset_id) == (CLAIMED, CLAIMED)
        await spend_all(world, payee, third, token)


async def test_histories_that_reveal_different_seals_of_one_commitment_merge(
    tmp_path: Path,
) -> None:
    """Of a commitment each shows one branch only, and none another transition beside it."""
    async with rgb_lib_world(tmp_path) as world:
        payee, third = await world.wallet("payee"), await world.wallet("third")
        token = Token.issue(world.regtest, 6_000, 4_000)
        other = transfer(
            contract_id=token.contract_id,
            inputs=[token.issued(1).opout],
            allocations=[(sealed(1), 4_000)],
        )
        amounts = (1_000, 2_000, 3_000)
        commitment = token.move(
            [token.issued(0)],
            list(enumerate(amounts, 1)),
            closes=token.coins,
            outputs=[OPEN_P2WSH] * len(amounts),
            beside=[other],
        )
        world.regtest.broadcast(commitment.tx)
        world.regtest.mine()
        for vout in range(1, len(amounts) + 1):
            invoice = await payee.invoice()
            swept = token.move(
                commitment.on_output(vout),
                [(named(invoice), amounts[vout - 1])],
                closes=[commitment.tx.outpoint(vout)],
            )
            world.post(invoice, token.consignment(swept, to=named(invoice)))
            await settle(world, payee, invoice, swept)
            assert await payee.balance(token.asset_id) == (sum(amounts[:vout]),) * 2
        await spend_all(world, payee, third, token)


@pytest.mark.parametrize("witness", [False, True], ids=["blinded", "witness"])
async def test_token_of_rgb_lib_passes_through_our_hands(tmp_path: Path, witness: bool) -> None:
    """From a wallet of rgb-lib to a coin of ours, through a commitment, and to another wallet."""
    async with rgb_lib_world(tmp_path) as world:
        issuer, payee = await world.wallet("issuer"), await world.wallet("payee")
        asset_id = await issuer.issue(1_000)
        coin = world.regtest.fund(OPEN_P2WSH, Sat(50_000)).outpoint(0)
        world.regtest.mine()
        ours = None if witness else GraphSeal(coin.txid, coin.vout, 77)
        beneficiary = ours.conceal() if ours else WitnessOutput(OPEN_P2WSH)
        asked = TokenInvoice(beneficiary=beneficiary, chain_net=ChainNet.BITCOIN_REGTEST)
        recipient_id = asked.recipient_id
        txid = await issuer.pay(recipient_id, asset_id=asset_id, amount=700)
        posted = world.proxy.posted[recipient_id]
        world.judge(posted.consignment)
        world.proxy.acks[recipient_id] = True
        await issuer.refresh()  # publishes
        world.regtest.mine()
        await issuer.refresh()
        assert await issuer.status(recipient_id) == "SETTLED"

        token = Token.received(world.regtest, posted.consignment, ours)
        assert token.asset_id == asset_id
        held = coin if posted.vout is None else OutPoint(txid_from_hex(txid), posted.vout)
        commitment = token.move(
            [token.handed_over(held)],
            [(1, 300), (2, 400)],
            closes=[held, token.coin()],
            outputs=[OPEN_P2WSH, OPEN_P2TR],
        )
        world.regtest.broadcast(commitment.tx)
        world.regtest.mine()
        for wallet, vout in ((payee, 1), (issuer, 2)):
            invoice = await wallet.invoice()
            ((tokens,), closed) = commitment.on_output(vout), commitment.tx.outpoint(vout)
            swept = token.move([tokens], [(named(invoice), tokens.amount)], closes=[closed])
            world.post(invoice, token.consignment(swept, to=named(invoice)))
            await settle(world, wallet, invoice, swept)
        assert await payee.balance(asset_id) == (300, 300)
        assert await issuer.balance(asset_id) == (700, 700)

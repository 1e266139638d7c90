"""Histories that our engine writes, and rgb-lib has to take and spend."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import p2tr, txid_hex
from lightspeed.rgb import ASSET_OWNER, GraphSeal, SecretSeal, parse_secret_seal
from rgb_lib_world import RgbLibWallet, RgbLibWorld, rgb_lib_world
from rgb_proxy import Posted
from rgb_token import OPEN_P2TR, OPEN_P2WSH, Move, Token, seal


def hand_over(
    world: RgbLibWorld, token: Token, last: Move, invoice: Any, *, vout: int | None = None
) -> None:
    """Through the proxy; `vout` for an invoice of a witness output."""
    if vout is None:
        consignment = token.consignment(last, to=named(invoice))
    else:
        owned = last.transition.assignments.of_type(ASSET_OWNER)
        shown = [n for n, each in enumerate(owned) if getattr(each.seal, "vout", None) == vout]
        consignment = token.consignment(last, shown=shown)
    world.proxy.post(
        Posted(
            recipient_id=invoice.recipient_id,
            consignment=consignment,
            txid=txid_hex(last.tx.txid),
            vout=vout,
        )
    )


async def settle(world: RgbLibWorld, payee: RgbLibWallet, invoice: Any, *moves: Move) -> None:
    """Acknowledged before it is published, settled once it is mined."""
    await payee.refresh()
    assert world.proxy.acks[invoice.recipient_id]
    for move in moves:
        world.regtest.broadcast(move.tx)
    world.regtest.mine()
    await payee.refresh()
    assert await payee.status(invoice) == "SETTLED"


async def spend(world: RgbLibWorld, payee: RgbLibWallet, third: RgbLibWallet, token: Token) -> None:
    """Everything, to somebody who sees the token for the first time."""
    amount, _ = await payee.balance(token.asset_id)
    onward = await third.invoice()
    await world.transfer(payee, third, onward, asset_id=token.asset_id, amount=amount)
    assert await third.balance(token.asset_id) == (amount, amount)


def named(invoice: Any) -> SecretSeal:
    return parse_secret_seal(invoice.recipient_id.removeprefix("bcrt:"))


def script_of(invoice: Any) -> bytes:
    """That a witness output has to pay: a wallet of rgb-lib uses P2TR."""
    letters = invoice.recipient_id.removeprefix("bcrt:wvout:").replace("-", "")
    kind, *output_key = base64.b64decode(letters.replace("~", "/") + "==", altchars=b"_/")[:33]
    assert kind == 5
    return p2tr(bytes(output_key))


async def test_token_of_ours_is_received_and_spent_again(tmp_path: Path) -> None:
    async with rgb_lib_world(tmp_path) as world:
        payee, third = await world.wallet("payee"), await world.wallet("third")
        token = Token.issue(world.regtest, 600, 400)
        invoice = await payee.invoice(amount=900)
        paid = token.move(
            [token.issued(0), token.issued(1)],
            [(seal(1), 100), (named(invoice), 900)],
            closes=token.coins,
        )
        hand_over(world, token, paid, invoice)
        await settle(world, payee, invoice, paid)
        assert await payee.balance(token.asset_id) == (900, 900)
        await spend(world, payee, third, token)


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
    """10,000 units: 3,000 to each side, and 4,000 to a scheme output with the rest as a refund."""
    funding = token.move([token.issued(0)], [(seal(1), 10_000)], closes=[token.coins[0]])
    commitment = token.move(
        [funding.opout(0)],
        [(seal(1), 2_000), (seal(3), 3_000), (seal(2), LOCKS * LOCK_AMOUNT)],
        closes=[funding.outpoint(1)],
        outputs=[OPEN_P2WSH, OPEN_P2TR, OPEN_P2WSH],
    )
    child = token.move(
        [commitment.opout(2)],
        [(seal(1), LOCK_AMOUNT) for _ in range(LOCKS)],
        closes=[commitment.outpoint(2), token.coin()],
    )
    return Channel(funding=funding, commitment=commitment, child=child)


def claim(
    token: Token, child: Move, to: GraphSeal | SecretSeal, *, script: bytes = OPEN_P2WSH
) -> Move:
    """Of the redeemed locks; the others are lost."""
    return token.move(
        [child.opout(number) for number in REDEEMED],
        [(to, CLAIMED)],
        closes=[token.coin(), child.outpoint(1)],
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
            claimed = claim(token, made.child, seal(2), script=script_of(invoice))
            hand_over(world, token, claimed, invoice, vout=2)
        else:
            claimed = claim(token, made.child, named(invoice))
            hand_over(world, token, claimed, invoice)
        for move in (made.funding, made.commitment, made.child):
            world.regtest.broadcast(move.tx)
            world.regtest.mine()
        await settle(world, payee, invoice, claimed)
        assert await payee.balance(token.asset_id) == (CLAIMED, CLAIMED)
        await spend(world, payee, third, token)

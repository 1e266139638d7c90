"""Weight and fee of everything that a close mines are what was computed before it was signed.

Expected weights are worked out here from the bytes that BOLT 3 and docs/protocol.md give, not by
the code that computes them. ECDSA signatures are up to 72 bytes long; transactions are paid for
as if each were, and BOLT 3's commitments as if each had 73.
"""

from pathlib import Path

import pytest

from closing_books import CHILD_FEERATE, DELAY, FEERATE, LOCKS, BookWorld, book_world
from closing_world import closing_world, set_fee_rate
from lightspeed.bitcoin import Tx
from lightspeed.channel import Side
from lightspeed.node.own_transactions import OwnTransaction
from lightspeed.payment import Scheme

INPUT_WEIGHTS = {
    # Item count, then each item behind its length; a P2TR key path has one signature.
    "claim": 4 * 41 + 1 + (1 + 32) + (1 + 64) + (1 + 73) + (1 + 65),
    "lock refund": 4 * 41 + 1 + (1 + 64) + (1 + 35 + 2) + (1 + 65),
    "LSF penalty": 4 * 41 + 1 + (1 + 64),
    "paid locks": 4 * 41 + 1 + (1 + 64),
    "unpaid locks": 4 * 41 + 1 + (1 + 64),
}
"""docs/protocol.md, "Scripts" and "Transactions"; the refund delay here takes two bytes."""


def ecdsa_signatures(tx: Tx) -> list[bytes]:
    return [
        item
        for spending in tx.inputs
        for item in spending.witness
        if 67 <= len(item) <= 73 and item[0] == 0x30 and item[1] == len(item) - 3
    ]


def longest(tx: Tx, *, signature_size: int = 72) -> int:
    """Its weight with signatures as long as that."""
    return tx.weight + sum(signature_size - len(found) for found in ecdsa_signatures(tx))


def frame(*, inputs: int, output_scripts: tuple[int, ...]) -> int:
    """Of a transaction without its witnesses; sizes of scriptPubKeys."""
    assert inputs < 253
    assert len(output_scripts) < 253
    return 4 * (4 + 1 + 41 * inputs + 1 + sum(9 + size for size in output_scripts) + 4) + 2


def check_commitment(books: BookWorld, tx: Tx, *, htlcs: int, dust_msat: int) -> None:
    """BOLT 3, Appendix A: 1,124 + 172 for each HTLC; docs/protocol.md: 172 for each book."""
    assert len(ecdsa_signatures(tx)) == 2
    computed = 1_124 + 172 * htlcs + 172 * len(books.books)
    # BOLT 3 counts three bytes for the number of outputs and 73 for a signature.
    assert longest(tx, signature_size=73) + 4 * 2 == computed
    assert books.fee_sat(tx) == computed * FEERATE // 1_000 + dust_msat // 1_000


def child_weight(scheme: Scheme, lock: int, *, delay: int) -> int:
    """docs/protocol.md, "Transactions": nothing is settled; delays up to 16 take one byte."""
    assert delay <= 16
    if scheme is Scheme.OUTPUTS:
        scripts = (34,) * LOCKS + (4,)  # P2TR, P2A
        script, control = 108 + 1, 33 + 32
    else:
        scripts = (34,) * (1 if lock == LOCKS else 2) + (4,)
        script, control = 108 + 1, 33 + 32 * 4  # of 13 leaves 8 are left; then 4, and the refund
    witness = 1 + (1 + 32) + 2 * (1 + 64) + (1 + script) + (1 + control)
    return frame(inputs=1, output_scripts=scripts) + witness


def check_child(books: BookWorld, own: OwnTransaction, scheme: Scheme, *, delay: int) -> None:
    """The LSF holds the fee of the heaviest child with the longer delay."""
    highest = 7 if scheme is Scheme.OUTPUTS else 5
    assert own.tx.weight == child_weight(scheme, highest, delay=delay)
    heaviest = child_weight(scheme, 1, delay=DELAY)
    assert books.fee_sat(own.tx) == own.fee_sat == heaviest * CHILD_FEERATE // 1_000


def check_sweep(books: BookWorld, own: OwnTransaction) -> None:
    """What was asked for is paid for the transaction as heavy as it could have become."""
    assert books.fee_sat(own.tx) == own.fee_sat
    assert own.fee_sat == longest(own.tx) * own.feerate_per_kw // 1_000
    if own.purpose in INPUT_WEIGHTS:
        inputs = len(own.tx.inputs)
        (output,) = own.tx.outputs
        weight = frame(inputs=inputs, output_scripts=(len(output.script),))
        assert longest(own.tx) == weight + inputs * (INPUT_WEIGHTS[own.purpose] - 4 * 41)


def check_bump(books: BookWorld, own: OwnTransaction) -> None:
    """It pays for its parent and itself what its fee rate asks of both."""
    (parent,) = {
        info.tx
        for spending in own.tx.inputs
        if (info := books.world.regtest.transaction(spending.outpoint.txid)) is not None
        and own.purpose.removeprefix("fee of ") in purposes_of(books, info.tx)
    }
    assert books.fee_sat(own.tx) == own.fee_sat
    missing = parent.weight * own.feerate_per_kw // 1_000 - books.fee_sat(parent)
    own_part = longest(own.tx) * own.feerate_per_kw // 1_000
    assert own.fee_sat == own_part + max(0, missing)


def purposes_of(books: BookWorld, tx: Tx) -> set[str]:
    known = {own.purpose for _, own in books.mined() if own.tx.txid == tx.txid}
    funding = books.world.funder.node.channel.state.config.funding_outpoint
    return known | ({"commitment"} if tx.inputs[0].outpoint == funding else set())


def check_all(books: BookWorld, *, delay: int = 0) -> set[str]:
    """Every transaction that either side published; the purposes that were there."""
    seen = set()
    for _, own in books.mined():
        seen |= set(own.purpose.split(", "))
        if own.purpose == "micropayments":
            check_child(books, own, Scheme.OUTPUTS, delay=delay)
        elif own.purpose == "settlement":
            check_child(books, own, Scheme.LADDER, delay=delay)
        elif own.purpose.startswith("fee of"):
            check_bump(books, own)
        elif own.purpose != "commitment":
            check_sweep(books, own)
    return seen


@pytest.mark.parametrize("sat_per_vbyte", [1, 20])
@pytest.mark.parametrize("broadcaster", ["payer", "payee"])
async def test_close_with_books_and_htlcs(
    tmp_path: Path, broadcaster: str, sat_per_vbyte: int
) -> None:
    async with book_world(tmp_path) as books:
        books.offer_htlcs()
        books.pay(1, 2, 3, 5)
        set_fee_rate(books.world, sat_per_vbyte)
        tx = books.party(broadcaster).node.channel.holder_commitment_tx()
        books.world.publish(tx)
        await books.world.run(blocks=90)
        check_commitment(books, tx, htlcs=4, dust_msat=200_000)
        seen = check_all(books, delay=1 if broadcaster == "payer" else DELAY)
        assert seen >= {"HTLC success", "HTLC timeout", "own HTLC", "own balance", "lock refund"}
        assert seen >= {"micropayments", "settlement", "paid locks", "unpaid locks"}
        assert ("claim" if sat_per_vbyte == 1 else "fee of micropayments") in seen


async def test_refund_of_whole_books(tmp_path: Path) -> None:
    """A commitment that its own side pays for, from the wallet."""
    async with book_world(tmp_path) as books:
        payer = books.party("payer")
        channel = payer.node.channel
        channel.fail("enough", at_fault=Side.COUNTERPARTY)
        set_fee_rate(books.world, 30)
        books.party("payee").save()
        await payer.step()
        books.world.regtest.mine()
        set_fee_rate(books.world, 1)
        await books.world.run(blocks=90)
        check_commitment(books, channel.holder_commitment_tx(), htlcs=0, dust_msat=0)
        assert check_all(books) >= {"LSF refund", "own balance", "fee of commitment"}


@pytest.mark.parametrize("cheater", ["payer", "payee"])
async def test_penalties(tmp_path: Path, cheater: str) -> None:
    async with book_world(tmp_path) as books:
        books.offer_htlcs()
        tx = books.world.make_revoked(books.party(cheater))
        books.world.publish(tx)
        await books.world.run(blocks=90)
        check_commitment(books, tx, htlcs=4, dust_msat=200_000)
        assert check_all(books) >= {"penalty", "LSF penalty"}


async def test_cooperative_close(tmp_path: Path) -> None:
    async with closing_world(tmp_path) as world:
        books = BookWorld(world, {})
        world.funder.node.run(world.funder.node.channel.shutdown())
        world.pair.settle()
        tx: Tx = world.funder.node.published[-1]
        world.publish(tx)
        scripts = tuple(len(output.script) for output in tx.outputs)
        witness = 1 + 1 + 2 * (1 + 73) + (1 + 71)
        computed = frame(inputs=1, output_scripts=scripts) + witness
        assert longest(tx, signature_size=73) == computed
        assert books.fee_sat(tx) == computed * FEERATE // 1_000

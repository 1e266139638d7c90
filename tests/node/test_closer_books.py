"""Closing a channel with an open book: what was paid goes to the payee, the rest to the payer.

The funder is the payer. Expected amounts are worked out from the book and the channel's fees.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from closing_world import FUNDING_SAT, PUSH_SAT, Party, World, closing_world, set_fee_rate
from lightspeed.bitcoin import FeeRate, Tx, TxIn, TxOut, p2wsh
from lightspeed.channel.commitment import commitment_fee
from lightspeed.lsf.scripts import LSF_OUTPUT_WEIGHT
from lightspeed.node.closing import CloseKind, CloseState
from lightspeed.payment import SecretBook
from lightspeed.units import Sat
from lsf_pair import open_book, open_lsf_pair, secret_book
from lsf_world import book_terms

LOCKS, LOCK_SAT = 12, 1_000
REFUND_DELAY_BLOCKS = 17
COST_SAT = 660 + commitment_fee(
    feerate_per_kw=FeeRate(1_000),
    untrimmed_htlcs=0,
    anchors=True,
    extension_weight=LSF_OUTPUT_WEIGHT,
)


@dataclass
class BookWorld:
    world: World
    secret: SecretBook

    @property
    def payer(self) -> Party:
        return self.world.funder

    @property
    def payee(self) -> Party:
        return self.world.fundee

    @property
    def lsf_sat(self) -> int:
        """In the LSF; the payer's balance paid it."""
        channel = self.payer.node.channel
        book = channel.state.extension_states["lsf"].books[self.secret.book.book_id]
        return book.amount_sat(settled=0)

    def pay(self, *locks: int) -> None:
        secrets = {lock: self.secret.lock_secret(lock) for lock in locks}
        self.payee.lock_secrets.setdefault(self.secret.book.book_id, {}).update(secrets)

    def purposes(self, party: Party) -> set[str]:
        return {tx.purpose for tx in party.progress.transactions if tx.ours}

    async def check_owed(self, *, payer_sat: int, payee_sat: int) -> None:
        assert await self.payer.gained_sat() + self.payer.fees_sat == payer_sat
        # The LSF holds the micropayment transaction's fee, and the P2A is nobody's.
        child_sat = sum(
            tx.fee_sat for tx in self.payee.progress.transactions if tx.purpose == "micropayments"
        )
        own_fees_sat = self.payee.fees_sat - child_sat
        assert await self.payee.gained_sat() + own_fees_sat == payee_sat


@asynccontextmanager
async def book_world(
    folder: Path, *, locks: int = LOCKS, safe_depth: int = 3
) -> AsyncIterator[BookWorld]:
    async with closing_world(folder, opened=open_lsf_pair, safe_depth=safe_depth) as world:
        terms = book_terms(
            locks=locks, lock_amount=LOCK_SAT, refund_delay_blocks=REFUND_DELAY_BLOCKS
        )
        secret = secret_book(world.pair, terms)
        open_book(world.pair, secret)
        yield BookWorld(world, secret)


@pytest.mark.parametrize("broadcaster", ["payer", "payee"])
async def test_paid_locks_are_claimed_and_the_rest_refunded(
    tmp_path: Path, broadcaster: str
) -> None:
    async with book_world(tmp_path) as books:
        books.pay(1, 2, 3, 4, 7)
        party: Party = getattr(books, broadcaster)
        books.world.publish(party.node.channel.holder_commitment_tx())
        await books.world.run(blocks=80)
        assert {"micropayments", "claim"} <= books.purposes(books.payee)
        assert "lock refund" in books.purposes(books.payer)
        await books.check_owed(
            payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT - books.lsf_sat + 7 * LOCK_SAT,
            payee_sat=PUSH_SAT + 5 * LOCK_SAT,
        )


@pytest.mark.parametrize("broadcaster", ["payer", "payee"])
async def test_unpaid_book_is_refunded_whole(tmp_path: Path, broadcaster: str) -> None:
    async with book_world(tmp_path) as books:
        party: Party = getattr(books, broadcaster)
        books.world.publish(party.node.channel.holder_commitment_tx())
        await books.world.run(blocks=80)
        assert any("LSF refund" in purpose for purpose in books.purposes(books.payer))
        assert "micropayments" not in books.purposes(books.payee)
        await books.check_owed(payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT, payee_sat=PUSH_SAT)


@pytest.mark.parametrize("cheater_name", ["payer", "payee"])
async def test_lsf_of_a_revoked_commitment_is_taken_by_key_path(
    tmp_path: Path, cheater_name: str
) -> None:
    async with book_world(tmp_path) as books:
        books.pay(1, 2)
        cheater: Party = getattr(books, cheater_name)
        victim = books.world.other(cheater)
        books.world.publish(books.world.make_revoked(cheater))
        await books.world.run(blocks=80)
        assert victim.progress.kind is CloseKind.REVOKED
        lsf = [tx for tx in victim.progress.transactions if "LSF penalty" in tx.purpose]
        assert [tx.confirmed_height for tx in lsf] == [victim.progress.confirmed_height + 1]
        assert await victim.gained_sat() + victim.fees_sat == FUNDING_SAT - COST_SAT
        assert await cheater.gained_sat() + cheater.fees_sat == 0


async def test_claims_survive_restarts_and_reorganisations(tmp_path: Path) -> None:
    async with book_world(tmp_path, safe_depth=6) as books:
        books.pay(1, 2, 3, 5)
        books.world.publish(books.payer.node.channel.holder_commitment_tx())

        def disturb(block: int) -> None:
            if block in (2, 5, 9, 28):
                books.world.regtest.reorganise(2 + block % 2)
            elif block % 5 == 0:
                for party in books.world.parties:
                    party.stop()
                    party.start()

        await books.world.run(blocks=100, each=disturb)
        await books.check_owed(
            payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT - books.lsf_sat + 8 * LOCK_SAT,
            payee_sat=PUSH_SAT + 4 * LOCK_SAT,
        )


async def test_secrets_that_arrive_late_are_claimed_too(tmp_path: Path) -> None:
    """The ledger's last redeemed secrets reach the node while the close is on its way."""
    async with book_world(tmp_path) as books:
        books.pay(1)
        books.world.publish(books.payer.node.channel.holder_commitment_tx())
        for _ in range(3):
            await books.payee.step()
            books.world.regtest.mine()
        assert "claim" in books.purposes(books.payee)
        books.pay(2, 3)
        await books.world.run(blocks=80)
        await books.check_owed(
            payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT - books.lsf_sat + 9 * LOCK_SAT,
            payee_sat=PUSH_SAT + 3 * LOCK_SAT,
        )
        assert books.payee.progress.state is CloseState.DONE


async def test_micropayment_transaction_is_lifted_to_the_fee_rate(tmp_path: Path) -> None:
    async with book_world(tmp_path) as books:
        books.pay(1, 2, 3)
        regtest = books.world.regtest
        books.world.publish(books.payer.node.channel.holder_commitment_tx())
        set_fee_rate(books.world, 25)
        await books.payee.step()
        (child,) = [own.tx for own in books.payee.remembered() if own.purpose == "micropayments"]
        (bump,) = regtest.mempool.children(child.txid)
        entries = [regtest.mempool.get(txid) for txid in (child.txid, bump)]
        rate = sum(entry.fee for entry in entries) / sum(entry.vsize for entry in entries)
        assert rate == pytest.approx(25, rel=0.02)
        set_fee_rate(books.world, 1)
        await books.world.run(blocks=80)
        await books.check_owed(
            payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT - books.lsf_sat + 9 * LOCK_SAT,
            payee_sat=PUSH_SAT + 3 * LOCK_SAT + 240,
        )


async def test_stranger_on_the_p2a_is_outbid(tmp_path: Path) -> None:
    """A low child of a stranger must not hold the payee's money back."""
    async with book_world(tmp_path) as books:
        books.pay(1, 2, 3)
        regtest = books.world.regtest
        books.world.publish(books.payer.node.channel.holder_commitment_tx())
        await books.payee.step()
        (child,) = [own.tx for own in books.payee.remembered() if own.purpose == "micropayments"]
        p2a = child.outpoint(len(child.outputs) - 1)
        funding = regtest.fund(p2wsh(b"\x51"), Sat(10_000))
        regtest.mine_block([funding])
        stranger = Tx(
            version=3,
            inputs=(TxIn(p2a), TxIn(funding.outpoint(0), witness=(b"\x51",))),
            outputs=(TxOut(Sat(9_500), p2wsh(b"\x51")),),
        )
        regtest.broadcast(stranger)
        set_fee_rate(books.world, 25)
        await books.payee.step()
        assert stranger.txid not in regtest.mempool
        assert len(regtest.mempool.children(child.txid)) == 1


async def test_large_book_without_p2a_is_claimed(tmp_path: Path) -> None:
    async with book_world(tmp_path, locks=240) as books:
        books.pay(*range(1, 201))
        books.world.publish(books.payee.node.channel.holder_commitment_tx())
        await books.world.run(blocks=80)
        (claim,) = [tx for tx in books.payee.progress.transactions if tx.purpose == "claim"]
        assert claim.vbytes < 200 * 105
        await books.check_owed(
            payer_sat=FUNDING_SAT - PUSH_SAT - COST_SAT - books.lsf_sat + 40 * LOCK_SAT,
            payee_sat=PUSH_SAT + 200 * LOCK_SAT,
        )


@pytest.mark.parametrize("locks_paid", [3, 200])
async def test_large_micropayment_transaction_is_lifted_by_claims(
    tmp_path: Path, locks_paid: int
) -> None:
    """It has no P2A; with few claims to pay the fee, the wallet's coins join them."""
    async with book_world(tmp_path, locks=240) as books:
        books.pay(*range(1, locks_paid + 1))
        regtest = books.world.regtest
        books.world.publish(books.payer.node.channel.holder_commitment_tx())
        set_fee_rate(books.world, 2)
        await books.payee.step()
        (child,) = [own.tx for own in books.payee.remembered() if own.purpose == "micropayments"]
        assert child.version == 2
        (bump,) = regtest.mempool.children(child.txid)
        entries = [regtest.mempool.get(txid) for txid in (child.txid, bump)]
        rate = sum(entry.fee for entry in entries) / sum(entry.vsize for entry in entries)
        assert rate == pytest.approx(2, rel=0.02)
        assert entries[1].vsize <= 1_000 + 2 * 58  # coins of the wallet may join
        await books.payee.step()
        assert list(regtest.mempool.children(child.txid)) == [bump]

        set_fee_rate(books.world, 4)
        for _ in range(3):
            regtest.mine_block([])
        await books.payee.step()
        (raised,) = regtest.mempool.children(child.txid)
        assert raised != bump
        set_fee_rate(books.world, 1)
        await books.world.run(blocks=80)
        await books.check_owed(
            payer_sat=FUNDING_SAT
            - PUSH_SAT
            - COST_SAT
            - books.lsf_sat
            + (240 - locks_paid) * LOCK_SAT,
            payee_sat=PUSH_SAT + locks_paid * LOCK_SAT,
        )

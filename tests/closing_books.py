"""A channel with a book of each scheme and HTLCs both ways, and two closers for its end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from closing_world import FUNDING_SAT, PUSH_SAT, Party, World, closing_world
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, TxOut
from lightspeed.channel.commitment import commitment_fee
from lightspeed.lsf.scripts import LSF_OUTPUT_WEIGHT
from lightspeed.node.own_transactions import OwnTransaction
from lightspeed.payment import Scheme, SecretBook
from lsf_pair import open_book, open_lsf_pair, secret_book
from lsf_world import book_terms

__all__ = [
    "CHILD_FEERATE",
    "DELAY",
    "FEERATE",
    "LOCKS",
    "BookWorld",
    "book_world",
]

FEERATE = 1_000
"""Of the commitments, sat per 1,000 weight units: `open_pair`'s."""
CHILD_FEERATE = 1_000
DELAY = 6
LOCKS, LOCK_SAT = 12, 2_000
SCHEMES = (Scheme.OUTPUTS, Scheme.LADDER)
ANCHORS_SAT = 660


@dataclass
class BookWorld:
    world: World
    books: dict[Scheme, SecretBook]
    begun_height: int = 0
    """Of the block before the commitment's."""

    def begin(self, commitment: Tx) -> None:
        """The close: the commitment is mined."""
        self.begun_height = self.world.regtest.height
        self.world.publish(commitment)

    def party(self, name: str) -> Party:
        return self.world.funder if name == "payer" else self.world.fundee

    def pay(self, *locks: int) -> None:
        for secret in self.books.values():
            self.world.fundee.lock_secrets[secret.book.book_id] = {
                lock: secret.lock_secret(lock) for lock in locks
            }

    def offer_htlcs(self) -> None:
        """Both ways, with and without the preimage; one each that is dust."""
        for offerer in self.world.parties:
            self.world.offer(offerer, 60_000, expires_in=60, known=True)
            self.world.offer(offerer, 50_000, expires_in=20, known=False)
            self.world.offer(offerer, 100, expires_in=60, known=False)

    def output(self, outpoint: OutPoint) -> TxOut:
        info = self.world.regtest.transaction(outpoint.txid)
        assert info is not None
        return info.tx.outputs[outpoint.vout]

    def fee_sat(self, tx: Tx) -> int:
        spent = sum(self.output(spending.outpoint).value for spending in tx.inputs)
        return spent - sum(output.value for output in tx.outputs)

    def owed_sat(self, *, htlcs: bool) -> tuple[int, int]:
        """To payer and payee, less their own fees, after `pay(1, 2, 3, 5)` and `offer_htlcs`.

        `outputs` pays these four locks, `ladder` the first five.
        """
        state = self.world.funder.node.channel.state.extension_states["lsf"]
        held = sum(book.amount_sat(settled=0) for book in state.books.values())
        fee = commitment_fee(
            feerate_per_kw=FeeRate(FEERATE),
            untrimmed_htlcs=4 if htlcs else 0,
            anchors=True,
            extension_weight=len(SCHEMES) * LSF_OUTPUT_WEIGHT,
        )
        dust_sat = 100 if htlcs else 0
        kept = FUNDING_SAT - PUSH_SAT - fee - ANCHORS_SAT - held - dust_sat
        return kept + (8 + 7) * LOCK_SAT, PUSH_SAT + (4 + 5) * LOCK_SAT - dust_sat

    async def gained_sat(self) -> tuple[int, int]:
        """By payer and payee, with their own fees; an LSF holds its child's fee."""
        payer, payee = self.world.parties
        children_sat = sum(
            tx.fee_sat
            for tx in payee.progress.transactions
            if tx.ours and tx.purpose in ("micropayments", "settlement")
        )
        return (
            await payer.gained_sat() + payer.fees_sat,
            await payee.gained_sat() + payee.fees_sat - children_sat,
        )

    def mined(self) -> Iterator[tuple[Party, OwnTransaction]]:
        for party in self.world.parties:
            for own in party.remembered():
                info = self.world.regtest.transaction(own.tx.txid)
                assert info is not None, own.purpose
                assert info.confirmed is not None, own.purpose
                yield party, own


@asynccontextmanager
async def book_world(folder: Path, *, safe_depth: int = 3) -> AsyncIterator[BookWorld]:
    """The funder is the payer."""
    async with closing_world(folder, opened=open_lsf_pair, safe_depth=safe_depth) as world:
        books = {}
        for number, scheme in enumerate(SCHEMES):
            terms = book_terms(
                scheme=scheme,
                locks=LOCKS,
                lock_amount=LOCK_SAT,
                refund_delay_blocks=17,
                child_feerate=CHILD_FEERATE,
            )
            books[scheme] = secret_book(world.pair, terms, seed=bytes([number]))
            open_book(world.pair, books[scheme])
        yield BookWorld(world, books)

"""A payer's and a payee's node with a channel between them, and what tests do to its books."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightspeed.ledger import BookStatus, PayerStore, SQLiteLedger
from lightspeed.lsf import Party, settled_locks
from lightspeed.node.books import BookRequest
from lightspeed.payment import Book, SecretBook
from node_world import ORIGIN, NodeWorld, RunningNode, eventually, node_world

__all__ = ["BookPair", "book_pair"]

PUSH_SAT = 20_000


@dataclass
class BookPair:
    world: NodeWorld
    payer: RunningNode
    payee: RunningNode

    async def open_book(self, **changes: Any) -> SecretBook:
        """Leased, too."""
        values: dict[str, Any] = {
            "locks": 5,
            "chain_length": 10,
            "lock_amount_sat": 10_000,
            "origins": (ORIGIN,),
            "refund_delay_blocks": 20,
        }
        assert self.payer.node.payer_books is not None
        book = await self.payer.node.payer_books.open(
            self.payer.driver, BookRequest(**(values | changes))
        )
        return await self.leased(book)

    async def leased(self, book: Book) -> SecretBook:
        async def check() -> bool:
            statuses = await self.ledger.statuses()
            return any(s.book_id == book.book_id and s.open_until > 0 for s in statuses)

        await eventually(check)
        return self.payer_store.load(book.book_id)

    @property
    def ledger(self) -> SQLiteLedger:
        assert self.payee.ledger is not None
        return self.payee.ledger

    @property
    def payer_store(self) -> PayerStore:
        assert self.payer.payer_store is not None
        return self.payer.payer_store

    async def mine(self, blocks: int) -> None:
        """One by one, each seen by both nodes."""
        for _ in range(blocks):
            self.world.mine()
            tip = self.world.regtest.tip
            for node in (self.payer.node, self.payee.node):
                await eventually(lambda node=node, tip=tip: node.watch._seen == tip)

    async def status(self, secret: SecretBook) -> BookStatus:
        return await self.ledger.status(secret.book.book_id)

    async def copied(self) -> None:
        """The payee's node looks at its ledger now rather than at the next lease."""
        assert self.payee.node.payee_books is not None
        watch = self.payee.node.watch
        last = watch.answered_at
        await eventually(lambda: watch.answered_at != last)  # between two looks
        self.payee.node.payee_books._extended_at.clear()
        watch.wake()

    def settled(self, secret: SecretBook) -> int | None:
        """Locks, where both sides agree."""
        at_payer, at_payee = (
            settled_locks(running.channel).get(secret.book.book_id)
            for running in (self.payer, self.payee)
        )
        return at_payer if at_payer == at_payee else None

    def is_open(self, secret: SecretBook) -> bool:
        """In anybody's commitments."""
        return any(
            secret.book.book_id in settled_locks(running.channel)
            for running in (self.payer, self.payee)
        )

    async def closed(self, secret: SecretBook) -> None:
        """In both channels, with nothing under way."""
        await eventually(
            lambda: not self.is_open(secret) and self.payer.settled() and self.payee.settled()
        )

    @property
    def balances_msat(self) -> tuple[int, int]:
        """Payer's and payee's, each as it sees it itself."""
        return (
            self.payer.channel.state.base.holder_msat,
            self.payee.channel.state.base.holder_msat,
        )


@asynccontextmanager
async def book_pair(
    folder: Path,
    *,
    payer: dict[str, Any] | None = None,
    payee: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[BookPair]:
    """`payer` and `payee` change what each is told about Lightspeed; `changes` are for both."""
    async with node_world(folder) as world:
        first = await world.start("payer", party=Party.PAYER, lightspeed_changes=payer, **changes)
        second = await world.start("payee", party=Party.PAYEE, lightspeed_changes=payee, **changes)
        await world.open_channel(first, second, push_sat=PUSH_SAT, party=Party.PAYER)
        yield BookPair(world, first, second)

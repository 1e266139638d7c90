"""Reorganisations of up to six blocks, at every moment of a close, change nothing for anybody."""

from pathlib import Path

import pytest

from closing_books import BookWorld, book_world
from lightspeed.node.closing import SAFE_DEPTH, CloseKind, CloseState

DEEPEST = 6
BLOCKS = 200


EVERY = 8
"""Blocks between two reorganisations that undo what they hit, so that the close gets on."""


def reorganise(books: BookWorld, depth: int, *, keep: bool) -> None:
    """Replaces so many blocks by one more, but no block from before the close.

    `keep`: the new blocks have what the old ones had; else all of it waits again.
    """
    regtest = books.world.regtest
    depth = min(depth, regtest.height - books.begun_height)
    if depth > 0:
        regtest.reorganise(depth, keep_transactions=keep)


@pytest.mark.parametrize("broadcaster", ["payer", "payee"])
async def test_every_block_of_a_close_comes_again_in_another_branch(
    tmp_path: Path, broadcaster: str
) -> None:
    async with book_world(tmp_path, safe_depth=SAFE_DEPTH) as books:
        books.offer_htlcs()
        books.pay(1, 2, 3, 5)
        books.begin(books.party(broadcaster).node.channel.holder_commitment_tx())
        await books.world.run(
            blocks=BLOCKS, each=lambda block: reorganise(books, 1 + block % DEEPEST, keep=True)
        )
        assert await books.gained_sat() == books.owed_sat(htlcs=True)


@pytest.mark.parametrize("moment", range(EVERY))
async def test_every_block_of_a_close_is_undone(tmp_path: Path, moment: int) -> None:
    broadcaster = ("payer", "payee")[moment % 2]
    async with book_world(tmp_path, safe_depth=SAFE_DEPTH) as books:
        books.offer_htlcs()
        books.pay(1, 2, 3, 5)
        books.begin(books.party(broadcaster).node.channel.holder_commitment_tx())

        def undo(block: int) -> None:
            if block % EVERY == moment and block < 60:
                reorganise(books, DEEPEST, keep=False)

        await books.world.run(blocks=BLOCKS, each=undo)
        assert await books.gained_sat() == books.owed_sat(htlcs=True)


@pytest.mark.parametrize("moment", [0, 3, 5, 6])
async def test_every_block_of_a_punishment_is_undone(tmp_path: Path, moment: int) -> None:
    async with book_world(tmp_path, safe_depth=SAFE_DEPTH) as books:
        books.offer_htlcs()
        cheater = books.party(("payer", "payee")[moment % 2])
        books.begin(books.world.make_revoked(cheater))

        def undo(block: int) -> None:
            if block % EVERY == moment and block < 60:
                reorganise(books, DEEPEST, keep=False)

        await books.world.run(blocks=BLOCKS, each=undo)
        assert books.world.other(cheater).progress.kind is CloseKind.REVOKED
        assert await cheater.gained_sat() + cheater.fees_sat == 0


async def test_what_is_final_is_not_undone_by_six_blocks(tmp_path: Path) -> None:
    async with book_world(tmp_path, safe_depth=SAFE_DEPTH) as books:
        books.pay(1, 2, 3, 5)
        books.begin(books.party("payer").node.channel.holder_commitment_tx())
        await books.world.run(blocks=BLOCKS)
        assert all(party.progress.state is CloseState.DONE for party in books.world.parties)
        mined = [own.tx.txid for _, own in books.mined()]
        books.world.regtest.reorganise(DEEPEST)
        for txid in mined:
            assert books.world.regtest.transaction(txid).confirmed is not None

"""Whole nodes close a channel with tokens: what each held is in its wallet, ready to be sent."""

from pathlib import Path

import pytest

from lightspeed.node.closing import CloseKind
from lightspeed.node.reports import balance
from lightspeed.payment import Scheme
from node_tokens import SUPPLY, over, token_books
from node_world import RunningNode, eventually

TOKENS, PUSHED = 100_000, 4_000


async def holds(running: RunningNode, contract_id: bytes, tokens: int) -> None:
    async def there() -> bool:
        balance = await running.node.tokens.balance(contract_id)
        return (balance.settled, balance.pending, balance.reserved) == (tokens, 0, 0)

    await eventually(there)


async def test_cooperative_close_pays_tokens_to_both_wallets(tmp_path: Path) -> None:
    async with token_books(tmp_path, tokens=TOKENS, pushed=PUSHED) as books:
        await books.payee.node.close_channel(books.payee.channel.channel_id)
        await over(books)
        for running, tokens in ((books.payer, SUPPLY - PUSHED), (books.payee, PUSHED)):
            progress = running.node.watch.progress[running.channel.channel_id]
            assert progress.kind is CloseKind.COOPERATIVE
            await holds(running, books.contract_id, tokens)


@pytest.mark.parametrize("closer", ["payer", "payee"])
@pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])
async def test_forced_close_claims_what_was_redeemed(
    tmp_path: Path, scheme: Scheme, closer: str
) -> None:
    async with token_books(tmp_path, tokens=TOKENS, pushed=PUSHED) as books:
        secret = await books.open_book(scheme=scheme)
        terms = secret.book.terms
        await books.redeem(secret, 1, 2 * terms.chain_length)
        running: RunningNode = getattr(books, closer)
        await running.node.close_channel(running.channel.channel_id, force=True)
        await over(books)
        paid = 2 * terms.lock_amount
        book = terms.locks * terms.lock_amount
        gone = book if scheme is Scheme.SEALS else paid
        await holds(books.payee, books.contract_id, PUSHED + paid)
        await holds(books.payer, books.contract_id, SUPPLY - PUSHED - gone)


async def test_sats_beside_tokens_are_no_reserve_for_fees(tmp_path: Path) -> None:
    """They pay for nothing, whatever the wallet's balance is."""
    async with token_books(tmp_path, tokens=TOKENS, pushed=PUSHED) as books:
        await books.payee.node.close_channel(books.payee.channel.channel_id)
        await over(books)
        node = books.payee.node
        await holds(books.payee, books.contract_id, PUSHED)
        there_sat = node.wallet.balance().confirmed_sat
        assert node.wallet.apart_sat() == there_sat > 0
        assert balance(node).beside_tokens_sat == there_sat
        node.watch._reserve_sat = lambda: there_sat
        books.world.mine()
        await eventually(
            lambda: any("the wallet holds 0 sat" in text for text in node.alarms.texts)
        )

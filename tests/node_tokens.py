"""Nodes with tokens, and channels with tokens between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightspeed.channel import Side
from lightspeed.colour import ColourTerms
from lightspeed.lsf import Party
from lightspeed.payment import Scheme, SecretBook
from lightspeed.rgb import AssetSpec, contract_id_text
from lightspeed.units import Sat
from node_books import BookPair
from node_world import RunningNode, eventually, node_world

__all__ = [
    "SUPPLY",
    "TokenBooks",
    "issued",
    "open_coloured",
    "over",
    "settled",
    "token_books",
    "tokens_of",
]

SUPPLY = 1_000_000


async def issued(running: RunningNode, supply: int = SUPPLY, *, ticker: str = "CALL") -> bytes:
    """A contract of its own, mined; the wallet has coins for fees beside."""
    await running.fund_wallet()
    spec = AssetSpec(ticker=ticker, name="Calls")
    contract_id = await running.node.tokens.issue(spec, supply)
    running.world.mine()
    await settled(running, contract_id, supply)
    return contract_id


async def settled(running: RunningNode, contract_id: bytes, amount: int) -> None:
    async def there() -> bool:
        balance = await running.node.tokens.balance(contract_id)
        return balance.settled == amount

    await eventually(there)


async def open_coloured(
    opener: RunningNode,
    accepter: RunningNode,
    contract_id: bytes,
    *,
    tokens: int = 100_000,
    pushed: int = 0,
    funding_sat: int = 1_000_000,
    push_sat: int = 100_000,
    party: Party | None = None,
) -> bytes:
    """Usable on both sides; its id."""
    await opener.connect(accepter)
    driver = await opener.node.open_channel(
        accepter.node_id,
        funding_sat=Sat(funding_sat),
        push_sat=Sat(push_sat),
        party=party,
        tokens=ColourTerms(contract_id=contract_id, tokens=tokens, pushed=pushed),
    )
    opener.world.mine(2)
    await eventually(lambda: opener.usable() and accepter.usable())
    return driver.channel.channel_id


def tokens_of(running: RunningNode) -> tuple[int, int]:
    """Its own and the counterparty's, irrevocably, in its only channel."""
    sheet = running.channel.state.base
    return sheet.tokens(Side.HOLDER), sheet.tokens(Side.COUNTERPARTY)


@dataclass
class TokenBooks(BookPair):
    """The payer brought the tokens."""

    contract_id: bytes

    async def open_book(self, **changes: Any) -> SecretBook:
        values = {"lock_amount_sat": None, "lock_tokens": 10, "scheme": Scheme.SEALS}
        return await super().open_book(**(values | changes))

    async def redeem(self, secret: SecretBook, first: int, count: int) -> None:
        await self.ledger.redeem(secret.credential(first, count))

    @property
    def tokens(self) -> tuple[int, int]:
        """Payer's and payee's, each as it sees it itself."""
        return tokens_of(self.payer)[0], tokens_of(self.payee)[0]


async def over(books: TokenBooks) -> None:
    """Blocks until both sides have everything for good."""
    for _ in range(60):
        if all(running.driver.record.over for running in (books.payer, books.payee)):
            return
        await books.mine(1)
    raise AssertionError([running.driver.record for running in (books.payer, books.payee)])


@asynccontextmanager
async def token_books(
    folder: Path,
    *,
    tokens: int = 100_000,
    pushed: int = 0,
    payer: dict[str, Any] | None = None,
    payee: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[TokenBooks]:
    """A payer that issued a token, a payee that takes it, and a channel with some of it."""
    async with node_world(folder) as world:
        paying = await world.start("payer", party=Party.PAYER, lightspeed_changes=payer, **changes)
        contract_id = await issued(paying)
        listed = {"tokens": (contract_id_text(contract_id),), **(payee or {})}
        paid = await world.start("payee", party=Party.PAYEE, lightspeed_changes=listed, **changes)
        await open_coloured(
            paying, paid, contract_id, tokens=tokens, pushed=pushed, party=Party.PAYER
        )
        yield TokenBooks(world, paying, paid, contract_id)

"""What the closing of channels asks of the stash: to keep proofs, and to know where tokens are."""

from collections.abc import Iterable
from typing import Protocol

from lightspeed.bitcoin import OutPoint
from lightspeed.channel import Spend
from lightspeed.node.errors import UnknownContract
from lightspeed.rgb import TokenInput, TokensWouldBurn, WitnessBundle

__all__ = ["NoProofs", "Proofs", "check_nothing_burns"]


class Proofs(Protocol):
    """The node's histories of tokens."""

    async def keep(self, *bundles: WitnessBundle) -> None:
        """Durably; before any of their witnesses is published. The same again does no harm.

        Raises `UnknownContract`, an `RgbError` for what contradicts what is known, and
        `StoreError`.
        """

    def tokens_on(self, outpoint: OutPoint) -> tuple[TokenInput, ...]:
        """All that was ever assigned there by what is kept, of any contract."""


class NoProofs:
    """Of a node that deals in no tokens."""

    async def keep(self, *bundles: WitnessBundle) -> None:
        if bundles:
            raise UnknownContract("no stash keeps the proofs of these tokens")

    def tokens_on(self, outpoint: OutPoint) -> tuple[TokenInput, ...]:
        return ()


def check_nothing_burns(coins: Iterable[Spend], proofs: Proofs) -> None:
    """Before a signature: raises `TokensWouldBurn` when one of the wallet's coins holds tokens.

    Of the channel's own outputs it is known what they hold, and `sweep_transaction` refuses
    them. What strangers may have assigned to these beside must not hold a close up.
    """
    for coin in coins:
        tokens = proofs.tokens_on(coin.outpoint)
        if tokens:
            raise TokensWouldBurn(f"{sum(token.amount for token in tokens)} tokens would be lost")

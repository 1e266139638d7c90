"""Puts transactions into the mempool, pays for those that cannot, and raises what does not move."""

from collections.abc import Sequence

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, fee_for_weight
from lightspeed.chain import BroadcastRefused, Chain
from lightspeed.channel import Spend
from lightspeed.node.bumping import build_child
from lightspeed.node.close_view import ClosingChannel
from lightspeed.node.errors import InsufficientFunds
from lightspeed.node.own_transactions import OwnTransaction
from lightspeed.node.proofs import Proofs
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import TokensWouldBurn

__all__ = ["LATER_BLOCKS", "SOON_BLOCKS", "Publisher"]

SOON_BLOCKS = 2
"""Confirmation target of what the counterparty could take first, and of what others wait for."""
LATER_BLOCKS = 6
_MIN_BUMP = FeeRate(253)
"""A replacement pays at least 1 sat/vB more (BIP 125, rule 4)."""
_MAX_OVERPAID = 4
"""So many times the estimate is enough for anything that nobody competes for."""

_NEARLY_ENOUGH_PERCENT = 90
"""Of the estimated fee: for less than the rest, a child costs more than it brings."""


class Publisher:
    """Over one chain, with the coins of one wallet."""

    def __init__(
        self, wallet: Wallet, chain: Chain, *, proofs: Proofs, bump_after_blocks: int
    ) -> None:
        self._wallet = wallet
        self._chain = chain
        self._proofs = proofs
        self._bump_after_blocks = bump_after_blocks

    async def support(
        self,
        close: ClosingChannel,
        parent: OwnTransaction,
        *,
        handles: Sequence[Spend],
        in_mempool: bool,
    ) -> None:
        """Publishes `parent`; with a child that pays for it where its own fee is too low.

        `handles` are its outputs for that, the same first one each time; a parent without any
        pays for itself as well as it can.
        """
        rate = await self.fee_rate(SOON_BLOCKS)
        child = close.own.spender(handles[0].outpoint) if handles else None
        wanted = fee_for_weight(parent.tx.weight, rate) * _NEARLY_ENOUGH_PERCENT // 100
        if handles and (child is not None or parent.fee_sat < wanted):
            rise = self.raised(child, rate, height=close.tip.height) if child else rate
            if rise is not None:
                child = await self._make_child(close, parent, handles, rise, replaces=child)
            if child is not None and (
                close.spender(handles[0].outpoint) == child.tx.txid
                or await self.broadcast(close, child, parent=parent)
            ):
                return
        if not in_mempool:
            await self.broadcast(close, parent)

    async def _make_child(
        self,
        close: ClosingChannel,
        parent: OwnTransaction,
        handles: Sequence[Spend],
        rate: FeeRate,
        *,
        replaces: OwnTransaction | None,
    ) -> OwnTransaction | None:
        """A new child, or the old one when there are no coins for another."""
        try:
            tx, fee = await build_child(
                parent.tx,
                parent_fee_sat=parent.fee_sat,
                handles=handles,
                wallet=self._wallet,
                proofs=self._proofs,
                destination_script=close.destination_script,
                feerate_per_kw=rate,
                coins=self._wallet.own_inputs(replaces.tx) if replaces else (),
            )
        except (InsufficientFunds, TokensWouldBurn) as refusal:
            close.problem(f"{parent.purpose}: {refusal}", parent.tx)
            return replaces
        child = OwnTransaction(
            tx=tx,
            purpose=f"fee of {parent.purpose}",
            fee_sat=fee,
            feerate_per_kw=rate,
            built_height=close.tip.height,
        )
        close.own.add(child)
        if replaces is not None and replaces.tx.txid != tx.txid:
            self._wallet.note_replaced(replaces.tx)
            close.own.remove(replaces)
        return child

    async def broadcast(
        self, close: ClosingChannel, own: OwnTransaction, *, parent: OwnTransaction | None = None
    ) -> bool:
        try:
            if parent is None:
                await self._chain.broadcast(own.tx)
            else:
                await self._chain.broadcast_package([parent.tx, own.tx])
        except BroadcastRefused as refused:
            close.problem(f"{own.purpose} refused: {refused}", own.tx)
            if "missingorspent" in refused.reason and own.tx.txid in close.own:
                self.forget(close, own)  # an input is gone: made anew at the next step
            return False
        self._wallet.note_broadcast(own.tx)
        return True

    def raised(
        self,
        own: OwnTransaction,
        rate: FeeRate,
        *,
        height: int,
        contested: bool = False,
        at_once: bool = False,
    ) -> FeeRate | None:
        """The fee rate of a replacement; None if it is too early, or far above the estimate.

        Where somebody competes (contested) the bound is what the outputs are worth.
        """
        patience_blocks = 1 if contested else self._bump_after_blocks
        if at_once:
            patience_blocks = 0
        if height - own.built_height < patience_blocks:
            return None
        bumped = FeeRate(own.feerate_per_kw + max(own.feerate_per_kw // 4, _MIN_BUMP))
        enough = own.feerate_per_kw >= rate and bumped > _MAX_OVERPAID * rate
        return None if enough and not contested else max(rate, bumped)

    def forget(self, close: ClosingChannel, own: OwnTransaction) -> None:
        """It cannot confirm any more: its coins are free."""
        close.own.remove(own)
        self._wallet.note_replaced(own.tx)
        self._wallet.release(own.tx)

    async def fee_rate(self, target_blocks: int) -> FeeRate:
        return max(FEE_RATE_FLOOR, await self._chain.fee_rate(target_blocks))

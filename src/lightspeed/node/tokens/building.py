"""On-chain transactions of ours that move tokens.

The commitment is output 0. Fees come from coins without tokens, and every token on an outpoint
that is spent is moved: what nobody else gets goes to a change output, under a blinding that only
this node knows.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import (
    FeeRate,
    OutPoint,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    dust_limit,
    fee_for_weight,
)
from lightspeed.channel import Spend
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE
from lightspeed.channel.weights import output_weight, transaction_weight
from lightspeed.node.proofs import check_nothing_burns
from lightspeed.node.stash import Stash
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import (
    OPRET_PLACEHOLDER,
    Coloured,
    Destination,
    GraphSeal,
    Holding,
    NotEnoughTokens,
    TokenInput,
    TokensWouldBurn,
    check_moves_tokens,
    colour,
    pick_holdings,
)
from lightspeed.units import Sat

__all__ = ["TOKEN_OUTPUT_SAT", "Builder", "TokenTransaction", "new_blinding"]

TOKEN_OUTPUT_SAT = Sat(1_000)
"""Of an output that is there for its tokens, as other wallets make it."""


def new_blinding() -> int:
    return secrets.randbits(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTransaction:
    """Signed, its coins reserved; nobody has seen it."""

    tx: Tx
    coloured: Coloured
    inputs: tuple[TokenInput, ...]
    change: TokenInput | None


class Builder:
    """Over the wallet's coins and the stash's tokens."""

    def __init__(self, stash: Stash, wallet: Wallet, *, minimum_depth: int) -> None:
        self._stash = stash
        self._wallet = wallet
        self._minimum_depth = max(minimum_depth, 1)

    async def holdings(self, contract_id: bytes, *, minimum_depth: int = 1) -> list[Holding]:
        """Those on coins of the wallet; reserved and unmined ones too."""
        own = self._wallet.unspent()
        found = await self._stash.holdings(contract_id, minimum_depth=minimum_depth)
        return [holding for holding in found.values() if holding.outpoint in own]

    async def pick(self, contract_id: bytes, amount: int) -> tuple[Holding, ...]:
        """Whole outpoints that hold so many tokens. Raises `NotEnoughTokens`.

        They are `minimum_depth` deep with all that they rest on, since one input whose history is
        undone voids the transition and burns the others. An outpoint to which others are on their
        way is left alone.
        """
        try:
            return await self._pick(contract_id, amount, minimum_depth=self._minimum_depth)
        except NotEnoughTokens as error:
            kept = self._wallet.reserved()
            raise NotEnoughTokens(
                needed=amount,
                available=error.available,
                wait_blocks=await self._blocks_until(contract_id, amount),
                reserved=sum(
                    holding.token.amount
                    for holding in await self.holdings(contract_id)
                    if holding.outpoint in kept
                ),
            ) from None

    async def _blocks_until(self, contract_id: bytes, amount: int) -> int | None:
        """There are so many tokens that are deep enough, if what is on its way is mined now."""
        for wait in range(1, self._minimum_depth + 1):
            with contextlib.suppress(NotEnoughTokens):
                depth = self._minimum_depth - wait
                await self._pick(contract_id, amount, minimum_depth=depth)
                return wait
        return None

    async def _pick(
        self, contract_id: bytes, amount: int, *, minimum_depth: int
    ) -> tuple[Holding, ...]:
        held = await self.holdings(contract_id, minimum_depth=minimum_depth)
        unfit = {holding.outpoint for holding in held if not holding.mined}
        unfit |= self._wallet.reserved()
        unfit |= {
            holding.outpoint
            for holding in held
            if self._stash.contracts_on(holding.outpoint) != {contract_id}
        }
        return pick_holdings((each for each in held if each.outpoint not in unfit), amount)

    async def transfer(
        self,
        contract_id: bytes,
        allocations: Sequence[tuple[Destination, int]],
        *,
        outputs: Sequence[TxOut] = (),
        feerate_per_kw: FeeRate,
    ) -> TokenTransaction:
        """`outputs` stand from output 1 on. Raises `NotEnoughTokens` and `InsufficientFunds`."""
        amount = sum(amount for _, amount in allocations)
        picked = await self.pick(contract_id, amount)
        rest = sum(holding.token.amount for holding in picked) - amount
        outputs, allocations, vout = [*outputs], [*allocations], len(outputs) + 1
        if rest:
            outputs.append(TxOut(TOKEN_OUTPUT_SAT, self._wallet.new_script(change=True)))
            allocations.append((GraphSeal(None, vout, new_blinding()), rest))
        spends = self._wallet.spends_of(holding.outpoint for holding in picked)
        self._wallet.reserve(spend.outpoint for spend in spends)
        try:
            draft, spends = await self.balanced(spends, outputs, feerate_per_kw=feerate_per_kw)
            inputs = sorted(holding.token for holding in picked)
            coloured = colour(
                draft, contract_id=contract_id, inputs=inputs, allocations=allocations
            )
            tx = self.signed(coloured, spends, tokens=picked)
        except BaseException:
            self._wallet.release_coins(spend.outpoint for spend in spends)
            raise
        change = coloured.on_output(vout)[0] if rest else None
        return TokenTransaction(tx=tx, coloured=coloured, inputs=tuple(inputs), change=change)

    async def balanced(
        self,
        spends: Sequence[Spend],
        outputs: Sequence[TxOut],
        *,
        feerate_per_kw: FeeRate,
        own_change: bool = True,
    ) -> tuple[Tx, list[Spend]]:
        """An unsigned transaction with coins and change added, and all that it spends.

        The coins are reserved; `own_change`: see `Wallet.fee_spends`. Raises `InsufficientFunds`.
        """
        change = TxOut(Sat(0), self._wallet.new_script(change=True))
        least = dust_limit(change.script)

        def missing(inputs: Sequence[Spend]) -> int:
            """With a change output of the least amount."""
            weight = transaction_weight(
                witness_weights=tuple(spend.witness_weight for spend in inputs),
                output_weights=tuple(
                    output_weight(output.script) for output in (OPRET_PLACEHOLDER, *outputs, change)
                ),
            )
            paid = sum(output.value for output in outputs) + least
            return paid + fee_for_weight(weight, feerate_per_kw) - _value(inputs)

        inputs = [*spends]
        if missing(inputs) > 0:
            inputs += await self._wallet.fee_spends(
                Sat(missing(inputs)), feerate_per_kw=feerate_per_kw, own_change=own_change
            )
        change = replace(change, value=Sat(least - missing(inputs)))
        draft = Tx(
            version=2,
            inputs=tuple(TxIn(each.outpoint, sequence=SEQUENCE_REPLACEABLE) for each in inputs),
            outputs=(OPRET_PLACEHOLDER, *outputs, change),
            locktime=0,
        )
        return draft, inputs

    def signed(
        self, coloured: Coloured, spends: Sequence[Spend], *, tokens: Sequence[Holding]
    ) -> Tx:
        """By the wallet. The gate: raises `TokensWouldBurn` unless all tokens spent are moved.

        And unless they go to something else than what is spent here itself.
        """
        moved: dict[OutPoint, list[TokenInput]] = {}
        for holding in tokens:
            moved.setdefault(holding.outpoint, []).append(holding.token)
        check_moves_tokens(coloured.tx, tokens=moved, coloured=coloured)
        closed = {spend.outpoint for spend in spends}
        for _, _, assign in coloured.transition.assignments:
            if assign.outpoint(coloured.tx.txid) in closed:
                raise TokensWouldBurn("the transaction spends an outpoint that it gives tokens to")
        check_nothing_burns((s for s in spends if s.outpoint not in moved), self._stash)
        return sign(coloured.tx, spends)


def sign(tx: Tx, spends: Sequence[Spend]) -> Tx:
    """`spends` are all of its inputs, in order."""
    digest = TxDigest(tx, tuple(spend.prevout for spend in spends))
    for index, spend in enumerate(spends):
        tx = tx.with_witness(index, spend.sign(digest, index))
    return tx


def _value(spends: Sequence[Spend]) -> int:
    return sum(spend.prevout.value for spend in spends)

"""A wallet without files and servers, for a node whose world lives in memory.

Answers what `lightspeed.node.wallet.Wallet` answers, from the regtest chain itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lightspeed.bitcoin import (
    P2WPKH_WITNESS_WEIGHT,
    TX_INPUT_WEIGHT,
    FeeRate,
    OutPoint,
    PrivateKey,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    fee_for_weight,
    p2wpkh,
    sha256,
)
from lightspeed.chain import Chain, Regtest
from lightspeed.channel import Spend
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.node.errors import InsufficientFunds
from lightspeed.node.wallet import Balance, KeptApart
from lightspeed.units import Sat

__all__ = ["Purse"]

_FUNDING_COST_SAT = 1_000


@dataclass
class Purse:
    """The coins of one seed. It outlives its node, as a file would."""

    regtest: Regtest
    seed: bytes
    kept_apart: KeptApart | None = None
    """Of the process that runs, or ran last."""
    _keys: dict[bytes, PrivateKey] = field(default_factory=dict)
    _reserved: set[OutPoint] = field(default_factory=set)

    # --- what there is --------------------------------------------------------------------
    @property
    def scripts(self) -> frozenset[bytes]:
        return frozenset(self._keys)

    def _coins(self) -> Iterator[tuple[OutPoint, TxOut, bool]]:
        for script in self._keys:
            for outpoint, output, block in self.regtest.unspent(sha256(script)):
                yield outpoint, output, block is not None

    def balance(self) -> Balance:
        coins = list(self._coins())
        confirmed = sum(output.value for _, output, safe in coins if safe)
        return Balance(Sat(confirmed), Sat(sum(o.value for _, o, _ in coins) - confirmed))

    def spendable_sat(self) -> Sat:
        return Sat(sum(output.value for _, output, confirmed in self._free() if confirmed))

    def apart_sat(self) -> Sat:
        coins = [coin for coin in self._coins() if self._is_apart(*coin[:2])]
        return Sat(sum(output.value for _, output, _ in coins))

    def unspent(self) -> frozenset[OutPoint]:
        return frozenset(outpoint for outpoint, _, _ in self._coins())

    def small_coins(self, max_value_sat: Sat) -> list[OutPoint]:
        """Confirmed, free to use, and worth no more."""
        return [o for o, output, safe in self._free() if safe and output.value <= max_value_sat]

    async def small_coin(self, max_value_sat: Sat) -> OutPoint | None:
        fit = [(output.value, outpoint) for outpoint, output, safe in self._free() if safe]
        value, outpoint = min(fit, default=(0, None))
        if outpoint is None or value > max_value_sat:
            return None
        self._reserved.add(outpoint)
        return outpoint

    def _free(self) -> Iterator[tuple[OutPoint, TxOut, bool]]:
        """Not reserved, not kept apart."""
        for outpoint, output, confirmed in self._coins():
            if outpoint not in self._reserved and not self._is_apart(outpoint, output):
                yield outpoint, output, confirmed

    def _is_apart(self, outpoint: OutPoint, output: TxOut) -> bool:
        return self.kept_apart is not None and self.kept_apart(outpoint, output.script)

    def new_script(self, *, change: bool = False) -> bytes:
        number = len(self._keys).to_bytes(4, "big")
        secret = PrivateKey(sha256(self.seed + number))
        script = p2wpkh(secret.public.data)
        self._keys[script] = secret
        return script

    async def sync(self) -> None:
        """The chain is at hand."""

    # --- payments -------------------------------------------------------------------------
    async def fund(self, script: bytes, amount_sat: Sat, *, feerate_per_kw: FeeRate) -> Tx:
        coins = await self.fee_spends(
            Sat(amount_sat + _FUNDING_COST_SAT), feerate_per_kw=feerate_per_kw
        )
        rest = sum(coin.prevout.value for coin in coins) - amount_sat - _FUNDING_COST_SAT
        tx = Tx(
            version=2,
            inputs=tuple(TxIn(coin.outpoint, sequence=coin.sequence) for coin in coins),
            outputs=(TxOut(amount_sat, script), TxOut(Sat(rest), self.new_script())),
        )
        digest = TxDigest(tx, [coin.prevout for coin in coins])
        for index, coin in enumerate(coins):
            tx = tx.with_witness(index, coin.sign(digest, index))
        return tx

    async def fee_spends(
        self, min_value_sat: Sat, *, feerate_per_kw: FeeRate, own_change: bool = False
    ) -> list[Spend]:
        cost = fee_for_weight(TX_INPUT_WEIGHT + P2WPKH_WITNESS_WEIGHT, feerate_per_kw) + 1
        free = [
            (outpoint, output)
            for outpoint, output, confirmed in self._free()
            if confirmed and output.value > cost
        ]
        free.sort(key=lambda coin: coin[1].value)
        enough = [coin for coin in free if coin[1].value - cost >= min_value_sat][:1]
        chosen = enough or free
        available = sum(output.value - cost for _, output in chosen)
        if available < min_value_sat:
            raise InsufficientFunds(needed_sat=min_value_sat, available_sat=Sat(available))
        self._reserved.update(outpoint for outpoint, _ in chosen)
        return [self._spend(outpoint, output) for outpoint, output in chosen]

    def free_spends(self) -> Iterator[Spend]:
        """Of confirmed coins that nothing has reserved."""
        for outpoint, output, confirmed in self._free():
            if confirmed:
                yield self._spend(outpoint, output)

    def own_inputs(self, tx: Tx) -> list[Spend]:
        return self.spends_of(txin.outpoint for txin in tx.inputs)

    def spends_of(self, outpoints: Iterable[OutPoint]) -> list[Spend]:
        found = []
        for outpoint in outpoints:
            output = self.regtest.output(outpoint)
            if output is not None and output.script in self._keys:
                found.append(self._spend(outpoint, output))
        return found

    def _spend(self, outpoint: OutPoint, output: TxOut) -> Spend:
        return p2wpkh_spend(outpoint, output.value, secret=self._keys[output.script])

    async def send(
        self, script: bytes, amount_sat: Sat, *, feerate_per_kw: FeeRate, chain: Chain
    ) -> Tx:
        tx = await self.fund(script, amount_sat, feerate_per_kw=feerate_per_kw)
        await chain.broadcast(tx)
        return tx

    # --- what becomes of transactions -----------------------------------------------------
    def release(self, tx: Tx) -> None:
        self.release_coins(txin.outpoint for txin in tx.inputs)

    def reserve(self, outpoints: Iterable[OutPoint]) -> None:
        self._reserved.update(outpoints)

    def release_coins(self, outpoints: Iterable[OutPoint]) -> None:
        self._reserved.difference_update(outpoints)

    def reserved(self) -> frozenset[OutPoint]:
        return frozenset(self._reserved)

    def note_broadcast(self, tx: Tx) -> None:
        """The chain is at hand."""

    def note_replaced(self, tx: Tx) -> None:
        """The chain is at hand."""

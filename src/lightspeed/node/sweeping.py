"""From outputs that may be taken to the transactions that take them."""

from collections.abc import Collection, Iterator, Sequence

from lightspeed.bitcoin import FeeRate, OutPoint, Tx, dust_limit, fee_for_weight
from lightspeed.channel import Spend, Sweep, split_spends, sweep_transaction
from lightspeed.channel.sweeps import SweepTooSmall
from lightspeed.channel.weights import output_weight, transaction_weight
from lightspeed.node.wallet import Wallet
from lightspeed.units import Sat

__all__ = ["batches", "build_sweep", "fee_paid", "is_worth_taking"]

_MAX_PAIRED_WEIGHT = 100_000
"""A batch of HTLC transactions: its coins join it, and a lost race loses no more than this."""


def is_worth_taking(spend: Spend, feerate_per_kw: FeeRate) -> bool:
    """Does the output pay for its own input? (Not for a transaction: it may share one.)"""
    return spend.prevout.value > fee_for_weight(spend.weight, feerate_per_kw)


def batches(
    sweeps: Sequence[Sweep],
    *,
    contested: Collection[OutPoint],
    contestable: Collection[OutPoint],
    destination_script: bytes,
) -> Iterator[tuple[Sweep, ...]]:
    """Which outputs are taken together.

    One input that somebody else spends first undoes its whole transaction. So an output that
    another transaction in the mempool spends (contested) goes alone, and those that the
    counterparty could spend now (contestable) do not share a transaction with those that it
    cannot. HTLC transactions share one only where their signed locktimes are the same.
    """
    alone: list[Sweep] = []
    shared: dict[tuple[bool, int | None], list[Sweep]] = {}
    for sweep in sweeps:
        if sweep.spend.outpoint in contested:
            alone.append(sweep)
            continue
        locktime = sweep.spend.locktime if sweep.spend.paired_output else None
        kind = (sweep.spend.outpoint in contestable, locktime)
        shared.setdefault(kind, []).append(sweep)
    for (_, locktime), together in shared.items():
        by_outpoint = {sweep.spend.outpoint: sweep for sweep in together}
        limit = {} if locktime is None else {"max_weight": _MAX_PAIRED_WEIGHT}
        spends = [sweep.spend for sweep in together]
        for part in split_spends(spends, destination_script=destination_script, **limit):
            yield tuple(by_outpoint[spend.outpoint] for spend in part)
    for sweep in alone:  # last: what may be lost anyway does not take the others' coins
        yield (sweep,)


async def build_sweep(
    spends: Sequence[Spend],
    *,
    wallet: Wallet,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    coins: Sequence[Spend] = (),
) -> tuple[Tx, Sat]:
    """The transaction and its fee. HTLC transactions pay none themselves: coins join them.

    `coins` are the wallet's, used first, as in the transaction that this one replaces. Raises
    `InsufficientFunds`, and what `sweep_transaction` raises; `SweepTooSmall` also when the fee is
    more than what is taken is worth.
    """
    added: list[Spend] = []
    if any(spend.paired_output for spend in spends):
        missing = _missing_fee(spends, coins, destination_script, feerate_per_kw)
        if missing > 0:
            added = await wallet.fee_spends(Sat(missing), feerate_per_kw=feerate_per_kw)
    inputs = [*spends, *coins, *added]
    try:
        tx = sweep_transaction(
            inputs, destination_script=destination_script, feerate_per_kw=feerate_per_kw
        )
        fee, value = fee_paid(tx, inputs), sum(spend.prevout.value for spend in spends)
        if fee >= value:
            raise SweepTooSmall(value_sat=value, fee_sat=fee)
    except BaseException:
        wallet.release_coins(coin.outpoint for coin in added)
        raise
    return tx, fee


def fee_paid(tx: Tx, spends: Sequence[Spend]) -> Sat:
    paid = sum(spend.prevout.value for spend in spends)
    return Sat(paid - sum(output.value for output in tx.outputs))


def _missing_fee(
    spends: Sequence[Spend],
    coins: Sequence[Spend],
    destination_script: bytes,
    feerate_per_kw: FeeRate,
) -> int:
    """What further coins have to add, so that change is left to the destination."""
    inputs = [*spends, *coins]
    paired = [spend.paired_output for spend in spends if spend.paired_output]
    weight = transaction_weight(
        witness_weights=tuple(spend.witness_weight for spend in inputs),
        output_weights=tuple(
            output_weight(script)
            for script in (*(output.script for output in paired), destination_script)
        ),
    )
    needed = fee_for_weight(weight, feerate_per_kw) + dust_limit(destination_script) + 1
    there = sum(spend.prevout.value for spend in inputs) - sum(o.value for o in paired)
    return needed - there

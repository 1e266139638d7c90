"""From outputs that may be taken to the transactions that take them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import FeeRate, OutPoint, Tx, dust_limit, fee_for_weight
from lightspeed.channel import Spend, Sweep, coloured_sweep, split_spends, sweep_transaction
from lightspeed.channel.sweeps import SweepTooSmall
from lightspeed.channel.weights import output_weight, transaction_weight
from lightspeed.node.proofs import Proofs, check_nothing_burns
from lightspeed.node.threads import by_size
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import OPRET_PLACEHOLDER, WitnessBundle
from lightspeed.units import Sat

__all__ = ["BuiltSweep", "batches", "build_sweep", "fee_paid", "is_worth_taking", "token_sum"]

_MAX_PAIRED_WEIGHT = 100_000
"""A batch of HTLC transactions: its coins join it, and a lost race loses no more than this."""
_MAX_TOKEN_INPUTS = 65_535
"""Of one transition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSweep:
    """A transaction of ours, signed."""

    tx: Tx
    fee_sat: Sat
    proofs: tuple[WitnessBundle, ...] = ()
    """For the stash before it is published: of the tokens taken, and of the sweep itself."""
    added: tuple[Spend, ...] = ()
    """Coins of the wallet, reserved for it."""


def is_worth_taking(spend: Spend, feerate_per_kw: FeeRate) -> bool:
    """Does the output pay for its own input? (Not for a transaction: it may share one.)

    Tokens always are: what they are worth, we do not know.
    """
    return bool(spend.tokens) or (
        spend.prevout.value > fee_for_weight(spend.weight, feerate_per_kw)
    )


def token_sum(spends: Iterable[Spend]) -> int:
    return sum(token.amount for spend in spends for token in spend.tokens)


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
    cannot. HTLC transactions share one only where their signed locktimes are the same. Tokens
    move in transactions of their own.
    """
    alone: list[Sweep] = []
    shared: dict[tuple[bool, bool, int | None], list[Sweep]] = {}
    for sweep in sweeps:
        if sweep.spend.outpoint in contested:
            alone.append(sweep)
            continue
        locktime = sweep.spend.locktime if sweep.spend.paired_output else None
        kind = (bool(sweep.spend.tokens), sweep.spend.outpoint in contestable, locktime)
        shared.setdefault(kind, []).append(sweep)
    for (_, _, locktime), together in shared.items():
        by_outpoint = {sweep.spend.outpoint: sweep for sweep in together}
        limit = {} if locktime is None else {"max_weight": _MAX_PAIRED_WEIGHT}
        for few in _by_token_inputs(together):
            spends = [sweep.spend for sweep in few]
            for part in split_spends(spends, destination_script=destination_script, **limit):
                yield tuple(by_outpoint[spend.outpoint] for spend in part)
    for sweep in alone:  # last: what may be lost anyway does not take the others' coins
        yield (sweep,)


def _by_token_inputs(sweeps: Sequence[Sweep]) -> Iterator[list[Sweep]]:
    """In order, each part no more than one transition takes."""
    part: list[Sweep] = []
    inputs = 0
    for sweep in sweeps:
        if part and inputs + len(sweep.spend.tokens) > _MAX_TOKEN_INPUTS:
            yield part
            part, inputs = [], 0
        part.append(sweep)
        inputs += len(sweep.spend.tokens)
    if part:
        yield part


async def build_sweep(
    sweeps: Sequence[Sweep],
    *,
    wallet: Wallet,
    proofs: Proofs,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    coins: Sequence[Spend] = (),
) -> BuiltSweep:
    """HTLC transactions pay no fee, and outputs with tokens little: coins join them.

    `coins` are the wallet's, used first, as in the transaction that this one replaces. Raises
    `InsufficientFunds`, what `sweep_transaction` and `coloured_sweep` raise, and
    `TokensWouldBurn`; `SweepTooSmall` also when the fee is more than the sats that are taken are
    worth, unless there are tokens.
    """
    spends = [sweep.spend for sweep in sweeps]
    tokens = token_sum(spends)
    added: list[Spend] = []
    if tokens or any(spend.paired_output for spend in spends):
        missing = _missing_fee([*spends, *coins], destination_script, feerate_per_kw)
        if missing > 0:
            added = await wallet.fee_spends(Sat(missing), feerate_per_kw=feerate_per_kw)
    inputs = [*spends, *coins, *added]
    try:
        check_nothing_burns([*coins, *added], proofs)
        if tokens:
            moved = sum(len(spend.tokens) for spend in spends)
            built = await by_size(
                moved, _coloured, sweeps, inputs, destination_script, feerate_per_kw
            )
            check_nothing_burns([*coins, *added], proofs)  # more may have come meanwhile
            return replace(built, added=tuple(added))
        tx = sweep_transaction(
            inputs, destination_script=destination_script, feerate_per_kw=feerate_per_kw
        )
        fee, value = fee_paid(tx, inputs), sum(spend.prevout.value for spend in spends)
        if fee >= value:
            raise SweepTooSmall(value_sat=value, fee_sat=fee)
    except BaseException:
        wallet.release_coins(coin.outpoint for coin in added)
        raise
    return BuiltSweep(tx=tx, fee_sat=fee, added=tuple(added))


def _coloured(
    sweeps: Sequence[Sweep],
    inputs: Sequence[Spend],
    destination_script: bytes,
    feerate_per_kw: FeeRate,
) -> BuiltSweep:
    history = tuple({bundle.txid: bundle for sweep in sweeps for bundle in sweep.history}.values())
    _, transition = history[-1].bundle.known[0]
    moved = coloured_sweep(
        inputs,
        contract_id=transition.contract_id,
        destination_script=destination_script,
        feerate_per_kw=feerate_per_kw,
    )
    return BuiltSweep(
        tx=moved.tx, fee_sat=fee_paid(moved.tx, inputs), proofs=(*history, moved.witness)
    )


def fee_paid(tx: Tx, spends: Sequence[Spend]) -> Sat:
    paid = sum(spend.prevout.value for spend in spends)
    return Sat(paid - sum(output.value for output in tx.outputs))


def _missing_fee(
    spends: Sequence[Spend], destination_script: bytes, feerate_per_kw: FeeRate
) -> int:
    """What further coins have to add, so that an output is left for the destination."""
    outputs = [spend.paired_output for spend in spends if spend.paired_output]
    there = sum(spend.prevout.value for spend in spends) - sum(o.value for o in outputs)
    if any(spend.tokens for spend in spends):
        outputs.append(OPRET_PLACEHOLDER)
    weight = transaction_weight(
        witness_weights=tuple(spend.witness_weight for spend in spends),
        output_weights=tuple(
            output_weight(script)
            for script in (*(output.script for output in outputs), destination_script)
        ),
    )
    return fee_for_weight(weight, feerate_per_kw) + dust_limit(destination_script) + 1 - there

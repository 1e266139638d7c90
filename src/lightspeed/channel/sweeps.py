"""Transactions that collect outputs of any kind, after a unilateral close.

A `Spend` knows how one output is taken; `sweep_transaction` takes many of them in one
transaction. The Lightspeed extension uses the same for claims and refunds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import (
    TX_INPUT_WEIGHT,
    FeeRate,
    OutPoint,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    dust_limit,
    fee_for_weight,
)
from lightspeed.channel.weights import output_weight, transaction_weight
from lightspeed.errors import LocalError
from lightspeed.rgb import (
    OPRET_PLACEHOLDER,
    Coloured,
    TokenInput,
    TokensWouldBurn,
    check_moves_tokens,
    colour,
)
from lightspeed.units import Sat

__all__ = [
    "MAX_SWEEP_WEIGHT",
    "SEQUENCE_REPLACEABLE",
    "SWEEP_VOUT",
    "Sign",
    "Spend",
    "SweepConflict",
    "SweepTooHeavy",
    "SweepTooSmall",
    "coloured_sweep",
    "split_spends",
    "sweep_transaction",
]

MAX_SWEEP_WEIGHT = 390_000  # of the 400,000 that relay: room for one more output
SEQUENCE_REPLACEABLE = 0xFFFFFFFD  # no relative locktime; locktime in force; BIP 125
_LONG_COUNTS_WEIGHT = 4 * (2 + 2)  # counts of inputs and outputs in three bytes, not one
_NOTHING = Sat(0)
SWEEP_VOUT = 1
"""Where a coloured sweep leaves the tokens."""
_WITH_TOKENS_SAT = Sat(1_000)
"""What a coloured sweep leaves with them: an output that pays for its own input later."""

Sign = Callable[[TxDigest, int], tuple[bytes, ...]]
"""The witness of input `index` of the transaction in the digest, which has all prevouts."""


class SweepTooSmall(LocalError, ValueError):
    """After the fee, less than the destination's dust limit would be left."""

    def __init__(self, *, value_sat: int, fee_sat: Sat) -> None:
        super().__init__(f"{value_sat} sat do not pay for a fee of {fee_sat} sat and an output")
        self.value_sat = value_sat
        self.fee_sat = fee_sat


class SweepTooHeavy(LocalError, ValueError):
    """The transaction would not relay: use `split_spends` first."""

    def __init__(self, weight: int) -> None:
        super().__init__(f"a sweep of {weight} weight units, above {MAX_SWEEP_WEIGHT}")
        self.weight = weight


class SweepConflict(LocalError, ValueError):
    """Signed locktimes differ, or an outpoint is spent twice: these go in separate sweeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """How one output is spent.

    `witness_weight` is exact for Schnorr; for ECDSA it is that of the longest signature, of
    which one or two bytes may be missing. `locktime` is the least that the transaction may
    have. With a `paired_output` the other side signed (SIGHASH_SINGLE) that this output stands
    at the input's index; then the locktime is signed too, and exact.
    """

    outpoint: OutPoint
    prevout: TxOut
    sequence: int
    witness_weight: int
    sign: Sign = field(repr=False, compare=False)
    locktime: int = 0
    paired_output: TxOut | None = None
    tokens: tuple[TokenInput, ...] = ()
    """What is on the output; a `coloured_sweep` moves them."""

    @property
    def weight(self) -> int:
        """Of the input, its witness and the output that is paired with it."""
        paired = output_weight(self.paired_output.script) if self.paired_output else 0
        return TX_INPUT_WEIGHT + self.witness_weight + paired


def sweep_transaction(
    spends: Sequence[Spend],
    *,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    extra_fee_sat: Sat = _NOTHING,
    version: int = 2,
    locktime: int = 0,
) -> Tx:
    """One signed transaction of all `spends`; what the fee leaves goes to the destination.

    Spends with a paired output come first, else the order is kept. `extra_fee_sat` is paid on
    top of the fee rate, for a parent. `locktime` is raised to what the spends need. Without
    paired outputs nothing can be left out, so a rest below dust raises `SweepTooSmall`; with
    them it goes to the fee. Raises `SweepTooHeavy` and `SweepConflict` too, and
    `TokensWouldBurn` for a spend with tokens.
    """
    if any(spend.tokens for spend in spends):
        raise TokensWouldBurn("an output with tokens is taken by a coloured sweep only")
    ordered = sorted(spends, key=lambda spend: spend.paired_output is None)
    paired = tuple(spend.paired_output for spend in ordered if spend.paired_output is not None)
    prevouts = tuple(spend.prevout for spend in ordered)
    rest = sum(prevout.value for prevout in prevouts) - sum(output.value for output in paired)

    def fee_of(outputs: tuple[TxOut, ...]) -> Sat:
        weight = _weight(ordered, outputs)
        if weight > MAX_SWEEP_WEIGHT:
            raise SweepTooHeavy(weight)
        return Sat(fee_for_weight(weight, feerate_per_kw) + extra_fee_sat)

    fee = fee_of((*paired, TxOut(_NOTHING, destination_script)))
    if rest - fee >= dust_limit(destination_script):
        outputs = (*paired, TxOut(Sat(rest - fee), destination_script))
    elif paired and rest >= fee_of(paired):
        outputs = paired
    else:
        raise SweepTooSmall(value_sat=rest, fee_sat=fee)

    unsigned = Tx(
        version=version,
        inputs=tuple(TxIn(spend.outpoint, sequence=spend.sequence) for spend in ordered),
        outputs=outputs,
        locktime=_locktime(ordered, locktime),
    )
    return _signed(unsigned, ordered)


def coloured_sweep(
    spends: Sequence[Spend],
    *,
    contract_id: bytes,
    destination_script: bytes,
    feerate_per_kw: FeeRate,
    extra_fee_sat: Sat = _NOTHING,
    locktime: int = 0,
) -> Coloured:
    """One signed transaction of all `spends`, which moves their tokens to the destination.

    Output 0 is the OP_RETURN, output 1 the destination with the tokens and few sats, output 2
    the destination again with the sats that are over, if they are worth an output: sats beside
    tokens cannot be spent without these. Spends without tokens may be among them, those with a
    paired output may not: `SweepConflict`. All tokens are of one contract. Raises
    `SweepTooSmall` when the rest after the fee is below dust (a coin of the wallet helps), and
    `SweepTooHeavy`.
    """
    if any(spend.paired_output is not None for spend in spends):
        raise SweepConflict("tokens cannot move where the other side signed for an output")
    value = sum(spend.prevout.value for spend in spends)

    def rest(*scripts: bytes) -> int:
        outputs = (OPRET_PLACEHOLDER, *(TxOut(_NOTHING, script) for script in scripts))
        weight = _weight(spends, outputs)
        if weight > MAX_SWEEP_WEIGHT:
            raise SweepTooHeavy(weight)
        return value - fee_for_weight(weight, feerate_per_kw) - extra_fee_sat

    alone, beside = rest(destination_script), rest(destination_script, destination_script)
    if alone < dust_limit(destination_script):
        raise SweepTooSmall(value_sat=value, fee_sat=Sat(value - alone))
    paid = [alone]
    if beside >= 2 * _WITH_TOKENS_SAT:
        paid = [_WITH_TOKENS_SAT, beside - _WITH_TOKENS_SAT]
    draft = Tx(
        version=2,
        inputs=tuple(TxIn(spend.outpoint, sequence=spend.sequence) for spend in spends),
        outputs=(OPRET_PLACEHOLDER, *(TxOut(Sat(sat), destination_script) for sat in paid)),
        locktime=_locktime(spends, locktime),
    )
    inputs = sorted(token for spend in spends for token in spend.tokens)
    coloured = colour(
        draft,
        contract_id=contract_id,
        inputs=inputs,
        allocations=[(SWEEP_VOUT, sum(token.amount for token in inputs))],
    )
    check_moves_tokens(
        coloured.tx, tokens={spend.outpoint: spend.tokens for spend in spends}, coloured=coloured
    )
    signed = _signed(coloured.tx, spends)
    return replace(coloured, tx=signed, witness=replace(coloured.witness, witness=signed))


def _signed(unsigned: Tx, spends: Sequence[Spend]) -> Tx:
    digest = TxDigest(unsigned, tuple(spend.prevout for spend in spends))
    return replace(
        unsigned,
        inputs=tuple(
            TxIn(spend.outpoint, sequence=spend.sequence, witness=spend.sign(digest, index))
            for index, spend in enumerate(spends)
        ),
    )


def split_spends(
    spends: Sequence[Spend], *, destination_script: bytes, max_weight: int = MAX_SWEEP_WEIGHT
) -> Iterator[tuple[Spend, ...]]:
    """Parts that each fit one transaction, coloured or not, in order, of about equal weight.

    Equal, because a small remainder might not pay for its own transaction.
    """
    destination = TxOut(_NOTHING, destination_script)
    frame = _weight((), (OPRET_PLACEHOLDER, destination, destination))
    room = max_weight - frame - _LONG_COUNTS_WEIGHT
    total = sum(spend.weight for spend in spends)
    target = total / -(-total // room) if total else room
    part: list[Spend] = []
    weight = 0
    for spend in spends:
        if part and (weight >= target or weight + spend.weight > room):
            yield tuple(part)
            part, weight = [], 0
        part.append(spend)
        weight += spend.weight
    if part:
        yield tuple(part)


def _weight(spends: Sequence[Spend], outputs: Sequence[TxOut]) -> int:
    return transaction_weight(
        witness_weights=tuple(spend.witness_weight for spend in spends),
        output_weights=tuple(output_weight(output.script) for output in outputs),
    )


def _locktime(spends: Sequence[Spend], minimum: int) -> int:
    """Raises `SweepConflict`."""
    if len({spend.outpoint for spend in spends}) != len(spends):
        raise SweepConflict("an outpoint is spent twice")
    needed = max((minimum, *(spend.locktime for spend in spends)))
    if any(spend.paired_output and spend.locktime != needed for spend in spends):
        raise SweepConflict(f"a signed locktime is not {needed}")
    return needed

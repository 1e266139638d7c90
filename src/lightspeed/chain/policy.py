"""Relay policy for one transaction, as pure functions: what Bitcoin Core's mempool refuses.

Each function raises `BroadcastRefused` with Bitcoin Core's reject string, or returns nothing.
Rules follow Bitcoin Core 30; where it leaves a choice, the stricter one is taken.

Not checked: counts of signature operations (and the larger vsize that they may give), legacy
redeem scripts, minimal pushes and low S values inside of executed scripts (the kernel verifies
with consensus flags only). Stricter than Bitcoin Core: bare multisig and bare public keys are
nonstandard here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightspeed.bitcoin import (
    MAX_STANDARD_TX_WEIGHT,
    P2A_SCRIPT,
    Op,
    OutputType,
    ScriptError,
    Tx,
    TxOut,
    dust_limit,
    output_type,
    parse_script,
)
from lightspeed.chain.errors import BroadcastRefused
from lightspeed.chain.index import Coin
from lightspeed.units import Sat

__all__ = [
    "FeePolicy",
    "check_dust_pays_nothing",
    "check_final",
    "check_sanity",
    "check_sequence_locks",
    "check_standard",
    "check_witness_standard",
    "dust_outputs",
    "fee_paid",
]

MAX_MONEY = 21_000_000 * 100_000_000  # sat
COINBASE_MATURITY_BLOCKS = 100
_LOCKTIME_THRESHOLD = 500_000_000  # below: a height; from it on: seconds since 1970
_SEQUENCE_FINAL = 0xFFFFFFFF
_SEQUENCE_DISABLED = 1 << 31  # BIP 68
_SEQUENCE_IS_TIME = 1 << 22
_SEQUENCE_VALUE = 0xFFFF
_SEQUENCE_SECONDS_SHIFT = 9

_VERSIONS = range(1, 4)
_MIN_NONWITNESS_SIZE = 65
_MAX_SCRIPT_SIG_SIZE = 1_650
_MAX_DUST_OUTPUTS = 1
_MAX_P2WSH_SCRIPT_SIZE = 3_600
_MAX_P2WSH_STACK_ITEMS = 100
_MAX_STACK_ITEM_SIZE = 80  # P2WSH and tapscript
_ANNEX_TAG = 0x50  # BIP 341
_TAPSCRIPT = 0xC0  # BIP 342
_LEAF_MASK = 0xFE


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Fee rates in sat per 1,000 vbytes.

    `mempool_floor` is what a full mempool asks in addition to `relay`: packages may reach it
    together, `relay` has to be met by each transaction that is not TRUC.
    """

    relay: int = 1_000
    incremental: int = 1_000
    mempool_floor: int = 0

    def relay_fee(self, vsize: int) -> Sat:
        return _fee(self.relay, vsize)

    def entry_fee(self, vsize: int) -> Sat:
        return _fee(max(self.relay, self.mempool_floor), vsize)

    def replacement_fee(self, vsize: int) -> Sat:
        """What a replacement pays on top of everything that it evicts."""
        return _fee(self.incremental, vsize)


def _fee(rate: int, vsize: int) -> Sat:
    return Sat(-(-rate * vsize // 1_000))


def check_sanity(tx: Tx) -> None:
    """The consensus rules that need no chain; a coinbase is refused as well."""
    if not tx.inputs:
        raise BroadcastRefused("bad-txns-vin-empty")
    if not tx.outputs:
        raise BroadcastRefused("bad-txns-vout-empty")
    for out in tx.outputs:
        if out.value < 0:
            raise BroadcastRefused("bad-txns-vout-negative")
        if out.value > MAX_MONEY:
            raise BroadcastRefused("bad-txns-vout-toolarge")
    if sum(out.value for out in tx.outputs) > MAX_MONEY:
        raise BroadcastRefused("bad-txns-txouttotal-toolarge")
    if len({txin.outpoint for txin in tx.inputs}) != len(tx.inputs):
        raise BroadcastRefused("bad-txns-inputs-duplicate")
    if tx.is_coinbase:
        raise BroadcastRefused("coinbase")
    if any(txin.outpoint.is_null for txin in tx.inputs):
        raise BroadcastRefused("bad-txns-prevout-null")


def check_standard(tx: Tx) -> None:
    """Version, weight, input scripts, output scripts, number of dust outputs."""
    if tx.version not in _VERSIONS:
        raise BroadcastRefused("version")
    if tx.weight > MAX_STANDARD_TX_WEIGHT:
        raise BroadcastRefused("tx-size")
    for txin in tx.inputs:
        if len(txin.script_sig) > _MAX_SCRIPT_SIG_SIZE:
            raise BroadcastRefused("scriptsig-size")
        if not _is_push_only(txin.script_sig):
            raise BroadcastRefused("scriptsig-not-pushonly")
    if any(output_type(out.script) is OutputType.NONSTANDARD for out in tx.outputs):
        raise BroadcastRefused("scriptpubkey")
    if len(dust_outputs(tx)) > _MAX_DUST_OUTPUTS:
        raise BroadcastRefused("dust")
    if len(tx.serialize(witness=False)) < _MIN_NONWITNESS_SIZE:
        raise BroadcastRefused("tx-size-small")


def dust_outputs(tx: Tx) -> list[int]:
    """Indices of the outputs below their dust limit."""
    return [i for i, out in enumerate(tx.outputs) if out.value < dust_limit(out.script)]


def check_dust_pays_nothing(tx: Tx, fee: Sat) -> None:
    """Dust is allowed only where nobody gains by mining the transaction alone."""
    if fee and dust_outputs(tx):
        raise BroadcastRefused("dust", "tx with dust output must be 0-fee")


def check_final(tx: Tx, *, next_height: int, median_time: int) -> None:
    """The locktime lets the transaction into the next block (BIP 113)."""
    if tx.locktime == 0 or all(txin.sequence == _SEQUENCE_FINAL for txin in tx.inputs):
        return
    reached = next_height if tx.locktime < _LOCKTIME_THRESHOLD else median_time
    if tx.locktime >= reached:
        raise BroadcastRefused("non-final")


def check_sequence_locks(
    tx: Tx,
    coin_heights: Sequence[int | None],
    *,
    next_height: int,
    median_time: Callable[[int], int],
) -> None:
    """Relative lock times let the transaction into the next block (BIP 68).

    An unconfirmed coin counts as if mined in the next block. `median_time(h)` is the median
    time past of block h, for each h below `next_height`.
    """
    if tx.version < 2:
        return
    for txin, coin_height in zip(tx.inputs, coin_heights, strict=True):
        if txin.sequence & _SEQUENCE_DISABLED:
            continue
        height = next_height if coin_height is None else coin_height
        value = txin.sequence & _SEQUENCE_VALUE
        if txin.sequence & _SEQUENCE_IS_TIME:
            start = median_time(max(height - 1, 0))
            if median_time(next_height - 1) < start + (value << _SEQUENCE_SECONDS_SHIFT):
                raise BroadcastRefused("non-BIP68-final")
        elif next_height < height + value:
            raise BroadcastRefused("non-BIP68-final")


def fee_paid(tx: Tx, coins: Sequence[Coin], *, next_height: int) -> Sat:
    """Inputs less outputs; refuses immature coinbases and negative fees."""
    total = 0
    for coin in coins:
        if (
            coin.is_coinbase
            and coin.height is not None
            and next_height - coin.height < COINBASE_MATURITY_BLOCKS
        ):
            raise BroadcastRefused("bad-txns-premature-spend-of-coinbase")
        total += coin.output.value
    spent = sum(out.value for out in tx.outputs)
    if total < spent:
        raise BroadcastRefused("bad-txns-in-belowout", f"{total} < {spent}")
    return Sat(total - spent)


def check_witness_standard(tx: Tx, spent: Sequence[TxOut]) -> None:
    """Inputs of known kinds, witnesses within the limits for P2WSH and taproot."""
    for txin, out in zip(tx.inputs, spent, strict=True):
        kind = output_type(out.script)
        if kind in (OutputType.NONSTANDARD, OutputType.WITNESS_UNKNOWN, OutputType.OP_RETURN):
            raise BroadcastRefused("bad-txns-nonstandard-inputs")
        if txin.witness and not _is_witness_standard(txin.witness, kind, out.script):
            raise BroadcastRefused("bad-witness-nonstandard")


def _is_witness_standard(stack: Sequence[bytes], kind: OutputType, script: bytes) -> bool:
    if script == P2A_SCRIPT:
        return False
    if kind is OutputType.P2PKH:
        return False  # a witness where none belongs
    if kind is OutputType.P2WSH:
        *items, witness_script = stack
        return (
            len(witness_script) <= _MAX_P2WSH_SCRIPT_SIZE
            and len(items) <= _MAX_P2WSH_STACK_ITEMS
            and all(len(item) <= _MAX_STACK_ITEM_SIZE for item in items)
        )
    if kind is OutputType.P2TR and len(stack) >= 2:
        *items, _, control_block = stack
        if control_block[:1] == bytes([_ANNEX_TAG]) or not control_block:
            return False
        if control_block[0] & _LEAF_MASK == _TAPSCRIPT:
            return all(len(item) <= _MAX_STACK_ITEM_SIZE for item in items)
    return True


def _is_push_only(script: bytes) -> bool:
    try:
        return all(opcode <= Op.OP_16 for opcode, _ in parse_script(script))
    except ScriptError:
        return False

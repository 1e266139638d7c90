"""Blocks and transactions in the JSON of Blockstream's Esplora."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from lightspeed.bitcoin import (
    AddressError,
    Block,
    Network,
    Op,
    OutPoint,
    OutputType,
    ScriptError,
    Tx,
    TxOut,
    address_of_script,
    output_type,
    parse_script,
    sha256,
    target_of,
    txid_hex,
)
from lightspeed.chain.interface import BlockId
from lightspeed.chain.regtest import Regtest

__all__ = [
    "block_json",
    "outspend_json",
    "script_stats_json",
    "status_json",
    "tx_json",
    "unspent_json",
]

_DIFFICULTY_ONE = target_of(0x1D00FFFF)
_OUTPUT_TYPES = {
    OutputType.P2PKH: "p2pkh",
    OutputType.P2SH: "p2sh",
    OutputType.P2WPKH: "v0_p2wpkh",
    OutputType.P2WSH: "v0_p2wsh",
    OutputType.P2TR: "v1_p2tr",
    OutputType.P2A: "anchor",
    OutputType.OP_RETURN: "op_return",
    OutputType.WITNESS_UNKNOWN: "unknown",
    OutputType.NONSTANDARD: "unknown",
}
_OPCODE_NAMES = {
    Op.OP_1NEGATE: "OP_PUSHNUM_NEG1",
    Op.OP_CHECKLOCKTIMEVERIFY: "OP_CLTV",
    Op.OP_CHECKSEQUENCEVERIFY: "OP_CSV",
} | {Op(Op.OP_1 + n): f"OP_PUSHNUM_{n + 1}" for n in range(16)}


def status_json(regtest: Regtest, block: BlockId | None) -> dict[str, Any]:
    """Of a transaction that `block` confirms."""
    if block is None:
        return {"confirmed": False}
    return {
        "confirmed": True,
        "block_height": block.height,
        "block_hash": txid_hex(block.hash),
        "block_time": regtest.index.block(block.height).header.time,
    }


def tx_json(regtest: Regtest, tx: Tx, confirmed: BlockId | None) -> dict[str, Any]:
    spent = [regtest.output(txin.outpoint) for txin in tx.inputs]
    fee = 0
    if not tx.is_coinbase:
        fee = sum(out.value for out in spent if out) - sum(out.value for out in tx.outputs)
    return {
        "txid": txid_hex(tx.txid),
        "version": tx.version,
        "locktime": tx.locktime,
        "vin": [_input_json(tx, index, out) for index, out in enumerate(spent)],
        "vout": [_output_json(out) for out in tx.outputs],
        "size": len(tx.serialize()),
        "weight": tx.weight,
        "fee": fee,
        "status": status_json(regtest, confirmed),
    }


def _input_json(tx: Tx, index: int, spent: TxOut | None) -> dict[str, Any]:
    txin = tx.inputs[index]
    rendered = {
        "txid": txid_hex(txin.outpoint.txid),
        "vout": txin.outpoint.vout,
        "prevout": _output_json(spent) if spent else None,
        "scriptsig": txin.script_sig.hex(),
        "scriptsig_asm": _asm(txin.script_sig),
        "is_coinbase": tx.is_coinbase,
        "sequence": txin.sequence,
    }
    if txin.witness:
        rendered["witness"] = [item.hex() for item in txin.witness]
    if spent and txin.witness:
        kind = output_type(spent.script)
        if kind is OutputType.P2WSH:
            rendered["inner_witnessscript_asm"] = _asm(txin.witness[-1])
        elif kind is OutputType.P2TR and len(txin.witness) > 1:
            rendered["inner_witnessscript_asm"] = _asm(txin.witness[-2])
    return rendered


def _output_json(out: TxOut) -> dict[str, Any]:
    rendered = {
        "scriptpubkey": out.script.hex(),
        "scriptpubkey_asm": _asm(out.script),
        "scriptpubkey_type": _OUTPUT_TYPES[output_type(out.script)],
        "value": out.value,
    }
    with suppress(AddressError):  # Esplora too leaves the field out where there is no address
        rendered["scriptpubkey_address"] = address_of_script(out.script, Network.REGTEST)
    return rendered


def _asm(script: bytes) -> str:
    """As rust-bitcoin writes it, which Esplora is built on."""
    words: list[str] = []
    try:
        for opcode, pushed in parse_script(script):
            words.append(_opcode_name(opcode))
            if pushed:
                words.append(pushed.hex())
    except ScriptError:
        words.append("<push past end>")
    return " ".join(words)


def _opcode_name(opcode: int) -> str:
    if 0 < opcode < Op.OP_PUSHDATA1:
        return f"OP_PUSHBYTES_{opcode}"
    try:
        named = Op(opcode)
    except ValueError:
        return f"OP_RETURN_{opcode}"
    return _OPCODE_NAMES.get(named, named.name)


def block_json(regtest: Regtest, block: Block, height: int) -> dict[str, Any]:
    header = block.header
    size = len(block.serialize())
    stripped = size - sum(
        len(tx.serialize()) - len(tx.serialize(witness=False)) for tx in block.transactions
    )
    best = regtest.index.block_id(height)
    return {
        "id": txid_hex(block.hash),
        "height": height,
        "version": header.version,
        "timestamp": header.time,
        "tx_count": len(block.transactions),
        "size": size,
        "weight": 3 * stripped + size,
        "merkle_root": txid_hex(header.merkle_root),
        "previousblockhash": txid_hex(header.previous) if height else None,
        "mediantime": (
            regtest.index.median_time_past(height)
            if best and best.hash == block.hash
            else header.time
        ),
        "nonce": header.nonce,
        "bits": header.bits,
        "difficulty": _DIFFICULTY_ONE / target_of(header.bits),
    }


def outspend_json(regtest: Regtest, outpoint: OutPoint) -> dict[str, Any]:
    spend = regtest.outspend(outpoint)
    if spend is None:
        return {"spent": False}
    return {
        "spent": True,
        "txid": txid_hex(spend.txid),
        "vin": spend.input_index,
        "status": status_json(regtest, spend.confirmed),
    }


def script_stats_json(
    regtest: Regtest, script_hash: bytes, txids: Iterable[bytes]
) -> dict[str, int]:
    """Counts and sums of what these transactions pay to the script and spend from it."""
    stats = dict.fromkeys(
        ("tx_count", "funded_txo_count", "funded_txo_sum", "spent_txo_count", "spent_txo_sum"), 0
    )
    for txid in txids:
        info = regtest.transaction(txid)
        if info is None:
            continue
        stats["tx_count"] += 1
        spent = (regtest.output(txin.outpoint) for txin in info.tx.inputs)
        for side, outputs in (("funded", info.tx.outputs), ("spent", spent)):
            for out in outputs:
                if out is not None and sha256(out.script) == script_hash:
                    stats[f"{side}_txo_count"] += 1
                    stats[f"{side}_txo_sum"] += out.value
    return stats


def unspent_json(regtest: Regtest, script_hash: bytes) -> list[dict[str, Any]]:
    return [
        {
            "txid": txid_hex(outpoint.txid),
            "vout": outpoint.vout,
            "status": status_json(regtest, confirmed),
            "value": out.value,
        }
        for outpoint, out, confirmed in regtest.unspent(script_hash)
    ]

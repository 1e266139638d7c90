"""What a signature commits to: legacy, BIP 143 (segwit v0), BIP 341 and 342 (taproot)."""

import struct
from collections.abc import Sequence
from functools import cached_property

from lightspeed.bitcoin.encoding import compact_size
from lightspeed.bitcoin.errors import SighashError
from lightspeed.bitcoin.hashes import sha256, sha256d
from lightspeed.bitcoin.script import Op, parse_script
from lightspeed.bitcoin.tx import Tx, TxIn, TxOut
from lightspeed.tagged import tagged_hash
from lightspeed.units import Sat

__all__ = [
    "SIGHASH_ALL",
    "SIGHASH_ANYONECANPAY",
    "SIGHASH_DEFAULT",
    "SIGHASH_NONE",
    "SIGHASH_SINGLE",
    "TxDigest",
    "legacy_sighash",
    "segwit_v0_sighash",
    "taproot_sighash",
]

SIGHASH_DEFAULT = 0x00
SIGHASH_ALL = 0x01
SIGHASH_NONE = 0x02
SIGHASH_SINGLE = 0x03
SIGHASH_ANYONECANPAY = 0x80

_TAPROOT_HASH_TYPES = frozenset({0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83})
_KEY_VERSION = 0  # BIP 342
_NO_CODESEPARATOR = 0xFFFFFFFF
_ONE = (1).to_bytes(32, "little")


class TxDigest:
    """The parts of the digests that all inputs of one transaction share, computed once.

    `prevouts` are the outputs that the inputs spend, in order; only taproot needs them.
    """

    def __init__(self, tx: Tx, prevouts: Sequence[TxOut] = ()) -> None:
        if prevouts and len(prevouts) != len(tx.inputs):
            raise SighashError(f"{len(prevouts)} spent outputs for {len(tx.inputs)} inputs")
        self.tx = tx
        self.prevouts = tuple(prevouts)

    @cached_property
    def _prevouts_hash(self) -> bytes:
        return sha256(b"".join(txin.outpoint.serialize() for txin in self.tx.inputs))

    @cached_property
    def _sequences_hash(self) -> bytes:
        return sha256(b"".join(_u32(txin.sequence) for txin in self.tx.inputs))

    @cached_property
    def _outputs_hash(self) -> bytes:
        return sha256(b"".join(txout.serialize() for txout in self.tx.outputs))

    @cached_property
    def _amounts_hash(self) -> bytes:
        return sha256(b"".join(_i64(prevout.value) for prevout in self.prevouts))

    @cached_property
    def _scripts_hash(self) -> bytes:
        return sha256(b"".join(_sized(prevout.script) for prevout in self.prevouts))

    def segwit_v0(
        self, index: int, *, script_code: bytes, value: Sat, hash_type: int = SIGHASH_ALL
    ) -> bytes:
        """BIP 143; `script_code` is the witness script, or the P2PKH script of a P2WPKH key."""
        txin = _input(self.tx, index)
        base = hash_type & 0x1F
        one_input = bool(hash_type & SIGHASH_ANYONECANPAY)
        all_outputs = base not in (SIGHASH_NONE, SIGHASH_SINGLE)
        prevouts = sequences = outputs = bytes(32)
        if not one_input:
            prevouts = sha256(self._prevouts_hash)
            if all_outputs:
                sequences = sha256(self._sequences_hash)
        if all_outputs:
            outputs = sha256(self._outputs_hash)
        elif base == SIGHASH_SINGLE and index < len(self.tx.outputs):
            outputs = sha256d(self.tx.outputs[index].serialize())
        return sha256d(
            b"".join(
                (
                    _i32(self.tx.version),
                    prevouts,
                    sequences,
                    txin.outpoint.serialize(),
                    _sized(script_code),
                    _i64(value),
                    _u32(txin.sequence),
                    outputs,
                    _u32(self.tx.locktime),
                    _u32(hash_type & 0xFFFFFFFF),
                )
            )
        )

    def taproot(
        self,
        index: int,
        *,
        hash_type: int = SIGHASH_DEFAULT,
        leaf_hash: bytes | None = None,
        codesep_pos: int = _NO_CODESEPARATOR,
        annex: bytes | None = None,
    ) -> bytes:
        """BIP 341 for the key path, BIP 342 when `leaf_hash` is given; `annex` with its 0x50."""
        txin = _input(self.tx, index)
        if hash_type not in _TAPROOT_HASH_TYPES:
            raise SighashError(f"hash type {hash_type:#x} is not defined for taproot")
        if len(self.prevouts) != len(self.tx.inputs):
            raise SighashError("taproot signs all spent outputs; they were not given")
        one_input = bool(hash_type & SIGHASH_ANYONECANPAY)
        base = hash_type & 0x03

        parts = [
            b"\x00",  # epoch
            bytes([hash_type]),
            _i32(self.tx.version),
            _u32(self.tx.locktime),
        ]
        if not one_input:
            parts += (
                self._prevouts_hash,
                self._amounts_hash,
                self._scripts_hash,
                self._sequences_hash,
            )
        if base in (SIGHASH_DEFAULT, SIGHASH_ALL):
            parts.append(self._outputs_hash)
        parts.append(bytes([(2 if leaf_hash is not None else 0) + (annex is not None)]))
        if one_input:
            prevout = self.prevouts[index]
            parts += (txin.outpoint.serialize(), prevout.serialize(), _u32(txin.sequence))
        else:
            parts.append(_u32(index))
        if annex is not None:
            parts.append(sha256(_sized(annex)))
        if base == SIGHASH_SINGLE:
            if index >= len(self.tx.outputs):
                raise SighashError(f"SIGHASH_SINGLE without an output {index}")
            parts.append(sha256(self.tx.outputs[index].serialize()))
        if leaf_hash is not None:
            parts += (leaf_hash, bytes([_KEY_VERSION]), _u32(codesep_pos))
        return tagged_hash("TapSighash", *parts)


def legacy_sighash(tx: Tx, index: int, *, script_code: bytes, hash_type: int) -> bytes:
    """Before segwit. 1 (little endian) for SIGHASH_SINGLE without its output, as consensus has it.

    `hash_type` may be any 32-bit number, signed or not. Raises `ScriptError` if `script_code`
    does not parse.
    """
    _input(tx, index)
    base = hash_type & 0x1F
    if base == SIGHASH_SINGLE and index >= len(tx.outputs):
        return _ONE
    code = _without_codeseparators(script_code)
    same_outputs = base not in (SIGHASH_NONE, SIGHASH_SINGLE)
    inputs: list[TxIn] = []
    for i, txin in enumerate(tx.inputs):
        if i == index:
            inputs.append(TxIn(txin.outpoint, code, txin.sequence))
        elif not hash_type & SIGHASH_ANYONECANPAY:
            inputs.append(TxIn(txin.outpoint, b"", txin.sequence if same_outputs else 0))
    outputs = tx.outputs
    if base == SIGHASH_NONE:
        outputs = ()
    elif base == SIGHASH_SINGLE:
        blank = TxOut(Sat(-1), b"")
        outputs = (blank,) * index + (tx.outputs[index],)
    signed = Tx(tx.version, tuple(inputs), outputs, tx.locktime)
    return sha256d(signed.serialize(witness=False) + _u32(hash_type & 0xFFFFFFFF))


def segwit_v0_sighash(
    tx: Tx, index: int, *, script_code: bytes, value: Sat, hash_type: int = SIGHASH_ALL
) -> bytes:
    """`TxDigest.segwit_v0` for a single input."""
    return TxDigest(tx).segwit_v0(index, script_code=script_code, value=value, hash_type=hash_type)


def taproot_sighash(
    tx: Tx,
    index: int,
    *,
    prevouts: Sequence[TxOut],
    hash_type: int = SIGHASH_DEFAULT,
    leaf_hash: bytes | None = None,
    codesep_pos: int = _NO_CODESEPARATOR,
    annex: bytes | None = None,
) -> bytes:
    """`TxDigest.taproot` for a single input."""
    return TxDigest(tx, prevouts).taproot(
        index, hash_type=hash_type, leaf_hash=leaf_hash, codesep_pos=codesep_pos, annex=annex
    )


def _input(tx: Tx, index: int) -> TxIn:
    if not 0 <= index < len(tx.inputs):
        raise SighashError(f"no input {index} in a transaction of {len(tx.inputs)}")
    return tx.inputs[index]


def _without_codeseparators(raw: bytes) -> bytes:
    if Op.OP_CODESEPARATOR not in raw:
        return raw
    kept: list[bytes] = []
    for opcode, data in parse_script(raw):
        if opcode == Op.OP_CODESEPARATOR:
            continue
        kept.append(bytes([opcode]))
        if Op.OP_PUSHDATA1 <= opcode <= Op.OP_PUSHDATA4 and data is not None:
            width = 1 << (opcode - Op.OP_PUSHDATA1)
            kept.append(len(data).to_bytes(width, "little"))
        if data:
            kept.append(data)
    return b"".join(kept)


def _u32(n: int) -> bytes:
    return struct.pack("<I", n)


def _i32(n: int) -> bytes:
    return struct.pack("<i", n)


def _i64(n: int) -> bytes:
    return struct.pack("<q", n)


def _sized(data: bytes) -> bytes:
    return compact_size(len(data)) + data

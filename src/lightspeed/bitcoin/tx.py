"""Transactions: BIP 144 serialization, ids and weight.

Ids are 32 bytes in internal order (as hashed and serialized); the text form reverses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from lightspeed.bitcoin.encoding import Reader, compact_size
from lightspeed.bitcoin.errors import TxParseError
from lightspeed.bitcoin.hashes import sha256d
from lightspeed.units import Sat

__all__ = [
    "NULL_TXID",
    "SEQUENCE_FINAL",
    "OutPoint",
    "Tx",
    "TxIn",
    "TxOut",
    "txid_from_hex",
    "txid_hex",
]

SEQUENCE_FINAL = 0xFFFFFFFF
NULL_TXID = bytes(32)


def txid_hex(txid: bytes) -> str:
    """Display order, as explorers and RPC print it."""
    return txid[::-1].hex()


def txid_from_hex(text: str) -> bytes:
    """Internal order, from 64 hex digits in display order."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise TxParseError("a transaction id is 64 hex digits") from None
    if len(raw) != 32 or len(text) != 64:
        raise TxParseError("a transaction id is 64 hex digits")
    return raw[::-1]


@dataclass(frozen=True, slots=True, order=True)
class OutPoint:
    """One output of one transaction; `txid` is in internal order."""

    txid: bytes
    vout: int

    def __post_init__(self) -> None:
        if len(self.txid) != 32 or not 0 <= self.vout <= 0xFFFFFFFF:
            raise TxParseError("an outpoint is 32 bytes and an unsigned 32-bit index")

    def __str__(self) -> str:
        return f"{txid_hex(self.txid)}:{self.vout}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `str()`: `<txid in display order>:<vout>`."""
        txid, separator, vout = text.partition(":")
        if not separator or not (vout.isascii() and vout.isdigit()) or len(vout) > 10:
            raise TxParseError("an outpoint is written txid:vout")
        return cls(txid_from_hex(txid), int(vout))

    @property
    def is_null(self) -> bool:
        """True for the input of a coinbase."""
        return self.vout == 0xFFFFFFFF and self.txid == NULL_TXID

    def serialize(self) -> bytes:
        return self.txid + self.vout.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class TxIn:
    outpoint: OutPoint
    script_sig: bytes = b""
    sequence: int = SEQUENCE_FINAL
    witness: tuple[bytes, ...] = ()

    def serialize(self) -> bytes:
        """Without the witness, which stands elsewhere in a transaction."""
        return b"".join(
            (
                self.outpoint.serialize(),
                compact_size(len(self.script_sig)),
                self.script_sig,
                self.sequence.to_bytes(4, "little"),
            )
        )

    def serialize_witness(self) -> bytes:
        parts = [compact_size(len(self.witness))]
        for item in self.witness:
            parts += (compact_size(len(item)), item)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class TxOut:
    """`value` is signed 64 bits on the wire; that it is an amount is for consensus to check."""

    value: Sat
    script: bytes

    def serialize(self) -> bytes:
        return b"".join(
            (
                self.value.to_bytes(8, "little", signed=True),
                compact_size(len(self.script)),
                self.script,
            )
        )


@dataclass(frozen=True, slots=True)
class Tx:
    """`version` is signed 32 bits. Immutable, so ids are computed once."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int = 0
    _txid: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def has_witness(self) -> bool:
        return any(txin.witness for txin in self.inputs)

    def serialize(self, *, witness: bool = True) -> bytes:
        """BIP 144 when there is a witness and it is wanted, else the old form."""
        with_witness = witness and self.has_witness
        parts = [self.version.to_bytes(4, "little", signed=True)]
        if with_witness:
            parts.append(b"\x00\x01")
        parts.append(compact_size(len(self.inputs)))
        parts += (txin.serialize() for txin in self.inputs)
        parts.append(compact_size(len(self.outputs)))
        parts += (txout.serialize() for txout in self.outputs)
        if with_witness:
            parts += (txin.serialize_witness() for txin in self.inputs)
        parts.append(self.locktime.to_bytes(4, "little"))
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Exactly one transaction, as Bitcoin Core reads it; raises `TxParseError`."""
        reader = Reader(data)
        tx = cls.read(reader)
        reader.finish()
        return tx

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """The next transaction of a longer serialization, such as a block."""
        version = reader.signed(4)
        inputs = _read_inputs(reader)
        flags = 0
        outputs: tuple[TxOut, ...] = ()
        if inputs:
            outputs = _read_outputs(reader)
        else:
            # An empty input list is BIP 144's marker; a zero flag means no inputs, no outputs.
            flags = reader.unsigned(1)
            if flags:
                inputs = _read_inputs(reader)
                outputs = _read_outputs(reader)
        if flags & 1:
            inputs = tuple(replace(txin, witness=_read_stack(reader)) for txin in inputs)
            if not any(txin.witness for txin in inputs):
                raise TxParseError("a witness flag without a witness")
        if flags & ~1:
            raise TxParseError(f"unknown flags {flags:#04x}")
        return cls(version, inputs, outputs, reader.unsigned(4))

    @property
    def txid(self) -> bytes:
        if not self._txid:
            object.__setattr__(self, "_txid", sha256d(self.serialize(witness=False)))
        return self._txid

    @property
    def wtxid(self) -> bytes:
        return sha256d(self.serialize())

    @property
    def weight(self) -> int:
        """BIP 141: three times the size without witness, plus the size with it."""
        return 3 * len(self.serialize(witness=False)) + len(self.serialize())

    @property
    def vsize(self) -> int:
        """Weight / 4, rounded up."""
        return (self.weight + 3) // 4

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].outpoint.is_null

    def outpoint(self, vout: int) -> OutPoint:
        return OutPoint(self.txid, vout)

    def with_witness(self, index: int, stack: Sequence[bytes]) -> "Tx":
        """A copy whose input `index` carries this witness."""
        inputs = list(self.inputs)
        inputs[index] = replace(inputs[index], witness=tuple(stack))
        return replace(self, inputs=tuple(inputs))


def _read_inputs(reader: Reader) -> tuple[TxIn, ...]:
    return tuple(
        TxIn(
            outpoint=OutPoint(reader.take(32), reader.unsigned(4)),
            script_sig=reader.sized_bytes(),
            sequence=reader.unsigned(4),
        )
        for _ in range(reader.compact_size())
    )


def _read_outputs(reader: Reader) -> tuple[TxOut, ...]:
    return tuple(
        TxOut(value=Sat(reader.signed(8)), script=reader.sized_bytes())
        for _ in range(reader.compact_size())
    )


def _read_stack(reader: Reader) -> tuple[bytes, ...]:
    return tuple(reader.sized_bytes() for _ in range(reader.compact_size()))

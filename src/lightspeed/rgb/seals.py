"""Single-use seals: an outpoint and a blinding, and the hash that hides both.

A seal of a genesis names its transaction. One of a transition may instead mean "the transaction
that commits to this transition": what it hides then does not depend on that transaction's id.
"""

import re
from dataclasses import dataclass
from typing import NewType, Self, TypeAlias

from lightspeed.bitcoin import OutPoint, txid_from_hex, txid_hex
from lightspeed.rgb.baid64 import baid64, parse_baid64
from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.strict import Reader
from lightspeed.tagged import tagged_hash

__all__ = [
    "SECRET_SEAL_TAG",
    "GenesisSeal",
    "GraphSeal",
    "Seal",
    "SecretSeal",
    "parse_secret_seal",
    "secret_seal_text",
]

SecretSeal = NewType("SecretSeal", bytes)
"""32 bytes: a concealed seal."""

SECRET_SEAL_TAG = "urn:lnp-bp:seals:secret#2024-02-03"
_PREFIX = "utxob:"
_TEXT = re.compile(r"txoseal:(~|[0-9a-fA-F]{64}):([0-9]{1,10})#0x([0-9a-fA-F]{1,16})")
_WITNESS_TX, _TXID = b"\0", b"\1"


def secret_seal_text(seal: SecretSeal) -> str:
    """`utxob:...`, as an invoice names it."""
    return baid64(seal, _PREFIX, checksum=True)


def parse_secret_seal(text: str) -> SecretSeal:
    return SecretSeal(parse_baid64(text, _PREFIX, checksum=True))


@dataclass(frozen=True, slots=True, order=True)
class GenesisSeal:
    """`txid` is in internal order."""

    txid: bytes
    vout: int
    blinding: int

    def __post_init__(self) -> None:
        _check(self.txid, self.vout, self.blinding)

    def serialize(self) -> bytes:
        return self.txid + self.vout.to_bytes(4, "little") + self.blinding.to_bytes(8, "little")

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.take(32), reader.unsigned(4), reader.unsigned(8))

    def conceal(self) -> SecretSeal:
        return SecretSeal(tagged_hash(SECRET_SEAL_TAG, self.serialize()))

    def outpoint(self, witness_txid: bytes = b"") -> OutPoint:
        return OutPoint(self.txid, self.vout)

    def __str__(self) -> str:
        return f"txoseal:{txid_hex(self.txid)}:{self.vout}#{self.blinding:#x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `str()`."""
        txid, vout, blinding = _parse(text)
        if txid is None:
            raise RgbFormatError("a seal of a genesis names its transaction")
        return cls(txid, vout, blinding)


@dataclass(frozen=True, slots=True)
class GraphSeal:
    """`txid` None means the transaction that commits to the transition."""

    txid: bytes | None
    vout: int
    blinding: int

    def __post_init__(self) -> None:
        _check(self.txid, self.vout, self.blinding)

    def serialize(self) -> bytes:
        return b"".join(
            (
                _WITNESS_TX if self.txid is None else _TXID + self.txid,
                self.vout.to_bytes(4, "little"),
                self.blinding.to_bytes(8, "little"),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        txid = reader.take(32) if reader.tag(2, "a seal's transaction") else None
        return cls(txid, reader.unsigned(4), reader.unsigned(8))

    def conceal(self) -> SecretSeal:
        return SecretSeal(tagged_hash(SECRET_SEAL_TAG, self.serialize()))

    def outpoint(self, witness_txid: bytes) -> OutPoint:
        """What it seals, once the transaction that commits to its transition has an id."""
        return OutPoint(witness_txid if self.txid is None else self.txid, self.vout)

    def __str__(self) -> str:
        txid = "~" if self.txid is None else txid_hex(self.txid)
        return f"txoseal:{txid}:{self.vout}#{self.blinding:#x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `str()`."""
        return cls(*_parse(text))


Seal: TypeAlias = GenesisSeal | GraphSeal


def _check(txid: bytes | None, vout: int, blinding: int) -> None:
    if txid is not None and len(txid) != 32:
        raise RgbFormatError("a transaction id is 32 bytes")
    if not (0 <= vout < 1 << 32 and 0 <= blinding < 1 << 64):
        raise RgbFormatError("a seal's output is 32 bits, its blinding 64")


def _parse(text: str) -> tuple[bytes | None, int, int]:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise RgbFormatError("a seal is written txoseal:<txid or ~>:<output>#0x<blinding>")
    txid, vout, blinding = match.groups()
    return None if txid == "~" else txid_from_hex(txid), int(vout), int(blinding, 16)

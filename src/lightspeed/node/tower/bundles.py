"""What a part holds: complete transactions, each in several variants that differ in the fee.

    part     version u8 = 1; destination script; bundles
    bundle   flags u8 (1 a parent's txid follows, 2 only as a bump, 4 the rest goes to the
             destination); txid of the parent 32, else the commitment; transaction version u8;
             locktime u32; value of the inputs u64; inputs; fixed outputs; variants
    input    vout; nSequence u32; witness items behind the first one
    output   value u64; script
    variant  fee u32; for each input the first witness item, which is its signature

Integers are little endian, counts and the sizes of scripts and items compact sizes, as in
transactions. All inputs of a bundle spend outputs of one transaction, its parent. With flag 4 a
last output pays the destination what the fixed outputs and the fee leave; without it there is
one variant, whose fee is what the fixed outputs leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightspeed.bitcoin import OutPoint, Reader, Tx, TxIn, TxOut, TxParseError, compact_size
from lightspeed.node.tower.errors import BlobMalformed
from lightspeed.units import Sat

__all__ = ["MAX_VARIANTS", "Bundle", "BundleInput", "Part", "Variant"]

MAX_VARIANTS = 8
_MAX_BUNDLES = 1_024
_VERSION = 1
_TX_VERSIONS = (2, 3)
_HAS_PARENT, _ONLY_AS_BUMP, _REST_TO_DESTINATION = 1, 2, 4
_FLAGS = _HAS_PARENT | _ONLY_AS_BUMP | _REST_TO_DESTINATION
_TXID_SIZE = 32
_MAX_MONEY = 2_100_000_000_000_000  # sat


@dataclass(frozen=True, slots=True)
class BundleInput:
    """Without what differs between the variants."""

    vout: int
    sequence: int
    items: tuple[bytes, ...]
    """Of the witness, behind the first one."""


@dataclass(frozen=True, slots=True)
class Variant:
    fee_sat: Sat
    first_items: tuple[bytes, ...] = field(repr=False)
    """One for each input: its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Transactions that spend the same outputs: at most one of them confirms."""

    parent: bytes | None
    """Txid of the transaction whose outputs they spend; None: the commitment."""
    version: int
    locktime: int
    value_sat: Sat
    """Of the outputs that they spend."""
    inputs: tuple[BundleInput, ...]
    outputs: tuple[TxOut, ...] = ()
    variants: tuple[Variant, ...]
    """By rising fee."""
    rest_to_destination: bool = True
    only_as_bump: bool = False
    """Published only to pay for a parent that does not confirm."""

    def transactions(self, *, commitment_txid: bytes, destination_script: bytes) -> tuple[Tx, ...]:
        """One for each variant."""
        parent = self.parent or commitment_txid
        kept = sum(output.value for output in self.outputs)
        made = []
        for variant in self.variants:
            rest = TxOut(Sat(self.value_sat - kept - variant.fee_sat), destination_script)
            made.append(
                Tx(
                    version=self.version,
                    inputs=tuple(
                        TxIn(
                            OutPoint(parent, spending.vout),
                            sequence=spending.sequence,
                            witness=(first, *spending.items),
                        )
                        for spending, first in zip(self.inputs, variant.first_items, strict=True)
                    ),
                    outputs=(*self.outputs, rest) if self.rest_to_destination else self.outputs,
                    locktime=self.locktime,
                )
            )
        return tuple(made)

    def to_bytes(self) -> bytes:
        flags = (
            (_HAS_PARENT if self.parent is not None else 0)
            | (_ONLY_AS_BUMP if self.only_as_bump else 0)
            | (_REST_TO_DESTINATION if self.rest_to_destination else 0)
        )
        pieces = [bytes([flags]), self.parent or b"", bytes([self.version])]
        pieces += [self.locktime.to_bytes(4, "little"), self.value_sat.to_bytes(8, "little")]
        pieces.append(compact_size(len(self.inputs)))
        for spending in self.inputs:
            pieces.append(compact_size(spending.vout) + spending.sequence.to_bytes(4, "little"))
            pieces.append(_sized_items(spending.items))
        pieces.append(compact_size(len(self.outputs)))
        pieces += [output.serialize() for output in self.outputs]
        pieces.append(compact_size(len(self.variants)))
        for variant in self.variants:
            pieces.append(variant.fee_sat.to_bytes(4, "little"))
            pieces += [_sized(item) for item in variant.first_items]
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Part:
    """The plaintext of one sealed blob."""

    destination_script: bytes
    """Where everything goes that is taken: the client's."""
    bundles: tuple[Bundle, ...]

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                bytes([_VERSION]),
                _sized(self.destination_script),
                compact_size(len(self.bundles)),
                *(bundle.to_bytes() for bundle in self.bundles),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Part":
        """Raises `BlobMalformed`."""
        try:
            return _read_part(Reader(data))
        except TxParseError as error:
            raise BlobMalformed(f"the part does not parse: {error}") from None


def _sized(data: bytes) -> bytes:
    return compact_size(len(data)) + data


def _sized_items(items: Sequence[bytes]) -> bytes:
    return compact_size(len(items)) + b"".join(map(_sized, items))


def _read_part(reader: Reader) -> Part:
    if reader.unsigned(1) != _VERSION:
        raise BlobMalformed("a part of another version")
    destination_script = reader.sized_bytes()
    count = _count(reader, most=_MAX_BUNDLES)
    part = Part(destination_script, tuple(_read_bundle(reader) for _ in range(count)))
    reader.finish()
    return part


def _read_bundle(reader: Reader) -> Bundle:
    flags = reader.unsigned(1)
    parent = reader.take(_TXID_SIZE) if flags & _HAS_PARENT else None
    version, locktime = reader.unsigned(1), reader.unsigned(4)
    value = reader.unsigned(8)
    inputs = tuple(
        BundleInput(
            vout=reader.compact_size(),
            sequence=reader.unsigned(4),
            items=tuple(reader.sized_bytes() for _ in range(reader.compact_size())),
        )
        for _ in range(reader.compact_size())
    )
    outputs = tuple(
        TxOut(Sat(reader.unsigned(8)), reader.sized_bytes()) for _ in range(reader.compact_size())
    )
    variants = tuple(
        Variant(Sat(reader.unsigned(4)), tuple(reader.sized_bytes() for _ in inputs))
        for _ in range(_count(reader, most=MAX_VARIANTS))
    )
    bundle = Bundle(
        parent=parent,
        version=version,
        locktime=locktime,
        value_sat=Sat(value),
        inputs=inputs,
        outputs=outputs,
        variants=variants,
        rest_to_destination=bool(flags & _REST_TO_DESTINATION),
        only_as_bump=bool(flags & _ONLY_AS_BUMP),
    )
    _check(bundle, flags)
    return bundle


def _check(bundle: Bundle, flags: int) -> None:
    """Raises `BlobMalformed` unless transactions follow from it."""
    if flags & ~_FLAGS or bundle.version not in _TX_VERSIONS:
        raise BlobMalformed("unknown flags or transaction version")
    if not bundle.inputs or not bundle.variants:
        raise BlobMalformed("a bundle without inputs or variants")
    vouts = [spending.vout for spending in bundle.inputs]
    if len(set(vouts)) != len(vouts):
        raise BlobMalformed("an output is spent twice")
    if max(bundle.value_sat, *(output.value for output in bundle.outputs), 0) > _MAX_MONEY:
        raise BlobMalformed("more money than there is")
    rest = bundle.value_sat - sum(output.value for output in bundle.outputs)
    fees = [variant.fee_sat for variant in bundle.variants]
    if fees != sorted(fees):
        raise BlobMalformed("variants are not in the order of their fees")
    if bundle.rest_to_destination:
        if fees[-1] >= rest:
            raise BlobMalformed("a fee leaves nothing")
    elif fees != [rest]:
        raise BlobMalformed("the fee is not what the outputs leave")


def _count(reader: Reader, *, most: int) -> int:
    count = reader.compact_size()
    if count > most:
        raise BlobMalformed(f"{count} of something of which there may be {most}")
    return count

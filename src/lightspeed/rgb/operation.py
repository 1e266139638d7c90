"""Operations: a genesis issues a contract, a transition moves its state from seals to seals.

Their ids commit to everything but signatures, and to seals only as concealed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from lightspeed.rgb.baid64 import baid64, parse_baid64
from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.merkle import merkle_leaf, merkle_root
from lightspeed.rgb.seals import GenesisSeal, GraphSeal
from lightspeed.rgb.state import Assignments, GlobalState, Metadata
from lightspeed.rgb.strict import Reader, ascending, counted, option, signed, sized, unsigned
from lightspeed.tagged import tagged_hash

__all__ = [
    "DEFAULT_NONCE",
    "ChainNet",
    "Genesis",
    "Opout",
    "Transition",
    "TransitionBundle",
    "contract_id_text",
    "parse_contract_id",
]

DEFAULT_NONCE = (1 << 64) - 1
NO_METADATA = Metadata()
NO_GLOBALS = GlobalState()
NO_ASSIGNMENTS = Assignments()

_VERSION = bytes(2)
_STRATEGY = b"\0"  # the first opret or tapret output
_OPERATION_TAG = "urn:lnp-bp:rgb:operation#2024-02-03"
_BUNDLE_TAG = "urn:lnp-bp:rgb:bundle#2024-02-03"
_VALUE_TAG = "urn:ubideco:strict-types:value-hash#2024-02-10"
_GENESIS, _TRANSITION = b"\0", b"\1"
_MAX_ISSUER = 4_096
_SIGNATURE_SIZE = 64


class ChainNet(IntEnum):
    BITCOIN_MAINNET = 0
    BITCOIN_TESTNET3 = 1
    BITCOIN_TESTNET4 = 2
    BITCOIN_SIGNET = 3
    BITCOIN_REGTEST = 4
    LIQUID_MAINNET = 5
    LIQUID_TESTNET = 6
    BITCOIN_SIGNET_CUSTOM = 7


def contract_id_text(contract_id: bytes) -> str:
    """`rgb:...`"""
    return baid64(contract_id, "rgb:")


def parse_contract_id(text: str) -> bytes:
    return parse_baid64(text, "rgb:")


def _read_version(reader: Reader) -> None:
    if reader.take(2) != _VERSION:
        raise RgbFormatError("an operation of a later version of RGB")


@dataclass(frozen=True, slots=True, order=True)
class Opout:
    """One assignment of one operation."""

    opid: bytes
    kind: int
    number: int

    def __post_init__(self) -> None:
        if len(self.opid) != 32 or not (0 <= self.kind <= 0xFFFF and 0 <= self.number <= 0xFFFF):
            raise RgbFormatError("an opout is 32 bytes and two unsigned 16-bit numbers")

    def serialize(self) -> bytes:
        return self.opid + self.kind.to_bytes(2, "little") + self.number.to_bytes(2, "little")

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.take(32), reader.unsigned(2), reader.unsigned(2))

    def __str__(self) -> str:
        return f"{self.opid.hex()}/{self.kind}/{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """`timestamp` in seconds since 1970; `issuer` an identity in printable ASCII."""

    schema_id: bytes
    timestamp: int
    issuer: str
    chain_net: ChainNet
    metadata: Metadata = NO_METADATA
    globals: GlobalState = NO_GLOBALS
    assignments: Assignments = NO_ASSIGNMENTS

    def __post_init__(self) -> None:
        if len(self.schema_id) != 32:
            raise RgbFormatError("a schema id is 32 bytes")
        printable = self.issuer.isascii() and self.issuer.isprintable()
        if not printable or not 1 <= len(self.issuer) <= _MAX_ISSUER:
            raise RgbFormatError(f"an issuer is 1 to {_MAX_ISSUER} printable ASCII characters")

    @property
    def opid(self) -> bytes:
        """32 bytes: the contract's id. Computed at each use."""
        return tagged_hash(
            _OPERATION_TAG,
            _VERSION,
            unsigned(DEFAULT_NONCE, 8),
            _GENESIS,
            self.schema_id,
            signed(self.timestamp, 8),
            tagged_hash(_VALUE_TAG, sized(self.issuer.encode(), 2)),
            bytes((self.chain_net,)),
            _STRATEGY,
            tagged_hash(_VALUE_TAG, self.metadata.serialize()),
            self.globals.root(),
            merkle_root(()),
            self.assignments.root(),
        )

    @property
    def contract_id(self) -> bytes:
        return self.opid

    def serialize(self) -> bytes:
        return b"".join(
            (
                _VERSION,
                self.schema_id,
                signed(self.timestamp, 8),
                sized(self.issuer.encode(), 2),
                bytes((self.chain_net,)),
                _STRATEGY,
                self.metadata.serialize(),
                self.globals.serialize(),
                self.assignments.serialize(),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        _read_version(reader)
        schema_id = reader.take(32)
        timestamp = reader.signed(8)
        issuer = reader.sized(2).decode("latin-1")
        chain_net = ChainNet(reader.tag(len(ChainNet), "a chain"))
        reader.tag(1, "a seal closing strategy")
        return cls(
            schema_id=schema_id,
            timestamp=timestamp,
            issuer=issuer,
            chain_net=chain_net,
            metadata=Metadata.read(reader),
            globals=GlobalState.read(reader),
            assignments=Assignments.read(reader, GenesisSeal.read),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """`inputs` ascend; `signature` is 64 bytes and not committed to."""

    contract_id: bytes
    transition_type: int
    inputs: tuple[Opout, ...]
    assignments: Assignments
    nonce: int = DEFAULT_NONCE
    metadata: Metadata = NO_METADATA
    globals: GlobalState = NO_GLOBALS
    signature: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.contract_id) != 32:
            raise RgbFormatError("a contract id is 32 bytes")
        if not 0 < len(self.inputs) <= 0xFFFF:
            raise RgbFormatError("a transition has 1 to 65,535 inputs")
        ascending(self.inputs, "inputs")
        if self.signature is not None and len(self.signature) != _SIGNATURE_SIZE:
            raise RgbFormatError(f"a signature is {_SIGNATURE_SIZE} bytes")

    @property
    def opid(self) -> bytes:
        """32 bytes, the same with concealed and revealed seals. Computed at each use."""
        return tagged_hash(
            _OPERATION_TAG,
            _VERSION,
            unsigned(self.nonce, 8),
            _TRANSITION,
            self.contract_id,
            unsigned(self.transition_type, 2),
            tagged_hash(_VALUE_TAG, self.metadata.serialize()),
            self.globals.root(),
            merkle_root([merkle_leaf(opout.serialize()) for opout in self.inputs]),
            self.assignments.root(),
        )

    def serialize(self) -> bytes:
        return b"".join(
            (
                _VERSION,
                self.contract_id,
                unsigned(self.nonce, 8),
                unsigned(self.transition_type, 2),
                self.metadata.serialize(),
                self.globals.serialize(),
                counted([opout.serialize() for opout in self.inputs], 2),
                self.assignments.serialize(),
                option(self.signature),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        _read_version(reader)
        contract_id = reader.take(32)
        nonce = reader.unsigned(8)
        transition_type = reader.unsigned(2)
        metadata = Metadata.read(reader)
        globals_ = GlobalState.read(reader)
        inputs = reader.items(2, Opout.read)
        assignments = Assignments.read(reader, GraphSeal.read)
        signature = reader.option(lambda each: each.take(_SIGNATURE_SIZE))
        return cls(
            contract_id=contract_id,
            transition_type=transition_type,
            inputs=inputs,
            assignments=assignments,
            nonce=nonce,
            metadata=metadata,
            globals=globals_,
            signature=signature,
        )


@dataclass(frozen=True, slots=True)
class TransitionBundle:
    """All transitions of one contract that one transaction commits to.

    Its id commits to `input_map`: which transition spends which opout, ascending. Of the
    transitions themselves, which stand beside the ids that are claimed for them, some may be
    withheld.
    """

    input_map: tuple[tuple[Opout, bytes], ...]
    known: tuple[tuple[bytes, Transition], ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.input_map) <= 0xFFFF or not 0 < len(self.known) <= 0xFFFF:
            raise RgbFormatError("a bundle has 1 to 65,535 inputs and known transitions")
        ascending((opout for opout, _ in self.input_map), "inputs of a bundle")
        opids = [opid for _, opid in self.input_map] + [opid for opid, _ in self.known]
        if any(len(opid) != 32 for opid in opids):
            raise RgbFormatError("an operation id is 32 bytes")

    @classmethod
    def of(cls, transitions: Sequence[Transition]) -> Self:
        """All of them known. No two may spend the same opout."""
        known = tuple([(transition.opid, transition) for transition in transitions])
        spent = [(opout, opid) for opid, transition in known for opout in transition.inputs]
        return cls(tuple(sorted(spent)), known)

    @property
    def spender(self) -> Mapping[Opout, bytes]:
        """The input map as a mapping, built at each use."""
        return dict(self.input_map)

    @property
    def bundle_id(self) -> bytes:
        """Computed at each use."""
        return tagged_hash(_BUNDLE_TAG, self._serialized_map())

    def _serialized_map(self) -> bytes:
        return counted([opout.serialize() + opid for opout, opid in self.input_map], 2)

    def serialize(self) -> bytes:
        known = [opid + transition.serialize() for opid, transition in self.known]
        return self._serialized_map() + counted(known, 2)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        input_map = reader.items(2, lambda each: (Opout.read(each), each.take(32)))
        known = reader.items(2, lambda each: (each.take(32), Transition.read(each)))
        return cls(input_map, known)

"""What an operation carries: metadata, global state, and state assigned to seals.

Assignments are numbered by type, then by their place in the list. An amount is always public;
only the seal that it is assigned to may be concealed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self, TypeAlias

from lightspeed.bitcoin import OutPoint
from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.merkle import merkle_leaf, merkle_root
from lightspeed.rgb.seals import Seal, SecretSeal
from lightspeed.rgb.strict import Reader, ascending, counted, sized, unsigned

__all__ = ["Assign", "Assignments", "GlobalState", "Metadata", "State", "StateType"]

_AMOUNT_TAG = 8  # unsigned, 64 bits
_REVEALED, _CONFIDENTIAL = b"\0", b"\1"

State: TypeAlias = int | bytes | None
"""An amount, structured data, or nothing but a right."""


class StateType(IntEnum):
    DECLARATIVE = 0
    FUNGIBLE = 1
    STRUCTURED = 2

    @classmethod
    def of(cls, state: State) -> "StateType":
        match state:
            case None:
                return cls.DECLARATIVE
            case int():
                return cls.FUNGIBLE
            case bytes():
                return cls.STRUCTURED


def _encode_state(state: State) -> bytes:
    match state:
        case None:
            return b""
        case int():
            return bytes((_AMOUNT_TAG,)) + unsigned(state, 8)
        case bytes():
            return sized(state, 2)


def _read_state(reader: Reader, kind: int) -> State:
    match kind:
        case StateType.DECLARATIVE:
            return None
        case StateType.FUNGIBLE:
            if reader.unsigned(1) != _AMOUNT_TAG:
                raise RgbFormatError("an amount has 64 bits")
            return reader.unsigned(8)
        case _:
            return reader.sized(2)


@dataclass(frozen=True, slots=True)
class Assign:
    """State assigned to a seal, or to what a concealed seal hides."""

    seal: Seal | SecretSeal
    state: State

    @property
    def secret_seal(self) -> SecretSeal:
        return self.seal if isinstance(self.seal, bytes) else self.seal.conceal()

    def conceal(self) -> "Assign":
        return self if isinstance(self.seal, bytes) else Assign(self.seal.conceal(), self.state)

    def outpoint(self, witness_txid: bytes) -> OutPoint | None:
        """None as long as the seal is concealed."""
        return None if isinstance(self.seal, bytes) else self.seal.outpoint(witness_txid)

    def serialize(self) -> bytes:
        if isinstance(self.seal, bytes):
            return _CONFIDENTIAL + self.seal + _encode_state(self.state)
        return _REVEALED + self.seal.serialize() + _encode_state(self.state)


@dataclass(frozen=True, slots=True)
class Assignments:
    """By assignment type, ascending; each has 1 to 65,535 assignments of one kind of state."""

    by_type: tuple[tuple[int, tuple[Assign, ...]], ...] = ()
    _root: list[bytes] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        ascending((kind for kind, _ in self.by_type), "assignment types")
        for _, assigns in self.by_type:
            if not 0 < len(assigns) <= 0xFFFF:
                raise RgbFormatError("a type has 1 to 65,535 assignments")
            if len({type(assign.state) for assign in assigns}) != 1:
                raise RgbFormatError("the assignments of a type carry different kinds of state")

    def __iter__(self) -> Iterator[tuple[int, int, Assign]]:
        """Type, number within the type, assignment."""
        for kind, assigns in self.by_type:
            for number, assign in enumerate(assigns):
                yield kind, number, assign

    def of_type(self, kind: int) -> tuple[Assign, ...]:
        return dict(self.by_type).get(kind, ())

    def root(self) -> bytes:
        """The same whether seals are concealed or not. Computed at the first use."""
        if not self._root:
            leaves = []
            for kind, assigns in self.by_type:
                prefix = unsigned(kind, 2)
                leaves += [
                    merkle_leaf(prefix + _encode_state(assign.state) + assign.secret_seal)
                    for assign in assigns
                ]
            self._root.append(merkle_root(leaves))
        return self._root[0]

    def serialize(self) -> bytes:
        return counted(
            [
                b"".join(
                    (
                        unsigned(kind, 2),
                        bytes((StateType.of(assigns[0].state),)),
                        counted([assign.serialize() for assign in assigns], 2),
                    )
                )
                for kind, assigns in self.by_type
            ],
            2,
        )

    @classmethod
    def read(cls, reader: Reader, read_seal: Callable[[Reader], Seal]) -> Self:
        """`read_seal` reads a revealed seal: a genesis writes it otherwise than a transition."""

        def assigns_of_a_type(reader: Reader) -> tuple[int, tuple[Assign, ...]]:
            kind = reader.unsigned(2)
            state_type = reader.tag(3, "a kind of state")

            def assign(reader: Reader) -> Assign:
                concealed = reader.tag(2, "an assignment")
                seal = SecretSeal(reader.take(32)) if concealed else read_seal(reader)
                return Assign(seal, _read_state(reader, state_type))

            return kind, reader.items(2, assign)

        return cls(reader.items(2, assigns_of_a_type))


@dataclass(frozen=True, slots=True)
class Metadata:
    """By type, ascending."""

    by_type: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        ascending((kind for kind, _ in self.by_type), "metadata types")

    def serialize(self) -> bytes:
        return counted([unsigned(kind, 2) + sized(data, 2) for kind, data in self.by_type], 1)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.items(1, lambda each: (each.unsigned(2), each.sized(2))))


@dataclass(frozen=True, slots=True)
class GlobalState:
    """By type, ascending; each has at least one value."""

    by_type: tuple[tuple[int, tuple[bytes, ...]], ...] = ()

    def __post_init__(self) -> None:
        ascending((kind for kind, _ in self.by_type), "types of global state")
        if not all(values for _, values in self.by_type):
            raise RgbFormatError("a type of global state without a value")

    def of_type(self, kind: int) -> tuple[bytes, ...]:
        return dict(self.by_type).get(kind, ())

    def root(self) -> bytes:
        return merkle_root(
            [
                merkle_leaf(unsigned(kind, 2) + sized(value, 2))
                for kind, values in self.by_type
                for value in values
            ]
        )

    def serialize(self) -> bytes:
        return counted(
            [
                unsigned(kind, 2) + counted([sized(value, 2) for value in values], 2)
                for kind, values in self.by_type
            ],
            1,
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        def values(reader: Reader) -> tuple[int, tuple[bytes, ...]]:
            return reader.unsigned(2), reader.items(2, lambda each: each.sized(2))

        return cls(reader.items(1, values))

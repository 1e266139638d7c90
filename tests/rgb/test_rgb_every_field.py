"""Change any field of a published consignment, and it is refused for a reason that names it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin import Tx, TxIn
from lightspeed.rgb import (
    ChainNet,
    Consignment,
    Genesis,
    GlobalState,
    LeftNode,
    Metadata,
    MpcProof,
    OpretProof,
    RgbError,
    TapretProof,
    Transition,
    TransitionBundle,
    WitnessBundle,
    validate,
)
from rgb_world import FIXTURES, consignment, published_witnesses

Path = tuple[str | int, ...]
VALID: frozenset[str] = frozenset()

GLOBALS = {
    "SchemaInvalidGlobalValue",
    "SchemaUnknownGlobalStateType",
    "SchemaGlobalStateOccurrences",
    "ScriptFailure",  # the supply is not what is assigned
    "ContractMismatch",  # the history is of another contract
    "RgbFormatError",
}
ISSUED = {
    "SchemaUnknownAssignmentType",
    "SchemaAssignmentOccurrences",
    "StateTypeMismatch",
    "ScriptFailure",
    "ContractMismatch",
    "RgbFormatError",
}
MAP = {"InputMapTransitionMismatch", "TerminalBundleAbsent", "RgbFormatError"}
KNOWN = {"TransitionIdMismatch", "RgbFormatError"}

REASONS: dict[str, dict[type, set[str]]] = {
    "transfer": {Consignment: {"ContractWithHistory"}},
    "chain_net": {Genesis: {"ContractChainNetMismatch"}},
    "schema_id": {Genesis: {"SchemaMismatch"}},
    "timestamp": {Genesis: {"ContractMismatch"}},
    "issuer": {Genesis: {"ContractMismatch"}},
    "metadata": {Genesis: {"SchemaUnknownMetaType"}, Transition: KNOWN},
    "globals": {Genesis: GLOBALS, Transition: KNOWN},
    "assignments": {Genesis: ISSUED, Transition: KNOWN},
    "witness": {WitnessBundle: {"SealNoPubWitness", "RgbFormatError"}},
    "dbc_proof": {WitnessBundle: {"InvalidProofType"}},
    "position": {MpcProof: {"MpcInvalid"}},
    "cofactor": {MpcProof: {"MpcInvalid", "SealsInvalid"}},
    "path": {MpcProof: {"MpcInvalid", "SealsInvalid"}},
    "internal_key": {TapretProof: {"SealsInvalid"}},
    "partner": {TapretProof: {"SealsInvalid"}},
    "nonce": {TapretProof: {"SealsInvalid"}, Transition: KNOWN},
    "input_map": {TransitionBundle: MAP},
    "known": {TransitionBundle: {*KNOWN, "NoPrevState"}},
    "contract_id": {Transition: KNOWN},
    "transition_type": {Transition: KNOWN},
    "inputs": {Transition: KNOWN},
}


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """Of all fields, and of all items that they hold."""
    if path:
        yield path
    if is_dataclass(value):
        for field in (each for each in fields(value) if each.init):
            yield from places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def steps(base: object, path: Path) -> list[object]:
    found = [base]
    for step in path:
        last: Any = found[-1]
        found.append(last[step] if isinstance(step, int) else getattr(last, step))
    return found


def with_value(base: Any, path: Path, value: object) -> Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        inner = with_value(base[step], tuple(rest), value)
        return (*base[:step], inner, *base[step + 1 :])
    return replace(base, **{step: with_value(getattr(base, step), tuple(rest), value)})


def other(value: object, owner: object, choice: int) -> object:
    """Another value of a field, or the same if the field is changed by its parts alone."""
    match value:
        case bool():
            return not value
        case IntEnum():
            return type(value)((value + 1 + choice % (len(type(value)) - 1)) % len(type(value)))
        case int():
            return value ^ 1 << choice % 8
        case bytes() if value:
            changed = bytearray(value)
            changed[choice // 8 % len(value)] ^= 1 << choice % 8
            return type(value)(changed)
        case str():
            letter = "a" if value[choice % len(value)] != "a" else "b"
            return value[: choice % len(value)] + letter + value[choice % len(value) + 1 :]
        case OpretProof():
            return TapretProof(bytes(32))
        case TapretProof():
            return OpretProof()
        case tuple() if isinstance(owner, Consignment):
            return value  # a shorter history is a history
        case tuple() if len({type(item) for item in value}) == 1:  # no pair of different things
            return tuple(item for index, item in enumerate(value) if index != choice % len(value))
        case () if isinstance(owner, Metadata):
            return ((choice % 99, b""),)
        case () if isinstance(owner, GlobalState):
            return ((choice % 99, (b"",)),)
        case None if isinstance(owner, TapretProof):
            return LeftNode(bytes([choice % 256]) * 32)
        case _:
            return value


def reasons(owners: list[object], path: Path) -> set[str] | frozenset[str]:
    """By which the change may be refused; none if it must not be."""
    if path[0] == "terminals":  # for whom it is, of which a bundle's id alone is checked
        return {"TerminalBundleAbsent"} if path[2:] == (0,) else VALID
    for owner, step in reversed(list(zip(owners, path, strict=True))):
        if step == "signature" or (isinstance(owner, TxIn) and step == "witness"):
            return VALID  # in no id
        if isinstance(step, str) and type(owner) in REASONS.get(step, {}):
            return REASONS[step][type(owner)]
    raise AssertionError(f"nothing is said of {path}")


def refusal(name: str, path: Path, value: object) -> str | None:
    try:
        mutated = with_value(consignment(name), path, value)
        read_back = Consignment.parse(mutated.serialize())
        validate(read_back, published_witnesses(name), chain_net=ChainNet.BITCOIN_REGTEST)
    except RgbError as error:
        return type(error).__name__
    return None if read_back == mutated else "another encoding"


@pytest.mark.parametrize("name", FIXTURES)
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(choice=st.integers(0, 2**12))
def test_every_field_is_checked(name: str, choice: int) -> None:
    base = consignment(name)
    changed = set()
    for path in places(base):
        *owners, value = steps(base, path)
        found = other(value, owners[-1], choice)
        if found != value:
            changed.add((type(owners[-1]), path[-1]))
            assert refusal(name, path, found) in (reasons(owners, path) or {None}), path
    structures = {owner for owner, _ in changed}
    assert {Genesis, Transition, TransitionBundle, WitnessBundle, MpcProof, Tx} <= structures

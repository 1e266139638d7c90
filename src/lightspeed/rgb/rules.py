"""The rules of NIA for one operation.

The reference runs a script behind its id; the two rules of that script are written out here. All
sums are of 64 bits, and no allocation is of nothing.
"""

from collections.abc import Sequence

from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.failures import (
    SchemaAssignmentOccurrences,
    SchemaGlobalStateOccurrences,
    SchemaInvalidGlobalValue,
    SchemaMismatch,
    SchemaUnknownAssignmentType,
    SchemaUnknownGlobalStateType,
    SchemaUnknownMetaType,
    SchemaUnknownTransitionType,
    ScriptFailure,
    StateTypeMismatch,
)
from lightspeed.rgb.nia import ASSET_OWNER, GENESIS_GLOBALS, TRANSFER, check_global, supply_of
from lightspeed.rgb.nia_articles import NIA_SCHEMA_ID
from lightspeed.rgb.operation import Genesis, Transition
from lightspeed.rgb.state import Assignments, GlobalState, Metadata, StateType

__all__ = ["check_genesis", "check_transition"]

_SUMS_DIFFER = 0
_SUPPLY_DIFFERS = 1
_MAX_SUM = (1 << 64) - 1


def check_genesis(genesis: Genesis, opid: bytes) -> list[int]:
    """The amounts it assigns, in order. Raises a `Failure`."""
    if genesis.schema_id != NIA_SCHEMA_ID:
        raise SchemaMismatch(expected=genesis.schema_id, found=NIA_SCHEMA_ID)
    _check_public_state(opid, genesis.metadata, genesis.globals, GENESIS_GLOBALS)
    amounts = _amounts(opid, genesis.assignments)
    _check_sum(opid, amounts, supply_of(genesis), errno=_SUPPLY_DIFFERS)
    return amounts


def check_transition(transition: Transition, opid: bytes, *, spent: Sequence[int]) -> list[int]:
    """The amounts it assigns, in order; `spent` are those of its inputs. Raises a `Failure`."""
    if transition.transition_type != TRANSFER:
        raise SchemaUnknownTransitionType(opid, transition.transition_type)
    _check_public_state(opid, transition.metadata, transition.globals, ())
    amounts = _amounts(opid, transition.assignments)
    _check_sum(opid, amounts, sum(spent), errno=_SUMS_DIFFER)
    return amounts


def _check_public_state(
    opid: bytes, metadata: Metadata, globals_: GlobalState, needed: Sequence[int]
) -> None:
    for kind, _ in metadata.by_type:
        raise SchemaUnknownMetaType(opid, kind)
    for kind, _ in globals_.by_type:
        if kind not in needed:
            raise SchemaUnknownGlobalStateType(opid, kind)
    for kind in needed:
        values = globals_.of_type(kind)
        if len(values) != 1:
            raise SchemaGlobalStateOccurrences(opid, kind, len(values))
        try:
            check_global(kind, values[0])
        except RgbFormatError as error:
            raise SchemaInvalidGlobalValue(opid, kind) from error


def _amounts(opid: bytes, assignments: Assignments) -> list[int]:
    for kind, _ in assignments.by_type:
        if kind != ASSET_OWNER:
            raise SchemaUnknownAssignmentType(opid, kind)
    owned = assignments.of_type(ASSET_OWNER)
    if not owned:
        raise SchemaAssignmentOccurrences(opid, ASSET_OWNER, 0)
    amounts = [assign.state for assign in owned if isinstance(assign.state, int)]
    if len(amounts) != len(owned):
        found = StateType.of(owned[0].state)
        raise StateTypeMismatch(opid, ASSET_OWNER, StateType.FUNGIBLE, found)
    return amounts


def _check_sum(opid: bytes, amounts: Sequence[int], due: int, *, errno: int) -> None:
    if 0 in amounts or sum(amounts) != due or due > _MAX_SUM:
        raise ScriptFailure(opid, errno)

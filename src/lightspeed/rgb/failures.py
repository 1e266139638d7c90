"""Why a consignment proves nothing. Names and fields are those of the reference implementation.

Before the history is looked at: `ContractWithHistory`, `TerminalBundleAbsent`,
`ContractChainNetMismatch`, `TypeSystemMismatch`, `MissingScript`, `SchemaMismatch`. Of single-use
seals: `SealNoPubWitness` to `SealsInvalid`. Of state: `SchemaUnknown...` to `ScriptFailure`.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

from lightspeed.bitcoin import txid_hex
from lightspeed.rgb.errors import InvalidConsignment
from lightspeed.rgb.operation import ChainNet, Opout
from lightspeed.rgb.state import StateType

__all__ = [
    "ContractChainNetMismatch",
    "ContractMismatch",
    "ContractWithHistory",
    "Failure",
    "InputMapTransitionMismatch",
    "InvalidProofType",
    "MissingScript",
    "MpcInvalid",
    "NoDbcOutput",
    "NoPrevState",
    "SchemaAssignmentOccurrences",
    "SchemaGlobalStateOccurrences",
    "SchemaInvalidGlobalValue",
    "SchemaMismatch",
    "SchemaUnknownAssignmentType",
    "SchemaUnknownGlobalStateType",
    "SchemaUnknownMetaType",
    "SchemaUnknownTransitionType",
    "ScriptFailure",
    "SealNoPubWitness",
    "SealsInvalid",
    "StateTypeMismatch",
    "TerminalBundleAbsent",
    "TransitionIdMismatch",
    "TypeSystemMismatch",
]


@dataclass(eq=False)
class Failure(InvalidConsignment):
    """Ids are 32 bytes, those of transactions in internal order."""

    TEXT: ClassVar[str]

    def __str__(self) -> str:
        return self.TEXT.format(**self.details())

    def details(self) -> dict[str, str | int]:
        """Field by field, as people and programs read them."""
        return {each.name: self._shown(each.name) for each in fields(self)}

    def _shown(self, name: str) -> str | int:
        value = getattr(self, name)
        match value:
            case bytes():
                return txid_hex(value) if name == "txid" else value.hex()
            case ChainNet() | StateType():
                return value.name.lower().replace("_", " ")
            case int():
                return value
            case _:
                return str(value)


@dataclass(eq=False)
class ContractWithHistory(Failure):
    TEXT = "a consignment that is not a transfer holds nothing but the contract's genesis"


@dataclass(eq=False)
class TerminalBundleAbsent(Failure):
    TEXT = "the terminal bundle {bundle_id} is not in the consignment"
    bundle_id: bytes


@dataclass(eq=False)
class ContractChainNetMismatch(Failure):
    TEXT = "the contract lives on {found}, this validation is for {expected}"
    expected: ChainNet
    found: ChainNet


@dataclass(eq=False)
class TypeSystemMismatch(Failure):
    TEXT = "the types of the consignment are not those of its schema"


@dataclass(eq=False)
class MissingScript(Failure):
    TEXT = "the script of the consignment is not that of its schema"


@dataclass(eq=False)
class SchemaMismatch(Failure):
    TEXT = "the contract was issued under schema {expected}, not under {found}"
    expected: bytes
    found: bytes


@dataclass(eq=False)
class SealNoPubWitness(Failure):
    TEXT = "transaction {txid}, which bundle {bundle_id} needs, is unknown or out of the chain"
    bundle_id: bytes
    txid: bytes


@dataclass(eq=False)
class TransitionIdMismatch(Failure):
    TEXT = "transition {opid} has in truth the id {found}"
    opid: bytes
    found: bytes


@dataclass(eq=False)
class ContractMismatch(Failure):
    TEXT = "transition {opid} is of another contract, {contract_id}"
    opid: bytes
    contract_id: bytes


@dataclass(eq=False)
class InputMapTransitionMismatch(Failure):
    TEXT = "bundle {bundle_id} does not say that {opid} spends {opout}"
    bundle_id: bytes
    opid: bytes
    opout: Opout


@dataclass(eq=False)
class NoPrevState(Failure):
    """The assignment does not exist, is spent already, or its seal was not revealed."""

    TEXT = "transition {opid} spends {opout}, which is absent, concealed or spent"
    opid: bytes
    opout: Opout


@dataclass(eq=False)
class MpcInvalid(Failure):
    TEXT = "bundle {bundle_id} is not committed to by {txid}: {reason}"
    bundle_id: bytes
    txid: bytes
    reason: str


@dataclass(eq=False)
class NoDbcOutput(Failure):
    TEXT = "transaction {txid} has neither an OP_RETURN nor a taproot output"
    txid: bytes


@dataclass(eq=False)
class InvalidProofType(Failure):
    TEXT = "the first output of {txid} that can commit is not of the kind of the proof, {proof}"
    txid: bytes
    proof: str


@dataclass(eq=False)
class SealsInvalid(Failure):
    TEXT = "transaction {txid} does not close the seals of bundle {bundle_id}: {reason}"
    bundle_id: bytes
    txid: bytes
    reason: str


@dataclass(eq=False)
class SchemaUnknownTransitionType(Failure):
    TEXT = "transition {opid} is of type {kind}, which the schema does not know"
    opid: bytes
    kind: int


@dataclass(eq=False)
class SchemaUnknownMetaType(Failure):
    TEXT = "operation {opid} has metadata of type {kind}, which the schema does not know"
    opid: bytes
    kind: int


@dataclass(eq=False)
class SchemaUnknownGlobalStateType(Failure):
    TEXT = "operation {opid} has global state of type {kind}, which the schema does not allow"
    opid: bytes
    kind: int


@dataclass(eq=False)
class SchemaGlobalStateOccurrences(Failure):
    TEXT = "operation {opid} has {found} values of the global state {kind}, not one"
    opid: bytes
    kind: int
    found: int


@dataclass(eq=False)
class SchemaInvalidGlobalValue(Failure):
    TEXT = "operation {opid} has a value of the global state {kind} that is not of its type"
    opid: bytes
    kind: int


@dataclass(eq=False)
class SchemaUnknownAssignmentType(Failure):
    TEXT = "operation {opid} has assignments of type {kind}, which the schema does not know"
    opid: bytes
    kind: int


@dataclass(eq=False)
class SchemaAssignmentOccurrences(Failure):
    TEXT = "operation {opid} has {found} assignments of type {kind}"
    opid: bytes
    kind: int
    found: int


@dataclass(eq=False)
class StateTypeMismatch(Failure):
    TEXT = "operation {opid} has {found} state of type {kind}, which is {expected}"
    opid: bytes
    kind: int
    expected: StateType
    found: StateType


@dataclass(eq=False)
class ScriptFailure(Failure):
    """0: what a transfer spends is not what it assigns; 1: a genesis assigns not its supply."""

    TEXT = "the amounts of operation {opid} break the schema's rule {errno}"
    opid: bytes
    errno: int

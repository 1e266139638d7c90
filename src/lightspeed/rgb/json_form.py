"""Consignments and transactions in the JSON of the reference implementation, which tests use.

Partners of a tapret commitment, and state that is not an amount, have no form here.
"""

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeVar

from lightspeed.bitcoin import BitcoinError, OutPoint, Tx, TxIn, TxOut, sha256, txid_from_hex
from lightspeed.rgb.baid64 import parse_baid64
from lightspeed.rgb.consignment import Consignment, WitnessBundle
from lightspeed.rgb.dbc import DbcProof, OpretProof, TapretProof
from lightspeed.rgb.errors import RgbError, RgbFormatError, UnknownSchema
from lightspeed.rgb.failures import MissingScript, TypeSystemMismatch
from lightspeed.rgb.mpc import MpcProof
from lightspeed.rgb.operation import (
    ChainNet,
    Genesis,
    Opout,
    Transition,
    TransitionBundle,
    parse_contract_id,
)
from lightspeed.rgb.seals import GenesisSeal, GraphSeal, Seal, SecretSeal
from lightspeed.rgb.state import Assign, Assignments, GlobalState, Metadata
from lightspeed.units import Sat

__all__ = ["consignment_from_json", "tx_from_json"]

T = TypeVar("T")

# SHA-256 of the parts of NIA, as JSON with sorted keys and without spaces.
_SCHEMA = "fc52fb670f153b6adecd8fc9ed94646aa170dcf116ecf17748c4e4b65ffe376e"
_TYPES = "54123dbbcf99aaf439a08e74a88e4805937099878dcdbe66b9153a3743f89937"
_SCRIPTS = "bff32b5a73740143119306c8f549f5d0524e6c92ff013c6de75bde832f0b4044"


def consignment_from_json(text: str | bytes) -> Consignment:
    """Raises `RgbFormatError`, and `UnknownSchema` and its like for another schema's."""
    return _document(text, _consignment)


def tx_from_json(text: str | bytes) -> Tx:
    """Raises `RgbFormatError`."""
    return _document(text, _tx)


def _document(text: str | bytes, read: Callable[[Any], T]) -> T:
    try:
        return read(json.loads(text))
    except BitcoinError as error:
        raise RgbFormatError(str(error)) from error
    except RgbError:
        raise
    except (RecursionError, ValueError) as error:  # also a number of thousands of digits
        raise RgbFormatError("not JSON") from error


def _object(value: Any, *names: str) -> list[Any]:
    """The values of an object that has exactly these names."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise RgbFormatError(f"not an object with {', '.join(names)}")
    return [value[name] for name in names]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RgbFormatError("not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RgbFormatError("not a text")
    return value


def _bytes(value: Any, size: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(_text(value))
    except ValueError:
        raise RgbFormatError("not hex digits") from None
    if size is not None and len(data) != size:
        raise RgbFormatError(f"not {size} bytes")
    return data


def _unsigned(value: Any, bits: int) -> int:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise RgbFormatError(f"not an unsigned number of {bits} bits")
    return value


def _signed(value: Any, bits: int) -> int:
    if type(value) is not int or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise RgbFormatError(f"not a signed number of {bits} bits")
    return value


def _decimal(text: str, bits: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise RgbFormatError("not a number in decimal")
    return _unsigned(int(text), bits)


def _by_type(value: Any, read: Callable[[Any], T]) -> tuple[tuple[int, T], ...]:
    if not isinstance(value, dict):
        raise RgbFormatError("not an object")
    found = [(_decimal(kind, 16), read(each)) for kind, each in value.items()]
    return tuple(sorted(found, key=itemgetter(0)))


def _only(value: Any, allowed: Any) -> None:
    if value != allowed or type(value) is not type(allowed):
        raise RgbFormatError(f"{allowed!r} is the only value known here")


def _is_of_nia(value: Any, digest: str) -> bool:
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return sha256(encoded.encode()).hex() == digest


def _consignment(value: Any) -> Consignment:
    names = ["version", "transfer", "terminals", "genesis", "bundles", "schema", "types", "scripts"]
    version, transfer, terminals, genesis, bundles, schema, types, scripts = _object(value, *names)
    _only(version, "v0")
    if not isinstance(transfer, bool) or not isinstance(terminals, dict):
        raise RgbFormatError("not a boolean, or not an object")
    if not _is_of_nia(schema, _SCHEMA):
        name = schema.get("name") if isinstance(schema, dict) else None
        raise UnknownSchema(_text(name))
    if not _is_of_nia(types, _TYPES):
        raise TypeSystemMismatch
    if not _is_of_nia(scripts, _SCRIPTS):
        raise MissingScript
    return Consignment(
        transfer=transfer,
        genesis=_genesis(genesis),
        bundles=tuple([_witness_bundle(bundle) for bundle in _list(bundles)]),
        terminals=tuple(
            sorted(
                (
                    _bytes(bundle_id, 32),
                    tuple([SecretSeal(_bytes(seal, 32)) for seal in _list(seals)]),
                )
                for bundle_id, seals in terminals.items()
            )
        ),
    )


def _chain_net(value: Any) -> ChainNet:
    for each in ChainNet:
        first, *rest = each.name.lower().split("_")
        if value == first + "".join(map(str.title, rest)):
            return each
    raise RgbFormatError("not a chain")


def _genesis(value: Any) -> Genesis:
    names = (
        "ffv schemaId timestamp issuer chainNet sealClosingStrategy metadata globals assignments"
    )
    ffv, schema_id, timestamp, issuer, chain_net, strategy, *state = _object(value, *names.split())
    _only(ffv, 0)
    _only(strategy, "firstOpretOrTapret")
    metadata, globals_, assignments = state
    return Genesis(
        schema_id=parse_baid64(_text(schema_id), "rgb:sch:"),
        timestamp=_signed(timestamp, 64),
        issuer=_text(issuer),
        chain_net=_chain_net(chain_net),
        metadata=_metadata(metadata),
        globals=_globals(globals_),
        assignments=_assignments(assignments, _genesis_seal),
    )


def _metadata(value: Any) -> Metadata:
    return Metadata(_by_type(value, _bytes))


def _globals(value: Any) -> GlobalState:
    return GlobalState(_by_type(value, lambda each: tuple([_bytes(data) for data in _list(each)])))


def _genesis_seal(value: Any) -> GenesisSeal:
    txid, vout, blinding = _object(value, "txid", "vout", "blinding")
    return GenesisSeal(txid_from_hex(_text(txid)), _unsigned(vout, 32), _unsigned(blinding, 64))


def _graph_seal(value: Any) -> GraphSeal:
    txid, vout, blinding = _object(value, "txid", "vout", "blinding")
    named = None if txid is None else txid_from_hex(_text(txid))
    return GraphSeal(named, _unsigned(vout, 32), _unsigned(blinding, 64))


def _assignments(value: Any, read_seal: Callable[[Any], Seal]) -> Assignments:
    def assign(value: Any) -> Assign:
        seal, state = _object(value, "seal", "state")
        concealed = isinstance(seal, str)
        return Assign(
            SecretSeal(_bytes(seal, 32)) if concealed else read_seal(seal), _unsigned(state, 64)
        )

    def of_a_type(value: Any) -> tuple[Assign, ...]:
        kind, items = _object(value, "type", "items")
        _only(kind, "fungible")
        return tuple([assign(item) for item in _list(items)])

    return Assignments(_by_type(value, of_a_type))


def _opout(text: Any) -> Opout:
    opid, _, rest = _text(text).partition("/")
    kind, _, number = rest.partition("/")
    return Opout(_bytes(opid, 32), _decimal(kind, 16), _decimal(number, 16))


def _transition(value: Any) -> Transition:
    names = "ffv contractId nonce transitionType metadata globals inputs assignments signature"
    ffv, contract_id, nonce, kind, *state, signature = _object(value, *names.split())
    _only(ffv, 0)
    metadata, globals_, inputs, assignments = state
    return Transition(
        contract_id=parse_contract_id(_text(contract_id)),
        transition_type=_unsigned(kind, 16),
        inputs=tuple(sorted(_opout(each) for each in _list(inputs))),
        assignments=_assignments(assignments, _graph_seal),
        nonce=_unsigned(nonce, 64),
        metadata=_metadata(metadata),
        globals=_globals(globals_),
        signature=None if signature is None else _bytes(signature, 64),
    )


def _known(value: Any) -> tuple[bytes, Transition]:
    opid, transition = _object(value, "opid", "transition")
    return _bytes(opid, 32), _transition(transition)


def _bundle(value: Any) -> TransitionBundle:
    input_map, known = _object(value, "inputMap", "knownTransitions")
    if not isinstance(input_map, dict):
        raise RgbFormatError("not an object")
    spent = sorted((_opout(opout), _bytes(opid, 32)) for opout, opid in input_map.items())
    return TransitionBundle(tuple(spent), tuple([_known(each) for each in _list(known)]))


def _witness_bundle(value: Any) -> WitnessBundle:
    witness, anchor, bundle = _object(value, "pubWitness", "anchor", "bundle")
    mpc_proof, dbc_proof = _object(anchor, "mpcProof", "dbcProof")
    position, cofactor, path = _object(mpc_proof, "pos", "cofactor", "path")
    return WitnessBundle(
        _witness(witness),
        MpcProof(
            _unsigned(position, 32),
            _unsigned(cofactor, 16),
            tuple([_bytes(node, 32) for node in _list(path)]),
        ),
        _dbc_proof(dbc_proof),
        _bundle(bundle),
    )


def _dbc_proof(value: Any) -> DbcProof:
    if value is None:
        return OpretProof()
    path_proof, internal_key = _object(value, "pathProof", "internalPk")
    partner, nonce = _object(path_proof, "partnerNode", "nonce")
    _only(partner, None)
    return TapretProof(_bytes(internal_key, 32), nonce=_unsigned(nonce, 8))


def _witness(value: Any) -> Tx | bytes:
    if isinstance(value, dict) and set(value) == {"txid"}:
        return txid_from_hex(_text(value["txid"]))
    (tx,) = _object(value, "tx")
    return _tx(tx)


def _tx(value: Any) -> Tx:
    version, inputs, outputs, locktime = _object(value, "version", "inputs", "outputs", "lockTime")
    return Tx(
        _signed(version, 32),
        tuple([_input(each) for each in _list(inputs)]),
        tuple([_output(each) for each in _list(outputs)]),
        _unsigned(locktime, 32),
    )


def _input(value: Any) -> TxIn:
    outpoint, script, sequence, witness = _object(
        value, "prevOutput", "sigScript", "sequence", "witness"
    )
    return TxIn(
        OutPoint.parse(_text(outpoint)),
        _bytes(script),
        _unsigned(sequence, 32),
        tuple([_bytes(item) for item in _list(witness)]),
    )


def _output(value: Any) -> TxOut:
    amount, script = _object(value, "value", "scriptPubkey")
    return TxOut(Sat(_unsigned(amount, 63)), _bytes(script))

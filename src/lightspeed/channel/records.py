"""How a channel is stored: versioned JSON, which holds secrets of the counterparty.

Only this code reads it back. Records beside it (`Put`) belong to whoever made them; what grows
stands beside it, because the channel is stored as a whole at every step: the sheets of revoked
commitments, and the signatures for children of those that are not revoked.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar, get_type_hints
from weakref import WeakKeyDictionary, proxy

from cattrs import Converter
from cattrs.errors import BaseValidationError
from cattrs.preconf.json import make_converter

from lightspeed.bitcoin import BitcoinError, PublicKey
from lightspeed.channel.config import ChannelConfig
from lightspeed.channel.effects import Put
from lightspeed.channel.errors import StateError
from lightspeed.channel.extension import Extensions, Lookup
from lightspeed.channel.per_commitment import RevocationStore, RevocationStoreUnreadable
from lightspeed.channel.sheet import Htlc, Sheet
from lightspeed.channel.state import (
    ChannelState,
    CounterpartyCommitment,
    HolderCommitment,
    Session,
)
from lightspeed.wire import BOLT_CODEC, Codec, Message, WireError

__all__ = [
    "CHANNEL_TABLE",
    "CHILD_SIGNATURES_TABLE",
    "REVOKED_TABLE",
    "dump_channel",
    "dump_sheet",
    "forget_child_signatures",
    "load_channel",
    "load_sheet",
    "revoked_key",
    "store_child_signatures",
]

CHANNEL_TABLE = "channel"
"""Key: channel id."""
REVOKED_TABLE = "revoked"
"""The sheet of each revoked commitment of the counterparty. Key: `revoked_key`."""
CHILD_SIGNATURES_TABLE = "child-signatures"
"""What an extension keeps to publish the children of one commitment, until that is revoked.

Key: channel id, broadcaster u8 (0 holder, 1 counterparty), commitment number u64, extension.
"""

_VERSION = 2

_CONVERTERS: WeakKeyDictionary[Extensions, Converter] = WeakKeyDictionary()


def revoked_key(channel_id: bytes, number: int) -> bytes:
    """40 bytes: channel id, commitment number."""
    return channel_id + number.to_bytes(8, "big")


Commitment = HolderCommitment | CounterpartyCommitment


def _child_signatures_key(channel_id: bytes, commitment: Commitment, extension: str) -> bytes:
    broadcaster = isinstance(commitment, CounterpartyCommitment)
    number = commitment.number.to_bytes(8, "big")
    return channel_id + bytes([broadcaster]) + number + extension.encode("ascii")


def store_child_signatures(channel_id: bytes, commitment: Commitment) -> tuple[Put, ...]:
    """One record per extension; the channel's own record holds their names."""
    return tuple(
        Put(CHILD_SIGNATURES_TABLE, _child_signatures_key(channel_id, commitment, name), kept)
        for name, kept in commitment.child_signatures.items()
    )


def forget_child_signatures(channel_id: bytes, commitment: Commitment) -> tuple[Put, ...]:
    """The commitment is revoked."""
    return tuple(
        Put(CHILD_SIGNATURES_TABLE, _child_signatures_key(channel_id, commitment, name), None)
        for name in commitment.child_signatures
    )


C = TypeVar("C", bound=Commitment)


def _without_signatures(commitment: C) -> C:
    return replace(commitment, child_signatures=dict.fromkeys(commitment.child_signatures, b""))


def _with_signatures(channel_id: bytes, commitment: C, lookup: Lookup) -> C:
    """Raises `StateError`."""
    found = {}
    for name in commitment.child_signatures:
        kept = lookup(CHILD_SIGNATURES_TABLE, _child_signatures_key(channel_id, commitment, name))
        if kept is None:
            raise StateError(f"child signatures of commitment {commitment.number} are missing")
        found[name] = kept
    return replace(commitment, child_signatures=found)


def channel_codec(extensions: Extensions) -> Codec:
    """The messages of the BOLTs and of these extensions."""
    owned = [message for extension in extensions for message in extension.messages]
    return BOLT_CODEC.extended(owned)


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def _converter(extensions: Extensions) -> Converter:
    """Kept as long as they are: making one generates code, which took the most of a turn."""
    kept = _CONVERTERS.get(extensions)
    if kept is None:
        kept = _CONVERTERS[extensions] = _make_converter(proxy(extensions))
    return kept


def _make_converter(extensions: Extensions) -> Converter:
    codec = channel_codec(extensions)
    converter = make_converter()
    converter.register_unstructure_hook(PublicKey, lambda key: key.data.hex())
    converter.register_structure_hook(PublicKey, lambda data, _: PublicKey(bytes.fromhex(data)))
    converter.register_unstructure_hook(RevocationStore, lambda store: store.dump().hex())
    converter.register_structure_hook(
        RevocationStore, lambda data, _: RevocationStore.load(bytes.fromhex(data))
    )
    converter.register_unstructure_hook_func(_is_message, lambda message: message.encode().hex())
    converter.register_structure_hook_func(
        _is_message, lambda data, _: codec.decode(bytes.fromhex(data))
    )

    def dump_one_sheet(sheet: Sheet) -> dict[str, Any]:
        return {
            "holder_msat": sheet.holder_msat,
            "counterparty_msat": sheet.counterparty_msat,
            "feerate_per_kw": sheet.feerate_per_kw,
            "holder_tokens": sheet.holder_tokens,
            "counterparty_tokens": sheet.counterparty_tokens,
            "htlcs": converter.unstructure(sheet.htlcs, tuple[Htlc, ...]),
            "extensions": {
                name: extensions[name].dump_content(content).hex()
                for name, content in sheet.extensions.items()
            },
        }

    def load_one_sheet(data: dict[str, Any], _: type) -> Sheet:
        return Sheet(
            holder_msat=data["holder_msat"],
            counterparty_msat=data["counterparty_msat"],
            feerate_per_kw=data["feerate_per_kw"],
            holder_tokens=data["holder_tokens"],
            counterparty_tokens=data["counterparty_tokens"],
            htlcs=converter.structure(data["htlcs"], tuple[Htlc, ...]),
            extensions={
                name: extensions[name].load_content(bytes.fromhex(content))
                for name, content in data["extensions"].items()
            },
        )

    converter.register_unstructure_hook(Sheet, dump_one_sheet)
    converter.register_structure_hook(Sheet, load_one_sheet)
    # What a connection makes void is not stored.
    converter.register_unstructure_hook(Session, lambda _: None)
    converter.register_structure_hook(Session, lambda _, __: Session())
    return converter


def _dump(value: Any, converter: Converter) -> bytes:
    document = {"version": _VERSION, "value": converter.unstructure(value)}
    return json.dumps(document, separators=(",", ":")).encode()


def _load(data: bytes, read: Callable[[Any], Any]) -> Any:
    try:
        document = json.loads(data)
        if document["version"] != _VERSION:
            raise StateError(f"stored by another version ({document['version']})")
        return read(document["value"])
    except StateError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        BaseValidationError,
        BitcoinError,
        WireError,
        RevocationStoreUnreadable,
    ) as error:
        raise StateError(f"a stored channel does not parse: {type(error).__name__}") from None


def dump_sheet(sheet: Sheet, extensions: Extensions) -> bytes:
    return _dump(sheet, _converter(extensions))


def load_sheet(data: bytes, extensions: Extensions) -> Sheet:
    """Raises `StateError`."""
    sheet: Sheet = _load(data, lambda value: _converter(extensions).structure(value, Sheet))
    return sheet


def dump_channel(state: ChannelState, extensions: Extensions) -> bytes:
    """Everything but the session and what stands in records of its own."""
    converter = _converter(extensions)
    state = replace(
        state,
        holder_commitment=_without_signatures(state.holder_commitment),
        counterparty_commitments=tuple(map(_without_signatures, state.counterparty_commitments)),
    )
    fields = {
        name: converter.unstructure(getattr(state, name), annotation)
        for name, annotation in _stored_fields().items()
    }
    fields["extension_states"] = {
        extension.name: extension.dump_state(state.extension_states[extension.name]).hex()
        for extension in extensions
    }
    return _dump(fields, converter)


def load_channel(data: bytes, extensions: Extensions, lookup: Lookup) -> ChannelState:
    """The reverse, disconnected. `lookup` reads the other records. Raises `StateError`."""
    converter = _converter(extensions)

    def read(fields: dict[str, Any]) -> ChannelState:
        values = {
            name: converter.structure(fields[name], annotation)
            for name, annotation in _stored_fields().items()
        }
        config: ChannelConfig = values["config"]
        parameters, channel_id = config.extensions, config.channel_id
        values["holder_commitment"] = _with_signatures(
            channel_id, values["holder_commitment"], lookup
        )
        values["counterparty_commitments"] = tuple(
            _with_signatures(channel_id, commitment, lookup)
            for commitment in values["counterparty_commitments"]
        )
        values["extension_states"] = {
            extension.name: extension.load_state(
                parameters[extension.name],
                bytes.fromhex(fields["extension_states"][extension.name]),
                lookup,
            )
            for extension in extensions
        }
        return ChannelState(**values)

    state: ChannelState = _load(data, read)
    return state


@cache
def _stored_fields() -> dict[str, Any]:
    hints = get_type_hints(ChannelState)
    return {name: hints[name] for name in hints if name not in ("session", "extension_states")}

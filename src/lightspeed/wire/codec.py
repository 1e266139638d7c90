"""From a declared message class to bytes and back (BOLT 1, "Lightning Message Format")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NoReturn, Self, get_args, get_origin, get_type_hints

from lightspeed.wire.errors import EncodeError, UnknownEvenMessage, WireError
from lightspeed.wire.fields import ExtensionTlvMap, Field, Tlv
from lightspeed.wire.primitives import Reader, encode_uint
from lightspeed.wire.tlv import EXTENSION_TLV_MIN, decode_tlv_stream, encode_tlv_stream

__all__ = ["MAX_MESSAGE_SIZE", "Codec", "Layout", "Message", "UnknownMessage", "layout_of"]

MAX_MESSAGE_SIZE = 65_535
"""Type and payload together, in bytes (BOLT 8, "Lightning Message Specification")."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a message class declares, in wire order."""

    fixed: Mapping[str, Field[Any]]
    tlvs: Mapping[str, Tlv]
    extension_tlvs: str | None


_LAYOUTS: dict[type, Layout] = {}


def layout_of(message_class: type["Message"]) -> Layout:
    """Read off the annotations of the class, once."""
    layout = _LAYOUTS.get(message_class)
    if layout is None:
        layout = _LAYOUTS[message_class] = _read_layout(message_class)
    return layout


def _read_layout(message_class: type["Message"]) -> Layout:
    hints = get_type_hints(message_class, include_extras=True)
    fixed: dict[str, Field[Any]] = {}
    tlvs: dict[str, Tlv] = {}
    extension_tlvs = None
    for attribute in fields(message_class):
        hint = hints[attribute.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{message_class.__name__}.{attribute.name} declares no wire field")
        match get_args(hint)[1]:
            case Tlv() as tlv:
                tlvs[attribute.name] = tlv
            case ExtensionTlvMap():
                extension_tlvs = attribute.name
            case field:
                fixed[attribute.name] = field
    return Layout(fixed=fixed, tlvs=tlvs, extension_tlvs=extension_tlvs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of all messages: subclasses are frozen dataclasses of annotated fields.

    A value that does not fit its field is refused at construction with `EncodeError`.
    """

    TYPE: ClassVar[int]

    def __post_init__(self) -> None:
        layout = layout_of(type(self))
        for name, field in layout.fixed.items():
            self._check(name, field, getattr(self, name))
        for name, tlv in layout.tlvs.items():
            if (value := getattr(self, name)) is not None:
                self._check(name, tlv.value, value)
        if layout.extension_tlvs:
            for tlv_type, record in getattr(self, layout.extension_tlvs).items():
                if tlv_type < EXTENSION_TLV_MIN or tlv_type % 2 == 0:
                    self._refuse(layout.extension_tlvs, f"type {tlv_type} is not odd and >= 65536")
                if not isinstance(record, bytes):
                    self._refuse(layout.extension_tlvs, "bytes expected")

    def _check(self, name: str, field: Field[Any], value: object) -> None:
        try:
            field.check(value)
        except EncodeError as error:
            self._refuse(name, str(error))

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise EncodeError(f"{type(self).__name__}.{name}: {reason}") from None

    def encode(self) -> bytes:
        """Type and payload; `EncodeError` above 65,535 bytes."""
        layout = layout_of(type(self))
        parts = [encode_uint(self.TYPE, 2)]
        parts += [field.write(getattr(self, name)) for name, field in layout.fixed.items()]
        records = {
            tlv.type: tlv.value.write(value)
            for name, tlv in layout.tlvs.items()
            if (value := getattr(self, name)) is not None
        }
        if layout.extension_tlvs:
            records |= getattr(self, layout.extension_tlvs)
        encoded = b"".join([*parts, encode_tlv_stream(records)])
        if len(encoded) > MAX_MESSAGE_SIZE:
            raise EncodeError(f"{type(self).__name__} of {len(encoded)} bytes, 65535 are allowed")
        return encoded

    @classmethod
    def decode_payload(cls, payload: bytes) -> Self:
        """From the bytes behind the type. Unknown odd TLV records below 65,536 are dropped."""
        layout = layout_of(cls)
        reader = Reader(payload)
        values = {name: field.read(reader) for name, field in layout.fixed.items()}
        known = {tlv.type for tlv in layout.tlvs.values()}
        records = decode_tlv_stream(reader.take_rest(), known=known)
        for name, tlv in layout.tlvs.items():
            if tlv.type in records:
                record = Reader(records.pop(tlv.type))
                values[name] = tlv.value.read(record)
                record.finish()
        if layout.extension_tlvs:
            values[layout.extension_tlvs] = {
                tlv_type: value
                for tlv_type, value in records.items()
                if tlv_type >= EXTENSION_TLV_MIN
            }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message that is ignored: of an unknown odd type, or BOLT 7 gossip."""

    type: int
    payload: bytes

    def encode(self) -> bytes:
        """Type and payload."""
        return encode_uint(self.type, 2) + self.payload


class Codec:
    """The messages that a connection understands. Immutable; extensions make a larger one."""

    def __init__(self, messages: Iterable[type[Message]], *, ignored: Iterable[int] = ()) -> None:
        """`ignored`: even types that decode to `UnknownMessage` rather than being refused."""
        self._classes: dict[int, type[Message]] = {}
        for message_class in messages:
            if message_class.TYPE in self._classes:
                raise EncodeError(f"two messages of type {message_class.TYPE}")
            self._classes[message_class.TYPE] = message_class
        self._ignored = frozenset(ignored)

    @property
    def message_classes(self) -> tuple[type[Message], ...]:
        """All of them, ascending by type."""
        return tuple(self._classes[message_type] for message_type in sorted(self._classes))

    def extended(self, messages: Iterable[type[Message]]) -> "Codec":
        """This codec with an extension's messages added."""
        return Codec([*self._classes.values(), *messages], ignored=self._ignored)

    def decode(self, data: bytes) -> Message | UnknownMessage:
        """From type and payload; `WireError` on anything that does not parse.

        `UnknownEvenMessage` when the type is even and unknown.
        """
        if len(data) > MAX_MESSAGE_SIZE:
            raise WireError(f"message of {len(data)} bytes, 65535 are allowed")
        reader = Reader(data)
        message_type = reader.uint(2)
        payload = reader.take_rest()
        message_class = self._classes.get(message_type)
        if message_class is not None:
            return message_class.decode_payload(payload)
        if message_type % 2 == 0 and message_type not in self._ignored:
            raise UnknownEvenMessage(message_type)
        return UnknownMessage(message_type, payload)

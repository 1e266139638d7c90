"""What requests to the API hold: JSON objects whose members are checked one by one."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from lightspeed.bitcoin import InvalidKey, PublicKey
from lightspeed.colour import ColourTerms
from lightspeed.node.problems import BadRequest
from lightspeed.rgb import RgbFormatError, parse_contract_id

__all__ = ["Body", "brought_tokens", "contract_of", "hex_bytes", "peer_address"]

T = TypeVar("T")

_MAX_BODY_SIZE = 64 * 1024
_MAX_INTEGER = 2**63 - 1  # of SQLite


@dataclass(frozen=True, slots=True)
class Body:
    """Every method raises `BadRequest` when the member is missing or of another type."""

    _values: Mapping[str, Any]

    @classmethod
    async def read(
        cls, request: Request, names: Collection[str], *, max_size: int = _MAX_BODY_SIZE
    ) -> "Body":
        """An empty body is an empty object; members of other names are refused."""
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > max_size:
                raise BadRequest(f"the request is longer than {max_size:,} bytes")
        try:
            values = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            raise BadRequest("the body is not JSON") from None
        if not isinstance(values, dict):
            raise BadRequest("the body is not a JSON object")
        unknown = sorted(values.keys() - set(names))
        if unknown:
            raise BadRequest(f"unknown member {unknown[0][:40]!r}")
        return cls(values)

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise BadRequest(f"{name}: a string is expected")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def texts(self, name: str, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadRequest(f"{name}: a list of strings is expected")
        return tuple(value)

    def integer(self, name: str, *, default: int | None = None) -> int:
        """At least 0, and at most what the store holds."""
        value = self._values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_INTEGER:
            raise BadRequest(f"{name}: a whole number from 0 to {_MAX_INTEGER:,} is expected")
        return value

    def integer_or_none(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.integer(name)

    def boolean(self, name: str) -> bool:
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise BadRequest(f"{name}: true or false is expected")
        return value

    def choice(self, name: str, choices: Mapping[str, T]) -> T | None:
        """None when it is not there."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or value not in choices:
            raise BadRequest(f"{name}: one of {', '.join(sorted(choices))} is expected")
        return choices[value]


def contract_of(text: str) -> bytes:
    """From a contract id such as `rgb:...`. Raises `BadRequest`."""
    try:
        return parse_contract_id(text)
    except RgbFormatError as error:
        raise BadRequest(f"contract: {error}") from None


def brought_tokens(body: Body) -> ColourTerms | None:
    """What a new channel is to hold: members contract, tokens and push_tokens."""
    contract = body.text_or_none("contract")
    tokens, pushed = body.integer("tokens", default=0), body.integer("push_tokens", default=0)
    if contract is None:
        if tokens or pushed:
            raise BadRequest("contract: of which tokens?")
        return None
    try:
        return ColourTerms(contract_id=contract_of(contract), tokens=tokens, pushed=pushed)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def hex_bytes(text: str, size: int) -> bytes:
    """Raises `BadRequest`."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != size:
        raise BadRequest(f"{size} bytes in hex are expected")
    return data


def peer_address(text: str) -> tuple[PublicKey, str, int]:
    """From `<node id>@<host>:<port>`. Raises `BadRequest`."""
    node_id, at, address = text.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host and port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise BadRequest("an address is <node id>@<host>:<port>")
    try:
        return PublicKey(hex_bytes(node_id, 33)), host.strip("[]"), int(port)
    except InvalidKey:
        raise BadRequest("the node id is not a public key") from None

"""The two canonical text forms of HTTP payment headers: JSON (RFC 8785) and base64url."""

import binascii
import json
from typing import Any

__all__ = ["canonical_json", "from_base64url", "strict_json", "to_base64url"]

_MAX_EXACT_INTEGER = (1 << 53) - 1  # of the doubles that RFC 8785 is defined on
_FROM_URLSAFE = bytes.maketrans(b"-_+/=", b"+/!!!")


def canonical_json(value: Any) -> bytes:
    """RFC 8785 for objects, arrays, strings, booleans, null and integers below 2^53.

    Raises ValueError for anything else: amounts that may be larger travel as strings.
    """
    return json.dumps(
        _canonical(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode("utf-8")


def _canonical(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) <= _MAX_EXACT_INTEGER:
            return value
        case list() | tuple():
            return [_canonical(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            # RFC 8785 sorts by UTF-16 code units, Python by code points.
            keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
            return {key: _canonical(value[key]) for key in keys}
        case _:
            raise ValueError(f"{type(value).__name__} {value!r:.40} has no canonical JSON here")


def strict_json(data: bytes) -> Any:
    """Parse UTF-8 JSON; raises ValueError, also for a name used twice, NaN and too deep a nest."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is used twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def to_base64url(data: bytes) -> str:
    """Without padding."""
    encoded = binascii.b2a_base64(data, newline=False)
    return encoded.rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Only what `to_base64url` produces; raises ValueError."""
    padded = text.encode("ascii").translate(_FROM_URLSAFE) + b"=" * (-len(text) % 4)
    data = binascii.a2b_base64(padded, strict_mode=True)
    if to_base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data

"""Baid64: how RGB writes 32-byte identifiers as text.

`<prefix><64 letters' alphabet, no padding>`, in groups of 8, then 7. With a checksum the payload
is followed by 4 bytes: of SHA256(SHA256(prefix) || payload) the first three, the second one twice
(so does the baid64 crate).
"""

import base64
import binascii

from lightspeed.bitcoin import sha256
from lightspeed.rgb.errors import RgbFormatError

__all__ = ["baid64", "parse_baid64"]

_STANDARD = b"+/="
_OURS = b"_~"
_ENCODE = bytes.maketrans(_STANDARD[:2], _OURS)
_DECODE = bytes.maketrans(_OURS, _STANDARD[:2])
_FIRST_GROUP = 8
_GROUP = 7
_CHECKSUM_SIZE = 4


def baid64(payload: bytes, prefix: str, *, checksum: bool = False, grouped: bool = True) -> str:
    """`prefix` with its colon. The checksum's tag is the prefix without it."""
    if checksum:
        payload += _checksum(payload, prefix)
    letters = base64.b64encode(payload).rstrip(b"=").translate(_ENCODE).decode()
    if not grouped:
        return prefix + letters
    rest = range(_FIRST_GROUP, len(letters), _GROUP)
    return prefix + "-".join(
        [letters[:_FIRST_GROUP], *(letters[start : start + _GROUP] for start in rest)]
    )


def parse_baid64(text: str, prefix: str, *, checksum: bool = False, size: int = 32) -> bytes:
    """`size` bytes; grouped or not. Words after `#`, made for human eyes, are not looked at."""
    letters = text.removeprefix(prefix).partition("#")[0].replace("-", "")
    if not text.startswith(prefix) or not letters.isascii() or set(letters) & set("+/="):
        raise RgbFormatError(f"an identifier is written {prefix}...")
    standard = letters.encode().translate(_DECODE)
    try:
        data = base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise RgbFormatError("an identifier has letters that mean nothing") from None
    if base64.b64encode(data).rstrip(b"=") != standard:
        raise RgbFormatError("an identifier is not in its only form")
    if len(data) != size + _CHECKSUM_SIZE * checksum:
        raise RgbFormatError(f"an identifier is {size} bytes")
    payload = data[:size]
    if checksum and data[size:] != _checksum(payload, prefix):
        raise RgbFormatError("an identifier was mistyped: its checksum is wrong")
    return payload


def _checksum(payload: bytes, prefix: str) -> bytes:
    digest = sha256(sha256(prefix.rstrip(":").encode()) + payload)
    return digest[:2] + digest[1:3]

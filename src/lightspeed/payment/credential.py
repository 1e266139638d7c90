"""What a call carries to pay: a range of units and the elements that prove it."""

import binascii
import struct
from typing import NamedTuple

from lightspeed.payment.book import BOOK_ID_SIZE
from lightspeed.payment.chain import ELEMENT_SIZE
from lightspeed.payment.errors import MalformedCredential

__all__ = [
    "CREDENTIAL_HEADER_SIZE",
    "MAX_COUNT",
    "MAX_CREDENTIAL_SIZE",
    "MAX_FIRST_UNIT",
    "Credential",
]

CREDENTIAL_HEADER_SIZE = 1 + BOOK_ID_SIZE + 5 + 2  # version, book, first unit u40, count u16
MAX_FIRST_UNIT = (1 << 40) - 1
MAX_COUNT = (1 << 16) - 1
MAX_CREDENTIAL_SIZE = CREDENTIAL_HEADER_SIZE + MAX_COUNT * ELEMENT_SIZE

_VERSION = 1
_HEADER = struct.Struct(">B16sBIH")  # the first unit as its high byte and its low four
_ONE_LOCK = struct.Struct(">B16sBIH32s")
_MAX_TOKEN_SIZE = (MAX_CREDENTIAL_SIZE * 4 + 2) // 3

# To the standard alphabet; what is not in the URL-safe one becomes invalid, padding too.
_FROM_URLSAFE = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", None, b"==", b"=")  # by token size modulo 4
# The last character of a token has 4 or 2 unused bits, which are zero in the canonical form.
_LAST = (None, None, frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))


class Credential(NamedTuple):
    """A bearer secret: units `first_unit` .. `first_unit + count - 1` of one book.

    `elements` holds 32 bytes for every lock that the range touches, the deepest of the range in
    that lock. Two texts with the same bytes do not exist: the encoding is canonical. A tuple,
    because a server makes one per call.
    """

    book_id: bytes
    first_unit: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    elements: bytes

    def __repr__(self) -> str:
        return (
            f"Credential(book_id={self.book_id.hex()}, first_unit={self.first_unit}, "
            f"count={self.count})"
        )

    @property
    def last_unit(self) -> int:
        """The highest unit of the range."""
        return self.first_unit + self.count - 1

    def to_bytes(self) -> bytes:
        """version u8 = 1, book id 16 bytes, first unit u40, count u16, elements."""
        high, low = divmod(self.first_unit, 1 << 32)
        return _HEADER.pack(_VERSION, self.book_id, high, low, self.count) + self.elements

    def to_token(self) -> str:
        """base64url without padding, as it stands in a header."""
        encoded = binascii.b2a_base64(self.to_bytes(), newline=False)
        return encoded.rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_").decode("ascii")

    @staticmethod
    def from_bytes(data: bytes) -> "Credential":
        """Raises MalformedCredential for anything that `to_bytes` does not produce.

        Whether range and number of elements fit the book is known only with the book: `check`
        looks at it.
        """
        size = len(data)
        if size == _ONE_LOCK.size:
            version, book_id, high, low, count, elements = _ONE_LOCK.unpack(data)
        elif size > _ONE_LOCK.size and (size - CREDENTIAL_HEADER_SIZE) % ELEMENT_SIZE == 0:
            version, book_id, high, low, count = _HEADER.unpack_from(data)
            elements = data[CREDENTIAL_HEADER_SIZE:]
            if size > CREDENTIAL_HEADER_SIZE + count * ELEMENT_SIZE:
                raise MalformedCredential("more elements than units")
        else:
            raise MalformedCredential(f"a credential cannot have {size} bytes")
        if version != _VERSION:
            raise MalformedCredential(f"unknown credential version {version}")
        first_unit = high << 32 | low
        if count == 0 or first_unit == 0:
            raise MalformedCredential("units are counted from 1")
        return Credential._make((book_id, first_unit, count, elements))

    @staticmethod
    def from_token(token: str | bytes) -> "Credential":
        """Parse canonical base64url without padding; raises MalformedCredential."""
        if len(token) > _MAX_TOKEN_SIZE:
            raise MalformedCredential("credential too long")
        try:
            text = token.encode("ascii") if isinstance(token, str) else token
            tail = len(text) & 3
            if tail == 1 or (tail and text[-1] not in _LAST[tail]):  # type: ignore[operator]
                raise MalformedCredential("not canonical base64url")
            padded = text.translate(_FROM_URLSAFE) + _PADDING[tail]  # type: ignore[operator]
            data = binascii.a2b_base64(padded, strict_mode=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise MalformedCredential("not canonical base64url") from error
        return Credential.from_bytes(data)

"""What a call carries to pay: a range of units and the elements that prove it."""

import binascii
import struct
from binascii import a2b_base64
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
_ONE_LOCK_TOKEN_SIZE = (_ONE_LOCK.size * 4 + 2) // 3
_MAX_TOKEN_SIZE = (MAX_CREDENTIAL_SIZE * 4 + 2) // 3

# To the standard alphabet; what is not in the URL-safe one becomes invalid, padding too.
_FROM_URLSAFE = bytes.maketrans(b"-_+/=", b"+/!!!")
# By its size modulo 4, the last character of a token has 4 or 2 unused bits: zero in the
# canonical form.
_LAST_OF_TWO = frozenset(b"AQgw")
_LAST_OF_THREE = frozenset(b"AEIMQUYcgkosw048")
_LAST = {2: _LAST_OF_TWO, 3: _LAST_OF_THREE}


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
        if size <= CREDENTIAL_HEADER_SIZE or (size - CREDENTIAL_HEADER_SIZE) % ELEMENT_SIZE:
            raise MalformedCredential(f"a credential cannot have {size} bytes")
        version, book_id, high, low, count = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise MalformedCredential(f"unknown credential version {version}")
        if size > CREDENTIAL_HEADER_SIZE + count * ELEMENT_SIZE:
            raise MalformedCredential("more elements than units")
        first_unit = high << 32 | low
        if first_unit == 0:
            raise MalformedCredential("units are counted from 1")
        return Credential(book_id, first_unit, count, data[CREDENTIAL_HEADER_SIZE:])

    @staticmethod
    def from_token(token: str | bytes) -> "Credential":
        """Parse canonical base64url without padding; raises MalformedCredential."""
        try:
            text = token.encode("ascii") if isinstance(token, str) else token
            if len(text) == _ONE_LOCK_TOKEN_SIZE and text[-1] in _LAST_OF_THREE:
                data = a2b_base64(text.translate(_FROM_URLSAFE) + b"=", strict_mode=True)
                # The usual case in one piece; the rest would say the same.
                version, book_id, high, first_unit, count, elements = _ONE_LOCK.unpack(data)
                if version == _VERSION and high == 0 and first_unit and count:
                    return _new(Credential, (book_id, first_unit, count, elements))
            else:
                data = _decode(text)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise MalformedCredential("not canonical base64url") from error
        return Credential.from_bytes(data)


def _decode(text: bytes) -> bytes:
    tail = len(text) & 3
    if len(text) > _MAX_TOKEN_SIZE or tail == 1 or (tail and text[-1] not in _LAST[tail]):
        raise MalformedCredential("too long, or not canonical base64url")
    return a2b_base64(text.translate(_FROM_URLSAFE) + b"=" * (-tail & 3), strict_mode=True)


_new = tuple.__new__  # half the time of the constructor

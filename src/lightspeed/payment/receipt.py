"""The `Lightspeed-Receipt` header: which units a call redeemed, and which come next.

    book=:3q2+7wAAAAAAAAAAAAAAAA==:, first=7, count=2, next=9

An RFC 9651 dictionary in one fixed order and form. `first` and `count` are left out when the
call redeemed nothing.
"""

import binascii
import re
from typing import NamedTuple

from lightspeed.payment.book import BOOK_ID_SIZE
from lightspeed.payment.credential import MAX_COUNT, MAX_FIRST_UNIT
from lightspeed.payment.errors import ReceiptError

__all__ = ["Receipt"]

_NUMBER = "([1-9][0-9]{0,12})"
_FORM = re.compile(
    f"book=:([A-Za-z0-9+/]{{22}}==):(?:, first={_NUMBER}, count={_NUMBER})?, next={_NUMBER}",
    re.ASCII,
)


class Receipt(NamedTuple):
    """Units `first_unit` .. `first_unit + count - 1` were redeemed by the call.

    Both are 0 when it redeemed nothing. `next_unit` is the lowest unit of the book that is not
    redeemed: one above the last when all are.
    """

    book_id: bytes
    first_unit: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    next_unit: int

    def to_header(self) -> str:
        """The one text form."""
        book = binascii.b2a_base64(self.book_id, newline=False).decode("ascii")
        redeemed = f", first={self.first_unit}, count={self.count}" if self.count else ""
        return f"book=:{book}:{redeemed}, next={self.next_unit}"

    @staticmethod
    def from_header(header: str) -> "Receipt":
        """Raises ReceiptError for anything that `to_header` does not produce."""
        match = _FORM.fullmatch(header)
        if match is None:
            raise ReceiptError("not a Lightspeed-Receipt")
        book, first, count, next_unit = match.groups()
        book_id = binascii.a2b_base64(book)
        receipt = Receipt(
            book_id=book_id,
            first_unit=int(first or 0),
            count=int(count or 0),
            next_unit=int(next_unit),
        )
        in_range = receipt.count <= MAX_COUNT and receipt.first_unit <= MAX_FIRST_UNIT
        if not in_range or receipt.next_unit > MAX_FIRST_UNIT + 1:
            raise ReceiptError("a number of the Lightspeed-Receipt is out of range")
        if len(book_id) != BOOK_ID_SIZE or receipt.to_header() != header:
            raise ReceiptError("the Lightspeed-Receipt is not canonical")
        return receipt

"""Which class builds the transactions of a book."""

from collections.abc import Callable, Mapping

from lightspeed.lsf.errors import BookRefused
from lightspeed.lsf.keys import LsfBasepoints
from lightspeed.lsf.ladder import LadderBook
from lightspeed.lsf.messages import RejectReason
from lightspeed.lsf.outputs import OutputsBook
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.payment import Book, Scheme

__all__ = ["SCHEMES", "derive_book"]

_Derive = Callable[..., SchemeBook]

SCHEMES: Mapping[Scheme, _Derive] = {
    Scheme.OUTPUTS: OutputsBook.derive,
    Scheme.LADDER: LadderBook.derive,
}


def derive_book(book: Book, *, basepoints: LsfBasepoints, payee_delay_blocks: int) -> SchemeBook:
    """Raises `BookRefused` for a scheme that is not known here, or terms that do not parse."""
    derive = SCHEMES.get(book.terms.scheme)
    if derive is None:
        name = book.terms.scheme.name.lower()
        raise BookRefused(RejectReason.TERMS, f"scheme {name} is not offered")
    return derive(book, basepoints=basepoints, payee_delay_blocks=payee_delay_blocks)

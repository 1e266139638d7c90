"""Which class builds the transactions of a book."""

from collections.abc import Callable, Mapping

from lightspeed.lsf.errors import BookRefused
from lightspeed.lsf.keys import LsfBasepoints
from lightspeed.lsf.ladder import LadderBook
from lightspeed.lsf.messages import RejectReason
from lightspeed.lsf.outputs import OutputsBook
from lightspeed.lsf.scheme import SchemeBook
from lightspeed.lsf.seals import MAX_SEALS, SealsBook
from lightspeed.payment import SATS, Book, BookTerms, Scheme

__all__ = ["SCHEMES", "check_asset", "derive_book"]

_Derive = Callable[..., SchemeBook]

SCHEMES: Mapping[Scheme, _Derive] = {
    Scheme.OUTPUTS: OutputsBook.derive,
    Scheme.SEALS: SealsBook.derive,
    Scheme.LADDER: LadderBook.derive,
}

_MAX_TOKENS = (1 << 64) - 1


def derive_book(book: Book, *, basepoints: LsfBasepoints, payee_delay_blocks: int) -> SchemeBook:
    """Raises `BookRefused` for terms that no transaction can carry, or that do not parse."""
    check_asset(book.terms)
    derive = SCHEMES[book.terms.scheme]
    return derive(book, basepoints=basepoints, payee_delay_blocks=payee_delay_blocks)


def check_asset(terms: BookTerms) -> None:
    """Scheme `outputs` is for sats, `seals` for tokens, `ladder` for either.

    Raises `BookRefused`.
    """
    name, in_tokens = terms.scheme.name.lower(), terms.asset != SATS
    if terms.scheme is not Scheme.LADDER and in_tokens is not (terms.scheme is Scheme.SEALS):
        raise BookRefused(RejectReason.TERMS, f"scheme {name} is not for this asset")
    if terms.scheme is Scheme.SEALS and terms.locks > MAX_SEALS:
        raise BookRefused(
            RejectReason.TERMS, f"{terms.locks} locks, at most {MAX_SEALS} have seals"
        )
    if in_tokens and terms.locks * terms.lock_amount > _MAX_TOKENS:
        raise BookRefused(RejectReason.TERMS, "more tokens than an asset can have")

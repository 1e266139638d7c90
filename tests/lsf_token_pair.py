"""Two coloured channels with Lightspeed funding, and what their commitments prove of books."""

from typing import Any

from colour_pair import ColouredPair, open_coloured_pair
from lightspeed.channel.graph import ToBroadcaster, ToCountersignatory
from lightspeed.lsf import LightspeedFunding, LsfKey, Party, PayeeLimits
from lightspeed.payment import BookTerms
from lsf_pair import channel_of, lightspeed, same_delay
from lsf_world import token_terms

__all__ = ["check_proved", "open_token_pair", "terms_of"]


def open_token_pair(
    *,
    funder: Party = Party.PAYER,
    delay_blocks: int = 6,
    limits: PayeeLimits | None = None,
    max_exposure_tokens: int = 1_000_000,
    **opening: Any,
) -> ColouredPair:
    """The funder, who is the payer unless told otherwise, brings the tokens."""

    def extension(party: Party) -> LightspeedFunding:
        return lightspeed(party, limits=limits, max_exposure_tokens=max_exposure_tokens)

    return open_coloured_pair(
        funder_extensions=[extension(funder)],
        fundee_extensions=[extension(funder.other)],
        **same_delay(delay_blocks),
        **{"tokens": 100_000, **opening},
    )


def terms_of(coloured: ColouredPair, **terms: Any) -> BookTerms:
    """Of a book in the channel's tokens."""
    return token_terms(asset=coloured.token.contract_id, **terms)


def check_proved(coloured: ColouredPair) -> None:
    """On both commitments the history gives each side and each book what the channel says; and
    each child gives away all of its LSF.
    """
    coloured.pair.check_mirrored()
    for node in (coloured.funder, coloured.fundee):
        built = channel_of(node).holder_commitment()
        state = channel_of(node).state.extension_states["lsf"]
        frozen, sheet = built.frozen, built.sheet
        assert frozen.coloured is not None
        expected = {
            ToBroadcaster(): sheet.holder_tokens,
            ToCountersignatory(): sheet.counterparty_tokens,
        }
        expected |= {
            LsfKey(book.book_id): state.books[book.book_id].tokens(settled=book.settled)
            for book in sheet.extensions["lsf"].books
        }
        assert coloured.proved(frozen.coloured.witness) == {
            frozen.outpoint(key): tokens for key, tokens in expected.items() if tokens
        }
        assert sum(expected.values()) == coloured.total()

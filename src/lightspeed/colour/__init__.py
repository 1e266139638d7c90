"""Coloured channels: the tokens of one RGB contract in a channel's commitments. No I/O."""

from lightspeed.colour.commitment import OPRET_WEIGHT, TokenCommitment, coloured_draft
from lightspeed.colour.consignments import (
    MAX_CONSIGNMENT_BYTES,
    ConsignmentCollector,
    consignment_messages,
)
from lightspeed.colour.events import (
    AskRefused,
    TokensAsked,
    TokensOffered,
    TokensTraded,
)
from lightspeed.colour.extension import Colouring
from lightspeed.colour.messages import (
    COLOUR_MESSAGES,
    RefusedSubject,
    RgbAsk,
    RgbConsignment,
    RgbOffer,
    RgbRefuse,
    RgbTrade,
)
from lightspeed.colour.negotiation import (
    ACCEPTER_TLV,
    EXTENSION_NAME,
    MAX_ALLOCATIONS,
    OPENER_TLV,
    ColourParameters,
    ColourTerms,
    allocations_on,
    colour_parameters,
    offered_terms,
    with_allocations,
)
from lightspeed.colour.state import ColourContent, ColourState, Offer

__all__ = [
    "ACCEPTER_TLV",
    "COLOUR_MESSAGES",
    "EXTENSION_NAME",
    "MAX_ALLOCATIONS",
    "MAX_CONSIGNMENT_BYTES",
    "OPENER_TLV",
    "OPRET_WEIGHT",
    "AskRefused",
    "ColourContent",
    "ColourParameters",
    "ColourState",
    "ColourTerms",
    "Colouring",
    "ConsignmentCollector",
    "Offer",
    "RefusedSubject",
    "RgbAsk",
    "RgbConsignment",
    "RgbOffer",
    "RgbRefuse",
    "RgbTrade",
    "TokenCommitment",
    "TokensAsked",
    "TokensOffered",
    "TokensTraded",
    "allocations_on",
    "colour_parameters",
    "coloured_draft",
    "consignment_messages",
    "offered_terms",
    "with_allocations",
]

"""A watchtower for channels with Lightspeed funding, and a node's way to one.

It keeps, for each commitment that a counterparty may publish, complete transactions, sealed so
that only the commitment itself opens them; when one confirms it publishes them. No key of a
client leaves its node. docs/protocol.md, "Watchtower".
"""

from lightspeed.node.tower.bundles import Bundle, Part, Variant
from lightspeed.node.tower.client import TowerClient
from lightspeed.node.tower.errors import (
    BlobMalformed,
    ClientExists,
    QuotaExceeded,
    SealBroken,
    TooLarge,
    TooManyRequests,
    TowerRefusal,
    TowerRefused,
    TowerUnavailable,
    UnknownClient,
)
from lightspeed.node.tower.guard import Guard
from lightspeed.node.tower.handover import current_states, revoked_state
from lightspeed.node.tower.sealing import hint_of, seal, unseal
from lightspeed.node.tower.service import Tower, serving_tower
from lightspeed.node.tower.store import Account, Change, TowerStore

__all__ = [
    "Account",
    "BlobMalformed",
    "Bundle",
    "Change",
    "ClientExists",
    "Guard",
    "Part",
    "QuotaExceeded",
    "SealBroken",
    "TooLarge",
    "TooManyRequests",
    "Tower",
    "TowerClient",
    "TowerRefusal",
    "TowerRefused",
    "TowerStore",
    "TowerUnavailable",
    "UnknownClient",
    "Variant",
    "current_states",
    "hint_of",
    "revoked_state",
    "seal",
    "serving_tower",
    "unseal",
]

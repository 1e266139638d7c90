"""Tagged SHA-256 (BIP 340, "Design", "Tagged Hashes")."""

import hashlib
from functools import cache

__all__ = ["tagged_hash", "tagged_midstate"]


@cache
def tagged_midstate(tag: str) -> "hashlib._Hash":
    """SHA-256 state after `SHA256(tag) || SHA256(tag)`: copy it, never update it."""
    digest = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(digest + digest)


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """32 bytes: `SHA256(SHA256(tag) || SHA256(tag) || parts...)`."""
    state = tagged_midstate(tag).copy()
    for part in parts:
        state.update(part)
    return state.digest()

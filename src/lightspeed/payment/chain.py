"""The hash chain of one lock: e(c) is the lock secret, e(t) = step(e(t + 1)), anchor = step(e(1)).

The step is not plain SHA256: whoever knows a lock hash `SHA256(s)` would otherwise know the
units below it.
"""

import hashlib
from collections.abc import Iterator

from lightspeed.tagged import tagged_midstate

__all__ = ["ELEMENT_SIZE", "chain_elements", "lock_hash", "step", "walk"]

ELEMENT_SIZE = 32

_copy_midstate = tagged_midstate("lightspeed/unit").copy


def step(element: bytes) -> bytes:
    """The element one unit shallower: `tagged_hash("lightspeed/unit", element)`."""
    state = _copy_midstate()
    state.update(element)
    return state.digest()


def walk(element: bytes, steps: int) -> bytes:
    """`step` applied `steps` times."""
    for _ in range(steps):
        state = _copy_midstate()
        state.update(element)
        element = state.digest()
    return element


def lock_hash(secret: bytes) -> bytes:
    """What the scripts check: `SHA256(secret)`."""
    return hashlib.sha256(secret).digest()


def chain_elements(secret: bytes, *, chain_length: int) -> bytes:
    """e(0) .. e(c) in one buffer of 32 x (c + 1) bytes; e(0) is the anchor, e(c) the secret."""
    deepest_first = list(_descend(secret, chain_length))
    deepest_first.reverse()
    return b"".join(deepest_first)


def _descend(element: bytes, steps: int) -> Iterator[bytes]:
    yield element
    for _ in range(steps):
        element = step(element)
        yield element

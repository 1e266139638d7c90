"""BOLT 4, "Returning Errors": a failure sealed by the hop that failed, wrapped by those before."""

import hmac
from collections.abc import Sequence

from lightspeed.wire.errors import EncodeError, WireError
from lightspeed.wire.failures import Failure
from lightspeed.wire.onion import keyed_stream, onion_key, xor
from lightspeed.wire.primitives import Reader, encode_uint

__all__ = ["decode_error_onion", "seal_failure", "wrap_error_onion"]

_PADDED_SIZE = 256
_TRIES = 27
"""As often is a packet unwrapped, so that the time does not tell how far it came from."""


def seal_failure(failure: Failure, *, shared_secret: bytes) -> bytes:
    """The error onion that the failing hop returns: 292 bytes, more when the failure is long."""
    message = failure.encode()
    padding = bytes(max(0, _PADDED_SIZE - len(message)))
    if len(message) > 0xFFFF:
        raise EncodeError("the failure message is too long")
    body = encode_uint(len(message), 2) + message + encode_uint(len(padding), 2) + padding
    tag = hmac.digest(onion_key("um", shared_secret), body, "sha256")
    return wrap_error_onion(tag + body, shared_secret=shared_secret)


def wrap_error_onion(reason: bytes, *, shared_secret: bytes) -> bytes:
    """One layer, by a hop on the way back; unwrapping is the same operation."""
    return xor(reason, keyed_stream(onion_key("ammag", shared_secret), len(reason)))


def decode_error_onion(reason: bytes, *, shared_secrets: Sequence[bytes]) -> tuple[int, Failure]:
    """The index of the hop that failed, and why; `WireError` when no hop of the route sealed it."""
    found: tuple[int, bytes] | None = None
    decoys = [bytes(32)] * (_TRIES - len(shared_secrets))
    for index, secret in enumerate([*shared_secrets, *decoys]):
        reason = wrap_error_onion(reason, shared_secret=secret)
        body = reason[32:]
        expected = hmac.digest(onion_key("um", secret), body, "sha256")
        matches = hmac.compare_digest(expected, reason[:32])
        if matches and index < len(shared_secrets):
            found = index, body
    if found is None:
        raise WireError("no hop of the route sealed this error")
    index, body = found
    reader = Reader(body)
    failure = Failure.decode(reader.take(reader.uint(2)))
    reader.take(reader.uint(2))
    reader.finish()
    return index, failure

"""The roots of every error that this package raises, by who is at fault.

LightspeedError
├── LocalError    our caller or our configuration is wrong; nothing was changed
├── RemoteError   the other party broke a protocol or sent bytes that do not parse
└── StoreError    a store did not answer as it should; the outcome may be unknown

Each package derives its leaves from these; a leaf also inherits the matching builtin.
"""

__all__ = ["LightspeedError", "LocalError", "RemoteError", "StoreError"]


class LightspeedError(Exception):
    """Root of all errors raised on purpose by this package."""


class LocalError(LightspeedError):
    """We were asked for something that cannot be done; nothing was changed."""


class RemoteError(LightspeedError):
    """The other party broke the protocol, or its bytes do not parse."""


class StoreError(LightspeedError):
    """A store failed; whether the write took effect may be unknown."""

"""What goes wrong between two peers, by who is at fault.

LocalError
└── EncodeError           we tried to send what the wire format cannot carry
RemoteError
└── WireError             bytes of the other party that do not parse
    └── UnknownEvenMessage   a message type that we were not allowed to ignore
"""

from lightspeed.errors import LocalError, RemoteError

__all__ = ["EncodeError", "UnknownEvenMessage", "WireError"]


class EncodeError(LocalError, ValueError):
    """A value does not fit its field, or a message is longer than a message may be."""


class WireError(RemoteError, ValueError):
    """The other party's bytes do not parse. The only error that a parser raises."""


class UnknownEvenMessage(WireError):
    """A message of an even type that we do not know (BOLT 1, "Lightning Message Format")."""

    def __init__(self, message_type: int) -> None:
        super().__init__(f"unknown message of even type {message_type}")
        self.message_type = message_type

"""What goes wrong in a channel, by who is at fault.

LocalError
└── ChannelRefusal         what we were asked to do is not possible now; nothing has changed
RemoteError
├── ChannelViolation       the peer broke BOLT 2 or an extension's rules: the channel must fail
└── ChannelWarning         the peer sent what we do not act on; the channel goes on
LightspeedError
└── StateError             a stored channel does not parse
"""

from lightspeed.errors import LightspeedError, LocalError, RemoteError

__all__ = ["ChannelRefusal", "ChannelViolation", "ChannelWarning", "StateError"]


class ChannelRefusal(LocalError, ValueError):
    """We asked the channel for what it cannot do in its state. Nothing has changed."""


class ChannelViolation(RemoteError, ValueError):
    """The peer broke the protocol. Nothing has changed; the caller fails the channel.

    The text is sent to the peer in an `error` message: it names no secret.
    """


class ChannelWarning(RemoteError, ValueError):
    """The peer sent what cannot be acted on. Nothing has changed; a `warning` answers it."""


class StateError(LightspeedError, ValueError):
    """A stored channel does not parse, or was written by a newer version."""

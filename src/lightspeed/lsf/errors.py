"""What the Lightspeed extension refuses.

LightspeedError
└── BookRefused        a book breaks a limit; `reason` is what `lsf_reject` would say
RemoteError
└── ChunksOutOfOrder   a chunked message has a gap, a repetition or too much
"""

from lightspeed.errors import LightspeedError, RemoteError
from lightspeed.lsf.messages import RejectReason

__all__ = ["BookRefused", "ChunksOutOfOrder"]


class BookRefused(LightspeedError, ValueError):
    """The book cannot be opened in this channel; the text names the limit."""

    def __init__(self, reason: RejectReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class ChunksOutOfOrder(RemoteError, ValueError):
    """The peer's chunks do not follow each other, or are more than was announced."""

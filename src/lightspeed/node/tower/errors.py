"""What a watchtower and its clients raise, by who is at fault.

RemoteError
├── BlobMalformed       bytes that a client handed over do not parse
│   └── SealBroken      they are not sealed for this transaction and part
└── TowerRefused        the tower answered with a refusal
StoreError
└── TowerUnavailable    the tower does not answer: ask again
LocalError
├── ClientExists        names of clients are used once
├── UnknownClient       no client has this name
├── TokensNotGuarded    a channel with tokens is not handed over
└── TowerRefusal        the tower does not do what a client asks for
    ├── BadRequest, Unauthorized (lightspeed.node.problems)
    ├── TooLarge        one request, or one part, above its limit
    ├── QuotaExceeded   all that this client stores, above its limit
    └── TooManyRequests the client asks faster than it may
"""

from typing import ClassVar

from lightspeed.errors import LocalError, RemoteError, StoreError

__all__ = [
    "BlobMalformed",
    "ClientExists",
    "QuotaExceeded",
    "SealBroken",
    "TokensNotGuarded",
    "TooLarge",
    "TooManyRequests",
    "TowerRefusal",
    "TowerRefused",
    "TowerUnavailable",
    "UnknownClient",
]


class BlobMalformed(RemoteError, ValueError):
    """Not what a node of this version hands over."""


class SealBroken(BlobMalformed):
    """Not sealed under this transaction id, or not for this part, or changed since."""


class TowerRefused(RemoteError):
    """`status` is that of the HTTP answer; asking the same again does not help."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the tower answered {status}: {detail}")
        self.status = status


class TowerUnavailable(StoreError, OSError):
    """No answer, or one that says to come back later. Whether it stored is unknown."""


class ClientExists(LocalError, ValueError):
    """Names of clients are used once."""


class UnknownClient(LocalError, LookupError):
    """No client has this name."""


class TokensNotGuarded(LocalError):
    """What a tower took would be sats, and the tokens beside them would be lost."""

    def __init__(self) -> None:
        super().__init__("it holds tokens, which no tower can move")


class TowerRefusal(LocalError):
    """Nothing was stored."""

    http_status: ClassVar[int] = 400


class TooLarge(TowerRefusal, ValueError):
    http_status = 413


class QuotaExceeded(TowerRefusal, ValueError):
    http_status = 507


class TooManyRequests(TowerRefusal):
    http_status = 429

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too fast: come back in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds

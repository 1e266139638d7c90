"""What a node raises, by who is at fault.

StoreError
├── StoreUnavailable       the file did not take a write or did not answer a read
└── WalletUnavailable      the wallet's file or the chain backend failed
LocalError
├── StoreInUse             another process has this store open
├── StoreFormatError       the file is not a node's store that this version can read
├── WalletMismatch         the wallet's file belongs to another seed or network
├── InsufficientFunds      the wallet's spendable coins do not suffice
├── ConfigError            the configuration, or a key file, cannot be used
├── InvoiceError           an invoice that does not parse, or cannot be paid by us
└── NodeRefusal            what was asked for is not possible now; nothing has changed
    ├── NotFound           no such channel, invoice, payment or book
    │   └── UnknownContract   no such token
    ├── PeerNotConnected   there is no connection to the peer
    ├── PeerLacksLightspeed   the peer does not know Lightspeed funding
    └── NoRoute            no channel of ours reaches the payee with this amount
RemoteError
├── OpeningRefused         the peer refused a channel or a book, or did not answer
├── ProxyUnavailable       where consignments are left does not answer as it should
├── DealRefused            an offer or an order that is not what it should be
└── ConsignmentRefused     it may be valid, but not for us, or not yet
    └── HistoryTooYoung    some of it is not deep enough in the chain yet
"""

from typing import ClassVar

from lightspeed.errors import LocalError, RemoteError, StoreError

__all__ = [
    "ConfigError",
    "ConsignmentRefused",
    "DealRefused",
    "HistoryTooYoung",
    "InsufficientFunds",
    "InvoiceError",
    "NoRoute",
    "NodeRefusal",
    "NotFound",
    "OpeningRefused",
    "PeerLacksLightspeed",
    "PeerNotConnected",
    "ProxyUnavailable",
    "StoreFormatError",
    "StoreInUse",
    "StoreUnavailable",
    "UnknownContract",
    "WalletMismatch",
    "WalletUnavailable",
]


class StoreUnavailable(StoreError, OSError):
    """Nothing that follows may be done: what had to be stored first may not be on the disk."""


class StoreInUse(LocalError, BlockingIOError):
    """One process at a time runs a node."""


class StoreFormatError(LocalError, ValueError):
    """Not a node's store, or one of a newer version."""


class WalletUnavailable(StoreError, OSError):
    """The wallet could not be read, written or brought up to date."""


class WalletMismatch(LocalError, ValueError):
    """The wallet's file was made with another seed, or for another network."""


class InsufficientFunds(LocalError, ValueError):
    """Coins that are reserved, or not confirmed where that is asked for, do not count."""

    def __init__(
        self, *, needed_sat: int, available_sat: int, young_sat: int = 0, minimum_depth: int = 0
    ) -> None:
        """`young_sat`: what is there besides, and not `minimum_depth` blocks deep."""
        text = f"{needed_sat} sat are needed, {available_sat} sat can be spent"
        if young_sat:
            when = "mined" if minimum_depth <= 1 else f"{minimum_depth} blocks deep"
            text += f", and {young_sat} sat more when they are {when}"
        super().__init__(text)
        self.needed_sat = needed_sat
        self.available_sat = available_sat


class ConfigError(LocalError, ValueError):
    """The node does not start with this configuration or these files."""


class InvoiceError(LocalError, ValueError):
    """Malformed, expired, of another network, or with features that we do not know."""


class NodeRefusal(LocalError):
    """Nothing has changed. `http_status` is what the API answers."""

    http_status: ClassVar[int] = 409


class NotFound(NodeRefusal, LookupError):
    """The node has nothing of this id."""

    http_status: ClassVar[int] = 404


class UnknownContract(NotFound):
    """The stash has no history of this contract: a consignment brings one."""


class PeerNotConnected(NodeRefusal, ConnectionError):
    """Connect to the peer first."""


class PeerLacksLightspeed(NodeRefusal):
    """The peer's init does not offer Lightspeed funding; an ordinary channel is possible."""


class NoRoute(NodeRefusal):
    """Only direct channels are used: none to the payee is usable, or none holds enough."""


class OpeningRefused(RemoteError):
    """Nothing was opened, and coins that were reserved for it are free again."""


class ConsignmentRefused(RemoteError, ValueError):
    """Too long a history, one that is not mined yet, or tokens that nobody asked for."""


class HistoryTooYoung(ConsignmentRefused):
    """Valid, and some of it not as deep in the chain as it has to be: try again after a block."""


class ProxyUnavailable(RemoteError, ConnectionError):
    """Try again later, or hand the consignment over as a file."""


class DealRefused(RemoteError, ValueError):
    """Nothing was signed."""

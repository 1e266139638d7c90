"""The daemon: peers, channels, wallet, chain watching, claims, storage and its API.

This root is the side of other processes: `NodeClient` speaks to a node, loading nothing of it.
A whole node is `lightspeed.node.service.run_node`, with a `lightspeed.node.config.NodeConfig`.
"""

from lightspeed.node.client import NodeApiError, NodeClient
from lightspeed.node.errors import (
    ConfigError,
    InsufficientFunds,
    InvoiceError,
    NodeRefusal,
    NoRoute,
    NotFound,
    OpeningRefused,
    PeerLacksLightspeed,
    PeerNotConnected,
    StoreFormatError,
    StoreInUse,
    StoreUnavailable,
    WalletMismatch,
    WalletUnavailable,
)
from lightspeed.node.views import (
    AddressView,
    BalanceView,
    BookView,
    ChannelTransactionView,
    ChannelView,
    InfoView,
    InvoiceView,
    MetricsView,
    PaymentView,
    PeerView,
    WaitingView,
)

__all__ = [
    "AddressView",
    "BalanceView",
    "BookView",
    "ChannelTransactionView",
    "ChannelView",
    "ConfigError",
    "InfoView",
    "InsufficientFunds",
    "InvoiceError",
    "InvoiceView",
    "MetricsView",
    "NoRoute",
    "NodeApiError",
    "NodeClient",
    "NodeRefusal",
    "NotFound",
    "OpeningRefused",
    "PaymentView",
    "PeerLacksLightspeed",
    "PeerNotConnected",
    "PeerView",
    "StoreFormatError",
    "StoreInUse",
    "StoreUnavailable",
    "WaitingView",
    "WalletMismatch",
    "WalletUnavailable",
]

"""The daemon: peers, channels, wallet, chain watching, claims, storage and its API.

`run_node` is a whole node; `NodeClient` speaks to one from another process.
"""

from lightspeed.node.api import api_token, create_app, serving_api
from lightspeed.node.books import BookRequest
from lightspeed.node.client import NodeApiError, NodeClient
from lightspeed.node.closing import CloseProgress, CloseState
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.daemon import Node
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
from lightspeed.node.keys import NodeKeys
from lightspeed.node.service import JsonLogFormatter, init_node, log_to_stderr, run_node
from lightspeed.node.store import NodeStore
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
from lightspeed.node.wallet import Balance, Wallet

__all__ = [
    "AddressView",
    "Balance",
    "BalanceView",
    "BookRequest",
    "BookView",
    "ChannelTransactionView",
    "ChannelView",
    "CloseProgress",
    "CloseState",
    "ConfigError",
    "InfoView",
    "InsufficientFunds",
    "InvoiceError",
    "InvoiceView",
    "JsonLogFormatter",
    "LightspeedConfig",
    "MetricsView",
    "NoRoute",
    "Node",
    "NodeApiError",
    "NodeClient",
    "NodeConfig",
    "NodeKeys",
    "NodeRefusal",
    "NodeStore",
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
    "Wallet",
    "WalletMismatch",
    "WalletUnavailable",
    "api_token",
    "create_app",
    "init_node",
    "log_to_stderr",
    "run_node",
    "serving_api",
]

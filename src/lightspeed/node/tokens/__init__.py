"""Tokens on chain: issued, sent and received, bought and sold. What is in channels is theirs."""

from lightspeed.node.tokens.building import Builder, TokenTransaction
from lightspeed.node.tokens.receiving import Received, Receiving
from lightspeed.node.tokens.records import IssuedInvoice, Transfer, TransferState
from lightspeed.node.tokens.sending import Sending, Sent
from lightspeed.node.tokens.tokens import TokenBalance, Tokens

__all__ = [
    "Builder",
    "IssuedInvoice",
    "Received",
    "Receiving",
    "Sending",
    "Sent",
    "TokenBalance",
    "TokenTransaction",
    "Tokens",
    "Transfer",
    "TransferState",
]

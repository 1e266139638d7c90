"""Coins that a crash left reserved."""

from lightspeed.bitcoin import Tx
from lightspeed.node.own_transactions import BROADCAST_TABLE, OwnTransaction
from lightspeed.node.records import FUNDING_TX_TABLE
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.records import TOKEN_TRANSFER_TABLE, Transfer, TransferState
from lightspeed.node.tokens.trades import coins_in_trade
from lightspeed.node.wallet import Wallet

__all__ = ["release_forgotten_coins"]


def release_forgotten_coins(store: NodeStore, wallet: Wallet) -> None:
    """Frees what no stored transaction spends; for a start, before anything new is funded.

    An opening lives in memory until `funding_signed`: a node that ends before it has reserved
    coins for nothing.
    """
    stored = [Tx.parse(value) for _, value in store.scan(FUNDING_TX_TABLE)]
    stored += [OwnTransaction.load(value).tx for _, value in store.scan(BROADCAST_TABLE)]
    transfers = [Transfer.load(value) for _, value in store.scan(TOKEN_TRANSFER_TABLE)]
    stored += [each.tx for each in transfers if each.state != TransferState.FAILED]
    kept = {txin.outpoint for tx in stored for txin in tx.inputs}
    wallet.release_coins(wallet.reserved() - kept - coins_in_trade(store))

"""What a node says of itself: its state as the API's views."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import txid_hex
from lightspeed.channel import Link, Phase, Side
from lightspeed.ledger import BookStatus
from lightspeed.lsf import LightspeedFunding, Party, usable_books
from lightspeed.node.closing import CloseProgress, CloseState
from lightspeed.node.daemon import Node
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.invoices import Invoice
from lightspeed.node.payments import Payment
from lightspeed.node.views import (
    BalanceView,
    BookView,
    ChannelTransactionView,
    ChannelView,
    InfoView,
    InvoiceView,
    PaymentView,
    PeerView,
    WaitingView,
)
from lightspeed.payment import Book

__all__ = ["balance", "book", "books", "channel", "info", "invoice", "payment", "peers"]


def info(node: Node) -> InfoView:
    lightspeed = node.config.lightspeed
    parties = lightspeed.parties if lightspeed else ()
    return InfoView(
        node_id=node.keys.node_id.data.hex(),
        network=node.config.network.value,
        listen_host=node.config.listen_host,
        listen_port=node.peers.port,
        block_height=node.watch.height,
        chain_answered_at=node.watch.answered_at,
        lightspeed_parties=sorted(party.name.lower() for party in parties),
    )


def balance(node: Node) -> BalanceView:
    onchain = node.wallet.balance()
    live = (d for d in node.drivers.values() if d.phase in (Phase.NORMAL, Phase.SHUTTING_DOWN))
    return BalanceView(
        confirmed_sat=onchain.confirmed_sat,
        pending_sat=onchain.pending_sat,
        channels_msat=sum(driver.channel.state.base.holder_msat for driver in live),
    )


def peers(node: Node) -> list[PeerView]:
    bit = LightspeedFunding.feature_bit
    return [
        PeerView(node_id=peer.node_id.data.hex(), lightspeed=peer.init.features.supports(bit))
        for peer in node.peers
    ]


def channel(node: Node, driver: ChannelDriver) -> ChannelView:
    state, config = driver.channel.state, driver.channel.state.config
    connected = state.session.link is Link.UP
    party = driver.record.party
    progress = node.watch.progress.get(config.channel_id)
    return ChannelView(
        channel_id=config.channel_id.hex(),
        node_id=driver.record.node_id.hex(),
        phase=state.phase.value,
        connected=connected,
        usable=connected and state.phase is Phase.NORMAL,
        party=None if party is None else party.name.lower(),
        funder=config.is_funder(Side.HOLDER),
        funding_txid=txid_hex(config.funding_outpoint.txid),
        funding_vout=config.funding_outpoint.vout,
        funding_sat=config.funding_sat,
        holder_msat=state.base.holder_msat,
        counterparty_msat=state.base.counterparty_msat,
        htlcs=len(state.base.htlcs),
        open_books=0 if party is None else len(usable_books(driver.channel)),
        **_onchain(driver, progress),
    )


def _onchain(driver: ChannelDriver, progress: CloseProgress | None) -> dict[str, Any]:
    if progress is None:
        state = CloseState.DONE if driver.record.over else CloseState.OPEN
        progress = CloseProgress(state=state, tip_height=0)
    commitment, broadcaster = progress.commitment_txid, progress.broadcaster
    return {
        "onchain_state": progress.state.value,
        "commitment_txid": None if commitment is None else txid_hex(commitment),
        "commitment_height": progress.confirmed_height,
        "close_kind": None if progress.kind is None else progress.kind.name.lower(),
        "closed_by": None if broadcaster is None else broadcaster.value,
        "transactions": [
            ChannelTransactionView(
                txid=txid_hex(tx.txid),
                purpose=tx.purpose,
                ours=tx.ours,
                vbytes=tx.vbytes,
                fee_sat=tx.fee_sat,
                confirmed_height=tx.confirmed_height,
            )
            for tx in progress.transactions
        ],
        "waiting": [
            WaitingView(
                purpose=waiting.purpose,
                value_sat=waiting.value_sat,
                mature_height=waiting.mature_height,
            )
            for waiting in progress.waiting
        ],
        "problems": list(progress.problems),
    }


async def books(node: Node, drivers: Iterable[ChannelDriver]) -> list[BookView]:
    """Usable books of these channels. Raises `LedgerUnavailable`."""
    return [
        await book(node, driver, found)
        for driver in drivers
        if driver.record.party is not None
        for found in usable_books(driver.channel)
    ]


async def book(node: Node, driver: ChannelDriver, found: Book) -> BookView:
    """Raises `LedgerUnavailable`."""
    assert driver.record.party is not None
    view = BookView(
        book_id=found.book_id.hex(),
        channel_id=found.channel_id.hex(),
        party=driver.record.party.name.lower(),
        state="usable",
        scheme=found.terms.scheme.name.lower(),
        locks=found.terms.locks,
        chain_length=found.terms.chain_length,
        lock_amount_sat=found.terms.lock_amount,
        units=found.terms.units,
        unit_msat=found.terms.unit_value,
        window=found.terms.window,
        origins=list(found.terms.origins),
        redeemed_units=None,
        secured_locks=None,
    )
    if driver.record.party is Party.PAYER or node.payee_books is None:
        return view
    return _with_status(view, await node.payee_books.status(found.book_id))


def _with_status(view: BookView, status: BookStatus) -> BookView:
    return replace(
        view,
        state=status.state.value,
        redeemed_units=status.redeemed_units,
        secured_locks=status.secured_locks,
    )


def invoice(node: Node, found: Invoice) -> InvoiceView:
    return InvoiceView(
        payment_hash=found.payment_hash,
        bolt11=found.bolt11,
        amount_msat=found.amount_msat,
        description=found.description,
        state=node.invoices.state(found),
        received_msat=found.received_msat,
        created_at=found.created_at,
        expires_at=found.expires_at,
    )


def payment(found: Payment) -> PaymentView:
    return PaymentView(
        payment_hash=found.payment_hash,
        node_id=found.node_id,
        amount_msat=found.amount_msat,
        state=found.state,
        failure=found.failure,
        preimage=found.preimage,
        created_at=found.created_at,
    )

"""What a node says of itself: its state as the API's views."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lightspeed.bitcoin import txid_hex
from lightspeed.channel import Link, Phase, Side
from lightspeed.colour import Offer, colour_parameters
from lightspeed.ledger import BookStatus
from lightspeed.lsf import (
    LightspeedFunding,
    Party,
    close_requests,
    closed_books,
    settled_locks,
    usable_books,
)
from lightspeed.node.books import agreed_books
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
    TokenNameView,
    TradeView,
    WaitingView,
)
from lightspeed.payment import SATS, Book, BookState
from lightspeed.rgb import contract_id_text, spec_of

__all__ = [
    "balance",
    "book",
    "books",
    "channel",
    "info",
    "invoice",
    "payment",
    "peers",
    "token_name",
    "trade",
]


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
        problems=[*node.alarms.texts],
    )


def balance(node: Node) -> BalanceView:
    onchain = node.wallet.balance()
    live = (d for d in node.drivers.values() if d.phase in (Phase.NORMAL, Phase.SHUTTING_DOWN))
    return BalanceView(
        confirmed_sat=onchain.confirmed_sat,
        pending_sat=onchain.pending_sat,
        beside_tokens_sat=node.wallet.apart_sat(),
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
        token=token_name(node, driver),
        holder_tokens=state.base.holder_tokens,
        counterparty_tokens=state.base.counterparty_tokens,
        htlcs=len(state.base.htlcs),
        open_books=0 if party is None else len(usable_books(driver.channel)),
        **_onchain(driver, progress),
    )


def token_name(node: Node, driver: ChannelDriver) -> TokenNameView | None:
    """Of the tokens in a channel, if there are any."""
    colour = colour_parameters(driver.channel.state.config)
    if colour is None:
        return None
    spec = spec_of(node.stash.history(colour.contract_id).genesis)
    return TokenNameView(
        contract=contract_id_text(colour.contract_id),
        ticker=spec.ticker,
        precision=spec.precision,
    )


def trade(node: Node, driver: ChannelDriver, paid: Offer) -> TradeView:
    return TradeView(
        channel_id=driver.channel.channel_id.hex(),
        token=token_name(node, driver),
        tokens=paid.tokens,
        price_msat=paid.price_msat,
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
                tokens=tx.tokens,
            )
            for tx in progress.transactions
        ],
        "waiting": [
            WaitingView(
                purpose=waiting.purpose,
                value_sat=waiting.value_sat,
                mature_height=waiting.mature_height,
                tokens=waiting.tokens,
            )
            for waiting in progress.waiting
        ],
        "problems": list(progress.problems),
    }


async def books(node: Node, drivers: Iterable[ChannelDriver]) -> list[BookView]:
    """All that were ever usable, by channel. Raises `LedgerUnavailable`."""
    return [
        await book(node, driver, found)
        for driver in drivers
        if driver.record.party is not None
        for found in agreed_books(driver.channel)
    ]


async def book(node: Node, driver: ChannelDriver, found: Book) -> BookView:
    """Raises `LedgerUnavailable`."""
    assert driver.record.party is not None
    in_sats = found.terms.asset == SATS
    view = BookView(
        book_id=found.book_id.hex(),
        channel_id=found.channel_id.hex(),
        party=driver.record.party.name.lower(),
        state=_payer_state(driver, found.book_id),
        scheme=found.terms.scheme.name.lower(),
        locks=found.terms.locks,
        chain_length=found.terms.chain_length,
        token=None if in_sats else token_name(node, driver),
        lock_amount_sat=found.terms.lock_amount if in_sats else None,
        lock_tokens=None if in_sats else found.terms.lock_amount,
        units=found.terms.units,
        unit_msat=found.terms.unit_value if in_sats else None,
        unit_tokens=None if in_sats else found.terms.unit_value,
        window=found.terms.window,
        origins=list(found.terms.origins),
        settled_units=_settled_units(driver, found),
        unused_units=None,
        redeemed_units=None,
        secured_locks=None,
        at_risk_units=None,
    )
    if driver.record.party is Party.PAYEE and node.payee_books is not None:
        return _with_status(view, await node.payee_books.status(found.book_id))
    if driver.record.party is Party.PAYER and node.payer_books is not None:
        return replace(view, unused_units=node.payer_books.unused_units(found))
    return view


def _payer_state(driver: ChannelDriver, book_id: bytes) -> str:
    if book_id in closed_books(driver.channel):
        return "closed"
    if driver.phase is Phase.NORMAL:
        return "closing" if book_id in close_requests(driver.channel) else "usable"
    return "closing" if driver.phase is Phase.SHUTTING_DOWN else "on chain"


def _settled_units(driver: ChannelDriver, found: Book) -> int:
    paid = closed_books(driver.channel).get(found.book_id)
    if paid is not None:
        return paid
    return settled_locks(driver.channel).get(found.book_id, 0) * found.terms.chain_length


def _with_status(view: BookView, status: BookStatus) -> BookView:
    over = status.state is BookState.CLOSED
    return replace(
        view,
        state=status.state.value,
        redeemed_units=status.redeemed_units,
        secured_locks=status.secured_locks,
        at_risk_units=0 if over else max(0, status.redeemed_units - view.settled_units),
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

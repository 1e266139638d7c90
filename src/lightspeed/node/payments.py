"""The payer's side of the conventional payment, over a direct channel: a one-hop onion.

BOLT 4 and 11. What is stored about a payment is stored in the same transaction as the
channel's turn that it belongs to, so that a crash leaves both or neither.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import PrivateKey
from lightspeed.channel import (
    Channel,
    ChannelRefusal,
    Effect,
    HtlcFailed,
    HtlcFulfilled,
    Link,
    Persist,
    Phase,
    Put,
)
from lightspeed.node.config import NodeConfig
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import InvoiceError, NodeRefusal, NoRoute, NotFound
from lightspeed.node.invoice_text import DecodedInvoice, decode_invoice
from lightspeed.node.keys import NodeKeys
from lightspeed.node.records import Document
from lightspeed.node.store import NodeStore
from lightspeed.units import Msat
from lightspeed.wire import (
    Failure,
    HopPayload,
    OnionHop,
    PaymentData,
    WireError,
    build_onion,
    decode_error_onion,
    derive_shared_secrets,
)

__all__ = ["PAYMENT_TABLE", "Payment", "Payments"]

PAYMENT_TABLE = "payment"
"""Key: payment hash."""

_CLTV_SLACK_BLOCKS = 3
"""Blocks that may be found while the HTLC is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment(Document):
    """What we pay. `state`: pending, paid or failed."""

    payment_hash: str
    node_id: str
    channel_id: str
    amount_msat: int
    created_at: int
    session_secret: str = field(repr=False)
    """Of the onion's only hop: opens the payee's failure."""
    state: str = "pending"
    preimage: str | None = field(default=None, repr=False)
    failure: str | None = None

    @property
    def put(self) -> Put:
        return Put(PAYMENT_TABLE, bytes.fromhex(self.payment_hash), self.dump())


class Payments:
    """All payments of the node, over the channels that `drivers` lists."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        keys: NodeKeys,
        store: NodeStore,
        drivers: Callable[[], Iterable[ChannelDriver]],
        height: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._keys = keys
        self._store = store
        self._drivers = drivers
        self._height = height
        self._clock = clock
        self._waiting: dict[bytes, list[asyncio.Future[Payment]]] = {}

    # --- paying ---------------------------------------------------------------------------
    async def pay(
        self,
        bolt11: str,
        *,
        amount_msat: Msat | None = None,
        timeout_seconds: float = 60.0,
    ) -> Payment:
        """Pay over a direct channel and wait; a pending payment goes on after the timeout.

        `amount_msat` is for invoices without an amount. Raises `InvoiceError`, `NoRoute`, and
        `NodeRefusal` when this invoice was paid before or is being paid.
        """
        invoice = decode_invoice(bolt11, network=self._config.network)
        amount = self._amount(invoice, amount_msat)
        self._check_new(invoice.payment_hash)
        future: asyncio.Future[Payment] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(invoice.payment_hash, []).append(future)
        try:
            await self._send(invoice, amount)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    return await future
            return self.get(invoice.payment_hash)
        finally:
            self._waiting[invoice.payment_hash].remove(future)
            if not self._waiting[invoice.payment_hash]:
                del self._waiting[invoice.payment_hash]

    def get(self, payment_hash: bytes) -> Payment:
        """Raises `NotFound`."""
        payment = self._find(payment_hash)
        if payment is None:
            raise NotFound("no payment with this payment hash")
        return payment

    def all(self) -> tuple[Payment, ...]:
        return tuple(Payment.load(data) for _, data in self._store.scan(PAYMENT_TABLE))

    def pending(self, channel_id: bytes) -> tuple[Payment, ...]:
        """Those whose HTLC is in this channel."""
        return tuple(
            payment
            for payment in self.all()
            if payment.state == "pending" and payment.channel_id == channel_id.hex()
        )

    def _find(self, payment_hash: bytes) -> Payment | None:
        data = self._store.get(PAYMENT_TABLE, payment_hash)
        return None if data is None else Payment.load(data)

    def _check_new(self, payment_hash: bytes) -> None:
        """Nothing is paid twice."""
        before = self._find(payment_hash)
        if before is not None and before.state != "failed":
            raise NodeRefusal(f"this invoice's payment is {before.state}")

    def _amount(self, invoice: DecodedInvoice, asked_msat: Msat | None) -> Msat:
        if self._clock() > invoice.expires_at:
            raise InvoiceError("the invoice has expired")
        if invoice.payee == self._keys.node_id:
            raise InvoiceError("the invoice is our own")
        if (invoice.amount_msat is None) == (asked_msat is None):
            raise InvoiceError("the amount is told once: by the invoice, or beside it")
        amount = invoice.amount_msat if asked_msat is None else asked_msat
        if amount is None or amount <= 0:
            raise InvoiceError("a payment is of at least 1 msat")
        return amount

    async def _send(self, invoice: DecodedInvoice, amount_msat: Msat) -> None:
        session_key = PrivateKey(secrets.token_bytes(32))
        cltv_expiry = self._height() + invoice.min_final_cltv_expiry_delta + _CLTV_SLACK_BLOCKS
        payload = HopPayload(
            amt_to_forward=amount_msat,
            outgoing_cltv_value=cltv_expiry,
            payment_data=PaymentData(invoice.payment_secret, amount_msat),
            payment_metadata=invoice.payment_metadata,
        )
        onion = build_onion(
            session_key=session_key,
            hops=[OnionHop(invoice.payee, payload.encode())],
            associated_data=invoice.payment_hash,
        )
        (session_secret,) = derive_shared_secrets(session_key, [invoice.payee])
        reason = "there is no usable channel to the payee"
        for driver in self._drivers():
            if driver.record.node_id != invoice.payee.data or not _usable(driver.channel):
                continue

            payment = Payment(
                payment_hash=invoice.payment_hash.hex(),
                node_id=invoice.payee.data.hex(),
                channel_id=driver.channel.channel_id.hex(),
                amount_msat=amount_msat,
                created_at=int(self._clock()),
                session_secret=session_secret.hex(),
            )

            def turn(channel: Channel, payment: Payment = payment) -> Iterable[Effect]:
                self._check_new(invoice.payment_hash)
                _, effects = channel.add_htlc(
                    amount_msat=amount_msat,
                    payment_hash=invoice.payment_hash,
                    cltv_expiry=cltv_expiry,
                    onion=onion,
                )
                return (Persist((payment.put,)), *effects, *channel.commit())

            try:
                await driver.act(turn)
                return
            except ChannelRefusal as refusal:
                reason = str(refusal)
        raise NoRoute(reason)

    # --- what channels tell ---------------------------------------------------------------
    def records(self, event: object) -> Sequence[Put]:
        """What is stored with the turn in which one of our HTLCs ended."""
        match event:
            case HtlcFulfilled():
                payment = self._find(event.payment_hash)
                if payment is None:
                    return ()
                return (replace(payment, state="paid", preimage=event.preimage.hex()).put,)
            case HtlcFailed():
                payment = self._find(event.payment_hash)
                if payment is None or payment.state == "paid":
                    return ()
                return (replace(payment, state="failed", failure=_why(payment, event)).put,)
            case _:
                return ()

    def on_event(self, event: object) -> None:
        """Tell those who wait for the payment."""
        if not isinstance(event, (HtlcFulfilled, HtlcFailed)):
            return
        payment = self._find(event.payment_hash)
        for future in self._waiting.get(event.payment_hash, ()):
            if payment is not None and not future.done():
                future.set_result(payment)


def _usable(channel: Channel) -> bool:
    state = channel.state
    return state.phase is Phase.NORMAL and state.session.link is Link.UP


def _why(payment: Payment, event: HtlcFailed) -> str:
    if event.malformed_code is not None:
        return Failure(event.malformed_code).name
    if not event.reason:
        return "timed out on chain"
    try:
        secret = bytes.fromhex(payment.session_secret)
        _, failure = decode_error_onion(event.reason, shared_secrets=[secret])
    except WireError:
        return "unreadable failure"
    return failure.name

"""The payee's side of the conventional payment: invoices, and the HTLCs that pay them.

BOLT 4 and 11. An invoice becomes paid in the same transaction as the channel's turn that
reveals its preimage, so that a crash leaves both or neither.
"""

import contextlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import sha256
from lightspeed.channel import Channel, ChannelRefusal, Effect, HtlcReceived, Persist, Put, Side
from lightspeed.node.config import NodeConfig
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import InvoiceError, NotFound
from lightspeed.node.invoice_text import MIN_FINAL_CLTV_EXPIRY_DELTA, encode_invoice
from lightspeed.node.keys import NodeKeys
from lightspeed.node.metrics import Metrics
from lightspeed.node.records import Document
from lightspeed.node.store import NodeStore
from lightspeed.units import Msat
from lightspeed.wire import (
    BADONION,
    Failure,
    FailureCode,
    HopPayload,
    Message,
    OnionError,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    WireError,
    peel_onion,
    seal_failure,
)

__all__ = ["INVOICE_TABLE", "Invoice", "Invoices"]

INVOICE_TABLE = "invoice"
"""Key: payment hash."""

_MAX_DESCRIPTION_BYTES = 639  # BOLT 11: 1,023 groups of 5 bits
_MAX_OVERPAYMENT = 2
"""BOLT 4: at most twice the invoice's amount is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice(Document):
    """What we ask for, and whether it was paid."""

    payment_hash: str
    bolt11: str = field(repr=False)
    preimage: str = field(repr=False)
    payment_secret: str = field(repr=False)
    amount_msat: int | None
    description: str
    created_at: int
    expires_at: int
    received_msat: int = 0
    paid: bool = False

    @property
    def put(self) -> Put:
        return Put(INVOICE_TABLE, bytes.fromhex(self.payment_hash), self.dump())


class Invoices:
    """All invoices of the node."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        keys: NodeKeys,
        store: NodeStore,
        metrics: Metrics,
        height: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._keys = keys
        self._store = store
        self._metrics = metrics
        self._height = height
        self._clock = clock

    def create(
        self, *, amount_msat: Msat | None, description: str = "", expiry_seconds: int = 3_600
    ) -> Invoice:
        """Stored before it is returned. Raises `InvoiceError`."""
        if amount_msat is not None and amount_msat <= 0:
            raise InvoiceError("an invoice is for at least 1 msat")
        if expiry_seconds <= 0 or len(description.encode()) > _MAX_DESCRIPTION_BYTES:
            raise InvoiceError("the expiry is not above 0, or the description is too long")
        preimage, payment_secret = secrets.token_bytes(32), secrets.token_bytes(32)
        payment_hash = sha256(preimage)
        now = int(self._clock())
        text = encode_invoice(
            network=self._config.network,
            node_key=self._keys.node_key,
            payment_hash=payment_hash,
            payment_secret=payment_secret,
            amount_msat=amount_msat,
            description=description,
            created_at=now,
            expiry_seconds=expiry_seconds,
        )
        self._metrics.other_signatures += 1
        invoice = Invoice(
            payment_hash=payment_hash.hex(),
            bolt11=text,
            preimage=preimage.hex(),
            payment_secret=payment_secret.hex(),
            amount_msat=amount_msat,
            description=description,
            created_at=now,
            expires_at=now + expiry_seconds,
        )
        self._store.apply((invoice.put,))
        return invoice

    def get(self, payment_hash: bytes) -> Invoice:
        """Raises `NotFound`."""
        invoice = self._find(payment_hash)
        if invoice is None:
            raise NotFound("no invoice with this payment hash")
        return invoice

    def all(self) -> tuple[Invoice, ...]:
        return tuple(Invoice.load(data) for _, data in self._store.scan(INVOICE_TABLE))

    def state(self, invoice: Invoice) -> str:
        """open, paid or expired."""
        if invoice.paid:
            return "paid"
        return "expired" if self._clock() > invoice.expires_at else "open"

    def preimages(self, channel: Channel) -> dict[bytes, bytes]:
        """By payment hash: of the HTLCs in the channel's commitments that we were paid with."""
        adds = [htlc.add for htlc in channel.state.base.htlcs]
        adds += [u for u in channel.state.log(Side.COUNTERPARTY) if isinstance(u, UpdateAddHtlc)]
        invoices = [self._find(add.payment_hash) for add in adds]
        return {
            bytes.fromhex(invoice.payment_hash): bytes.fromhex(invoice.preimage)
            for invoice in invoices
            if invoice is not None and invoice.paid
        }

    def _find(self, payment_hash: bytes) -> Invoice | None:
        data = self._store.get(INVOICE_TABLE, payment_hash)
        return None if data is None else Invoice.load(data)

    # --- HTLCs ----------------------------------------------------------------------------
    async def resume(self, driver: ChannelDriver) -> None:
        """After a reconnection: HTLCs that were left without an answer."""
        for htlc in driver.channel.unresolved_htlcs():
            await self.receive(driver, htlc)

    async def receive(self, driver: ChannelDriver, htlc: HtlcReceived) -> None:
        """Fulfil an irrevocably committed HTLC, or fail it."""

        def turn(channel: Channel) -> Iterable[Effect]:
            if htlc.id not in {waiting.id for waiting in channel.unresolved_htlcs()}:
                return ()  # answered meanwhile
            try:
                invoice = self._check(htlc)
            except OnionError as error:
                return (*channel.propose(_failing(channel, htlc, error)), *channel.commit())
            except _Refused as refused:
                reason = seal_failure(refused.failure, shared_secret=refused.shared_secret)
                return (*channel.fail_htlc(htlc.id, reason), *channel.commit())
            paid = replace(invoice, paid=True, received_msat=htlc.amount_msat)
            effects = channel.fulfill_htlc(htlc.id, bytes.fromhex(invoice.preimage))
            return (*effects, Persist((paid.put,)), *channel.commit())

        # Without a connection the HTLC waits for `resume`.
        with contextlib.suppress(ChannelRefusal):
            await driver.act(turn)

    def _check(self, htlc: HtlcReceived) -> Invoice:
        """The invoice that the HTLC pays. Raises `OnionError` or `_Refused`."""
        peeled = peel_onion(
            htlc.onion_routing_packet,
            node_key=self._keys.node_key,
            associated_data=htlc.payment_hash,
        )
        secret = peeled.shared_secret
        if peeled.next_packet is not None:
            raise _Refused(Failure(FailureCode.UNKNOWN_NEXT_PEER), secret)
        try:
            payload = HopPayload.decode(peeled.payload)
        except WireError:
            raise OnionError(FailureCode.INVALID_ONION_PAYLOAD, secret) from None
        if htlc.cltv_expiry < payload.outgoing_cltv_value:
            expiry = htlc.cltv_expiry.to_bytes(4, "big")
            raise _Refused(Failure(FailureCode.FINAL_INCORRECT_CLTV_EXPIRY, expiry), secret)
        if htlc.amount_msat < payload.amt_to_forward:
            amount = htlc.amount_msat.to_bytes(8, "big")
            raise _Refused(Failure(FailureCode.FINAL_INCORRECT_HTLC_AMOUNT, amount), secret)
        invoice = self._matching(htlc, payload)
        if invoice is None:
            failure = Failure.incorrect_or_unknown_payment_details(
                htlc_msat=Msat(htlc.amount_msat), height=self._height()
            )
            raise _Refused(failure, secret)
        return invoice

    def _matching(self, htlc: HtlcReceived, payload: HopPayload) -> Invoice | None:
        """None for every mismatch: one answer, so that nobody learns which it was."""
        invoice = self._find(htlc.payment_hash)
        if invoice is None or payload.payment_data is None:
            return None
        expected = bytes.fromhex(invoice.payment_secret)
        total, asked = payload.payment_data.total_msat, invoice.amount_msat
        good = (
            hmac.compare_digest(payload.payment_data.payment_secret, expected)
            and not invoice.paid
            and self._clock() <= invoice.expires_at
            and htlc.amount_msat >= total
            and (asked is None or asked <= total <= _MAX_OVERPAYMENT * asked)
            and htlc.cltv_expiry >= self._height() + MIN_FINAL_CLTV_EXPIRY_DELTA
        )
        return invoice if good else None


class _Refused(Exception):
    """The HTLC goes back with this failure."""

    def __init__(self, failure: Failure, shared_secret: bytes) -> None:
        super().__init__(failure.name)
        self.failure = failure
        self.shared_secret = shared_secret


def _failing(channel: Channel, htlc: HtlcReceived, error: OnionError) -> Message:
    """BOLT 4: what cannot be sealed goes back as malformed."""
    if error.code & BADONION or error.shared_secret is None:
        return UpdateFailMalformedHtlc(
            channel_id=channel.channel_id,
            id=htlc.id,
            sha256_of_onion=sha256(htlc.onion_routing_packet),
            failure_code=error.code,
        )
    # BOLT 4: the type and offset of the record that did not parse; neither is known.
    failure = Failure(error.code, bytes(3))
    reason = seal_failure(failure, shared_secret=error.shared_secret)
    return UpdateFailHtlc(channel_id=channel.channel_id, id=htlc.id, reason=reason)

"""Tokens that leave: paid to invoices, with the consignment posted or handed over as a file.

Everything is stored before the payee sees a consignment: the transaction, and what proves it.
Until it is published nothing has happened, and the transfer can be cancelled.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lightspeed.bitcoin import TxOut, txid_from_hex, txid_hex
from lightspeed.chain import BroadcastRefused, Chain
from lightspeed.node.errors import InvoiceError, NodeRefusal, NotFound, ProxyUnavailable
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import TOKEN_OUTPUT_SAT, Builder, new_blinding
from lightspeed.node.tokens.fate import Fate, fate_of
from lightspeed.node.tokens.proxy import Posted, ProxyClient
from lightspeed.node.tokens.records import TOKEN_TRANSFER_TABLE, Transfer, TransferState
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import (
    ASSET_OWNER,
    Destination,
    GraphSeal,
    Opout,
    RgbError,
    SecretSeal,
    TokenInvoice,
    WitnessOutput,
    contract_id_text,
    secret_seal_text,
)

__all__ = ["Sending", "Sent"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FEE_TARGET_BLOCKS = 6
_ACK_POLL_SECONDS = 0.5
_PAYEE = 0  # of what the transition assigns
_OPEN = (TransferState.WAITING, TransferState.PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`consignment`: the file for the payee, as it may have to be handed over."""

    transfer: Transfer
    consignment: bytes


class Sending:
    """All transfers of the node. `alone` is held while tokens are chosen."""

    def __init__(
        self,
        *,
        store: NodeStore,
        stash: Stash,
        wallet: Wallet,
        chain: Chain,
        builder: Builder,
        proxies: ProxyClient,
        alone: asyncio.Lock,
        safe_depth: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._stash = stash
        self._wallet = wallet
        self._chain = chain
        self._builder = builder
        self._proxies = proxies
        self._alone = alone
        self._safe_depth = safe_depth
        self._clock = clock
        self._in_hand: set[str] = set()
        """Transfers that are being posted or published: nobody else touches them."""

    # --- what there is --------------------------------------------------------------------

    def all(self) -> list[Transfer]:
        """The oldest first."""
        found = [Transfer.load(value) for _, value in self._store.scan(TOKEN_TRANSFER_TABLE)]
        return sorted(found, key=lambda transfer: (transfer.created_at, transfer.txid))

    def get(self, txid: bytes) -> Transfer:
        """Raises `NotFound`."""
        data = self._store.get(TOKEN_TRANSFER_TABLE, txid)
        if data is None:
            raise NotFound("no transfer of tokens in this transaction")
        return Transfer.load(data)

    @property
    def busy(self) -> bool:
        """Is there a transfer that is not over?"""
        return any(transfer.state in _OPEN for transfer in self.all())

    def consignment(self, txid: bytes) -> bytes:
        """The file for the payee of an invoice once more, whatever became of the first one.

        Raises `NotFound`, and `NodeRefusal` where no invoice was paid.
        """
        transfer = self.get(txid)
        if transfer.recipient_id is None or transfer.state == TransferState.FAILED:
            raise NodeRefusal("no invoice was paid in this transaction")
        ((opid, transition),) = self._stash.history(transfer.contract_id).bundles[txid].bundle.known
        seal = transition.assignments.of_type(ASSET_OWNER)[_PAYEE].secret_seal
        named = [seal] if transfer.recipient_id.endswith(secret_seal_text(seal)) else []
        return self._proof(transfer.contract_id, opid, named=named)

    def _proof(self, contract_id: bytes, opid: bytes, *, named: Sequence[SecretSeal]) -> bytes:
        opout = Opout(opid, ASSET_OWNER, _PAYEE)
        return self._stash.consignment(contract_id, [opout], named=named).serialize(magic=True)

    # --- paying an invoice ----------------------------------------------------------------

    async def send(
        self,
        text: str,
        *,
        contract_id: bytes | None = None,
        amount: int | None = None,
        at_once: bool = False,
        patience_seconds: float = 30.0,
    ) -> Sent:
        """Pay an invoice. `contract_id` and `amount` where it leaves them open.

        Published when the payee has said at an endpoint of the invoice that its consignment is
        good; `at_once`, and where the invoice names no endpoint, without that. It may be WAITING
        still when the patience ends; `look` goes on with it. Raises `InvoiceError`,
        `UnknownContract`, `NotEnoughTokens`, `InsufficientFunds` and `ProxyUnavailable`, and then
        nothing was sent.
        """
        invoice = self._readable(text)
        contract_id = _agreed(contract_id, invoice.contract_id, what="contract")
        amount = _agreed(amount, invoice.amount, what="amount")
        self._stash.history(contract_id)
        async with self._alone:
            self._check_unpaid(invoice)
            sent = await self._made(invoice, contract_id, amount)
        transfer = sent.transfer
        try:
            transfer = await self._post(sent, invoice)
            if at_once or transfer.endpoint is None:
                transfer = await self._publish(transfer)
        except (ProxyUnavailable, BroadcastRefused) as error:
            self._fail(transfer, str(error))
            raise
        finally:
            self._in_hand.discard(transfer.txid)
        if transfer.state == TransferState.WAITING:
            transfer = await self._word(transfer, patience_seconds)
        return Sent(transfer=transfer, consignment=sent.consignment)

    def _readable(self, text: str) -> TokenInvoice:
        try:
            invoice = TokenInvoice.parse(text)
        except RgbError as error:
            raise InvoiceError(str(error)) from None
        if invoice.chain_net is not self._stash.chain_net:
            raise InvoiceError("the invoice is for another chain")
        if invoice.expiry is not None and invoice.expiry <= self._clock():
            raise InvoiceError("the invoice has expired")
        return invoice

    def _check_unpaid(self, invoice: TokenInvoice) -> None:
        for transfer in self.all():
            same = transfer.recipient_id == invoice.recipient_id
            if same and transfer.state != TransferState.FAILED:
                raise InvoiceError(f"the invoice is paid already, by {transfer.txid}")

    async def _made(self, invoice: TokenInvoice, contract_id: bytes, amount: int) -> Sent:
        """Signed and stored."""
        outputs = []
        seal: Destination
        if isinstance(invoice.beneficiary, WitnessOutput):
            outputs.append(TxOut(TOKEN_OUTPUT_SAT, invoice.beneficiary.script))
            seal, named = GraphSeal(None, 1, new_blinding()), []
        else:
            seal, named = invoice.beneficiary, [invoice.beneficiary]
        built = await self._builder.transfer(
            contract_id,
            [(seal, amount)],
            outputs=outputs,
            feerate_per_kw=await self._chain.fee_rate(_FEE_TARGET_BLOCKS),
        )
        transfer = Transfer(
            txid=txid_hex(built.tx.txid),
            contract=contract_id_text(contract_id),
            amount=amount,
            purpose="sent",
            state=TransferState.WAITING,
            raw=built.tx.serialize().hex(),
            created_at=int(self._clock()),
            recipient_id=invoice.recipient_id,
        )
        self._in_hand.add(transfer.txid)
        self._stash.add(built.coloured.witness, besides=[transfer.put])
        proof = self._proof(contract_id, built.coloured.opid, named=named)
        return Sent(transfer=transfer, consignment=proof)

    async def _post(self, sent: Sent, invoice: TokenInvoice) -> Transfer:
        """To the first endpoint that takes it. Raises `ProxyUnavailable` when none does."""
        transfer = sent.transfer
        posted = Posted(
            consignment=sent.consignment,
            txid=txid_from_hex(transfer.txid),
            vout=1 if isinstance(invoice.beneficiary, WitnessOutput) else None,
        )
        failure: ProxyUnavailable | None = None
        for endpoint in invoice.endpoints:
            try:
                await self._proxies.post(endpoint, invoice.recipient_id, posted)
            except ProxyUnavailable as error:
                failure = error
            else:
                transfer = replace(transfer, endpoint=endpoint)
                self._store.apply([transfer.put])
                return transfer
        if failure is not None:
            raise failure
        return transfer

    # --- what becomes of it ---------------------------------------------------------------

    async def keep(self, transfer: Transfer) -> Transfer:
        """Publish a transfer that was made elsewhere, and stored. Raises `BroadcastRefused`."""
        try:
            return await self._publish(transfer)
        except BroadcastRefused as error:
            self._fail(transfer, str(error))
            raise

    async def cancel(self, txid: bytes) -> Transfer:
        """Raises `NotFound`, and `NodeRefusal` when it is too late."""
        transfer = self.get(txid)
        if transfer.state != TransferState.WAITING:
            raise NodeRefusal(f"the transfer is {transfer.state}: only a waiting one is cancelled")
        if transfer.txid in self._in_hand:
            raise NodeRefusal("the transfer is being posted: try again when that is over")
        return self._fail(transfer, "cancelled by its owner")

    async def look(self) -> None:
        """Go on with whatever is open: ask payees for their word, see that transactions settle."""
        for txid in [each.txid for each in self.all()]:
            if txid in self._in_hand:
                continue
            transfer = self.get(txid_from_hex(txid))  # it may have gone on while we saw to others
            match transfer.state:
                case TransferState.WAITING:
                    await self._ask(transfer)
                case TransferState.PUBLISHED:
                    await self._see(transfer)

    async def _word(self, transfer: Transfer, patience_seconds: float) -> Transfer:
        """Asks until the payee has spoken or the patience ends."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        while transfer.state == TransferState.WAITING and loop.time() < deadline:
            await self._ask(transfer)
            transfer = self.get(txid_from_hex(transfer.txid))
            if transfer.state == TransferState.WAITING:
                await asyncio.sleep(_ACK_POLL_SECONDS)
        return transfer

    async def _ask(self, transfer: Transfer) -> None:
        if transfer.endpoint is None or transfer.recipient_id is None:
            # It was stored and not posted when the node ended: nobody knows of it.
            self._fail(transfer, "the node ended before it was posted")
            return
        try:
            word = await self._proxies.acknowledged(transfer.endpoint, transfer.recipient_id)
        except ProxyUnavailable as error:
            _log.warning("a proxy does not answer", extra={"reason": str(error)})
            return
        if self.get(txid_from_hex(transfer.txid)).state != TransferState.WAITING:
            return  # cancelled meanwhile
        if word is False:
            self._fail(transfer, "the payee refuses the consignment")
        elif word:
            try:
                await self._publish(transfer)
            except BroadcastRefused as error:
                self._fail(transfer, str(error))

    async def _publish(self, transfer: Transfer) -> Transfer:
        """First stored as published: after a crash it is published again."""
        transfer = transfer.now(TransferState.PUBLISHED)
        self._in_hand.add(transfer.txid)
        try:
            self._store.apply([transfer.put])
            await self._chain.broadcast(transfer.tx)
            self._wallet.note_broadcast(transfer.tx)
        finally:
            self._in_hand.discard(transfer.txid)
        return transfer

    async def _see(self, transfer: Transfer) -> None:
        match await fate_of(transfer.tx, self._chain, safe_depth=self._safe_depth):
            case Fate.SETTLED:
                self._store.apply([transfer.now(TransferState.SETTLED).put])
            case Fate.LOST:
                self._fail(transfer, "a coin of it was spent by another transaction")
            case Fate.OPEN:
                await self._broadcast_again(transfer)
            case Fate.SHALLOW:
                pass

    async def _broadcast_again(self, transfer: Transfer) -> None:
        """If the mempool has forgotten it."""
        tx = transfer.tx
        if await self._chain.transaction(tx.txid) is not None:
            return
        try:
            await self._chain.broadcast(tx)
        except BroadcastRefused as error:
            _log.info(
                "a transfer of tokens is not taken",
                extra={"txid": transfer.txid, "reason": str(error)},
            )

    def _fail(self, transfer: Transfer, reason: str) -> Transfer:
        failed = transfer.now(TransferState.FAILED, reason=reason)
        self._store.apply([failed.put])
        self._wallet.release(transfer.tx)
        _log.warning("a transfer of tokens failed", extra={"reason": reason})
        return failed


def _agreed(given: T | None, asked: T | None, *, what: str) -> T:
    """What the payer says and what the invoice says must not differ."""
    if given is None and asked is None:
        raise InvoiceError(f"the invoice leaves the {what} open: name it")
    if given is not None and asked is not None and given != asked:
        raise InvoiceError(f"the invoice asks for another {what}")
    found = asked if given is None else given
    assert found is not None
    return found

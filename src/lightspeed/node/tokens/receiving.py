"""Tokens that come: invoices, and the consignments that pay them.

A consignment is validated against the chain before anything is said or kept. It may be there
before its transaction is published; whether that is mined is asked of the chain at each use.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lightspeed.bitcoin import OutPoint, sha256, txid_hex
from lightspeed.chain import BlockId, Chain
from lightspeed.node.errors import (
    ConsignmentRefused,
    HistoryTooYoung,
    InvoiceError,
    ProxyUnavailable,
)
from lightspeed.node.stash import MAX_CONSIGNMENT_SIZE, Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import TOKEN_OUTPUT_SAT, new_blinding
from lightspeed.node.tokens.proxy import ProxyClient, is_endpoint
from lightspeed.node.tokens.records import TOKEN_INVOICE_TABLE, IssuedInvoice
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import (
    Beneficiary,
    Consignment,
    GraphSeal,
    InvalidConsignment,
    Opout,
    RgbFormatError,
    TokenInvoice,
    UnknownSchema,
    Validated,
    WitnessOutput,
    contract_id_text,
    witnesses_of,
)
from lightspeed.units import Sat

__all__ = ["Received", "Receiving"]

_log = logging.getLogger(__name__)

_SEAL_COIN_MAX_SAT = Sat(5_000)
"""A coin no larger than this is used for a seal rather than a new one made."""
_FEE_TARGET_BLOCKS = 6
_MAX_ENDPOINTS = 3
_GRACE_SECONDS = 86_400
"""So long after its expiry an invoice's coin is kept, for a payer that was late."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An allocation for us; without a record it is on a coin of ours and not invoiced."""

    opout: Opout
    outpoint: OutPoint
    amount: int
    txid: bytes
    record: IssuedInvoice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a consignment brought. `amount` 0: only the contract's introduction."""

    contract_id: bytes
    amount: int
    outpoints: tuple[OutPoint, ...] = ()


class Receiving:
    """All invoices for tokens. `alone` is held while a coin is chosen for a seal."""

    def __init__(
        self,
        *,
        store: NodeStore,
        stash: Stash,
        wallet: Wallet,
        chain: Chain,
        proxies: ProxyClient,
        alone: asyncio.Lock,
        minimum_depth: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._stash = stash
        self._wallet = wallet
        self._chain = chain
        self._proxies = proxies
        self._alone = alone
        self._minimum_depth = minimum_depth
        self._clock = clock
        self._records = {
            key.decode(): IssuedInvoice.load(value)
            for key, value in store.scan(TOKEN_INVOICE_TABLE)
        }
        """By recipient id."""
        self._scripts = {record.script for record in self._records.values() if record.script}
        self._kept_until: dict[OutPoint, int] = {}
        """Coins that invoices name."""
        for record in self._records.values():
            self._note_seal(record)
        self._too_young: dict[tuple[str, str], BlockId] = {}
        """Recipient id and endpoint -> the tip at which its consignment had to wait."""

    def all(self) -> list[IssuedInvoice]:
        """The oldest first."""
        return sorted(self._records.values(), key=lambda each: (each.created_at, each.text))

    def get(self, text: str) -> IssuedInvoice:
        """By the invoice's text. Raises `InvoiceError`."""
        for record in self._records.values():
            if record.text == text:
                return record
        raise InvoiceError("this node gave out no such invoice")

    def keeps_apart(self, outpoint: OutPoint, script: bytes) -> bool:
        """The wallet's question: tokens may come to it."""
        if script.hex() in self._scripts:
            return True
        return self._clock() < self._kept_until.get(outpoint, 0)

    @property
    def busy(self) -> bool:
        """Is there an invoice that a consignment may be posted for, or told of?"""
        return any(record.invoice.endpoints and self._is_open(record) for record in self.all())

    # --- giving out -----------------------------------------------------------------------

    async def invoice(
        self,
        *,
        contract_id: bytes | None = None,
        amount: int | None = None,
        blinded: bool = False,
        expiry_seconds: int = 86_400,
        endpoints: tuple[str, ...] = (),
    ) -> IssuedInvoice:
        """Stored before it is returned. A blinded one is bound to a coin of ours.

        Raises `InvoiceError`; a blinded one `InsufficientFunds` too, when no small coin is there
        nor the means to make one.
        """
        if expiry_seconds <= 0 or len(endpoints) > _MAX_ENDPOINTS:
            raise InvoiceError("the expiry is not above 0, or there are too many endpoints")
        if not all(map(is_endpoint, endpoints)) or "," in "".join(endpoints):
            raise InvoiceError("an endpoint is rpc://host:port/path, or rpcs:// for TLS")
        if contract_id is not None:
            self._stash.history(contract_id)
        async with self._alone:
            seal = script = None
            beneficiary: Beneficiary
            coin = None
            if blinded:
                coin = await self.seal_coin()
                seal = GraphSeal(coin.txid, coin.vout, new_blinding())
                beneficiary = seal.conceal()
            else:
                script = self._wallet.new_script()
                beneficiary = WitnessOutput(script)
            now = int(self._clock())
            invoice = TokenInvoice(
                beneficiary=beneficiary,
                chain_net=self._stash.chain_net,
                contract_id=contract_id,
                amount=amount,
                expiry=now + expiry_seconds,
                endpoints=endpoints,
            )
            record = IssuedInvoice(
                text=str(invoice),
                created_at=now,
                seal=None if seal is None else str(seal),
                script=None if script is None else script.hex(),
            )
            self._keep(record)
            if coin is not None:
                self._wallet.release_coins([coin])  # it is kept apart from now on
        return record

    async def seal_coin(self) -> OutPoint:
        """A coin to put tokens on: a small one that is deep enough, or one that is made for it.

        Anybody can send us a coin, and undo it with a block: tokens on it, or on what was made
        of it, would be lost.

        It is reserved; release it when it is kept apart.
        """
        small = await self._wallet.small_coin(_SEAL_COIN_MAX_SAT, minimum_depth=self._minimum_depth)
        if small is not None:
            return small
        script = self._wallet.new_script()
        feerate = await self._chain.fee_rate(_FEE_TARGET_BLOCKS)
        tx = await self._wallet.send(
            script,
            TOKEN_OUTPUT_SAT,
            feerate_per_kw=feerate,
            chain=self._chain,
            minimum_depth=self._minimum_depth,
        )
        return tx.outpoint([output.script for output in tx.outputs].index(script))

    # --- taking in ------------------------------------------------------------------------

    async def accept(self, data: bytes, *, any_coin: bool = False) -> Received:
        """A consignment as a file. `any_coin`: tokens on coins of ours need no invoice.

        Without tokens for us it is refused, unless it is a contract's introduction. Raises
        `RgbFormatError`, `UnknownSchema`, `InvalidConsignment`, `ConsignmentRefused`,
        `HistoryTooYoung`.
        """
        consignment = await asyncio.to_thread(_parsed, data)
        last = _last_witnesses(consignment)
        validated = await self._stash.check(
            consignment, minimum_depth=self._minimum_depth, unmined=last
        )
        found = self._found(consignment, validated, any_coin=any_coin)
        if consignment.transfer and not found:
            where = "on a coin" if any_coin else "for an invoice"
            raise ConsignmentRefused(f"nothing in the consignment is {where} of this node")
        paid = self._paid(found, validated.contract_id)
        seals = [each.record.graph_seal for each in found if each.record]
        self._stash.take(
            consignment,
            [each.opout for each in found],
            seals=[seal for seal in seals if seal is not None],
            besides=[record.put for record in paid],
        )
        self._records |= {record.invoice.recipient_id: record for record in paid}
        return Received(
            contract_id=validated.contract_id,
            amount=sum(each.amount for each in found),
            outpoints=tuple(sorted({each.outpoint for each in found})),
        )

    def _found(
        self, consignment: Consignment, validated: Validated, *, any_coin: bool
    ) -> list[_Found]:
        """What in it is for us."""
        by_seal = {
            record.invoice.beneficiary: (record, seal)
            for record in self._records.values()
            if (seal := record.graph_seal) is not None
        }
        by_script = {record.script: record for record in self._records.values() if record.script}
        txs = {txid: witness.tx for txid, witness in witnesses_of(consignment).items()}
        holders = {opid: b.txid for b in consignment.bundles for opid, _ in b.bundle.known}
        coins = self._wallet.unspent() if any_coin else frozenset()
        found = []
        for opout, concealed in validated.concealed.items():
            if concealed.seal in by_seal:
                record, seal = by_seal[concealed.seal]
                txid = holders[opout.opid]
                outpoint = seal.outpoint(txid)
                found.append(_Found(opout, outpoint, concealed.amount, txid, record))
        for opout, allocation in validated.revealed.items():
            outpoint, txid = allocation.outpoint, holders.get(opout.opid, b"")
            tx = txs.get(outpoint.txid)
            paid = None
            if tx is not None and outpoint.txid == txid and outpoint.vout < len(tx.outputs):
                paid = by_script.get(tx.outputs[outpoint.vout].script.hex())
            if paid is not None or outpoint in coins:
                found.append(_Found(opout, outpoint, allocation.amount, txid, paid))
        return found

    def _paid(self, found: Sequence[_Found], contract_id: bytes) -> list[IssuedInvoice]:
        """The invoices that it pays, as they are then. Raises `ConsignmentRefused`."""
        by_invoice: dict[str, list[_Found]] = {}
        for each in found:
            if each.record is not None:
                by_invoice.setdefault(each.record.invoice.recipient_id, []).append(each)
        paid = []
        for recipient_id, own in by_invoice.items():
            record = self._records[recipient_id]
            invoice, amount = record.invoice, sum(each.amount for each in own)
            if invoice.contract_id not in (None, contract_id):
                raise ConsignmentRefused("the invoice asks for tokens of another contract")
            if amount < (invoice.amount or 0):
                raise ConsignmentRefused(f"{amount} tokens where {invoice.amount} are asked for")
            if record.seal is not None and own[0].outpoint not in self._wallet.unspent():
                raise ConsignmentRefused("the coin that the invoice names is spent")
            contract, txid = contract_id_text(contract_id), txid_hex(own[0].txid)
            paid.append(
                replace(
                    record, received=amount, contract=contract, txid=txid, reason=None, refused=None
                )
            )
        return paid

    async def look(self) -> None:
        """Ask at endpoints for consignments, and tell payers what became of theirs.

        Nothing is told as long as some of a history is not deep enough.
        """
        if not self.busy:
            return
        tip = await self._chain.tip()
        for record in self.all():
            if record.invoice.endpoints and self._is_open(record):
                for endpoint in record.invoice.endpoints:
                    key = (record.invoice.recipient_id, endpoint)
                    if self._too_young.get(key) == tip:
                        continue
                    try:
                        await self._look_at(*key)
                    except HistoryTooYoung as young:
                        self._too_young[key] = tip
                        _log.info("a consignment waits for blocks", extra={"reason": str(young)})
                    except ProxyUnavailable as error:
                        _log.warning("a proxy does not answer", extra={"reason": str(error)})

    async def _look_at(self, recipient_id: str, endpoint: str) -> None:
        record = self._records[recipient_id]
        if record.txid is None:
            posted = await self._proxies.get(endpoint, recipient_id)
            if posted is None or _digest(posted.consignment) == record.refused:
                return
            record = await self._judge(record, posted.consignment)
        if record.txid is not None:
            await self._proxies.acknowledge(endpoint, recipient_id, good=True)
            self._keep(replace(self._records[recipient_id], told=True))
        else:
            await self._proxies.acknowledge(endpoint, recipient_id, good=False)
            _log.warning("a consignment was refused", extra={"reason": record.reason})

    async def _judge(self, record: IssuedInvoice, data: bytes) -> IssuedInvoice:
        """Taken in, or with the reason why not. Raises `HistoryTooYoung`."""
        reason = "it pays another invoice"
        try:
            await self.accept(data)
        except HistoryTooYoung:
            raise
        except (RgbFormatError, UnknownSchema, InvalidConsignment, ConsignmentRefused) as error:
            reason = str(error)
        record = self._records[record.invoice.recipient_id]
        if record.txid is None:  # not by a file that came meanwhile, either
            record = replace(record, reason=reason, refused=_digest(data))
            self._keep(record)
        return record

    # --- inside ---------------------------------------------------------------------------

    def _keep(self, record: IssuedInvoice) -> None:
        self._store.apply([record.put])
        self._records[record.invoice.recipient_id] = record
        self._note_seal(record)
        if record.script:
            self._scripts.add(record.script)

    def _note_seal(self, record: IssuedInvoice) -> None:
        seal = record.graph_seal
        if seal is not None:
            self._kept_until[seal.outpoint(b"")] = self._ends(record)

    @staticmethod
    def _ends(record: IssuedInvoice) -> int:
        return (record.invoice.expiry or record.created_at) + _GRACE_SECONDS

    def _is_open(self, record: IssuedInvoice) -> bool:
        return not record.told and self._clock() < self._ends(record)


def _parsed(data: bytes) -> Consignment:
    if len(data) > MAX_CONSIGNMENT_SIZE:
        raise ConsignmentRefused(f"a consignment above {MAX_CONSIGNMENT_SIZE >> 20} MiB")
    return Consignment.parse(data)


def _digest(data: bytes) -> str:
    return sha256(data).hex()


def _last_witnesses(consignment: Consignment) -> set[bytes]:
    """Those whose tokens nothing in the consignment spends."""
    known = [(b.txid, opid, t) for b in consignment.bundles for opid, t in b.bundle.known]
    spent = {opout.opid for _, _, transition in known for opout in transition.inputs}
    return {txid for txid, opid, _ in known if opid not in spent}

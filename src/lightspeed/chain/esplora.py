"""The `Chain` behind an Esplora server: our own regtest's, or a public one.

An Esplora server is trusted for what is confirmed and what is spent. Checked is what can be
checked from one answer to the next: transactions and headers have the ids that were asked for,
headers have their work and link to those seen before, a spend spends the outpoint.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    BitcoinError,
    BlockHeader,
    FeeRate,
    OutPoint,
    Tx,
    fee_rate_from_sat_per_vbyte,
    txid_from_hex,
    txid_hex,
)
from lightspeed.chain.errors import BroadcastRefused, ChainUnavailable
from lightspeed.chain.interface import BlockId, Spend, TxInfo
from lightspeed.outbound import HttpClient, NoAnswer

__all__ = ["EsploraChain"]

_MAX_LINKED_HEADERS = 144  # a longer gap is taken from the server's heights
_MAX_HEADERS_KEPT = 10_000
_MAX_INTEGER = 0xFFFFFFFF  # of heights and of indexes of inputs
_MAX_SANE_FEE_RATE = 1_000_000  # sat/vB
_RPC_MESSAGE = re.compile(r'"message"\s*:\s*"(?P<message>[^"]*)"')
_ALREADY_CONFIRMED = "Transaction outputs already in utxo set"
_MAYBE_CONFIRMED = ("bad-txns-inputs-missingorspent", "txn-already-known")
_PACKAGE_FOLLOW_UP = ("bad-txns-inputs-missingorspent", "package-not-validated")
_NO_PARENT = bytes(32)


class EsploraChain(HttpClient):
    """`Chain` documents the methods. Use as an async context manager, or call `close`.

    `url` is the API's base, such as `http://127.0.0.1:3002`.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._url = url.rstrip("/")
        self._known_headers: dict[bytes, tuple[BlockHeader, int]] = {}

    # --- the chain ------------------------------------------------------------------------

    async def tip(self) -> BlockId:
        return await self._learn(_hash(_text(_found(await self._get("/blocks/tip/hash")))))

    async def block_id(self, height: int) -> BlockId | None:
        answer = await self._get(f"/block-height/{height}")
        return None if answer is None else BlockId(height, _hash(_text(answer)))

    async def header(self, height: int) -> BlockHeader | None:
        block = await self.block_id(height)
        return None if block is None else await self._header(block.hash)

    async def block_txids(self, block: BlockId) -> Sequence[bytes] | None:
        answer = await self._get(f"/block/{txid_hex(block.hash)}/txids")
        return None if answer is None else [_hash(txid) for txid in _list(answer)]

    async def _learn(self, block_hash: bytes) -> BlockId:
        """Finds the height of a block by its links to headers that are known already."""
        unknown: list[BlockHeader] = []
        cursor = block_hash
        while cursor not in self._known_headers:
            if cursor == _NO_PARENT:
                parent_height = -1
                break
            if unknown and (not self._known_headers or len(unknown) >= _MAX_LINKED_HEADERS):
                parent_height = await self._stated_height(block_hash) - len(unknown)
                break
            header = await self._header(cursor)
            if header is None:
                raise ChainUnavailable("the server does not know a block of its own chain")
            unknown.append(header)
            cursor = header.previous
        else:
            parent_height = self._known_headers[cursor][1]
        if parent_height < -1:
            raise ChainUnavailable("the server's heights do not fit its chain")
        for height, header in enumerate(reversed(unknown), start=parent_height + 1):
            self._known_headers[header.hash] = (header, height)
        self._forget_old_headers()
        return BlockId(parent_height + len(unknown), block_hash)

    async def _stated_height(self, block_hash: bytes) -> int:
        answer = _object(await self._get(f"/block/{txid_hex(block_hash)}"))
        return _integer(answer.get("height"))

    async def _header(self, block_hash: bytes) -> BlockHeader | None:
        if known := self._known_headers.get(block_hash):
            return known[0]
        answer = await self._get(f"/block/{txid_hex(block_hash)}/header")
        if answer is None:
            return None
        try:
            header = BlockHeader.parse(bytes.fromhex(_text(answer)))
        except ValueError:
            raise ChainUnavailable("the server sent no block header") from None
        if header.hash != block_hash or not header.meets_target:
            raise ChainUnavailable("the server sent a header of another block, or one without work")
        return header

    def _forget_old_headers(self) -> None:
        if len(self._known_headers) > _MAX_HEADERS_KEPT:
            by_height = sorted(self._known_headers.items(), key=lambda item: item[1][1])
            self._known_headers = dict(by_height[_MAX_HEADERS_KEPT // 2 :])

    # --- transactions ---------------------------------------------------------------------

    async def transaction(self, txid: bytes) -> TxInfo | None:
        path = f"/tx/{txid_hex(txid)}"
        status = _object(await self._get(f"{path}/status"), missing={})
        raw = await self._get(f"{path}/raw")
        return None if raw is None else TxInfo(_checked_tx(raw, txid), _confirmed(status))

    async def outspend(self, outpoint: OutPoint) -> Spend | None:
        path = f"/tx/{txid_hex(outpoint.txid)}/outspend/{outpoint.vout}"
        answer = _object(await self._get(path), missing={})
        return await self._spend(outpoint, answer, known={})

    async def outspends(self, txid: bytes) -> Sequence[Spend | None]:
        answers = _list(await self._get(f"/tx/{txid_hex(txid)}/outspends"))
        known: dict[bytes, Tx | None] = {}
        return [
            await self._spend(OutPoint(txid, vout), _member(answer), known=known)
            for vout, answer in enumerate(answers)
        ]

    async def _spend(
        self, outpoint: OutPoint, answer: dict[str, Any], *, known: dict[bytes, Tx | None]
    ) -> Spend | None:
        """`known` keeps the spending transactions: one of them may spend many outputs."""
        if not answer.get("spent"):
            return None
        txid, index = _hash(answer.get("txid")), _integer(answer.get("vin"))
        if txid not in known:
            raw = await self._get(f"/tx/{txid_hex(txid)}/raw")
            known[txid] = None if raw is None else _checked_tx(raw, txid)
        tx = known[txid]
        if tx is None:
            return None  # it was replaced or evicted between the two answers
        if index >= len(tx.inputs) or tx.inputs[index].outpoint != outpoint:
            raise ChainUnavailable("the server named a transaction that does not spend the output")
        return Spend(tx, index, _confirmed(_object_field(answer, "status")))

    async def broadcast(self, tx: Tx) -> None:
        status, body = await self._request("POST", "/tx", tx.serialize().hex())
        if status == 200:
            return
        if status != 400:
            raise ChainUnavailable(f"the server answered {status} to a broadcast")
        reason, detail = _refusal(body.decode("utf-8", "replace"))
        if reason == _ALREADY_CONFIRMED:
            return
        if reason in _MAYBE_CONFIRMED and await self.transaction(tx.txid) is not None:
            return
        raise BroadcastRefused(reason, detail)

    async def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        body = json.dumps([tx.serialize().hex() for tx in transactions])
        status, answer = await self._request("POST", "/txs/package", body)
        if status in (404, 405):  # an older server: what pays alone may still go in alone
            for tx in transactions:
                await self.broadcast(tx)
            return
        if status == 400:
            raise BroadcastRefused(*_refusal(answer.decode("utf-8", "replace")))
        if status != 200:
            raise ChainUnavailable(f"the server answered {status} to a package")
        verdict = _object(answer)
        message = verdict.get("package_msg")
        if message == "success":
            return
        results = _object_field(verdict, "tx-results").values()
        errors = [str(r["error"]) for r in results if isinstance(r, dict) and r.get("error")]
        if not errors:
            raise BroadcastRefused(str(message))
        causes = [error for error in errors if not error.startswith(_PACKAGE_FOLLOW_UP)]
        raise BroadcastRefused(*_split_reason((causes or errors)[0]))

    async def fee_rate(self, target_blocks: int) -> FeeRate:
        estimates = _object(await self._get("/fee-estimates"))
        try:
            rates = {int(target): float(rate) for target, rate in estimates.items()}
        except (ValueError, TypeError, OverflowError):
            raise ChainUnavailable("the server sent no fee estimates") from None
        if not all(0 <= rate <= _MAX_SANE_FEE_RATE for rate in rates.values()):
            raise ChainUnavailable("the server sent a senseless fee estimate")
        if not rates:
            return FEE_RATE_FLOOR
        within = [target for target in rates if target <= target_blocks]
        rate = rates[max(within) if within else min(rates)]
        return max(FEE_RATE_FLOOR, fee_rate_from_sat_per_vbyte(rate))

    # --- HTTP -----------------------------------------------------------------------------

    async def _get(self, path: str) -> bytes | None:
        """None for 404."""
        status, body = await self._request("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise ChainUnavailable(f"the server answered {status} to {path}")
        return body

    async def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        try:
            return await self._fetch(method, self._url + path, redirects=True, data=body)
        except NoAnswer as error:
            raise ChainUnavailable(f"no answer from {self._url}: {error}") from error


def _found(answer: bytes | None) -> bytes:
    if answer is None:
        raise ChainUnavailable("the server does not know its own tip")
    return answer


def _text(answer: bytes) -> str:
    return answer.decode("ascii", "replace").strip()


def _hash(text: Any) -> bytes:
    try:
        return txid_from_hex(text)
    except (BitcoinError, TypeError):
        raise ChainUnavailable("the server sent no hash where one belongs") from None


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
        raise ChainUnavailable("the server sent no number where one belongs")
    return value


def _object(answer: bytes | None, *, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """`missing` stands for a 404, which is refused without it."""
    if answer is None and missing is not None:
        return missing
    try:
        parsed = json.loads(answer or b"")
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ChainUnavailable("the server sent no JSON object where one belongs")
    return parsed


def _list(answer: bytes | None) -> list[Any]:
    """Empty for a 404."""
    try:
        parsed = json.loads(answer or b"[]")
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, list):
        raise ChainUnavailable("the server sent no JSON list where one belongs")
    return parsed


def _member(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ChainUnavailable("the server's list holds something else than objects")
    return value


def _object_field(answer: dict[str, Any], name: str) -> dict[str, Any]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise ChainUnavailable(f"the server's answer lacks {name}")
    return value


def _confirmed(status: dict[str, Any]) -> BlockId | None:
    if not status.get("confirmed"):
        return None
    return BlockId(_integer(status.get("block_height")), _hash(status.get("block_hash")))


def _checked_tx(raw: bytes, txid: bytes) -> Tx:
    try:
        tx = Tx.parse(raw)
    except BitcoinError:
        raise ChainUnavailable("the server sent no transaction") from None
    if tx.txid != txid:
        raise ChainUnavailable("the server sent another transaction than asked for")
    return tx


def _refusal(body: str) -> tuple[str, str]:
    """(reason, detail) from Esplora's text around Bitcoin Core's RPC error."""
    found = _RPC_MESSAGE.search(body)
    return _split_reason(found["message"] if found else body.strip()[:200])


def _split_reason(message: str) -> tuple[str, str]:
    reason, _, detail = message.partition(", ")
    return reason, detail

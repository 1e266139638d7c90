"""A regtest chain as an Esplora server on loopback, for wallets and nodes in other processes.

The paths and JSON are those of Blockstream's Esplora (github.com/Blockstream/esplora, API.md).
Below `/regtest` stands what only a regtest can do: mine, fund, reorganise, set the fees.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lightspeed.bitcoin import (
    BitcoinError,
    Block,
    Network,
    OutPoint,
    Tx,
    TxParseError,
    merkle_branch,
    sat_per_vbyte,
    script_of_address,
    sha256,
    txid_from_hex,
    txid_hex,
)
from lightspeed.chain.errors import BroadcastRefused
from lightspeed.chain.esplora_json import (
    block_json,
    outspend_json,
    script_stats_json,
    status_json,
    tx_json,
    unspent_json,
)
from lightspeed.chain.interface import TxInfo
from lightspeed.chain.merkleblock import merkle_block
from lightspeed.chain.regtest import Regtest
from lightspeed.chain.regtest_control import control_routes
from lightspeed.errors import LocalError

__all__ = ["create_app", "run", "serving"]

_BACKLOG = 512
_BLOCKS_PER_PAGE = 10
_TXS_PER_PAGE = 25
_MEMPOOL_TXS = 50
_RECENT = 10
_FEE_TARGETS = (*range(1, 26), 144, 504, 1008)
_RPC_VERIFY_REJECTED = -26  # Bitcoin Core's RPC_VERIFY_REJECTED
_RPC_ALREADY_KNOWN = -27  # RPC_VERIFY_ALREADY_IN_UTXO_SET
_RPC_DESERIALIZATION = -22


def create_app(regtest: Regtest) -> Starlette:
    """An ASGI application; it and `regtest` belong to one event loop."""
    api = _Esplora(regtest)
    return Starlette(routes=[*api.routes(), *control_routes(regtest)])


def run(
    regtest: Regtest,
    *,
    host: str = "127.0.0.1",
    port: int = 3002,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until a signal ends it; `on_ready(url)` is called when connections are accepted.

    Port 0 takes a free one. Raises `LocalError` for a host that is not loopback.
    """
    with _listen(host, port) as listener:
        if on_ready:
            on_ready(_url(host, listener))
        _server(regtest).run(sockets=[listener])


@asynccontextmanager
async def serving(
    regtest: Regtest, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serves on the running event loop while the context lasts; gives the URL."""
    with _listen(host, port) as listener:
        server = _server(regtest)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield _url(host, listener)
        finally:
            server.should_exit = True
            await task


def _listen(host: str, port: int) -> socket.socket:
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise LocalError(f"the regtest server has no access control: loopback only, not {host}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the socket names its protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    listener.listen(_BACKLOG)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def _server(regtest: Regtest) -> uvicorn.Server:
    app = create_app(regtest)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )


class _Esplora:
    def __init__(self, regtest: Regtest) -> None:
        self._regtest = regtest

    def routes(self) -> list[Route]:
        get: dict[str, Callable[[Request], Any]] = {
            "/blocks/tip/hash": self.tip_hash,
            "/blocks/tip/height": self.tip_height,
            "/blocks": self.blocks,
            "/blocks/{start:int}": self.blocks,
            "/block-height/{height:int}": self.block_height,
            "/block/{hash}": self.block,
            "/block/{hash}/header": self.block_header,
            "/block/{hash}/status": self.block_status,
            "/block/{hash}/raw": self.block_raw,
            "/block/{hash}/txids": self.block_txids,
            "/block/{hash}/txid/{position:int}": self.block_txid,
            "/block/{hash}/txs": self.block_txs,
            "/block/{hash}/txs/{start:int}": self.block_txs,
            "/tx/{txid}": self.tx,
            "/tx/{txid}/hex": self.tx_hex,
            "/tx/{txid}/raw": self.tx_raw,
            "/tx/{txid}/status": self.tx_status,
            "/tx/{txid}/outspend/{vout:int}": self.outspend,
            "/tx/{txid}/outspends": self.outspends,
            "/tx/{txid}/merkle-proof": self.merkle_proof,
            "/tx/{txid}/merkleblock-proof": self.merkleblock_proof,
            "/fee-estimates": self.fee_estimates,
            "/mempool": self.mempool,
            "/mempool/txids": self.mempool_txids,
            "/mempool/recent": self.mempool_recent,
        }
        for kind in ("scripthash", "address"):
            base = f"/{kind}/{{{kind}}}"
            get |= {
                base: self.script,
                f"{base}/txs": self.script_txs,
                f"{base}/txs/chain": self.script_txs_chain,
                f"{base}/txs/chain/{{last}}": self.script_txs_chain,
                f"{base}/txs/mempool": self.script_txs_mempool,
                f"{base}/utxo": self.script_utxo,
            }
        return [
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get.items()),
            Route("/tx", self.post_tx, methods=["POST"]),
            Route("/txs/package", self.post_package, methods=["POST"]),
        ]

    # --- blocks ---------------------------------------------------------------------------

    async def tip_hash(self, _: Request) -> Response:
        return PlainTextResponse(txid_hex(self._regtest.tip.hash))

    async def tip_height(self, _: Request) -> Response:
        return PlainTextResponse(str(self._regtest.height))

    async def blocks(self, request: Request) -> Response:
        newest = min(request.path_params.get("start", self._regtest.height), self._regtest.height)
        heights = range(newest, max(newest - _BLOCKS_PER_PAGE, -1), -1)
        index = self._regtest.index
        return JSONResponse([block_json(self._regtest, index.block(h), h) for h in heights])

    async def block_height(self, request: Request) -> Response:
        block_id = self._regtest.index.block_id(request.path_params["height"])
        if block_id is None:
            raise HTTPException(404, "Block not found")
        return PlainTextResponse(txid_hex(block_id.hash))

    async def block(self, request: Request) -> Response:
        return JSONResponse(block_json(self._regtest, *self._block(request)))

    async def block_header(self, request: Request) -> Response:
        return PlainTextResponse(self._block(request)[0].header.serialize().hex())

    async def block_status(self, request: Request) -> Response:
        height = self._regtest.index.height_of(_id(request, "hash"))
        if height is None:
            return JSONResponse({"in_best_chain": False, "height": None, "next_best": None})
        following = self._regtest.index.block_id(height + 1)
        next_best = txid_hex(following.hash) if following else None
        return JSONResponse({"in_best_chain": True, "height": height, "next_best": next_best})

    async def block_raw(self, request: Request) -> Response:
        return _binary(self._block(request)[0].serialize())

    async def block_txids(self, request: Request) -> Response:
        return JSONResponse([txid_hex(tx.txid) for tx in self._block(request)[0].transactions])

    async def block_txid(self, request: Request) -> Response:
        transactions = self._block(request)[0].transactions
        position = request.path_params["position"]
        if position >= len(transactions):
            raise HTTPException(404, "tx index out of range")
        return PlainTextResponse(txid_hex(transactions[position].txid))

    async def block_txs(self, request: Request) -> Response:
        block, height = self._block(request)
        start = request.path_params.get("start", 0)
        if start % _TXS_PER_PAGE:
            raise HTTPException(400, f"start index must be a multiple of {_TXS_PER_PAGE}")
        if start >= len(block.transactions):
            raise HTTPException(400, "start index out of range")
        best = self._regtest.index.block_id(height)
        confirmed = best if best and best.hash == block.hash else None
        page = block.transactions[start : start + _TXS_PER_PAGE]
        return JSONResponse([tx_json(self._regtest, tx, confirmed) for tx in page])

    def _block(self, request: Request) -> tuple[Block, int]:
        found = self._regtest.stored_block(_id(request, "hash"))
        if found is None:
            raise HTTPException(404, "Block not found")
        return found

    # --- transactions ---------------------------------------------------------------------

    async def tx(self, request: Request) -> Response:
        info = self._tx(request)
        return JSONResponse(tx_json(self._regtest, info.tx, info.confirmed))

    async def tx_hex(self, request: Request) -> Response:
        return PlainTextResponse(self._tx(request).tx.serialize().hex())

    async def tx_raw(self, request: Request) -> Response:
        return _binary(self._tx(request).tx.serialize())

    async def tx_status(self, request: Request) -> Response:
        info = self._regtest.transaction(_id(request, "txid"))
        return JSONResponse(status_json(self._regtest, info.confirmed if info else None))

    async def outspend(self, request: Request) -> Response:
        outpoint = OutPoint(_id(request, "txid"), min(request.path_params["vout"], 0xFFFFFFFF))
        return JSONResponse(outspend_json(self._regtest, outpoint))

    async def outspends(self, request: Request) -> Response:
        tx = self._tx(request).tx
        outpoints = (tx.outpoint(vout) for vout in range(len(tx.outputs)))
        return JSONResponse([outspend_json(self._regtest, outpoint) for outpoint in outpoints])

    async def merkle_proof(self, request: Request) -> Response:
        block, height, position = self._place(request)
        branch = merkle_branch([tx.txid for tx in block.transactions], position)
        return JSONResponse(
            {
                "block_height": height,
                "merkle": [txid_hex(sibling) for sibling in branch],
                "pos": position,
            }
        )

    async def merkleblock_proof(self, request: Request) -> Response:
        block, _, position = self._place(request)
        return PlainTextResponse(merkle_block(block, position).hex())

    async def post_tx(self, request: Request) -> Response:
        tx = _parse_tx((await request.body()).decode("ascii", "replace"))
        if self._regtest.index.located(tx.txid):
            raise _rpc_error(_RPC_ALREADY_KNOWN, "Transaction outputs already in utxo set")
        try:
            self._regtest.broadcast(tx)
        except BroadcastRefused as refused:
            raise _rpc_error(_RPC_VERIFY_REJECTED, str(refused)) from None
        return PlainTextResponse(txid_hex(tx.txid))

    async def post_package(self, request: Request) -> Response:
        """Answers as Bitcoin Core's `submitpackage`, also when the package is refused."""
        try:
            transactions = [_parse_tx(text) for text in await request.json()]
        except (ValueError, TypeError, AttributeError):
            raise HTTPException(400, "a JSON array of hex transactions is expected") from None
        message = "success"
        try:
            self._regtest.broadcast_package(transactions)
        except BroadcastRefused as refused:
            message = str(refused)
        results: dict[str, Any] = {}
        for tx in transactions:
            result: dict[str, Any] = {"txid": txid_hex(tx.txid)}
            if entry := self._regtest.mempool.get(tx.txid):
                result |= {"vsize": entry.vsize, "fees": {"base": entry.fee / 100_000_000}}
            elif self._regtest.index.located(tx.txid) is None:
                result["error"] = message
            results[txid_hex(tx.wtxid)] = result
        return JSONResponse(
            {"package_msg": message, "tx-results": results, "replaced-transactions": []}
        )

    def _tx(self, request: Request) -> TxInfo:
        info = self._regtest.transaction(_id(request, "txid"))
        if info is None:
            raise HTTPException(404, "Transaction not found")
        return info

    def _place(self, request: Request) -> tuple[Block, int, int]:
        """The block that confirms a transaction, its height, the position in it."""
        located = self._regtest.index.located(_id(request, "txid"))
        if located is None:
            raise HTTPException(404, "Transaction not found or is unconfirmed")
        height = located.block.height
        return self._regtest.index.block(height), height, located.position

    # --- scripts --------------------------------------------------------------------------

    async def script(self, request: Request) -> Response:
        script_hash = _script_hash(request)
        confirmed = self._regtest.index.history(script_hash)
        unconfirmed = self._regtest.mempool.history(script_hash)
        return JSONResponse(
            {
                **request.path_params,
                "chain_stats": script_stats_json(self._regtest, script_hash, confirmed),
                "mempool_stats": script_stats_json(self._regtest, script_hash, unconfirmed),
            }
        )

    async def script_txs(self, request: Request) -> Response:
        script_hash = _script_hash(request)
        return self._txs(
            self._regtest.mempool.history(script_hash)[::-1][:_MEMPOOL_TXS]
            + self._regtest.index.history(script_hash)[::-1][:_TXS_PER_PAGE]
        )

    async def script_txs_chain(self, request: Request) -> Response:
        newest_first = self._regtest.index.history(_script_hash(request))[::-1]
        if "last" in request.path_params:
            last = _id(request, "last")
            start = newest_first.index(last) + 1 if last in newest_first else len(newest_first)
            newest_first = newest_first[start:]
        return self._txs(newest_first[:_TXS_PER_PAGE])

    async def script_txs_mempool(self, request: Request) -> Response:
        newest_first = self._regtest.mempool.history(_script_hash(request))[::-1]
        return self._txs(newest_first[:_MEMPOOL_TXS])

    async def script_utxo(self, request: Request) -> Response:
        return JSONResponse(unspent_json(self._regtest, _script_hash(request)))

    def _txs(self, txids: list[bytes]) -> Response:
        infos = (self._regtest.transaction(txid) for txid in txids)
        return JSONResponse(
            [tx_json(self._regtest, info.tx, info.confirmed) for info in infos if info]
        )

    # --- mempool --------------------------------------------------------------------------

    async def fee_estimates(self, _: Request) -> Response:
        rate = sat_per_vbyte(self._regtest.fee_rate)
        return JSONResponse({str(target): rate for target in _FEE_TARGETS})

    async def mempool(self, _: Request) -> Response:
        entries = sorted(self._regtest.mempool, key=lambda entry: entry.fee / entry.vsize)
        return JSONResponse(
            {
                "count": len(entries),
                "vsize": sum(entry.vsize for entry in entries),
                "total_fee": sum(entry.fee for entry in entries),
                "fee_histogram": [[e.fee / e.vsize, e.vsize] for e in reversed(entries)],
            }
        )

    async def mempool_txids(self, _: Request) -> Response:
        return JSONResponse([txid_hex(entry.tx.txid) for entry in self._regtest.mempool])

    async def mempool_recent(self, _: Request) -> Response:
        newest_first = list(self._regtest.mempool)[::-1]
        return JSONResponse(
            [
                {
                    "txid": txid_hex(entry.tx.txid),
                    "fee": entry.fee,
                    "vsize": entry.vsize,
                    "value": sum(out.value for out in entry.tx.outputs),
                }
                for entry in newest_first[:_RECENT]
            ]
        )


def _id(request: Request, name: str) -> bytes:
    try:
        return txid_from_hex(request.path_params[name])
    except TxParseError:
        raise HTTPException(400, "Invalid hex string") from None


def _script_hash(request: Request) -> bytes:
    """Esplora's script hash is plain SHA-256, in the order of its bytes."""
    if "address" in request.path_params:
        try:
            return sha256(script_of_address(request.path_params["address"], Network.REGTEST))
        except BitcoinError:
            raise HTTPException(400, "Invalid Bitcoin address") from None
    return _id(request, "scripthash")[::-1]


def _parse_tx(text: str) -> Tx:
    try:
        return Tx.parse(bytes.fromhex(text.strip()))
    except ValueError:
        raise _rpc_error(_RPC_DESERIALIZATION, "TX decode failed") from None


def _rpc_error(code: int, message: str) -> HTTPException:
    """As Esplora passes on what Bitcoin Core's RPC said."""
    quoted = message.replace('"', "'")
    return HTTPException(
        400, f'sendrawtransaction RPC error: {{"code":{code},"message":"{quoted}"}}'
    )


def _binary(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")

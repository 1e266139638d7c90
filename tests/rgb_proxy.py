"""An RGB proxy: where payers leave consignments and payees their word on them.

The JSON-RPC of RGB-Tools/rgb-http-json-rpc, version 0.2, as far as wallets use it. It believes
everybody, forgets nothing and is for tests.
"""

import asyncio
import base64
import email
import email.policy
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

__all__ = ["Posted", "RgbProxy"]

_PATH = "/json-rpc"
_NOT_FOUND, _NO_SUCH_METHOD = -400, -32601


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """`txid` in hex as shown; `vout` only where the payee is paid at a witness output."""

    recipient_id: str
    consignment: bytes
    txid: str
    vout: int | None


class _RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class RgbProxy:
    """`acks` by recipient id: True, or False for a refused consignment."""

    posted: dict[str, Posted] = field(default_factory=dict)
    acks: dict[str, bool] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    endpoint: str = ""
    """As invoices name it, while it is served."""

    def post(self, posted: Posted) -> None:
        """A consignment of ours."""
        self.posted[posted.recipient_id] = posted

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = Starlette(routes=[Route(_PATH, self._answer, methods=["POST"])])
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            self.endpoint = f"rpc://127.0.0.1:{listener.getsockname()[1]}{_PATH}"
            try:
                yield
            finally:
                server.should_exit = True
                await task

    async def _answer(self, request: Request) -> JSONResponse:
        kind, body = request.headers.get("content-type", ""), await request.body()
        file = b""
        if kind.startswith("multipart/"):
            parts = _parts(kind, body)
            call: dict[str, Any] = {
                "id": parts["id"].decode(),
                "method": parts["method"].decode(),
                "params": json.loads(parts["params"]),
            }
            file = parts["file"]
        else:
            call = json.loads(body)
        try:
            answer = {"result": self._do(call["method"], call.get("params") or {}, file)}
        except _RpcError as error:
            answer = {"error": {"code": error.code, "message": str(error)}}
        return JSONResponse({"jsonrpc": "2.0", "id": call.get("id"), **answer})

    def _do(self, method: str, params: dict[str, Any], file: bytes) -> Any:
        match method:
            case "server.info":
                return {"protocol_version": "0.2", "version": "0.0.0", "uptime": 0}
            case "consignment.post":
                self.post(
                    Posted(
                        recipient_id=params["recipient_id"],
                        consignment=file,
                        txid=params["txid"],
                        vout=params.get("vout"),
                    )
                )
                return True
            case "consignment.get":
                posted = self.posted.get(params["recipient_id"])
                if posted is None:
                    raise _RpcError(_NOT_FOUND, "Consignment file not found")
                consignment = base64.b64encode(posted.consignment).decode()
                return {"consignment": consignment, "txid": posted.txid, "vout": posted.vout}
            case "ack.post":
                self.acks[params["recipient_id"]] = params["ack"]
                return True
            case "ack.get":
                return self.acks.get(params["recipient_id"])
            case "media.post":
                self.media[params["attachment_id"]] = file
                return True
            case "media.get":
                if params["attachment_id"] not in self.media:
                    raise _RpcError(_NOT_FOUND, "Media file not found")
                return base64.b64encode(self.media[params["attachment_id"]]).decode()
        raise _RpcError(_NO_SUCH_METHOD, "Method not found")


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """Of a form, by name."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.iter_parts()
    }

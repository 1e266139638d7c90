"""RGB proxies: where a payer leaves a consignment, and the payee its word on it.

JSON-RPC 2.0 over HTTP, protocol version 0.2, as RGB-Tools' wallets speak it. A proxy is believed
nothing: it can withhold, and it can lie about an acknowledgement, which costs a transfer that the
payee did not get to know of; the consignment can be given to it again.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from lightspeed.bitcoin import txid_from_hex, txid_hex
from lightspeed.bitcoin.errors import TxParseError
from lightspeed.node.errors import ProxyUnavailable
from lightspeed.node.stash import MAX_CONSIGNMENT_SIZE
from lightspeed.outbound import HttpClient, NoAnswer

__all__ = ["Posted", "ProxyClient", "is_endpoint"]

_SCHEMES = {"rpc://": "http://", "rpcs://": "https://"}
_TIMEOUT_SECONDS = 30.0
_MAX_ANSWER_SIZE = MAX_CONSIGNMENT_SIZE * 4 // 3 + 4_096  # in base64, and what stands around it
_NOT_FOUND = -400


def is_endpoint(text: str) -> bool:
    """`rpc://host:port/path`, or `rpcs://` for TLS."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False
    return named and f"{parts.scheme}://" in _SCHEMES and text.isprintable() and " " not in text


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """`vout` only where the payee's output is the transaction's own."""

    consignment: bytes
    txid: bytes
    vout: int | None


class ProxyClient(HttpClient):
    """Use as an async context manager. Every method raises `ProxyUnavailable`."""

    def __init__(self) -> None:
        super().__init__(timeout_seconds=_TIMEOUT_SECONDS, max_answer_size=_MAX_ANSWER_SIZE)

    # --- the payer ------------------------------------------------------------------------
    async def post(self, endpoint: str, recipient_id: str, posted: Posted) -> None:
        """Leave a consignment."""
        params: dict[str, Any] = {"recipient_id": recipient_id, "txid": txid_hex(posted.txid)}
        if posted.vout is not None:
            params["vout"] = posted.vout
        form = aiohttp.FormData()
        form.add_field("method", "consignment.post")
        form.add_field("jsonrpc", "2.0")
        form.add_field("id", "null")
        form.add_field("params", json.dumps(params))
        form.add_field("file", posted.consignment, filename="consignment")
        await self._answer(endpoint, data=form)

    async def acknowledged(self, endpoint: str, recipient_id: str) -> bool | None:
        """The payee's word; None as long as it has not said anything."""
        found = await self._call(endpoint, "ack.get", {"recipient_id": recipient_id})
        return found if isinstance(found, bool) else None

    # --- the payee ------------------------------------------------------------------------
    async def get(self, endpoint: str, recipient_id: str) -> Posted | None:
        """What was left; None: nothing yet."""
        params = {"recipient_id": recipient_id}
        found = await self._call(endpoint, "consignment.get", params)
        if found is None:
            return None
        try:
            vout = found.get("vout")
            if vout is not None and type(vout) is not int:
                raise ValueError("vout")
            data = base64.b64decode(found["consignment"], validate=True)
            return Posted(consignment=data, txid=txid_from_hex(found["txid"]), vout=vout)
        except (AttributeError, KeyError, TypeError, ValueError, binascii.Error, TxParseError):
            raise ProxyUnavailable(f"{endpoint} gave no consignment") from None

    async def acknowledge(self, endpoint: str, recipient_id: str, *, good: bool) -> None:
        """Our word."""
        await self._call(endpoint, "ack.post", {"recipient_id": recipient_id, "ack": good})

    # --- HTTP -----------------------------------------------------------------------------
    async def _call(self, endpoint: str, method: str, params: dict[str, Any]) -> Any:
        call = {"jsonrpc": "2.0", "id": None, "method": method, "params": params}
        return await self._answer(endpoint, json=call)

    async def _answer(self, endpoint: str, **body: Any) -> Any:
        """The result; None for what the proxy has not got."""
        try:
            _, content = await self._fetch("POST", _url(endpoint), **body)
        except NoAnswer as error:
            raise ProxyUnavailable(f"{endpoint}: {error}") from None
        try:
            answer = json.loads(content)
            problem = answer.get("error")
            if problem is None:
                return answer["result"]
            code, said = problem.get("code"), str(problem.get("message"))
        except (ValueError, AttributeError, KeyError, RecursionError):
            raise ProxyUnavailable(f"{endpoint} is no proxy: it does not answer as one") from None
        if code == _NOT_FOUND:
            return None
        raise ProxyUnavailable(f"{endpoint} refuses: {said[:200]!r}")


def _url(endpoint: str) -> str:
    for scheme, http in _SCHEMES.items():
        if endpoint.startswith(scheme):
            return http + endpoint.removeprefix(scheme)
    raise ProxyUnavailable(f"{endpoint} is no endpoint: rpc:// or rpcs:// is expected")

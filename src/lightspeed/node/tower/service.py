"""The tower as a process: its HTTP API on loopback, its eye on the chain, until a signal.

    PUT    /v1/channels/{label}   {"changes": [{"hint", "part", "blob"}, ...]}   all or nothing
    DELETE /v1/channels/{label}                                                  all of its parts
    GET    /v1/account            {"quota_bytes", "used_bytes", "height"}

`label`: 16 random bytes of the client's choice, in hex; it tells apart what ends together.
`hint`: 16 bytes in hex; `part`: a number below 2^32; `blob`: base64, null to delete the part;
with `part` null too all parts of the hint are deleted. `Authorization: Bearer <token>`. Refusals
are RFC 9457 problems. For clients elsewhere a reverse proxy adds TLS.
"""

import asyncio
import binascii
import contextlib
import json
import logging
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lightspeed.chain import Chain, ChainUnavailable
from lightspeed.errors import StoreError
from lightspeed.node.bodies import hex_bytes
from lightspeed.node.closing import SAFE_DEPTH
from lightspeed.node.problems import BadRequest, problem_of
from lightspeed.node.serving import serving
from lightspeed.node.tower.errors import TooLarge, TowerRefusal
from lightspeed.node.tower.guard import Guard
from lightspeed.node.tower.limits import RateLimit
from lightspeed.node.tower.sealing import HINT_SIZE
from lightspeed.node.tower.store import LABEL_SIZE, Account, Change, TowerStore

__all__ = ["MAX_BODY_SIZE", "MAX_CHANGES", "Tower", "read_changes", "serving_tower"]

_log = logging.getLogger(__name__)

MAX_BODY_SIZE = 4 * 1024 * 1024
MAX_CHANGES = 4_096
_MAX_PART_NUMBER = (1 << 32) - 1
_REQUESTS_PER_SECOND, _REQUEST_BURST = 10.0, 100.0
_BYTES_PER_SECOND, _BYTE_BURST = 1_000_000.0, 16_000_000.0
_MEMBERS = {"hint", "part", "blob"}


def read_changes(body: bytes) -> tuple[Change, ...]:
    """Raises `BadRequest`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(document, dict) or document.keys() != {"changes"}:
        raise BadRequest("an object with the member changes is expected")
    changes = document["changes"]
    if not isinstance(changes, list) or len(changes) > MAX_CHANGES:
        raise BadRequest(f"changes: a list of at most {MAX_CHANGES} is expected")
    return tuple(map(_read_change, changes))


def _read_change(values: Any) -> Change:
    if not isinstance(values, dict) or values.keys() != _MEMBERS:
        raise BadRequest("a change has hint, part and blob")
    hint, number, text = values["hint"], values["part"], values["blob"]
    if not isinstance(hint, str):
        raise BadRequest("hint: a string is expected")
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if number is not None and not (is_number and 0 <= number <= _MAX_PART_NUMBER):
        raise BadRequest("part: a number below 2^32, or null, is expected")
    if text is not None and (not isinstance(text, str) or number is None):
        raise BadRequest("blob: base64 for one part, or null, is expected")
    try:
        blob = None if text is None else b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("blob: not base64") from None
    return Change(hint_bytes(hint), number, blob)


def hint_bytes(text: str) -> bytes:
    """Raises `BadRequest`."""
    return hex_bytes(text, HINT_SIZE)


class Tower:
    """A store, a guard and an API; who made the parts closes them."""

    def __init__(
        self,
        store: TowerStore,
        chain: Chain,
        *,
        poll_seconds: float = 5.0,
        safe_depth: int = SAFE_DEPTH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.guard = Guard(store, chain, safe_depth=safe_depth)
        self._store = store
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._requests = RateLimit(per_second=_REQUESTS_PER_SECOND, burst=_REQUEST_BURST)
        self._bytes = RateLimit(per_second=_BYTES_PER_SECOND, burst=_BYTE_BURST)
        self._woken = asyncio.Event()

    # --- the chain ------------------------------------------------------------------------
    async def watch(self) -> None:
        """Until cancelled. What fails is tried again at the next look."""
        while True:
            try:
                await self.guard.look()
            except ChainUnavailable as error:
                _log.warning("the chain backend does not answer", extra={"reason": str(error)})
            except StoreError as error:
                _log.error("the tower's store does not answer", extra={"reason": str(error)})
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._woken.wait()

    def wake(self) -> None:
        """Look now rather than after the pause."""
        self._woken.set()

    # --- the API --------------------------------------------------------------------------
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                self._route("PUT", "/v1/channels/{label}", self._put),
                self._route("DELETE", "/v1/channels/{label}", self._delete),
                self._route("GET", "/v1/account", self._account),
            ]
        )

    def _route(
        self, method: str, path: str, endpoint: Callable[[Request, Account], Awaitable[Any]]
    ) -> Route:
        async def answer(request: Request) -> Response:
            try:
                account = self._store.authenticate(_bearer(request))
                self._requests.take(account.id, 1, now=self._clock())
                return JSONResponse(await endpoint(request, account))
            except Exception as error:
                response = _problem(error)
                if response.status_code == 500:
                    _log.exception("a call failed", extra={"route": f"{method} {path}"})
                return response

        return Route(path, answer, methods=[method])

    async def _put(self, request: Request, account: Account) -> Any:
        label = hex_bytes(request.path_params["label"], LABEL_SIZE)
        body = await self._body(request, account)
        changes = read_changes(body)
        self._store.apply(account.id, label, changes)
        self.guard.expect(change.hint for change in changes if change.blob is not None)
        self.wake()
        return {"stored": len(changes)}

    async def _body(self, request: Request, account: Account) -> bytes:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_SIZE:
                raise TooLarge(f"a request holds at most {MAX_BODY_SIZE} bytes")
        self._bytes.take(account.id, len(body), now=self._clock())
        return body

    async def _delete(self, request: Request, account: Account) -> Any:
        self._store.forget(account.id, hex_bytes(request.path_params["label"], LABEL_SIZE))
        return {}

    async def _account(self, _: Request, account: Account) -> Any:
        tip = self.guard.tip
        return {
            "quota_bytes": account.quota_bytes,
            "used_bytes": account.used_bytes,
            "height": tip.height if tip else None,
        }


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _problem(error: Exception) -> JSONResponse:
    """As the node's API tells errors, with the statuses of a tower's refusals."""
    response = problem_of(error)
    if isinstance(error, TowerRefusal):
        body = json.loads(bytes(response.body)) | {"status": error.http_status}
        headers = {}
        if (wait := getattr(error, "retry_after_seconds", None)) is not None:
            headers["Retry-After"] = str(wait)
        return JSONResponse(
            body, error.http_status, headers=headers, media_type=response.media_type
        )
    return response


@asynccontextmanager
async def serving_tower(tower: Tower, *, port: int) -> AsyncIterator[str]:
    """Watches and serves on loopback while the context lasts; gives the URL (port 0: any)."""
    async with serving(tower.app(), port=port) as url:
        watching = asyncio.create_task(tower.watch())
        try:
            yield url
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

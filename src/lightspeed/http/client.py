"""Paid calls with `httpx` and `httpx2`, sync and async: one flow, two thin loops.

client = httpx.Client(auth=LightspeedAuth("payer.db"))
response = client.get("https://api.example/v1/answer")
payment_of(response)
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import httpx2

from lightspeed.http.errors import PaymentTimeout
from lightspeed.http.flow import PAYMENT_REQUIRED, Answer, Flow, Payment, Send, payment_flow
from lightspeed.http.payer import Payer
from lightspeed.ledger import PayerStore

__all__ = ["LightspeedAuth", "payment_of"]

_EXTENSION = "lightspeed"
_WAITED = "no unit could be handed out in time"


class LightspeedAuth(httpx.Auth, httpx2.Auth):  # type: ignore[misc]  # of two Request types
    """Pays for the requests of any number of clients, threads and asyncio tasks.

    Give it the payer's store, or a Payer with budgets of your own. A request waits at most
    `wait_seconds` for others to end when the book's window is full. Errors: see `payment_flow`.
    """

    def __init__(self, payer: Payer | PayerStore | str | Path, *, wait_seconds: float = 30) -> None:
        self.payer = payer if isinstance(payer, Payer) else Payer(payer)
        self._wait_seconds = wait_seconds

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """What `httpx.Client` drives."""
        flow = _DrivenFlow(self.payer, request)
        try:
            while (step := flow.step()) is not None:
                if isinstance(step, Future):
                    try:
                        step.result(self._wait_seconds)
                    except TimeoutError:
                        raise PaymentTimeout(_WAITED) from None
                else:
                    response = yield flow.request_with(step)
                    if response.status_code == PAYMENT_REQUIRED:
                        response.read()
                    flow.answered(response)
        finally:
            flow.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """What `httpx.AsyncClient` drives, on asyncio."""
        flow = _DrivenFlow(self.payer, request)
        try:
            while (step := flow.step()) is not None:
                if isinstance(step, Future):
                    try:
                        async with asyncio.timeout(self._wait_seconds):
                            await asyncio.wrap_future(step)
                    except TimeoutError:
                        raise PaymentTimeout(_WAITED) from None
                else:
                    response = yield flow.request_with(step)
                    if response.status_code == PAYMENT_REQUIRED:
                        await response.aread()
                    flow.answered(response)
        finally:
            flow.close()


def payment_of(response: httpx.Response | httpx2.Response) -> Payment | None:
    """What a response cost; None if nothing was presented for it."""
    found: Payment | None = response.extensions.get(_EXTENSION)
    return found


class _DrivenFlow:
    """A payment flow with the requests and responses of httpx or httpx2 in it."""

    def __init__(self, payer: Payer, request: Any) -> None:
        self._flow: Flow = payment_flow(payer, request.method, str(request.url))
        self._request = request
        self._response: Any = None
        self._answer: Answer | None = None

    def step(self) -> Send | Future[None] | None:
        """What to do next; None at the end."""
        answer, self._answer = self._answer, None
        try:
            return self._flow.send(answer)
        except StopIteration as done:
            if done.value is not None:
                self._response.extensions[_EXTENSION] = done.value
            return None

    def request_with(self, step: Send) -> Any:
        headers = self._request.headers
        if step.token is not None:
            paid_headers = _PaidHeaders2 if isinstance(headers, httpx2.Headers) else _PaidHeaders
            self._request.headers = paid_headers(headers)
            self._request.headers.token = step.token.encode("ascii")
        return self._request

    def answered(self, response: Any) -> None:
        # After a redirect the request is another one.
        self._request = response.request
        self._response = response
        hops = [*response.history, response]
        self._answer = Answer(
            status=response.status_code,
            url=str(response.request.url),
            receipts=[
                field for hop in hops for field in hop.headers.get_list("lightspeed-receipt")
            ],
            challenges=response.headers.get_list("www-authenticate"),
            body=response.content if response.status_code == PAYMENT_REQUIRED else b"",
        )

    def close(self) -> None:
        self._flow.close()


class _OnTheWire:
    """Headers with a credential that is seen by the transport only.

    A redirected request copies headers without it, so it never goes to another origin; and
    neither a log nor a response's `request` shows it.
    """

    token: bytes = b""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = super().raw  # type: ignore[misc]
        return [*headers, (b"Lightspeed-Payment", self.token)]


class _PaidHeaders(_OnTheWire, httpx.Headers):
    pass


class _PaidHeaders2(_OnTheWire, httpx2.Headers):
    pass

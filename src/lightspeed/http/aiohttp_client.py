"""Paid calls with aiohttp: a client middleware.

session = aiohttp.ClientSession(middlewares=[PaymentMiddleware("payer.db")])
"""

import asyncio
from concurrent.futures import Future
from pathlib import Path

import aiohttp

from lightspeed.http.errors import PaymentTimeout
from lightspeed.http.flow import PAYMENT_REQUIRED, Answer, Send, payment_flow
from lightspeed.http.payer import Payer
from lightspeed.ledger import PayerStore

__all__ = ["PaymentMiddleware"]


class PaymentMiddleware:
    """As LightspeedAuth. aiohttp runs it anew for each hop of a redirect, so that a credential
    never goes along."""

    def __init__(self, payer: Payer | PayerStore | str | Path, *, wait_seconds: float = 30) -> None:
        self.payer = payer if isinstance(payer, Payer) else Payer(payer)
        self._wait_seconds = wait_seconds

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        flow = payment_flow(self.payer, request.method, str(request.url))
        response: aiohttp.ClientResponse | None = None
        answer: Answer | None = None
        try:
            while True:
                step = flow.send(answer)
                answer = None
                if isinstance(step, Future):
                    await self._wait(step)
                else:
                    response = await _send(request, handler, step)
                    answer = await _answer(response)
        except StopIteration:
            if response is None:
                raise TypeError("the flow ended without a request") from None
            return response
        finally:
            flow.close()

    async def _wait(self, turn: Future[None]) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await asyncio.wrap_future(turn)
        except TimeoutError:
            raise PaymentTimeout("no unit could be handed out in time") from None


async def _send(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType, step: Send
) -> aiohttp.ClientResponse:
    request.headers.pop("Lightspeed-Payment", None)
    if step.token is not None:
        request.headers["Lightspeed-Payment"] = step.token
    return await handler(request)


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    return Answer(
        status=response.status,
        url=str(response.url),
        receipts=response.headers.getall("Lightspeed-Receipt", ()),
        challenges=response.headers.getall("WWW-Authenticate", ()),
        body=await response.read() if response.status == PAYMENT_REQUIRED else b"",
    )

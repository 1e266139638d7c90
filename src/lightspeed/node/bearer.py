"""The HTTP connection of a client that has a token: opened at the first request, closed once."""

from types import TracebackType
from typing import Any, Self

import aiohttp

__all__ = ["BearerClient"]


class BearerClient:
    """Use as an async context manager, or call `close`. `url` such as http://127.0.0.1:9736."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and content. The token goes nowhere else: a redirect is an answer.

        Raises `aiohttp.ClientError`, `TimeoutError` and `OSError`.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        async with self._session.request(
            method, self._url + path, json=body, allow_redirects=False
        ) as response:
            return response.status, await response.read()

"""Requests to HTTP servers: one session, opened at the first and closed once; bounded answers."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from lightspeed.errors import RemoteError

__all__ = ["HttpClient", "NoAnswer"]

_MAX_ANSWER_SIZE = 16 * 1024 * 1024


class NoAnswer(RemoteError, OSError):
    """Not reachable, too slow, or at too great a length. Whoever asked says what that means."""


class HttpClient:
    """Use as an async context manager, or call `close`."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        max_answer_size: int = _MAX_ANSWER_SIZE,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._headers = headers
        self._max_answer_size = max_answer_size
        self._session: aiohttp.ClientSession | None = None

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

    async def _fetch(
        self, method: str, url: str, *, redirects: bool = False, **body: Any
    ) -> tuple[int, bytes]:
        """Status and content. `body` as aiohttp takes it. Without `redirects` one is an answer,
        so that nothing goes where it was not meant for. Raises `NoAnswer`.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        content = b""
        try:
            async with self._session.request(
                method, url, allow_redirects=redirects, **body
            ) as response:
                while len(content) <= self._max_answer_size and not response.content.at_eof():
                    content += await response.content.read(self._max_answer_size + 1)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__} {error}".strip()) from error
        if len(content) > self._max_answer_size:
            raise NoAnswer("the answer is too long")
        return status, content

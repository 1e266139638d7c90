"""Requests to HTTP servers: sessions are opened when needed and closed once; bounded answers."""

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
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

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
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, method: str) -> aiohttp.ClientSession:
        """Connections are kept for GET only, which aiohttp repeats when a server has just closed
        one: of anything else nobody would know whether it arrived.
        """
        kept = method == "GET"
        if kept not in self._sessions:
            self._sessions[kept] = aiohttp.ClientSession(
                timeout=self._timeout,
                headers=self._headers,
                connector=aiohttp.TCPConnector(force_close=not kept),
            )
        return self._sessions[kept]

    async def _fetch(
        self, method: str, url: str, *, redirects: bool = False, **body: Any
    ) -> tuple[int, bytes]:
        """Status and content. `body` as aiohttp takes it. Without `redirects` one is an answer,
        so that nothing goes where it was not meant for. Raises `NoAnswer`.
        """
        content = b""
        try:
            async with self._session(method).request(
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

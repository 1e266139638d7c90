"""The client of an API that asks for a token."""

from typing import Any

from lightspeed.outbound import HttpClient

__all__ = ["BearerClient"]


class BearerClient(HttpClient):
    """Use as an async context manager, or call `close`. `url` such as http://127.0.0.1:9736."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float) -> None:
        super().__init__(
            timeout_seconds=timeout_seconds, headers={"Authorization": f"Bearer {token}"}
        )
        self._url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    async def _request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and content. Raises `NoAnswer`."""
        return await self._fetch(method, self._url + path, json=body)

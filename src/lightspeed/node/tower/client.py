"""The node's side of a tower's API."""

from base64 import b64encode
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp

from lightspeed.node.tower.errors import TowerRefused, TowerUnavailable
from lightspeed.node.tower.store import Change

__all__ = ["TowerClient"]

_COME_BACK = 429
_QUOTA_EXCEEDED = 507


class TowerClient:
    """Use as an async context manager, or call `close`.

    Every method raises `TowerUnavailable` (ask again) or `TowerRefused`.
    """

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"TowerClient({self._url!r})"

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

    async def hand_over(self, label: bytes, changes: Sequence[Change]) -> None:
        """Durable at the tower when it returns; all of them or none."""
        document = [
            {
                "hint": change.hint.hex(),
                "part": change.number,
                "blob": None if change.blob is None else b64encode(change.blob).decode(),
            }
            for change in changes
        ]
        await self._ask("PUT", f"/v1/channels/{label.hex()}", {"changes": document})

    async def forget(self, label: bytes) -> None:
        await self._ask("DELETE", f"/v1/channels/{label.hex()}")

    async def account(self) -> dict[str, Any]:
        """`quota_bytes`, `used_bytes`, `height`."""
        return dict(await self._ask("GET", "/v1/account"))

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        try:
            async with self._session.request(
                method, self._url + path, json=body, allow_redirects=False
            ) as response:
                answer = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TowerUnavailable(f"no answer from the tower: {type(error).__name__}") from error
        if status == 200:
            return answer
        detail = str(answer.get("detail", "")) if isinstance(answer, dict) else ""
        if status == _COME_BACK or (status >= 500 and status != _QUOTA_EXCEEDED):
            raise TowerUnavailable(f"the tower answered {status}: {detail}")
        raise TowerRefused(status, detail)

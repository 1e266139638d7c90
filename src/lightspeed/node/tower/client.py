"""The node's side of a tower's API."""

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from lightspeed.node.bearer import BearerClient
from lightspeed.node.tower.errors import TowerRefused, TowerUnavailable
from lightspeed.node.tower.store import Change
from lightspeed.outbound import NoAnswer

__all__ = ["TowerClient"]

_COME_BACK = 429
_QUOTA_EXCEEDED = 507


class TowerClient(BearerClient):
    """Every method raises `TowerUnavailable` (ask again) or `TowerRefused`."""

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 30.0) -> None:
        super().__init__(url, token, timeout_seconds=timeout_seconds)

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
        try:
            status, content = await self._request(method, path, body)
            answer = json.loads(content)
        except (NoAnswer, ValueError) as error:
            raise TowerUnavailable(f"no answer from the tower: {type(error).__name__}") from error
        if status == 200:
            return answer
        detail = str(answer.get("detail", "")) if isinstance(answer, dict) else ""
        if status == _COME_BACK or (status >= 500 and status != _QUOTA_EXCEEDED):
            raise TowerUnavailable(f"the tower answered {status}: {detail}")
        raise TowerRefused(status, detail)

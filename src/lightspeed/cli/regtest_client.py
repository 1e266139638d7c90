"""Asks a regtest server: what Esplora tells, and what only a regtest does."""

import json
from typing import Any

from lightspeed.cli.errors import NodeUnreachable, UsageError
from lightspeed.outbound import HttpClient, NoAnswer

__all__ = ["RegtestClient"]


class RegtestClient(HttpClient):
    """An async context manager. Transaction ids are hex, as Esplora writes them."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout_seconds=60)
        self._url = url.rstrip("/")

    async def height(self) -> int:
        return int(await self._ask("GET", "/blocks/tip/height"))

    async def transaction(self, txid: str) -> dict[str, Any]:
        """Esplora's JSON: inputs with what they spend, outputs, weight, fee, status."""
        found: dict[str, Any] = await self._ask("GET", f"/tx/{txid}")
        return found

    async def outspends(self, txid: str) -> list[dict[str, Any]]:
        """One for each output, in order."""
        found: list[dict[str, Any]] = await self._ask("GET", f"/tx/{txid}/outspends")
        return found

    async def mempool_txids(self) -> list[str]:
        found: list[str] = await self._ask("GET", "/mempool/txids")
        return found

    async def mine(self, blocks: int = 1) -> int:
        """The new height."""
        answer = await self._ask("POST", "/regtest/mine", {"blocks": blocks})
        return int(answer["height"])

    async def fund(self, address: str, sat: int) -> str:
        """Pays from the faucet and mines a block; the transaction's id."""
        body = {"address": address, "sat": sat, "confirm": True}
        return str((await self._ask("POST", "/regtest/fund", body))["txid"])

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            status, content = await self._fetch(method, self._url + path, json=body)
        except NoAnswer:
            raise NodeUnreachable(
                f"no regtest answers at {self._url}; start one with: lightspeed regtest"
            ) from None
        if status != 200:
            raise UsageError(f"{self._url}{path}: {content.decode(errors='replace').strip()}")
        return json.loads(content)

"""What a regtest server does on request besides answering: mine, fund, reorganise."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lightspeed.bitcoin import (
    Network,
    Tx,
    fee_rate_from_sat_per_vbyte,
    sat_per_vbyte,
    script_of_address,
    txid_hex,
)
from lightspeed.chain.faucet import FAUCET_SCRIPT
from lightspeed.chain.interface import BlockId
from lightspeed.chain.policy import FeePolicy
from lightspeed.chain.regtest import Regtest
from lightspeed.errors import LightspeedError
from lightspeed.units import Sat

__all__ = ["control_routes"]

_MAX_BLOCKS = 10_000


def control_routes(regtest: Regtest) -> list[Route]:
    """POST, a JSON object each:

    - `/regtest/mine` `{blocks?, address? | script?}`
    - `/regtest/fund` `{address | script, sat, confirm?}`: pays at output 0
    - `/regtest/reorg` `{depth, keep_transactions?, replacement?}`: as `Regtest.reorganise`;
      `replacement` is a list of blocks, each a list of hex transactions
    - `/regtest/fees` `{sat_per_vbyte?, mempool_floor_sat_per_vbyte?}`: the estimate that is
      given, and the rate below which the mempool refuses

    A request that cannot be done gets 400 and the reason as text.
    """
    control = _Control(regtest)
    actions = {
        "mine": control.mine,
        "fund": control.fund,
        "reorg": control.reorganise,
        "fees": control.fees,
    }

    def endpoint(name: str) -> Route:
        async def answer(request: Request) -> Response:
            try:
                body = await request.json()
                if not isinstance(body, dict):
                    raise TypeError("a JSON object is expected")
                return JSONResponse(actions[name](body))
            except (LightspeedError, ValueError, TypeError, KeyError) as error:
                return PlainTextResponse(f"{type(error).__name__}: {error}", status_code=400)

        return Route(f"/regtest/{name}", answer, methods=["POST"])

    return [endpoint(name) for name in actions]


class _Control:
    def __init__(self, regtest: Regtest) -> None:
        self._regtest = regtest

    def mine(self, body: dict[str, Any]) -> dict[str, Any]:
        blocks = int(body.get("blocks", 1))
        if not 0 < blocks <= _MAX_BLOCKS:
            raise ValueError(f"blocks: 1 to {_MAX_BLOCKS}")
        mined = self._regtest.mine(blocks, script=_script(body, FAUCET_SCRIPT))
        return {**_tip(self._regtest.tip), "blocks": [txid_hex(block.hash) for block in mined]}

    def fund(self, body: dict[str, Any]) -> dict[str, Any]:
        tx = self._regtest.fund(_script(body), Sat(int(body["sat"])))
        if body.get("confirm", False):
            self._regtest.mine()
        return {"txid": txid_hex(tx.txid), "vout": 0}

    def reorganise(self, body: dict[str, Any]) -> dict[str, Any]:
        replacement = [
            [Tx.parse(bytes.fromhex(raw)) for raw in block] for block in body.get("replacement", [])
        ]
        changed = self._regtest.reorganise(
            int(body["depth"]),
            replacement=replacement,
            keep_transactions=bool(body.get("keep_transactions", False)),
        )
        return {**_tip(changed.new), "fork_height": changed.fork_height}

    def fees(self, body: dict[str, Any]) -> dict[str, Any]:
        if "sat_per_vbyte" in body:
            self._regtest.fee_rate = fee_rate_from_sat_per_vbyte(float(body["sat_per_vbyte"]))
        mempool = self._regtest.mempool
        if "mempool_floor_sat_per_vbyte" in body:
            floor = round(1_000 * float(body["mempool_floor_sat_per_vbyte"]))
            mempool.fees = FeePolicy(
                relay=mempool.fees.relay,
                incremental=mempool.fees.incremental,
                mempool_floor=floor,
            )
        return {
            "sat_per_vbyte": sat_per_vbyte(self._regtest.fee_rate),
            "mempool_floor_sat_per_vbyte": mempool.fees.mempool_floor / 1_000,
        }


def _tip(block: BlockId) -> dict[str, Any]:
    return {"height": block.height, "hash": txid_hex(block.hash)}


def _script(body: dict[str, Any], default: bytes | None = None) -> bytes:
    if "address" in body:
        return script_of_address(body["address"], Network.REGTEST)
    if "script" in body:
        return bytes.fromhex(body["script"])
    if default is None:
        raise ValueError("an address or a script is needed")
    return default

"""Law: whatever an Esplora server answers, the client returns a value or raises `ChainUnavailable`
(a broadcast also `BroadcastRefused`).

Run it with `python fuzz/fuzz_chain.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from collections.abc import Callable, Coroutine
from typing import Any

from lightspeed.bitcoin import (
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    build_block,
    p2wsh,
    txid_hex,
)
from lightspeed.chain import BroadcastRefused, ChainUnavailable, EsploraChain
from lightspeed.units import Sat
from target import Parser, Target

PAYOUT = TxOut(Sat(5_000_000_000), p2wsh(b"\x51"))
BLOCK = build_block(bytes(32), height=0, time=1_700_000_000, payout=PAYOUT)
FUNDING = OutPoint(b"\x22" * 32, 1)
SPENDER = Tx(2, (TxIn(FUNDING, witness=(b"\x51",)),), (PAYOUT,))
BLOCK_ID = txid_hex(BLOCK.hash)
STATUSES = (200, 200, 200, 404, 400, 500)


class Scripted(EsploraChain):
    """A client that is answered by the input: for each answer a status, two bytes for the size of
    the body, and the body; then 404."""

    def __init__(self, answers: bytes) -> None:
        super().__init__("http://127.0.0.1")
        self._answers = answers

    async def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        if not self._answers:
            return 404, b""
        status, size = STATUSES[self._answers[0] % len(STATUSES)], self._answers[1:3]
        end = 3 + int.from_bytes(size, "big")
        answer, self._answers = self._answers[3:end], self._answers[end:]
        return status, answer


def question(ask: Callable[[Scripted], Coroutine[Any, Any, Any]]) -> Parser:
    def parse(data: bytes) -> None:
        asking = ask(Scripted(data))
        try:
            asking.send(None)
        except StopIteration:
            return
        raise AssertionError("the client waited for something")

    return parse


tip = question(lambda chain: chain.tip())
block_id = question(lambda chain: chain.block_id(7))
header = question(lambda chain: chain.header(7))
transaction = question(lambda chain: chain.transaction(SPENDER.txid))
outspend = question(lambda chain: chain.outspend(FUNDING))
outspends = question(lambda chain: chain.outspends(FUNDING.txid))
fee_rate = question(lambda chain: chain.fee_rate(6))
broadcast = question(lambda chain: chain.broadcast(SPENDER))
broadcast_package = question(lambda chain: chain.broadcast_package([SPENDER]))


def answers(*bodies: str | bytes) -> bytes:
    """All with status 200."""
    encoded = [body.encode() if isinstance(body, str) else body for body in bodies]
    return b"".join(b"\x00" + len(body).to_bytes(2, "big") + body for body in encoded)


CONFIRMED = f'{{"confirmed": true, "block_height": 0, "block_hash": "{BLOCK_ID}"}}'
SPENT = f'{{"spent": true, "txid": "{txid_hex(SPENDER.txid)}", "vin": 0, "status": {CONFIRMED}}}'
HEADER = BLOCK.header.serialize().hex()

TARGET = Target(
    name="chain",
    parsers=(
        (tip, ChainUnavailable),
        (block_id, ChainUnavailable),
        (header, ChainUnavailable),
        (transaction, ChainUnavailable),
        (outspend, ChainUnavailable),
        (outspends, ChainUnavailable),
        (fee_rate, ChainUnavailable),
        (broadcast, (ChainUnavailable, BroadcastRefused)),
        (broadcast_package, (ChainUnavailable, BroadcastRefused)),
    ),
    seeds=(
        (tip, answers(BLOCK_ID, HEADER, '{"height": 0}')),
        (block_id, answers(BLOCK_ID)),
        (header, answers(BLOCK_ID, HEADER)),
        (transaction, answers(CONFIRMED, SPENDER.serialize())),
        (outspend, answers(SPENT, SPENDER.serialize())),
        (outspends, answers(f'[{{"spent": false}}, {SPENT}]', SPENDER.serialize())),
        (fee_rate, answers('{"2": 40.0, "6": 20, "144": 2.0}')),
        (broadcast, answers(txid_hex(SPENDER.txid))),
        (broadcast_package, answers('{"package_msg": "success"}')),
    ),
)

if __name__ == "__main__":
    TARGET.run()

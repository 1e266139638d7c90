"""A regtest, and coins that anybody can spend."""

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2wsh
from lightspeed.chain import Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.units import Sat

ANYONE = b"\x51"  # OP_1: a witness script that everybody satisfies


class Purse:
    """Makes coins and spends them; no keys, so a test says only what matters to it."""

    def __init__(self, regtest: Regtest) -> None:
        self.regtest = regtest

    def coin(self, value: int = 100_000, *, script: bytes = ANYONE) -> OutPoint:
        """A confirmed P2WSH output."""
        funding = self.regtest.fund(p2wsh(script), Sat(value))
        self.regtest.mine()
        return funding.outpoint(0)

    def spend(
        self,
        *coins: OutPoint,
        fee: int = 1_000,
        version: int = 2,
        sequence: int = 0xFFFFFFFD,
        locktime: int = 0,
        outputs: int = 1,
        extra: tuple[TxOut, ...] = (),
        script: bytes = ANYONE,
        parents: tuple[Tx, ...] = (),
    ) -> Tx:
        """Splits the coins into equal P2WSH outputs, after the `extra` ones."""
        inputs = []
        total = 0
        unconfirmed = {parent.txid: parent for parent in parents}
        for coin in coins:
            parent = unconfirmed.get(coin.txid)
            spent = parent.outputs[coin.vout] if parent else self.regtest.output(coin)
            assert spent is not None
            total += spent.value
            witness = (script,) if spent.script == p2wsh(script) else ()
            inputs.append(TxIn(coin, sequence=sequence, witness=witness))
        each = (total - fee - sum(out.value for out in extra)) // outputs
        paid = (*extra, *(TxOut(Sat(each), p2wsh(script)) for _ in range(outputs)))
        return Tx(version, tuple(inputs), paid, locktime)


@pytest.fixture
def regtest() -> Regtest:
    return Regtest()


@pytest.fixture
def purse(regtest: Regtest) -> Purse:
    return Purse(regtest)


@pytest.fixture
def esplora_url() -> Iterator[str]:
    """A fresh regtest behind its Esplora server, in a thread of its own."""
    ready: SimpleQueue[str] = SimpleQueue()
    stop = threading.Event()

    async def serve() -> None:
        async with serving(Regtest()) as url:
            ready.put(url)
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    yield ready.get(timeout=60)
    stop.set()
    thread.join(timeout=60)

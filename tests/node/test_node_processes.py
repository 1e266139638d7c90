"""Two nodes as processes of their own: open, pay, kill, restart, close."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lightspeed.chain import Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.lsf import Party
from lightspeed.node import NodeClient
from lightspeed.node.api import api_token
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.service import init_node
from lightspeed.units import Sat
from node_world import ORIGIN, eventually


@dataclass
class NodeProcess:
    config: NodeConfig
    process: asyncio.subprocess.Process
    client: NodeClient
    address: str

    @classmethod
    async def start(cls, config: NodeConfig) -> "NodeProcess":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lightspeed.node",
            str(config.data_dir),
            stdout=asyncio.subprocess.PIPE,
            stderr=(config.data_dir / "log").open("ab"),
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            ready = json.loads(await process.stdout.readline())
        client = NodeClient(ready["api"], api_token(config.token_path))
        return cls(config, process, client, ready["address"])

    async def end(self, number: int) -> int:
        await self.client.close()
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def usable(self, channel_id: str) -> None:
        async def check() -> bool:
            return (await self.client.channel(channel_id)).usable

        await eventually(check)


@asynccontextmanager
async def processes(folder: Path, url: str) -> AsyncIterator[list[NodeProcess]]:
    started = []
    for party in (Party.PAYER, Party.PAYEE):
        data_dir = folder / party.name.lower()
        lightspeed = LightspeedConfig(
            parties=frozenset({party}),
            origins=(ORIGIN,),
            ledger=data_dir / "ledger.sqlite" if party is Party.PAYEE else None,
            payer_store=data_dir / "payer.sqlite" if party is Party.PAYER else None,
        )
        config = NodeConfig(
            data_dir=data_dir,
            esplora_url=url,
            listen_port=0,
            api_port=0,
            poll_seconds=0.1,
            reconnect_seconds=0.1,
            minimum_depth=1,
            to_self_delay_blocks=6,
            lightspeed=lightspeed,
        )
        init_node(config)
        started.append(config)
    nodes = list(await asyncio.gather(*map(NodeProcess.start, started)))
    try:
        yield nodes
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                await node.end(signal.SIGKILL)


async def test_two_processes_pay_and_survive_a_kill(tmp_path: Path) -> None:
    regtest = Regtest()
    async with serving(regtest) as url, processes(tmp_path, url) as nodes:
        payer, payee = nodes
        address = await payer.client.new_address()
        regtest.fund(bytes.fromhex(address.script), Sat(10_000_000))
        regtest.mine()

        async def funded() -> int:
            return (await payer.client.balance()).confirmed_sat

        await eventually(funded)
        await payer.client.connect(payee.address)
        channel = await payer.client.open_channel(
            (await payee.client.info()).node_id,
            funding_sat=1_000_000,
            push_sat=20_000,
            party="payer",
        )
        regtest.mine()
        await payer.usable(channel.channel_id)
        await payee.usable(channel.channel_id)
        book = await payer.client.open_book(
            channel.channel_id,
            locks=10,
            chain_length=100,
            lock_amount_sat=10_000,
            origins=[ORIGIN],
            refund_delay_blocks=20,
        )
        invoice = await payee.client.create_invoice(1_000_000)
        assert (await payer.client.pay(invoice.bolt11)).state == "paid"

        assert await payer.end(signal.SIGKILL) == -signal.SIGKILL
        nodes[0] = payer = await NodeProcess.start(payer.config)
        await payer.usable(channel.channel_id)

        assert [b.book_id for b in await payee.client.books()] == [book.book_id]
        invoice = await payee.client.create_invoice(1_000_000)
        assert (await payer.client.pay(invoice.bolt11)).state == "paid"
        assert await payee.end(signal.SIGTERM) == 0
        assert await payer.end(signal.SIGTERM) == 0
        events = [json.loads(line) for line in (payee.config.data_dir / "log").open()]
        assert [event["event"] for event in events][-1] == "node stopped"


async def test_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with serving(Regtest()) as url, processes(tmp_path, url) as (payer, _):
        other = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lightspeed.node",
            str(payer.config.data_dir),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            _, said = await other.communicate()
        assert other.returncode == 1
        assert b"StoreInUse" in said
        assert b"Traceback" not in said

"""Chain, nodes and API server, and from every payer to the payee two channels, one with a book."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp

from calls.server import COUNTS_PATH, ServerOrder
from lightspeed.cli.demo.counts import Counts
from lightspeed.cli.demo.house import Household, answers, until
from lightspeed.cli.demo.processes import Processes, free_ports
from lightspeed.cli.regtest_client import RegtestClient
from lightspeed.lsf import Party
from lightspeed.node import BookView, ChannelView, NodeClient
from lightspeed.node.api import api_token
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.keys import NodeKeys
from lightspeed.node.service import init_node

__all__ = ["House", "Seat", "Terms", "open_house"]

BENCH = Path(__file__).parents[1]
HOST = "127.0.0.1"
CAPACITY_SAT = 10_000_000
PUSH_SAT = 50_000
CHANNELS_EACH = 2
"""One with a book, and one without for invoices: a book would make their commitments dearer."""
WALLET_SAT = CAPACITY_SAT + 1_000_000
MINIMUM_DEPTH = 3
NODE_POLL_SECONDS = 2.0
AT_ONCE = 8
SETTLED_SECONDS = 0.3

A, B = TypeVar("A"), TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of every book, and of an invoice."""

    locks: int = 100
    lock_amount_sat: int = 1_000
    chain_length: int = 1_000
    invoice_sat: int = 1_000

    @property
    def unit_msat(self) -> int:
        return self.lock_amount_sat * 1_000 // self.chain_length


@dataclass(frozen=True, slots=True)
class Seat:
    """What one client has: a node, and a book in that node's channel."""

    node: Household
    book: BookView

    @property
    def payer_store(self) -> Path:
        lightspeed = self.node.config.lightspeed
        assert lightspeed is not None
        assert lightspeed.payer_store is not None
        return lightspeed.payer_store


@dataclass(slots=True)
class House:
    """The running processes, and what is asked of them."""

    terms: Terms
    processes: Processes
    chain: RegtestClient
    payee: Household
    payers: list[Household]
    origin: str
    http: aiohttp.ClientSession
    seats: list[Seat] = field(default_factory=list)

    async def counts(self) -> Counts:
        """Of all nodes and the API server, once nothing moves any more."""
        before = None
        while True:
            nodes = [await node.client.metrics() for node in (self.payee, *self.payers)]
            async with self.http.get(self.origin + COUNTS_PATH) as response:
                requests = int((await response.json())["requests"])
            counts = Counts.of(nodes, http_requests=requests)
            if before is not None and counts - before == Counts():
                return counts
            before = counts
            await asyncio.sleep(SETTLED_SECONDS)


@asynccontextmanager
async def open_house(
    folder: Path, *, clients: int, terms: Terms, tell: Callable[[str], None]
) -> AsyncIterator[House]:
    """Starts everything and opens the channels; at the end everything is stopped."""
    began = time.perf_counter()

    def step(text: str) -> None:
        tell(f"{time.perf_counter() - began:5.1f} s  {text}")

    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes(folder))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        chain_port, server_port, *ports = free_ports(2 + 2 * (1 + clients))
        origin = f"http://{HOST}:{server_port}"
        chain = await stack.enter_async_context(RegtestClient(f"http://{HOST}:{chain_port}"))
        nodes = [
            await stack.enter_async_context(_household(config))
            for config in _configs(
                folder, clients=clients, chain_port=chain_port, origin=origin, ports=ports
            )
        ]
        house = House(terms, processes, chain, nodes[0], nodes[1:], origin, http)
        await _start(house, chain_port=chain_port, server_port=server_port)
        step(f"chain, API and {len(nodes)} nodes are up")
        await _open_channels(house, step)
        yield house


async def _start(house: House, *, chain_port: int, server_port: int) -> None:
    processes, payee = house.processes, house.payee
    paths = [str(BENCH), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    await processes.start("chain", "lightspeed.cli", "regtest", "--port", str(chain_port))
    await processes.until("chain", lambda: answers(house.chain.height))
    folders = [str(payer.config.data_dir) for payer in house.payers]
    payee_run = ("node", "run", "--data-dir", str(payee.config.data_dir))
    await processes.start("payee-node", "lightspeed.cli", *payee_run)
    await processes.start("payer-nodes", "calls.payers", *folders, environment=environment)
    await processes.until("payee-node", lambda: answers(payee.client.info))
    for payer in house.payers:
        await processes.until("payer-nodes", lambda payer=payer: answers(payer.client.info))
    lightspeed = payee.config.lightspeed
    assert lightspeed is not None
    order = ServerOrder(
        port=server_port,
        ledger=str(lightspeed.ledger),
        unit_price=f"{house.terms.unit_msat} msat",
        invoice_price=f"{house.terms.invoice_sat} sat",
        node_url=payee.api_url,
        node_token_file=str(payee.config.token_path),
    )
    await processes.start("api", "calls.server", json.dumps(asdict(order)), environment=environment)
    await processes.until("api", lambda: answers(lambda: _get(house, COUNTS_PATH)))


async def _get(house: House, path: str) -> None:
    async with house.http.get(house.origin + path) as response:
        await response.read()


async def _open_channels(house: House, step: Callable[[str], None]) -> None:
    """All at once: coins, funding transactions, then blocks for all of them, then the books."""
    for payer in house.payers:
        for _ in range(CHANNELS_EACH):
            await house.chain.fund((await payer.client.new_address()).address, WALLET_SAT)
    step("coins in the payers' wallets")

    async def open_channels(payer: Household) -> ChannelView:
        """Returns the one for the book. A node pays invoices through the one that came first."""
        await payer.client.connect(house.payee.address)
        terms = {"funding_sat": CAPACITY_SAT, "push_sat": PUSH_SAT}
        await payer.client.open_channel(house.payee.node_id, **terms)
        return await payer.client.open_channel(house.payee.node_id, **terms, party="payer")

    async def open_book(payer_and_channel: tuple[Household, ChannelView]) -> Seat:
        payer, channel = payer_and_channel
        book = await payer.client.open_book(
            channel.channel_id,
            locks=house.terms.locks,
            chain_length=house.terms.chain_length,
            lock_amount_sat=house.terms.lock_amount_sat,
            origins=[house.origin],
        )
        return Seat(payer, book)

    channels = await _each(house.payers, open_channels, "clients have funded channels", step)
    await house.chain.mine(MINIMUM_DEPTH)

    async def all_usable() -> bool:
        nodes = [house.payee, *house.payers]
        found = [channel for node in nodes for channel in await node.client.channels()]
        return all(channel.usable for channel in found)

    await until(all_usable, what="channel that can be used from each client")
    step("all channels can be used")
    pairs = list(zip(house.payers, channels, strict=True))
    house.seats = await _each(pairs, open_book, "clients have a book", step)


async def _each(
    items: Iterable[A], act: Callable[[A], Awaitable[B]], what: str, step: Callable[[str], None]
) -> list[B]:
    """Some of them at a time, with a word at every quarter."""
    items = list(items)
    turn = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(item: A) -> B:
        nonlocal done
        async with turn:
            result = await act(item)
        done += 1
        if done == len(items) or done % -(-len(items) // 4) == 0:
            step(f"{done}/{len(items)} {what}")
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


def _configs(
    folder: Path, *, clients: int, chain_port: int, origin: str, ports: list[int]
) -> Iterable[NodeConfig]:
    """The payee's first."""
    for number in range(1 + clients):
        data_dir = folder / (f"payer-{number}" if number else "payee")
        if number:
            lightspeed = LightspeedConfig(
                parties=frozenset({Party.PAYER}), payer_store=data_dir / "payer.sqlite"
            )
        else:
            lightspeed = LightspeedConfig(
                parties=frozenset({Party.PAYEE}),
                origins=(origin,),
                ledger=data_dir / "ledger.sqlite",
            )
        yield NodeConfig(
            data_dir=data_dir,
            esplora_url=f"http://{HOST}:{chain_port}",
            listen_port=ports[2 * number],
            api_port=ports[2 * number + 1],
            poll_seconds=NODE_POLL_SECONDS,
            minimum_depth=MINIMUM_DEPTH,
            lightspeed=lightspeed,
        )


@asynccontextmanager
async def _household(config: NodeConfig) -> AsyncIterator[Household]:
    init_node(config)
    url = f"http://{HOST}:{config.api_port}"
    async with NodeClient(url, api_token(config.token_path)) as client:
        yield Household(config, NodeKeys.read(config.seed_path).node_id, client)

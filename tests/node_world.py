"""Whole nodes on one regtest: real TCP, real wallets, an Esplora server on loopback."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightspeed.chain import EsploraChain, Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.channel import Channel, Link, Phase
from lightspeed.ledger import PayerStore, SQLiteLedger
from lightspeed.lsf import Party
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.daemon import Node
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.keys import NodeKeys
from lightspeed.node.old_copy import doubt_old_copy
from lightspeed.node.store import NodeStore
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import secret_lock_seal
from lightspeed.units import Sat

__all__ = ["ORIGIN", "NodeWorld", "RunningNode", "eventually", "node_world", "nodes_on"]

ORIGIN = "https://api.example.com"


async def eventually(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Wait until it is true, or what it awaits is; what it returned."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


@dataclass
class RunningNode:
    """A node with its parts, which can be killed and started again from its folder."""

    world: "NodeWorld"
    config: NodeConfig
    node: Node = field(init=False)
    _parts: AsyncExitStack = field(init=False)

    async def start(self) -> None:
        config = self.config
        config.write()
        keys = (
            NodeKeys.read(config.seed_path)
            if config.seed_path.exists()
            else NodeKeys.create(config.seed_path)
        )
        self._parts = AsyncExitStack()
        store = self._parts.enter_context(NodeStore(config.store_path))
        doubt_old_copy(store)
        wallet = Wallet(
            config.wallet_path,
            seed=keys.wallet_seed,
            network=config.network,
            esplora_url=config.esplora_url,
        )
        chain = await self._parts.enter_async_context(EsploraChain(config.esplora_url))
        lightspeed = config.lightspeed
        ledger = payer_store = None
        if lightspeed is not None and lightspeed.ledger is not None:
            source = SQLiteLedger(lightspeed.ledger, seal_of=secret_lock_seal)
            ledger = self._parts.enter_context(source)
        if lightspeed is not None and lightspeed.payer_store is not None:
            payer_store = self._parts.enter_context(PayerStore(lightspeed.payer_store))
        self.ledger, self.payer_store = ledger, payer_store
        self.node = Node(
            config,
            keys=keys,
            store=store,
            wallet=wallet,
            chain=chain,
            ledger=ledger,
            payer_store=payer_store,
        )
        await self.node.start()

    async def stop(self) -> None:
        await self.node.stop()
        await self._parts.aclose()

    # --- what tests ask -------------------------------------------------------------------
    @property
    def node_id(self) -> bytes:
        return self.node.keys.node_id.data

    @property
    def driver(self) -> ChannelDriver:
        """Its only channel."""
        (driver,) = self.node.drivers.values()
        return driver

    @property
    def channel(self) -> Channel:
        return self.driver.channel

    def usable(self, channel_id: bytes | None = None) -> bool:
        """That channel, or the only one."""
        if not self.node.drivers:
            return False
        channel = self.channel if channel_id is None else self.node.driver(channel_id).channel
        state = channel.state
        return state.phase is Phase.NORMAL and state.session.link is Link.UP

    def settled(self) -> bool:
        """Nothing is pending in its channel."""
        state = self.channel.state
        return (
            not (state.holder_log or state.counterparty_log or state.base.htlcs)
            and len(state.counterparty_commitments) == 1
        )

    async def connect(self, other: "RunningNode") -> None:
        await self.node.connect(
            other.node.keys.node_id, host="127.0.0.1", port=other.node.peers.port
        )

    async def fund_wallet(self, sat: int = 10_000_000) -> None:
        self.world.regtest.fund(self.node.wallet.new_script(), Sat(sat))
        self.world.mine()
        await eventually(lambda: self.node.wallet.balance().confirmed_sat >= sat)


@dataclass
class NodeWorld:
    regtest: Regtest
    url: str
    folder: Path
    nodes: list[RunningNode] = field(default_factory=list)

    def mine(self, blocks: int = 1) -> None:
        self.regtest.mine(blocks)
        for running in self.nodes:
            running.node.watch.wake()

    async def start(
        self,
        name: str,
        *,
        party: Party | None = None,
        lightspeed_changes: dict[str, Any] | None = None,
        **changes: Any,
    ) -> RunningNode:
        """`party`: what it may be in Lightspeed funding; None: an ordinary node."""
        folder = self.folder / name
        lightspeed = None
        if party is not None:
            lightspeed = LightspeedConfig(
                parties=frozenset({party}),
                origins=(ORIGIN,),
                ledger=folder / "ledger.sqlite" if party is Party.PAYEE else None,
                payer_store=folder / "payer.sqlite" if party is Party.PAYER else None,
                **(lightspeed_changes or {}),
            )
        values: dict[str, Any] = {
            "data_dir": folder,
            "esplora_url": self.url,
            "listen_port": 0,
            "api_port": 0,
            "poll_seconds": 0.05,
            "reconnect_seconds": 0.02,
            "minimum_depth": 1,
            "to_self_delay_blocks": 6,
            "safe_depth": 2,
            "bump_reserve_sat": 0,
            "lightspeed": lightspeed,
        }
        running = RunningNode(self, NodeConfig(**(values | changes)))
        await running.start()
        self.nodes.append(running)
        return running

    async def open_channel(
        self,
        funder: RunningNode,
        fundee: RunningNode,
        *,
        funding_sat: int = 1_000_000,
        push_sat: int = 20_000,
        party: Party | None = None,
    ) -> bytes:
        """Usable on both sides; its id."""
        await funder.fund_wallet()
        await funder.connect(fundee)
        driver = await funder.node.open_channel(
            fundee.node_id, funding_sat=Sat(funding_sat), push_sat=Sat(push_sat), party=party
        )
        channel_id = driver.channel.channel_id
        await self.confirm(channel_id, funder, fundee)
        return channel_id

    async def confirm(self, channel_id: bytes, *nodes: RunningNode) -> None:
        """The channel becomes usable on all of these."""
        self.mine(2)
        await eventually(lambda: all(node.usable(channel_id) for node in nodes))


@asynccontextmanager
async def node_world(folder: Path) -> AsyncIterator[NodeWorld]:
    regtest = Regtest()
    async with serving(regtest) as url, nodes_on(regtest, url, folder) as world:
        yield world


@asynccontextmanager
async def nodes_on(regtest: Regtest, url: str, folder: Path) -> AsyncIterator[NodeWorld]:
    """On a chain that is there already; `url` is of its Esplora API."""
    world = NodeWorld(regtest, url, folder)
    try:
        yield world
    finally:
        for running in world.nodes:
            with contextlib.suppress(Exception):
                await running.stop()

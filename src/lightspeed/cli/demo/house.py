"""The demo's house: chain, two nodes and an API server, each a process with a folder of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp

from lightspeed.bitcoin import PublicKey
from lightspeed.cli.demo.counts import Counts
from lightspeed.cli.demo.plan import MSAT_PER_SAT, Closer, DemoPlan
from lightspeed.cli.demo.processes import Processes, free_ports
from lightspeed.cli.demo.server import ServerOrder
from lightspeed.cli.errors import NodeUnreachable
from lightspeed.cli.regtest_client import RegtestClient
from lightspeed.errors import LightspeedError, LocalError
from lightspeed.lsf import Party
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT
from lightspeed.node.api import api_token
from lightspeed.node.client import NodeApiError, NodeClient
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.keys import NodeKeys
from lightspeed.node.service import init_node
from lightspeed.payment import default_window

__all__ = ["House", "Household", "TookTooLong", "answers", "open_house", "start_server", "until"]

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_NODE_POLL_SECONDS = 0.2
_STRANGER = "stranger"


class TookTooLong(LocalError, TimeoutError):
    """Something that should have happened did not."""


async def until(
    condition: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 60.0
) -> None:
    """Raises `TookTooLong`, which names `what`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        if loop.time() > deadline:
            raise TookTooLong(f"after {seconds:.0f} s there is still no {what}")
        await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Household:
    """One node of the demo."""

    config: NodeConfig
    key: PublicKey
    client: NodeClient

    @property
    def api_url(self) -> str:
        return _url(self.config.api_port)

    @property
    def node_id(self) -> str:
        return self.key.data.hex()

    @property
    def address(self) -> str:
        """Where peers connect to."""
        return f"{self.node_id}@{self.config.listen_host}:{self.config.listen_port}"


@dataclass(frozen=True, slots=True)
class House:
    """What the steps of the demo work with."""

    plan: DemoPlan
    folder: Path
    processes: Processes
    chain: RegtestClient
    nodes: dict[Closer, Household]
    origin: str
    http: aiohttp.ClientSession
    stranger: Household | None = None
    """A node with no channel, who is sent tokens."""
    contract: str = ""
    """Of the tokens that the calls are paid with, once they are issued."""

    @property
    def everybody(self) -> list[Household]:
        return [*self.nodes.values(), *([self.stranger] if self.stranger else [])]

    @property
    def call_price(self) -> str:
        """As the API asks for it."""
        unit = self.plan.unit_value
        return f"{unit} {self.contract}" if self.plan.in_tokens else f"{unit} msat"

    @property
    def payer(self) -> Household:
        return self.nodes[Closer.PAYER]

    @property
    def payee(self) -> Household:
        return self.nodes[Closer.PAYEE]

    @property
    def payer_store(self) -> Path:
        """Books with their seeds, shared by the payer's node and clients."""
        return _path(self.payer.config, "payer_store")

    @property
    def ledger(self) -> Path:
        """Shared by the payee's node and the API server."""
        return _path(self.payee.config, "ledger")

    async def served(self) -> int:
        """Calls for which the API server's application ran."""
        async with self.http.get(f"{self.origin}/counts") as response:
            return int((await response.json())["served"])

    async def counts(self) -> Counts:
        """Of both nodes and the API server, as they are now."""
        metrics = [await node.client.metrics() for node in self.nodes.values()]
        async with self.http.get(f"{self.origin}/counts") as response:
            requests = int((await response.json())["requests"])
        return Counts.of(metrics, http_requests=requests)

    async def mine(self, blocks: int = 1) -> int:
        """Mines, and waits until both nodes have seen the new tip."""
        height = await self.chain.mine(blocks)

        async def seen() -> bool:
            infos = [await node.client.info() for node in self.everybody]
            return all(info.block_height >= height for info in infos)

        await until(seen, what=f"node that has seen block {height}")
        return height


@asynccontextmanager
async def open_house(
    plan: DemoPlan, folder: Path, *, origin: str | None = None
) -> AsyncIterator[House]:
    """Starts everything; whatever happens, everything is stopped at the end.

    With an `origin` the API is somebody else's: only chain and nodes are started. An API that
    sells for tokens waits for `start_server`: first they have to be issued.
    """
    own_server = origin is None and not plan.in_tokens
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes(folder))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        chain_port, server_port, *node_ports = free_ports(2 + 2 * (len(Closer) + 1))
        served_at = origin or _url(server_port)
        chain = await stack.enter_async_context(RegtestClient(_url(chain_port)))
        await processes.start("chain", "lightspeed.cli", "regtest", "--port", str(chain_port))
        households = {}
        for who in (*Closer, *([None] if plan.in_tokens else [])):
            config = _node_config(
                who,
                plan,
                folder,
                chain_port=chain_port,
                origin=served_at,
                settles=origin is not None,
            )
            config = replace(config, listen_port=node_ports.pop(), api_port=node_ports.pop())
            init_node(config)
            client = NodeClient(_url(config.api_port), api_token(config.token_path))
            await stack.enter_async_context(client)
            households[who] = Household(config, NodeKeys.read(config.seed_path).node_id, client)
        nodes = {who: households[who] for who in Closer}
        stranger = households.get(None)
        house = House(plan, folder, processes, chain, nodes, served_at, http, stranger)
        if own_server:
            await _start_server(house)
        await processes.until("chain", lambda: answers(chain.height))
        for who, node in households.items():
            run = ("node", "run", "--data-dir", str(node.config.data_dir))
            await processes.start(_process_name(who), "lightspeed.cli", *run)
        for who, node in households.items():
            await processes.until(_process_name(who), partial(answers, node.client.info))
        if own_server:
            await processes.until("api", lambda: answers(house.served))
        try:
            yield house
        except LightspeedError:
            await processes.check()  # a process that has ended is the better explanation
            raise


async def start_server(house: House) -> None:
    """Of the API; returns when it answers."""
    await _start_server(house)
    await house.processes.until("api", lambda: answers(house.served))


async def _start_server(house: House) -> None:
    payee = house.payee.config
    order = ServerOrder(
        port=int(house.origin.rpartition(":")[2]),
        ledger=str(house.ledger),
        price=house.call_price,
        invoice_price=f"{house.plan.conventional_price_sat} sat",
        node_url=house.payee.api_url,
        node_token_file=str(payee.token_path),
    )
    await house.processes.start("api", "lightspeed.cli.demo.server", json.dumps(asdict(order)))


async def answers(question: Callable[[], Awaitable[object]]) -> bool:
    """Does a server that was started hear us by now? Raises `NodeApiError` for its refusal."""
    try:
        await question()
    except (NodeUnreachable, aiohttp.ClientConnectionError):
        return False
    except NodeApiError as error:
        if error.status:
            raise
        return False
    return True


def _exposure_sat(plan: DemoPlan) -> int:
    """What the payee serves at most before the chain would enforce it, rounded up."""
    return 0 if plan.in_tokens else -(-_exposed_units(plan) * plan.unit_msat // MSAT_PER_SAT)


def _exposed_units(plan: DemoPlan) -> int:
    return min(plan.units, plan.chain_length + default_window(plan.chain_length))


def _path(config: NodeConfig, name: str) -> Path:
    path = getattr(config.lightspeed, name)
    assert isinstance(path, Path)
    return path


def _process_name(who: Closer | None) -> str:
    return f"{who.value if who else _STRANGER}-node"


def _url(port: int) -> str:
    return f"http://{_HOST}:{port}"


def _node_config(
    who: Closer | None, plan: DemoPlan, folder: Path, *, chain_port: int, origin: str, settles: bool
) -> NodeConfig:
    """Of a payee that does not settle all is left to the chain, however much was paid."""
    data_dir = folder / (who.value if who else _STRANGER)
    lightspeed = None
    if who is Closer.PAYER:
        lightspeed = LightspeedConfig(
            parties=frozenset({Party.PAYER}), payer_store=data_dir / "payer.sqlite"
        )
    elif who is Closer.PAYEE:
        lightspeed = LightspeedConfig(
            parties=frozenset({Party.PAYEE}),
            origins=(origin,),
            ledger=data_dir / "ledger.sqlite",
            max_exposure_sat=max(DEFAULT_MAX_EXPOSURE_SAT, _exposure_sat(plan)),
        )
        if plan.in_tokens:
            exposed = _exposed_units(plan) * plan.unit_value
            lightspeed = replace(lightspeed, max_exposure_tokens=exposed)
        if not settles:
            lightspeed = replace(lightspeed, settle_at_sat=0, settle_after_seconds=0.0)
    return NodeConfig(
        data_dir=data_dir,
        esplora_url=_url(chain_port),
        poll_seconds=_NODE_POLL_SECONDS,
        minimum_depth=plan.minimum_depth,
        to_self_delay_blocks=plan.to_self_delay_blocks,
        safe_depth=1,
        lightspeed=lightspeed,
    )

"""A whole node without sockets, on files that outlive it, with a fuse at each of its I/O points.

A point is one persist, one send or one broadcast. When the fuse blows the process is dead
before that operation: nothing that it does afterwards reaches the world.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adversary_purse import Purse
from lightspeed.bitcoin import PublicKey, Tx
from lightspeed.chain import LocalChain, Regtest
from lightspeed.channel import CHANNEL_TABLE, Channel, Phase, Put
from lightspeed.ledger import Ledger, PayerStore, SQLiteLedger
from lightspeed.lsf import Party
from lightspeed.node.config import LightspeedConfig, NodeConfig
from lightspeed.node.daemon import Node
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.keys import NodeKeys
from lightspeed.node.old_copy import doubt_old_copy
from lightspeed.node.peers import peer_settings
from lightspeed.node.store import NodeStore
from lightspeed.rgb import contract_id_text, secret_lock_seal
from lightspeed.wire import Init, Message

__all__ = ["ORIGIN", "Fuse", "Killed", "Line", "Machine"]

ORIGIN = "https://api.example.com"


class Killed(BaseException):
    """The process ended here; no code of its own may catch this."""


@dataclass
class Fuse:
    """Counts the I/O points of one process and ends it at the one that `blows_at` names."""

    blows_at: int | None = None
    points: list[str] = field(default_factory=list)
    dead: bool = False
    blown_at: str = ""
    """The operation."""

    def point(self, what: str) -> None:
        """Before the operation."""
        self.check()
        if len(self.points) == self.blows_at:
            self.dead, self.blown_at = True, what
            raise Killed(what)
        self.points.append(what)

    def check(self) -> None:
        """What is no I/O point of its own does not happen either in a process that is dead."""
        if self.dead:
            raise Killed("dead")


class FusedStore:
    """A `NodeStore` behind the fuse."""

    def __init__(self, store: NodeStore, fuse: Fuse, stored: Callable[[Sequence[Put]], None]):
        self._store = store
        self._fuse = fuse
        self._stored = stored

    def apply(self, puts: Sequence[Put]) -> None:
        self._fuse.point("persist " + ", ".join(sorted({put.table for put in puts})))
        self._store.apply(puts)
        self._stored(puts)

    def put(self, table: str, key: bytes, value: bytes | None) -> None:
        self.apply((Put(table, key, value),))

    def get(self, table: str, key: bytes) -> bytes | None:
        self._fuse.check()
        return self._store.get(table, key)

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        self._fuse.check()
        return self._store.scan(table, prefix)

    def count(self, table: str) -> int:
        self._fuse.check()
        return self._store.count(table)


class FusedChain(LocalChain):
    """The regtest behind the fuse. `refused` broadcasts are an ordinary thing."""

    def __init__(self, regtest: Regtest, fuse: Fuse, publishes: Callable[[Tx], None]) -> None:
        super().__init__(regtest)
        self._fuse = fuse
        self._publishes = publishes

    async def broadcast(self, tx: Tx) -> None:
        self._fuse.point("broadcast")
        self._publishes(tx)
        await super().broadcast(tx)

    async def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        self._fuse.point("broadcast package")
        for tx in transactions:
            self._publishes(tx)
        await super().broadcast_package(transactions)


class Fused:
    """Any other store behind the fuse: the methods named in `writes` are points."""

    def __init__(self, inner: Any, fuse: Fuse, writes: frozenset[str]) -> None:
        self._inner = inner
        self._fuse = fuse
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        self._fuse.check()
        if name in self._writes:
            self._fuse.point(f"persist {name}")
        return getattr(self._inner, name)


_LEDGER_WRITES = frozenset(
    {"store_book", "extend_lease", "fence", "close_book", "prune", "declare_restored"}
)
_PAYER_WRITES = frozenset({"save", "stop"})


class Line:
    """One side's end of a connection: stands where a `wire.peer.Peer` would."""

    def __init__(
        self, node_id: PublicKey, init: Init, fuse: Fuse, said: Callable[[Message], None]
    ) -> None:
        self.node_id = node_id
        self.init = init
        self._fuse = fuse
        self._said = said
        self.up = True
        self.messages_sent: dict[str, int] = {}
        self.messages_received: dict[str, int] = {}

    async def send(self, message: Message) -> None:
        self._fuse.point(f"send {type(message).__name__}")
        if self.up:
            self._said(message)

    async def close(self) -> None:
        self.up = False


class Switchboard:
    """Stands where `node.peers.Peers` would."""

    port = 0

    def __init__(self) -> None:
        self.lines: dict[bytes, Line] = {}

    async def start(self, *, host: str, port: int) -> None:
        """Nobody listens."""

    async def close(self) -> None:
        """There is nothing to close."""

    def get(self, node_id: bytes) -> Line | None:
        return self.lines.get(node_id)

    def address(self, node_id: bytes) -> None:
        """Of nobody."""

    def __iter__(self) -> Iterator[Line]:
        return iter(tuple(self.lines.values()))


def _no_task() -> None:
    """Invoices and proxies are not played here."""


@dataclass
class Machine:
    """One node's process and files. `folder` outlives every process."""

    name: str
    party: Party
    folder: Path
    regtest: Regtest
    clock: Callable[[], float]
    delay_blocks: int
    said: Callable[["Machine", Message], None]
    honest: bool = True
    settle_at_sat: int = 0
    stored: Callable[["Machine"], None] = lambda _: None
    published: list[Tx] = field(default_factory=list)
    """Everything that it ever broadcast, over all its processes."""
    about_to_publish: Callable[["Machine", Tx], None] = lambda _, __: None
    fuse: Fuse = field(default_factory=Fuse)
    started: bool = False
    """There is a process, or the corpse of one: see `running` and `kill`."""
    channel_id: bytes = b""
    """Of the one channel that the world is about, once both have it."""
    line: Line | None = None
    drops: Callable[[Message], bool] = lambda _: False
    """Asked for each message that it says: a thief may keep it back."""
    outbox: deque[Message] = field(default_factory=deque)
    """Said and not delivered yet, on the present connection."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.purse = Purse(self.regtest, self.name.encode())
        self.keys = NodeKeys.derive(self.name.encode().ljust(32, b"."))
        self.config = NodeConfig(
            data_dir=self.folder,
            esplora_url="http://127.0.0.1:1",
            minimum_depth=1,
            to_self_delay_blocks=self.delay_blocks,
            lightspeed=LightspeedConfig(
                parties=frozenset({self.party}),
                origins=(ORIGIN,),
                ledger=self.ledger_path if self.party is Party.PAYEE else None,
                payer_store=self.payer_path if self.party is Party.PAYER else None,
                settle_at_sat=self.settle_at_sat,
            ),
        )

    def know_tokens(self, contract_id: bytes, *, max_exposure: int) -> None:
        """Before it starts: its operator takes these."""
        assert self.config.lightspeed is not None
        lightspeed = replace(
            self.config.lightspeed,
            tokens=(contract_id_text(contract_id),),
            max_exposure_tokens=max_exposure,
            settle_at_tokens=self.settle_at_sat,
            sell_price_msat=1_000,
        )
        self.config = replace(self.config, lightspeed=lightspeed)

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def payer_path(self) -> Path:
        return self.folder / "payer.sqlite"

    @property
    def init(self) -> Init:
        return peer_settings(
            node_key=self.keys.node_key, chain_hash=self.config.chain_hash, lightspeed=True
        ).init

    # --- the process ----------------------------------------------------------------------
    @property
    def running(self) -> bool:
        """No task of it was killed yet."""
        return self.started and not self.fuse.dead

    async def start(self, *, blows_at: int | None = None) -> None:
        """From the files; `blows_at` counts from now on."""
        assert not self.started
        self.fuse = Fuse(blows_at=blows_at)
        self.started = True
        self._opened = NodeStore(self.config.store_path)
        if self.honest:
            doubt_old_copy(self._opened)
        store: Any = FusedStore(self._opened, self.fuse, self._on_stored)
        chain = FusedChain(self.regtest, self.fuse, self._on_publication)
        self.ledger: Ledger | None = None
        self.payer_store: PayerStore | None = None
        if self.party is Party.PAYEE:
            ledger: Any = SQLiteLedger(self.ledger_path, clock=self.clock, seal_of=secret_lock_seal)
            self.ledger = ledger
        else:
            self.payer_store = PayerStore(self.payer_path)
        wallet: Any = self.purse
        self.node = Node(
            self.config,
            keys=self.keys,
            store=store,
            wallet=wallet,
            chain=chain,
            ledger=self.ledger and Fused(self.ledger, self.fuse, _LEDGER_WRITES),
            payer_store=self.payer_store and Fused(self.payer_store, self.fuse, _PAYER_WRITES),  # type: ignore[arg-type]
            clock=self.clock,
        )
        switchboard: Any = Switchboard()
        self.node.peers = switchboard
        self.node.watch.run = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        self.node.tokens.start = _no_task  # type: ignore[method-assign]
        try:
            await self.node.start()
        except Killed:
            await self.kill()
            raise

    async def kill(self) -> None:
        """As kill -9: what is on the disk stays, everything else is gone."""
        self.fuse.dead = True
        self.started = False
        self.line = None
        self.outbox.clear()
        watching = self.node._watching
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        self._opened.close()
        if isinstance(self.ledger, SQLiteLedger):
            self.ledger.close()
        if self.payer_store is not None:
            self.payer_store.close()

    def _on_stored(self, puts: Sequence[Put]) -> None:
        if any(put.table == CHANNEL_TABLE for put in puts):
            self.stored(self)

    def _on_publication(self, tx: Tx) -> None:
        self.about_to_publish(self, tx)
        self.published.append(tx)

    # --- its files ------------------------------------------------------------------------
    def backup(self) -> bytes:
        """A copy of the store's file, while the node runs."""
        return self._opened._connection.serialize()

    def stored_record(self, table: str, key: bytes) -> bytes | None:
        """A channel's `Lookup`, also for whoever has only the files."""
        if not self.started:
            with NodeStore(self.config.store_path) as store:
                return store.get(table, key)
        return self._opened.get(table, key)

    def put_back(self, backup: bytes) -> None:
        """Not while it runs: the store becomes what it was when the backup was made."""
        assert not self.started
        for path in self.folder.glob("node.sqlite*"):
            path.unlink()
        self.config.store_path.write_bytes(backup)

    def copy_ledger(self, to: Path) -> None:
        """Not while it runs."""
        assert not self.started
        shutil.copy(self.ledger_path, to)

    def put_ledger_back(self, backup: Path) -> None:
        assert not self.started
        for path in self.folder.glob("ledger.sqlite*"):
            path.unlink()
        shutil.copy(backup, self.ledger_path)

    # --- its channel ----------------------------------------------------------------------
    @property
    def has_channel(self) -> bool:
        """The process runs and has loaded it."""
        return self.running and self.channel_id in self.node.drivers

    @property
    def driver(self) -> ChannelDriver:
        return self.node.drivers[self.channel_id]

    @property
    def channel(self) -> Channel:
        return self.driver.channel

    @property
    def over(self) -> bool:
        return self.driver.record.over

    @property
    def phase(self) -> Phase:
        return self.channel.state.phase

    # --- its connection -------------------------------------------------------------------
    def plug(self, other: "Machine") -> Line:
        """A new line to the other machine; `Node.on_peer` has to hear of it."""

        def said(message: Message) -> None:
            if not self.drops(message):
                self.said(self, message)
                self.outbox.append(message)

        self.outbox.clear()
        self.line = Line(other.keys.node_id, other.init, self.fuse, said)
        switchboard: Any = self.node.peers
        switchboard.lines[other.keys.node_id.data] = self.line
        return self.line

    def unplug(self) -> Line | None:
        """The line is dead; `Node.on_peer_gone` has to hear of it."""
        line, self.line = self.line, None
        self.outbox.clear()
        if line is not None:
            line.up = False
            switchboard: Any = self.node.peers
            switchboard.lines.pop(line.node_id.data, None)
        return line

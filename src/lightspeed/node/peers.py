"""Connections to other nodes: one per peer, the newest; made again while a channel needs it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from lightspeed.bitcoin import PrivateKey, PublicKey
from lightspeed.channel import Put, StateError
from lightspeed.colour import COLOUR_MESSAGES, Colouring
from lightspeed.errors import RemoteError
from lightspeed.lsf import LSF_MESSAGES, LightspeedFunding
from lightspeed.node.metrics import Metrics
from lightspeed.node.records import dump_document, load_document
from lightspeed.node.store import NodeStore
from lightspeed.wire import BOLT_CODEC, Features, Init, Message
from lightspeed.wire.peer import Peer, PeerServer, PeerSettings, connect, serve

__all__ = ["PEER_TABLE", "PeerListener", "Peers", "peer_settings"]

_log = logging.getLogger(__name__)

PEER_TABLE = "peer"
"""Where a peer listens. Key: its public key."""

_MAX_RECONNECT_SECONDS = 60.0

# option_data_loss_protect, var_onion_optin, option_static_remotekey, payment_secret,
# option_anchors, option_shutdown_anysegwit, option_channel_type: all optional (odd).
_FEATURE_BITS = (1, 9, 13, 15, 23, 27, 45)


def peer_settings(*, node_key: PrivateKey, chain_hash: bytes, lightspeed: bool) -> PeerSettings:
    """What we say in `init`, and the messages that we know."""
    features = Features.of(*_FEATURE_BITS)
    codec = BOLT_CODEC
    if lightspeed:
        bits = (extension.feature_bit for extension in (LightspeedFunding, Colouring))
        features |= Features.of(*(bit + 1 for bit in bits))
        codec = codec.extended((*LSF_MESSAGES, *COLOUR_MESSAGES))
    init = Init(features=features, networks=(chain_hash,))
    return PeerSettings(our_key=node_key, init=init, codec=codec)


class PeerListener(Protocol):
    """Who acts on what peers say."""

    async def on_peer(self, peer: Peer) -> None:
        """Connected; called before the first message is read."""

    async def on_message(self, peer: Peer, message: Message) -> None:
        """One at a time, in order."""

    async def on_peer_gone(self, peer: Peer) -> None:
        """The connection has ended."""

    def needs(self, node_id: bytes) -> bool:
        """Should a lost connection to this peer be made again?"""


class Peers:
    """All connections of the node. Peers are told apart by their 33-byte public key."""

    def __init__(
        self,
        settings: PeerSettings,
        *,
        listener: PeerListener,
        store: NodeStore,
        metrics: Metrics,
        reconnect_seconds: float,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._store = store
        self._metrics = metrics
        self._reconnect_seconds = reconnect_seconds
        self._connected: dict[bytes, Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reconnecting: set[bytes] = set()
        self._server: PeerServer | None = None
        self._closing = False

    @property
    def port(self) -> int:
        """Where we listen."""
        assert self._server is not None
        return self._server.port

    def get(self, node_id: bytes) -> Peer | None:
        return self._connected.get(node_id)

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._connected.values()))

    def address(self, node_id: bytes) -> tuple[str, int] | None:
        """Host and port that we last reached the peer at."""
        data = self._store.get(PEER_TABLE, node_id)
        if data is None:
            return None
        values = load_document(data)
        try:
            return str(values["host"]), int(values["port"])
        except (KeyError, ValueError, TypeError):
            raise StateError("a stored address does not parse") from None

    # --- life -----------------------------------------------------------------------------
    async def start(self, *, host: str, port: int) -> None:
        """Listen, and connect to the peers that are needed."""
        self._server = await serve(
            host=host, port=port, settings=self._settings, on_peer=self._attend
        )
        for node_id, _ in self._store.scan(PEER_TABLE):
            self._reconnect(node_id)

    async def close(self) -> None:
        """End all connections and every attempt at one."""
        self._closing = True
        if self._server is not None:
            await self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def connect(self, node_id: PublicKey, *, host: str, port: int) -> Peer:
        """The connection to this peer, made if there is none; its address is remembered.

        Raises `PeerUnreachable`, `PeerIncompatible` or `WireError`.
        """
        present = self._connected.get(node_id.data)
        if present is not None:
            return present
        peer = await connect(host=host, port=port, their_node_id=node_id, settings=self._settings)
        address = dump_document({"host": host, "port": port})
        self._store.apply((Put(PEER_TABLE, node_id.data, address),))
        ready = asyncio.Event()
        self._spawn(self._attend_outbound(peer, ready))
        await ready.wait()
        return peer

    async def disconnect(self, node_id: bytes) -> None:
        """Hang up, if we are connected."""
        peer = self._connected.get(node_id)
        if peer is not None:
            await peer.close()

    # --- one connection -------------------------------------------------------------------
    async def _attend_outbound(self, peer: Peer, ready: asyncio.Event) -> None:
        async with peer:
            try:
                await self._attend(peer, ready)
            except RemoteError as error:
                _log.info("connection ended", extra=_details(peer, error))
            except Exception:
                _log.exception("closing a connection", extra=_details(peer))
            finally:
                ready.set()

    async def _attend(self, peer: Peer, ready: asyncio.Event | None = None) -> None:
        """From init to the end of the connection."""
        node_id = peer.node_id.data
        replaced = self._connected.get(node_id)
        self._connected[node_id] = peer
        self._metrics.add_peer(peer)
        _log.info("peer connected", extra=_details(peer))
        try:
            if replaced is not None:
                await replaced.close()
            await self._listener.on_peer(peer)
            if ready is not None:
                ready.set()
            async for message in peer:
                await self._listener.on_message(peer, message)
        finally:
            if self._connected.get(node_id) is peer:
                del self._connected[node_id]
            self._metrics.remove_peer(peer)
            _log.info("peer gone", extra=_details(peer))
            await self._listener.on_peer_gone(peer)
            self._reconnect(node_id)

    # --- again ----------------------------------------------------------------------------
    def _reconnect(self, node_id: bytes) -> None:
        if self._closing or node_id in self._reconnecting or not self._wanted(node_id):
            return
        self._reconnecting.add(node_id)
        self._spawn(self._keep_trying(node_id))

    def _wanted(self, node_id: bytes) -> bool:
        return (
            node_id not in self._connected
            and self._listener.needs(node_id)
            and self.address(node_id) is not None
        )

    async def _keep_trying(self, node_id: bytes) -> None:
        """Until we are connected, by whomever, or nobody needs it."""
        wait_seconds = self._reconnect_seconds
        try:
            while self._wanted(node_id):
                # Both sides may try: apart from each other, so that they do not replace for ever.
                await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.5))
                wait_seconds = min(2 * wait_seconds, _MAX_RECONNECT_SECONDS)
                address = self.address(node_id)
                if address is None or not self._wanted(node_id):
                    return
                with contextlib.suppress(RemoteError):
                    host, port = address
                    await self.connect(PublicKey(node_id), host=host, port=port)
        finally:
            self._reconnecting.discard(node_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _details(peer: Peer, error: Exception | None = None) -> dict[str, str]:
    details = {"peer": peer.node_id.data.hex()}
    if error is not None:
        details["reason"] = f"{type(error).__name__}: {error}"
    return details

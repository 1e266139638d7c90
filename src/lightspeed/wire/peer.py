"""The edge: one encrypted TCP connection to another node. The only module of `wire` with I/O.

RemoteError
├── WireError              its bytes or acts do not parse (see `lightspeed.wire.errors`)
├── PeerUnreachable        no connection, or no handshake and init in time
├── PeerIncompatible       its init does not fit ours
└── PeerDisconnected       the connection has ended
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.errors import RemoteError
from lightspeed.wire.codec import Codec, Message, UnknownMessage
from lightspeed.wire.errors import WireError
from lightspeed.wire.features import FeatureError
from lightspeed.wire.messages import BOLT_CODEC, Init, Ping, Pong, WarningMessage
from lightspeed.wire.noise import (
    ACT_ONE_SIZE,
    ACT_THREE_SIZE,
    ACT_TWO_SIZE,
    AwaitingActOne,
    Transport,
    start_handshake,
)

__all__ = [
    "Peer",
    "PeerDisconnected",
    "PeerIncompatible",
    "PeerServer",
    "PeerSettings",
    "PeerUnreachable",
    "connect",
    "serve",
]

_log = logging.getLogger(__name__)

_READ_SIZE = 1 << 16
_WRITE_BUFFER_SIZE = 1 << 18
_UNREAD_MESSAGES = 64  # of at most 65,535 bytes each: 4 MiB for one peer
_LARGEST_PONG = 65_532
"""BOLT 1: a ping that asks for this many bytes or more gets no pong."""


class PeerUnreachable(RemoteError, ConnectionError):
    """The peer does not answer, or did not finish the handshake in time."""


class PeerIncompatible(RemoteError, ConnectionError):
    """The peer's features or chains do not fit ours."""


class PeerDisconnected(RemoteError, ConnectionError):
    """The connection has ended; what was sent last may not have arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """Who we are and how patient."""

    our_key: PrivateKey
    init: Init
    codec: Codec = BOLT_CODEC
    handshake_timeout_seconds: float = 10.0
    """For connecting, the three acts and init together."""
    ping_interval_seconds: float = 30.0
    """After this long without a message we ping; after twice as long the peer is gone."""
    send_timeout_seconds: float = 30.0
    """How long a peer may leave our full buffer unread."""
    close_timeout_seconds: float = 5.0
    """How long closing waits for a peer to take what was sent."""
    max_inbound: int = 128
    """More inbound connections than these are closed at once."""


class Peer:
    """A connected peer: `send` messages, iterate over those received.

    Pings and pongs are dealt with here; unknown odd messages are counted and dropped. Iteration
    ends when the connection does, and raises when it was the peer's fault. An unread peer is not
    read from: neither side's memory grows.
    """

    def __init__(
        self,
        *,
        node_id: PublicKey,
        connection: "_Connection",
        settings: PeerSettings,
        their_init: Init,
    ) -> None:
        self.node_id = node_id
        self.init = their_init
        self._connection = connection
        self._settings = settings
        self._unread: asyncio.Queue[Message | None] = asyncio.Queue(_UNREAD_MESSAGES)
        self._failure: Exception | None = None
        self._ended = False
        self._reading = asyncio.create_task(self._read())

    def __repr__(self) -> str:
        return f"Peer({self.node_id.data.hex()})"

    @property
    def messages_sent(self) -> Counter[str]:
        """By class name, since the connection began."""
        return self._connection.sent

    @property
    def messages_received(self) -> Counter[str]:
        """By class name, since the connection began."""
        return self._connection.received

    async def send(self, message: Message) -> None:
        """Write one message; returns when the buffer has room again. `PeerDisconnected`."""
        await self._connection.send(message)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = None if self._ended else await self._unread.get()
        if message is not None:
            return message
        self._ended = True
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the connection after what was sent has left; iteration ends."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        while not self._unread.empty():
            self._unread.get_nowait()
        self._unread.put_nowait(None)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _read(self) -> None:
        try:
            await self._read_until_end()
        except Exception as error:
            # Whatever it was, whoever iterates must learn of it rather than wait for ever.
            self._failure = error
            if isinstance(error, WireError):
                await self._connection.warn(error)
        await self._connection.close()
        await self._unread.put(None)

    async def _read_until_end(self) -> None:
        pinged = False
        while True:
            try:
                async with asyncio.timeout(self._settings.ping_interval_seconds):
                    message = await self._connection.receive()
            except TimeoutError:
                if pinged:
                    raise PeerDisconnected("the peer does not answer a ping") from None
                pinged = True
                await self._connection.send(Ping(num_pong_bytes=1))
                continue
            pinged = False
            match message:
                case None:
                    return
                case Ping(num_pong_bytes=size):
                    if size < _LARGEST_PONG:
                        await self._connection.send(Pong(ignored=bytes(size)))
                case Pong() | UnknownMessage():
                    pass
                case _:
                    await self._unread.put(message)


async def connect(
    *, host: str, port: int, their_node_id: PublicKey, settings: PeerSettings
) -> Peer:
    """Connect, shake hands and exchange init.

    Raises `PeerUnreachable` (also when the node there is not `their_node_id`: it hangs up),
    `PeerIncompatible` or `WireError`.
    """
    try:
        async with asyncio.timeout(settings.handshake_timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port)
            return await _establish(reader, writer, their_node_id=their_node_id, settings=settings)
    except TimeoutError:
        raise PeerUnreachable("the peer did not finish the handshake in time") from None
    except asyncio.IncompleteReadError as error:
        raise PeerUnreachable(f"{host}:{port} hung up: is this the node there?") from error
    except OSError as error:
        if isinstance(error, RemoteError):
            raise
        raise PeerUnreachable(f"no connection to {host}:{port}: {type(error).__name__}") from error


async def serve(
    *,
    host: str,
    port: int,
    settings: PeerSettings,
    on_peer: Callable[[Peer], Awaitable[None]],
) -> "PeerServer":
    """Listen; `on_peer` runs for each peer that passed handshake and init (port 0: any).

    The connection is closed when `on_peer` returns.
    """
    peers = PeerServer(settings=settings, on_peer=on_peer)
    peers._server = await asyncio.start_server(peers._accept, host, port)
    return peers


class PeerServer:
    """A listening socket and the inbound connections behind it."""

    _server: asyncio.Server

    def __init__(
        self, *, settings: PeerSettings, on_peer: Callable[[Peer], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._on_peer = on_peer
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that we listen on."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening, cancel `on_peer` for each peer and close their connections."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._settings.max_inbound:
            _log.warning("inbound connection refused: %d are open", len(self._tasks))
            writer.transport.abort()
            return
        task = asyncio.create_task(self._welcome(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._settings.handshake_timeout_seconds):
                peer = await _establish(reader, writer, their_node_id=None, settings=self._settings)
        except (RemoteError, OSError, asyncio.IncompleteReadError) as error:
            _log.info("inbound connection failed: %s: %s", type(error).__name__, error)
            return
        async with peer:
            try:
                await self._on_peer(peer)
            except RemoteError as error:
                _log.warning("%r: %s: %s", peer, type(error).__name__, error)
            except Exception:
                _log.exception("%r: closing the connection", peer)


class _Connection:
    """Messages over one noise transport; counts them by class name."""

    def __init__(
        self,
        *,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        transport: Transport,
        settings: PeerSettings,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = transport
        self._settings = settings
        self._arrived: deque[bytes] = deque()
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER_SIZE)

    async def send(self, message: Message) -> None:
        encoded = message.encode()
        if self._writer.is_closing():
            raise PeerDisconnected("the connection is closed")
        # No await between these two: the order of encryption is the order on the wire.
        self._writer.write(self._transport.encrypt(encoded))
        self.sent[type(message).__name__] += 1
        try:
            async with asyncio.timeout(self._settings.send_timeout_seconds):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise PeerDisconnected("the peer does not read") from None
        except ConnectionError:
            raise PeerDisconnected("the connection was lost") from None

    async def receive(self) -> Message | UnknownMessage | None:
        """The next message, None at the end of the connection; `WireError`."""
        while not self._arrived:
            try:
                data = await self._reader.read(_READ_SIZE)
            except ConnectionError:
                return None
            if not data:
                return None
            self._arrived.extend(self._transport.feed(data))
        message = self._settings.codec.decode(self._arrived.popleft())
        self.received[type(message).__name__] += 1
        return message

    async def warn(self, error: WireError) -> None:
        """Tell the peer what did not parse; BOLT 1 lets its channels live on."""
        with contextlib.suppress(PeerDisconnected):
            await self.send(WarningMessage(data=str(error).encode()))

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(self._settings.close_timeout_seconds):
                await self._writer.wait_closed()
        except (TimeoutError, ConnectionError):
            self._writer.transport.abort()


async def _establish(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    their_node_id: PublicKey | None,
    settings: PeerSettings,
) -> Peer:
    """Handshake, as the initiator when we know whom we called, and init."""
    try:
        if their_node_id is None:
            their_node_id, transport = await _respond(reader, writer, settings)
        else:
            transport = await _initiate(reader, writer, their_node_id, settings)
        connection = _Connection(
            reader=reader, writer=writer, transport=transport, settings=settings
        )
        their_init = await _exchange_init(connection, settings.init)
    except BaseException:
        writer.close()
        raise
    return Peer(
        node_id=their_node_id, connection=connection, settings=settings, their_init=their_init
    )


async def _initiate(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    their_node_id: PublicKey,
    settings: PeerSettings,
) -> Transport:
    act_one, awaiting = start_handshake(
        our_key=settings.our_key, ephemeral_key=_fresh_key(), their_node_id=their_node_id
    )
    writer.write(act_one)
    act_three, transport = awaiting.receive(await reader.readexactly(ACT_TWO_SIZE))
    writer.write(act_three)
    return transport


async def _respond(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: PeerSettings
) -> tuple[PublicKey, Transport]:
    awaiting_one = AwaitingActOne(settings.our_key, _fresh_key())
    act_two, awaiting_three = awaiting_one.receive(await reader.readexactly(ACT_ONE_SIZE))
    writer.write(act_two)
    return awaiting_three.receive(await reader.readexactly(ACT_THREE_SIZE))


async def _exchange_init(connection: _Connection, ours: Init) -> Init:
    """BOLT 1, "The init Message": the first message on every connection, both ways."""
    await connection.send(ours)
    try:
        theirs = await connection.receive()
        if theirs is None:
            raise PeerUnreachable("the peer hung up before its init")
        if not isinstance(theirs, Init):
            raise WireError("the first message is not init")
        ours.features.check_peer(theirs.features | theirs.globalfeatures)
        if ours.networks and theirs.networks and not {*ours.networks} & {*theirs.networks}:
            raise FeatureError("no chain in common")
    except WireError as error:
        await connection.warn(error)
        if isinstance(error, FeatureError):
            raise PeerIncompatible(str(error)) from error
        raise
    return theirs


def _fresh_key() -> PrivateKey:
    return PrivateKey(secrets.token_bytes(32))

"""Peers over real TCP on loopback: handshake, init, keepalive, order, bounds and clean ends."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from lightspeed.bitcoin.keys import PrivateKey
from lightspeed.wire import (
    BOLT_CODEC,
    U64,
    AwaitingActOne,
    ErrorMessage,
    Features,
    Init,
    Message,
    Ping,
    TransportError,
    UnknownEvenMessage,
    UnknownMessage,
    UpdateFee,
    WireError,
)
from lightspeed.wire.noise import ACT_ONE_SIZE, ACT_THREE_SIZE, Transport
from lightspeed.wire.peer import (
    Peer,
    PeerDisconnected,
    PeerIncompatible,
    PeerServer,
    PeerSettings,
    PeerUnreachable,
    connect,
    serve,
)

FEATURES = Features.of(12, 45)
REGTEST, MAINNET = b"\x06" * 32, b"\x6f" * 32
OURS = PeerSettings(our_key=PrivateKey(b"\x11" * 32), init=Init(features=FEATURES))
THEIRS = PeerSettings(our_key=PrivateKey(b"\x21" * 32), init=Init(features=FEATURES))
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave(Message):
    TYPE: ClassVar[int] = 32_773

    number: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class EvenWave(Message):
    TYPE: ClassVar[int] = 32_774

    number: U64


def fee(number: int) -> UpdateFee:
    return UpdateFee(channel_id=bytes(32), feerate_per_kw=number)


@contextlib.asynccontextmanager
async def pair(ours: PeerSettings = OURS, theirs: PeerSettings = THEIRS):
    """The connecting peer and the accepting one, of one connection."""
    accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def on_peer(peer: Peer) -> None:
        await accepted.put(peer)
        await asyncio.Event().wait()

    async with (
        asyncio.timeout(60),
        await serve(host=HOST, port=0, settings=theirs, on_peer=on_peer) as server,
        await connect(
            host=HOST,
            port=server.port,
            their_node_id=theirs.our_key.public,
            settings=ours,
        ) as peer,
    ):
        yield peer, await accepted.get()


async def take(peer: Peer, count: int) -> list[Message]:
    return [await anext(peer) for _ in range(count)]


async def test_peers_know_each_other_after_init():
    ours = replace(OURS, init=Init(features=FEATURES, networks=(REGTEST,)))
    async with pair(ours=ours) as (peer, other):
        assert peer.node_id == THEIRS.our_key.public
        assert other.node_id == OURS.our_key.public
        assert other.init == ours.init
        assert peer.init == THEIRS.init


async def test_thousands_of_messages_pass_both_ways_in_order_and_are_counted():
    count = 1_300
    async with pair() as (peer, other):

        async def send_all(sender: Peer) -> None:
            for number in range(count):
                await sender.send(fee(number))

        expected = [fee(number) for number in range(count)]
        _, _, forth, back = await asyncio.gather(
            send_all(peer), send_all(other), take(other, count), take(peer, count)
        )
        assert forth == back == expected
        assert peer.messages_sent == {"Init": 1, "UpdateFee": count}
        assert peer.messages_received == {"Init": 1, "UpdateFee": count}
        assert other.messages_sent == peer.messages_sent


async def test_messages_of_concurrent_senders_stay_whole():
    async with pair() as (peer, other):
        large = [ErrorMessage(data=bytes([number]) * 60_000) for number in range(20)]
        received, *_ = await asyncio.gather(take(other, 20), *map(peer.send, large))
        assert sorted(received, key=lambda message: message.data) == large


async def test_iteration_ends_when_the_other_side_closes():
    async with pair() as (peer, other):
        await other.send(fee(1))
        await other.close()
        assert [message async for message in peer] == [fee(1)]
        assert [message async for message in peer] == []
        with pytest.raises(PeerDisconnected):
            await other.send(fee(2))


async def test_closing_wakes_our_own_reader():
    async with pair() as (peer, _):
        reading = asyncio.create_task(anext(peer, None))
        await asyncio.sleep(0)
        await peer.close()
        assert await reading is None


async def test_an_extensions_messages_are_received_when_its_codec_is_used():
    codec = BOLT_CODEC.extended([Wave])
    async with pair(theirs=replace(THEIRS, codec=codec)) as (peer, other):
        await peer.send(Wave(number=7))
        assert await anext(other) == Wave(number=7)
        await other.send(Wave(number=8))
        await other.send(fee(1))
        assert await anext(peer) == fee(1)
        assert peer.messages_received["UnknownMessage"] == 1


async def test_an_unknown_even_message_ends_the_connection_with_a_warning():
    async with pair() as (peer, other):
        await peer.send(fee(1))
        await peer.send(EvenWave(number=7))
        assert await anext(other) == fee(1)
        with pytest.raises(UnknownEvenMessage) as caught:
            await anext(other)
        assert caught.value.message_type == 32_774
        warning = await anext(peer)
        assert warning.text == "unknown message of even type 32774"
        assert await anext(peer, None) is None


async def test_a_ping_is_answered_with_as_many_bytes_as_it_asks_for():
    async with pair() as (peer, other):
        await peer.send(Ping(num_pong_bytes=100))
        await peer.send(Ping(num_pong_bytes=65_531))
        await peer.send(Ping(num_pong_bytes=65_532))
        await peer.send(fee(1))
        assert await anext(other) == fee(1)
        await other.send(fee(2))
        assert await anext(peer) == fee(2)
        assert peer.messages_received["Pong"] == 2


async def test_idle_peers_keep_the_connection_with_pings():
    async with pair(ours=replace(OURS, ping_interval_seconds=0.1)) as (peer, other):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(peer), 0.5)
        assert peer.messages_received["Pong"] >= 3
        await other.send(fee(1))
        assert await anext(peer) == fee(1)


async def test_an_unread_peer_is_not_read_from_without_bound():
    async with pair(ours=replace(OURS, close_timeout_seconds=0.1)) as (peer, other):
        flood = asyncio.create_task(flood_with(peer))
        held = -1
        while held != other.messages_received["ErrorMessage"]:
            held = other.messages_received["ErrorMessage"]
            await asyncio.sleep(0.05)
        assert held <= 64 + 1
        assert not flood.done()
        flood.cancel()


async def flood_with(peer: Peer) -> None:
    for _ in range(1_000):
        await peer.send(ErrorMessage(data=bytes(60_000)))


async def test_a_peer_that_does_not_read_is_given_up():
    async with pair(ours=replace(OURS, send_timeout_seconds=0.1)) as (peer, _):
        with pytest.raises(PeerDisconnected, match="does not read"):
            await flood_with(peer)
        with pytest.raises(PeerDisconnected):
            await peer.send(fee(1))


async def test_nobody_listening_is_unreachable():
    async with await serve(host=HOST, port=0, settings=THEIRS, on_peer=idle) as server:
        port = server.port
    with pytest.raises(PeerUnreachable):
        await connect(host=HOST, port=port, their_node_id=THEIRS.our_key.public, settings=OURS)


async def idle(peer: Peer) -> None:
    async for _ in peer:
        pass


async def connect_to(server: PeerServer, settings: PeerSettings = OURS, key=THEIRS.our_key) -> Peer:
    return await connect(host=HOST, port=server.port, their_node_id=key.public, settings=settings)


async def test_another_node_than_the_one_called_is_unreachable():
    async with await serve(host=HOST, port=0, settings=THEIRS, on_peer=idle) as server:
        with pytest.raises(PeerUnreachable, match="is this the node there"):
            await connect_to(server, key=PrivateKey(b"\x33" * 32))
        async with await connect_to(server) as peer:
            assert peer.node_id == THEIRS.our_key.public


@pytest.mark.parametrize(
    ("init", "reason"),
    [
        (Init(features=Features.of(12, 45, 338)), "requires bit 338"),
        (Init(features=Features.of(45)), "lacks option_static_remotekey"),
        (Init(features=Features.of(12, 45, 23, 17)), "basic_mpp without payment_secret"),
        (Init(features=FEATURES, networks=(MAINNET,)), "no chain in common"),
    ],
)
async def test_peers_that_do_not_fit_part_at_init(init, reason):
    ours = replace(OURS, init=Init(features=FEATURES, networks=(REGTEST,)))
    theirs = replace(THEIRS, init=init)
    async with await serve(host=HOST, port=0, settings=theirs, on_peer=idle) as server:
        with pytest.raises(PeerIncompatible, match=reason):
            await connect_to(server, ours)


async def test_a_peer_silent_in_the_handshake_is_given_up():
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, HOST, 0)
    async with server:
        with pytest.raises(PeerUnreachable, match="in time"):
            await connect(
                host=HOST,
                port=server.sockets[0].getsockname()[1],
                their_node_id=THEIRS.our_key.public,
                settings=replace(OURS, handshake_timeout_seconds=0.05),
            )


async def test_a_silent_caller_is_hung_up_on():
    settings = replace(THEIRS, handshake_timeout_seconds=0.05)
    async with await serve(host=HOST, port=0, settings=settings, on_peer=idle) as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        assert await reader.read() == b""
        writer.close()


async def test_garbage_is_hung_up_on_and_others_are_served():
    async with await serve(host=HOST, port=0, settings=THEIRS, on_peer=idle) as server:
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" + bytes(100))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        async with await connect_to(server) as peer:
            await peer.send(fee(1))


async def test_more_inbound_connections_than_allowed_are_refused():
    settings = replace(THEIRS, max_inbound=1)
    async with (
        await serve(host=HOST, port=0, settings=settings, on_peer=idle) as server,
        await connect_to(server),
    ):
        with pytest.raises(PeerUnreachable):
            await connect_to(server)


class Impostor:
    """A caller that speaks noise by hand."""

    def __init__(self, reader, writer, transport: Transport) -> None:
        self.reader, self.writer, self.transport = reader, writer, transport

    async def received(self) -> list[Message | UnknownMessage]:
        messages = self.transport.feed(await self.reader.read(1 << 16))
        return [BOLT_CODEC.decode(message) for message in messages]


@contextlib.asynccontextmanager
async def impostor_server(script):
    """A responder that runs `script(impostor)` after the handshake."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        awaiting = AwaitingActOne(THEIRS.our_key, PrivateKey(b"\x22" * 32))
        act_two, awaiting = awaiting.receive(await reader.readexactly(ACT_ONE_SIZE))
        writer.write(act_two)
        _, transport = awaiting.receive(await reader.readexactly(ACT_THREE_SIZE))
        await script(Impostor(reader, writer, transport))
        writer.close()

    server = await asyncio.start_server(respond, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def connect_to_port(port: int, settings: PeerSettings = OURS) -> Peer:
    return await connect(
        host=HOST, port=port, their_node_id=THEIRS.our_key.public, settings=settings
    )


async def test_a_peer_that_does_not_begin_with_init_is_refused_with_a_warning():
    told = asyncio.get_running_loop().create_future()

    async def script(impostor: Impostor) -> None:
        impostor.writer.write(impostor.transport.encrypt(fee(1).encode()))
        received = await impostor.received()
        while len(received) < 2:
            received += await impostor.received()
        told.set_result(received)

    async with impostor_server(script) as port:
        with pytest.raises(WireError, match="not init"):
            await connect_to_port(port)
        assert [getattr(message, "text", None) for message in await told] == [
            None,
            "the first message is not init",
        ]


async def test_injected_bytes_end_the_connection():
    async def script(impostor: Impostor) -> None:
        impostor.writer.write(impostor.transport.encrypt(THEIRS.init.encode()))
        impostor.writer.write(impostor.transport.encrypt(fee(1).encode()))
        while fee(2) not in await impostor.received():
            pass
        impostor.writer.write(bytes(18))
        await impostor.reader.read()

    async with impostor_server(script) as port, await connect_to_port(port) as peer:
        assert await anext(peer) == fee(1)
        await peer.send(fee(2))
        with pytest.raises(TransportError):
            await anext(peer)


async def test_a_peer_that_answers_no_ping_is_given_up():
    async def script(impostor: Impostor) -> None:
        impostor.writer.write(impostor.transport.encrypt(THEIRS.init.encode()))
        await impostor.reader.read()

    settings = replace(OURS, ping_interval_seconds=0.05)
    async with impostor_server(script) as port, await connect_to_port(port, settings) as peer:
        with pytest.raises(PeerDisconnected, match="ping"):
            await anext(peer)
        assert peer.messages_sent == {"Init": 1, "Ping": 1}


async def test_a_failing_on_peer_closes_its_connection_only():
    async def fail(peer: Peer) -> None:
        if (await anext(peer)).feerate_per_kw:
            raise RuntimeError("a bug of the application")
        await peer.send(fee(0))

    async with (
        await serve(host=HOST, port=0, settings=THEIRS, on_peer=fail) as server,
        await connect_to(server) as bad,
        await connect_to(server) as good,
    ):
        await bad.send(fee(1))
        assert await anext(bad, None) is None
        await good.send(fee(0))
        assert await anext(good) == fee(0)


async def test_keys_stay_out_of_reprs():
    async with pair() as (peer, _):
        assert repr(peer) == f"Peer({THEIRS.our_key.public.data.hex()})"
    assert "x11" not in repr(OURS)

"""A channel's driver: stored before said, all of a turn or nothing, silent after a failure."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from channel_pair import Node, open_pair
from lightspeed.bitcoin import Tx
from lightspeed.channel import (
    Broadcast,
    Channel,
    ChannelRefusal,
    Effect,
    Link,
    Phase,
    Put,
    Send,
    Side,
)
from lightspeed.errors import StoreError
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import StoreUnavailable
from lightspeed.node.records import ChannelRecord
from lightspeed.units import Msat
from lightspeed.wire import Message, Ping


class World:
    """Store, peer, chain and listener in one: what happened, in order."""

    def __init__(self) -> None:
        self.happened: list[Any] = []
        self.full = False

    def apply(self, puts: Sequence[Put]) -> None:
        if self.full:
            raise StoreUnavailable("the disk is full")
        self.happened.append(("stored", [put.table for put in puts]))

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.happened.append(("sent", type(message).__name__))

    async def broadcast(self, tx: Tx) -> None:
        self.happened.append(("broadcast", tx.txid))

    def records(self, driver: ChannelDriver, event: object) -> Sequence[Put]:
        table = "of a broadcast" if isinstance(event, Broadcast) else "of the listener"
        return (Put(table, b"", b""),)

    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        self.happened.append(("told", type(event).__name__))

    async def before_failure(self, driver: ChannelDriver) -> None:
        self.happened.append(("fenced", driver.phase))

    def on_store_failure(self, error: StoreError) -> None:
        self.happened.append(("store failed", str(error)))


def drive(world: World, node: Node) -> ChannelDriver:
    assert node.channel is not None
    stand_in: Any = world
    return ChannelDriver(
        node.channel,
        record=ChannelRecord(node_id=bytes(33), index=0),
        store=stand_in,
        chain=stand_in,
        listener=stand_in,
        peer=stand_in,
    )


def add(channel: Channel, amount_msat: int = 50_000_000) -> tuple[Effect, ...]:
    _, effects = channel.add_htlc(
        amount_msat=Msat(amount_msat), payment_hash=bytes(32), cltv_expiry=500, onion=bytes(1_366)
    )
    return effects


async def test_turn_is_stored_in_one_transaction_before_anything_is_said() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    await driver.act(lambda channel: (*add(channel), *channel.commit()))
    stored, *said = world.happened
    assert stored == ("stored", ["channel", "channel"])
    assert said == [("sent", "UpdateAddHtlc"), ("sent", "CommitmentSigned")]


async def test_failing_fences_first_and_stores_before_it_publishes() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    await driver.fail("enough", at_fault=Side.HOLDER)
    assert [kind for kind, _ in world.happened] == [
        "fenced",
        "stored",
        "sent",
        "broadcast",
        "told",
    ]
    assert world.happened[0] == ("fenced", Phase.NORMAL)
    assert world.happened[1] == ("stored", ["channel", "of the listener", "of a broadcast"])
    await driver.fail("again", at_fault=Side.HOLDER)
    assert len(world.happened) == 5


async def test_nothing_is_said_when_the_store_fails() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    world.full = True
    with pytest.raises(StoreUnavailable):
        await driver.act(lambda channel: (*add(channel), *channel.commit()))
    world.full = False
    with pytest.raises(ChannelRefusal, match="restart"):
        await driver.act(lambda channel: add(channel))
    await driver.disconnected(driver.peer)
    assert world.happened == [("store failed", "the disk is full")]


async def test_turn_that_is_refused_half_way_changes_nothing() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    before = driver.channel.state

    def turn(channel: Channel) -> Iterable[Effect]:
        return (*add(channel), *add(channel, amount_msat=10**12))

    with pytest.raises(ChannelRefusal):
        await driver.act(turn)
    assert driver.channel.state is before
    assert world.happened == []


async def test_turns_do_not_mix_what_they_say() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    await asyncio.gather(
        *(driver.act(lambda channel: (*add(channel), *add(channel))) for _ in range(3))
    )
    kinds = [kind for kind, _ in world.happened]
    assert kinds == ["stored", "sent", "sent"] * 3


async def test_turn_is_finished_when_nobody_waits_for_it_any_more() -> None:
    world = World()
    driver = drive(world, open_pair().funder)
    asking = asyncio.create_task(driver.act(lambda channel: (*add(channel), *channel.commit())))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(60):
        while len(world.happened) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert [kind for kind, _ in world.happened] == ["stored", "sent", "sent"]


async def test_end_of_a_connection_does_not_take_its_successor_away() -> None:
    """The successor is waiting for its turn when the old one's end is told."""
    world = World()
    driver = drive(world, open_pair().funder)
    await driver.disconnected(driver.peer)
    old, new = Connection(), Connection()
    driver_tasks = [
        asyncio.create_task(turn)
        for turn in (
            driver.connected(old),  # type: ignore[arg-type]
            driver.act(lambda channel: [Send(Ping(num_pong_bytes=1))]),
            driver.connected(new),  # type: ignore[arg-type]
        )
    ]
    await old.sending.wait()
    driver_tasks.append(asyncio.create_task(driver.disconnected(old)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    old.go_on.set()
    await asyncio.gather(*driver_tasks)
    assert driver.peer is new  # type: ignore[comparison-overlap]
    assert driver.channel.state.session.link is not Link.DOWN


class Connection:
    """It is slow to take a ping."""

    def __init__(self) -> None:
        self.sending, self.go_on = asyncio.Event(), asyncio.Event()

    async def send(self, message: Message) -> None:
        if isinstance(message, Ping):
            self.sending.set()
            await self.go_on.wait()

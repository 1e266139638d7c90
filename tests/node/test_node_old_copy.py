"""A node whose store was put back from a backup: it waits and asks, and never publishes."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lightspeed.channel import Phase, Put
from lightspeed.ledger import BookStatus, SQLiteLedger
from lightspeed.lsf import Party
from lightspeed.node import reports
from lightspeed.node.closing import CloseKind
from lightspeed.node.errors import NodeRefusal
from lightspeed.node.old_copy import doubt_old_copy
from lightspeed.node.records import CHANNEL_RECORD_TABLE, ChannelRecord
from lightspeed.node.store import NodeStore
from lightspeed.units import Msat
from node_books import book_pair
from node_world import NodeWorld, RunningNode, eventually, node_world


def problems(running: RunningNode) -> str:
    return "\n".join(reports.info(running.node).problems)


def copy_store(running: RunningNode, to: Path) -> None:
    """While the node is stopped."""
    shutil.copy(running.config.store_path, to)


def put_back(running: RunningNode, backup: Path) -> None:
    for path in running.config.data_dir.glob("node.sqlite*"):
        path.unlink()
    shutil.copy(backup, running.config.store_path)


async def pay(payer: RunningNode, payee: RunningNode, sat: int) -> None:
    invoice = payee.node.invoices.create(amount_msat=Msat(sat * 1_000))
    assert (await payer.node.payments.pay(invoice.bolt11)).state == "paid"
    await eventually(lambda: payer.settled() and payee.settled())


@asynccontextmanager
async def with_backup(folder: Path) -> AsyncIterator[tuple[NodeWorld, RunningNode, RunningNode]]:
    """Alice, and Bob, who is stopped, with the store that he had before two payments."""
    async with node_world(folder) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob, push_sat=300_000)
        await pay(alice, bob, 5_000)
        await bob.stop()
        copy_store(bob, folder / "backup")
        await bob.start()
        await alice.connect(bob)
        await eventually(lambda: alice.usable() and bob.usable())
        await pay(alice, bob, 100_000)
        await pay(bob, alice, 1_000)
        world.nodes.remove(bob)
        await bob.stop()
        put_back(bob, folder / "backup")
        yield world, alice, bob


async def test_old_copy_publishes_nothing_and_its_peer_closes(tmp_path: Path) -> None:
    async with with_backup(tmp_path) as (world, alice, bob):
        outpoint = alice.channel.state.config.funding_outpoint
        await bob.start()
        world.nodes.append(bob)
        assert bob.driver.record.doubtful
        await bob.node.peers.disconnect(alice.node_id)
        with pytest.raises(NodeRefusal, match="may be old"):
            await bob.node.close_channel(bob.channel.channel_id, force=True)
        await bob.driver.fail("an HTLC is too late", at_fault=bob.channel.state.config.funder)
        world.mine(2)
        await bob.node.watch.look()
        assert world.regtest.outspend(outpoint) is None
        assert "waits for its peer" in problems(bob)

        await alice.connect(bob)
        await eventually(lambda: bob.driver.phase is Phase.BEHIND)
        await eventually(lambda: "its peer has to close it" in problems(bob))
        await eventually(lambda: alice.driver.phase is Phase.FAILED)
        for _ in range(20):
            if bob.driver.record.over:
                break
            world.mine()
            await eventually(
                lambda: all(n.node.watch._seen == world.regtest.tip for n in (alice, bob))
            )
        progress = bob.node.watch.progress[bob.channel.channel_id]
        assert progress.kind is CloseKind.UNKNOWN
        assert 400_000 < bob.node.wallet.balance().total_sat <= 404_000
        assert not any(tx.purpose == "penalty" for tx in progress.transactions)


async def test_doubt_outlives_restarts_until_the_peer_has_spoken(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob, push_sat=300_000)
        await bob.stop()
        bob.config.store_path.with_suffix(".count").unlink()  # not a part of the backup
        await bob.start()
        await bob.node.peers.disconnect(alice.node_id)
        assert bob.driver.record.doubtful
        await bob.stop()
        await bob.start()
        await alice.connect(bob)
        await eventually(lambda: alice.usable() and bob.usable())
        await eventually(lambda: not bob.driver.record.doubtful)
        await pay(alice, bob, 1_000)
        await bob.stop()
        await bob.start()
        assert not bob.driver.record.doubtful
        await eventually(lambda: not problems(bob))


async def test_old_copy_leases_no_book_before_its_peer_has_spoken(tmp_path: Path) -> None:
    async with book_pair(tmp_path) as pair:
        secret = await pair.open_book()
        await pair.payer.stop()
        pair.world.nodes.remove(pair.payer)
        await pair.payee.stop()
        pair.payee.config.store_path.with_suffix(".count").unlink()
        before = await pair_status(pair.payee, secret.book.book_id)
        await pair.payee.start()
        for _ in range(3):
            await pair.payee.node.watch.look()
        assert await pair.status(secret) == before
        await pair.payer.start()
        await pair.payer.connect(pair.payee)
        await eventually(lambda: pair.payee.usable())
        await pair.copied()

        async def extended() -> bool:
            return (await pair.status(secret)).open_until > before.open_until

        await eventually(extended)
        await pair.ledger.redeem(secret.credential(1, 1))
        await pair.payer.stop()


async def pair_status(running: RunningNode, book_id: bytes) -> BookStatus:
    """From the ledger's file, while the node is stopped."""
    assert running.config.lightspeed is not None
    assert running.config.lightspeed.ledger is not None
    async with SQLiteLedger(running.config.lightspeed.ledger) as ledger:
        return await ledger.status(book_id)


# --- the count --------------------------------------------------------------------------------


def write(store: NodeStore, times: int) -> None:
    for number in range(times):
        store.put("t", b"k", bytes([number]))


def test_store_that_lags_behind_its_count_is_an_old_copy(tmp_path: Path) -> None:
    path, backup = tmp_path / "node.sqlite", tmp_path / "backup"
    with NodeStore(path) as store:
        write(store, 3)
    shutil.copy(path, backup)
    with NodeStore(path) as store:
        assert not store.is_old_copy
        write(store, 1)
    shutil.copy(backup, path)
    with NodeStore(path) as store:
        assert store.is_old_copy
        assert store.get("t", b"k") == bytes([2])


def test_store_that_is_ahead_of_its_count_is_as_a_crash_left_it(tmp_path: Path) -> None:
    path = tmp_path / "node.sqlite"
    with NodeStore(path) as store:
        write(store, 3)
        count = path.with_suffix(".count").read_bytes()
        write(store, 1)
    path.with_suffix(".count").write_bytes(count)
    with NodeStore(path) as store:
        assert not store.is_old_copy


@pytest.mark.parametrize("content", [None, b"", b"\x02" + bytes(8)])
def test_store_without_its_count_is_an_old_copy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "node.sqlite"
    with NodeStore(path) as store:
        assert not store.is_old_copy
        write(store, 1)
    count = path.with_suffix(".count")
    count.unlink()
    if content is not None:
        count.write_bytes(content)
    with NodeStore(path) as store:
        assert store.is_old_copy


def test_every_live_channel_of_an_old_copy_is_doubted_once(tmp_path: Path) -> None:
    path = tmp_path / "node.sqlite"
    records = {
        bytes([number]) * 32: ChannelRecord(
            node_id=bytes(33), index=number, party=Party.PAYER, over=number == 2
        )
        for number in range(3)
    }
    with NodeStore(path) as store:
        store.apply([record.put(key) for key, record in records.items()])
        assert not doubt_old_copy(store)
    path.with_suffix(".count").unlink()
    with NodeStore(path) as store:
        assert doubt_old_copy(store)
    with NodeStore(path) as store:
        assert not store.is_old_copy
        doubtful = [
            ChannelRecord.load(value).doubtful for _, value in store.scan(CHANNEL_RECORD_TABLE)
        ]
        assert doubtful == [True, True, False]
        store.apply([Put("t", b"k", b"it goes on")])

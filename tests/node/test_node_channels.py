"""Opening and ending channels between two nodes over TCP, on a chain that validates."""

from pathlib import Path

import pytest

from lightspeed.bitcoin import Network
from lightspeed.channel import Phase
from lightspeed.lsf import Party
from lightspeed.node.closing import CloseKind, CloseState
from lightspeed.node.config import NodeConfig
from lightspeed.node.errors import (
    ConfigError,
    InsufficientFunds,
    NodeRefusal,
    OpeningRefused,
    PeerLacksLightspeed,
    PeerNotConnected,
)
from lightspeed.units import Msat, Sat
from node_world import NodeWorld, RunningNode, eventually, node_world


def onchain_sat(running: RunningNode) -> int:
    return running.node.wallet.balance().total_sat


def state_of(running: RunningNode) -> CloseState:
    progress = running.node.watch.progress.get(running.channel.channel_id)
    return CloseState.OPEN if progress is None else progress.state


async def mine_until_done(world: NodeWorld, *nodes: RunningNode, blocks: int = 40) -> None:
    for _ in range(blocks):
        if all(running.driver.record.over for running in nodes):
            return
        world.mine()
        height = world.regtest.height
        await eventually(
            lambda height=height: all(
                running.node.watch._seen is not None and running.node.watch._seen.height == height
                for running in nodes
            )
        )
    raise AssertionError(f"not done after {blocks} blocks")


async def test_cooperative_close_pays_both_sides(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        channel_id = await world.open_channel(alice, bob, push_sat=300_000)
        before = onchain_sat(alice)

        await bob.node.close_channel(channel_id)

        await eventually(lambda: alice.driver.phase is bob.driver.phase is Phase.CLOSED)
        await mine_until_done(world, alice, bob)
        progress = alice.node.watch.progress[channel_id]
        assert progress.kind is CloseKind.COOPERATIVE
        (closing,) = progress.transactions
        assert onchain_sat(bob) == 300_000
        assert onchain_sat(alice) == before + 700_000 - (closing.fee_sat or 0)


async def test_force_close_returns_both_balances(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        channel_id = await world.open_channel(alice, bob, push_sat=300_000)
        invoice = bob.node.invoices.create(amount_msat=Msat(100_000_000))
        assert (await alice.node.payments.pay(invoice.bolt11)).state == "paid"
        await eventually(lambda: alice.settled() and bob.settled())

        await alice.node.close_channel(channel_id, force=True)

        await eventually(lambda: bob.driver.phase is Phase.FAILED)
        await mine_until_done(world, alice, bob)
        assert alice.node.watch.progress[channel_id].kind is CloseKind.HOLDER
        assert bob.node.watch.progress[channel_id].kind is CloseKind.COUNTERPARTY
        assert 395_000 < onchain_sat(bob) <= 400_000
        with pytest.raises(NodeRefusal):
            await alice.node.close_channel(channel_id, force=True)


async def test_unanswered_payment_comes_back_through_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob, push_sat=300_000)
        before = onchain_sat(alice)

        async def silent(*_: object) -> None:
            pass

        monkeypatch.setattr(bob.node.invoices, "receive", silent)
        invoice = bob.node.invoices.create(amount_msat=Msat(100_000_000))
        payment = await alice.node.payments.pay(invoice.bolt11, timeout_seconds=0.1)
        assert payment.state == "pending"

        await mine_until_done(world, alice, bob, blocks=80)

        assert alice.driver.phase is Phase.FAILED
        failed = alice.node.payments.get(bytes.fromhex(invoice.payment_hash))
        assert (failed.state, failed.failure) == ("failed", "timed out on chain")
        assert 690_000 < onchain_sat(alice) - before <= 700_000
        assert 295_000 < onchain_sat(bob) <= 300_000


async def test_channel_closed_while_a_node_was_away(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        channel_id = await world.open_channel(alice, bob, push_sat=300_000)
        world.nodes.remove(bob)
        await bob.stop()
        await alice.node.close_channel(channel_id, force=True)
        world.mine(3)

        await bob.start()
        world.nodes.append(bob)

        await eventually(lambda: state_of(bob) is CloseState.CLOSING)
        assert bob.driver.phase is Phase.FAILED
        await mine_until_done(world, alice, bob)
        assert 295_000 < onchain_sat(bob) <= 300_000


async def test_reorganised_funding_is_waited_for_again(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice = await world.start("alice", minimum_depth=3)
        bob = await world.start("bob", minimum_depth=3)
        await alice.fund_wallet()
        await alice.connect(bob)
        await alice.node.open_channel(bob.node_id, funding_sat=Sat(500_000), party=None)
        world.mine(2)
        world.regtest.reorganise(2)  # three blocks without the funding transaction
        for running in (alice, bob):
            running.node.watch.wake()
        await eventually(lambda: alice.node.watch.height == world.regtest.height)
        assert alice.driver.phase is Phase.AWAITING_READY

        world.mine(3)

        await eventually(lambda: alice.usable() and bob.usable())


# --- openings ----------------------------------------------------------------------------------


async def test_ordinary_node_sees_an_ordinary_node(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        payer = await world.start("payer", party=Party.PAYER)
        plain = await world.start("plain")
        await payer.fund_wallet()
        await payer.connect(plain)
        with pytest.raises(PeerLacksLightspeed, match="does not offer Lightspeed"):
            await payer.node.open_channel(
                plain.node_id, funding_sat=Sat(500_000), party=Party.PAYER
            )
        assert not payer.node.drivers
        await world.open_channel(payer, plain)
        invoice = plain.node.invoices.create(amount_msat=Msat(1_000))
        assert (await payer.node.payments.pay(invoice.bolt11)).state == "paid"


async def test_refused_opening_changes_nothing(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        payer = await world.start("payer", party=Party.PAYER)
        other = await world.start("other", party=Party.PAYER)
        with pytest.raises(PeerNotConnected):
            await payer.node.open_channel(other.node_id, funding_sat=Sat(500_000), party=None)
        await payer.connect(other)
        with pytest.raises(InsufficientFunds):
            await payer.node.open_channel(other.node_id, funding_sat=Sat(500_000), party=None)
        await payer.fund_wallet()
        with pytest.raises(OpeningRefused, match="not a payee"):
            await payer.node.open_channel(
                other.node_id, funding_sat=Sat(500_000), party=Party.PAYER
            )
        with pytest.raises(NodeRefusal, match='add "payee" to parties and set ledger'):
            await payer.node.open_channel(
                other.node_id, funding_sat=Sat(500_000), party=Party.PAYEE
            )
        with pytest.raises(OpeningRefused, match="peer refused"):
            await payer.node.open_channel(other.node_id, funding_sat=Sat(10_000), party=None)
        assert not payer.node.wallet.reserved()
        assert not payer.node.drivers
        assert not other.node.drivers


async def test_coins_of_a_lost_opening_are_free_again(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await alice.fund_wallet()
        await alice.connect(bob)

        async def hang_up(*_: object) -> None:
            await bob.node.peers.disconnect(alice.node_id)

        bob.node._openings._receive_funding_created = hang_up  # type: ignore[method-assign]
        with pytest.raises(OpeningRefused):
            await alice.node.open_channel(bob.node_id, funding_sat=Sat(500_000), party=None)
        assert not alice.node.wallet.reserved()
        assert not alice.node.drivers


def test_mainnet_needs_an_explicit_word(tmp_path: Path) -> None:
    values = {"data_dir": tmp_path, "esplora_url": "https://example.com/api"}
    with pytest.raises(ConfigError, match="young software"):
        NodeConfig(**values, network=Network.MAINNET)
    config = NodeConfig(**values, network=Network.MAINNET, mainnet_allowed=True)
    config.write()
    assert NodeConfig.read(tmp_path) == config
    (tmp_path / "node.toml").write_text('esplora_url = "https://example.com"\nnetwork = "mainnet"')
    with pytest.raises(ConfigError, match="young software"):
        NodeConfig.read(tmp_path)


async def test_node_refuses_the_chain_of_another_network(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        with pytest.raises(ConfigError, match="not on signet"):
            await world.start("alice", network=Network.SIGNET)

"""Attack: a peer opens channels and never funds them, to fill the node's store and its day."""

from pathlib import Path

import pytest

from channel_pair import opening_terms
from lightspeed.bitcoin import OutPoint, sha256
from lightspeed.chain import EsploraChain
from lightspeed.channel import (
    CHANNEL_TABLE,
    Extensions,
    Phase,
    accepted,
    funded,
    propose,
    receive_funding_signed,
)
from lightspeed.colour import ColourTerms
from lightspeed.lsf import Party
from lightspeed.node import unfunded
from lightspeed.node.records import CHANNEL_RECORD_TABLE
from lightspeed.node.stash import TOKEN_BUNDLE_TABLE
from lightspeed.node.unfunded import MAX_UNFUNDED_PER_PEER
from lightspeed.rgb import contract_id_text
from lightspeed.units import Msat, Sat
from lightspeed.wire import AcceptChannel, ErrorMessage, FundingSigned
from node_tokens import issued
from node_world import NodeWorld, RunningNode, eventually, node_world
from raw_peer import RawPeer


async def open_unfunded(raw: RawPeer, number: int) -> None:
    """As far as funding_signed; the funding transaction does not exist."""
    extensions = Extensions()
    opening, message = propose(
        temporary_channel_id=sha256(b"temporary" + bytes([number])),
        chain_hash=raw.target.config.chain_hash,
        funding_sat=Sat(1_000_000),
        push_msat=Msat(100_000_000),
        feerate_per_kw=1_000,
        terms=opening_terms("raw", minimum_depth=1),
        signer=raw.signer,
        extensions=extensions,
    )
    await raw.peer.send(message)
    acceptance = accepted(opening, await raw.expect(AcceptChannel), extensions=extensions)
    opening, created = funded(
        acceptance.opening,
        OutPoint(sha256(bytes([number])), 0),
        signer=raw.signer,
        extensions=extensions,
    )
    await raw.peer.send(created)
    signed = await raw.expect(FundingSigned)
    receive_funding_signed(opening, signed, signer=raw.signer, extensions=extensions)


def stored(running: RunningNode) -> int:
    store = running.node._store
    return store.count(CHANNEL_TABLE) + store.count(CHANNEL_RECORD_TABLE)


async def seen(world: NodeWorld, running: RunningNode) -> None:
    height = world.regtest.height

    def looked() -> bool:
        tip = running.node.watch._seen
        return tip is not None and tip.height == height

    await eventually(looked)


async def test_peer_that_funds_nothing_may_open_a_few_channels_and_no_more(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        victim = await world.start("victim")
        raw = await RawPeer.to(victim)
        for number in range(MAX_UNFUNDED_PER_PEER):
            await open_unfunded(raw, number)

        with pytest.raises(AssertionError, match="4 channels that you opened wait"):
            await open_unfunded(raw, 9)

        assert len(victim.node.drivers) == MAX_UNFUNDED_PER_PEER
        other = await RawPeer.to(victim, name="other")
        await open_unfunded(other, 10)  # the limit is each peer's own
        for each in (raw, other):
            await each.peer.close()


async def test_channel_that_is_never_funded_is_forgotten_after_2016_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unfunded.UNFUNDED_BLOCKS == 2_016
    monkeypatch.setattr(unfunded, "UNFUNDED_BLOCKS", 5)
    async with node_world(tmp_path) as world:
        victim = await world.start("victim")
        raw = await RawPeer.to(victim)
        for number in range(MAX_UNFUNDED_PER_PEER):
            await open_unfunded(raw, number)
        failed = next(iter(victim.node.drivers.values()))
        await raw.peer.send(ErrorMessage(channel_id=failed.channel.channel_id, data=b"no"))
        await raw.expect(ErrorMessage)
        assert failed.phase is Phase.FAILED
        world.mine(4)
        await seen(world, victim)
        assert len(victim.node.drivers) == MAX_UNFUNDED_PER_PEER

        world.mine()

        await eventually(lambda: not victim.node.drivers)
        await eventually(lambda: stored(victim) == 0)
        await open_unfunded(raw, 9)
        await raw.peer.close()
        await victim.stop()
        await victim.start()
        assert len(victim.node.drivers) == 1


async def test_channel_that_we_fund_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfunded, "UNFUNDED_BLOCKS", 5)
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await alice.fund_wallet()
        await alice.connect(bob)
        with monkeypatch.context() as patch:
            patch.setattr(EsploraChain, "broadcast", _lost)
            driver = await alice.node.open_channel(
                bob.node_id, funding_sat=Sat(500_000), party=None
            )
            world.regtest.mine(6)
            for running in (alice, bob):
                running.node.watch.wake()
            await eventually(lambda: not bob.node.drivers)
            await seen(world, alice)
        assert alice.driver is driver
        assert stored(alice) == 2


async def test_funded_channel_is_not_forgotten_because_of_a_reorganisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfunded, "UNFUNDED_BLOCKS", 5)
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob)
        world.mine(4)
        world.regtest.reorganise(6)
        for running in (alice, bob):
            running.node.watch.wake()
        await seen(world, bob)
        assert bob.channel.state.phase is Phase.NORMAL


async def _lost(*_: object) -> None:
    """A transaction on its way to nowhere."""


async def test_tokens_that_never_come_leave_nothing_in_the_stash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfunded, "UNFUNDED_BLOCKS", 5)
    async with node_world(tmp_path) as world:
        opener = await world.start("opener", party=Party.PAYER)
        contract_id = await issued(opener)
        accepter = await world.start(
            "accepter",
            party=Party.PAYEE,
            lightspeed_changes={"tokens": (contract_id_text(contract_id),)},
        )
        monkeypatch.setattr(EsploraChain, "broadcast", _lost)
        await opener.connect(accepter)
        await opener.node.open_channel(
            accepter.node_id,
            funding_sat=Sat(1_000_000),
            push_sat=Sat(100_000),
            party=Party.PAYER,
            tokens=ColourTerms(contract_id=contract_id, tokens=100_000),
        )
        funding = accepter.channel.state.config.funding_outpoint
        assert accepter.node.stash.tokens_on(funding)

        world.mine(5)

        await eventually(lambda: not accepter.node.drivers)
        stash = accepter.node.stash
        assert stash.tokens_on(funding) == ()
        assert not stash.history(contract_id).bundles
        assert accepter.node._store.count(TOKEN_BUNDLE_TABLE) == 0
        assert opener.node.stash.tokens_on(funding)

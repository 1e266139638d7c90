"""A tower beside whole nodes: fed by the payee's, over HTTP, and from the command line."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from typer.testing import CliRunner

from colour_pair import open_coloured_pair
from lightspeed.chain import EsploraChain
from lightspeed.chain.esplora_server import serving
from lightspeed.channel import Phase
from lightspeed.cli.app import app
from lightspeed.lsf import Party
from lightspeed.node.config import NodeConfig
from lightspeed.node.keys import create_secret_file, read_secret_file
from lightspeed.node.records import ChannelRecord
from lightspeed.node.store import NodeStore
from lightspeed.node.tower import Tower, TowerStore, serving_tower
from lightspeed.node.tower.feed import TowerFeed
from lightspeed.node.tower.hook import feeding_tower
from lightspeed.payment import Scheme
from node_books import BookPair
from node_world import NodeWorld, RunningNode, eventually, node_world


@asynccontextmanager
async def serving_a_tower(world: NodeWorld, folder: Path) -> AsyncIterator[tuple[str, str, Tower]]:
    """URL, token, tower."""
    async with AsyncExitStack() as parts:
        store = parts.enter_context(TowerStore(folder / "tower.sqlite"))
        chain = await parts.enter_async_context(EsploraChain(world.url))
        tower = Tower(store, chain, poll_seconds=0.05, safe_depth=2)
        url = await parts.enter_async_context(serving_tower(tower, port=0))
        yield url, store.add_client("payee"), tower


async def restart_with_tower(running: RunningNode, url: str) -> Any:
    """Starts the node again, with a feed as `run_node` hangs it on; the feed."""
    await running.stop()
    running.config = replace(running.config, tower_url=url)
    await running.start()
    feeding = feeding_tower(running.node, running.node._store)
    return await running._parts.enter_async_context(feeding)


async def test_payee_that_was_off_finds_what_its_tower_took(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world, serving_a_tower(world, tmp_path) as served:
        url, token, tower = served
        payer = await world.start("payer", party=Party.PAYER)
        payee = await world.start("payee", party=Party.PAYEE)
        create_secret_file(payee.config.tower_token_path, token.encode())
        await restart_with_tower(payee, url)
        await world.open_channel(payer, payee, party=Party.PAYER)
        pair = BookPair(world, payer, payee)
        secret = await pair.open_book(scheme=Scheme.LADDER)
        await pair.ledger.redeem(secret.credential(1, 30))
        await pair.copied()
        books = payee.node.payee_books
        assert books is not None
        book_id = secret.book.book_id
        await eventually(lambda: len(books.lock_secrets(payee.driver)[book_id]) == 3)
        feed = await restart_with_tower(payee, url)  # goes on where the other stopped
        await payer.connect(payee)
        await eventually(lambda: payer.usable() and payee.usable())
        assert await feed.hand_over()
        assert payee.node.alarms.texts == ()

        wallet_before = payee.node.wallet.balance().total_sat
        await payee.stop()
        world.nodes.remove(payee)
        await payer.node.close_channel(payer.channel.channel_id, force=True)
        funding = payer.channel.state.config.funding_outpoint
        await eventually(lambda: world.regtest.outspend(funding))
        for _ in range(9):
            world.mine()
            tower.wake()
            await eventually(lambda: tower.guard._acted_at == world.regtest.tip)
        assert payer.driver.phase is Phase.FAILED

        await payee.start()
        world.nodes.append(payee)
        for _ in range(8):
            await pair.mine(1)
        assert payee.driver.record.over
        gained = payee.node.wallet.balance().total_sat - wallet_before
        assert 49_000 < gained <= 50_000  # 20,000 were pushed, three locks of 10,000 are complete
        settlement = payee.node.watch.progress[payee.channel.channel_id].transactions
        assert any(tx.purpose != "commitment" and not tx.ours for tx in settlement)


async def test_tower_that_is_away_is_an_alarm_until_it_is_back(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        payer = await world.start("payer", party=Party.PAYER)
        payee = await world.start("payee", party=Party.PAYEE)
        await world.open_channel(payer, payee, party=Party.PAYER)
        create_secret_file(payee.config.tower_token_path, b"wrong")
        await restart_with_tower(payee, "http://127.0.0.1:9")
        (alarm,) = await eventually(lambda: payee.node.alarms.texts)
        assert "the tower is of no use: no answer" in alarm
        payee.config.tower_token_path.unlink()
        async with serving_a_tower(world, tmp_path) as (url, token, tower):
            create_secret_file(payee.config.tower_token_path, token.encode())
            feed = await restart_with_tower(payee, url)
            assert await feed.hand_over()
            assert payee.node.alarms.texts == ()
            await payee.stop()
            world.nodes.remove(payee)
            assert tower.guard.tip is not None


def ask(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


async def test_tower_is_run_and_used_from_the_command_line(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world, serving(world.regtest) as esplora:
        folder, node = tmp_path / "tower", tmp_path / "node"
        ask("node", "init", "-d", node, "--esplora", esplora, "--port", 0, "--api-port", 1)
        added = ask("tower", "add-client", "me", "-t", folder, "--megabytes", 2)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lightspeed.cli", "tower", "run", "-t", str(folder)),
            *("--esplora", esplora, "--port", "0", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                said = b""
                while not said.rstrip().endswith(b"}"):
                    said += await process.stdout.readline()
                url = json.loads(said)["url"]
                used = await asyncio.to_thread(ask, "tower", "use", url, added["token"], "-d", node)
        finally:
            process.terminate()
            assert await process.wait() == 0
        assert used["quota_bytes"] == 2 << 20
        config = NodeConfig.read(node)
        assert config.tower_url == url
        assert read_secret_file(config.tower_token_path).decode() == added["token"]
        assert [client["name"] for client in ask("tower", "clients", "-t", folder)] == ["me"]
        ask("tower", "remove-client", "me", "-t", folder)
        assert ask("tower", "clients", "-t", folder) == []


async def test_channel_with_tokens_is_not_handed_over_and_its_operator_is_told(
    tmp_path: Path,
) -> None:
    """What a tower took would be sats, and the tokens burnt; other channels are not held up."""
    coloured = open_coloured_pair()
    told: dict[str, str | None] = {}
    record = ChannelRecord(node_id=b"\2" * 33, index=0)
    with NodeStore(tmp_path / "node.sqlite") as store:
        feed = TowerFeed(
            _NoTower(),  # type: ignore[arg-type]
            store=store,
            drivers=lambda: [Mock(channel=coloured.funder.channel, record=record)],
            destination=lambda channel: b"",
            preimages=lambda channel: {},
            lock_secrets=lambda driver: {},
            fenced=lambda driver: eventually(lambda: True),
            report=told.__setitem__,
        )
        assert await feed.hand_over()
    (text,) = [text for key, text in told.items() if key != "tower"]
    assert text is not None
    assert "does not guard" in text
    assert "tokens" in text


class _NoTower:
    """Nothing is handed over to it."""

    async def account(self) -> None:
        pass

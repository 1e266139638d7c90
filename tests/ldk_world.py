"""A node of ours and an LDK node on one regtest: TCP between them, blocks fed by the test."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import PublicKey, Tx, sha256
from lightspeed.chain import BroadcastRefused, Regtest, TipChanged
from lightspeed.lsf import Party
from lightspeed.node.payments import Payment
from lightspeed.units import Msat, Sat
from lightspeed.wire import (
    CommitmentSigned,
    Message,
    RevokeAndAck,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)
from lightspeed.wire.peer import Peer
from node_world import NodeWorld, RunningNode, eventually, node_world

__all__ = ["Cut", "LdkMissing", "LdkNode", "LdkWorld", "installed_ldk", "ldk_world"]

_SOURCE = Path(__file__).parent / "interop" / "ldk"
_BUILD = Path(__file__).parents[1] / "build" / "interop" / "ldk"
_FILES = ("package.json", "package-lock.json", "node.mjs", "coins.mjs")
_INSTALL_SECONDS = 180
_NODE_VERSION = 20


class LdkMissing(Exception):
    """LDK cannot be installed here."""


def installed_ldk() -> Path:
    """The folder with LDK and our script, made on first use. Raises `LdkMissing`."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise LdkMissing(f"{program} is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.removeprefix("v").split(".")[0]) < _NODE_VERSION:
        raise LdkMissing(f"Node {_NODE_VERSION} is needed, {version.stdout.strip()} is there")
    _BUILD.mkdir(parents=True, exist_ok=True)
    with (_BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = sha256(b"".join((_SOURCE / name).read_bytes() for name in _FILES)).hex()
        mark = _BUILD / "installed"
        if not mark.exists() or mark.read_text() != wanted:
            for name in _FILES:
                shutil.copyfile(_SOURCE / name, _BUILD / name)
            _npm_ci()
            mark.write_text(wanted)
    return _BUILD


def _npm_ci() -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"],
            cwd=_BUILD,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LdkMissing(f"npm ci took more than {_INSTALL_SECONDS} seconds") from None
    if done.returncode != 0:
        raise LdkMissing(f"npm ci failed: {done.stderr.strip()[-500:]}")


@dataclass
class LdkNode:
    """An LDK process. What it publishes goes to the regtest, whose blocks go to it."""

    regtest: Regtest
    process: asyncio.subprocess.Process
    node_id: bytes = b""
    port: int = 0
    script: bytes = b""
    """Where it wants its money."""
    events: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Transactions of its that our mempool did not take, and why."""
    _fed_height: int = 0
    _ids: Any = field(default_factory=count)
    _answers: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    _reading: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        self._reading = asyncio.create_task(self._read())
        listening = await self.told("listening")
        self.node_id = bytes.fromhex(listening["node_id"])
        self.port, self.script = listening["port"], bytes.fromhex(listening["script"])
        self.feed()

    async def stop(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(60):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    # --- the process ----------------------------------------------------------------------
    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "event" not in message:
                self._answered(message)
            elif message["event"] == "broadcast":
                self._publish(message["transactions"])
            else:
                self.events.append(message)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionError("the LDK process has ended"))

    def _answered(self, message: dict[str, Any]) -> None:
        future = self._answers.pop(message["id"])
        if future.done():
            return
        if "error" in message:
            future.set_exception(RuntimeError(message["error"]))
        else:
            future.set_result(message["result"])

    def _publish(self, transactions: list[str]) -> None:
        parsed = [Tx.parse(bytes.fromhex(text)) for text in transactions]
        try:
            if len(parsed) == 1:
                self.regtest.broadcast(parsed[0])
            else:
                self.regtest.broadcast_package(parsed)
        except BroadcastRefused as refused:
            self.refused.append(str(refused))

    def _request(self, command: str, arguments: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        request_id = next(self._ids)
        self._answers[request_id] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": request_id, "command": command, **arguments})
        self.process.stdin.write(line.encode() + b"\n")
        return request_id

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Raises `RuntimeError` with LDK's reason."""
        async with asyncio.timeout(60):
            return await self._answers[self._request(command, arguments)]

    def feed(self, *_: TipChanged) -> None:
        """The blocks that it has not got; in order, before any later request."""
        for height in range(self._fed_height + 1, self.regtest.height + 1):
            block = self.regtest.index.block(height)
            transactions = [
                [index, tx.serialize().hex()] for index, tx in enumerate(block.transactions)
            ]
            header = block.header.serialize().hex()
            self._request(
                "block", {"height": height, "header": header, "transactions": transactions}
            )
            self._fed_height = height

    # --- what tests ask -------------------------------------------------------------------
    def find(self, event: str, **values: Any) -> list[dict[str, Any]]:
        return [
            found
            for found in self.events
            if found["event"] == event and values.items() <= found.items()
        ]

    async def told(self, event: str, **values: Any) -> dict[str, Any]:
        """The last such event; waits for it."""

        def found() -> list[dict[str, Any]]:
            if self.process.returncode is not None:
                raise ConnectionError("the LDK process has ended: see ldk.log")
            return self.find(event, **values)

        return (await eventually(found))[-1]

    async def channel(self) -> dict[str, Any]:
        """Its only channel."""
        (channel,) = await self.ask("channels")
        return channel

    async def pay(self, bolt11: str) -> str:
        """Begin a payment; its id."""
        payment_id = os.urandom(32).hex()
        await self.ask("pay", bolt11=bolt11, payment_id=payment_id)
        return payment_id


@dataclass
class LdkWorld:
    """Ours and LDK's node, with at most one channel between them."""

    nodes: NodeWorld
    ours: RunningNode
    ldk: LdkNode

    @property
    def regtest(self) -> Regtest:
        return self.nodes.regtest

    def mine(self, blocks: int = 1) -> None:
        self.nodes.mine(blocks)

    async def connect(self) -> None:
        await self.ours.node.connect(
            PublicKey(self.ldk.node_id), host="127.0.0.1", port=self.ldk.port
        )

    async def give_ldk_a_coin(self, sat: int) -> None:
        tx = self.regtest.fund(self.ldk.script, Sat(sat))
        vout = [output.script for output in tx.outputs].index(self.ldk.script)
        self.mine()
        await self.ldk.ask("coin", txid=tx.txid.hex(), vout=vout, value_sat=sat)

    async def open_channel(
        self, *, funding_sat: int = 1_000_000, push_sat: int = 300_000, by_ldk: bool = False
    ) -> None:
        """Usable on both sides."""
        if by_ldk:
            await self.give_ldk_a_coin(funding_sat + 10_000)
            await self.connect()
            await self.ldk.ask(
                "open",
                node_id=self.ours.node_id.hex(),
                funding_sat=funding_sat,
                push_msat=push_sat * 1_000,
            )
        else:
            await self.ours.fund_wallet(funding_sat + 200_000)
            await self.connect()
            await self.ours.node.open_channel(
                self.ldk.node_id, funding_sat=Sat(funding_sat), push_sat=Sat(push_sat), party=None
            )
        await eventually(lambda: self.ours.node.drivers)
        outpoint = self.ours.channel.state.config.funding_outpoint
        await eventually(lambda: self.regtest.transaction(outpoint.txid))
        self.mine()
        await self.usable()

    async def usable(self) -> None:
        await eventually(self.ours.usable)
        await self.until_ldk(lambda channel: channel["usable"])

    async def until_ldk(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """LDK's channel once it is so."""
        async with asyncio.timeout(60):
            while True:
                channel = await self.ldk.channel()
                if condition(channel):
                    return channel
                await asyncio.sleep(0.01)

    async def pay_ldk(self, amount_msat: int) -> Payment:
        return await self.ours.node.payments.pay(
            await self.ldk.ask("invoice", amount_msat=amount_msat)
        )

    async def begin_to_pay_ldk(self, amount_msat: int) -> None:
        """Not awaited to its end."""
        bolt11 = await self.ldk.ask("invoice", amount_msat=amount_msat)
        await self.ours.node.payments.pay(bolt11, timeout_seconds=0)

    async def paid_by_ldk(self, amount_msat: int) -> None:
        invoice = self.ours.node.invoices.create(amount_msat=Msat(amount_msat))
        await self.ldk.pay(invoice.bolt11)
        sent = await self.ldk.told("payment_sent", payment_hash=invoice.payment_hash)
        assert sent["preimage"] == invoice.preimage

    async def settled(self) -> None:
        """No HTLC and no unsigned update on either side, and both have the same balances."""
        await eventually(self.ours.settled)
        channel = await self.until_ldk(
            lambda channel: not channel["inbound_htlcs"] and not channel["outbound_htlcs"]
        )
        base = self.ours.channel.state.base
        ldk_msat = channel["outbound_msat"] + channel["reserve_sat"] * 1_000
        assert ldk_msat == base.counterparty_msat
        assert channel["capacity_sat"] * 1_000 == base.holder_msat + base.counterparty_msat


_DANCE = (
    UpdateAddHtlc,
    UpdateFulfillHtlc,
    UpdateFailHtlc,
    UpdateFee,
    CommitmentSigned,
    RevokeAndAck,
)


class Cut:
    """Loses the connection, and a message of our channel's with it.

    `lose` says which: the first for which it is true. Our node reconnects by itself unless
    `stay_away`.
    """

    def __init__(
        self,
        world: LdkWorld,
        monkeypatch: pytest.MonkeyPatch,
        lose: Callable[[Message, int], bool],
        *,
        stay_away: bool = False,
    ) -> None:
        """`lose` gets the message and how many of both sides' went before it."""
        self.lost: Message | None = None
        self.seen = 0
        self._lose = lose
        node, driver = world.ours.node, world.ours.driver
        send, receive = driver._send, node.on_message

        async def sending(message: Message) -> None:
            if driver.peer is not None and self._hits(message):
                await driver.peer.close()
            await send(message)

        async def receiving(peer: Peer, message: Message) -> None:
            if self._hits(message):
                await peer.close()
                return
            await receive(peer, message)

        monkeypatch.setattr(driver, "_send", sending)
        monkeypatch.setattr(node, "on_message", receiving)
        if stay_away:
            monkeypatch.setattr(node, "needs", lambda _: False)

    def _hits(self, message: Message) -> bool:
        if self.lost is not None or not isinstance(message, _DANCE):
            return False
        self.seen += 1
        if self._lose(message, self.seen - 1):
            self.lost = message
        return self.lost is not None


@asynccontextmanager
async def ldk_world(
    folder: Path, *, anchors: bool = True, feerate_per_kw: int = 1_000
) -> AsyncIterator[LdkWorld]:
    """`anchors`: whether LDK offers them; `feerate_per_kw`: what LDK thinks is needed.

    Our node is one that is a payer of Lightspeed funding with those who know of it.
    """
    with (folder / "ldk.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "node",
            "node.mjs",
            os.urandom(32).hex(),
            "1" if anchors else "0",
            str(feerate_per_kw),
            cwd=installed_ldk(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=1 << 24,
        )
    async with node_world(folder) as nodes:
        ldk = LdkNode(nodes.regtest, process)
        try:
            await ldk.start()
            nodes.regtest.on_tip_change(ldk.feed)
            ours = await nodes.start("ours", party=Party.PAYER)
            yield LdkWorld(nodes, ours, ldk)
        finally:
            with contextlib.suppress(Exception):
                await ldk.stop()

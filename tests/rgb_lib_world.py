"""Wallets of rgb-lib on our regtest: its Esplora API is all that they see of the chain."""

import asyncio
import fcntl
import importlib
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightspeed.bitcoin import Network, script_of_address, sha256, txid_hex
from lightspeed.chain import Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.rgb import (
    ChainNet,
    Consignment,
    RgbError,
    SecretSeal,
    TokenInvoice,
    Validated,
    Witness,
    WitnessOutput,
    WitnessStatus,
    validate,
    witnesses_of,
)
from lightspeed.units import Sat
from rgb_proxy import Posted, RgbProxy

__all__ = [
    "RgbLibMissing",
    "RgbLibWallet",
    "RgbLibWorld",
    "installed_rgb_lib",
    "named",
    "rgb_lib_world",
    "script_of",
]

_REQUIREMENTS = Path(__file__).parent / "interop" / "rgb_lib" / "requirements.txt"
_BUILD = Path(__file__).parents[1] / "build" / "interop" / "rgb_lib"
_INSTALL_SECONDS = 180
_FEE_SAT_PER_VBYTE = 2
_WITNESS_OUTPUT_SAT = 1_500
_EXPIRY_SECONDS = 3_600
_LOG_SECONDS = 60


class RgbLibMissing(Exception):
    """rgb-lib cannot be installed here."""


@cache
def installed_rgb_lib() -> ModuleType:
    """The module, installed on first use. Raises `RgbLibMissing`."""
    wanted = sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hex()
    packages = _BUILD / "packages"
    _BUILD.mkdir(parents=True, exist_ok=True)
    with (_BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = _BUILD / "installed"
        if not mark.exists() or mark.read_text() != wanted:
            _pip_install(packages)
            mark.write_text(wanted)
    sys.path.insert(0, str(packages))
    try:
        return importlib.import_module("rgb_lib")
    except OSError as error:  # a shared library that does not load
        raise RgbLibMissing(str(error)) from None
    finally:
        sys.path.remove(str(packages))


def _pip_install(packages: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes"]
    command += ["--target", str(packages), "--requirement", str(_REQUIREMENTS)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RgbLibMissing(f"pip took more than {_INSTALL_SECONDS} seconds") from None
    if done.returncode != 0:
        raise RgbLibMissing(f"pip failed: {done.stderr.strip()[-500:]}")


@dataclass(slots=True)
class RgbLibWallet:
    """Its calls block, so each runs in a thread, one at a time."""

    world: "RgbLibWorld"
    wallet: Any
    folder: Path
    online: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, method: str, *args: Any) -> Any:
        async with self._lock:
            return await asyncio.to_thread(getattr(self.wallet, method), *args)

    async def go_online(self) -> None:
        options = self.world.rgb_lib.OnlineOptions(
            indexer_url=self.world.indexer_url,
            skip_consistency_check=False,
            vanilla_sync_lookback=20,
        )
        self.online = await self.ask("go_online", options)

    async def fund(self, coins: int) -> None:
        """With sats, and confirmed coins to hold tokens."""
        self.world.regtest.fund(await self.script(), Sat(100_000))
        self.world.regtest.mine()
        made = await self.ask("create_utxos", self.online, False, coins, 1_000, 2, False)
        assert made == coins
        self.world.regtest.mine()

    async def script(self) -> bytes:
        """A fresh one for its plain sats."""
        return script_of_address(await self.ask("get_address"), Network.REGTEST)

    # --- tokens ---------------------------------------------------------------------------

    async def issue(self, *amounts: int) -> str:
        asset = await self.ask("issue_asset_nia", "TOK", "Token", 0, list(amounts))
        return str(asset.asset_id)

    async def invoice(
        self,
        *,
        witness: bool = False,
        asset_id: str | None = None,
        amount: int | None = None,
        min_confirmations: int = 1,
    ) -> Any:
        """Blinded unless `witness`; with its `invoice` and `recipient_id`."""
        assignment = self.world.rgb_lib.Assignment
        made = await self.ask(
            "witness_receive" if witness else "blind_receive",
            asset_id,
            assignment.ANY() if amount is None else assignment.FUNGIBLE(amount),
            int(time.time()) + _EXPIRY_SECONDS,
            [self.world.proxy.endpoint],
            min_confirmations,
        )
        assert str(TokenInvoice.parse(made.invoice)) == made.invoice
        return made

    async def pay_invoice(self, text: str, *, asset_id: str) -> str:
        """As it says; see `pay`."""
        asked = self.world.rgb_lib.Invoice(text).invoice_data()
        assert asked.asset_id in (None, asset_id)
        assert asked.transport_endpoints == [self.world.proxy.endpoint]
        return await self.pay(asked.recipient_id, asset_id=asset_id, amount=asked.assignment.amount)

    async def pay(self, recipient_id: str, *, asset_id: str, amount: int) -> str:
        """The transaction's id; it is published when the payee has acknowledged."""
        rgb_lib = self.world.rgb_lib
        witness = ":wvout:" in recipient_id
        recipient = rgb_lib.Recipient(
            recipient_id=recipient_id,
            witness_data=rgb_lib.WitnessData(amount_sat=_WITNESS_OUTPUT_SAT, blinding=None)
            if witness
            else None,
            assignment=rgb_lib.Assignment.FUNGIBLE(amount),
            transport_endpoints=[self.world.proxy.endpoint],
        )
        expiry = int(time.time()) + _EXPIRY_SECONDS
        recipients = {asset_id: [recipient]}
        sent = await self.ask("send", self.online, recipients, False, _FEE_SAT_PER_VBYTE, 1, expiry)
        return str(sent.txid)

    async def refresh(self) -> None:
        refreshed = await self.ask("refresh", self.online, None, [], False)
        failures = [each.failure for each in refreshed.values() if each.failure is not None]
        assert not failures, failures

    async def status(self, recipient_id: str) -> str:
        """Of a transfer to it or by it; "" if it knows none."""
        for asset in [None, *(asset.asset_id for asset in await self._assets())]:
            for each in await self.ask("list_transfers", asset):
                if each.recipient_id == recipient_id:
                    return str(each.status.name)
        return ""

    async def refusals(self, count: int) -> list[str]:
        """Why it refused consignments, oldest first; its log is written a little later."""
        async with asyncio.timeout(_LOG_SECONDS):
            while True:
                log = (self.folder / "log").read_text()
                reasons = re.findall("Consignment is invalid: (.*)", log)
                if len(reasons) >= count:
                    return reasons
                await asyncio.sleep(0.01)

    async def _assets(self) -> list[Any]:
        assets = await self.ask("list_assets", [])
        return list(assets.nia or [])

    async def balance(self, asset_id: str) -> tuple[int, int]:
        """Settled, and spendable."""
        balance = await self.ask("get_asset_balance", asset_id)
        return balance.settled, balance.spendable


@dataclass(slots=True)
class RgbLibWorld:
    folder: Path
    regtest: Regtest
    indexer_url: str
    proxy: RgbProxy
    rgb_lib: ModuleType

    async def wallet(self, name: str, *, coins: int = 5) -> RgbLibWallet:
        """Funded and online, with `coins` to hold tokens."""
        rgb_lib = self.rgb_lib
        regtest = rgb_lib.BitcoinNetwork.REGTEST
        taproot = rgb_lib.WitnessVersion.TAPROOT
        keys = rgb_lib.generate_keys(regtest, taproot)
        folder = self.folder / name
        folder.mkdir()
        wallet = RgbLibWallet(
            self,
            rgb_lib.Wallet(
                rgb_lib.WalletData(
                    data_dir=str(folder),
                    bitcoin_network=regtest,
                    database_type=rgb_lib.DatabaseType.SQLITE,
                    max_allocations_per_utxo=5,
                    supported_schemas=[rgb_lib.AssetSchema.NIA],
                ),
                rgb_lib.SinglesigKeys(
                    account_xpub_vanilla=keys.account_xpub_vanilla,
                    account_xpub_colored=keys.account_xpub_colored,
                    vanilla_keychain=None,
                    master_fingerprint=keys.master_fingerprint,
                    mnemonic=keys.mnemonic,
                    witness_version=taproot,
                ),
            ),
            folder / keys.master_fingerprint,
        )
        await wallet.go_online()
        await wallet.fund(coins)
        return wallet

    async def transfer(
        self, payer: RgbLibWallet, payee: RgbLibWallet, invoice: Any, *, asset_id: str, amount: int
    ) -> Posted:
        """Until both call it settled."""
        await payer.pay(invoice.recipient_id, asset_id=asset_id, amount=amount)
        await payee.refresh()
        assert self.proxy.acks[invoice.recipient_id]
        await payer.refresh()
        self.regtest.mine()
        for wallet in (payer, payee):
            await wallet.refresh()
            assert await wallet.status(invoice.recipient_id) == "SETTLED"
        return self.proxy.posted[invoice.recipient_id]

    def post(self, invoice: Any, consignment: Consignment, *, vout: int | None = None) -> None:
        """For the payee of an invoice; `vout` if it asks for a witness output."""
        self.proxy.post(
            Posted(
                recipient_id=invoice.recipient_id,
                consignment=consignment.serialize(magic=True),
                txid=txid_hex(consignment.bundles[-1].txid),
                vout=vout,
            )
        )

    def judge(self, consignment: bytes) -> Validated:
        """By our engine, with what the chain knows before what the consignment brings along."""
        parsed = Consignment.parse(consignment)
        assert parsed.serialize(magic=True) == consignment
        witnesses = witnesses_of(parsed)
        for txid in {bundle.txid for bundle in parsed.bundles}:
            if info := self.regtest.transaction(txid):
                mined = WitnessStatus.MINED if info.confirmed else WitnessStatus.TENTATIVE
                witnesses[txid] = Witness(info.tx, mined)
        return validate(parsed, witnesses, chain_net=ChainNet.BITCOIN_REGTEST)

    def check_verdicts(self) -> None:
        """What was refused is invalid for us, whatever else was posted is not."""
        for recipient_id, posted in self.proxy.posted.items():
            if self.proxy.acks.get(recipient_id, True):
                assert posted.txid in map(txid_hex, self.judge(posted.consignment).statuses)
            else:
                with pytest.raises(RgbError):
                    self.judge(posted.consignment)


@asynccontextmanager
async def rgb_lib_world(folder: Path) -> AsyncIterator[RgbLibWorld]:
    rgb_lib = installed_rgb_lib()
    regtest, proxy = Regtest(), RgbProxy()
    async with AsyncExitStack() as stack:
        indexer_url = await stack.enter_async_context(serving(regtest))
        await stack.enter_async_context(proxy.serving())
        world = RgbLibWorld(folder, regtest, indexer_url, proxy, rgb_lib)
        yield world
    world.check_verdicts()


def named(invoice: Any) -> SecretSeal:
    """The seal that a blinded invoice asks for."""
    beneficiary = TokenInvoice.parse(invoice.invoice).beneficiary
    assert isinstance(beneficiary, bytes)
    return beneficiary


def script_of(invoice: Any) -> bytes:
    """That a witness output has to pay."""
    beneficiary = TokenInvoice.parse(invoice.invoice).beneficiary
    assert isinstance(beneficiary, WitnessOutput)
    return beneficiary.script

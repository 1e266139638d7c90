"""The wallet over real HTTP: nothing is chosen twice, and the chain has the last word."""

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import (
    FEE_RATE_FLOOR,
    FeeRate,
    Network,
    Tx,
    fee_for_weight,
    p2wsh,
    script_of_address,
    sha256,
)
from lightspeed.chain import BroadcastRefused, LocalChain, Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.channel import sweep_transaction
from lightspeed.node.errors import InsufficientFunds, WalletMismatch, WalletUnavailable
from lightspeed.node.own_transactions import OwnTransaction, OwnTransactions
from lightspeed.node.records import FUNDING_TX_TABLE
from lightspeed.node.reservations import release_forgotten_coins
from lightspeed.node.store import NodeStore
from lightspeed.node.wallet import Wallet
from lightspeed.units import Sat

SEED = sha256(b"wallet")
DESTINATION = p2wsh(b"\x51")


@pytest.fixture
async def server() -> AsyncIterator[tuple[Regtest, str]]:
    regtest = Regtest()
    async with serving(regtest) as url:
        yield regtest, url


@pytest.fixture
def regtest(server: tuple[Regtest, str]) -> Regtest:
    return server[0]


@pytest.fixture
def chain(regtest: Regtest) -> LocalChain:
    return LocalChain(regtest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wallet.sqlite"


def _open(path: Path, url: str, seed: bytes = SEED) -> Wallet:
    return Wallet(path, seed=seed, network=Network.REGTEST, esplora_url=url)


@pytest.fixture
def wallet(path: Path, server: tuple[Regtest, str]) -> Wallet:
    return _open(path, server[1])


async def _fill(wallet: Wallet, regtest: Regtest, *amounts: int) -> None:
    for amount in amounts:
        regtest.fund(wallet.new_script(), Sat(amount))
    regtest.mine()
    await wallet.sync()


def _spent(tx: Tx) -> set[object]:
    return {txin.outpoint for txin in tx.inputs}


async def test_payment_is_seen_spent_and_mined(
    wallet: Wallet, regtest: Regtest, chain: LocalChain
) -> None:
    regtest.fund(wallet.new_script(), Sat(300_000))
    await wallet.sync()
    assert (wallet.balance().confirmed_sat, wallet.balance().pending_sat) == (0, 300_000)
    assert wallet.spendable_sat() == 0  # somebody else's, and unconfirmed
    regtest.mine()
    await wallet.sync()
    assert wallet.synced_height == regtest.height
    assert wallet.balance().confirmed_sat == wallet.spendable_sat() == 300_000

    rate = FeeRate(1_000)
    tx = await wallet.fund(DESTINATION, Sat(100_000), feerate_per_kw=rate)
    assert regtest.transaction(tx.txid) is None
    assert [o.value for o in tx.outputs if o.script == DESTINATION] == [100_000]
    await chain.broadcast(tx)
    wallet.note_broadcast(tx)
    fee = 300_000 - sum(output.value for output in tx.outputs)
    assert 0 <= fee - fee_for_weight(tx.weight, rate) <= 2
    assert wallet.balance().total_sat == 200_000 - fee
    regtest.mine()
    await wallet.sync()
    assert wallet.balance().confirmed_sat == 200_000 - fee


async def test_scan_that_nobody_waited_for_is_not_taken_for_the_latest(
    wallet: Wallet, regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made before the last block."""
    scan, scanned, go_on = wallet._scan, threading.Event(), threading.Event()

    def answered_late(of: Any) -> Any:
        found = scan(of)
        scanned.set()
        assert go_on.wait(60)
        return found

    monkeypatch.setattr(wallet, "_scan", answered_late)
    syncing = asyncio.create_task(wallet.sync())
    await asyncio.to_thread(scanned.wait, 60)
    syncing.cancel()
    await asyncio.wait([syncing])
    monkeypatch.undo()
    go_on.set()

    await _fill(wallet, regtest, 10_000)
    assert wallet.balance().confirmed_sat == 10_000
    assert wallet.synced_height == regtest.height


async def test_reserved_coins_are_not_chosen_again(
    wallet: Wallet, regtest: Regtest, path: Path, server: tuple[Regtest, str]
) -> None:
    await _fill(wallet, regtest, 100_000, 100_000, 100_000)
    first, second = await asyncio.gather(
        *(wallet.fund(DESTINATION, Sat(60_000), feerate_per_kw=FEE_RATE_FLOOR) for _ in range(2))
    )
    (third,) = await wallet.fee_spends(Sat(1_000), feerate_per_kw=FEE_RATE_FLOOR)
    assert len(_spent(first) | _spent(second) | {third.outpoint}) == 3
    wallet = _open(path, server[1])
    assert wallet.spendable_sat() == 0
    with pytest.raises(InsufficientFunds) as refusal:
        await wallet.fund(DESTINATION, Sat(1_000), feerate_per_kw=FEE_RATE_FLOOR)
    assert (refusal.value.needed_sat, refusal.value.available_sat) == (1_000, 0)
    with pytest.raises(InsufficientFunds):
        await wallet.fee_spends(Sat(0), feerate_per_kw=FEE_RATE_FLOOR)
    wallet.release(first)
    again = await wallet.fund(DESTINATION, Sat(60_000), feerate_per_kw=FEE_RATE_FLOOR)
    assert _spent(again) == _spent(first)
    assert wallet.reserved() == _spent(again) | _spent(second) | {third.outpoint}


async def test_start_frees_what_no_stored_transaction_spends(
    wallet: Wallet, regtest: Regtest, tmp_path: Path
) -> None:
    await _fill(wallet, regtest, 100_000, 100_000, 100_000)
    funding, forgotten, sweep = [
        await wallet.fund(DESTINATION, Sat(60_000), feerate_per_kw=FEE_RATE_FLOOR) for _ in range(3)
    ]
    with NodeStore(tmp_path / "node.sqlite") as store:
        store.put(FUNDING_TX_TABLE, b"channel", funding.serialize())
        own = OwnTransaction(
            tx=sweep,
            purpose="HTLC timeout",
            fee_sat=Sat(1),
            feerate_per_kw=FEE_RATE_FLOOR,
            built_height=1,
        )
        OwnTransactions(store, b"channel").add(own)
        release_forgotten_coins(store, wallet)
    assert wallet.reserved() == _spent(funding) | _spent(sweep)
    assert not wallet.reserved() & _spent(forgotten)


async def test_coins_of_a_transaction_that_never_arrived_are_ours_again(
    wallet: Wallet, regtest: Regtest
) -> None:
    await _fill(wallet, regtest, 100_000)
    tx = await wallet.fund(DESTINATION, Sat(60_000), feerate_per_kw=FEE_RATE_FLOOR)
    wallet.note_broadcast(tx)
    assert wallet.balance().confirmed_sat == 0
    wallet.note_replaced(tx)
    assert wallet.balance().confirmed_sat == 100_000
    assert wallet.spendable_sat() == 0
    wallet.release(tx)
    assert wallet.spendable_sat() == 100_000


async def test_refused_payment_reserves_nothing(
    wallet: Wallet, regtest: Regtest, chain: LocalChain
) -> None:
    await _fill(wallet, regtest, 100_000)
    regtest.reorganise(2)
    regtest.mempool.rebuild(())
    for entry in list(regtest.mempool):
        regtest.mempool._remove(entry.tx.txid)
    with pytest.raises(BroadcastRefused):
        await wallet.send(DESTINATION, Sat(50_000), feerate_per_kw=FEE_RATE_FLOOR, chain=chain)
    assert not wallet.reserved()


async def test_sent_payment_is_counted_at_once(
    wallet: Wallet, regtest: Regtest, chain: LocalChain
) -> None:
    await _fill(wallet, regtest, 100_000)
    tx = await wallet.send(DESTINATION, Sat(50_000), feerate_per_kw=FEE_RATE_FLOOR, chain=chain)
    assert regtest.transaction(tx.txid) is not None
    assert wallet.balance().confirmed_sat == 0
    # Change of ours may be spent before it confirms.
    more = await wallet.send(DESTINATION, Sat(20_000), feerate_per_kw=FEE_RATE_FLOOR, chain=chain)
    assert more.inputs[0].outpoint.txid == tx.txid
    regtest.mine()
    await wallet.sync()
    paid = sum(output.value for output in more.outputs if output.script == DESTINATION)
    assert (paid, wallet.balance().pending_sat) == (20_000, 0)


async def test_reorganisation_takes_a_payment_back(wallet: Wallet, regtest: Regtest) -> None:
    await _fill(wallet, regtest, 100_000)
    await _fill(wallet, regtest, 50_000)
    regtest.reorganise(1)
    await wallet.sync()
    assert (wallet.balance().confirmed_sat, wallet.balance().pending_sat) == (100_000, 50_000)
    regtest.mine()
    await wallet.sync()
    assert wallet.balance().confirmed_sat == 150_000


async def test_transaction_lost_in_a_reorganisation_is_forgotten(
    wallet: Wallet, regtest: Regtest, chain: LocalChain, path: Path, server: tuple[Regtest, str]
) -> None:
    """BDK alone would count it for ever, and the coin that it spent as gone."""
    await _fill(wallet, regtest, 100_000)
    await wallet.send(DESTINATION, Sat(50_000), feerate_per_kw=FEE_RATE_FLOOR, chain=chain)
    regtest.mine()
    await wallet.sync()
    promised = wallet.new_script()
    regtest.reorganise(1)
    for entry in list(regtest.mempool):
        regtest.mempool._remove(entry.tx.txid)
    await wallet.sync()
    assert wallet.balance().confirmed_sat == 100_000
    assert wallet.reserved()  # it may still be sent again
    for opened in (wallet, _open(path, server[1])):
        assert opened.balance().confirmed_sat == 100_000
    assert wallet.new_script() != promised
    regtest.fund(promised, Sat(7_000))
    await wallet.sync()
    assert wallet.balance().pending_sat == 7_000


async def test_fee_coins_sign_themselves(
    wallet: Wallet, regtest: Regtest, chain: LocalChain
) -> None:
    await _fill(wallet, regtest, 5_000, 20_000, 30_000)
    rate = FeeRate(2_000)
    (smallest,) = await wallet.fee_spends(Sat(3_000), feerate_per_kw=rate)
    assert smallest.prevout.value == 5_000
    both = await wallet.fee_spends(Sat(45_000), feerate_per_kw=rate)
    assert sorted(spend.prevout.value for spend in both) == [20_000, 30_000]
    tx = sweep_transaction(both, destination_script=DESTINATION, feerate_per_kw=rate)
    fee = 50_000 - tx.outputs[0].value
    assert fee == fee_for_weight(tx.weight, rate)
    await chain.broadcast(tx)
    wallet.note_broadcast(tx)
    assert {s.outpoint for s in wallet.own_inputs(tx)} == {s.outpoint for s in both}
    regtest.mine()
    await wallet.sync()
    assert wallet.balance().total_sat == 5_000


async def test_coins_that_wait_for_a_block_are_told_of(wallet: Wallet, regtest: Regtest) -> None:
    regtest.fund(wallet.new_script(), Sat(70_000))
    await wallet.sync()
    for asked in (
        wallet.fee_spends(Sat(1_000), feerate_per_kw=FEE_RATE_FLOOR),
        wallet.fund(DESTINATION, Sat(1_000), feerate_per_kw=FEE_RATE_FLOOR),
    ):
        with pytest.raises(InsufficientFunds, match=r"and 70000 sat more when they are mined$"):
            await asked


async def test_coins_that_cost_more_than_they_bring_are_left(
    wallet: Wallet, regtest: Regtest
) -> None:
    await _fill(wallet, regtest, 400, 400)
    with pytest.raises(InsufficientFunds) as refusal:
        await wallet.fee_spends(Sat(100), feerate_per_kw=FeeRate(5_000))
    assert refusal.value.available_sat == 0
    assert not wallet.reserved()


async def test_seed_alone_brings_everything_back(
    wallet: Wallet, regtest: Regtest, tmp_path: Path, server: tuple[Regtest, str]
) -> None:
    for _ in range(15):
        wallet.new_script()
    await _fill(wallet, regtest, 70_000)
    restored = _open(tmp_path / "restored.sqlite", server[1])
    await restored.sync()
    assert restored.balance() == wallet.balance()
    assert restored.new_script() == wallet.new_script()


def test_scripts_are_never_given_out_twice(path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    wallet = _open(path, nowhere)
    given = [wallet.new_script() for _ in range(3)]
    wallet = _open(path, nowhere)
    given += [script_of_address(wallet.new_address(), Network.REGTEST) for _ in range(3)]
    assert len(set(given)) == 6


async def test_server_that_is_away_changes_nothing(path: Path) -> None:
    wallet = _open(path, "http://127.0.0.1:9")
    with pytest.raises(WalletUnavailable):
        await wallet.sync()
    assert wallet.balance().total_sat == 0


def test_file_of_another_seed_or_network_is_refused(path: Path) -> None:
    _open(path, "http://127.0.0.1:9")
    with pytest.raises(WalletMismatch):
        _open(path, "http://127.0.0.1:9", seed=sha256(b"other"))
    with pytest.raises(WalletMismatch):
        Wallet(path, seed=SEED, network=Network.SIGNET, esplora_url="http://127.0.0.1:9")


def test_file_is_the_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        _open(path, "http://127.0.0.1:9").new_script()
    finally:
        os.umask(old)
    assert {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()} == {0o600}


def test_wallet_shows_no_secret(path: Path) -> None:
    wallet = _open(path, "http://127.0.0.1:9")
    wallet.new_script()
    assert SEED.hex() not in repr(vars(wallet))
    assert "prv" not in repr(vars(wallet))
    assert b"prv" not in path.read_bytes()
    assert SEED not in path.read_bytes()

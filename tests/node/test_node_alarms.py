"""What goes wrong slowly: nothing is lost meanwhile, and the operator is told."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, Tx
from lightspeed.channel import Phase
from lightspeed.lsf import LsfSignRequest
from lightspeed.node import reports
from lightspeed.node.alarms import Alarms
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import InsufficientFunds
from lightspeed.node.fee_updates import wanted_feerate
from lightspeed.units import Sat
from lightspeed.wire import Message
from lightspeed.wire.peer import Peer
from node_books import book_pair
from node_world import RunningNode, eventually, node_world


def problems(running: RunningNode) -> str:
    return "\n".join(reports.info(running.node).problems)


def test_alarm_is_logged_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    alarms = Alarms()
    alarms.report("a", None)
    for text in ("first", "second"):
        alarms.report("a", text)
    assert alarms.texts == ("second",)
    alarms.report("a", None)
    assert [record.getMessage() for record in caplog.records] == ["alarm", "alarm ends"]


# --- a peer that does not answer ----------------------------------------------------------------


class Silent:
    """Drops sign requests, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, driver: ChannelDriver, times: int) -> None:
        self.left = times
        receive = driver.receive

        async def dropping(peer: Peer, message: Message) -> None:
            if isinstance(message, LsfSignRequest) and self.left:
                self.left -= 1
                return
            await receive(peer, message)

        monkeypatch.setattr(driver, "receive", dropping)


@pytest.mark.parametrize("times", [3, 100])
async def test_peer_that_does_not_answer_is_hung_up_on_and_then_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    async with book_pair(tmp_path, answer_seconds=0.1) as pair:
        secret = await pair.open_book()
        await pair.ledger.redeem(secret.credential(1, 10))
        silent = Silent(monkeypatch, pair.payer.driver, times)

        await pair.payee.node.books.settle_book(secret.book.book_id)

        if times == 3:
            await eventually(lambda: pair.settled(secret) == 1)
            assert silent.left == 0
            assert pair.payee.driver.phase is Phase.NORMAL
        else:
            await eventually(lambda: pair.payee.driver.phase is Phase.FAILED)
            assert times - silent.left == 5


# --- the wallet's backend -----------------------------------------------------------------------


async def test_channels_are_watched_while_the_wallet_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        channel_id = await world.open_channel(alice, bob, push_sat=300_000)
        go_on, begun = threading.Event(), 0
        scan = bob.node.wallet._scan

        def hanging(wallet: Any) -> Any:
            nonlocal begun
            begun += 1
            assert go_on.wait(60)
            return scan(wallet)

        monkeypatch.setattr(bob.node.wallet, "_scan", hanging)
        monkeypatch.setattr("lightspeed.node.watch._SYNC_SECONDS", 0.05)
        await alice.node.close_channel(channel_id, force=True)
        for _ in range(4):
            world.mine()
            await eventually(lambda: bob.node.watch._seen == world.regtest.tip)
        assert "the wallet is not in sync" in problems(bob)
        assert bob.node.watch.progress[channel_id].confirmed_height is not None
        assert begun == 1

        monkeypatch.setattr("lightspeed.node.watch._SYNC_SECONDS", 60.0)
        go_on.set()
        await eventually(lambda: not problems(bob))
        await eventually(lambda: bob.node.wallet.balance().total_sat > 0)


# --- the fee market -----------------------------------------------------------------------------


@given(st.integers(FEE_RATE_FLOOR, 10**6), st.integers(1, 10**6))
def test_fee_rate_settles_after_one_update(current: int, market: int) -> None:
    wanted = wanted_feerate(current, FeeRate(market))
    if wanted is None:
        assert current / 2 < max(market, FEE_RATE_FLOOR) < 1.3 * current
    else:
        assert wanted == max(market, FEE_RATE_FLOOR)
        assert wanted_feerate(wanted, FeeRate(market)) is None


async def test_commitments_follow_the_fee_market(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob, push_sat=900_000)
        before = alice.channel.state.base.feerate_per_kw

        def market(feerate_per_kw: int) -> None:
            world.regtest.fee_rate = FeeRate(feerate_per_kw)
            world.mine()

        async def both_at(feerate_per_kw: int) -> None:
            await eventually(
                lambda: (
                    alice.channel.state.base.feerate_per_kw == feerate_per_kw
                    and bob.channel.state.base.feerate_per_kw == feerate_per_kw
                )
            )

        market(before * 12 // 10)
        for running in (alice, bob):
            await eventually(lambda node=running.node: node.watch.fee_rate == before * 12 // 10)
            await running.node.watch.look()
        assert alice.channel.state.base.feerate_per_kw == before
        market(before * 3)
        await both_at(before * 3)
        market(before)
        await both_at(before)

        market(500_000)  # more than the funder's balance pays for
        await eventually(lambda: "fee rate of channel" in problems(alice))
        assert alice.driver.phase is bob.driver.phase is Phase.NORMAL
        market(before)
        await eventually(lambda: not problems(alice))


# --- windows after a close ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "purpose", "left"), [("_publish", "micropayments", 9), ("_sweep", "claim", 10)]
)
async def test_half_of_a_window_without_the_transaction_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, purpose: str, left: int
) -> None:
    async with book_pair(tmp_path) as pair:
        secret = await pair.open_book(refund_delay_blocks=20)
        await pair.ledger.redeem(secret.credential(1, 10))

        async def nothing(*_: object, **__: object) -> None:
            pass

        monkeypatch.setattr(pair.payee.node.watch._closer, step, nothing)
        await pair.payer.node.close_channel(pair.payer.channel.channel_id, force=True)
        await eventually(lambda: pair.payee.driver.phase is Phase.FAILED)
        await pair.mine(10)
        assert "not mined yet" not in problems(pair.payee)
        await pair.mine(1)
        assert f"{purpose}: not mined yet, {left} blocks" in problems(pair.payee)
        monkeypatch.undo()
        await pair.mine(3)
        assert "not mined yet" not in problems(pair.payee)


# --- the reserve --------------------------------------------------------------------------------


async def test_missing_reserve_for_fees_is_told(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        alice = await world.start("alice", bump_reserve_sat=50_000)
        bob = await world.start("bob", bump_reserve_sat=50_000)
        await world.open_channel(alice, bob)
        await eventually(lambda: "the wallet holds 0 sat, 50000 sat may be needed" in problems(bob))
        assert not problems(alice)
        reserved = alice.node.wallet.reserved()
        with pytest.raises(InsufficientFunds):
            await alice.node.open_channel(bob.node_id, funding_sat=Sat(8_960_000), party=None)
        assert alice.node.wallet.reserved() == reserved
        await bob.fund_wallet(50_000)
        await eventually(lambda: not problems(bob))


async def test_reserve_for_fees_outlives_two_openings_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone leaves enough of it."""
    async with node_world(tmp_path) as world:
        alice = await world.start("alice", bump_reserve_sat=50_000)
        bob = await world.start("bob")
        await world.open_channel(alice, bob)
        node = alice.node
        await eventually(lambda: node.watch._seen == world.regtest.tip)
        fee_rate = node.chain.fee_rate

        async def fee_rate_late(target_blocks: int) -> FeeRate:
            monkeypatch.undo()
            await node.open_channel(bob.node_id, funding_sat=Sat(8_000_000), party=None)
            return await fee_rate(target_blocks)

        monkeypatch.setattr(node.chain, "fee_rate", fee_rate_late)
        with pytest.raises(InsufficientFunds):
            await node.open_channel(bob.node_id, funding_sat=Sat(900_000), party=None)
        assert node.wallet.spendable_sat() >= 100_000
        assert len(node.drivers) == 2


async def test_openings_at_once_choose_their_coins_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each would see the reserve that the other one takes."""
    async with node_world(tmp_path) as world:
        alice = await world.start("alice", bump_reserve_sat=50_000)
        bob = await world.start("bob")
        await world.open_channel(alice, bob)
        node, funding = alice.node, 0
        both = asyncio.Event()
        fund = node.wallet.fund

        async def fund_late(*args: Any, **named: Any) -> Tx:
            nonlocal funding
            funding += 1
            if funding == 2:
                both.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await both.wait()
            return await fund(*args, **named)

        monkeypatch.setattr(node.wallet, "fund", fund_late)
        each = [
            node.open_channel(bob.node_id, funding_sat=Sat(5_000_000), party=None) for _ in range(2)
        ]
        outcomes = await asyncio.gather(*each, return_exceptions=True)
        (refusal,) = (found for found in outcomes if isinstance(found, Exception))
        assert isinstance(refusal, InsufficientFunds)
        assert refusal.needed_sat > 5_000_000  # with the reserve
        assert funding == 1

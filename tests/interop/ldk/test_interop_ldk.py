"""Plain channels with LDK: what both implementations agree on, and what the chain says of it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from ldk_world import Cut, LdkWorld, ldk_world
from lightspeed.channel import Phase
from lightspeed.lsf import Party
from lightspeed.node.errors import OpeningRefused, PeerLacksLightspeed
from lightspeed.units import Msat, Sat
from lightspeed.wire import Message, UnknownMessage
from lightspeed.wire.fields import Remainder
from node_world import eventually

STATIC_REMOTEKEY, ANCHORS = 12, 22
CHANNEL_TYPES = pytest.mark.parametrize("anchors", [False, True], ids=["12", "12+22"])

DUST_MSAT = 200_500
AMOUNTS_MSAT = (1, DUST_MSAT, 5_000_000, 60_000_001)


@pytest.mark.parametrize(
    ("anchors", "by_ldk", "ldk_closes"),
    [(False, False, True), (False, True, False), (True, False, False), (True, True, True)],
    ids=[
        "12, we fund, LDK closes",
        "12, LDK funds, we close",
        "12+22, we fund, we close",
        "12+22, LDK funds, LDK closes",
    ],
)
async def test_channel_pays_both_ways_changes_its_fee_and_closes(
    tmp_path: Path, anchors: bool, by_ldk: bool, ldk_closes: bool
) -> None:
    async with ldk_world(tmp_path, anchors=anchors) as world:
        await world.open_channel(by_ldk=by_ldk)
        bits = [STATIC_REMOTEKEY, ANCHORS] if anchors else [STATIC_REMOTEKEY]
        assert (await world.ldk.channel())["channel_type"] == bits
        assert world.ours.channel.state.config.anchors == anchors
        for amount_msat in AMOUNTS_MSAT:
            payment = await world.pay_ldk(amount_msat)
            assert payment.state == "paid"
            await world.ldk.told(
                "payment_claimed", payment_hash=payment.payment_hash, amount_msat=amount_msat
            )
            await world.paid_by_ldk(amount_msat + 7)
        await world.settled()
        await _change_fee(world, by_ldk=by_ldk, feerate_per_kw=2_500)
        await _change_fee(world, by_ldk=by_ldk, feerate_per_kw=1_200)
        await world.pay_ldk(3_000_000)
        await world.settled()
        await _close(world, ldk_closes=ldk_closes)
        assert world.ldk.refused == []


async def _change_fee(world: LdkWorld, *, by_ldk: bool, feerate_per_kw: int) -> None:
    if by_ldk:
        await world.ldk.ask("feerate", feerate_per_kw=feerate_per_kw)
    else:
        driver = world.ours.driver
        await driver.act(lambda channel: channel.update_fee(feerate_per_kw))
        await driver.act(lambda channel: channel.commit())
    await eventually(lambda: world.ours.channel.state.base.feerate_per_kw == feerate_per_kw)
    await world.until_ldk(lambda channel: channel["feerate_per_kw"] == feerate_per_kw)
    await world.settled()


async def _close(world: LdkWorld, *, ldk_closes: bool) -> None:
    channel = world.ours.channel
    base, config = channel.state.base, channel.state.config
    if ldk_closes:
        await world.ldk.ask(
            "close", channel_id=channel.channel_id.hex(), node_id=world.ours.node_id.hex()
        )
    else:
        await world.ours.node.close_channel(channel.channel_id)
    await world.ldk.told("channel_closed", channel_id=channel.channel_id.hex())
    await eventually(lambda: channel.state.phase is Phase.CLOSED)
    closing = await eventually(lambda: world.regtest.outspend(config.funding_outpoint))
    world.mine()
    assert world.regtest.transaction(closing.tx.txid).confirmed
    values = sorted(output.value for output in closing.tx.outputs)
    fee_sat = config.funding_sat - sum(values)
    assert 0 < fee_sat < 5_000
    owed = sorted([base.holder_msat // 1_000, base.counterparty_msat // 1_000])
    assert all(0 <= due - value <= fee_sat + 1 for due, value in zip(owed, values, strict=True))


@CHANNEL_TYPES
async def test_many_htlcs_of_one_amount_at_once(tmp_path: Path, anchors: bool) -> None:
    """Their outputs are alike but for the script: the order of HTLC signatures has to agree."""
    async with ldk_world(tmp_path, anchors=anchors) as world:
        await world.open_channel(by_ldk=anchors)
        await world.ldk.ask("hold", on=True)
        bolt11 = [await world.ldk.ask("invoice", amount_msat=4_000_000) for _ in range(6)]
        paying = []
        for index, invoice in enumerate(bolt11):
            paying.append(asyncio.create_task(world.ours.node.payments.pay(invoice)))
            await eventually(
                lambda index=index: len(world.ldk.find("payment_claimable")) == index + 1
            )
            if index % 2:
                world.mine()  # the next one has another expiry
                await eventually(lambda: world.ours.node.watch.height == world.regtest.height)
        await asyncio.gather(*(world.paid_by_ldk(4_000_000) for _ in range(6)))
        hashes = [found["payment_hash"] for found in world.ldk.find("payment_claimable")]
        for index, payment_hash in enumerate(hashes):
            await world.ldk.ask("fail" if index % 3 == 0 else "claim", payment_hash=payment_hash)

        states = [payment.state for payment in await asyncio.gather(*paying)]

        assert states == ["failed", "paid", "paid"] * 2
        await world.settled()


async def test_failed_payments_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ldk_world(tmp_path) as world:
        await world.open_channel()
        before = world.ours.channel.state.base
        await world.ldk.ask("hold", on=True)
        paying = asyncio.create_task(world.pay_ldk(9_000_000))
        claimable = await world.ldk.told("payment_claimable")
        await world.ldk.ask("fail", payment_hash=claimable["payment_hash"])
        payment = await paying
        assert (payment.state, payment.failure) == (
            "failed",
            "incorrect_or_unknown_payment_details",
        )

        invoice = world.ours.node.invoices.create(amount_msat=Msat(8_000_000))
        monkeypatch.setattr(world.ours.node.invoices, "_find", lambda _: None)
        payment_id = await world.ldk.pay(invoice.bolt11)
        failed = await world.ldk.told("payment_failed", payment_id=payment_id)
        assert failed["reason"] == "LDKPaymentFailureReason_RecipientRejected"

        monkeypatch.setattr("lightspeed.node.payments.build_onion", lambda **_: bytes(1366))
        payment = await world.pay_ldk(9_000_000)
        assert (payment.state, payment.failure) == ("failed", "invalid_onion_key")

        await world.settled()
        after = world.ours.channel.state.base
        assert after.holder_msat == before.holder_msat


@pytest.mark.parametrize("by_ldk", [False, True], ids=["we fund", "LDK funds"])
async def test_updates_survive_a_connection_lost_at_any_message(
    tmp_path: Path, by_ldk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ldk_world(tmp_path, anchors=by_ldk) as world:
        await world.open_channel(by_ldk=by_ldk)
        for pay in (world.pay_ldk, world.paid_by_ldk):
            lost, at = [], 0
            while True:
                with monkeypatch.context() as patch:
                    cut = Cut(world, patch, lambda _, before, at=at: before == at)
                    await pay(1_000_000 + at)
                    await world.usable()
                    await world.settled()
                if cut.lost is None:
                    break
                lost.append(type(cut.lost).__name__)
                at += 1
            # add and fulfil, two commitment_signed for each, and their revoke_and_ack
            assert len(lost) == 10, lost
        if by_ldk:
            return  # LDK forgets an update_fee that was lost until it looks at the fees again
        for at in range(5):
            with monkeypatch.context() as patch:
                cut = Cut(world, patch, lambda _, before, at=at: before == at)
                await _change_fee(world, by_ldk=False, feerate_per_kw=1_500 + 100 * at)
                assert cut.lost is not None


async def test_our_node_restarts_in_the_middle_of_payments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ldk_world(tmp_path) as world:
        await world.open_channel()
        await world.ldk.ask("hold", on=True)
        paying = asyncio.create_task(world.pay_ldk(7_000_000))
        payment_hash = (await world.ldk.told("payment_claimable"))["payment_hash"]
        invoice = world.ours.node.invoices.create(amount_msat=Msat(6_000_000))
        with monkeypatch.context() as patch:
            cut = Cut(
                world,
                patch,
                lambda message, _: type(message).__name__ == "UpdateFulfillHtlc",
                stay_away=True,
            )
            await world.ldk.pay(invoice.bolt11)
            await eventually(lambda: cut.lost)
            await world.ours.stop()
        paying.cancel()
        await world.ldk.ask("claim", payment_hash=payment_hash)

        await world.ours.start()

        await world.ldk.told("payment_sent", payment_hash=invoice.payment_hash)
        await world.usable()
        await world.settled()
        payment = world.ours.node.payments.get(bytes.fromhex(payment_hash))
        assert payment.state == "paid"
        assert world.ours.node.invoices.get(bytes.fromhex(invoice.payment_hash)).paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Custom(Message):
    """Odd, so nobody has to know it."""

    TYPE: ClassVar[int] = 33_001

    payload: Annotated[bytes, Remainder()]


async def test_peer_without_lightspeed_sees_an_ordinary_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ldk_world(tmp_path) as world:
        node = world.ours.node
        await world.ours.fund_wallet()
        await world.connect()

        async def open_as_payer() -> None:
            await node.open_channel(world.ldk.node_id, funding_sat=Sat(500_000), party=Party.PAYER)

        with pytest.raises(PeerLacksLightspeed):
            await open_as_payer()
        assert (await world.ldk.ask("channels")) == []
        # Without that look at its features, LDK says it.
        with monkeypatch.context() as patch:
            patch.setattr(node._openings, "_check_party", lambda *_: None)
            with pytest.raises(OpeningRefused, match=r"(?i)channel.type"):
                await open_as_payer()
        assert node.drivers == {}
        # An ordinary channel opens all the same.
        await world.open_channel()
        await _exchange_custom_messages(world)
        await world.pay_ldk(1_000_000)
        await world.settled()


async def _exchange_custom_messages(world: LdkWorld) -> None:
    """Neither side knows them; neither minds."""
    peer = world.ours.driver.peer
    assert peer is not None
    await peer.send(Custom(payload=b"do you know this?"))
    await world.ldk.ask(
        "send_custom", node_id=world.ours.node_id.hex(), type=Custom.TYPE, payload="0102"
    )
    told = await world.ldk.told("custom_message")
    assert (told["type"], bytes.fromhex(told["payload"])) == (Custom.TYPE, b"do you know this?")
    await eventually(lambda: peer.messages_received[UnknownMessage.__name__])
    assert world.ours.driver.peer is peer

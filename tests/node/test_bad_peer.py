"""A peer that breaks the rules is told so, and costs the node a channel at most."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import pytest_asyncio

from lightspeed.bitcoin import sha256
from lightspeed.channel import Channel, Phase
from lightspeed.units import Msat
from lightspeed.wire import (
    ALL_CHANNELS,
    ChannelReestablish,
    CommitmentSigned,
    ErrorMessage,
    FundingCreated,
    Message,
    Remainder,
    RevokeAndAck,
    Shutdown,
    UpdateAddHtlc,
    UpdateFailMalformedHtlc,
    WarningMessage,
)
from node_world import RunningNode, eventually, node_world
from raw_peer import RawPeer


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEven(Message):
    TYPE: ClassVar[int] = 40_000
    data: Annotated[bytes, Remainder()] = b"?"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOdd(Message):
    TYPE: ClassVar[int] = 40_001
    data: Annotated[bytes, Remainder()] = b"?"


@pytest_asyncio.fixture
async def victim(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with node_world(tmp_path) as world:
        yield await world.start("victim")


@pytest_asyncio.fixture
async def raw(victim: RunningNode) -> AsyncIterator[RawPeer]:
    """With a channel of a million sat, of which the victim holds 100,000."""
    raw = await RawPeer.to(victim)
    await raw.open_channel()
    yield raw
    await raw.peer.close()


def channel_of(raw: RawPeer) -> Channel:
    assert raw.channel is not None
    return raw.channel


def add_htlc(raw: RawPeer, *, onion: bytes = bytes(1_366)) -> list[Any]:
    channel = channel_of(raw)
    _, effects = channel.add_htlc(
        amount_msat=Msat(10_000_000),
        payment_hash=sha256(b"?"),
        cltv_expiry=raw.target.node.watch.height + 40,
        onion=onion,
    )
    return list(effects)


async def assert_failed(raw: RawPeer, reason: str, *, at_next_block: bool = False) -> None:
    """A BOLT 1 error for the channel, and the victim's commitment is published."""
    error = await raw.expect(ErrorMessage)
    assert error.channel_id == channel_of(raw).channel_id
    assert reason in error.text
    driver = raw.target.driver
    assert driver.phase is Phase.FAILED
    regtest = raw.target.world.regtest
    funding = driver.channel.state.config.funding_outpoint
    if at_next_block:
        assert regtest.outspend(funding) is None
        raw.target.world.mine()
    spend = await eventually(lambda: regtest.outspend(funding))
    assert spend.txid == driver.channel.holder_commitment().frozen.tx.txid


# --- the channel fails -------------------------------------------------------------------------


async def test_wrong_commitment_signature_fails_the_channel(raw: RawPeer) -> None:
    await raw.run(add_htlc(raw))
    for effect in channel_of(raw).commit():
        message = getattr(effect, "message", None)
        if isinstance(message, CommitmentSigned):
            wrong = bytes([message.signature[0] ^ 1]) + message.signature[1:]
            await raw.peer.send(replace(message, signature=wrong))
    await assert_failed(raw, "signature")


async def test_message_out_of_order_fails_the_channel(raw: RawPeer) -> None:
    secrets = raw.signer.secrets
    await raw.peer.send(
        RevokeAndAck(
            channel_id=channel_of(raw).channel_id,
            per_commitment_secret=secrets.per_commitment_secret(0),
            next_per_commitment_point=secrets.per_commitment_point(2).data,
        )
    )
    await assert_failed(raw, "without a commitment")


async def test_update_beyond_the_balance_fails_the_channel(raw: RawPeer) -> None:
    (message,) = (e.message for e in add_htlc(raw) if hasattr(e, "message"))
    assert isinstance(message, UpdateAddHtlc)
    await raw.peer.send(replace(message, amount_msat=Msat(2_000_000_000)))
    await assert_failed(raw, "balance")


async def test_error_of_the_peer_fails_the_channel(raw: RawPeer) -> None:
    channel_id = channel_of(raw).channel_id
    await raw.peer.send(ErrorMessage(channel_id=channel_id, data=b"\x1b[2Jno more"))
    await assert_failed(raw, "the peer said: ?[2Jno more", at_next_block=True)
    await raw.peer.send(ErrorMessage(channel_id=channel_id, data=b"again"))
    await raw.peer.close()


async def test_error_for_all_channels_fails_them_and_ends_the_connection(raw: RawPeer) -> None:
    await raw.peer.send(ErrorMessage(channel_id=ALL_CHANNELS, data=b"everything is wrong"))
    await assert_failed(raw, "everything is wrong", at_next_block=True)
    assert await raw.hung_up()


async def test_failed_channel_is_reported_again_after_a_reconnection(raw: RawPeer) -> None:
    channel = channel_of(raw)
    await raw.peer.send(ErrorMessage(channel_id=channel.channel_id, data=b"no more"))
    await assert_failed(raw, "no more", at_next_block=True)
    await raw.reconnect()
    channel.disconnected()
    await raw.run(channel.connected())
    error = await raw.expect(ErrorMessage)
    assert (error.channel_id, error.text) == (channel.channel_id, "the channel was failed")


# --- the channel survives ----------------------------------------------------------------------


async def assert_channel_works(raw: RawPeer) -> None:
    """An HTLC with a senseless onion goes all the way and is failed back as malformed."""
    await raw.run(add_htlc(raw, onion=b"\x01" + bytes(1_365)))
    await raw.run(channel_of(raw).commit())
    await raw.receive(RevokeAndAck)
    await raw.receive(CommitmentSigned)
    failed = await raw.expect(UpdateFailMalformedHtlc)
    await raw.run(channel_of(raw).receive(failed))
    await raw.receive(CommitmentSigned)
    await raw.receive(RevokeAndAck)
    await eventually(raw.target.settled)
    assert raw.target.driver.phase is Phase.NORMAL


async def test_unknown_even_message_ends_the_connection_and_spares_the_channel(
    raw: RawPeer,
) -> None:
    await raw.peer.send(UnknownEven())
    warning = await raw.expect(WarningMessage)
    assert "40000" in warning.text
    assert await raw.hung_up()
    assert raw.target.driver.phase is Phase.NORMAL
    await raw.reconnect()
    channel = channel_of(raw)
    channel.disconnected()
    await raw.run(channel.connected())
    await raw.receive(ChannelReestablish)
    await raw.expect(Message)  # channel_ready, said again
    await assert_channel_works(raw)


async def test_unknown_odd_message_is_ignored(raw: RawPeer) -> None:
    await raw.peer.send(UnknownOdd())
    await assert_channel_works(raw)


async def test_message_for_an_unknown_channel_is_answered_with_an_error(raw: RawPeer) -> None:
    await raw.peer.send(Shutdown(channel_id=sha256(b"nowhere"), scriptpubkey=b"\x00\x14" * 11))
    error = await raw.expect(ErrorMessage)
    assert (error.channel_id, error.text) == (sha256(b"nowhere"), "unknown channel")
    await assert_channel_works(raw)


async def test_stranger_cannot_speak_for_a_channel(raw: RawPeer) -> None:
    stranger = await RawPeer.to(raw.target, name="stranger")
    channel_id = channel_of(raw).channel_id
    await stranger.peer.send(ErrorMessage(channel_id=channel_id, data=b"close it"))
    await stranger.peer.send(ErrorMessage(channel_id=ALL_CHANNELS, data=b"close all"))
    assert await stranger.hung_up()
    stranger = await RawPeer.to(raw.target, name="stranger")
    await stranger.peer.send(Shutdown(channel_id=channel_id, scriptpubkey=b"\x00\x14" * 11))
    assert (await stranger.expect(ErrorMessage)).text == "unknown channel"
    await stranger.peer.close()
    await assert_channel_works(raw)


async def test_peer_that_is_ahead_keeps_the_node_from_publishing(raw: RawPeer) -> None:
    """BOLT 2, option_data_loss_protect: the node's state is old, so it asks to be closed."""
    channel, driver = channel_of(raw), raw.target.driver
    secrets = driver.channel.signer.secrets
    await raw.reconnect()
    await raw.expect(ChannelReestablish)
    await raw.peer.send(
        ChannelReestablish(
            channel_id=channel.channel_id,
            next_commitment_number=9,
            next_revocation_number=8,
            your_last_per_commitment_secret=secrets.per_commitment_secret(7),
            my_current_per_commitment_point=raw.signer.secrets.per_commitment_point(8).data,
        )
    )
    assert "our state is old" in (await raw.expect(ErrorMessage)).text
    assert driver.phase is Phase.BEHIND
    await raw.peer.send(ErrorMessage(channel_id=channel.channel_id, data=b"close it"))
    raw.target.world.mine()
    await eventually(lambda: raw.target.node.watch.height == raw.target.world.regtest.height)
    assert raw.target.world.regtest.outspend(channel.state.config.funding_outpoint) is None


# --- openings ----------------------------------------------------------------------------------


async def test_wrong_funding_signature_opens_no_channel(
    victim: RunningNode, monkeypatch: Any
) -> None:
    raw = await RawPeer.to(victim)
    send = raw.peer.send

    async def send_wrong(message: Message) -> None:
        if isinstance(message, FundingCreated):
            message = replace(message, signature=bytes(31) + b"\x01" + bytes(31) + b"\x01")
        await send(message)

    monkeypatch.setattr(raw.peer, "send", send_wrong)
    with pytest.raises(AssertionError, match="signature"):  # an error, not funding_signed
        await raw.open_channel()
    assert not victim.node.drivers
    await raw.peer.close()


async def test_second_channel_on_the_same_output_is_refused(raw: RawPeer) -> None:
    """Whoever could open it would overwrite what the node knows of the first one."""
    outpoint = channel_of(raw).state.config.funding_outpoint
    other = await RawPeer.to(raw.target, name="other")
    with pytest.raises(AssertionError, match="ErrorMessage"):
        await other.open_channel(outpoint=outpoint)
    assert raw.target.driver.record.node_id == raw.key.public.data
    await other.peer.close()
    await assert_channel_works(raw)


async def test_funding_output_that_is_another_one_fails_the_channel(victim: RunningNode) -> None:
    """BOLT 2: the fundee looks at the output itself before it says channel_ready."""
    raw = await RawPeer.to(victim)
    with pytest.raises(AssertionError, match="ErrorMessage"):
        await raw.open_channel(vout=1)  # the faucet's change
    assert victim.driver.phase is Phase.FAILED
    await raw.peer.close()


async def test_openings_out_of_order_are_refused(victim: RunningNode) -> None:
    raw = await RawPeer.to(victim)
    await raw.peer.send(
        FundingCreated(
            temporary_channel_id=sha256(b"none"),
            funding_txid=sha256(b"tx"),
            funding_output_index=0,
            signature=bytes(64),
        )
    )
    assert "no such channel" in (await raw.expect(ErrorMessage)).text
    await raw.peer.close()

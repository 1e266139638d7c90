"""Every (state, message) pair is handled, or refused by the declared error and changes nothing."""

from dataclasses import replace

import pytest

from channel_pair import FUNDING, Pair, open_pair
from lightspeed.bitcoin import PrivateKey
from lightspeed.channel import Channel, ChannelViolation, Link, Phase
from lightspeed.channel.phases import ALLOWED_PHASES
from lightspeed.wire import (
    BOLT_MESSAGES,
    ChannelReady,
    ChannelReestablish,
    ClosingSigned,
    CommitmentSigned,
    Message,
    RevokeAndAck,
    Shutdown,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)

POINT = PrivateKey(b"\x09" * 32).public.data
ID = bytes(32)

MESSAGES: dict[type[Message], Message] = {
    ChannelReady: ChannelReady(channel_id=ID, second_per_commitment_point=POINT),
    ChannelReestablish: ChannelReestablish(
        channel_id=ID,
        next_commitment_number=1,
        next_revocation_number=0,
        your_last_per_commitment_secret=bytes(32),
        my_current_per_commitment_point=POINT,
    ),
    UpdateAddHtlc: UpdateAddHtlc(
        channel_id=ID,
        id=0,
        amount_msat=1_000_000,
        payment_hash=bytes(32),
        cltv_expiry=500,
        onion_routing_packet=bytes(1366),
    ),
    UpdateFulfillHtlc: UpdateFulfillHtlc(channel_id=ID, id=0, payment_preimage=bytes(32)),
    UpdateFailHtlc: UpdateFailHtlc(channel_id=ID, id=0, reason=b""),
    UpdateFailMalformedHtlc: UpdateFailMalformedHtlc(
        channel_id=ID, id=0, sha256_of_onion=bytes(32), failure_code=0x8001
    ),
    UpdateFee: UpdateFee(channel_id=ID, feerate_per_kw=1_500),
    CommitmentSigned: CommitmentSigned(channel_id=ID, signature=bytes(64)),
    RevokeAndAck: RevokeAndAck(
        channel_id=ID, per_commitment_secret=b"\x01" * 32, next_per_commitment_point=POINT
    ),
    Shutdown: Shutdown(channel_id=ID, scriptpubkey=b"\x00\x14" + bytes(20)),
    ClosingSigned: ClosingSigned(channel_id=ID, fee_satoshis=500, signature=bytes(64)),
}

HANDLED_IN_NORMAL = {ChannelReady, UpdateAddHtlc, UpdateFee, Shutdown}
"""Those of MESSAGES that an idle channel accepts as they stand (the fundee's view)."""


@pytest.fixture(scope="module")
def pair() -> Pair:
    return open_pair()


def channel_in(pair: Pair, phase: Phase, link: Link) -> Channel:
    node = pair.fundee
    assert node.channel is not None
    state = node.channel.state
    counterparty = replace(state.config.counterparty, upfront_shutdown_script=b"")
    state = replace(
        state,
        phase=phase,
        config=replace(state.config, counterparty=counterparty),
        session=replace(state.session, link=link),
    )
    return Channel(state, signer=node.signer, extensions=node.extensions)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("link", Link)
@pytest.mark.parametrize("phase", Phase)
def test_every_state_handles_or_refuses_every_message(
    pair: Pair, phase: Phase, link: Link, kind: type[Message]
) -> None:
    channel = channel_in(pair, phase, link)
    before = channel.state
    fits_link = link is (Link.REESTABLISHING if kind is ChannelReestablish else Link.UP)
    try:
        channel.receive(MESSAGES[kind])
    except ChannelViolation:
        assert channel.state is before, "a refused message changed the channel"
    else:
        assert phase in ALLOWED_PHASES[kind]
        assert fits_link
    if phase is Phase.NORMAL and link is Link.UP:
        assert (channel.state is not before or kind is ChannelReady) == (kind in HANDLED_IN_NORMAL)


def test_the_table_knows_every_message_of_a_channel() -> None:
    """What a BOLT message is not in the table is about the connection or about opening."""
    elsewhere = {m.__name__ for m in BOLT_MESSAGES} - {m.__name__ for m in ALLOWED_PHASES}
    assert elsewhere == {
        "WarningMessage",
        "Init",
        "ErrorMessage",
        "Ping",
        "Pong",
        "OpenChannel",
        "AcceptChannel",
        "FundingCreated",
        "FundingSigned",
    }
    assert set(MESSAGES) == set(ALLOWED_PHASES)


@pytest.mark.parametrize(
    "kind", sorted(set(BOLT_MESSAGES) - set(ALLOWED_PHASES), key=lambda kind: kind.TYPE)
)
def test_messages_that_are_not_for_a_channel_are_refused(pair: Pair, kind: type[Message]) -> None:
    channel = channel_in(pair, Phase.NORMAL, Link.UP)
    message = object.__new__(kind)
    with pytest.raises(ChannelViolation):
        channel.receive(message)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(MESSAGES[UpdateAddHtlc], id=1),
        replace(MESSAGES[UpdateAddHtlc], amount_msat=0),
        replace(MESSAGES[UpdateAddHtlc], amount_msat=2_000_000_000_000),
        replace(MESSAGES[UpdateAddHtlc], amount_msat=4_900_000_000),
        replace(MESSAGES[UpdateAddHtlc], cltv_expiry=500_000_000),
        replace(MESSAGES[UpdateFee], feerate_per_kw=252),
        replace(MESSAGES[UpdateFee], feerate_per_kw=4_000_000_000),
        MESSAGES[CommitmentSigned],
        MESSAGES[RevokeAndAck],
        MESSAGES[UpdateFulfillHtlc],
        MESSAGES[UpdateFailHtlc],
        MESSAGES[UpdateFailMalformedHtlc],
        MESSAGES[ClosingSigned],
        replace(MESSAGES[Shutdown], scriptpubkey=b"\x6a"),
    ],
)
def test_what_bolt_2_forbids_is_a_violation(pair: Pair, wrong: Message) -> None:
    channel = channel_in(pair, Phase.NORMAL, Link.UP)
    before = channel.state
    with pytest.raises(ChannelViolation):
        channel.receive(wrong)
    assert channel.state is before


def test_wrong_commitment_signature_is_a_violation() -> None:
    pair = open_pair()
    assert pair.funder.channel is not None
    pair.funder.run(pair.funder.channel.update_fee(1_100))
    pair.funder.run(pair.funder.channel.commit())
    pair.deliver(pair.funder)
    good = pair.funder.sent.popleft()
    assert isinstance(good, CommitmentSigned)
    assert pair.fundee.channel is not None
    bad = replace(good, signature=good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    before = pair.fundee.channel.state
    with pytest.raises(ChannelViolation):
        pair.fundee.channel.receive(bad)
    assert pair.fundee.channel.state is before
    pair.fundee.run(pair.fundee.channel.receive(good))
    pair.settle()
    pair.check_mirrored()


def test_failing_publishes_a_commitment_that_consensus_accepts() -> None:
    from judge import verify_spend
    from lightspeed.bitcoin import TxOut, p2wsh
    from lightspeed.channel import Broadcast, Side
    from lightspeed.channel.scripts import funding_script

    pair = open_pair()
    for node in (pair.funder, pair.fundee):
        assert node.channel is not None
        effects = node.channel.fail("the operator said so", at_fault=Side.HOLDER)
        (tx,) = [effect.tx for effect in effects if isinstance(effect, Broadcast)]
        config = node.channel.state.config
        keys = (config.holder.basepoints.funding, config.counterparty.basepoints.funding)
        verify_spend(tx, 0, [TxOut(config.funding_sat, p2wsh(funding_script(*keys)))])
        assert tx.inputs[0].outpoint == FUNDING
        assert node.channel.fail("again", at_fault=Side.HOLDER) == ()

"""What moves tokens between the sides, and what a thief might say instead."""

from dataclasses import replace
from typing import Any

import pytest

from channel_pair import Node, open_pair
from colour_pair import (
    ColouredPair,
    channel_of,
    colouring_of,
    content_of,
    open_coloured_pair,
    state_of,
)
from lightspeed.channel import ChannelClosed, ChannelRefusal, ChannelView, ChannelViolation, Side
from lightspeed.colour import (
    AskRefused,
    Offer,
    RefusedSubject,
    RgbAsk,
    RgbConsignment,
    RgbOffer,
    RgbRefuse,
    RgbTrade,
    TokensAsked,
    TokensOffered,
    TokensTraded,
)
from lightspeed.colour.consignments import consignment_messages
from lightspeed.units import Msat
from lightspeed.wire import ClosingSigned, Message, UpdateAddHtlc, UpdateFee

ONION = bytes(1366)


def hear(node: Node, message: Message) -> None:
    """As if the peer had sent it."""
    node.run(channel_of(node).receive(message))


def propose(node: Node, update: Message) -> None:
    node.run(channel_of(node).propose(update))


def commit(coloured: ColouredPair, node: Node) -> None:
    node.run(channel_of(node).commit())
    coloured.pair.settle()


def reconnect(coloured: ColouredPair) -> None:
    coloured.pair.disconnect()
    for node in (coloured.funder, coloured.fundee):
        node.restart()
    coloured.pair.reconnect()
    coloured.pair.settle()


@pytest.fixture
def coloured() -> ColouredPair:
    return open_coloured_pair(tokens=1_000, pushed=400, push_sat=2_000_000)


# --- trades ---------------------------------------------------------------------------------


def test_tokens_are_asked_for_offered_and_taken(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    before = channel_of(buyer).state.base.holder_msat
    coloured.trade(buyer, 100, 5_001)
    offer = Offer(1, 100, 5_001)
    assert seller.take(TokensAsked) == [TokensAsked(100)]
    assert buyer.take(TokensOffered) == [TokensOffered(offer)]
    assert buyer.take(TokensTraded) == [TokensTraded(Side.COUNTERPARTY, offer)]
    assert seller.take(TokensTraded) == [TokensTraded(Side.HOLDER, offer)]
    assert coloured.tokens() == (500, 500)
    assert channel_of(buyer).state.base.holder_msat == before - 5_001
    for node in (buyer, seller):
        assert state_of(node).offer(Side.HOLDER) is state_of(node).offer(Side.COUNTERPARTY) is None
    coloured.pair.check_mirrored()


def test_refused_question_and_the_next_one(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    coloured.extend(buyer, colouring_of(buyer).ask_for(5))
    with pytest.raises(ChannelRefusal, match="not answered"):
        coloured.extend(buyer, colouring_of(buyer).ask_for(5))
    coloured.pair.settle()
    coloured.extend(seller, colouring_of(seller).refuse_ask(b"no"))
    coloured.pair.settle()
    assert buyer.take(AskRefused) == [AskRefused(b"no")]
    with pytest.raises(ChannelRefusal, match="did not ask"):
        coloured.extend(seller, colouring_of(seller).offer_tokens(5, 1))
    coloured.agree(buyer, 5, 1)
    assert state_of(buyer).counterparty_offer == Offer(1, 5, 1)


@pytest.mark.parametrize(
    "change",
    [{"offer": 2}, {"offer": 0}, {"tokens": 101}, {"tokens": 2**64 - 1}, {"price_msat": 0}],
)
def test_trade_takes_the_standing_offer_and_no_other(
    coloured: ColouredPair, change: dict[str, Any]
) -> None:
    coloured.agree(coloured.fundee, 100, 5_000)
    with pytest.raises(ChannelViolation, match="does not stand"):
        hear(coloured.funder, replace(coloured.trade_of(coloured.fundee), **change))


def test_trade_without_an_offer_is_refused(coloured: ColouredPair) -> None:
    trade = RgbTrade(
        channel_id=channel_of(coloured.funder).channel_id, offer=0, tokens=0, price_msat=0
    )
    with pytest.raises(ChannelViolation):
        hear(coloured.funder, trade)


def test_offer_is_taken_once(coloured: ColouredPair) -> None:
    """Twice in one commitment, again after it, and again after both sides forgot the offer."""
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    trade = coloured.trade_of(buyer)
    propose(buyer, trade)
    coloured.pair.settle()
    with pytest.raises(ChannelViolation, match="taken already"):
        hear(seller, trade)
    with pytest.raises(ChannelRefusal, match="taken already"):
        propose(buyer, trade)
    commit(coloured, buyer)
    reconnect(coloured)
    with pytest.raises(ChannelViolation, match="does not stand"):
        hear(seller, trade)
    assert coloured.tokens() == (500, 500)


@pytest.mark.parametrize("deliveries", range(6))
def test_trade_survives_a_lost_connection_and_moves_once(
    coloured: ColouredPair, deliveries: int
) -> None:
    """Lost after any number of its messages; both sides are killed too."""
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    propose(buyer, coloured.trade_of(buyer))
    buyer.run(channel_of(buyer).commit())
    for number in range(deliveries):
        coloured.pair.deliver(buyer if number % 2 == 0 else seller)
    reconnect(coloured)
    commit(coloured, buyer)
    assert coloured.tokens() == (500, 500)
    assert len(buyer.take(TokensTraded)) == len(seller.take(TokensTraded)) == 1
    coloured.pair.check_mirrored()


def test_question_voids_the_offer_before_on_both_sides(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    old = coloured.trade_of(buyer)
    coloured.extend(buyer, colouring_of(buyer).ask_for(7))
    with pytest.raises(ChannelRefusal):
        propose(buyer, old)
    coloured.pair.settle()
    with pytest.raises(ChannelViolation):
        hear(seller, old)


def test_no_question_while_a_trade_is_under_way(coloured: ColouredPair) -> None:
    buyer = coloured.fundee
    coloured.agree(buyer, 100, 5_000)
    propose(buyer, coloured.trade_of(buyer))
    with pytest.raises(ChannelRefusal, match="under way"):
        coloured.extend(buyer, colouring_of(buyer).ask_for(7))


def test_unasked_or_empty_offers_and_impossible_ones(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    channel_id = channel_of(buyer).channel_id
    empty = RgbOffer(channel_id=channel_id, offer=1, tokens=0, price_msat=1)
    with pytest.raises(ChannelViolation, match="nobody asked"):
        hear(buyer, replace(empty, tokens=1))
    with pytest.raises(ChannelViolation, match="nobody asked"):
        hear(buyer, RgbRefuse(channel_id=channel_id, subject=RefusedSubject.ASK))
    coloured.extend(buyer, colouring_of(buyer).ask_for(1_000))
    for wrong in (empty, replace(empty, offer=0, tokens=1)):
        with pytest.raises(ChannelViolation, match="offer of nothing"):
            hear(buyer, wrong)
    coloured.pair.settle()
    for tokens, price_msat in ((0, 1), (601, 1), (1, -1), (1, 1 << 64)):
        with pytest.raises(ChannelRefusal):
            coloured.extend(seller, colouring_of(seller).offer_tokens(tokens, price_msat))
    with pytest.raises(ChannelViolation, match="before the one before"):
        hear(seller, RgbAsk(channel_id=channel_id, tokens=1))
    for tokens in (0, 1 << 64):
        with pytest.raises(ChannelRefusal):
            coloured.extend(seller, colouring_of(seller).ask_for(tokens))


def test_price_is_covered_above_the_reserve(coloured: ColouredPair) -> None:
    buyer = coloured.fundee
    coloured.agree(buyer, 100, 1_999_000_000)  # of 2,000,000 sat; the reserve is 50,000
    with pytest.raises(ChannelRefusal, match="reserve"):
        propose(buyer, coloured.trade_of(buyer))
    with pytest.raises(ChannelViolation, match="reserve"):
        hear(coloured.funder, coloured.trade_of(buyer))


def test_offered_tokens_are_not_spent_otherwise(coloured: ColouredPair) -> None:
    """The seller buys nothing with them while the buyer may take them at any time."""
    seller, buyer = coloured.funder, coloured.fundee
    coloured.agree(buyer, 600, 5_000)
    assert state_of(seller).holder_offer == Offer(1, 600, 5_000)
    coloured.agree(seller, 400, 7_000)  # the other way round, at the same time
    propose(seller, coloured.trade_of(seller))
    propose(buyer, coloured.trade_of(buyer))
    seller.run(channel_of(seller).commit())
    commit(coloured, buyer)
    assert coloured.tokens() == (400, 600)
    coloured.pair.check_mirrored()


def test_offer_is_given_back_unless_the_trade_crosses(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    coloured.extend(seller, colouring_of(seller).withdraw_offer(b"the price rose"))
    assert state_of(seller).holder_offer is not None  # until the buyer has answered
    coloured.pair.settle()
    assert state_of(seller).holder_offer is None
    assert state_of(buyer).counterparty_offer is None
    coloured.extend(seller, colouring_of(seller).withdraw_offer())
    assert not seller.sent

    coloured.agree(buyer, 100, 5_000)
    coloured.extend(seller, colouring_of(seller).withdraw_offer())
    propose(buyer, coloured.trade_of(buyer))
    commit(coloured, buyer)
    assert coloured.tokens() == (500, 500)

    coloured.agree(buyer, 50, 5_000)
    coloured.extend(seller, colouring_of(seller).withdraw_offer())
    coloured.extend(buyer, colouring_of(buyer).ask_for(60))
    coloured.pair.settle()
    coloured.extend(seller, colouring_of(seller).offer_tokens(60, 1))
    coloured.pair.settle()
    assert coloured.trade_of(buyer).tokens == 60


def test_trade_that_crosses_a_withdrawal_survives_a_lost_connection(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    propose(buyer, coloured.trade_of(buyer))
    coloured.extend(seller, colouring_of(seller).withdraw_offer())
    coloured.pair.settle()
    reconnect(coloured)  # nothing was signed: the trade is said again
    commit(coloured, buyer)
    assert coloured.tokens() == (500, 500)


def test_seller_cannot_sell_more_than_it_has(coloured: ColouredPair) -> None:
    buyer = coloured.fundee
    coloured.extend(buyer, colouring_of(buyer).ask_for(1_000))
    channel_id = channel_of(buyer).channel_id
    hear(buyer, RgbOffer(channel_id=channel_id, offer=1, tokens=601, price_msat=1))
    with pytest.raises(ChannelRefusal, match="do not cover"):
        propose(buyer, coloured.trade_of(buyer))


def test_what_the_next_commitment_may_not_have_is_not_offered(coloured: ColouredPair) -> None:
    """The buyer can take an offer before it has signed for what the seller bought itself."""
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(seller, 50, 1_000)
    propose(seller, coloured.trade_of(seller))
    coloured.extend(buyer, colouring_of(buyer).ask_for(650))
    coloured.pair.settle()
    with pytest.raises(ChannelRefusal, match="cannot be offered"):
        coloured.extend(seller, colouring_of(seller).offer_tokens(601, 1))
    commit(coloured, seller)
    coloured.extend(seller, colouring_of(seller).offer_tokens(650, 1))


def test_own_updates_leave_what_is_on_offer(coloured: ColouredPair) -> None:
    """A book in tokens, say: here its sheet alone."""
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 500, 5_000)
    colouring, state = colouring_of(seller), state_of(seller)
    channel = channel_of(seller)
    view = ChannelView(
        config=channel.state.config,
        signer=channel.signer,
        base=channel.state.base,
        shutting_down=False,
    )

    def check(tokens: int, *, careful: bool = True, taken: int = 0) -> None:
        content = replace(content_of(seller), holder_traded=taken)
        sheet = replace(channel.state.base, holder_tokens=tokens, extensions={"rgb": content})
        colouring.check_sheet(
            view, state, sheet, Side.HOLDER, extension_weight=172, careful=careful
        )

    check(500)
    check(499, careful=False)  # nothing of ours: the buyer's own trade
    check(0, taken=1)
    with pytest.raises(ChannelViolation, match="on offer"):
        check(499)


def test_no_trade_after_shutdown_of_its_sender(coloured: ColouredPair) -> None:
    buyer, seller = coloured.fundee, coloured.funder
    coloured.agree(buyer, 100, 5_000)
    trade = coloured.trade_of(buyer)
    _, effects = channel_of(seller).add_htlc(
        amount_msat=Msat(1_000_000), payment_hash=bytes(32), cltv_expiry=500, onion=ONION
    )
    seller.run(effects)
    commit(coloured, seller)  # an HTLC keeps the channel from closing
    buyer.run(channel_of(buyer).shutdown())
    coloured.pair.settle()
    with pytest.raises(ChannelRefusal, match="shutdown"):
        propose(buyer, trade)
    with pytest.raises(ChannelViolation, match="shutdown"):
        hear(seller, trade)
    with pytest.raises(ChannelRefusal):
        coloured.extend(buyer, colouring_of(buyer).ask_for(1))


# --- nothing comes in ---------------------------------------------------------------------------


def test_open_channel_takes_no_consignment(coloured: ColouredPair) -> None:
    """What is mined onto its funding outpoint later is in none of its commitments."""
    (piece,) = consignment_messages(channel_of(coloured.funder).channel_id, b"history")
    with pytest.raises(ChannelViolation, match="out of place"):
        hear(coloured.funder, piece)


def test_every_commitment_and_the_close_move_what_the_channel_opened_with(
    coloured: ColouredPair,
) -> None:
    """So a commitment of another time can leave nothing behind: not what is sent to the funding
    outpoint either, which nobody can move.
    """
    agreed = {token.opout for token in state_of(coloured.funder).parameters.allocations}
    later = coloured.put_on_funding(50)
    built = []
    for node in (coloured.fundee, coloured.funder, coloured.fundee):
        built += [channel_of(each).holder_commitment() for each in (coloured.funder, node)]
        coloured.trade(node, 100, 1_000)
    transitions = [each.frozen.coloured for each in built]
    coloured.funder.run(channel_of(coloured.funder).shutdown())
    coloured.pair.settle()
    (closed,) = coloured.funder.take(ChannelClosed)
    for moved in (*transitions, closed.coloured):
        assert moved is not None
        assert set(moved.transition.inputs) == agreed
        assert later.opout not in moved.transition.inputs


# --- no burn --------------------------------------------------------------------------------


def narrow(push_sat: int = 400) -> ColouredPair:
    """Of 100,000 sat the funder has what it needs."""
    return open_coloured_pair(tokens=1_000, pushed=400, funding_sat=100_000, push_sat=push_sat)


def test_fee_update_that_would_trim_the_funders_output_is_refused() -> None:
    coloured = narrow(push_sat=90_000)
    funder = coloured.funder
    # (1,124 + 172) weight units and the anchors; 354 of the 10,000 sat have to be left
    limit = (10_000 - 660 - 354) * 1_000 // (1_124 + 172)
    fee = UpdateFee(channel_id=channel_of(funder).channel_id, feerate_per_kw=limit + 2)
    with pytest.raises(ChannelViolation, match="own output"):
        hear(coloured.fundee, fee)
    with pytest.raises(ChannelRefusal, match="own output"):
        propose(funder, fee)


def test_htlcs_of_the_fundee_that_would_trim_the_funders_output_are_refused() -> None:
    """Each adds 172 weight units to the fee, which the funder pays."""
    coloured = narrow(push_sat=96_000)
    channel_id = channel_of(coloured.funder).channel_id

    def add(number: int) -> UpdateAddHtlc:
        return UpdateAddHtlc(
            channel_id=channel_id,
            id=number,
            amount_msat=Msat(2_000_000),
            payment_hash=bytes(32),
            cltv_expiry=500,
            onion_routing_packet=ONION,
        )

    # An honest fundee leaves room for twice the fee rate and one more: 4,000 sat are too few.
    with pytest.raises(ChannelRefusal, match="own output"):
        propose(coloured.fundee, add(0))
    # Fee of 1,296 WU, 660 for anchors, 354 above dust: 1,690 sat are left, for 9 HTLCs.
    for number in range(9):
        hear(coloured.funder, add(number))
    with pytest.raises(ChannelViolation, match="own output"):
        hear(coloured.funder, add(9))


def test_closing_fee_that_would_take_an_output_with_tokens_is_refused() -> None:
    coloured = narrow(push_sat=96_000)
    funder, fundee = coloured.funder, coloured.fundee
    propose(funder, UpdateFee(channel_id=channel_of(funder).channel_id, feerate_per_kw=253))
    commit(coloured, funder)
    for node in (funder, fundee):
        node.run(channel_of(node).shutdown())
    for _ in range(2):
        coloured.pair.deliver(fundee)
    coloured.pair.deliver(funder)
    (message,) = [each for each in funder.sent if isinstance(each, ClosingSigned)]
    funder.sent.clear()
    with pytest.raises(ChannelViolation, match="closing fee"):
        hear(fundee, replace(message, fee_satoshis=4_000 - 353))


def test_consignment_is_no_message_of_a_channel_without_tokens() -> None:
    pair = open_pair()
    message = RgbConsignment(
        channel_id=channel_of(pair.funder).channel_id, total=1, offset=0, data=b"x"
    )
    with pytest.raises(ChannelViolation):
        hear(pair.funder, message)

"""Which updates may be added to a log (BOLT 2, "Normal Operation").

One set of rules for both senders. What the peer must not do is a `ChannelViolation`; the
caller turns it into a refusal when it is the holder who asks.
"""

import hashlib
from typing import assert_never

from lightspeed.channel.build import (
    FEE_SPIKE_MARGIN,
    NO_MARGIN,
    check_funder_pays,
    extension_weight,
    left_to_the_fee,
)
from lightspeed.channel.errors import ChannelRefusal, ChannelViolation
from lightspeed.channel.phases import Phase
from lightspeed.channel.sheet import REMOVALS, Sheet
from lightspeed.channel.side import Side
from lightspeed.channel.state import Included
from lightspeed.channel.turn import Turn
from lightspeed.units import Sat, sat_to_msat
from lightspeed.wire import (
    Message,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)

__all__ = ["BADONION", "MINIMUM_FEERATE_PER_KW", "add_update", "is_update"]

BADONION = 0x8000
"""Flag in every failure code of update_fail_malformed_htlc (BOLT 4, "Failure Messages")."""

MINIMUM_FEERATE_PER_KW = 253  # 1 sat/vB, rounded so that a weight not divisible by 4 relays
_LOCKTIME_THRESHOLD = 500_000_000  # below it nLockTime is a height (BIP 65)

_MAX_PENDING_FEE_UPDATES = 64
"""Nothing else bounds how many there are in a log, which is stored and folded at each update."""

_MAX_DUST_MSAT = 50_000_000
"""What the holder risks to lose to the fee of a commitment in HTLCs that have no output."""

_BOLT_UPDATES = (UpdateAddHtlc, *REMOVALS, UpdateFee)


def is_update(turn: Turn, message: Message) -> bool:
    """Does it change commitments?"""
    return isinstance(message, _BOLT_UPDATES) or turn.extensions.is_update(message)


def add_update(turn: Turn, sender: Side, update: Message) -> None:
    """Checks an update against everything that is pending, and appends it to its log."""
    if turn.state.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
        raise ChannelViolation(f"an update while the channel is {turn.state.phase.value}")
    if not (turn.state.holder_ready and turn.state.counterparty_ready):
        raise ChannelViolation("an update before channel_ready")
    match update:
        case UpdateAddHtlc():
            _check_add(turn, sender, update)
        case UpdateFulfillHtlc() | UpdateFailHtlc() | UpdateFailMalformedHtlc():
            _check_removal(turn, sender, update)
        case UpdateFee():
            if not turn.state.config.is_funder(sender):
                raise ChannelViolation("update_fee of the side that does not pay the fee")
            _check_fee_update(turn, sender, update)
        case _:
            extension = turn.extensions.owner_of(update)
            pending = turn.sheet(_everything(turn))
            extension.check_update(
                turn.view(),
                turn.state.extension_states[extension.name],
                pending.extensions[extension.name],
                sender,
                update,
            )
    before = turn.sheet(_everything(turn))
    turn.append_update(sender, update)
    if isinstance(update, UpdateAddHtlc):
        _count_htlc(turn, sender)
    _check_next_commitments(turn, sender, update, before=before)


def _everything(turn: Turn) -> Included:
    return Included(len(turn.state.holder_log), len(turn.state.counterparty_log))


def _count_htlc(turn: Turn, sender: Side) -> None:
    if sender is Side.HOLDER:
        turn.update(holder_htlcs_added=turn.state.holder_htlcs_added + 1)
    else:
        turn.update(counterparty_htlcs_added=turn.state.counterparty_htlcs_added + 1)


def _check_add(turn: Turn, sender: Side, add: UpdateAddHtlc) -> None:
    state = turn.state
    # The holder stops at either side's shutdown; the peer may not have seen ours yet.
    if (
        state.phase is Phase.SHUTTING_DOWN
        if sender is Side.HOLDER
        else state.counterparty_shutdown_script is not None
    ):
        raise ChannelViolation("update_add_htlc after shutdown")
    receiver = state.config.side(sender.other)
    added = state.holder_htlcs_added if sender is Side.HOLDER else state.counterparty_htlcs_added
    if add.id != added:
        raise ChannelViolation(f"HTLC id {add.id} where {added} is next")
    if add.amount_msat < max(1, receiver.htlc_minimum_msat):
        raise ChannelViolation(f"an HTLC of {add.amount_msat} msat is below the minimum")
    if add.cltv_expiry >= _LOCKTIME_THRESHOLD:
        raise ChannelViolation("cltv_expiry is not a height")
    offered = [
        htlc.add for htlc in turn.sheet(_everything(turn)).htlcs if htlc.offered_by is sender
    ]
    if len(offered) + 1 > receiver.max_accepted_htlcs:
        raise ChannelViolation(f"more than {receiver.max_accepted_htlcs} HTLCs")
    in_flight = sum(htlc.amount_msat for htlc in offered) + add.amount_msat
    if in_flight > receiver.max_htlc_value_in_flight_msat:
        raise ChannelViolation(
            f"{in_flight} msat in flight, {receiver.max_htlc_value_in_flight_msat} are allowed"
        )


def _check_removal(
    turn: Turn,
    sender: Side,
    removal: UpdateFulfillHtlc | UpdateFailHtlc | UpdateFailMalformedHtlc,
) -> None:
    htlc = turn.state.base.htlc(sender.other, removal.id)
    for earlier in turn.state.log(sender):
        if isinstance(earlier, REMOVALS) and earlier.id == removal.id:
            raise ChannelViolation(f"HTLC {removal.id} is being removed already")
    match removal:
        case UpdateFulfillHtlc():
            if hashlib.sha256(removal.payment_preimage).digest() != htlc.add.payment_hash:
                raise ChannelViolation("the preimage does not belong to the payment hash")
        case UpdateFailMalformedHtlc():
            if not removal.failure_code & BADONION:
                raise ChannelViolation("failure_code without BADONION")
        case UpdateFailHtlc():
            pass
        case _:
            assert_never(removal)


def _check_fee_update(turn: Turn, sender: Side, update: UpdateFee) -> None:
    if update.feerate_per_kw < MINIMUM_FEERATE_PER_KW:
        raise ChannelViolation(f"a fee rate of {update.feerate_per_kw} sat/kw is too low")
    if sender is Side.HOLDER and turn.state.session.shutdown_received:
        raise ChannelViolation("a new fee rate might cross closing_signed")
    pending = sum(isinstance(earlier, UpdateFee) for earlier in turn.state.log(sender))
    if pending >= _MAX_PENDING_FEE_UPDATES:
        raise ChannelViolation(f"{pending} fee updates wait for a commitment already")


def _check_next_commitments(turn: Turn, sender: Side, update: Message, *, before: Sheet) -> None:
    """The commitments that will include the update: can everybody pay what they have to?

    `before` is without the update: who takes nothing out of its balance (removes an HTLC,
    settles) owes nobody a reserve.
    """
    config, after = turn.state.config, turn.sheet(_everything(turn))
    spends = after.balance_msat(sender) < before.balance_msat(sender)
    costs = spends or after.tokens(sender) < before.tokens(sender)
    reserve_sat = config.side(sender.other).channel_reserve_sat
    for broadcaster in Side:
        included = (
            _everything(turn) if sender is broadcaster else turn.state.next_included(broadcaster)
        )
        sheet = turn.sheet(included)
        weight = extension_weight(sheet, turn.extensions, turn.state.extension_states)
        for extension in turn.extensions:
            extension.check_sheet(
                turn.view(),
                turn.state.extension_states[extension.name],
                sheet,
                broadcaster,
                extension_weight=weight,
                careful=costs and sender is Side.HOLDER,
            )
        if isinstance(update, UpdateAddHtlc | UpdateFee):
            _check_dust(turn, sheet, broadcaster, sender=sender, update=update)
        if spends and sheet.balance_msat(sender) < sat_to_msat(reserve_sat):
            raise ChannelViolation("the update takes the balance below the channel reserve")
        if sender is config.funder:
            owed_sat = reserve_sat if spends or isinstance(update, UpdateFee) else Sat(0)
            _check_fee(turn, sheet, broadcaster, reserve_sat=owed_sat, careful=spends)
        elif spends and sender is Side.HOLDER:
            # BOLT 2 lets the fundee add what the funder can no longer pay for; we do not.
            _check_fee(turn, sheet, broadcaster, reserve_sat=Sat(0), careful=False)


def _check_dust(
    turn: Turn, sheet: Sheet, broadcaster: Side, *, sender: Side, update: Message
) -> None:
    """Whoever publishes a commitment burns what has no output in it: not too much of ours.

    An HTLC without an output is its offerer's until it is fulfilled. A fee rate that rises
    takes outputs away where HTLC transactions pay fees (no anchors).
    """
    if sender is Side.COUNTERPARTY and isinstance(update, UpdateAddHtlc):
        return
    dust_msat = left_to_the_fee(turn.state.config, sheet, broadcaster)
    if dust_msat > _MAX_DUST_MSAT:
        raise ChannelViolation(
            f"HTLCs of {dust_msat} msat would have no output, {_MAX_DUST_MSAT} are risked"
        )


def _check_fee(
    turn: Turn, sheet: Sheet, broadcaster: Side, *, reserve_sat: Sat, careful: bool
) -> None:
    """The funder pays the fee; a holder who funds keeps a margin for a rising fee rate too."""
    holder_funds = turn.state.config.funder is Side.HOLDER
    try:
        check_funder_pays(
            turn.state.config,
            sheet,
            broadcaster,
            extensions=turn.extensions,
            states=turn.state.extension_states,
            margin=FEE_SPIKE_MARGIN if careful and holder_funds else NO_MARGIN,
            reserve_sat=reserve_sat,
        )
    except ChannelRefusal as refusal:
        raise ChannelViolation(str(refusal)) from None

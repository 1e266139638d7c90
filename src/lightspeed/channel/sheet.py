"""What one commitment says about everybody's money, and how an update changes it.

A sheet is the fold of updates over the opening balances, seen from the holder. It has no
transaction yet: fees, dust and outputs come with `build`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightspeed.channel.errors import ChannelViolation
from lightspeed.channel.extension import Extensions
from lightspeed.channel.side import Side
from lightspeed.units import Msat
from lightspeed.wire import (
    Message,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)

__all__ = ["REMOVALS", "Htlc", "Sheet", "apply_update", "fold"]

REMOVALS = (UpdateFulfillHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc)


@dataclass(frozen=True, slots=True)
class Htlc:
    """An HTLC that no removal has taken away yet."""

    offered_by: Side
    add: UpdateAddHtlc


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Balances before fees and anchors are taken (BOLT 3, "Commitment Transaction Outputs")."""

    holder_msat: Msat
    counterparty_msat: Msat
    feerate_per_kw: int
    htlcs: tuple[Htlc, ...] = ()
    holder_tokens: int = 0
    counterparty_tokens: int = 0
    extensions: Mapping[str, Any]
    """What each extension keeps per commitment, by its name."""

    def balance_msat(self, side: Side) -> Msat:
        return self.holder_msat if side is Side.HOLDER else self.counterparty_msat

    def credited(self, side: Side, amount_msat: int) -> "Sheet":
        """With `amount_msat`, which may be negative, added to one balance.

        Raises `ChannelViolation` when the balance would fall below zero.
        """
        balance = Msat(self.balance_msat(side) + amount_msat)
        if balance < 0:
            raise ChannelViolation(f"the {side.value}'s balance does not cover the update")
        if side is Side.HOLDER:
            return replace(self, holder_msat=balance)
        return replace(self, counterparty_msat=balance)

    def tokens(self, side: Side) -> int:
        return self.holder_tokens if side is Side.HOLDER else self.counterparty_tokens

    def with_tokens(self, side: Side, gained: int) -> "Sheet":
        """With `gained` tokens, which may be negative, more on one side.

        Raises `ChannelViolation` when it would have less than none.
        """
        tokens = self.tokens(side) + gained
        if tokens < 0:
            raise ChannelViolation(f"the {side.value}'s tokens do not cover the update")
        if side is Side.HOLDER:
            return replace(self, holder_tokens=tokens)
        return replace(self, counterparty_tokens=tokens)

    def htlc(self, offered_by: Side, htlc_id: int) -> Htlc:
        """Raises `ChannelViolation` when there is none."""
        for htlc in self.htlcs:
            if htlc.offered_by is offered_by and htlc.add.id == htlc_id:
                return htlc
        raise ChannelViolation(f"no HTLC {htlc_id} to remove")


def apply_update(
    sheet: Sheet,
    sender: Side,
    update: Message,
    *,
    extensions: Extensions,
    states: Mapping[str, Any],
) -> Sheet:
    """The sheet after one update of `sender`. Raises `ChannelViolation` if it cannot be."""
    match update:
        case UpdateAddHtlc():
            debited = sheet.credited(sender, -update.amount_msat)
            return replace(debited, htlcs=(*sheet.htlcs, Htlc(sender, update)))
        case UpdateFulfillHtlc() | UpdateFailHtlc() | UpdateFailMalformedHtlc():
            htlc = sheet.htlc(sender.other, update.id)
            paid = sender if isinstance(update, UpdateFulfillHtlc) else sender.other
            remaining = tuple(other for other in sheet.htlcs if other is not htlc)
            return replace(sheet, htlcs=remaining).credited(paid, htlc.add.amount_msat)
        case UpdateFee():
            return replace(sheet, feerate_per_kw=update.feerate_per_kw)
    extension = extensions.owner_of(update)
    change = extension.apply(
        states[extension.name], sheet.extensions[extension.name], sender, update
    )
    after = replace(sheet, extensions={**sheet.extensions, extension.name: change.content})
    # Credits first: an update that moves money between the sides must not dip below zero.
    deltas = [(Side.HOLDER, change.holder_msat), (Side.COUNTERPARTY, change.counterparty_msat)]
    for side, delta in sorted(deltas, key=lambda item: -item[1]):
        after = after.credited(side, delta)
    moved = [(Side.HOLDER, change.holder_tokens), (Side.COUNTERPARTY, change.counterparty_tokens)]
    for side, delta in moved:
        after = after.with_tokens(side, delta)
    return after


def fold(
    sheet: Sheet,
    *,
    holder_updates: tuple[Message, ...],
    counterparty_updates: tuple[Message, ...],
    extensions: Extensions,
    states: Mapping[str, Any],
) -> Sheet:
    """The sheet after both sides' updates.

    The order between the sides does not matter: what one side's update refers to on the other
    side is irrevocably committed, hence part of `sheet` already.
    """
    for update in holder_updates:
        sheet = apply_update(sheet, Side.HOLDER, update, extensions=extensions, states=states)
    for update in counterparty_updates:
        sheet = apply_update(sheet, Side.COUNTERPARTY, update, extensions=extensions, states=states)
    return sheet

"""Whose: seen from the node that runs this code."""

from enum import Enum

__all__ = ["Side"]


class Side(Enum):
    """The holder is this node; the counterparty is its peer in the channel."""

    HOLDER = "holder"
    COUNTERPARTY = "counterparty"

    @property
    def other(self) -> "Side":
        return Side.COUNTERPARTY if self is Side.HOLDER else Side.HOLDER

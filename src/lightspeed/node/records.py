"""What a node stores beside its channels: JSON with a version, by table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from lightspeed.channel import Put, StateError
from lightspeed.lsf import Party

__all__ = [
    "CHANNEL_RECORD_TABLE",
    "CLOSING_TX_TABLE",
    "COUNTER_TABLE",
    "FUNDING_TX_TABLE",
    "ChannelRecord",
    "Document",
    "dump_document",
    "load_document",
]

CHANNEL_RECORD_TABLE = "channel_record"
"""Key: channel id."""
FUNDING_TX_TABLE = "funding_tx"
"""The funding transaction that we made. Key: channel id."""
CLOSING_TX_TABLE = "closing_tx"
"""The agreed closing transaction. Key: channel id."""
COUNTER_TABLE = "counter"
"""Numbers that are used once. Key: their name."""

_VERSION = 1


def dump_document(values: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": _VERSION, **values}, separators=(",", ":")).encode()


def load_document(data: bytes) -> dict[str, Any]:
    """Raises `StateError`."""
    try:
        document = json.loads(data)
        version = document.pop("version")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise StateError(f"a stored record does not parse: {type(error).__name__}") from None
    if version != _VERSION:
        raise StateError(f"stored by another version ({version})")
    return dict(document)


class Document:
    """Base of dataclasses that are stored field by field; bytes as hex."""

    __slots__ = ()

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Raises `StateError`."""
        try:
            return cls(**load_document(data))
        except TypeError:
            raise StateError("a stored record does not parse: other fields") from None

    def dump(self) -> bytes:
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return dump_document(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRecord:
    """What the node knows of a channel that the channel does not."""

    node_id: bytes
    """The peer's public key."""
    index: int
    """Of the channel's secrets."""
    party: Party | None = None
    """Ours in Lightspeed funding; None: an ordinary channel."""
    over: bool = False
    """Closed, and every output of ours is spent for good."""
    coloured: bool = False
    """It holds tokens."""
    doubtful: bool = False
    """Our state may be an old one: nothing is published before the peer has confirmed it."""
    opened_height: int | None = None
    """The chain's height at its opening. None: not known, stored by an earlier version."""

    def put(self, channel_id: bytes) -> Put:
        values = {
            "node_id": self.node_id.hex(),
            "index": self.index,
            "party": None if self.party is None else int(self.party),
            "over": self.over,
            "coloured": self.coloured,
            "doubtful": self.doubtful,
            "opened_height": self.opened_height,
        }
        return Put(CHANNEL_RECORD_TABLE, channel_id, dump_document(values))

    @classmethod
    def load(cls, data: bytes) -> "ChannelRecord":
        """Raises `StateError`."""
        values = load_document(data)
        try:
            party = values["party"]
            return cls(
                node_id=bytes.fromhex(values["node_id"]),
                index=values["index"],
                party=None if party is None else Party(party),
                over=values["over"],
                coloured=values.get("coloured", False),
                doubtful=values.get("doubtful", False),
                opened_height=values.get("opened_height"),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise StateError(f"a stored record does not parse: {type(error).__name__}") from None

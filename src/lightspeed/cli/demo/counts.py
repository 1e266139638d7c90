"""What the calls cost besides themselves, counted where it happens."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from lightspeed.node.views import MetricsView

__all__ = ["Counts", "PerCall"]

_KEEPALIVE = frozenset({"Ping", "Pong"})
"""The connection's, not a call's (BOLT 1, "The `ping` and `pong` Messages")."""
_OUR_LOOKING = "GET /v1/metrics"
"""Is no part of what is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Totals of both nodes and of the client, at one moment or between two."""

    signatures: int = 0
    """Made by the nodes' signers: commitments, HTLC transactions, children, invoices."""
    messages: Mapping[str, int] = field(default_factory=dict)
    """Sent by either node to the other, by the class of message."""
    local_calls: Mapping[str, int] = field(default_factory=dict)
    """Requests to the nodes' APIs, by what was asked."""
    http_requests: int = 0
    """From the client to the API server, all of them."""

    @classmethod
    def of(cls, nodes: Iterable[MetricsView], *, http_requests: int) -> Self:
        """What these nodes counted so far, together."""
        nodes = tuple(nodes)
        messages: Counter[str] = Counter()
        local_calls: Counter[str] = Counter()
        for node in nodes:
            messages.update(node.messages_sent)
            local_calls.update(node.api_calls)
        local_calls.pop(_OUR_LOOKING, None)
        return cls(
            signatures=sum(node.signatures for node in nodes),
            messages=messages,
            local_calls=local_calls,
            http_requests=http_requests,
        )

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            signatures=self.signatures - earlier.signatures,
            messages=_difference(self.messages, earlier.messages),
            local_calls=_difference(self.local_calls, earlier.local_calls),
            http_requests=self.http_requests - earlier.http_requests,
        )

    def per_call(self, calls: int) -> "PerCall":
        """`calls`: the paid ones; each was one request that the API had to be sent anyway."""
        node_messages = sum(n for kind, n in self.messages.items() if kind not in _KEEPALIVE)
        return PerCall(
            signatures=self.signatures / calls,
            node_messages=node_messages / calls,
            local_calls=sum(self.local_calls.values()) / calls,
            extra_requests=(self.http_requests - calls) / calls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerCall:
    """Means over the paid calls."""

    signatures: float
    node_messages: float
    local_calls: float
    extra_requests: float


def _difference(later: Mapping[str, int], earlier: Mapping[str, int]) -> dict[str, int]:
    found = Counter(later)
    found.subtract(earlier)
    return {name: number for name, number in sorted(found.items()) if number}

"""What a paid call costs besides itself: differences of what was counted, per call."""

from lightspeed.cli.demo.counts import Counts
from lightspeed.node import MetricsView

BEFORE = Counts(
    signatures=10,
    messages={"Ping": 3, "CommitmentSigned": 4},
    local_calls={"POST /v1/books": 1},
    http_requests=5,
)


def test_only_what_happened_in_between_counts() -> None:
    after = Counts(
        signatures=80,
        messages={"Ping": 3, "CommitmentSigned": 44, "RevokeAndAck": 40},
        local_calls={"POST /v1/books": 1, "POST /v1/invoices": 10},
        http_requests=25,
    )
    spent = after - BEFORE
    assert spent.messages == {"CommitmentSigned": 40, "RevokeAndAck": 40}
    assert spent.local_calls == {"POST /v1/invoices": 10}
    per_call = spent.per_call(10)
    assert (per_call.signatures, per_call.node_messages) == (7, 8)
    assert (per_call.local_calls, per_call.extra_requests) == (1, 1)


def test_calls_that_ask_nobody_cost_nothing_extra() -> None:
    after = Counts(
        signatures=10,
        messages=BEFORE.messages,
        local_calls=BEFORE.local_calls,
        http_requests=BEFORE.http_requests + 1_000,
    )
    per_call = (after - BEFORE).per_call(1_000)
    assert per_call.signatures == per_call.node_messages == 0
    assert per_call.local_calls == per_call.extra_requests == 0


def test_keepalive_is_the_connections_not_a_calls() -> None:
    after = Counts(
        signatures=10,
        messages={**BEFORE.messages, "Ping": 4, "Pong": 1},
        local_calls=BEFORE.local_calls,
        http_requests=BEFORE.http_requests + 1,
    )
    assert (after - BEFORE).per_call(1).node_messages == 0


def test_all_nodes_count_together_but_not_that_they_were_asked() -> None:
    node = MetricsView(
        signatures=7,
        messages_sent={"CommitmentSigned": 4, "Ping": 1},
        messages_received={"RevokeAndAck": 4},
        api_calls={"GET /v1/metrics": 9, "POST /v1/payments": 1},
    )
    other = MetricsView(
        signatures=3,
        messages_sent={"CommitmentSigned": 1},
        messages_received={"CommitmentSigned": 4},
        api_calls={"GET /v1/metrics": 9, "POST /v1/invoices": 2},
    )
    counts = Counts.of(iter([node, other]), http_requests=5)
    assert (counts.signatures, counts.http_requests) == (10, 5)
    assert counts.messages == {"CommitmentSigned": 5, "Ping": 1}
    assert counts.local_calls == {"POST /v1/payments": 1, "POST /v1/invoices": 2}

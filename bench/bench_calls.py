"""How much faster is a call paid with a secret than a call paid with a Lightning invoice?

Method: both end to end, as programs pay. Processes: an embedded regtest; the payee's node; the
payers' nodes, all in one; the API server; and this one, with all clients. Nodes speak BOLT 8 over
TCP, an application speaks to its own node over the node's HTTP API, the server has the product's
middleware and the clients its payers, and all is durable in build/ before it is answered. Every
client has a node of its own with a channel for each way: with a book for units, without one for
invoices, since a book would make every commitment dearer. They are opened once.

All calls are of one Starlette route. "unpaid" shows what a call costs anyway: added latency is a
paid call's less an unpaid one's (median less median, p95 less p95, of the same round). "unit": one
unit in a header. "invoice": the conventional payment; the API asks its node for an invoice, the
client has its node pay it, the API asks whether it was paid. In these every client has one call in
flight. "batched": invoices with several calls in flight in each channel, whose HTLCs share
commitment_signed messages. The four run in turn in each round, after a short one that is not
counted; calls that began in time are waited for. Printed are medians of the rounds, with ranges;
ratios are of the same round. "clients' CPU" is that of one core: below 100 % they had time left.

Counted is what the signers, the sockets and the APIs of all nodes and the API server counted more
after a round than before it, once nothing moved any more; ping and pong are the connections'. A
book is settled seldom, by default at 500,000 sat or after an hour, and not during these calls.

    python bench/bench_calls.py [--clients 64] [--seconds 4] [--rounds 5] [--batch 8]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from calls.house import House, Terms, open_house
from calls.load import Client, Round, measure, seated
from lightspeed.cli.demo.counts import Counts
from lightspeed.cli.demo.load import WrongAnswer
from lightspeed.cli.demo.processes import run_until_asked_to_end
from lightspeed.cli.demo.wire_client import HttpConnection
from lightspeed.errors import LightspeedError

BUILD = Path(__file__).parents[1] / "build"
TERMS = Terms()
GOAL_RATE = 100.0
GOAL_ADDED = 1 / 20
HTLC_CHANGES = 4
"""Of one payment: its HTLC comes and goes, in the commitments of both sides."""
WARM_UP_SECONDS = 0.5
INTERRUPTED = 130  # 128 + SIGINT, as shells count
P50, P95 = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class Way:
    """To make calls: what a client does, and how many calls it has in flight."""

    name: str
    call: Callable[[Client, HttpConnection], Awaitable[None]]
    in_flight: int = 1
    rounds: list[Round] = field(default_factory=list)
    counted: list[Counts] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(found.calls for found in self.rounds)

    @property
    def rates(self) -> list[float]:
        return [found.calls_per_second for found in self.rounds]

    def latencies(self, quantile: float) -> list[float]:
        return [found.latency(quantile) for found in self.rounds]

    def added(self, unpaid: "Way", quantile: float) -> list[float]:
        pairs = zip(self.latencies(quantile), unpaid.latencies(quantile), strict=True)
        return [paid - free for paid, free in pairs]

    @property
    def counts(self) -> Counts:
        """Of all rounds."""
        messages: Counter[str] = Counter()
        local_calls: Counter[str] = Counter()
        for one in self.counted:
            messages.update(one.messages)
            local_calls.update(one.local_calls)
        return Counts(
            signatures=sum(one.signatures for one in self.counted),
            messages=messages,
            local_calls=local_calls,
            http_requests=sum(one.http_requests for one in self.counted),
        )


async def run(*, clients: int, seconds: float, rounds: int, batch: int) -> dict[str, Way]:
    """The rounds of each way."""
    ways = [
        Way("unpaid", Client.unpaid),
        Way("unit", Client.by_unit),
        Way("invoice", Client.by_invoice),
        Way("batched", Client.by_invoice, in_flight=batch),
    ]
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        async with (
            open_house(Path(folder), clients=clients, terms=TERMS, tell=tell) as house,
            seated(house) as buyers,
        ):
            window = house.seats[0].book.window
            print(
                terms_lines(
                    clients=clients, seconds=seconds, rounds=rounds, batch=batch, window=window
                ),
                flush=True,
            )
            for way in ways[:-1]:  # the last is the one before, more often
                await one_round(house, buyers, way, seconds=min(seconds, WARM_UP_SECONDS))
            for number in range(rounds):
                tell(f"round {number + 1} of {rounds}")
                for way in ways:
                    found, counts = await one_round(house, buyers, way, seconds=seconds)
                    way.rounds.append(found)
                    way.counted.append(counts)
    return {way.name: way for way in ways}


async def one_round(
    house: House, clients: list[Client], way: Way, *, seconds: float
) -> tuple[Round, Counts]:
    before = await house.counts()
    found = await measure(clients, way.call, in_flight=way.in_flight, seconds=seconds)
    counts = await house.counts() - before
    if counts.http_requests != found.requests:
        raise WrongAnswer(
            f"the clients sent {found.requests} requests, {counts.http_requests} arrived"
        )
    return found, counts


def tell(text: str) -> None:
    """Progress; it is no part of the report."""
    print(text, file=sys.stderr, flush=True)


# --- the report ---------------------------------------------------------------------------
def question() -> str:
    """The docstring less how to run it."""
    assert __doc__ is not None
    return __doc__.rpartition("\n\n    python")[0]


def terms_lines(*, clients: int, seconds: float, rounds: int, batch: int, window: int) -> str:
    return (
        f"{clients} clients; for each way {rounds} x {seconds:g} s\n"
        f"unit     {TERMS.unit_msat:,} msat; books of scheme outputs, {TERMS.locks} locks of "
        f"{TERMS.lock_amount_sat:,} sat, c = {TERMS.chain_length:,}, window {window:,} units\n"
        f"invoice  {TERMS.invoice_sat:,} sat: an HTLC below dust is no output, no chain would "
        "enforce it\n"
        f"batched  {batch} calls in flight in each channel\n"
    )


def report(ways: dict[str, Way]) -> str:
    parts = (figures(ways), ratios(ways), counted(ways))
    return "\n\n".join("\n".join(line.rstrip() for line in lines) for lines in parts)


def figures(ways: dict[str, Way]) -> Iterable[str]:
    """Rates and latencies, a line for each way."""
    yield "            calls/s  range             latency ms       p95  clients' CPU"
    for way in ways.values():
        share = statistics.median(found.clients_share for found in way.rounds)
        yield (
            f"{way.name:<9}{statistics.median(way.rates):>10,.0f}  {spread(way.rates):<18}"
            f"{milliseconds(way.latencies(P50)):>10,.1f}{milliseconds(way.latencies(P95)):>10,.1f}"
            f"{share:>14.0%}"
        )
    yield ""
    yield "           added ms  range                           p95  range"
    unpaid = ways["unpaid"]
    for way in paid(ways):
        median, late = (
            [1_000 * seconds for seconds in way.added(unpaid, quantile)] for quantile in (P50, P95)
        )
        yield (
            f"{way.name:<9}{statistics.median(median):>10,.1f}  {spread(median, '.1f'):<24}"
            f"{statistics.median(late):>11,.1f}  {spread(late, '.1f')}"
        )


def ratios(ways: dict[str, Way]) -> Iterable[str]:
    """Units against invoices, with the goals."""
    unpaid, unit = ways["unpaid"], ways["unit"]
    for other, judged in ((ways["invoice"], True), (ways["batched"], False)):
        rates = [mine / theirs for mine, theirs in zip(unit.rates, other.rates, strict=True)]
        rate = statistics.median(rates)
        line = f"unit / {other.name:<9}calls/s       {rate:>8,.0f}  {spread(rates):<18}"
        yield line + goal(f"{GOAL_RATE:.0f} x or more", rate >= GOAL_RATE) * judged
        for name, quantile in (("median", P50), ("p95", P95)):
            pairs = zip(unit.added(unpaid, quantile), other.added(unpaid, quantile), strict=True)
            parts = [mine / theirs for mine, theirs in pairs]
            part = statistics.median(parts)
            line = (
                f"unit / {other.name:<9}added {name:<8}{fraction(part):>8}  "
                f"{f'[{fraction(min(parts))} .. {fraction(max(parts))}]':<18}"
            )
            yield line + goal(f"{fraction(GOAL_ADDED)} or less", part <= GOAL_ADDED) * judged


def counted(ways: dict[str, Way]) -> Iterable[str]:
    """What was counted besides the calls, per call."""
    yield "per call   signatures  node messages  local calls  extra requests  of calls"
    for way in paid(ways):
        each = way.counts.per_call(way.calls)
        numbers = each.signatures, each.node_messages, each.local_calls, each.extra_requests
        line = (
            f"{way.name:<9}{numbers[0]:>12.4g}{numbers[1]:>15.4g}{numbers[2]:>13.4g}"
            f"{numbers[3]:>16.4g}{way.calls:>10,}"
        )
        yield line + goal("0 / 0 / 0 / 0", not any(numbers)) * (way.name == "unit")
    for way in (ways["invoice"], ways["batched"]):
        signed = way.counts.messages.get("CommitmentSigned", 0)
        shared = HTLC_CHANGES * way.calls / signed
        yield f"{way.name:<9}{shared:.2g} HTLC changes in each commitment_signed"


def paid(ways: dict[str, Way]) -> list[Way]:
    return [way for way in ways.values() if way.name != "unpaid"]


def goal(text: str, reached: bool) -> str:
    return f"  goal {text}: {'reached' if reached else 'NOT reached'}"


def fraction(part: float) -> str:
    return f"1/{1 / part:,.0f}" if part > 0 else "0"


def spread(found: list[float], form: str = ".0f") -> str:
    return f"[{min(found):,{form}} .. {max(found):,{form}}]"


def milliseconds(found: list[float]) -> float:
    return 1_000 * statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    print(f"{question()}\n", flush=True)
    try:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        ways = run_until_asked_to_end(run(**vars(options)))
    except* KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except* LightspeedError as errors:
        sys.exit(str(errors.exceptions[0]))
    print(report(ways))


if __name__ == "__main__":
    main()

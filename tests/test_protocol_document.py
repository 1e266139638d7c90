"""The figures of docs/protocol.md are those of the code: types, sizes, weights, limits, names."""

import re
from pathlib import Path

import pytest

from lightspeed.bitcoin import PrivateKey
from lightspeed.channel.weights import (
    closing_weight,
    commitment_weight,
    htlc_success_weight,
    htlc_timeout_weight,
)
from lightspeed.colour import COLOUR_MESSAGES
from lightspeed.lsf import LSF_MESSAGES, LightspeedFunding, RejectReason
from lightspeed.lsf.claims import CLAIM_INPUT_WEIGHT
from lightspeed.lsf.ladder import settlement_transaction_weight
from lightspeed.lsf.limits import MAX_CHANNEL_RUNGS, MAX_OUTPUTS_LOCKS
from lightspeed.lsf.messages import (
    MAX_CLOSE_ELEMENTS,
    MAX_LOCK_BYTES_PER_MESSAGE,
    MAX_SETTLE_SECRETS,
    MAX_SIGNATURES_PER_MESSAGE,
)
from lightspeed.lsf.micropayment import micropayment_weight
from lightspeed.lsf.negotiation import LIMITS_TLV, PARTY_TLV
from lightspeed.lsf.scripts import (
    LSF_OUTPUT_WEIGHT,
    claim_leaf,
    literal_claim_leaf,
    payee_leaf,
    refund_leaf,
    secret_leaf,
)
from lightspeed.lsf.seals import seals_child_weight
from lightspeed.node.peers import peer_settings
from lightspeed.payment import PaymentRefused

TEXT = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
KEY = PrivateKey(b"\x07" * 32).public
DELAY = 144


def rows(*first_cells: str) -> list[tuple[str, ...]]:
    """The rows of all tables with this heading."""
    heading = r"\| " + r" \| ".join(re.escape(cell) for cell in first_cells) + r"[^\n]*\n\|[-|]+\n"
    found = re.findall(heading + r"((?:\|[^\n]*\n)+)", TEXT)
    assert found, first_cells
    return [
        tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        for table in found
        for line in table.splitlines()
    ]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def push_size(value: int) -> int:
    """n(x), as the document defines it."""
    return 1 if value <= 16 else 2 if value <= 127 else 3 if value <= 32_767 else 4


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.strip("`* U").split("_"))


@pytest.mark.parametrize(
    ("heading", "messages"),
    [(("type", "message"), LSF_MESSAGES), (("type", "name"), COLOUR_MESSAGES)],
    ids=["lsf", "rgb"],
)
def test_messages_have_the_types_of_the_tables(
    heading: tuple[str, ...], messages: tuple[type, ...]
) -> None:
    told = {camel(row[1].split("`")[1]): int(row[0]) for row in rows(*heading)}
    assert told == {message.__name__: message.TYPE for message in messages}  # type: ignore[attr-defined]


def test_records_and_feature_bits() -> None:
    assert {int(row[0]) for row in rows("type", "from", "content")} >= {PARTY_TLV, LIMITS_TLV}
    bit = LightspeedFunding.feature_bit
    assert f"Feature bits {bit}/{bit + 1}." in TEXT
    (listed,) = re.findall(r"\| features in `init` \| ([\d, ]+):", TEXT)
    settings = peer_settings(
        node_key=PrivateKey(b"\x01" * 32), chain_hash=bytes(32), lightspeed=False
    )
    assert list(settings.init.features) == [int(bit) for bit in listed.split(",")]


def test_reasons_and_sizes_of_messages() -> None:
    (listed,) = re.findall(r"\nReasons: ([^.]*)\.", TEXT)
    told = {int(code): name for code, name in re.findall(r"(\d+) ([a-z ]+)", listed)}
    assert told == {code.value: code.name.lower().replace("_", " ") for code in RejectReason}
    for count in (
        MAX_LOCK_BYTES_PER_MESSAGE // 32,
        MAX_LOCK_BYTES_PER_MESSAGE // 64,
        MAX_LOCK_BYTES_PER_MESSAGE // 96,
        MAX_SIGNATURES_PER_MESSAGE,
        MAX_CLOSE_ELEMENTS,
        MAX_SETTLE_SECRETS,
        MAX_OUTPUTS_LOCKS,
        MAX_CHANNEL_RUNGS,
    ):
        assert f"{count:,}" in TEXT


@pytest.mark.parametrize("delay", [1, 16, 17, 127, 128, 144, 32_767, 32_768, 65_535])
def test_scripts_have_the_sizes_of_the_table(delay: int) -> None:
    h = bytes(32)
    sizes = {
        "split": len(secret_leaf(h, payer=KEY, payee=KEY, delay_blocks=delay)),
        "refund": len(refund_leaf(KEY, refund_delay_blocks=delay)),
        "claim": len(claim_leaf(h, payee=KEY)),
        "payee": len(payee_leaf(KEY)),
        "literal claim": len(literal_claim_leaf(h)),
    }
    table = rows("leaf", "script", "bytes")
    assert len(table) == len(sizes)
    for leaf, _, told, _ in table:
        fixed, _, push = told.partition(" + ")
        name = leaf.split(",")[0].split(" (")[0]
        assert sizes[name] == int(fixed) + (push_size(delay) if push else 0), leaf


def test_weights_of_the_base() -> None:
    table = dict(rows("transaction", "WU"))
    base, anchors = re.findall(r"([\d,]+) \+ 172 h", table["commitment with h HTLC outputs"])
    for told, has_anchors in ((base, False), (anchors, True)):
        assert commitment_weight(untrimmed_htlcs=3, anchors=has_anchors) == number(told) + 516
    told = [int(found) for found in re.findall(r"\d+", table["HTLC-timeout, HTLC-success"])]
    weights = [
        weigh(anchors=has_anchors)
        for has_anchors in (False, True)
        for weigh in (htlc_timeout_weight, htlc_success_weight)
    ]
    assert told == weights
    assert closing_weight(bytes(22), bytes(34)) == 4 * (10 + 41 + 9 + 22 + 9 + 34) + 2 + 222
    assert "4 x (10 + 41 + the sum of 9 + s) + 2 + 222" in TEXT


def test_weights_of_children() -> None:
    for locks, told, _ in rows("N", "d = 144"):
        n = number(locks)
        weight = micropayment_weight(n, with_p2a=n <= 229, delay_blocks=DELAY)
        assert told == f"{weight:,} WU, {-(-weight // 4):,} vB"
        k, p2a = n, int(n <= 229)
        assert weight == (
            4 * (10 + 2 * (k + p2a > 252) + 41 + 43 * k + 13 * p2a) + 2 + 231 + 108 + 3
        )
    for locks, *told in rows("N, nothing settled, d = 144"):
        n = number(locks)
        for rung, cell in zip((1, n), told, strict=True):
            weight = settlement_transaction_weight(n, rung, delay_blocks=DELAY)
            assert cell == f"{weight:,} WU, {-(-weight // 4)} vB", (n, rung)
            in_tokens = settlement_transaction_weight(n, rung, delay_blocks=DELAY, tokens=True)
            assert in_tokens == weight + 172
    assert f"with d = 144 it is {seals_child_weight(delay_blocks=DELAY)} WU" in TEXT
    assert f"(claim {CLAIM_INPUT_WEIGHT} WU;" in TEXT
    assert f"**The commitment** gains {LSF_OUTPUT_WEIGHT} WU for each book" in TEXT


def test_problems_have_the_names_and_statuses_of_the_table() -> None:
    told = {
        name: status
        for names, status, _ in rows("name", "status", "further fields")
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    for kind in PaymentRefused.__subclasses__():
        assert told[kind.slug] == str(kind.http_status), kind

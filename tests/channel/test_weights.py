"""The weights are those that BOLT 3 prints, and those that real scripts have."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lightspeed.bitcoin import P2TR_OUTPUT_WEIGHT, PrivateKey, TxOut, p2wpkh, p2wsh
from lightspeed.channel.scripts import funding_script, offered_htlc_script, received_htlc_script
from lightspeed.channel.weights import (
    FUNDING_WITNESS_WEIGHT,
    HTLC_OUTPUT_WEIGHT,
    commitment_weight,
    htlc_success_weight,
    htlc_timeout_weight,
    output_weight,
)
from lightspeed.units import Sat

APPENDIX_A = (Path(__file__).parents[1] / "vectors" / "bolt" / "bolt3-weights.txt").read_text()
KEY = PrivateKey(b"\x01" * 32).public


def numbers(pattern: str) -> list[int]:
    found = re.search(pattern, APPENDIX_A)
    assert found, pattern
    return [int(group) for group in found.groups()]


@pytest.mark.parametrize("anchors", [False, True])
def test_appendix_a_commitment(anchors: bool, vectors: Callable[[str, int], None]) -> None:
    kind = "option_anchors" if anchors else "no option_anchors"
    base, per_htlc, witness = numbers(
        rf"overall_weight \({kind}\) = (\d+) \+ (\d+) \* num-htlc-outputs \+ (\d+) weight"
    )
    assert commitment_weight(untrimmed_htlcs=0, anchors=anchors) == base + witness
    assert commitment_weight(untrimmed_htlcs=3, anchors=anchors) == base + witness + 3 * per_htlc
    assert per_htlc == HTLC_OUTPUT_WEIGHT
    assert numbers(r"witness: (\d+) bytes\n") == [FUNDING_WITNESS_WEIGHT]
    vectors("BOLT 3 A", 1)


@pytest.mark.parametrize(
    ("name", "weigh"),
    [("HTLC-timeout", htlc_timeout_weight), ("HTLC-success", htlc_success_weight)],
)
def test_appendix_a_second_stage(
    name: str, weigh: Callable[..., int], vectors: Callable[[str, int], None]
) -> None:
    plain, anchors = numbers(rf"(\d+) \({name}\) \((\d+) with option_anchors\)")
    assert (weigh(anchors=False), weigh(anchors=True)) == (plain, anchors)
    vectors("BOLT 3 A", 2)


def test_appendix_a_scripts(vectors: Callable[[str, int], None]) -> None:
    """With a cltv_expiry of four bytes, as the appendix counts it; in practice it has three."""
    shared = {
        "revocation": KEY,
        "broadcaster_htlc": KEY,
        "countersignatory_htlc": KEY,
        "payment_hash": bytes(32),
    }
    offered = [len(offered_htlc_script(**shared, anchors=anchors)) for anchors in (False, True)]
    received = [
        len(received_htlc_script(**shared, cltv_expiry=0x7FFFFFFF, anchors=anchors))
        for anchors in (False, True)
    ]
    assert offered == numbers(r"offered_htlc_script: (\d+) bytes \((\d+) bytes with")
    assert received == numbers(r"accepted_htlc_script: (\d+) bytes \((\d+) bytes with")
    assert [len(funding_script(KEY, KEY))] == numbers(r"multi_sig: (\d+) bytes")
    vectors("BOLT 3 A", 3)


def test_what_extensions_add_is_counted_on_top() -> None:
    with_p2tr = commitment_weight(
        untrimmed_htlcs=0, anchors=True, extension_weight=P2TR_OUTPUT_WEIGHT
    )
    assert with_p2tr == 1_124 + 172


@pytest.mark.parametrize(
    "script", [p2wpkh(KEY.data), p2wsh(b""), b"\x6a" + bytes(252), b"\x6a" + bytes(251)]
)
def test_an_output_weighs_four_times_its_bytes(script: bytes) -> None:
    assert output_weight(script) == 4 * len(TxOut(Sat(1), script).serialize())

"""Law: whatever a client hands over, and whatever a blob holds, the tower's parsers return a value
or raise their one declared error; and a part that is read encodes to the same bytes and makes
transactions.

Run it with `python fuzz/fuzz_tower.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

import json

from lightspeed.bitcoin import OutPoint, TxOut, sha256
from lightspeed.node.problems import BadRequest
from lightspeed.node.tower import BlobMalformed, Bundle, Part, SealBroken, Variant, seal, unseal
from lightspeed.node.tower.bundles import BundleInput
from lightspeed.node.tower.sealing import NONCE_SIZE
from lightspeed.node.tower.service import read_changes
from lightspeed.units import Sat
from target import Target

TXID = sha256(b"a commitment")
SCRIPT = b"\x51\x20" + bytes(32)
NONCE = bytes(range(NONCE_SIZE))
PENALTY = Bundle(
    parent=None,
    version=2,
    locktime=0,
    value_sat=Sat(10_000),
    inputs=(BundleInput(3, 0xFFFF_FFFD, (b"item", b"script")),),
    outputs=(TxOut(Sat(1_000), SCRIPT),),
    variants=(Variant(Sat(100), (b"sig a",)), Variant(Sat(900), (b"sig b",))),
)
PART = Part(SCRIPT, (PENALTY,)).to_bytes()
CHANGES = {
    "changes": [
        {"hint": "00" * 16, "part": 7, "blob": "AAAA"},
        {"hint": "11" * 16, "part": None, "blob": None},
    ]
}


def part(data: bytes) -> None:
    read = Part.from_bytes(data)
    assert read.to_bytes() == data
    for bundle in read.bundles:
        for tx in bundle.transactions(commitment_txid=TXID, destination_script=SCRIPT):
            assert tx.outpoint(0) == OutPoint(tx.txid, 0)


def opened(data: bytes) -> None:
    """Nobody but who knows the txid makes a blob that opens."""
    assert unseal(data, txid=TXID, part=7) == PART


def sealed(data: bytes) -> None:
    """The plaintext is a client's, and may be anything."""
    assert unseal(seal(data, txid=TXID, part=7, nonce=NONCE), txid=TXID, part=7) == data
    part(data)


def changes(data: bytes) -> None:
    for change in read_changes(data):
        assert len(change.hint) == 16


TARGET = Target(
    name="tower",
    parsers=(
        (part, BlobMalformed),
        (opened, SealBroken),
        (sealed, BlobMalformed),
        (changes, BadRequest),
    ),
    seeds=(
        (part, PART),
        (opened, seal(PART, txid=TXID, part=7, nonce=NONCE)),
        (sealed, PART),
        (changes, json.dumps(CHANGES).encode()),
    ),
)

if __name__ == "__main__":
    TARGET.run()

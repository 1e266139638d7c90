"""What a tower is given: opaque without the txid, complete with it, parsed without surprises."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin import OutPoint, TxOut, sha256
from lightspeed.node.tower import BlobMalformed, Bundle, Part, SealBroken, Variant
from lightspeed.node.tower.bundles import MAX_VARIANTS, BundleInput
from lightspeed.node.tower.sealing import NONCE_SIZE, hint_of, seal, unseal
from lightspeed.units import Sat
from tower_world import tower_world

TXID = sha256(b"a commitment")
NONCE = bytes(range(NONCE_SIZE))
SCRIPT = b"\x51\x20" + bytes(32)


def bundle(**changes: object) -> Bundle:
    values = {
        "parent": None,
        "version": 2,
        "locktime": 0,
        "value_sat": Sat(10_000),
        "inputs": (BundleInput(3, 0xFFFF_FFFD, (b"item", b"script")),),
        "outputs": (TxOut(Sat(1_000), SCRIPT),),
        "variants": (Variant(Sat(100), (b"sig a",)), Variant(Sat(900), (b"sig b",))),
    }
    return Bundle(**(values | changes))


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    inputs = draw(
        st.lists(
            st.builds(
                BundleInput,
                st.integers(0, 100_000),
                st.integers(0, 0xFFFF_FFFF),
                st.lists(st.binary(max_size=40), max_size=3).map(tuple),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda spending: spending.vout,
        )
    )
    outputs = draw(
        st.lists(st.builds(TxOut, st.integers(0, 5_000), st.binary(max_size=40)), max_size=3)
    )
    kept = sum(output.value for output in outputs)
    rest = draw(st.booleans())
    fees = sorted(draw(st.sets(st.integers(0, 9_000), min_size=1, max_size=4 if rest else 1)))
    value = kept + fees[-1] + (draw(st.integers(1, 1_000)) if rest else 0)
    return Bundle(
        parent=draw(st.none() | st.binary(min_size=32, max_size=32)),
        version=draw(st.sampled_from((2, 3))),
        locktime=draw(st.integers(0, 0xFFFF_FFFF)),
        value_sat=Sat(value),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        variants=tuple(
            Variant(Sat(fee), tuple(draw(st.binary(max_size=72)) for _ in inputs)) for fee in fees
        ),
        rest_to_destination=rest,
        only_as_bump=draw(st.booleans()),
    )


parts = st.builds(Part, st.binary(max_size=40), st.lists(bundles(), max_size=3).map(tuple))


# --- seals ----------------------------------------------------------------------------------


@given(plaintext=st.binary(max_size=400), part=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_seal_opens_with_the_txid_and_only_for_its_part(plaintext: bytes, part: int) -> None:
    blob = seal(plaintext, txid=TXID, part=part, nonce=NONCE)
    assert len(blob) == 1 + NONCE_SIZE + -(-(4 + len(plaintext)) // 128) * 128 + 16
    assert unseal(blob, txid=TXID, part=part) == plaintext
    for txid, number in ((TXID[::-1], part), (TXID, part ^ 1)):
        with pytest.raises(SealBroken):
            unseal(blob, txid=txid, part=number)


@given(at=st.integers(0, 172), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_changed_seal_does_not_open(at: int, flip: int) -> None:
    blob = bytearray(seal(b"plaintext", txid=TXID, part=0, nonce=NONCE))
    blob[at % len(blob)] ^= flip
    with pytest.raises(SealBroken):
        unseal(bytes(blob), txid=TXID, part=0)


@given(blob=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_unsealing_raises_only_the_declared_error(blob: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(blob, txid=TXID, part=0)


def test_size_of_a_seal_tells_no_more_than_the_multiple_of_128() -> None:
    sizes = [len(seal(bytes(size), txid=TXID, part=0, nonce=NONCE)) for size in (1, 124, 125)]
    assert sizes == [sizes[0], sizes[0], sizes[0] + 128]
    assert hint_of(TXID) != TXID[:16]


async def test_what_the_tower_stores_is_opaque_without_the_txid(tmp_path: Path) -> None:
    """Nothing of the channel is in the tower's file: no script, txid, secret, id or amount."""
    async with tower_world(tmp_path) as tower:
        tower.pay(1, 2, 3)
        tower.world.make_revoked(tower.payer)
        await tower.hand_over(tower.payee)
        commitments = tower.payee.node.channel.counterparty_commitments()
        tower.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = (tmp_path / "tower.sqlite").read_bytes()
        channel = tower.payee.node.channel
        public = [output.txout.script for output in commitments[-1].frozen.outputs]
        known = [
            *public,
            *(script[2:] for script in public),
            *(built.frozen.tx.txid for built in commitments),
            channel.channel_id,
            channel.state.config.funding_outpoint.txid,
            tower.secret.book.book_id,
            *(tower.secret.lock_secret(lock) for lock in (1, 2, 3)),
            *(tower.secret.book.lock_hash(lock) for lock in (1, 2, 3)),
        ]
        assert hint_of(commitments[-1].frozen.tx.txid) in data  # the search would find it
        assert not [secret.hex() for secret in known if secret in data]


async def test_no_two_parts_are_sealed_with_the_same_nonce(tmp_path: Path) -> None:
    async with tower_world(tmp_path) as tower:
        for locks in ((1,), (2,), (3, 4)):
            tower.pay(*locks)
            await tower.hand_over(tower.payee)
        blobs = [change.blob for request in tower.client.requests for change in request]
        nonces = [blob[1 : 1 + NONCE_SIZE] for blob in blobs if blob]
        assert len(nonces) == len(set(nonces)) >= 4


# --- parts ----------------------------------------------------------------------------------


@given(part=parts)
@settings(max_examples=60, deadline=None)
def test_part_encodes_to_what_it_is_read_from(part: Part) -> None:
    assert Part.from_bytes(part.to_bytes()) == part


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_reading_a_part_raises_only_the_declared_error(data: bytes) -> None:
    """Law: bytes are a part that encodes to exactly them, or `BlobMalformed`."""
    with contextlib.suppress(BlobMalformed):
        assert Part.from_bytes(data).to_bytes() == data


@given(part=parts, data=st.data())
@settings(max_examples=150, deadline=None)
def test_changed_part_raises_only_the_declared_error(part: Part, data: st.DataObject) -> None:
    """Law: a part with bytes changed, cut or added is read as itself, or `BlobMalformed`; and
    what is read makes transactions."""
    encoded = bytearray(part.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded)))
        encoded[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        read = Part.from_bytes(bytes(encoded))
    except BlobMalformed:
        return
    assert read.to_bytes() == encoded
    for found in read.bundles:
        for tx in found.transactions(commitment_txid=TXID, destination_script=SCRIPT):
            assert tx.serialize()


REFUSED = {
    "another version": b"\x02" + Part(SCRIPT, ()).to_bytes()[1:],
    "bytes too many": Part(SCRIPT, ()).to_bytes() + b"\x00",
    "no inputs": Part(SCRIPT, (bundle(inputs=(), variants=(Variant(Sat(1), ()),)),)).to_bytes(),
    "no variants": Part(SCRIPT, (bundle(variants=()),)).to_bytes(),
    "too many variants": Part(
        SCRIPT, (bundle(variants=(Variant(Sat(1), (b"",)),) * (MAX_VARIANTS + 1)),)
    ).to_bytes(),
    "version 1": Part(SCRIPT, (bundle(version=1),)).to_bytes(),
    "falling fees": Part(
        SCRIPT, (bundle(variants=(Variant(Sat(2), (b"",)), Variant(Sat(1), (b"",)))),)
    ).to_bytes(),
    "a fee that takes all": Part(
        SCRIPT, (bundle(variants=(Variant(Sat(9_000), (b"",)),)),)
    ).to_bytes(),
    "a fee that is not what is left": Part(
        SCRIPT, (bundle(rest_to_destination=False, variants=(Variant(Sat(8_999), (b"",)),)),)
    ).to_bytes(),
    "the same output twice": Part(
        SCRIPT,
        (bundle(inputs=(BundleInput(1, 0, ()),) * 2, variants=(Variant(Sat(1), (b"", b"")),)),),
    ).to_bytes(),
    "more money than there is": Part(SCRIPT, (bundle(value_sat=Sat(2**63)),)).to_bytes(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_part_that_makes_no_transactions_is_refused(name: str) -> None:
    Part.from_bytes(Part(SCRIPT, (bundle(),)).to_bytes())
    with pytest.raises(BlobMalformed):
        Part.from_bytes(REFUSED[name])


def test_variants_differ_in_fee_and_signature_alone() -> None:
    low, high = bundle().transactions(commitment_txid=TXID, destination_script=SCRIPT)
    assert low.inputs[0].outpoint == high.inputs[0].outpoint == OutPoint(TXID, 3)
    assert [tx.inputs[0].witness for tx in (low, high)] == [
        (b"sig a", b"item", b"script"),
        (b"sig b", b"item", b"script"),
    ]
    assert [tx.outputs[-1].value for tx in (low, high)] == [8_900, 8_100]
    child = bundle(
        parent=TXID[::-1], rest_to_destination=False, variants=(Variant(Sat(9_000), (b"",)),)
    )
    (tx,) = child.transactions(commitment_txid=TXID, destination_script=SCRIPT)
    assert tx.inputs[0].outpoint.txid == TXID[::-1]
    assert tx.outputs == (TxOut(Sat(1_000), SCRIPT),)

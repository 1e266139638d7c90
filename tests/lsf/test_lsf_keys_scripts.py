"""Keys and scripts of the LSF: what both parties derive alone must be the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import NUMS_H, PrivateKey, parse_script, tap_branch_hash, tap_leaf_hash
from lightspeed.channel.keys import ChannelSecrets
from lightspeed.lsf.keys import (
    BookKeys,
    LsfBasepoints,
    book_private_key,
    book_public_key,
    lsf_private_key,
)
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scripts import (
    claim_leaf,
    claim_output,
    literal_claim_leaf,
    lsf_output,
    refund_leaf,
    secret_leaf,
)
from lightspeed.tagged import tagged_hash
from lsf_world import make_world

PAYER = PrivateKey(b"\x11" * 32).public
PAYEE = PrivateKey(b"\x22" * 32).public
HASH = bytes(range(32))
P, Q, H = "20" + PAYER.x_only.hex(), "20" + PAYEE.x_only.hex(), "20" + HASH.hex()


def test_split_leaf_is_the_script_of_the_specification() -> None:
    leaf = secret_leaf(HASH, payer=PAYER, payee=PAYEE, delay_blocks=144)
    assert leaf.hex() == f"82012088a8{H}88{P}ad{Q}ad029000b2"


def test_refund_leaf_is_the_script_of_the_specification() -> None:
    assert refund_leaf(PAYER, refund_delay_blocks=1_008).hex() == f"{P}ad02f003b2"


def test_claim_leaf_is_the_script_of_the_specification() -> None:
    assert claim_leaf(HASH, payee=PAYEE).hex() == f"82012088a8{H}88{Q}ac"


def test_literal_claim_leaf_asks_for_the_secret_alone() -> None:
    assert literal_claim_leaf(HASH).hex() == f"82012088a8{H}87"


@pytest.mark.parametrize(
    ("delay", "push"),
    [(1, 1), (16, 1), (17, 2), (127, 2), (128, 3), (144, 3), (32_767, 3), (32_768, 4), (65_535, 4)],
)
def test_leaf_sizes_are_those_of_their_docstrings(delay: int, push: int) -> None:
    split = secret_leaf(HASH, payer=PAYER, payee=PAYEE, delay_blocks=delay)
    assert len(split) == 108 + push
    assert len(refund_leaf(PAYER, refund_delay_blocks=delay)) == 35 + push
    assert len(claim_leaf(HASH, payee=PAYEE)) == 73
    assert len(literal_claim_leaf(HASH)) == 39
    assert list(parse_script(split))  # every push is whole


def test_taptree_has_the_spending_leaves_in_order_and_the_refund_last() -> None:
    leaves = [bytes([n]) * 4 for n in range(5)]
    output = lsf_output(PAYER, spending=leaves[:4], refund=leaves[4])
    hashes = [tap_leaf_hash(leaf) for leaf in leaves]
    left = tap_branch_hash(tap_branch_hash(*hashes[:2]), tap_branch_hash(*hashes[2:4]))
    assert output.merkle_root == tap_branch_hash(left, hashes[4])
    assert [output.leaf(n).script for n in range(5)] == leaves


def test_outputs_of_children_have_no_key_path() -> None:
    output = claim_output(claim_leaf(HASH, payee=PAYEE), refund=b"\x51")
    assert output.internal_key == NUMS_H


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16))
def test_book_keys_of_both_sides_agree(seed: bytes, book_id: bytes) -> None:
    secret = ChannelSecrets.derive(seed).extension_secret("lsf")
    basepoint = secret.public
    tweak = tagged_hash("lightspeed/book-key", book_id, basepoint.data)
    assert book_public_key(basepoint, book_id=book_id) == basepoint.add_tweak(tweak)
    assert book_private_key(secret, book_id=book_id).public == basepoint.add_tweak(tweak)


def test_book_keys_differ_between_books_and_parties() -> None:
    basepoints = LsfBasepoints(payer=PAYER, payee=PAYEE)
    first = BookKeys.derive(basepoints, book_id=b"\x01" * 16)
    second = BookKeys.derive(basepoints, book_id=b"\x02" * 16)
    assert len({first.payer, first.payee, second.payer, second.payee, PAYER, PAYEE}) == 6


@pytest.mark.parametrize("whose", Party)
def test_lsf_keys_follow_the_broadcasters_point(whose: Party) -> None:
    world = make_world(whose=whose)
    point = world.broadcaster.per_commitment_point(world.number)
    for party, public in ((world.payer, world.keys.payer), (world.payee, world.keys.payee)):
        assert lsf_private_key(party.extension_secret("lsf"), point).public == public
    assert world.revocation_secret().public == world.keys.revocation

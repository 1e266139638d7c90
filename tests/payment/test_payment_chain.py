"""The chain: its step, its ends, and what cannot be computed from them."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import chain_elements, lock_hash, step, walk


def test_step_is_the_bip340_tagged_hash():
    tag = hashlib.sha256(b"lightspeed/unit").digest()
    assert step(bytes(32)) == hashlib.sha256(tag + tag + bytes(32)).digest()


def test_lock_hash_is_plain_sha256():
    assert lock_hash(bytes(32)) == hashlib.sha256(bytes(32)).digest()


def test_lock_hash_is_no_element_of_the_chain():
    elements = chain_elements(bytes(32), chain_length=50)
    hashes = {elements[at : at + 32] for at in range(0, len(elements), 32)}
    assert lock_hash(bytes(32)) not in hashes


@given(secret=st.binary(min_size=32, max_size=32), chain_length=st.integers(1, 40))
def test_every_element_steps_to_the_one_below_it(secret, chain_length):
    elements = chain_elements(secret, chain_length=chain_length)
    assert len(elements) == 32 * (chain_length + 1)
    assert elements[-32:] == secret
    for unit in range(chain_length):
        deeper = elements[32 * (unit + 1) : 32 * (unit + 2)]
        assert step(deeper) == elements[32 * unit : 32 * (unit + 1)]
    assert walk(secret, chain_length) == elements[:32]

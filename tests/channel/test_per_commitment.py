"""Revealed secrets give back all earlier ones, and no wrong one is taken."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.channel.per_commitment import (
    LAST_INDEX,
    RevocationSecretInvalid,
    RevocationSecretUnknown,
    RevocationStore,
    RevocationStoreUnreadable,
    generate_from_seed,
    per_commitment_secret,
)
from strategies import bytes32

APPENDIX_D = (
    Path(__file__).parents[1] / "vectors" / "bolt" / "bolt3-per-commitment-secrets.txt"
).read_text()
GENERATION, STORAGE = APPENDIX_D.split("## Storage Tests")


def blocks(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(name, [(field, value)]) of each test of the appendix."""
    for block in re.split(r"^\s*name: ", text, flags=re.MULTILINE)[1:]:
        name, *lines = block.splitlines()
        yield name, re.findall(r"^\s*(\w+): (\w+)$", "\n".join(lines), re.MULTILINE)


def test_appendix_d_generation(vectors: Callable[[str, int], None]) -> None:
    count = 0
    for name, fields in blocks(GENERATION):
        given_ = dict(fields)
        seed, output = bytes.fromhex(given_["seed"][2:]), bytes.fromhex(given_["output"][2:])
        assert generate_from_seed(seed, int(given_["I"], 0)) == output, name
        count += 1
    assert count == 5
    vectors("BOLT 3 D, generation", count)


def test_appendix_d_storage(vectors: Callable[[str, int], None]) -> None:
    count = 0
    for name, fields in blocks(STORAGE):
        store = RevocationStore()
        known: list[bytes] = []
        for step in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            index, secret = int(step[0][1]), bytes.fromhex(step[1][1][2:])
            assert [field for field, _ in step] == ["I", "secret", "output"]
            number = LAST_INDEX - index
            if step[2][1] == "ERROR":
                with pytest.raises(RevocationSecretInvalid):
                    store.add(number, secret)
                continue
            assert step[2][1] == "OK", name
            store = store.add(number, secret)
            known.append(secret)
        if "ERROR" not in fields[-1]:
            assert [store.secret(number) for number in range(len(known))] == known, name
        count += 1
    assert count == 9
    vectors("BOLT 3 D, storage", count)


@given(seed=bytes32, count=st.integers(0, 70))
def test_a_store_knows_exactly_what_was_revealed(seed: bytes, count: int) -> None:
    store = RevocationStore()
    for number in range(count):
        store = store.add(number, per_commitment_secret(seed, number))
    assert store.next_number == count
    assert RevocationStore.load(store.dump()) == store
    for number in range(count):
        assert store.secret(number) == per_commitment_secret(seed, number)
    for number in (-1, count, LAST_INDEX):
        with pytest.raises(RevocationSecretUnknown):
            store.secret(number)
    assert len(store.entries) <= 7  # 2^7 > 70


@given(seed=bytes32, number=st.integers(0, 40), flipped=st.integers(0, 255))
def test_a_wrong_secret_is_refused_as_soon_as_it_can_be_noticed(
    seed: bytes, number: int, flipped: int
) -> None:
    """A secret that derives nothing yet is only found out by the next one."""
    store = RevocationStore()
    for earlier in range(number):
        store = store.add(earlier, per_commitment_secret(seed, earlier))
    wrong = int.from_bytes(per_commitment_secret(seed, number), "big") ^ 1 << flipped
    with pytest.raises(RevocationSecretInvalid):
        store.add(number, wrong.to_bytes(32, "big")).add(
            number + 1, per_commitment_secret(seed, number + 1)
        )


def test_secrets_come_in_order_and_have_32_bytes() -> None:
    store = RevocationStore()
    with pytest.raises(RevocationSecretUnknown):
        store.add(1, bytes(32))
    with pytest.raises(RevocationSecretInvalid):
        store.add(0, bytes(31))


@given(st.binary(max_size=90))
def test_a_dump_loads_or_is_refused(dump: bytes) -> None:
    try:
        store = RevocationStore.load(dump)
    except RevocationStoreUnreadable:
        return
    assert store.dump() == dump


@pytest.mark.parametrize(
    "spoil",
    [
        lambda dump: b"\x02" + dump[1:],
        lambda dump: dump + b"\x00",
        lambda dump: dump[:-1],
        lambda dump: dump[:1] + dump[39:] + dump[1:39],
        lambda _: b"",
    ],
    ids=["version", "trailing", "cut", "order", "empty"],
)
def test_a_spoilt_dump_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    store = RevocationStore()
    for number in range(5):
        store = store.add(number, per_commitment_secret(b"\x01" * 32, number))
    with pytest.raises(RevocationStoreUnreadable):
        RevocationStore.load(spoil(store.dump()))


def test_no_secret_shows_in_a_repr() -> None:
    store = RevocationStore().add(0, per_commitment_secret(bytes(32), 0))
    assert repr(store) == "RevocationStore()"

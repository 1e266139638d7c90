"""Keys stay in the group, secrets stay secret, and verification raises."""

import csv
from collections.abc import Callable
from pathlib import Path

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import (
    GROUP_ORDER,
    BadSignature,
    InvalidKey,
    PrivateKey,
    PublicKey,
    der_decode,
    der_encode,
    verify_schnorr,
)
from strategies import bytes32, private_keys

VECTORS = Path(__file__).parents[1] / "vectors" / "bip"
DIGEST = bytes(range(32))
scalars = st.integers(1, GROUP_ORDER - 1).map(lambda n: n.to_bytes(32, "big"))


def test_schnorr_signatures_of_bip_340(vectors: Callable[[str, int], None]) -> None:
    with (VECTORS / "bip340.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        x_only, digest = bytes.fromhex(row["public key"]), bytes.fromhex(row["message"])
        signature = bytes.fromhex(row["signature"])
        if row["secret key"]:
            key = PrivateKey(bytes.fromhex(row["secret key"]))
            assert key.x_only == x_only
            assert key.sign_schnorr(digest, bytes.fromhex(row["aux_rand"])) == signature
        if row["verification result"] == "TRUE":
            verify_schnorr(x_only, signature=signature, digest=digest)
        else:
            with pytest.raises((BadSignature, InvalidKey)):
                verify_schnorr(x_only, signature=signature, digest=digest)
    assert len(rows) == 15
    vectors("BIP 340 signatures", len(rows))


def test_nonces_are_rfc_6979_without_grinding() -> None:
    # BIP 143, "P2SH-P2WSH", ALL|ANYONECANPAY: a published signature with a high R.
    key = PrivateKey(
        bytes.fromhex("14af36970f5025ea3e8b5542c0f8ebe7763e674838d08808896b63c3351ffe49")
    )
    digest = bytes.fromhex("2a67f03e63a6a422125878b40b82da593be8d4efaafe88ee528af6e5a9955c6e")
    assert key.sign_ecdsa(digest).hex().startswith("fbefd94bd0a488d50b79102b5dad4ab6")


@given(private_keys, bytes32)
def test_signature_verifies_for_its_key_and_digest_only(key: PrivateKey, digest: bytes) -> None:
    ecdsa, schnorr = key.sign_ecdsa(digest), key.sign_schnorr(digest)
    key.public.verify_ecdsa(ecdsa, digest)
    verify_schnorr(key.x_only, signature=schnorr, digest=digest)

    other_digest = bytes([digest[0] ^ 1]) + digest[1:]
    other_key = key.add_tweak(DIGEST)
    with pytest.raises(BadSignature):
        key.public.verify_ecdsa(ecdsa, other_digest)
    with pytest.raises(BadSignature):
        other_key.public.verify_ecdsa(ecdsa, digest)
    with pytest.raises(BadSignature):
        verify_schnorr(key.x_only, signature=schnorr, digest=other_digest)
    with pytest.raises(BadSignature):
        verify_schnorr(other_key.x_only, signature=schnorr, digest=digest)


@given(private_keys)
def test_high_s_is_refused(key: PrivateKey) -> None:
    low = key.sign_ecdsa(DIGEST)
    assert int.from_bytes(low[32:], "big") <= GROUP_ORDER // 2
    high = low[:32] + (GROUP_ORDER - int.from_bytes(low[32:], "big")).to_bytes(32, "big")
    with pytest.raises(BadSignature):
        key.public.verify_ecdsa(high, DIGEST)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_bytes_that_are_no_signature_are_refused(signature: bytes) -> None:
    key = PrivateKey(DIGEST)
    with pytest.raises(BadSignature):
        key.public.verify_ecdsa(signature, DIGEST)
    with pytest.raises(BadSignature):
        verify_schnorr(key.x_only, signature=signature, digest=DIGEST)


@given(private_keys, scalars)
def test_tweaks_of_secret_and_point_agree(key: PrivateKey, scalar: bytes) -> None:
    try:
        tweaked = key.add_tweak(scalar)
    except InvalidKey:
        assert int.from_bytes(key.secret, "big") + int.from_bytes(scalar, "big") == GROUP_ORDER
    else:
        assert tweaked.public == key.public.add_tweak(scalar)
        assert tweaked.public == key.public.combine(PrivateKey(scalar).public)
    assert key.mul_tweak(scalar).public == key.public.mul(scalar)


@given(private_keys, private_keys)
def test_both_sides_of_ecdh_agree(ours: PrivateKey, theirs: PrivateKey) -> None:
    assert ours.ecdh(theirs.public) == theirs.ecdh(ours.public)
    assert len(ours.ecdh(theirs.public)) == 32


@given(private_keys)
def test_negated_if_odd_keeps_x_and_evens_y(key: PrivateKey) -> None:
    even = key.negated_if_odd()
    assert even.x_only == key.x_only
    assert not even.public.has_odd_y
    assert PublicKey.from_x_only(key.x_only) == even.public


@given(private_keys)
def test_secret_shows_in_no_repr(key: PrivateKey) -> None:
    for text in (repr(key), str(key), f"{key}"):
        assert text == "PrivateKey()"
    with pytest.raises(InvalidKey) as caught:
        key.add_tweak(key.secret + b"\x00")
    assert key.secret.hex() not in str(caught.value)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), b"\xff" * 32, b"\x01" * 33])
def test_bytes_that_are_no_private_key_are_refused(secret: bytes) -> None:
    with pytest.raises(InvalidKey) as caught:
        PrivateKey(secret)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=70))
def test_any_bytes_are_a_public_key_or_raise_the_declared_error(data: bytes) -> None:
    try:
        key = PublicKey(data)
    except InvalidKey:
        return
    assert key.data == data


def test_uncompressed_and_hybrid_keys_are_refused() -> None:
    point = coincurve.PrivateKey(DIGEST).public_key.format(compressed=False)
    for data in (point, b"\x06" + point[1:], b"\x04" + point[1:33], b"\x05" + point[1:33]):
        with pytest.raises(InvalidKey):
            PublicKey(data)


def test_results_outside_the_group_are_refused() -> None:
    key = PrivateKey(DIGEST)
    negated = (GROUP_ORDER - int.from_bytes(DIGEST, "big")).to_bytes(32, "big")
    opposite = PrivateKey(negated).public
    with pytest.raises(InvalidKey):
        key.add_tweak(negated)
    with pytest.raises(InvalidKey):
        key.public.add_tweak(negated)
    with pytest.raises(InvalidKey):
        key.public.combine(opposite)
    for bad in (bytes(32), b"\xff" * 32, b"\x01"):
        with pytest.raises(InvalidKey):
            key.mul_tweak(bad)
        with pytest.raises(InvalidKey):
            key.public.mul(bad)
    for bad in (b"\xff" * 32, b"\x01"):
        with pytest.raises(InvalidKey):
            key.add_tweak(bad)
        with pytest.raises(InvalidKey):
            key.public.add_tweak(bad)


@given(private_keys, bytes32)
def test_der_and_compact_are_two_forms_of_one_signature(key: PrivateKey, digest: bytes) -> None:
    compact, der = key.sign_ecdsa(digest), key.sign_ecdsa_der(digest)
    assert der_encode(compact) == der
    assert der_decode(der) == compact


@given(scalars, scalars)
def test_any_pair_of_scalars_has_one_der_form(r: bytes, s: bytes) -> None:
    assert der_decode(der_encode(r + s)) == r + s


@given(st.binary(max_size=80))
def test_any_bytes_are_strict_der_or_raise_the_declared_error(der: bytes) -> None:
    try:
        compact = der_decode(der)
    except BadSignature:
        return
    assert der_encode(compact) == der


@given(private_keys, st.data())
def test_mutated_der_is_strict_or_refused(key: PrivateKey, data: st.DataObject) -> None:
    der = bytearray(key.sign_ecdsa_der(DIGEST))
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        compact = der_decode(bytes(der))
    except BadSignature:
        return
    assert der_encode(compact) == bytes(der)


@pytest.mark.parametrize(
    ("reason", "der"),
    [
        ("padded R", "3007020200010201" + "01"),
        ("negative R", "3006020181020101"),
        ("R in no bytes", "30050200020101"),
        ("trailing byte", "300702010102010100"),
        ("trailing byte outside", "300602010102010100"),
        ("another tag", "3106020101020101"),
        ("S missing", "3003020101"),
        ("R of the group order", "3026022100" + f"{GROUP_ORDER:x}" + "020101"),
    ],
)
def test_loose_der_is_refused(reason: str, der: str) -> None:
    with pytest.raises(BadSignature):
        der_decode(bytes.fromhex(der))


def test_auxiliary_randomness_has_32_bytes() -> None:
    with pytest.raises(InvalidKey):
        PrivateKey(DIGEST).sign_schnorr(DIGEST, b"")

"""The portable RIPEMD-160 agrees with its paper and with OpenSSL."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import hash160, hashes, ripemd160, sha256, sha256d
from lightspeed.bitcoin.ripemd import ripemd160 as portable_ripemd160


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (b"a", "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe"),
        (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (b"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
        (b"abcdefghijklmnopqrstuvwxyz", "f71c27109c692c1b56bbdceb5b9d2865b3708dbc"),
        (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
    ],
)
def test_ripemd160_of_its_paper(message: bytes, digest: str) -> None:
    assert portable_ripemd160(message).hex() == ripemd160(message).hex() == digest


@given(st.binary(max_size=200))
def test_both_ripemd160_agree(message: bytes) -> None:
    assert portable_ripemd160(message) == ripemd160(message)


def test_ripemd160_answers_without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, data: bytes) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashes.hashlib, "new", refuse)
    assert hash160(b"abc") == portable_ripemd160(sha256(b"abc"))


def test_sha256d_is_sha256_twice() -> None:
    assert sha256d(b"x") == hashlib.sha256(hashlib.sha256(b"x").digest()).digest()

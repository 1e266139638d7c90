"""Credentials: one text for the same bytes, and one error for everything else."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import Credential, MalformedCredential
from payment_books import make_book
from strategies import credentials


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_one_unit_has_56_bytes_and_75_characters():
    credential = make_book().credential(1, 1)
    assert len(credential.to_bytes()) == 56
    assert len(credential.to_token()) == 75


def test_layout_is_version_book_first_unit_count_elements():
    credential = Credential(bytes(range(16)), 0x0102030405, 0x0607, bytes(range(32)))
    assert credential.to_bytes() == (
        b"\x01" + bytes(range(16)) + bytes([1, 2, 3, 4, 5]) + bytes([6, 7]) + bytes(range(32))
    )


@given(credentials())
def test_credentials_round_trip(credential):
    assert Credential.from_bytes(credential.to_bytes()) == credential
    token = credential.to_token()
    assert token == encode(credential.to_bytes())
    assert Credential.from_token(token) == credential
    assert Credential.from_token(token.encode()) == credential


@given(st.binary(max_size=200) | st.binary(min_size=56, max_size=56))
def test_any_bytes_are_a_credential_or_malformed(data):
    try:
        credential = Credential.from_bytes(data)
    except MalformedCredential:
        return
    assert credential.to_bytes() == data


@given(st.text(max_size=120) | st.text(alphabet=string.printable, min_size=75, max_size=75))
def test_any_text_is_a_credential_or_malformed(text):
    try:
        credential = Credential.from_token(text)
    except MalformedCredential:
        return
    assert credential.to_token() == text


@given(credentials(), st.data())
def test_a_changed_character_gives_other_bytes_or_is_malformed(credential, data):
    """No two texts have the same bytes: the spent set cannot be walked around."""
    token = credential.to_token()
    at = data.draw(st.integers(0, len(token) - 1) | st.just(len(token) - 1))
    other = data.draw(st.sampled_from(string.printable))
    changed = token[:at] + other + token[at + 1 :]
    try:
        parsed = Credential.from_token(changed)
    except MalformedCredential:
        return
    assert (parsed == credential) == (changed == token)


@pytest.mark.parametrize("locks", [1, 2, 3], ids=["75", "118", "160"])
def test_text_that_is_not_canonical_is_malformed(locks):
    credential = Credential(bytes([0xFB] * 16), 1, locks, bytes([0xFB] * 32 * locks))
    token = credential.to_token()
    assert "-" in token
    last = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    wrong = [
        token + "=",
        token + "==",
        token + "\n",
        " " + token,
        token.replace("-", "+"),
        token[:-1],
        token + "A",
        token[:10] + "=" + token[11:],
        token[:10] + "\n" + token[10:],
        token[:-1] + "é",
    ]
    if len(token) % 4:
        wrong.append(token[:-1] + last[last.index(token[-1]) + 1])
    for text in wrong:
        with pytest.raises(MalformedCredential):
            Credential.from_token(text)


@pytest.mark.parametrize("locks", [1, 2])
def test_every_refused_field(locks):
    raw = Credential(bytes(16), 1, locks, bytes(32 * locks)).to_bytes()
    assert Credential.from_bytes(raw)
    for wrong in (
        b"",
        raw[:24],
        raw[:-1],
        raw + b"\0",
        raw + bytes(32),
        b"\0" + raw[1:],
        b"\2" + raw[1:],
        raw[:17] + bytes(5) + raw[22:],
        raw[:22] + bytes(2) + raw[24:],
    ):
        with pytest.raises(MalformedCredential):
            Credential.from_bytes(wrong)
        with pytest.raises(MalformedCredential):
            Credential.from_token(encode(wrong))


def test_a_token_beyond_the_largest_credential_is_refused_unread():
    with pytest.raises(MalformedCredential):
        Credential.from_token("A" * 4_000_000)


def test_repr_shows_no_element():
    credential = make_book().credential(1, 1)
    assert credential.elements.hex() not in repr(credential)
    assert repr(credential.elements)[2:-1] not in f"{credential} {credential!r}"

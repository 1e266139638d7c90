"""Terms: one binary form, every limit, and what a unit is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import BookTerms, Scheme, TermsError, default_window
from payment_books import make_terms
from strategies import book_terms


@given(book_terms())
def test_terms_have_one_binary_form(terms):
    assert BookTerms.from_bytes(terms.to_bytes()) == terms


@given(st.binary(max_size=100))
def test_any_bytes_are_terms_or_raise_terms_error(data):
    try:
        terms = BookTerms.from_bytes(data)
    except TermsError:
        return
    assert terms.to_bytes() == data


@given(book_terms(), st.data())
def test_mutated_terms_are_other_terms_or_raise_terms_error(terms, data):
    raw = bytearray(terms.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = BookTerms.from_bytes(bytes(raw))
    except TermsError:
        return
    assert parsed != terms
    assert parsed.to_bytes() == bytes(raw)


@given(book_terms())
def test_truncated_and_extended_terms_are_refused(terms):
    raw = terms.to_bytes()
    for wrong in (raw[:-1], raw + b"\0"):
        with pytest.raises(TermsError):
            BookTerms.from_bytes(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"locks": 0},
        {"locks": (1 << 24) + 1},
        {"chain_length": 0},
        {"chain_length": 65_536},
        {"lock_amount": 0},
        {"lock_amount": 1, "chain_length": 3},
        {"lock_amount": 7, "chain_length": 5, "asset": bytes(32)},
        {"window": 0},
        {"window": (1 << 20) + 1},
        {"asset": bytes(31)},
        {"origins": ()},
        {"origins": ("https://a.example", "https://a.example")},
        {"origins": ("https://a.example/",)},
        {"origins": ("https://A.example",)},
        {"origins": ("https://a.example:443",)},
        {"origins": ("http://a.example:80",)},
        {"origins": ("http://a.example:65536",)},
        {"origins": ("ftp://a.example",)},
        {"origins": ("https://user@a.example",)},
        {"origins": ("https://a.example\n",)},
        {"origins": ("https://ä.example",)},
        {"settlement": bytes(65_536)},
    ],
    ids=str,
)
def test_terms_outside_a_limit_cannot_exist(wrong):
    right = {
        "scheme": Scheme.OUTPUTS,
        "locks": 3,
        "chain_length": 5,
        "lock_amount": 1_000,
        "window": 64,
        "origins": ("https://a.example", "http://[::1]:8080", "https://a.example:80"),
    }
    assert BookTerms(**right)
    with pytest.raises(TermsError):
        BookTerms(**{**right, **wrong})


def test_a_unit_is_worth_its_share_of_the_lock():
    assert make_terms(chain_length=5, unit_value=200).unit_value == 200
    assert make_terms(chain_length=5, unit_value=3, asset=bytes(32)).unit_value == 3
    assert make_terms(locks=4, chain_length=5).units == 20


@pytest.mark.parametrize(
    ("chain_length", "window"), [(1, 64), (64, 64), (500, 500), (1_024, 1_024), (65_535, 1_024)]
)
def test_default_window(chain_length, window):
    assert default_window(chain_length) == window

"""Prices: rounded up to whole units, only in an asset that is sold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import Price, WrongAsset, units_due
from payment_books import make_terms

TOKEN = bytes([7]) * 32


@given(amount=st.integers(0, 10**9), unit_value=st.integers(1, 100).map(lambda n: n * 200))
def test_units_cover_the_price_and_not_one_more(amount, unit_value):
    terms = make_terms(unit_value=unit_value)
    units = Price(amount).units(terms)
    assert units * unit_value >= amount
    assert (units - 1) * unit_value < amount


def test_the_price_in_the_books_asset_counts():
    prices = (Price(4_000), Price(7, TOKEN))
    assert units_due(prices, make_terms(unit_value=1_000)) == 4
    assert units_due(prices, make_terms(unit_value=2, asset=TOKEN)) == 4


def test_an_asset_that_is_not_sold_pays_nothing():
    with pytest.raises(WrongAsset):
        units_due((Price(1),), make_terms(unit_value=2, asset=TOKEN))
    with pytest.raises(WrongAsset):
        Price(1, TOKEN).units(make_terms())


def test_a_price_is_not_negative():
    with pytest.raises(ValueError):
        Price(-1)

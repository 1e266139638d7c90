"""The receipt header: one text, one error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.payment import Receipt, ReceiptError

BOOK_ID = bytes(range(16))
TEXT = "book=:AAECAwQFBgcICQoLDA0ODw==:, first=7, count=2, next=9"


def test_receipt_text():
    assert Receipt(BOOK_ID, 7, 2, 9).to_header() == TEXT
    assert Receipt.from_header(TEXT) == Receipt(BOOK_ID, 7, 2, 9)
    assert Receipt(BOOK_ID, 0, 0, 9).to_header() == "book=:AAECAwQFBgcICQoLDA0ODw==:, next=9"


@given(
    book_id=st.binary(min_size=16, max_size=16),
    redeemed=st.just((0, 0)) | st.tuples(st.integers(1, 2**40 - 1), st.integers(1, 65_535)),
    next_unit=st.integers(1, 2**40),
)
def test_receipts_round_trip(book_id, redeemed, next_unit):
    receipt = Receipt(book_id, *redeemed, next_unit)
    assert Receipt.from_header(receipt.to_header()) == receipt


@given(st.text(max_size=80) | st.from_regex(r"book=:[A-Za-z+/]{22}==:, next=[0-9]{1,14}"))
def test_any_text_is_a_receipt_or_raises_receipt_error(text):
    try:
        receipt = Receipt.from_header(text)
    except ReceiptError:
        return
    assert receipt.to_header() == text


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        TEXT + " ",
        TEXT + "\n",
        TEXT.replace(", ", ","),
        TEXT.replace("next=9", "next=0"),
        TEXT.replace("next=9", "next=09"),
        TEXT.replace("next=9", f"next={2**40 + 1}"),
        TEXT.replace("next=9", "next=9, next=9"),
        TEXT.replace("first=7, ", ""),
        TEXT.replace("count=2", "count=0"),
        TEXT.replace("count=2", "count=65536"),
        TEXT.replace("first=7", f"first={2**40}"),
        TEXT.replace("first=7", "first=-7"),
        TEXT.replace("first=7", "first=٧"),
        TEXT.replace("DA0ODw==", "DA0ODx=="),
        TEXT.replace("AAEC", "AA"),
    ],
)
def test_text_that_is_no_receipt_is_refused(wrong):
    with pytest.raises(ReceiptError):
        Receipt.from_header(wrong)

"""Law: whatever bytes a payer or payee sends, a parser of `payment` returns a value or raises its
one declared error; and the value encodes to exactly these bytes.

Run it with `python fuzz/fuzz_payment.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from dataclasses import replace

from lightspeed.payment import (
    BookTerms,
    Credential,
    MalformedCredential,
    Receipt,
    ReceiptError,
    Scheme,
    TermsError,
)
from target import Target


def credential(data: bytes) -> None:
    assert Credential.from_bytes(data).to_bytes() == data


def token(data: bytes) -> None:
    assert Credential.from_token(data).to_token().encode() == data


def token_text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert Credential.from_token(text).to_token() == text


def terms(data: bytes) -> None:
    assert BookTerms.from_bytes(data).to_bytes() == data


def receipt(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert Receipt.from_header(text).to_header() == text


CREDENTIAL = Credential(bytes(range(16)), 7, 2, bytes(range(64)))
TERMS = BookTerms(
    scheme=Scheme.LADDER,
    locks=100,
    chain_length=10,
    lock_amount=1_000,
    window=64,
    origins=("https://api.example", "http://[::1]:8080"),
    asset=bytes(32),
    settlement=b"any",
)

TARGET = Target(
    name="payment",
    parsers=(
        (credential, MalformedCredential),
        (token, MalformedCredential),
        (token_text, MalformedCredential),
        (terms, TermsError),
        (receipt, ReceiptError),
    ),
    seeds=(
        (credential, CREDENTIAL.to_bytes()),
        (token, CREDENTIAL.to_token().encode()),
        (token_text, CREDENTIAL._replace(count=1, elements=bytes(32)).to_token().encode()),
        (terms, TERMS.to_bytes()),
        (terms, replace(TERMS, scheme=Scheme.SEALS).to_bytes()),
        (receipt, Receipt(bytes(16), 7, 2, 9).to_header().encode()),
        (receipt, Receipt(bytes(16), 0, 0, 9).to_header().encode()),
    ),
)

if __name__ == "__main__":
    TARGET.run()

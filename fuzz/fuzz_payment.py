"""Law: whatever bytes a payer or payee sends, a parser of `payment` returns a value or raises its
one declared error; and the value encodes to exactly these bytes.

Run it with `python fuzz/fuzz_payment.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
The corpus grows in build/fuzz_payment/, a crash is written beside it. The first byte of an input
chooses the parser, the rest is what it is fed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from lightspeed.payment import (
    BookTerms,
    Credential,
    MalformedCredential,
    Receipt,
    ReceiptError,
    Scheme,
    TermsError,
)

BUILD = Path(__file__).parents[1] / "build"


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


PARSERS: tuple[tuple[Callable[[bytes], None], type[Exception]], ...] = (
    (credential, MalformedCredential),
    (token, MalformedCredential),
    (token_text, MalformedCredential),
    (terms, TermsError),
    (receipt, ReceiptError),
)

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

SEEDS: tuple[bytes, ...] = (
    b"\0" + CREDENTIAL.to_bytes(),
    b"\1" + CREDENTIAL.to_token().encode(),
    b"\2" + CREDENTIAL._replace(count=1, elements=bytes(32)).to_token().encode(),
    b"\3" + TERMS.to_bytes(),
    b"\4" + Receipt(bytes(16), 7, 2, 9).to_header().encode(),
    b"\4" + Receipt(bytes(16), 0, 0, 9).to_header().encode(),
)


def fuzz_one(data: bytes) -> None:
    """Feed one input; anything but the parser's declared error escapes."""
    if not data:
        return
    parser, declared = PARSERS[data[0] % len(PARSERS)]
    try:
        parser(data[1:])
    except declared:
        return


def main() -> None:
    import atheris

    corpus = BUILD / "fuzz_payment"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(SEEDS):
        (corpus / f"seed-{index}").write_bytes(seed)
    atheris.instrument_all()
    atheris.Setup([*sys.argv, f"-artifact_prefix={BUILD}/fuzz_payment-", str(corpus)], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Law: whatever stands in a header or a body, a parser of `http` returns a value or raises its one
declared error.

Run it with `python fuzz/fuzz_http.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

import json

from lightspeed.http import Offer
from lightspeed.http.auth_header import parse_challenges
from lightspeed.http.challenge import (
    INTENT,
    METHOD,
    PaymentRequest,
    challenge_id,
    find_request,
    format_request,
)
from lightspeed.http.encoding import canonical_json, from_base64url, strict_json, to_base64url
from lightspeed.http.errors import ChallengeError, InvalidChallenge, PriceError
from lightspeed.http.presented import take_credential
from lightspeed.http.pricing import parse_price
from lightspeed.http.problems import parse_problem, problem_body, problem_for
from lightspeed.http.tokens import asset_text, parse_asset
from lightspeed.payment import (
    Credential,
    GarbageLock,
    MalformedCredential,
    NoPayment,
    Price,
    UnknownBook,
)
from target import Target

KEY = bytes(32)
UNKNOWN = UnknownBook(bytes(16))
GARBAGE = GarbageLock(7)
CONTRACT = asset_text(bytes(range(32))).encode()
TOKEN = Credential(bytes(16), 7, 1, bytes(32)).to_token()
REQUEST = PaymentRequest(
    prices=(Price(10_000), Price(3, b"\x07" * 32)),
    scope="/v1",
    offer=Offer(node="02" + "ab" * 32 + "@[::1]:9735"),
)
CHALLENGE = {"realm": "r", "method": METHOD, "intent": INTENT, "request": REQUEST.to_text()}


def text_of(data: bytes) -> str:
    return data.decode("latin-1")


def challenges(data: bytes) -> None:
    for scheme, params in parse_challenges(text_of(data)):
        assert scheme == scheme.lower()
        assert all(name == name.lower() for name in params)


def request(data: bytes) -> None:
    found = find_request([text_of(data)])
    assert found is None or PaymentRequest.from_text(found.to_text()) == found


def request_object(data: bytes) -> None:
    found = PaymentRequest.from_text(to_base64url(data))
    assert PaymentRequest.from_text(found.to_text()) == found


def credential(data: bytes) -> None:
    """In the header of its own, or in either scheme of `Authorization`."""
    presented = take_credential([(b"authorization", data), (b"host", b"h")])
    assert (b"host", b"h") in presented.headers
    if presented.payments:
        presented.payment_credential(lambda found: found.get("id") == challenge_id(KEY, CHALLENGE))
    else:
        Credential.from_token(presented.token())


def payment_credential(data: bytes) -> None:
    """With any JSON in the Payment scheme, and a challenge of which only the id must be ours."""
    header = b"Payment " + to_base64url(data).encode("ascii")
    take_credential([(b"authorization", header)]).payment_credential(
        lambda found: challenge_id(KEY, {**CHALLENGE, **found}) != "ours"
    )


def problem(data: bytes) -> None:
    parse_problem(data)


def price(data: bytes) -> None:
    assert parse_price(text_of(data)).amount >= 0


def asset(data: bytes) -> None:
    assert asset_text(parse_asset(text_of(data))) == text_of(data)


def base64url(data: bytes) -> None:
    assert to_base64url(from_base64url(text_of(data))) == text_of(data)


def json_text(data: bytes) -> None:
    strict_json(data)


def payment_json(challenge: object) -> bytes:
    return json.dumps({"challenge": challenge, "payload": {"credential": TOKEN}}).encode()


TARGET = Target(
    name="http",
    parsers=(
        (challenges, ChallengeError),
        (request, ChallengeError),
        (request_object, ChallengeError),
        (credential, (MalformedCredential, NoPayment, InvalidChallenge)),
        (payment_credential, (MalformedCredential, InvalidChallenge)),
        (problem, ChallengeError),
        (price, PriceError),
        (asset, ValueError),
        (base64url, ValueError),
        (json_text, ValueError),
    ),
    seeds=(
        (challenges, b'Basic realm="a, \\"b\\"", Negotiate YWJj==, Payment id=x'),
        (request, format_request(REQUEST.to_text(), realm="r", key=KEY).encode()),
        (request_object, from_base64url(REQUEST.to_text())),
        (credential, b"Lightspeed " + TOKEN.encode()),
        (payment_credential, payment_json(CHALLENGE)),
        (payment_credential, payment_json({**CHALLENGE, "opaque": "\ud800"})),
        (problem, problem_body(problem_for(UNKNOWN), UNKNOWN)),
        (problem, canonical_json({"type": "urn:lightspeed:problem:too-little", "unit": 7})),
        (problem, problem_body(problem_for(GARBAGE), GARBAGE)),
        (price, b"0.00000010 btc"),
        (price, b"10 " + CONTRACT),
        (asset, CONTRACT),
        (base64url, TOKEN.encode()),
        (json_text, from_base64url(REQUEST.to_text())),
    ),
)

if __name__ == "__main__":
    TARGET.run()

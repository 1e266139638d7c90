"""The text forms: challenges, request objects, problems, prices, origins."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_world import NODE
from lightspeed.http import (
    Budget,
    ChallengeError,
    Offer,
    PaymentRequest,
    PriceError,
    asset_text,
    parse_asset,
    parse_price,
)
from lightspeed.http.auth_header import format_challenge, parse_challenges
from lightspeed.http.challenge import challenge_id, find_request, format_request
from lightspeed.http.encoding import canonical_json, from_base64url, strict_json, to_base64url
from lightspeed.http.known_prices import KnownPrices
from lightspeed.http.origin import is_secure, origin_and_path
from lightspeed.http.problems import parse_problem
from lightspeed.payment import SATS, Price, Scheme
from lightspeed.rgb import contract_id_text

# --- canonical JSON and base64url -----------------------------------------------------------


def test_canonical_json_sorts_by_utf_16_and_escapes_as_rfc_8785() -> None:
    """RFC 8785, sections 3.2.2 and 3.2.3, without the floats."""
    found = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    values = list(strict_json(canonical_json(found)).values())
    assert values == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f"
    assert canonical_json(text) == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()
    assert canonical_json({"b": [True, None, 1], "a": -7}) == b'{"a":-7,"b":[true,null,1]}'


@pytest.mark.parametrize("value", [1.5, 1 << 53, float("nan"), {1: 2}, b"x", "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b"NaN", b"[" * 100_000, b"\xff", b"{", b""])
def test_json_that_may_mean_two_things_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        strict_json(text)


@given(st.binary(max_size=60))
def test_base64url_has_one_text_for_each_value(data: bytes) -> None:
    assert from_base64url(to_base64url(data)) == data


@pytest.mark.parametrize(
    "text", ["A", "AB", "AA=", "AA==", "A A", "A+", "A/", "AA\n", "é", "AAAA="]
)
def test_other_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_base64url(text)


# --- WWW-Authenticate -----------------------------------------------------------------------


def test_several_challenges_in_one_field() -> None:
    """RFC 9110, section 11.6.1: the example, and what others send."""
    found = parse_challenges(
        'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'
    )
    assert found == [
        ("basic", {"realm": "simple"}),
        ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
    ]
    assert parse_challenges("Negotiate") == [("negotiate", {})]
    assert parse_challenges("Negotiate YWJj==, L402 a = b ,, Payment ID=x") == [
        ("negotiate", {}),
        ("l402", {"a": "b"}),
        ("payment", {"id": "x"}),
    ]
    assert parse_challenges("") == []


@pytest.mark.parametrize(
    "field",
    ['Payment a="b', 'Payment a="b" c="d"', "Payment a=1, a=2", '"x"', "a=b"],
)
def test_what_is_no_list_of_challenges_is_refused(field: str) -> None:
    with pytest.raises(ChallengeError):
        parse_challenges(field)


@given(
    st.dictionaries(
        st.from_regex("[a-z]{1,8}", fullmatch=True),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_challenge_survives_the_wire(params: dict[str, str]) -> None:
    assert parse_challenges(format_challenge("Payment", params)) == [("payment", params)]


@given(st.text(max_size=80) | st.from_regex(r'(Payment [a-z]+="?[^"]*"?,? ?){1,3}'))
def test_any_challenge_parses_or_is_refused(field: str) -> None:
    """Parse it, or raise ChallengeError, never anything else."""
    with contextlib.suppress(ChallengeError):
        find_request([field])


def test_pathological_field_takes_no_time() -> None:
    for field in ("a" * 60_000, "Payment " + 'a="\\' * 15_000, "," * 60_000, "a, " * 20_000):
        try:
            parse_challenges(field)
        except ChallengeError:
            continue


# --- the request object ---------------------------------------------------------------------

OFFER = Offer(node=NODE, schemes=(Scheme.OUTPUTS, Scheme.LADDER), lock_amount=(330, 1 << 63))
REQUEST = PaymentRequest(
    prices=(Price(10_000), Price(3, bytes(range(32)))), scope="/v1", offer=OFFER
)


def test_request_object_tells_all_that_a_stranger_needs() -> None:
    assert PaymentRequest.from_text(REQUEST.to_text()) == REQUEST
    found = json.loads(from_base64url(REQUEST.to_text()))
    assert found["prices"] == [
        {"amount": "10000", "asset": "btc", "unit": "msat"},
        {"amount": "3", "asset": contract_id_text(bytes(range(32))), "unit": "token"},
    ]
    assert found["offer"]["node"] == NODE
    assert found["offer"]["schemes"] == ["outputs", "ladder"]
    assert found["offer"]["lock_amount"] == ["330", str(1 << 63)]
    assert found["offer"]["lock_tokens"] == ["1", str((1 << 64) - 1)]
    bare = PaymentRequest(prices=(Price(1),))
    assert PaymentRequest.from_text(bare.to_text()) == bare


CONTRACT = contract_id_text(bytes(range(32)))


def changed(**changes: object) -> str:
    found = json.loads(from_base64url(REQUEST.to_text()))
    found.update(changes)
    return to_base64url(canonical_json(found))


def changed_offer(**changes: object) -> str:
    return changed(offer={**OFFER.to_json(), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        to_base64url(b"[]"),
        to_base64url(b'"x"'),
        changed(version=2),
        changed(prices=[]),
        changed(prices="x"),
        changed(prices=[7]),
        changed(prices=[{"amount": 1, "asset": "btc", "unit": "msat"}]),
        changed(prices=[{"amount": "01", "asset": "btc", "unit": "msat"}]),
        changed(prices=[{"amount": "-1", "asset": "btc", "unit": "msat"}]),
        changed(prices=[{"amount": "9" * 20, "asset": "btc", "unit": "msat"}]),
        changed(prices=[{"amount": "1", "asset": "btc", "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": "ab" * 32, "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": CONTRACT, "unit": "msat"}]),
        changed(prices=[{"amount": "1", "asset": CONTRACT[:-1], "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": CONTRACT.replace("-", ""), "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": CONTRACT + "#word", "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": 7, "unit": "token"}]),
        changed(prices=[{"amount": "1", "asset": "btc", "unit": "msat"}] * 17),
        changed(scope=7),
        changed(scope="v1"),
        changed(scope="/\n"),
        changed(offer=7),
        changed_offer(node="x"),
        changed_offer(node=7),
        changed_offer(schemes=[]),
        changed_offer(schemes=["unknown"]),
        changed_offer(schemes=7),
        changed_offer(schemes=[7]),
        changed_offer(max_count=0),
        changed_offer(max_count=True),
        changed_offer(window=[2, 1]),
        changed_offer(window=[1]),
        changed_offer(window=[1, 2, 3]),
        changed_offer(window="12"),
        changed_offer(lock_amount=["1", "x"]),
        changed_offer(lock_amount=[1, 2]),
        changed_offer(lock_tokens=["2", "1"]),
        changed_offer(locks=[1, 1 << 25]),
    ],
)
def test_other_request_objects_are_refused(text: str) -> None:
    with pytest.raises(ChallengeError):
        PaymentRequest.from_text(text)


def test_request_object_may_know_more_than_we_do() -> None:
    assert PaymentRequest.from_text(changed(more={"x": 1})) == REQUEST
    later = changed_offer(schemes=["warp", "outputs", "ladder"], more=1)
    assert PaymentRequest.from_text(later) == REQUEST


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=5))
def test_any_value_in_any_place_is_refused_or_parses(value: object) -> None:
    """Parse it, or raise ChallengeError, never anything else."""
    for name in ("version", "prices", "scope", "offer"):
        for make in (changed, changed_offer):
            try:
                PaymentRequest.from_text(make(**{name: value}))
            except ChallengeError:
                continue


def test_challenge_id_binds_every_parameter() -> None:
    """draft-httpauth-payment: realm|method|intent|request|expires|digest|opaque."""
    import hashlib
    import hmac

    field = format_request("cmVxdWVzdA", realm='my "realm"', key=b"key")
    (challenge,) = parse_challenges(field)
    bound = b'my "realm"|lightspeed|session|cmVxdWVzdA|||'
    expected = to_base64url(hmac.digest(b"key", bound, hashlib.sha256))
    assert challenge.params["id"] == expected
    for name in ("realm", "method", "intent", "request", "expires", "digest", "opaque"):
        other = {**challenge.params, name: "other"}
        assert challenge_id(b"key", other) != expected


def test_first_challenge_of_ours_counts() -> None:
    field = format_request(REQUEST.to_text(), realm="r", key=b"k")
    others = 'Payment method="card", intent="session", request="x"', "Bearer realm=x"
    assert find_request([*others, field]) == REQUEST
    assert find_request([f"{others[1]}, {field}"]) == REQUEST
    assert find_request(others) is None
    assert find_request([]) is None


# --- problems -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":7}', b'{"type":"about:blank"}'])
def test_other_problems_are_not_ours(body: bytes) -> None:
    with pytest.raises(ChallengeError):
        parse_problem(body)


@given(st.binary(max_size=60))
def test_any_problem_parses_or_is_refused(body: bytes) -> None:
    """Parse it, or raise ChallengeError, never anything else."""
    with contextlib.suppress(ChallengeError):
        parse_problem(body)


def test_numbers_of_a_problem_are_not_trusted() -> None:
    prefix = '{"type":"urn:lightspeed:problem:already-redeemed","detail":7,"unit":'
    for unit in ("-1", "0", "true", '"1"', "1.5", "null"):
        report = parse_problem(f"{prefix}{unit}}}".encode())
        assert (report.slug, report.detail, report.unit) == ("already-redeemed", "", None)
    assert parse_problem(f"{prefix}7}}".encode()).unit == 7


# --- prices, budgets, origins ---------------------------------------------------------------


def test_prices_are_in_human_units() -> None:
    amounts = {"10 sat": 10_000, "0.5 sat": 500, "1500 msat": 1_500, "0.00000010 BTC": 10_000}
    for text, amount in amounts.items():
        assert parse_price(text) == Price(amount)


@pytest.mark.parametrize("text", ["", "10", "-1 sat", "1 usd", "0.0001 sat", "1.5 msat", "1e3 sat"])
def test_other_prices_are_refused(text: str) -> None:
    with pytest.raises(PriceError):
        parse_price(text)


def test_a_price_in_tokens_names_their_contract() -> None:
    assert parse_price(f"7 {CONTRACT}") == Price(7, bytes(range(32)))
    for wrong in (f"7.5 {CONTRACT}", f"-7 {CONTRACT}", CONTRACT, "7 rgb:", f"7 {CONTRACT[:-1]}"):
        with pytest.raises(PriceError, match="rgb:"):
            parse_price(wrong)


def test_an_asset_has_one_text() -> None:
    for asset in (SATS, bytes(32), bytes(range(32))):
        assert parse_asset(asset_text(asset)) == asset
    for wrong in ("", "BTC", CONTRACT.upper(), CONTRACT.replace("-", ""), CONTRACT + "#word"):
        with pytest.raises(ValueError):
            parse_asset(wrong)


def test_budget_is_in_one_asset() -> None:
    with pytest.raises(ValueError):
        Budget(per_call=Price(1, bytes(32)))
    token = bytes(range(32))
    own = Budget(per_call=f"1 {CONTRACT}", per_hour=Price(2, token), per_day=f"3 {CONTRACT}")
    assert (own.asset, own.amounts()) == (token, (1, 2, 3))


def test_known_price_is_the_nearest_scopes_until_it_is_old() -> None:
    now = [0.0]
    known = KnownPrices(lambda: now[0])
    one, two, three = [Price(1)], [Price(2)], [Price(3)]
    known.learn("GET", "o", "/a/x", scope="/", prices=one)
    known.learn("GET", "o", "/a/b/x", scope="/a/b", prices=two)
    known.learn("GET", "o", "/a/b/c", scope="", prices=three)
    known.learn("GET", "o", "/z", scope="/a", prices=three)  # says nothing about /a
    assert known.find("POST", "o", "/else/where") == one
    assert known.find("GET", "o", "/a/bc") == one
    assert known.find("POST", "o", "/a/b") == two
    assert known.find("POST", "o", "/a/b/c") == two
    assert known.find("GET", "o", "/a/b/c") == three
    assert known.find("GET", "o", "/z") == three
    assert known.find("GET", "p", "/") is None
    now[0] = 3_600
    assert known.find("POST", "o", "/") is None


def test_origin_of_an_url_has_one_form() -> None:
    forms = {
        "HTTPS://API.Example:443/v1?q#f": ("https://api.example", "/v1"),
        "http://user:key@127.0.0.1:8000": ("http://127.0.0.1:8000", "/"),
        "http://[::1]:80/": ("http://[::1]", "/"),
        "https://bücher.example/": ("https://xn--bcher-kva.example", "/"),
    }
    for url, expected in forms.items():
        assert origin_and_path(url) == expected
    for url in ("", "/path", "ftp://x/", "https://", "https://x:99999/"):
        with pytest.raises(ValueError):
            origin_and_path(url)


def test_secure_is_tls_or_loopback() -> None:
    secure = (
        "https://x",
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]",
        "http://localhost",
    )
    for origin in secure:
        assert is_secure(origin)
    for origin in ("http://x", "http://10.0.0.1", "http://localhost.example", "http://[::2]"):
        assert not is_secure(origin)

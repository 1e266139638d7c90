"""Invoices: the published examples as a payer reads them, and the declared error for the rest."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightspeed.bitcoin import Network, PrivateKey
from lightspeed.node.errors import InvoiceError
from lightspeed.node.invoice_text import DecodedInvoice, decode_invoice, encode_invoice
from lightspeed.units import Msat

EXAMPLES = (Path(__file__).parents[1] / "vectors" / "bolt" / "bolt11-invoices.txt").read_text()
PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"
HASH = bytes.fromhex("0001020304050607080900010203040506070809000102030405060708090102")
SECRET = b"\x11" * 32
CREATED_AT = 1_496_314_658
DAY = 86_400
USUAL = Msat(100_000)
LEAST_REFUSED = 1_000 * 10**11  # 1,000 BTC


def examples(section: str) -> dict[str, str]:
    """Title -> invoice."""
    return dict(re.findall(r"^> #+ (.+)\n>? ?\n?>? ?(\S+)$", section, re.MULTILINE))


VALID, INVALID = (examples(part) for part in EXAMPLES.split("# Examples of Invalid Invoices"))
NONSENSE = "ナンセンス 1杯"
FACTS: tuple[tuple[str, int | None, int, str], ...] = (
    ("Please make a donation", None, 3_600, "Please consider supporting this project"),
    ("Please send $3 for a cup of coffee", 250_000_000, 60, "1 cup coffee"),
    ("Please send 0.0025 BTC", 250_000_000, 60, NONSENSE),
    ("Now send $24 for an entire list", 2_000_000_000, 3_600, ""),
    ("The same, on testnet", 2_000_000_000, 3_600, ""),
    ("On mainnet, with fallback address", 2_000_000_000, 3_600, ""),
    ("On mainnet, with fallback (P2SH)", 2_000_000_000, 3_600, ""),
    ("On mainnet, with fallback (P2WPKH)", 2_000_000_000, 3_600, ""),
    ("On mainnet, with fallback (P2WSH)", 2_000_000_000, 3_600, ""),
    ("On mainnet, with fallback (P2TR)", 2_000_000_000, 3_600, ""),
    ("Please send $30 for coffee beans", 2_500_000_000, 3_600, "coffee beans"),
    ("Same, but all upper case", 2_500_000_000, 3_600, "coffee beans"),
    ("Same, but including fields", 2_500_000_000, 3_600, "coffee beans"),
    ("Please send 0.01 BTC with", 1_000_000_000, 3_600, "payment metadata inside"),
)
"""Start of the title; amount, expiry and description as the example's breakdown tells them."""


def decoded(title: str) -> DecodedInvoice:
    (text,) = (text for name, text in VALID.items() if name.startswith(title))
    network = Network.TESTNET if "testnet" in title else Network.MAINNET
    return decode_invoice(text, network=network)


def test_examples_mean_what_the_published_breakdowns_say(
    vectors: Callable[[str, int], None],
) -> None:
    for title, amount_msat, expiry_seconds, description in FACTS:
        invoice = decoded(title)
        assert invoice.payee.data.hex() == PAYEE, title
        assert (invoice.payment_hash, invoice.payment_secret) == (HASH, SECRET), title
        assert invoice.amount_msat == amount_msat, title
        assert invoice.expires_at == CREATED_AT + expiry_seconds, title
        assert invoice.description == description, title
        assert invoice.min_final_cltv_expiry_delta == 18, title
        has_metadata = "metadata" in title or description.startswith("payment metadata")
        assert invoice.payment_metadata == (bytes.fromhex("01fafaf0") if has_metadata else None)

    in_pico = decoded("Please send 0.00967878534 BTC")
    assert in_pico.amount_msat == 967_878_534
    assert in_pico.min_final_cltv_expiry_delta == 10
    assert in_pico.expires_at == 1_572_468_703 + 604_800

    recovered = decoded("Public-key recovery with high-S signature")
    assert recovered.payee.data.hex() == (
        "02d0139ce7427d6dfffd26a326c18be754ef1e64672b42694ba5b23ef6e6e7803d"
    )
    assert len(VALID) == len(FACTS) + 2
    vectors("BOLT 11, invoices", len(VALID))


@pytest.mark.parametrize("title", INVALID)
def test_invalid_examples_are_refused(title: str, vectors: Callable[[str, int], None]) -> None:
    with pytest.raises(InvoiceError):
        decode_invoice(INVALID[title], network=Network.MAINNET)
    vectors("BOLT 11, invalid invoices", 1)


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("Same, but adding invalid unknown feature 100", "feature 100"),
        ("Malformed bech32 string (mixed case)", "both cases"),
        ("Invalid sub-millisatoshi precision.", "millisatoshi"),
    ],
)
def test_refusals_of_ours_say_the_reason(title: str, reason: str) -> None:
    with pytest.raises(InvoiceError, match=reason):
        decode_invoice(INVALID[title], network=Network.MAINNET)


def own(amount_msat: Msat | None) -> str:
    return encode_invoice(
        network=Network.REGTEST,
        node_key=PrivateKey(b"\x21" * 32),
        payment_hash=HASH,
        payment_secret=SECRET,
        amount_msat=amount_msat,
        description=NONSENSE,
        created_at=CREATED_AT,
        expiry_seconds=DAY,
    )


@settings(max_examples=40, deadline=None)
@given(st.none() | st.integers(1, LEAST_REFUSED - 1).map(Msat))
def test_own_invoices_are_read_as_they_were_made(amount_msat: Msat | None) -> None:
    assert decode_invoice(own(amount_msat), network=Network.REGTEST) == DecodedInvoice(
        payee=PrivateKey(b"\x21" * 32).public,
        payment_hash=HASH,
        payment_secret=SECRET,
        amount_msat=amount_msat,
        expires_at=CREATED_AT + DAY,
        min_final_cltv_expiry_delta=18,
        description=NONSENSE,
    )


def test_an_invoice_of_a_thousand_bitcoins_is_not_made() -> None:
    with pytest.raises(InvoiceError, match="less than 1,000 BTC"):
        own(Msat(LEAST_REFUSED))


def test_an_invoice_of_another_network_is_refused() -> None:
    with pytest.raises(InvoiceError, match="not for signet"):
        decode_invoice(own(USUAL), network=Network.SIGNET)


@settings(deadline=None)
@given(st.text(max_size=120) | st.text("lnbcrt1qpzry9x8gf2tvdw0s3jn54khce6mua7l", max_size=300))
def test_any_text_is_an_invoice_or_raises_the_declared_error(text: str) -> None:
    with pytest.raises(InvoiceError):
        decode_invoice(text, network=Network.REGTEST)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(own(USUAL)) - 1), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_letter_is_refused(at: int, letter: str) -> None:
    text = own(USUAL)
    changed = text[:at] + letter + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(InvoiceError):
        decode_invoice(changed, network=Network.REGTEST)

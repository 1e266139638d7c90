"""Invoices of rgb-lib are read, and ours are the same letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.bitcoin import p2tr, p2wpkh, p2wsh
from lightspeed.rgb import (
    ChainNet,
    RgbFormatError,
    SecretSeal,
    TokenInvoice,
    UnknownSchema,
    WitnessOutput,
    contract_id_text,
    secret_seal_text,
)

SEEN = {
    "any tokens, blinded": (
        "rgb:~/~/~/bcrt:utxob:upJErh28-rrQd3~V-CmDbnu2-zTL_r8b-IoesriL-RzEeOGA-ybW2O"
        "?expiry=1795416413&endpoints=rpc://127.0.0.1:3603/json-rpc"
    ),
    "50, witness": (
        "rgb:~/~/gk/bcrt:wvout:BU37RmSA-SBwhaSm-pqniJb4-BiWvSPD-1E5G812-EqGR7iz-vsTw8gw"
        "?assignment_name=assetOwner&expiry=1795416413&endpoints=rpc://127.0.0.1:3603/json-rpc"
    ),
    "7 of a contract, blinded": (
        "rgb:SvKS1jEF-EH3EX6P-DKiO1Vt-a3gqAC8-MO~XlnD-SC~_GxU"
        "/RWhwUfTMpuP2Zfx1~j4nswCANGeJrYOqDcKelaMV4zU/aW"
        "/bcrt:utxob:CXnr2mB8-vuFnJBe-e4NTpjg-4BP4K24-Tu7KsOC-Ildtssj-dZWWJ"
        "?assignment_name=assetOwner&expiry=1795416413&endpoints=rpc://127.0.0.1:3603/json-rpc"
    ),
}
"""Made by rgb-lib 0.3.0b7."""
BLINDED = SEEN["7 of a contract, blinded"]


@pytest.mark.parametrize("text", SEEN.values(), ids=SEEN)
def test_invoices_of_rgb_lib_are_written_as_they_were_read(text: str) -> None:
    assert str(TokenInvoice.parse(text)) == text


def test_parts_mean_what_rgb_lib_meant() -> None:
    witness = TokenInvoice.parse(SEEN["50, witness"])
    assert isinstance(witness.beneficiary, WitnessOutput)
    assert witness.beneficiary.script.hex() == (
        "51204dfb466480481c216929a9aa78896f80625af48f0f51391bcd7612a191ee2cef"
    )
    assert (witness.amount, witness.contract_id, witness.expiry) == (50, None, 1_795_416_413)
    assert witness.endpoints == ("rpc://127.0.0.1:3603/json-rpc",)
    blinded = TokenInvoice.parse(BLINDED)
    assert blinded.contract_id is not None
    assert contract_id_text(blinded.contract_id).startswith("rgb:SvKS1jEF-EH3EX6P-")
    assert isinstance(blinded.beneficiary, bytes)
    assert blinded.recipient_id == f"bcrt:{secret_seal_text(blinded.beneficiary)}"
    assert blinded.amount == 7


def test_invoices_of_the_reference_library_are_read() -> None:
    """rgb-ops, invoice/src/parse.rs; with a schema that is not NIA's."""
    head = "rgb:eIbQx5Am-XRDjj01-RM~5eo7-rv2nluD-OnBJRAy-S9~Yfts/"
    tail = "/BF/bc:utxob:4vm1CX2Z-K8hMo59-e7dgGBS-Jka7mYn-Xe~yP85-yUiHHxr-aVlYa"
    invoice = TokenInvoice.parse(head + "~" + tail)
    assert (invoice.amount, invoice.chain_net) == (100, ChainNet.BITCOIN_MAINNET)
    with pytest.raises(UnknownSchema):
        TokenInvoice.parse(head + "XvmU3d4_nQQ8S7oagbXi07x5vjMm7P~ERukQNX6SC4M" + tail)
    witness = TokenInvoice.parse(
        "rgb:~/~/Sa/bc:wvout:A8cJ7Ww3-NIzADo3-Tzp_5aD-7CTBWmA-AAAAAAA-AAAAAAA-ALSQkcw"
    )
    assert isinstance(witness.beneficiary, WitnessOutput)
    assert witness.beneficiary.script[:2].hex() == "0014"


scripts = st.one_of(
    st.binary(min_size=20, max_size=20).map(p2wpkh),
    st.binary(min_size=1, max_size=40).map(p2wsh),
    st.binary(min_size=32, max_size=32).map(p2tr),
    st.binary(min_size=20, max_size=20).map(lambda h: b"\x76\xa9\x14" + h + b"\x88\xac"),
    st.binary(min_size=20, max_size=20).map(lambda h: b"\xa9\x14" + h + b"\x87"),
)
names = st.text(max_size=20).filter(
    lambda name: name not in ("assignment_name", "expiry", "endpoints")
)
invoices = st.builds(
    TokenInvoice,
    beneficiary=st.one_of(
        scripts.map(WitnessOutput), st.binary(min_size=32, max_size=32).map(SecretSeal)
    ),
    chain_net=st.sampled_from(
        [net for net in ChainNet if "LIQUID" not in net.name],
    ),
    contract_id=st.none() | st.binary(min_size=32, max_size=32),
    amount=st.none() | st.integers(1, (1 << 64) - 1),
    expiry=st.none() | st.integers(0, (1 << 63) - 1),
    endpoints=st.lists(
        st.text(min_size=1, max_size=30).filter(lambda text: "," not in text), max_size=3
    ).map(tuple),
    unknown=st.dictionaries(names, st.text(max_size=20), max_size=3).map(
        lambda values: tuple(values.items())
    ),
)


@given(invoices)
def test_invoice_survives_its_text(invoice: TokenInvoice) -> None:
    text = str(invoice)
    assert text.isascii()
    assert text.isprintable()
    assert TokenInvoice.parse(text) == invoice


@given(st.data())
def test_mistyped_invoice_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(sorted(SEEN.values())))
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    changed = text[:at] + data.draw(st.text(max_size=3)) + text[at + cut :]
    try:
        again = TokenInvoice.parse(changed)
    except (RgbFormatError, UnknownSchema):
        return
    assert TokenInvoice.parse(str(again)) == again


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rgb:", "RGB:"),
        ("/aW/", "//"),
        ("/aW/", "/aI/"),
        ("/aW/", "/aWa/"),
        ("/aW/", "/" + "b" * 14 + "/"),
        ("/aW/", "/"),
        ("bcrt:", "tb:"),
        ("bcrt:", "bc:bcrt:"),
        ("dZWWJ", "dZWWK"),
        ("assetOwner", "inflationAllowance"),
        ("expiry=1795416413", "expiry=soon"),
        ("expiry=1795416413", "expiry"),
        ("expiry=1795416413", "expiry=1&expiry=2"),
        ("expiry=1795416413", "x=%g0"),
        ("expiry=1795416413", "x=%ff"),
    ],
)
def test_what_is_not_an_invoice_is_refused(old: str, new: str) -> None:
    assert old in BLINDED
    with pytest.raises(RgbFormatError):
        TokenInvoice.parse(BLINDED.replace(old, new))


def test_scripts_without_an_address_and_foreign_chains_have_no_invoice() -> None:
    seal = SecretSeal(bytes(32))
    with pytest.raises(RgbFormatError):
        WitnessOutput(b"\x6a")
    with pytest.raises(RgbFormatError):
        TokenInvoice(beneficiary=seal, chain_net=ChainNet.LIQUID_TESTNET)
    for amount in (0, 1 << 64):
        with pytest.raises(RgbFormatError):
            TokenInvoice(beneficiary=seal, chain_net=ChainNet.BITCOIN_REGTEST, amount=amount)

"""What a seal hides is what everybody else computes, and its texts are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from lightspeed.bitcoin import OutPoint, txid_from_hex
from lightspeed.rgb import (
    GenesisSeal,
    GraphSeal,
    Reader,
    RgbFormatError,
    SecretSeal,
    baid64,
    contract_id_text,
    parse_baid64,
    parse_contract_id,
    parse_secret_seal,
    secret_seal_text,
)

TXID_TEXT = "646ca5c1062619e2a2d60771c9dfd820551fb773e4dc8c4ed67965a8d1fae839"
TXID = txid_from_hex(TXID_TEXT)


@pytest.mark.parametrize(
    ("seal", "concealed"),
    [
        (
            GraphSeal(TXID, 2, 54683213134637),
            "9c14559b7f408a827274712e83677dd26699c9f3c8d0c09cd1934ca0c5ccb363",
        ),
        (
            GraphSeal(None, 1, 17454843376278179683),
            "641cb776d99f26329e6ae6fdd2ae47a4cc39cd994d87d1a11ad6ce19cd222f0f",
        ),
        (
            GraphSeal(None, 1, 7476137096582570779),
            "a914a0dfb8b27d2ebea29a2564d38da3a8613b6559c32bbfd51f51958ae53884",
        ),
        (
            GraphSeal(None, 1, 1),
            "7164cdf02f7316aa8d47857187fcad0e1d78f07f383c1016c72ab12e3a4b572e",
        ),
        (
            GenesisSeal(
                txid_from_hex("8d54c98d4c29a1ec4fd90635f543f0f7a871a78eb6a6e706342f831d92e3ba19"),
                0,
                654321,
            ),
            "9e4ce1fbe62069e41c8cb07e6c25aa87fc31cc668895048dd7f60dea33956a27",
        ),
    ],
    ids=str,
)
def test_a_seal_conceals_as_published(seal: GraphSeal | GenesisSeal, concealed: str) -> None:
    assert seal.conceal().hex() == concealed


def test_secret_seals_are_written_as_published() -> None:
    seal = GraphSeal(TXID, 2, 54683213134637).conceal()
    text = "utxob:nBRVm39A-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O-opKQ7"
    assert secret_seal_text(seal) == text
    assert parse_secret_seal(text) == seal
    other = "utxob:xDfmDF9g-yNOjriV-6Anbe6H-MLJ__g6-lo7Dd4f-dhWBW8S-XYGBm"
    assert secret_seal_text(parse_secret_seal(other)) == other


@pytest.mark.parametrize(
    "text",
    [
        "utxob:nBRVm39A-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O-opKQ8",
        "utxob:nBRVm39B-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O-opKQ7",
        "utxob:nBRVm39A-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O",
        "nBRVm39A-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O-opKQ7",
        "utxob:",
        "utxob:n",
        "utxob:++++",
        "utxob:nBRVm39\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_a_mistyped_secret_seal_is_refused(text: str) -> None:
    with pytest.raises(RgbFormatError):
        parse_secret_seal(text)


def test_ids_are_written_as_published() -> None:
    text = "rgb:bGxsbGxs-bGxsbGx-sbGxsbG-xsbGxsb-GxsbGxs-bGxsbGw"
    assert contract_id_text(b"\x6c" * 32) == text
    assert parse_contract_id(text) == b"\x6c" * 32
    assert parse_contract_id(text.replace("-", "")) == b"\x6c" * 32
    schema = "rgb:sch:" + "A" * 43
    assert baid64(bytes(32), "rgb:sch:", grouped=False) == schema
    assert parse_baid64(schema + "#distant-history-exotic", "rgb:sch:") == bytes(32)


def test_an_id_has_one_form() -> None:
    """The last letter of 43 has two bits to spare."""
    with pytest.raises(RgbFormatError):
        parse_contract_id("rgb:bGxsbGxs-bGxsbGx-sbGxsbG-xsbGxsb-GxsbGxs-bGxsbGx")


def test_seals_are_written_as_published() -> None:
    named = f"txoseal:{TXID_TEXT}:21#0x31bbed7e7b2d"
    assert GraphSeal.parse(named) == GraphSeal(TXID, 21, 0x31BBED7E7B2D)
    assert GenesisSeal.parse(named) == GenesisSeal(TXID, 21, 0x31BBED7E7B2D)
    assert str(GraphSeal.parse(named)) == str(GenesisSeal.parse(named)) == named
    witness = "txoseal:~:21#0x31bbed7e7b2d"
    assert str(GraphSeal.parse(witness)) == witness
    assert GraphSeal.parse(witness).txid is None
    with pytest.raises(RgbFormatError):
        GenesisSeal.parse(witness)


@pytest.mark.parametrize(
    "text",
    [
        f"txoseal:{TXID_TEXT}:0x765#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:i9#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:-5#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:4294967296#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:21#857",
        f"txoseal:{TXID_TEXT}:21#78ca95",
        f"txoseal:{TXID_TEXT}:21#0x10000000000000000",
        f"txoseal:{TXID_TEXT[1:]}:21#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:21",
        f"{TXID_TEXT}:21#0x31bbed7e7b2d",
        f"txoseal:{TXID_TEXT}:\N{ARABIC-INDIC DIGIT FIVE}#0x31bbed7e7b2d",
    ],
)
def test_a_mistyped_seal_is_refused(text: str) -> None:
    with pytest.raises(RgbFormatError):
        GraphSeal.parse(text)


def test_genesis_and_graph_seals_of_one_outpoint_conceal_differently() -> None:
    assert GraphSeal(TXID, 1, 5).conceal() != GenesisSeal(TXID, 1, 5).conceal()


def test_a_witness_seal_closes_over_the_transaction_that_commits_to_it() -> None:
    assert GraphSeal(None, 7, 1).outpoint(TXID) == OutPoint(TXID, 7)
    assert GraphSeal(TXID, 7, 1).outpoint(bytes(32)) == OutPoint(TXID, 7)
    assert GenesisSeal(TXID, 7, 1).outpoint() == OutPoint(TXID, 7)


@given(strategies.graph_seals())
def test_graph_seals_round_trip(seal: GraphSeal) -> None:
    reader = Reader(seal.serialize())
    assert GraphSeal.read(reader) == GraphSeal.parse(str(seal)) == seal
    reader.finish()
    assert parse_secret_seal(secret_seal_text(seal.conceal())) == seal.conceal()


@given(strategies.genesis_seals())
def test_genesis_seals_round_trip(seal: GenesisSeal) -> None:
    assert GenesisSeal.read(Reader(seal.serialize())) == GenesisSeal.parse(str(seal)) == seal


@given(st.binary(min_size=32, max_size=32), st.integers(0, 31), st.integers(1, 255))
def test_one_wrong_byte_fails_the_checksum(payload: bytes, place: int, change: int) -> None:
    """By one part in 2^24: the fourth byte of the checksum repeats the second."""
    letters = secret_seal_text(SecretSeal(payload))
    changed = bytearray(payload)
    changed[place] ^= change
    assert secret_seal_text(SecretSeal(bytes(changed)))[-4:] != letters[-4:]


@pytest.mark.parametrize("values", [(b"\1", 0, 0), (None, 1 << 32, 0), (None, 0, 1 << 64)])
def test_a_seal_beyond_its_limits_is_refused(values: tuple[bytes | None, int, int]) -> None:
    with pytest.raises(RgbFormatError):
        GraphSeal(*values)

"""Law: whatever a stranger hands over as a consignment, `rgb` returns a value or raises its
declared error; and the value encodes to exactly these bytes. What is valid holds what was issued.

Run it with `python fuzz/fuzz_rgb.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from pathlib import Path

from lightspeed.rgb import (
    ChainNet,
    Consignment,
    GenesisSeal,
    GraphSeal,
    InvalidConsignment,
    Reader,
    RgbFormatError,
    Transition,
    TransitionBundle,
    UnknownSchema,
    consignment_from_json,
    contract_id_text,
    parse_contract_id,
    parse_secret_seal,
    read_tx,
    secret_seal_text,
    supply_of,
    tx_from_json,
    validate,
    witnesses_of,
)
from target import Target

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "rgb"
BINARY = (VECTORS / "consignment_A.rgb").read_bytes()
TAPRET = (VECTORS / "consignment_D.rgb").read_bytes()
SEALS = ("txoseal:~:21#0x31bbed7e7b2d", f"txoseal:{'6c' * 32}:0#0x0")
CONTRACT = contract_id_text(b"\x6c" * 32)
SECRET = "utxob:nBRVm39A-ioJydHE-ug2d90m-aZyfPI0-MCc0ZNM-oMXMs2O-opKQ7"


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def checked(found: Consignment) -> None:
    """Against its own transactions: a forger may choose them freely."""
    valid = validate(found, witnesses_of(found), chain_net=ChainNet.BITCOIN_REGTEST)
    owned = [*valid.revealed.values(), *valid.concealed.values()]
    assert sum(each.amount for each in owned) == supply_of(found.genesis)


def binary(data: bytes) -> None:
    found = Consignment.parse(data)
    assert found.serialize(magic=data.startswith(b"RGB")) == data
    checked(found)


def json_form(data: bytes) -> None:
    found = consignment_from_json(data)
    assert Consignment.parse(found.serialize()) == found
    checked(found)


def json_tx(data: bytes) -> None:
    tx_from_json(data).serialize()


def transition(data: bytes) -> None:
    reader = Reader(data)
    found = Transition.read(reader)
    reader.finish()
    assert found.serialize() == data
    assert len(found.opid) == 32


def bundle(data: bytes) -> None:
    reader = Reader(data)
    found = TransitionBundle.read(reader)
    reader.finish()
    assert found.serialize() == data
    assert len(found.bundle_id) == 32


def strict_tx(data: bytes) -> None:
    assert len(read_tx(Reader(data)).txid) == 32


def seal_text(data: bytes) -> None:
    seal = GraphSeal.parse(text_of(data))
    assert GraphSeal.parse(str(seal)) == seal


def genesis_seal_text(data: bytes) -> None:
    seal = GenesisSeal.parse(text_of(data))
    assert GenesisSeal.parse(str(seal)) == seal


def secret_seal(data: bytes) -> None:
    seal = parse_secret_seal(text_of(data))
    assert parse_secret_seal(secret_seal_text(seal)) == seal


def contract_id(data: bytes) -> None:
    found = parse_contract_id(text_of(data))
    assert parse_contract_id(contract_id_text(found)) == found


LAST = Consignment.parse(BINARY).bundles[-1]
FORMAT = RgbFormatError
WHOLE = (RgbFormatError, UnknownSchema, InvalidConsignment)

TARGET = Target(
    "rgb",
    parsers=(
        (binary, WHOLE),
        (json_form, WHOLE),
        (json_tx, FORMAT),
        (transition, FORMAT),
        (bundle, FORMAT),
        (strict_tx, FORMAT),
        (seal_text, FORMAT),
        (genesis_seal_text, FORMAT),
        (secret_seal, FORMAT),
        (contract_id, FORMAT),
    ),
    seeds=(
        (binary, BINARY),
        (binary, b"RGB\0TFR" + TAPRET),
        (json_form, (VECTORS / "consignment_A.json").read_bytes()),
        (json_tx, next(iter(sorted((VECTORS / "txs_A").iterdir()))).read_bytes()),
        (transition, LAST.bundle.known[0][1].serialize()),
        (bundle, LAST.bundle.serialize()),
        (strict_tx, LAST.serialize()[1:]),
        (seal_text, SEALS[0].encode()),
        (seal_text, SEALS[1].encode()),
        (genesis_seal_text, SEALS[1].encode()),
        (secret_seal, SECRET.encode()),
        (contract_id, CONTRACT.encode()),
    ),
)

if __name__ == "__main__":
    TARGET.run()

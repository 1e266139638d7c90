"""Law: whatever bytes come from a chain or a peer, a parser of `bitcoin` returns a value or raises
its one declared error; and the value encodes to exactly these bytes, where there is one encoding.

Run it with `python fuzz/fuzz_bitcoin.py -max_total_time=30` (extra `fuzz`; options of libFuzzer).
"""

from lightspeed.bitcoin import (
    AddressError,
    BadSignature,
    Block,
    BlockHeader,
    InvalidKey,
    Network,
    OutPoint,
    PrivateKey,
    PublicKey,
    ScriptError,
    SighashError,
    Tx,
    TxDigest,
    TxIn,
    TxOut,
    TxParseError,
    address_of_script,
    build_block,
    der_decode,
    der_encode,
    dust_limit,
    legacy_sighash,
    output_type,
    p2tr,
    p2wsh,
    parse_script,
    push,
    script_of_address,
    txid_from_hex,
    txid_hex,
    verify_schnorr,
)
from lightspeed.units import Sat
from target import Target

KEY = PrivateKey(b"\x11" * 32)
DIGEST = bytes(range(32))
SCRIPT = p2tr(KEY.x_only)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def transaction(data: bytes) -> None:
    tx = Tx.parse(data)
    assert tx.serialize() == data
    assert len(tx.txid) == len(tx.wtxid) == 32
    assert tx.vsize == -(-tx.weight // 4)


def digests(data: bytes) -> None:
    """Of each input of any transaction, with any hash type: the last byte."""
    tx = Tx.parse(data[:-1])
    spent = [TxOut(Sat(index), SCRIPT) for index in range(len(tx.inputs))]
    digest = TxDigest(tx, spent)
    for index in range(len(tx.inputs)):
        legacy_sighash(tx, index, script_code=data[-9:], hash_type=data[-1])
        digest.segwit_v0(index, script_code=data[-9:], value=Sat(1), hash_type=data[-1])
        digest.taproot(index, hash_type=data[-1])


def header(data: bytes) -> None:
    parsed = BlockHeader.parse(data)
    assert parsed.serialize() == data
    assert parsed.meets_target in (False, True)


def block(data: bytes) -> None:
    assert Block.parse(data).serialize() == data


def outpoint(data: bytes) -> None:
    text = text_of(data)
    assert OutPoint.parse(text) == OutPoint.parse(str(OutPoint.parse(text)))


def txid(data: bytes) -> None:
    assert txid_hex(txid_from_hex(text_of(data))) == text_of(data).lower()


def script(data: bytes) -> None:
    assert dust_limit(data) >= 0, output_type(data)
    for _, pushed in parse_script(data):
        assert pushed is None or len(pushed) <= len(data)


def address(data: bytes) -> None:
    text = text_of(data)
    script = script_of_address(text, Network.REGTEST)
    assert address_of_script(script, Network.REGTEST) == text.lower()


def address_back(data: bytes) -> None:
    text = address_of_script(data, Network.SIGNET)
    assert script_of_address(text, Network.SIGNET) == data


def der(data: bytes) -> None:
    assert der_encode(der_decode(data)) == data


def public_key(data: bytes) -> None:
    assert PublicKey(data).data == data


def ecdsa(data: bytes) -> None:
    KEY.public.verify_ecdsa(data, DIGEST)


def schnorr(data: bytes) -> None:
    verify_schnorr(data[:32], signature=data[32:], digest=DIGEST)


TRANSACTION = Tx(
    2,
    (TxIn(OutPoint(b"\x22" * 32, 1), witness=(b"\x33" * 64, b"")),),
    (TxOut(Sat(1_000), SCRIPT), TxOut(Sat(2_000), p2wsh(b"\x51"))),
    500,
)
BLOCK = build_block(
    previous=bytes(32),
    height=1,
    time=1_700_000_000,
    payout=TxOut(Sat(5_000_000_000), SCRIPT),
    transactions=[TRANSACTION],
)

TARGET = Target(
    name="bitcoin",
    parsers=(
        (transaction, TxParseError),
        (digests, (TxParseError, SighashError, ScriptError)),
        (header, TxParseError),
        (block, TxParseError),
        (outpoint, TxParseError),
        (txid, TxParseError),
        (script, ScriptError),
        (address, AddressError),
        (address_back, AddressError),
        (der, BadSignature),
        (public_key, InvalidKey),
        (ecdsa, BadSignature),
        (schnorr, (BadSignature, InvalidKey)),
    ),
    seeds=(
        (transaction, TRANSACTION.serialize()),
        (transaction, TRANSACTION.serialize(witness=False)),
        (digests, TRANSACTION.serialize() + b"\x01"),
        (header, BLOCK.header.serialize()),
        (block, BLOCK.serialize()),
        (outpoint, f"{txid_hex(DIGEST)}:7".encode()),
        (txid, txid_hex(DIGEST).encode()),
        (script, SCRIPT),
        (script, push(bytes(300)) + b"\x75\x51"),
        (address, address_of_script(SCRIPT, Network.REGTEST).encode()),
        (address, address_of_script(p2wsh(b""), Network.REGTEST).upper().encode()),
        (address_back, SCRIPT),
        (der, KEY.sign_ecdsa_der(DIGEST)),
        (public_key, KEY.public.data),
        (ecdsa, KEY.sign_ecdsa(DIGEST)),
        (schnorr, KEY.x_only + KEY.sign_schnorr(DIGEST)),
    ),
)

if __name__ == "__main__":
    TARGET.run()

"""Segwit addresses: Bech32 for version 0 (BIP 173), Bech32m for the others (BIP 350)."""

from enum import Enum

from lightspeed.bitcoin.errors import AddressError, ScriptError
from lightspeed.bitcoin.script import Op, is_witness_program, witness_program

__all__ = ["Network", "address_of_script", "script_of_address"]

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32 = 1
_BECH32M = 0x2BC830A3
_CHECKSUM_SIZE = 6
_MAX_LENGTH = 90


class Network(Enum):
    """A Bitcoin network; its value is the name that Bitcoin Core and `bolt11` callers use."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    SIGNET = "signet"
    REGTEST = "regtest"

    @property
    def hrp(self) -> str:
        """The human-readable part of its segwit addresses."""
        return _HRP[self]


_HRP = {
    Network.MAINNET: "bc",
    Network.TESTNET: "tb",
    Network.SIGNET: "tb",
    Network.REGTEST: "bcrt",
}


def address_of_script(script: bytes, network: Network) -> str:
    """Raises `AddressError` if the scriptPubKey is no witness program."""
    if not is_witness_program(script):
        raise AddressError("only witness programs have an address here")
    version = 0 if script[0] == Op.OP_0 else script[0] - (Op.OP_1 - 1)
    data = [version, *_regroup(script[2:], from_bits=8, to_bits=5, pad=True)]
    constant = _BECH32 if version == 0 else _BECH32M
    polymod = _polymod(_expand(network.hrp) + data + [0] * _CHECKSUM_SIZE) ^ constant
    checksum = [polymod >> 5 * (5 - i) & 31 for i in range(_CHECKSUM_SIZE)]
    return network.hrp + "1" + "".join(_CHARSET[value] for value in data + checksum)


def script_of_address(address: str, network: Network) -> bytes:
    """The scriptPubKey; raises `AddressError`, also for another network's address."""
    if address not in (address.lower(), address.upper()) or len(address) > _MAX_LENGTH:
        raise AddressError("an address is all lower or all upper case, at most 90 characters")
    hrp, separator, payload = address.lower().rpartition("1")
    if not separator or hrp != network.hrp:
        raise AddressError(f"not a segwit address of {network.value}")
    try:
        values = [_VALUES[character] for character in payload]
    except KeyError:
        raise AddressError("a character that Bech32 does not have") from None
    if len(values) < 1 + _CHECKSUM_SIZE:
        raise AddressError("the address is too short")
    version = values[0]
    constant = _BECH32 if version == 0 else _BECH32M
    if _polymod(_expand(hrp) + values) != constant:
        raise AddressError("the checksum is wrong")
    program = bytes(_regroup(values[1:-_CHECKSUM_SIZE], from_bits=5, to_bits=8, pad=False))
    if version == 0 and len(program) not in (20, 32):
        raise AddressError("a version 0 program has 20 or 32 bytes")
    try:
        return witness_program(version, program)
    except ScriptError as error:
        raise AddressError(str(error)) from None


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATOR):
            if top >> i & 1:
                checksum ^= generator
    return checksum


def _expand(hrp: str) -> list[int]:
    return [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]


def _regroup(values: bytes | list[int], *, from_bits: int, to_bits: int, pad: bool) -> list[int]:
    accumulator = bits = 0
    regrouped: list[int] = []
    for value in values:
        accumulator = (accumulator << from_bits | value) & 0xFFF
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            regrouped.append(accumulator >> bits & (1 << to_bits) - 1)
    rest = accumulator & (1 << bits) - 1
    if pad:
        if bits:
            regrouped.append(rest << to_bits - bits & (1 << to_bits) - 1)
    elif bits >= from_bits or rest:
        raise AddressError("the padding is wrong")
    return regrouped

"""Invoices: where tokens are to be sent, as wallets of RGB v0.11.1 write it.

    rgb:<contract>/<schema>/<amount>/<chain>:<beneficiary>[?<query>]

with `~` for what is left open. The beneficiary is a concealed seal of the receiver's
(`utxob:...`), or a script to which the sender's own transaction makes an output (`wvout:...`).
"""

import re
from dataclasses import dataclass
from typing import Self, TypeAlias

from lightspeed.rgb.baid64 import baid64, parse_baid64
from lightspeed.rgb.errors import RgbFormatError, UnknownSchema
from lightspeed.rgb.nia_articles import NIA_SCHEMA_ID
from lightspeed.rgb.operation import ChainNet, contract_id_text, parse_contract_id
from lightspeed.rgb.seals import SecretSeal, parse_secret_seal, secret_seal_text

__all__ = ["Beneficiary", "TokenInvoice", "WitnessOutput"]

_CHAINS = {
    ChainNet.BITCOIN_MAINNET: "bc",
    ChainNet.BITCOIN_TESTNET3: "tb3",
    ChainNet.BITCOIN_TESTNET4: "tb4",
    ChainNet.BITCOIN_SIGNET: "sb",
    ChainNet.BITCOIN_SIGNET_CUSTOM: "sbc",
    ChainNet.BITCOIN_REGTEST: "bcrt",
}
_ANY = "~"
_AMOUNT_LETTERS = "abcdefghkmnABCDEFGHKMNPQRSTVWXYZ"
_AMOUNT_SIZE = 8
_WITNESS_PREFIX = "wvout:"
_WITNESS_SIZE = 33
_MAX_LENGTH = 4_096
# Kind of address -> what stands before and after its program in a script.
_FRAMES = {
    1: ("76a914", "88ac"),
    2: ("a914", "87"),
    3: ("0014", ""),
    4: ("0020", ""),
    5: ("5120", ""),
}
_PROGRAM_SIZES = {1: 20, 2: 20, 3: 20, 4: 32, 5: 32}
_ESCAPED = frozenset(b' "#%<>[]&=') | frozenset(range(0x20)) | frozenset(range(0x7F, 0x100))
_ASSIGNMENT, _EXPIRY, _ENDPOINTS = "assignment_name", "expiry", "endpoints"
_OWNER_NAME = "assetOwner"
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})?")


@dataclass(frozen=True, slots=True)
class WitnessOutput:
    """The scriptPubKey of an output that the sender's transaction is to have."""

    script: bytes

    def __post_init__(self) -> None:
        self._kind()

    def _kind(self) -> tuple[int, bytes]:
        for kind, (before, after) in _FRAMES.items():
            head, tail = bytes.fromhex(before), bytes.fromhex(after)
            program = self.script[len(head) : len(self.script) - len(tail)]
            if self.script == head + program + tail and len(program) == (_PROGRAM_SIZES[kind]):
                return kind, program
        raise RgbFormatError("a script that no address stands for")

    def __str__(self) -> str:
        kind, program = self._kind()
        payload = bytes((kind,)) + program.ljust(_WITNESS_SIZE - 1, b"\0")
        return baid64(payload, _WITNESS_PREFIX, checksum=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        text = text.partition("+")[0]  # the internal key of a tapret output
        payload = parse_baid64(text, _WITNESS_PREFIX, checksum=True, size=_WITNESS_SIZE)
        frame, size = _FRAMES.get(payload[0]), _PROGRAM_SIZES.get(payload[0], 0)
        if frame is None or payload[1 + size :].strip(b"\0"):
            raise RgbFormatError("an address of a kind that is not known")
        before, after = frame
        return cls(bytes.fromhex(before) + payload[1 : 1 + size] + bytes.fromhex(after))


Beneficiary: TypeAlias = SecretSeal | WitnessOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInvoice:
    """`contract_id` None: of any contract; `amount` None: as many as the sender likes.

    `expiry` in seconds since 1970. `endpoints` are where the consignment may be posted;
    `unknown` are parameters that mean nothing here, and are kept.
    """

    beneficiary: Beneficiary
    chain_net: ChainNet
    contract_id: bytes | None = None
    amount: int | None = None
    expiry: int | None = None
    endpoints: tuple[str, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.chain_net not in _CHAINS:
            raise RgbFormatError(f"no invoices on {self.chain_net.name}")
        if self.amount is not None and not 0 < self.amount < 1 << 8 * _AMOUNT_SIZE:
            raise RgbFormatError("an amount is 1 to 2^64 - 1")
        if self.expiry is not None and not 0 <= self.expiry < 1 << 63:
            raise RgbFormatError("an expiry is a number of seconds")

    @property
    def recipient_id(self) -> str:
        """What the receiver is called where consignments are posted."""
        seal = self.beneficiary
        text = str(seal) if isinstance(seal, WitnessOutput) else secret_seal_text(seal)
        return f"{_CHAINS[self.chain_net]}:{text}"

    def __str__(self) -> str:
        contract = schema = amount = _ANY
        query = []
        if self.contract_id is not None:
            contract = contract_id_text(self.contract_id).removeprefix("rgb:")
            schema = baid64(NIA_SCHEMA_ID, "", grouped=False)
        if self.amount is not None:
            amount = _amount_text(self.amount)
        if contract != _ANY or amount != _ANY:
            query.append((_ASSIGNMENT, _OWNER_NAME))
        if self.expiry is not None:
            query.append((_EXPIRY, str(self.expiry)))
        query += self.unknown
        parameters = [f"{_escaped(name)}={_escaped(value)}" for name, value in query]
        if self.endpoints:
            place = len(parameters) - len(self.unknown)
            listed = ",".join(map(_escaped, self.endpoints))
            parameters.insert(place, f"{_ENDPOINTS}={listed}")
        path = f"rgb:{contract}/{schema}/{amount}/{self.recipient_id}"
        return "?".join((path, "&".join(parameters))) if parameters else path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `RgbFormatError`, and `UnknownSchema` for what is not NIA."""
        if not text.startswith("rgb:") or not text.isascii() or len(text) > _MAX_LENGTH:
            raise RgbFormatError("an invoice is written rgb:...")
        path, _, query = text.removeprefix("rgb:").partition("?")
        parts = path.split("/")
        if len(parts) != 4:
            raise RgbFormatError("an invoice names contract, schema, amount and beneficiary")
        contract, schema, amount, recipient = parts
        if schema != _ANY and parse_baid64(schema, "") != NIA_SCHEMA_ID:
            raise UnknownSchema(schema)
        chain_net, beneficiary = _parse_recipient(recipient)
        parameters = _parse_query(query)
        name = parameters.pop(_ASSIGNMENT, _OWNER_NAME)
        if name != _OWNER_NAME:
            raise RgbFormatError(f"no tokens are assigned as {name!r}")
        expiry = parameters.pop(_EXPIRY, None)
        if expiry is not None and not expiry.isdigit():
            raise RgbFormatError("an expiry is a number of seconds")
        endpoints = parameters.pop(_ENDPOINTS, "")
        return cls(
            beneficiary=beneficiary,
            chain_net=chain_net,
            contract_id=None if contract == _ANY else parse_contract_id("rgb:" + contract),
            amount=None if amount == _ANY else _parse_amount(amount),
            expiry=None if expiry is None else int(expiry),
            endpoints=tuple(endpoints.split(",")) if endpoints else (),
            unknown=tuple(parameters.items()),
        )


def _parse_recipient(text: str) -> tuple[ChainNet, Beneficiary]:
    chain, _, target = text.partition(":")
    nets = [net for net, name in _CHAINS.items() if name == chain]
    if not nets:
        raise RgbFormatError(f"{chain!r} is no chain of invoices")
    if target.startswith(_WITNESS_PREFIX):
        return nets[0], WitnessOutput.parse(target)
    return nets[0], parse_secret_seal(target)


def _amount_text(amount: int) -> str:
    """Base 32 of its bytes, the lowest first, without the zeros above the highest."""
    data = amount.to_bytes((amount.bit_length() + 7) // 8, "little")
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(_AMOUNT_LETTERS[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def _parse_amount(text: str) -> int | None:
    """None for 0, which is how some write that any amount will do."""
    if not text or not set(text) <= set(_AMOUNT_LETTERS):
        raise RgbFormatError("an amount has letters that mean nothing")
    bits = "".join(f"{_AMOUNT_LETTERS.index(letter):05b}" for letter in text)
    size = len(bits) // 8
    if not 0 < size <= _AMOUNT_SIZE or len(bits) - 8 * size >= 5 or "1" in bits[8 * size :]:
        raise RgbFormatError("an amount has 64 bits")
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, 8 * size, 8))
    return int.from_bytes(data, "little") or None


def _parse_query(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, equals, value = item.partition("=")
        if not equals or _unescaped(name) in parameters:
            raise RgbFormatError("a parameter without a value, or told twice")
        parameters[_unescaped(name)] = _unescaped(value)
    return parameters


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" if byte in _ESCAPED else chr(byte) for byte in text.encode())


def _unescaped(text: str) -> str:
    def byte(match: re.Match[str]) -> str:
        if match[1] is None:
            raise RgbFormatError("a percent sign without two hex digits")
        return chr(int(match[1], 16))

    try:
        return _ESCAPE.sub(byte, text).encode("latin-1").decode()
    except UnicodeError:
        raise RgbFormatError("a text is not UTF-8") from None

"""Bitcoin scripts: opcodes, minimal pushes, standard outputs and their dust limits."""

from collections.abc import Iterator
from enum import Enum, IntEnum, auto

from lightspeed.bitcoin.errors import ScriptError
from lightspeed.bitcoin.hashes import hash160, sha256
from lightspeed.units import Sat

__all__ = [
    "P2A_SCRIPT",
    "Op",
    "OutputType",
    "dust_limit",
    "is_witness_program",
    "number",
    "op_return",
    "output_type",
    "p2pkh",
    "p2tr",
    "p2wpkh",
    "p2wsh",
    "parse_script",
    "push",
    "script",
    "witness_program",
]


class Op(IntEnum):
    """Opcodes by their names in Bitcoin Core's script.h."""

    OP_0 = 0x00
    OP_PUSHDATA1 = 0x4C
    OP_PUSHDATA2 = 0x4D
    OP_PUSHDATA4 = 0x4E
    OP_1NEGATE = 0x4F
    OP_RESERVED = 0x50
    OP_1 = 0x51
    OP_2 = 0x52
    OP_3 = 0x53
    OP_4 = 0x54
    OP_5 = 0x55
    OP_6 = 0x56
    OP_7 = 0x57
    OP_8 = 0x58
    OP_9 = 0x59
    OP_10 = 0x5A
    OP_11 = 0x5B
    OP_12 = 0x5C
    OP_13 = 0x5D
    OP_14 = 0x5E
    OP_15 = 0x5F
    OP_16 = 0x60
    OP_NOP = 0x61
    OP_VER = 0x62
    OP_IF = 0x63
    OP_NOTIF = 0x64
    OP_VERIF = 0x65
    OP_VERNOTIF = 0x66
    OP_ELSE = 0x67
    OP_ENDIF = 0x68
    OP_VERIFY = 0x69
    OP_RETURN = 0x6A
    OP_TOALTSTACK = 0x6B
    OP_FROMALTSTACK = 0x6C
    OP_2DROP = 0x6D
    OP_2DUP = 0x6E
    OP_3DUP = 0x6F
    OP_2OVER = 0x70
    OP_2ROT = 0x71
    OP_2SWAP = 0x72
    OP_IFDUP = 0x73
    OP_DEPTH = 0x74
    OP_DROP = 0x75
    OP_DUP = 0x76
    OP_NIP = 0x77
    OP_OVER = 0x78
    OP_PICK = 0x79
    OP_ROLL = 0x7A
    OP_ROT = 0x7B
    OP_SWAP = 0x7C
    OP_TUCK = 0x7D
    OP_SIZE = 0x82
    OP_EQUAL = 0x87
    OP_EQUALVERIFY = 0x88
    OP_1ADD = 0x8B
    OP_1SUB = 0x8C
    OP_NEGATE = 0x8F
    OP_ABS = 0x90
    OP_NOT = 0x91
    OP_0NOTEQUAL = 0x92
    OP_ADD = 0x93
    OP_SUB = 0x94
    OP_BOOLAND = 0x9A
    OP_BOOLOR = 0x9B
    OP_NUMEQUAL = 0x9C
    OP_NUMEQUALVERIFY = 0x9D
    OP_NUMNOTEQUAL = 0x9E
    OP_LESSTHAN = 0x9F
    OP_GREATERTHAN = 0xA0
    OP_LESSTHANOREQUAL = 0xA1
    OP_GREATERTHANOREQUAL = 0xA2
    OP_MIN = 0xA3
    OP_MAX = 0xA4
    OP_WITHIN = 0xA5
    OP_RIPEMD160 = 0xA6
    OP_SHA1 = 0xA7
    OP_SHA256 = 0xA8
    OP_HASH160 = 0xA9
    OP_HASH256 = 0xAA
    OP_CODESEPARATOR = 0xAB
    OP_CHECKSIG = 0xAC
    OP_CHECKSIGVERIFY = 0xAD
    OP_CHECKMULTISIG = 0xAE
    OP_CHECKMULTISIGVERIFY = 0xAF
    OP_CHECKLOCKTIMEVERIFY = 0xB1
    OP_CHECKSEQUENCEVERIFY = 0xB2
    OP_CHECKSIGADD = 0xBA


class OutputType(Enum):
    """The kinds of output that relay policy tells apart."""

    P2PKH = auto()
    P2SH = auto()
    P2WPKH = auto()
    P2WSH = auto()
    P2TR = auto()
    P2A = auto()
    WITNESS_UNKNOWN = auto()
    OP_RETURN = auto()
    NONSTANDARD = auto()


# --- building -----------------------------------------------------------------------------


def push(data: bytes) -> bytes:
    """The shortest script that pushes `data` (BIP 62, rule 3; consensus in tapscript)."""
    size = len(data)
    if size == 0:
        return bytes([Op.OP_0])
    if size == 1 and 1 <= data[0] <= 16:
        return bytes([Op.OP_1 - 1 + data[0]])
    if data == b"\x81":
        return bytes([Op.OP_1NEGATE])
    if size < Op.OP_PUSHDATA1:
        return bytes([size]) + data
    if size <= 0xFF:
        return bytes([Op.OP_PUSHDATA1, size]) + data
    if size <= 0xFFFF:
        return bytes([Op.OP_PUSHDATA2]) + size.to_bytes(2, "little") + data
    return bytes([Op.OP_PUSHDATA4]) + size.to_bytes(4, "little") + data


def number(n: int) -> bytes:
    """The shortest script that pushes the number `n` (little endian, sign in the top bit)."""
    if n == 0:
        return push(b"")
    magnitude = abs(n)
    size = magnitude.bit_length() // 8 + 1  # room for the sign bit
    encoded = bytearray(magnitude.to_bytes(size, "little"))
    if n < 0:
        encoded[-1] |= 0x80
    return push(bytes(encoded))


def script(*items: int | bytes) -> bytes:
    """Concatenates: an `Op` is its opcode, bytes are pushed, any other int is a number."""
    parts: list[bytes] = []
    for item in items:
        if isinstance(item, Op):
            parts.append(bytes([item]))
        elif isinstance(item, int):
            parts.append(number(item))
        else:
            parts.append(push(item))
    return b"".join(parts)


def witness_program(version: int, program: bytes) -> bytes:
    """`<version> <program>` (BIP 141): version 0..16, program of 2 to 40 bytes."""
    if not 0 <= version <= 16 or not 2 <= len(program) <= 40:
        raise ScriptError(f"no witness program: version {version}, {len(program)} bytes")
    return number(version) + bytes([len(program)]) + program


def p2pkh(pubkey_hash: bytes) -> bytes:
    return script(
        Op.OP_DUP, Op.OP_HASH160, _sized(pubkey_hash, 20), Op.OP_EQUALVERIFY, Op.OP_CHECKSIG
    )


def p2wpkh(pubkey: bytes) -> bytes:
    """For a compressed public key (33 bytes) or its hash160 (20 bytes)."""
    return witness_program(0, pubkey if len(pubkey) == 20 else hash160(_sized(pubkey, 33)))


def p2wsh(witness_script: bytes) -> bytes:
    return witness_program(0, sha256(witness_script))


def p2tr(output_key: bytes) -> bytes:
    """For a tweaked x-only key (32 bytes)."""
    return witness_program(1, _sized(output_key, 32))


P2A_SCRIPT = witness_program(1, bytes.fromhex("4e73"))  # pay to anchor: anyone can spend


def op_return(data: bytes) -> bytes:
    return script(Op.OP_RETURN, data)


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ScriptError(f"{len(data)} bytes where {size} are needed")
    return data


# --- reading ------------------------------------------------------------------------------


def parse_script(raw: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yields (opcode, pushed bytes); None for an opcode that pushes no bytes of the script.

    OP_0 yields b"". Opcodes that `Op` does not name come as plain ints. Raises `ScriptError`
    when a push runs over the end.
    """
    position, end = 0, len(raw)
    while position < end:
        opcode = raw[position]
        position += 1
        if opcode > Op.OP_PUSHDATA4:
            yield opcode, None
            continue
        size = opcode
        if opcode >= Op.OP_PUSHDATA1:
            width = 1 << (opcode - Op.OP_PUSHDATA1)
            if position + width > end:
                raise ScriptError("push size runs over the end of the script")
            size = int.from_bytes(raw[position : position + width], "little")
            position += width
        if position + size > end:
            raise ScriptError("push runs over the end of the script")
        yield opcode, raw[position : position + size]
        position += size


def is_witness_program(raw: bytes) -> bool:
    """BIP 141, "Witness program"."""
    return (
        4 <= len(raw) <= 42
        and (raw[0] == Op.OP_0 or Op.OP_1 <= raw[0] <= Op.OP_16)
        and raw[1] == len(raw) - 2
    )


def output_type(raw: bytes) -> OutputType:
    """How relay policy sees a scriptPubKey; bare multisig and bare keys are NONSTANDARD here."""
    if raw == P2A_SCRIPT:
        return OutputType.P2A
    if is_witness_program(raw):
        match raw[0], len(raw) - 2:
            case Op.OP_0, 20:
                return OutputType.P2WPKH
            case Op.OP_0, 32:
                return OutputType.P2WSH
            case Op.OP_0, _:
                return OutputType.NONSTANDARD
            case Op.OP_1, 32:
                return OutputType.P2TR
            case _:
                return OutputType.WITNESS_UNKNOWN
    if len(raw) == 25 and raw[:3] == b"\x76\xa9\x14" and raw[23:] == b"\x88\xac":
        return OutputType.P2PKH
    if len(raw) == 23 and raw[:2] == b"\xa9\x14" and raw[22:] == b"\x87":
        return OutputType.P2SH
    if raw[:1] == b"\x6a" and _is_push_only(raw[1:]):
        return OutputType.OP_RETURN
    return OutputType.NONSTANDARD


def _is_push_only(raw: bytes) -> bool:
    try:
        return all(opcode <= Op.OP_16 for opcode, _ in parse_script(raw))
    except ScriptError:
        return False


_DUST_RELAY_SAT_PER_VBYTE = 3  # Bitcoin Core's DUST_RELAY_TX_FEE, 3,000 sat/kvB
_WITNESS_INPUT_SIZE = 32 + 4 + 1 + 107 // 4 + 4  # = 67 vB: outpoint, script, witness / 4, sequence
_LEGACY_INPUT_SIZE = 32 + 4 + 1 + 107 + 4  # = 148


def dust_limit(raw: bytes) -> Sat:
    """The least value that relays, as Bitcoin Core's GetDustThreshold; 0 if unspendable.

    P2PKH 546, P2SH 540, P2WPKH 294, P2WSH and P2TR 330, P2A 240.
    """
    if raw[:1] == b"\x6a":
        return Sat(0)
    script_prefix = 1 if len(raw) < 0xFD else 3
    size = 8 + script_prefix + len(raw)
    size += _WITNESS_INPUT_SIZE if is_witness_program(raw) else _LEGACY_INPUT_SIZE
    return Sat(size * _DUST_RELAY_SAT_PER_VBYTE)

"""What the Bitcoin layer refuses.

BitcoinError
├── TxParseError   bytes are not a transaction, block or outpoint
├── ScriptError    bytes are not a script, or a taproot tree cannot be built
├── InvalidKey     bytes are not a key, or a tweak leaves the group
├── BadSignature   a signature does not verify, or is not in its strict encoding
├── AddressError   text is not an address of the network asked for
└── SighashError   the transaction has no digest for this input and hash type
"""

from lightspeed.errors import LightspeedError, LocalError, RemoteError

__all__ = [
    "AddressError",
    "BadSignature",
    "BitcoinError",
    "InvalidKey",
    "ScriptError",
    "SighashError",
    "TxParseError",
]


class BitcoinError(LightspeedError):
    """Root of what `lightspeed.bitcoin` raises."""


class TxParseError(BitcoinError, RemoteError, ValueError):
    """The bytes are not one canonical transaction, block, header or outpoint."""


class ScriptError(BitcoinError, RemoteError, ValueError):
    """The bytes are not a script, or a tree of scripts is too deep."""


class InvalidKey(BitcoinError, RemoteError, ValueError):
    """Not a point of the curve or a scalar of the group; never quotes the bytes."""


class BadSignature(BitcoinError, RemoteError, ValueError):
    """The signature does not verify, or is not strictly encoded."""


class AddressError(BitcoinError, LocalError, ValueError):
    """Not an address, or an address of another network."""


class SighashError(BitcoinError, LocalError, ValueError):
    """No digest is defined for this input, hash type or list of spent outputs."""

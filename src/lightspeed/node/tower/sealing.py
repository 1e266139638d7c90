"""How data for a commitment is hidden from the tower until that commitment is on chain.

    hint   first 16 bytes of tagged_hash("lightspeed/tower-hint", txid)
    key    tagged_hash("lightspeed/tower-key", txid)
    blob   version u8 = 1, nonce 12, ChaCha20-Poly1305 of (size u32, plaintext, zeros)

The txid is the commitment's, in internal order. Nobody but its two parties can compute it before
it is published: its outputs have keys that only they know. The authenticated data are the
version, the hint and the part's number; zeros fill up to a multiple of 128 bytes, so that sizes
tell little.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lightspeed.node.tower.errors import SealBroken
from lightspeed.tagged import tagged_hash

__all__ = ["HINT_SIZE", "NONCE_SIZE", "hint_of", "seal", "unseal"]

HINT_SIZE = 16
NONCE_SIZE = 12

_VERSION = 1
_SIZE_SIZE = 4
_TAG_SIZE = 16
_PADDED_TO = 128


def hint_of(txid: bytes) -> bytes:
    """By which the tower finds what belongs to a transaction that it sees."""
    return tagged_hash("lightspeed/tower-hint", txid)[:HINT_SIZE]


def seal(plaintext: bytes, *, txid: bytes, part: int, nonce: bytes) -> bytes:
    """`nonce` is random: a part is sealed anew, under the same key, whenever it changes."""
    padded = len(plaintext).to_bytes(_SIZE_SIZE, "big") + plaintext
    padded += bytes(-len(padded) % _PADDED_TO)
    sealed = _cipher(txid).encrypt(nonce, padded, _authenticated(txid, part))
    return bytes([_VERSION]) + nonce + sealed


def unseal(blob: bytes, *, txid: bytes, part: int) -> bytes:
    """Raises `SealBroken`."""
    nonce, sealed = blob[1 : 1 + NONCE_SIZE], blob[1 + NONCE_SIZE :]
    if blob[:1] != bytes([_VERSION]) or len(sealed) < _TAG_SIZE + _PADDED_TO:
        raise SealBroken("not a sealed part of this version")
    try:
        padded = _cipher(txid).decrypt(nonce, sealed, _authenticated(txid, part))
    except InvalidTag:
        raise SealBroken("the part is not sealed for this transaction") from None
    end = _SIZE_SIZE + int.from_bytes(padded[:_SIZE_SIZE], "big")
    if end > len(padded) or any(padded[end:]) or len(padded) - end >= _PADDED_TO:
        raise SealBroken("the part is not padded as it should be")
    return padded[_SIZE_SIZE:end]


def _cipher(txid: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(tagged_hash("lightspeed/tower-key", txid))


def _authenticated(txid: bytes, part: int) -> bytes:
    return bytes([_VERSION]) + hint_of(txid) + part.to_bytes(4, "big")

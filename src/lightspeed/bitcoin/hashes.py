"""The hashes of Bitcoin."""

import hashlib

from lightspeed.bitcoin.ripemd import ripemd160 as portable_ripemd160

__all__ = ["hash160", "ripemd160", "sha256", "sha256d"]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 twice: transaction ids, block hashes, BIP 143."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    """OpenSSL 3 may be built without RIPEMD-160; then the portable one answers."""
    try:
        return hashlib.new("ripemd160", data).digest()
    except ValueError:
        return portable_ripemd160(data)


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256: 20 bytes, for P2PKH, P2SH, P2WPKH and BOLT 3 HTLCs."""
    return ripemd160(sha256(data))

"""Per-commitment secrets: generated from one seed, stored in 49 entries.

BOLT 3, "Per-commitment Secret Requirements" and "Efficient Per-commitment Secret Storage".
Commitments are numbered from 0 upwards; BOLT 3's index I runs down from 2^48 - 1.
"""

from dataclasses import dataclass, field, replace

from lightspeed.bitcoin import sha256
from lightspeed.errors import LocalError, RemoteError, StoreError

__all__ = [
    "LAST_INDEX",
    "RevocationSecretInvalid",
    "RevocationSecretUnknown",
    "RevocationStore",
    "RevocationStoreUnreadable",
    "generate_from_seed",
    "per_commitment_secret",
]

LAST_INDEX = 2**48 - 1
_INDEX_BITS = 48
_DUMP_VERSION = 1
_ENTRY_SIZE = 6 + 32  # index, secret


class RevocationSecretInvalid(RemoteError, ValueError):
    """A revealed per-commitment secret does not fit the ones before it."""


class RevocationSecretUnknown(LocalError, KeyError):
    """The secret of this commitment was not revealed, or secrets are added out of order."""


class RevocationStoreUnreadable(StoreError, ValueError):
    """Stored bytes are not a dump of a `RevocationStore`."""


def generate_from_seed(seed: bytes, index: int) -> bytes:
    """The 32-byte secret with BOLT 3's index."""
    return _derive(seed, _INDEX_BITS, index)


def per_commitment_secret(seed: bytes, number: int) -> bytes:
    """The 32-byte secret of commitment `number`, counted from 0."""
    return generate_from_seed(seed, LAST_INDEX - number)


def _derive(base: bytes, bits: int, index: int) -> bytes:
    """BOLT 3's derive_secret: walks the low `bits` bits of `index` from a common prefix."""
    secret = bytearray(base)
    for bit in reversed(range(bits)):
        if index >> bit & 1:
            secret[bit // 8] ^= 1 << bit % 8
            secret = bytearray(sha256(bytes(secret)))
    return bytes(secret)


def _bucket(index: int) -> int:
    """Trailing zero bits of the index: the secret derives all indices that differ in these."""
    return (index & -index).bit_length() - 1 if index else _INDEX_BITS


@dataclass(frozen=True, slots=True)
class RevocationStore:
    """The counterparty's revealed secrets: any of them, from at most 49 kept.

    `entries[b]` is (index, secret) of the newest index with b trailing zero bits.
    """

    entries: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)

    @property
    def next_number(self) -> int:
        """How many secrets are known: those of commitments 0 to `next_number` - 1."""
        if not self.entries:
            return 0
        return LAST_INDEX - min(index for index, _ in self.entries) + 1

    def add(self, number: int, secret: bytes) -> "RevocationStore":
        """With the next secret; `RevocationSecretInvalid` unless all earlier ones derive from it.

        Numbers are added in order from 0, else `RevocationSecretUnknown`.
        """
        if number != self.next_number:
            raise RevocationSecretUnknown(f"secret {number} after {self.next_number} secrets")
        if len(secret) != 32:
            raise RevocationSecretInvalid(f"a per-commitment secret of {len(secret)} bytes")
        index = LAST_INDEX - number
        bucket = _bucket(index)
        for known_index, known_secret in self.entries[:bucket]:
            if _derive(secret, bucket, known_index) != known_secret:
                raise RevocationSecretInvalid(f"secret {number} does not fit those before it")
        entries = list(self.entries)
        entries[bucket : bucket + 1] = [(index, secret)]
        return replace(self, entries=tuple(entries))

    def secret(self, number: int) -> bytes:
        """32 bytes; raises `RevocationSecretUnknown`."""
        index = LAST_INDEX - number
        if 0 <= number < self.next_number:
            for bucket, (known_index, known_secret) in enumerate(self.entries):
                if index >> bucket == known_index >> bucket:
                    return _derive(known_secret, bucket, index)
        raise RevocationSecretUnknown(f"the secret of commitment {number} was not revealed")

    def dump(self) -> bytes:
        """Version, then index and secret of each entry. Secret."""
        parts = [index.to_bytes(6, "big") + secret for index, secret in self.entries]
        return bytes([_DUMP_VERSION]) + b"".join(parts)

    @classmethod
    def load(cls, dump: bytes) -> "RevocationStore":
        """The reverse of `dump`; raises `RevocationStoreUnreadable`."""
        count, rest = divmod(len(dump) - 1, _ENTRY_SIZE)
        if rest or dump[:1] != bytes([_DUMP_VERSION]):
            raise RevocationStoreUnreadable("not a dump of a revocation store")
        entries = []
        for bucket in range(count):
            at = 1 + bucket * _ENTRY_SIZE
            index = int.from_bytes(dump[at : at + 6], "big")
            if _bucket(index) != bucket:
                raise RevocationStoreUnreadable("an entry of the revocation store is out of place")
            entries.append((index, dump[at + 6 : at + _ENTRY_SIZE]))
        return cls(tuple(entries))

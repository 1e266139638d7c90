"""The payer's side of a book: the seed, every lock secret, and credentials made from them."""

from dataclasses import dataclass, field
from typing import Self

from lightspeed.payment.book import Book, SealOf
from lightspeed.payment.chain import ELEMENT_SIZE, chain_elements, lock_hash, walk
from lightspeed.payment.credential import Credential
from lightspeed.payment.parts import split
from lightspeed.payment.terms import BookTerms, Scheme

__all__ = ["SEED_SIZE", "SecretBook"]

SEED_SIZE = 32

_AES_BLOCK_SIZE = 16
_CACHED_CHAINS = 2  # calls in flight may stand on both sides of a lock's end


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretBook:
    """A book with its seed. Its repr shows nothing secret.

    Lock secret j is bytes 32 (j - 1) .. 32 j of the AES-256-CTR keystream (counter from 0) of
    the seed, so a seed belongs to one book only.
    """

    book: Book
    seed: bytes = field(repr=False)
    _chains: dict[int, bytes] = field(repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_SIZE:
            raise ValueError(f"a seed has {SEED_SIZE} bytes")

    @classmethod
    def create(
        cls,
        *,
        channel_id: bytes,
        terms: BookTerms,
        seed: bytes,
        seal_of: SealOf | None = None,
    ) -> Self:
        """Compute every lock hash, anchor and seal: one hash per unit and one per lock.

        `seal_of` is for scheme seals, and ignored for the others. Raises TermsError without it.
        """
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed has {SEED_SIZE} bytes")
        stream = _keystream(seed, first_lock=1, locks=terms.locks)
        secrets = [stream[at : at + ELEMENT_SIZE] for at in range(0, len(stream), ELEMENT_SIZE)]
        anchors = b""
        if terms.chain_length > 1:
            anchors = b"".join(walk(secret, terms.chain_length) for secret in secrets)
        seals = b""
        if terms.scheme is Scheme.SEALS and seal_of is not None:
            seals = b"".join(map(seal_of, secrets))
        book = Book(
            channel_id=channel_id,
            terms=terms,
            lock_hashes=b"".join(map(lock_hash, secrets)),
            anchors=anchors,
            seals=seals,
        )
        return cls(book=book, seed=seed)

    def lock_secret(self, lock: int) -> bytes:
        """s_j, in constant time for any j from 1 to N."""
        if not 1 <= lock <= self.book.terms.locks:
            raise ValueError(f"no lock {lock} in this book")
        return _keystream(self.seed, first_lock=lock, locks=1)

    def element(self, lock: int, unit: int) -> bytes:
        """e(j, t) for 1 <= t <= c; the chains of the latest locks are held in memory."""
        chain_length = self.book.terms.chain_length
        if not 1 <= unit <= chain_length:
            raise ValueError(f"no unit {unit} in a lock of {chain_length}")
        if unit == chain_length:
            return self.lock_secret(lock)
        chain = self._chains.get(lock)
        if chain is None:
            chain = chain_elements(self.lock_secret(lock), chain_length=chain_length)
            while len(self._chains) >= _CACHED_CHAINS:
                del self._chains[min(self._chains)]
            self._chains[lock] = chain
        return chain[unit * ELEMENT_SIZE : (unit + 1) * ELEMENT_SIZE]

    def credential(self, first_unit: int, count: int) -> Credential:
        """The credential that pays `count` units from `first_unit` on."""
        terms = self.book.terms
        if first_unit < 1 or count < 1 or first_unit + count - 1 > terms.units:
            raise ValueError(f"units {first_unit} .. {first_unit + count - 1} are not in the book")
        spans = split(first_unit, count, terms.chain_length)
        return Credential(
            book_id=self.book.book_id,
            first_unit=first_unit,
            count=count,
            elements=b"".join(self.element(lock, last) for lock, _, last in spans),
        )


def _keystream(seed: bytes, *, first_lock: int, locks: int) -> bytes:
    # An API server imports this package and never makes secrets: it is spared this import.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    counter = (first_lock - 1) * (ELEMENT_SIZE // _AES_BLOCK_SIZE)
    nonce = counter.to_bytes(_AES_BLOCK_SIZE, "big")
    encryptor = Cipher(algorithms.AES256(seed), modes.CTR(nonce)).encryptor()
    return encryptor.update(bytes(locks * ELEMENT_SIZE))

"""The one place where a channel's secrets make signatures, and where they are counted."""

from lightspeed.bitcoin import PrivateKey
from lightspeed.channel.keys import ChannelSecrets

__all__ = ["Signer"]


class Signer:
    """Signs for one channel. `signatures_made` counts since construction; nothing else changes."""

    def __init__(self, secrets: ChannelSecrets) -> None:
        self.secrets = secrets
        self.signatures_made = 0

    def __repr__(self) -> str:
        return f"Signer(signatures_made={self.signatures_made})"

    def ecdsa(self, key: PrivateKey, digest: bytes) -> bytes:
        """Compact, 64 bytes, deterministic (RFC 6979): the same state signs the same."""
        self.signatures_made += 1
        return key.sign_ecdsa(digest)

    def schnorr(self, key: PrivateKey, digest: bytes) -> bytes:
        """BIP 340, 64 bytes, without auxiliary randomness: deterministic too."""
        self.signatures_made += 1
        return key.sign_schnorr(digest)

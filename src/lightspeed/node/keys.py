"""The node's secrets: one seed in one file, everything else derived by tagged hashes."""

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from lightspeed.bitcoin import PrivateKey, PublicKey
from lightspeed.channel import ChannelSecrets
from lightspeed.node.errors import ConfigError
from lightspeed.tagged import tagged_hash

__all__ = ["NodeKeys", "create_secret_file", "read_secret_file"]

SEED_SIZE = 32


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """All from a seed of 32 bytes. The repr shows the public key."""

    node_key: PrivateKey = field(repr=False)
    node_id: PublicKey
    wallet_seed: bytes = field(repr=False)
    _seed: bytes = field(repr=False)

    @classmethod
    def derive(cls, seed: bytes) -> "NodeKeys":
        if len(seed) != SEED_SIZE:
            raise ConfigError(f"a seed has {SEED_SIZE} bytes")
        node_key = PrivateKey(tagged_hash("lightspeed/node-key", seed))
        return cls(node_key, node_key.public, tagged_hash("lightspeed/wallet-seed", seed), seed)

    @classmethod
    def create(cls, path: Path) -> "NodeKeys":
        """A new seed, in a file that only its owner reads. Raises `ConfigError` if it exists."""
        seed = secrets.token_bytes(SEED_SIZE)
        create_secret_file(path, seed)
        return cls.derive(seed)

    @classmethod
    def read(cls, path: Path) -> "NodeKeys":
        """Raises `ConfigError`."""
        return cls.derive(read_secret_file(path))

    def channel_secrets(self, index: int) -> ChannelSecrets:
        """Of one channel; an index is never used twice."""
        number = index.to_bytes(8, "big")
        return ChannelSecrets.derive(tagged_hash("lightspeed/channel-seed", self._seed, number))


def create_secret_file(path: Path, content: bytes) -> None:
    """Durable, mode 0600, and never over a file that is there."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be created: {error.strerror}") from error
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_secret_file(path: Path) -> bytes:
    """Raises `ConfigError`, also when others may read the file."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} may be read by others: it should have mode 0600")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error

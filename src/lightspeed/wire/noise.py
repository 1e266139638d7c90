"""BOLT 8: the handshake Noise_XK_secp256k1_ChaChaPoly_SHA256 and the transport behind it.

Each step of the handshake returns the state that waits for the next act, so that acts cannot be
taken out of order. Ephemeral keys are arguments: fresh ones, for one handshake each.

    initiator                               responder
    start_handshake() -> act one       -->  AwaitingActOne.receive() -> act two
    AwaitingActTwo.receive()           <--
      -> act three, Transport          -->  AwaitingActThree.receive() -> node id, Transport
"""

import enum
import struct
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lightspeed.bitcoin.errors import InvalidKey
from lightspeed.bitcoin.keys import PrivateKey, PublicKey
from lightspeed.wire.codec import MAX_MESSAGE_SIZE
from lightspeed.wire.errors import EncodeError, WireError

__all__ = [
    "ACT_ONE_SIZE",
    "ACT_THREE_SIZE",
    "ACT_TWO_SIZE",
    "AwaitingActOne",
    "AwaitingActThree",
    "AwaitingActTwo",
    "HandshakeError",
    "HandshakeFault",
    "Transport",
    "TransportError",
    "start_handshake",
]

TAG_SIZE = 16
ACT_ONE_SIZE = 1 + 33 + TAG_SIZE  # version, ephemeral key, tag
ACT_TWO_SIZE = 1 + 33 + TAG_SIZE  # version, ephemeral key, tag
ACT_THREE_SIZE = 1 + (33 + TAG_SIZE) + TAG_SIZE  # version, encrypted static key, tag
LENGTH_HEADER_SIZE = 2 + TAG_SIZE
USES_PER_KEY = 1_000  # a message takes two: length and body
_VERSION = 0
_PROTOCOL_NAME = b"Noise_XK_secp256k1_ChaChaPoly_SHA256"
_PROLOGUE = b"lightning"


class HandshakeFault(enum.Enum):
    """What was wrong with an act, as the vectors of BOLT 8 name it."""

    READ_FAILED = "READ_FAILED"
    BAD_VERSION = "BAD_VERSION"
    BAD_PUBKEY = "BAD_PUBKEY"
    BAD_CIPHERTEXT = "BAD_CIPHERTEXT"
    BAD_TAG = "BAD_TAG"


class HandshakeError(WireError):
    """The peer's act was refused: it does not speak BOLT 8, or not to us."""

    def __init__(self, act: int, fault: HandshakeFault) -> None:
        super().__init__(f"ACT{act}_{fault.value}")
        self.act = act
        self.fault = fault


class TransportError(WireError):
    """Bytes on the encrypted connection are not what the peer wrote; the connection is dead."""


@dataclass(frozen=True, slots=True)
class _Symmetric:
    """Noise's symmetric state: the transcript hash and the chaining key."""

    digest: bytes
    chaining_key: bytes = field(repr=False)

    @classmethod
    def start(cls, responder: PublicKey) -> "_Symmetric":
        chaining_key = sha256(_PROTOCOL_NAME).digest()
        return cls(chaining_key, chaining_key).mix_hash(_PROLOGUE).mix_hash(responder.data)

    def mix_hash(self, data: bytes) -> "_Symmetric":
        return _Symmetric(sha256(self.digest + data).digest(), self.chaining_key)

    def mix_key(self, secret: bytes) -> tuple["_Symmetric", bytes]:
        """The next state and the temporary key."""
        chaining_key, temporary_key = _hkdf(self.chaining_key, secret)
        return _Symmetric(self.digest, chaining_key), temporary_key

    def encrypt(self, key: bytes, plaintext: bytes, *, nonce: int) -> tuple["_Symmetric", bytes]:
        sealed = ChaCha20Poly1305(key).encrypt(_nonce(nonce), plaintext, self.digest)
        return self.mix_hash(sealed), sealed

    def decrypt(self, key: bytes, sealed: bytes, *, nonce: int) -> tuple["_Symmetric", bytes]:
        """Raises `InvalidTag`."""
        plaintext = ChaCha20Poly1305(key).decrypt(_nonce(nonce), sealed, self.digest)
        return self.mix_hash(sealed), plaintext

    def split(self) -> tuple["_CipherState", "_CipherState"]:
        """The initiator's sending and receiving direction."""
        initiator_key, responder_key = _hkdf(self.chaining_key, b"")
        return (
            _CipherState(initiator_key, self.chaining_key),
            _CipherState(responder_key, self.chaining_key),
        )


def start_handshake(
    *, our_key: PrivateKey, ephemeral_key: PrivateKey, their_node_id: PublicKey
) -> tuple[bytes, "AwaitingActTwo"]:
    """Act one, 50 bytes, and the initiator that waits for act two."""
    ephemeral = ephemeral_key.public.data
    state = _Symmetric.start(their_node_id).mix_hash(ephemeral)
    state, key = state.mix_key(ephemeral_key.ecdh(their_node_id))
    state, tag = state.encrypt(key, b"", nonce=0)
    return bytes([_VERSION]) + ephemeral + tag, AwaitingActTwo(our_key, ephemeral_key, state)


@dataclass(frozen=True, slots=True)
class AwaitingActTwo:
    """The initiator after act one."""

    our_key: PrivateKey
    ephemeral_key: PrivateKey
    state: _Symmetric

    def receive(self, act_two: bytes) -> tuple[bytes, "Transport"]:
        """Act three, 66 bytes, and the transport; `HandshakeError`."""
        their_ephemeral, tag = _read_open_act(2, act_two)
        state = self.state.mix_hash(their_ephemeral.data)
        state, key = state.mix_key(self.ephemeral_key.ecdh(their_ephemeral))
        try:
            state, _ = state.decrypt(key, tag, nonce=0)
        except InvalidTag:
            raise HandshakeError(2, HandshakeFault.BAD_TAG) from None
        state, sealed_id = state.encrypt(key, self.our_key.public.data, nonce=1)
        state, key = state.mix_key(self.our_key.ecdh(their_ephemeral))
        state, tag = state.encrypt(key, b"", nonce=0)
        sending, receiving = state.split()
        return bytes([_VERSION]) + sealed_id + tag, Transport(sending, receiving)


@dataclass(frozen=True, slots=True)
class AwaitingActOne:
    """The responder before anything was received."""

    our_key: PrivateKey
    ephemeral_key: PrivateKey

    def receive(self, act_one: bytes) -> tuple[bytes, "AwaitingActThree"]:
        """Act two, 50 bytes, and the responder that waits for act three; `HandshakeError`."""
        their_ephemeral, tag = _read_open_act(1, act_one)
        state = _Symmetric.start(self.our_key.public).mix_hash(their_ephemeral.data)
        state, key = state.mix_key(self.our_key.ecdh(their_ephemeral))
        try:
            state, _ = state.decrypt(key, tag, nonce=0)
        except InvalidTag:
            raise HandshakeError(1, HandshakeFault.BAD_TAG) from None
        ephemeral = self.ephemeral_key.public.data
        state, key = state.mix_hash(ephemeral).mix_key(self.ephemeral_key.ecdh(their_ephemeral))
        state, tag = state.encrypt(key, b"", nonce=0)
        waiting = AwaitingActThree(self.ephemeral_key, state, key)
        return bytes([_VERSION]) + ephemeral + tag, waiting


@dataclass(frozen=True, slots=True)
class AwaitingActThree:
    """The responder after act two."""

    ephemeral_key: PrivateKey
    state: _Symmetric
    temporary_key: bytes = field(repr=False)

    def receive(self, act_three: bytes) -> tuple[PublicKey, "Transport"]:
        """The initiator's node id and the transport; `HandshakeError`."""
        _check_act(3, act_three, ACT_THREE_SIZE)
        sealed_id, tag = act_three[1:-TAG_SIZE], act_three[-TAG_SIZE:]
        try:
            state, node_id = self.state.decrypt(self.temporary_key, sealed_id, nonce=1)
        except InvalidTag:
            raise HandshakeError(3, HandshakeFault.BAD_CIPHERTEXT) from None
        their_node_id = _read_key(3, node_id)
        state, key = state.mix_key(self.ephemeral_key.ecdh(their_node_id))
        try:
            state, _ = state.decrypt(key, tag, nonce=0)
        except InvalidTag:
            raise HandshakeError(3, HandshakeFault.BAD_TAG) from None
        receiving, sending = state.split()
        return their_node_id, Transport(sending, receiving)


class Transport:
    """Both directions of an encrypted connection (BOLT 8, "Lightning Message Specification")."""

    __slots__ = ("_body_size", "_buffer", "_receiving", "_sending")

    def __init__(self, sending: "_CipherState", receiving: "_CipherState") -> None:
        self._sending = sending
        self._receiving = receiving
        self._buffer = bytearray()
        self._body_size: int | None = None

    def encrypt(self, message: bytes) -> bytes:
        """The next bytes to write; `EncodeError` above 65,535 bytes."""
        if len(message) > MAX_MESSAGE_SIZE:
            raise EncodeError(f"message of {len(message)} bytes, 65535 are allowed")
        header = self._sending.encrypt(struct.pack(">H", len(message)))
        return header + self._sending.encrypt(message)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, cut anywhere; `TransportError` ends the connection.

        Holds back less than one message between calls.
        """
        self._buffer += data
        messages = []
        while (needed := self._needed()) <= len(self._buffer):
            sealed = bytes(self._buffer[:needed])
            del self._buffer[:needed]
            opened = self._receiving.decrypt(sealed)
            if self._body_size is None:
                self._body_size = int.from_bytes(opened, "big")
            else:
                messages.append(opened)
                self._body_size = None
        return messages

    def _needed(self) -> int:
        return LENGTH_HEADER_SIZE if self._body_size is None else self._body_size + TAG_SIZE


class _CipherState:
    """One direction: a key that rotates after 1,000 uses."""

    __slots__ = ("_broken", "_chaining_key", "_cipher", "_key", "_uses")

    def __init__(self, key: bytes, chaining_key: bytes) -> None:
        self._key = key
        self._chaining_key = chaining_key
        self._cipher = ChaCha20Poly1305(key)
        self._uses = 0
        self._broken = False

    def encrypt(self, plaintext: bytes) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self._uses), plaintext, None)
        self._step()
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        if self._broken:
            raise TransportError("the connection is dead")
        try:
            plaintext = self._cipher.decrypt(_nonce(self._uses), sealed, None)
        except InvalidTag:
            self._broken = True
            raise TransportError("a message does not authenticate") from None
        self._step()
        return plaintext

    def _step(self) -> None:
        self._uses += 1
        if self._uses == USES_PER_KEY:
            self._chaining_key, self._key = _hkdf(self._chaining_key, self._key)
            self._cipher = ChaCha20Poly1305(self._key)
            self._uses = 0


def _read_open_act(act: int, data: bytes) -> tuple[PublicKey, bytes]:
    """Ephemeral key and tag of act one or two."""
    _check_act(act, data, ACT_ONE_SIZE)
    return _read_key(act, data[1:34]), data[34:]


def _check_act(act: int, data: bytes, size: int) -> None:
    if len(data) != size:
        raise HandshakeError(act, HandshakeFault.READ_FAILED)
    if data[0] != _VERSION:
        raise HandshakeError(act, HandshakeFault.BAD_VERSION)


def _read_key(act: int, data: bytes) -> PublicKey:
    try:
        return PublicKey(data)
    except InvalidKey:
        raise HandshakeError(act, HandshakeFault.BAD_PUBKEY) from None


def _hkdf(salt: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF-SHA256 with empty info, 64 bytes cut in two."""
    derived = HKDF(algorithm=SHA256(), length=64, salt=salt, info=b"").derive(secret)
    return derived[:32], derived[32:]


def _nonce(counter: int) -> bytes:
    """12 bytes: 32 zero bits, then the counter, little endian."""
    return struct.pack("<4xQ", counter)

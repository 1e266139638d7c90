"""Consignments: a contract's genesis, and the history of what is handed over, in order.

The file may start with 7 magic bytes. Schema, types and script end it; for NIA they never differ.
"""

from dataclasses import dataclass
from typing import Self

from lightspeed.bitcoin import Tx
from lightspeed.rgb.dbc import DbcProof, read_dbc_proof
from lightspeed.rgb.errors import RgbFormatError, UnknownSchema
from lightspeed.rgb.failures import MissingScript, TypeSystemMismatch
from lightspeed.rgb.mpc import MpcProof
from lightspeed.rgb.nia_articles import NIA_ARTICLES, NIA_SCHEMA, NIA_SCRIPT
from lightspeed.rgb.operation import Genesis, TransitionBundle
from lightspeed.rgb.seals import SecretSeal
from lightspeed.rgb.strict import Reader, ascending, counted
from lightspeed.rgb.witness import encode_tx, read_tx

__all__ = ["Consignment", "WitnessBundle"]

_MAGIC = b"RGB\0"
_CONTRACT, _TRANSFER = b"CON", b"TFR"
_VERSION = b"\0"


@dataclass(frozen=True, slots=True)
class WitnessBundle:
    """A bundle, and where it is committed to: `witness` is a transaction or only its id."""

    witness: Tx | bytes
    mpc_proof: MpcProof
    dbc_proof: DbcProof
    bundle: TransitionBundle

    def __post_init__(self) -> None:
        if isinstance(self.witness, bytes) and len(self.witness) != 32:
            raise RgbFormatError("a transaction id is 32 bytes")

    @property
    def txid(self) -> bytes:
        """In internal order."""
        return self.witness if isinstance(self.witness, bytes) else self.witness.txid

    def serialize(self) -> bytes:
        if isinstance(self.witness, bytes):
            witness = b"\0" + self.witness
        else:
            witness = b"\1" + encode_tx(self.witness)
        return b"".join(
            (
                witness,
                self.mpc_proof.serialize(),
                self.dbc_proof.serialize(),
                self.bundle.serialize(),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        witness = read_tx(reader) if reader.tag(2, "a witness") else reader.take(32)
        mpc_proof = MpcProof.read(reader)
        dbc_proof = read_dbc_proof(reader)
        return cls(witness, mpc_proof, dbc_proof, TransitionBundle.read(reader))


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """`terminals`: by bundle id, ascending, the seals that the receiver named."""

    transfer: bool
    genesis: Genesis
    bundles: tuple[WitnessBundle, ...] = ()
    terminals: tuple[tuple[bytes, tuple[SecretSeal, ...]], ...] = ()

    def __post_init__(self) -> None:
        ascending((bundle_id for bundle_id, _ in self.terminals), "terminals")
        for bundle_id, seals in self.terminals:
            ascending(seals, "seals of a terminal")
            if len(bundle_id) != 32 or any(len(seal) != 32 for seal in seals):
                raise RgbFormatError("bundle ids and seals are 32 bytes")

    @property
    def contract_id(self) -> bytes:
        """Computed at each use."""
        return self.genesis.contract_id

    def serialize(self, *, magic: bool = False) -> bytes:
        """With magic bytes as a file, without them as the published fixtures are."""
        terminals = [bundle_id + counted(seals, 2) for bundle_id, seals in self.terminals]
        kind = _TRANSFER if self.transfer else _CONTRACT
        return b"".join(
            (
                _MAGIC + kind if magic else b"",
                _VERSION,
                bytes((self.transfer,)),
                counted(terminals, 2),
                self.genesis.serialize(),
                counted([bundle.serialize() for bundle in self.bundles], 4),
                NIA_ARTICLES,
            )
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises `RgbFormatError`, and `UnknownSchema` and its like for another schema's."""
        if not data:
            raise RgbFormatError("this is empty, and no consignment")
        reader = Reader(data)
        kind = None
        if data.startswith(_MAGIC):
            kind = reader.take(len(_MAGIC) + 3)[len(_MAGIC) :]
            if kind not in (_CONTRACT, _TRANSFER):
                raise RgbFormatError("the file holds something else than a consignment")
        if reader.take(1) != _VERSION:
            raise RgbFormatError("this is no consignment, or one of a later version")
        transfer = reader.boolean()
        if kind is not None and transfer != (kind == _TRANSFER):
            raise RgbFormatError("the file's name for its content is wrong")
        terminals = reader.items(2, _read_terminal)
        genesis = Genesis.read(reader)
        bundles = reader.items(4, WitnessBundle.read)
        _check_articles(reader.take(reader.left))
        return cls(transfer=transfer, genesis=genesis, bundles=bundles, terminals=terminals)


def _read_terminal(reader: Reader) -> tuple[bytes, tuple[SecretSeal, ...]]:
    return reader.take(32), reader.items(2, lambda each: SecretSeal(each.take(32)))


def _check_articles(articles: bytes) -> None:
    if articles == NIA_ARTICLES:
        return
    if articles.startswith(NIA_ARTICLES) or NIA_ARTICLES.startswith(articles):
        raise RgbFormatError("the consignment does not end where it should")
    if not articles.startswith(NIA_SCHEMA):
        reader = Reader(articles)
        reader.take(2)  # the schema's version of RGB
        raise UnknownSchema(reader.sized(1).decode("latin-1"))
    if articles.startswith(NIA_ARTICLES.removesuffix(NIA_SCRIPT)):
        raise MissingScript
    raise TypeSystemMismatch

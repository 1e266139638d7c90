"""What the RGB layer refuses.

RgbError
├── RgbFormatError   bytes, text or JSON are not the structure, or a value has no encoding
├── UnknownSchema    a contract of another schema than NIA
├── MpcError         messages that no tree holds, or a proof that does not belong to a message
├── DbcError         a transaction does not carry the commitment
└── InvalidConsignment   the history breaks a rule: see `failures`, one class each
"""

from lightspeed.errors import LightspeedError, RemoteError

__all__ = [
    "DbcError",
    "InvalidConsignment",
    "MpcError",
    "RgbError",
    "RgbFormatError",
    "UnknownSchema",
]


class RgbError(LightspeedError):
    """Root of what `lightspeed.rgb` raises."""


class RgbFormatError(RgbError, RemoteError, ValueError):
    """Not one canonical encoding of the structure, or a value outside of its limits."""


class UnknownSchema(RgbError, RemoteError, ValueError):
    """Only NIA, the non-inflatable asset, is understood."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the contract's schema is {name!r}, only NonInflatableAsset is known here"
        )
        self.name = name


class MpcError(RgbError, RemoteError, ValueError):
    """The position does not follow from the protocol id, or the messages do not fit."""


class DbcError(RgbError, RemoteError, ValueError):
    """The output that must hold the commitment holds something else."""


class InvalidConsignment(RgbError, RemoteError, ValueError):
    """The consignment is well formed and proves nothing."""

    @property
    def failure(self) -> str:
        """The failure's name, as the reference implementation calls it."""
        return type(self).__name__

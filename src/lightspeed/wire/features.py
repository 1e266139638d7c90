"""Feature bits (BOLT 9): a set of them, their names, and what they demand of each other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from lightspeed.wire.errors import EncodeError, WireError

__all__ = ["FEATURE_NAMES", "NO_FEATURES", "FeatureError", "Features"]

FEATURE_NAMES: dict[int, str] = {
    0: "option_data_loss_protect",
    4: "option_upfront_shutdown_script",
    6: "gossip_queries",
    8: "var_onion_optin",
    10: "gossip_queries_ex",
    12: "option_static_remotekey",
    14: "payment_secret",
    16: "basic_mpp",
    18: "option_support_large_channel",
    22: "option_anchors",
    24: "option_route_blinding",
    26: "option_shutdown_anysegwit",
    28: "option_dual_fund",
    34: "option_quiesce",
    36: "option_attribution_data",
    38: "option_onion_messages",
    42: "option_provide_storage",
    44: "option_channel_type",
    46: "option_scid_alias",
    48: "option_payment_metadata",
    50: "option_zeroconf",
    60: "option_simple_close",
    62: "option_splice",
}
"""Even (required) bit to name."""

_DEPENDENCIES: dict[int, tuple[int, ...]] = {
    10: (6,),
    14: (8,),
    16: (14,),
    22: (12,),
    24: (8,),
    36: (8,),
    50: (46,),
    60: (26,),
}
"""BOLT 9, column "Dependencies"."""


class FeatureError(WireError):
    """The other party demands a feature that we do not have, or its bits contradict themselves."""


@dataclass(frozen=True, slots=True)
class Features:
    """A set of feature bits: bit n is set in `mask` when feature n is signalled."""

    mask: int = 0

    def __post_init__(self) -> None:
        if self.mask < 0:
            raise EncodeError("a feature mask is not negative")

    @classmethod
    def of(cls, *bits: int) -> Self:
        """The set of exactly these bits."""
        mask = 0
        for bit in bits:
            mask |= 1 << bit
        return cls(mask)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """From the big-endian bit field; leading zero bytes are accepted."""
        return cls(int.from_bytes(data, "big"))

    def encode(self) -> bytes:
        """The shortest big-endian bit field."""
        return self.mask.to_bytes((self.mask.bit_length() + 7) // 8, "big")

    def __iter__(self) -> Iterator[int]:
        """The bits, ascending."""
        for index, byte in enumerate(reversed(self.encode())):
            for offset in range(8):
                if byte >> offset & 1:
                    yield 8 * index + offset

    def __contains__(self, bit: int) -> bool:
        return bit >= 0 and bool(self.mask >> bit & 1)

    def __or__(self, other: "Features") -> "Features":
        return Features(self.mask | other.mask)

    def __repr__(self) -> str:
        return f"Features.of({', '.join(map(str, self))})"

    def supports(self, feature: int) -> bool:
        """Whether the feature is signalled by its even (required) or its odd (optional) bit."""
        return bool(self.mask >> (feature & ~1) & 3)

    def requires(self, feature: int) -> bool:
        """Whether the feature's even bit is set."""
        return (feature & ~1) in self

    def names(self) -> tuple[str, ...]:
        """Names for people, ascending; an unknown bit is `bit n`."""
        return tuple(FEATURE_NAMES.get(bit & ~1, f"bit {bit}") for bit in self)

    def check_dependencies(self) -> None:
        """Raise `FeatureError` when a signalled feature lacks one that it builds on (BOLT 9)."""
        for feature, needed in _DEPENDENCIES.items():
            for dependency in needed:
                if self.supports(feature) and not self.supports(dependency):
                    raise FeatureError(
                        f"{FEATURE_NAMES[feature]} without {FEATURE_NAMES[dependency]}"
                    )

    def check_peer(self, theirs: "Features", *, known: Iterable[int] = ()) -> None:
        """Raise `FeatureError` when we cannot talk to a peer with `theirs`.

        It may not demand what we do not signal (nor list as `known`), must signal what we demand,
        and its own bits must fit together.
        """
        understood = self | Features.of(*known)
        for bit in theirs:
            if bit % 2 == 0 and not understood.supports(bit):
                raise FeatureError(f"peer requires {_name(bit)}, which we do not support")
        for bit in self:
            if bit % 2 == 0 and not theirs.supports(bit):
                raise FeatureError(f"peer lacks {_name(bit)}, which we require")
        theirs.check_dependencies()


NO_FEATURES = Features()


def _name(bit: int) -> str:
    return FEATURE_NAMES.get(bit & ~1, f"bit {bit}")

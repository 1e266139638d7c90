"""What a payee tells a stranger who wants to pay: its node, its schemes, the books it takes."""

import re
from dataclasses import dataclass
from typing import Any, Self

from lightspeed.http.errors import ChallengeError
from lightspeed.payment import DEFAULT_MAX_COUNT, MAX_CHAIN_LENGTH, MAX_LOCKS, MAX_WINDOW, Scheme

__all__ = ["Offer"]

Limits = tuple[int, int]
"""The smallest and the largest that is accepted."""

_NODE = re.compile(
    r"0[23][0-9a-f]{64}@(?:[A-Za-z0-9.-]+|\[[0-9a-f:.]+\]):[1-9][0-9]{0,4}", re.ASCII
)
_LARGEST = (1 << 64) - 1
_BOUNDS = {
    "window": MAX_WINDOW,
    "lock_amount": _LARGEST,
    "lock_tokens": _LARGEST,
    "locks": MAX_LOCKS,
    "chain_length": MAX_CHAIN_LENGTH,
    "refund_delay_blocks": 0xFFFF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`node` is `pubkey@host:port`; `lock_amount` is in sat, `lock_tokens` in units of a token."""

    node: str
    schemes: tuple[Scheme, ...] = (Scheme.OUTPUTS,)
    max_count: int = DEFAULT_MAX_COUNT
    window: Limits = (1, MAX_WINDOW)
    lock_amount: Limits = (330, _LARGEST)
    lock_tokens: Limits = (1, _LARGEST)
    locks: Limits = (1, 2_322)
    chain_length: Limits = (1, MAX_CHAIN_LENGTH)
    refund_delay_blocks: Limits = (1, 0xFFFF)

    def __post_init__(self) -> None:
        if _NODE.fullmatch(self.node) is None:
            raise ValueError("a node is told as pubkey@host:port")
        if not self.schemes or len(set(self.schemes)) != len(self.schemes):
            raise ValueError("schemes: at least one, each once")
        if not 1 <= self.max_count <= 0xFFFF:
            raise ValueError("max_count")
        for name, bound in _BOUNDS.items():
            low, high = getattr(self, name)
            if not 0 <= low <= high <= bound:
                raise ValueError(f"{name} from {low} to {high}")

    def to_json(self) -> dict[str, Any]:
        """Amounts are strings: they may be above 2^53."""
        return {
            "chain_length": list(self.chain_length),
            "lock_amount": [str(amount) for amount in self.lock_amount],
            "lock_tokens": [str(amount) for amount in self.lock_tokens],
            "locks": list(self.locks),
            "max_count": self.max_count,
            "node": self.node,
            "refund_delay_blocks": list(self.refund_delay_blocks),
            "schemes": [scheme.name.lower() for scheme in self.schemes],
            "window": list(self.window),
        }

    @classmethod
    def from_json(cls, found: Any) -> Self:
        """Schemes and names that this version does not know are left out.

        Raises ChallengeError.
        """
        try:
            known = Scheme.__members__
            return cls(
                node=_text(found["node"]),
                schemes=tuple(
                    known[name.upper()] for name in found["schemes"] if name.upper() in known
                ),
                max_count=_integer(found["max_count"]),
                window=_limits(found["window"]),
                lock_amount=_limits([_amount(item) for item in found["lock_amount"]]),
                lock_tokens=_limits([_amount(item) for item in found["lock_tokens"]]),
                locks=_limits(found["locks"]),
                chain_length=_limits(found["chain_length"]),
                refund_delay_blocks=_limits(found["refund_delay_blocks"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ChallengeError("the request object's offer") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("not an integer")
    return value


def _amount(value: Any) -> int:
    text = _text(value)
    if not re.fullmatch("0|[1-9][0-9]{0,19}", text, re.ASCII):
        raise ValueError("not an amount")
    return int(text)


def _limits(value: Any) -> Limits:
    low, high = value
    return _integer(low), _integer(high)

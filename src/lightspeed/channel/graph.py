"""A transaction grown in steps: constructor, extenders, modifiers, freeze, children.

Only a frozen transaction has an id. Whatever spends one of its outputs (a child) is built after
that, on that id: until then outputs have keys, not indices.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut
from lightspeed.errors import LocalError
from lightspeed.rgb import Coloured, TokenInput

__all__ = [
    "Anchor",
    "Draft",
    "DuplicateOutput",
    "Extender",
    "Frozen",
    "HtlcKey",
    "Modifier",
    "Output",
    "ToBroadcaster",
    "ToCountersignatory",
    "TokensNotMoved",
    "UnknownOutput",
    "bip69_order",
    "build",
]


class DuplicateOutput(LocalError, ValueError):
    """Two outputs of one transaction have the same key."""


class TokensNotMoved(LocalError, ValueError):
    """Outputs are to hold tokens, and no modifier moved them, or another one after it did more."""


class UnknownOutput(LocalError, KeyError):
    """The transaction has no output with this key: it was trimmed, or never added."""


@dataclass(frozen=True, slots=True)
class ToBroadcaster:
    """BOLT 3, "`to_local` Output"."""


@dataclass(frozen=True, slots=True)
class ToCountersignatory:
    """BOLT 3, "`to_remote` Output"."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """BOLT 3, "`to_local_anchor` and `to_remote_anchor` Output"."""

    broadcaster: bool


@dataclass(frozen=True, slots=True)
class HtlcKey:
    """An HTLC's output. Both sides count their own HTLCs from 0, so the id alone is no key."""

    offered_by_broadcaster: bool
    id: int


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is found by its key, wherever the modifiers put it."""

    key: Hashable
    txout: TxOut
    cltv_expiry: int = 0
    tokens: int = 0
    """What a modifier has to assign to it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that still changes."""

    version: int
    locktime: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[Output, ...]
    coloured: Coloured | None = None
    """Of the modifier that moves tokens: the transaction as it is now, and its transition."""

    @property
    def tx(self) -> Tx:
        """As it is now."""
        return Tx(
            version=self.version,
            inputs=self.inputs,
            outputs=tuple(output.txout for output in self.outputs),
            locktime=self.locktime,
        )

    def extended(self, outputs: Iterable[Output]) -> "Draft":
        """A copy with these outputs behind the others."""
        return replace(self, outputs=(*self.outputs, *outputs))


Extender = Callable[[Draft], Draft]
Modifier = Callable[[Draft], Draft]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A finished transaction, unsigned; `outputs[n]` is output n of `tx`."""

    tx: Tx
    outputs: tuple[Output, ...]
    coloured: Coloured | None = None
    """When it moves tokens."""

    def has(self, key: Hashable) -> bool:
        return any(output.key == key for output in self.outputs)

    def vout(self, key: Hashable) -> int:
        """Raises `UnknownOutput`."""
        for vout, output in enumerate(self.outputs):
            if output.key == key:
                return vout
        raise UnknownOutput(f"no output {key}")

    def output(self, key: Hashable) -> TxOut:
        """Raises `UnknownOutput`."""
        return self.outputs[self.vout(key)].txout

    def outpoint(self, key: Hashable) -> OutPoint:
        """Raises `UnknownOutput`."""
        return self.tx.outpoint(self.vout(key))

    def tokens(self, key: Hashable) -> tuple[TokenInput, ...]:
        """What a spend of this output has to move, if anything. Raises `UnknownOutput`."""
        vout = self.vout(key)
        return self.coloured.on_output(vout) if self.coloured else ()


def bip69_order(draft: Draft) -> Draft:
    """Sorts outputs by value, then script, then `cltv_expiry`.

    BOLT 3, "Transaction Output Ordering": the expiry tells apart offered HTLCs with the same
    script, whose HTLC-timeout transactions differ.
    """

    def rank(output: Output) -> tuple[int, bytes, int]:
        return output.txout.value, output.txout.script, output.cltv_expiry

    return replace(draft, outputs=tuple(sorted(draft.outputs, key=rank)))


def build(
    constructor: Callable[[], Draft],
    extenders: Iterable[Extender] = (),
    modifiers: Iterable[Modifier] = (bip69_order,),
) -> Frozen:
    """Runs the steps in order and freezes the result.

    Raises `DuplicateOutput` and `TokensNotMoved`.
    """
    draft = constructor()
    for extend in extenders:
        draft = extend(draft)
    for modify in modifiers:
        draft = modify(draft)
    keys = [output.key for output in draft.outputs]
    if len(set(keys)) != len(keys):
        raise DuplicateOutput("two outputs have the same key")
    tx = draft.tx
    if draft.coloured is not None and draft.coloured.tx != tx:
        raise TokensNotMoved("the transaction was changed after its tokens were moved")
    if draft.coloured is None and any(output.tokens for output in draft.outputs):
        raise TokensNotMoved("outputs are to hold tokens that nothing moves")
    return Frozen(tx, draft.outputs, draft.coloured)

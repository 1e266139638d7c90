"""Follows a channel's money on the chain from its funding output to the parties' wallets.

Read from an Esplora server alone: neither node is asked. Whose a spend is follows from what it
shows: a script, and for a claim the secret.

    funding output -> commitment -> to_local   the broadcaster's, after the delay
                                 -> to_remote  the other's
                                 -> anchors    left, or swept with something else
                                 -> LSF        -> micropayment transaction -> claims, refunds
                                                  (seals: one claim, or one refund)
                                               -> settlement transaction   -> paid, unpaid locks
                                               -> refund of the whole LSF
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from lightspeed.cli.demo.plan import Closer, DemoScheme
from lightspeed.errors import RemoteError

__all__ = ["Movement", "Role", "Source", "StrangeSpend", "Trail", "follow"]

_OP_IF = 0x63
_OP_CHECKSEQUENCEVERIFY = 0xB2
_ANCHOR_SAT = 330
_P2A_TYPE = "anchor"
_OPRET_TYPE = "op_return"
_WEIGHT_PER_VBYTE = 4

Json = dict[str, Any]


class StrangeSpend(RemoteError, ValueError):
    """A transaction that spends the channel's money in none of the ways that were agreed."""


class Role(Enum):
    """What a transaction of the closing is there for."""

    COMMITMENT = "commitment"
    BOOK = "book"
    """The book's child, claims and refunds: until they are mined, another could take it."""
    SWEEP = "sweep"
    """Into a wallet, of what nobody else can spend any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A transaction of the closing. `owner` is None where it belongs to the channel."""

    txid: str
    what: str
    owner: Closer | None
    role: Role
    size_bytes: int
    vbytes: int
    fee_sat: int
    height: int | None
    """None while it is unconfirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where everything of the funding output went. Amounts in sat."""

    capacity_sat: int
    movements: tuple[Movement, ...]
    claimed: Mapping[bytes, int] = field(repr=False)
    """What the payee got for each secret that the chain shows, by lock hash.

    A lock's output, or in a settlement transaction all locks up to that one.
    """
    lsf_sat: int
    """What the LSF held: the locks, and what its child costs."""
    refunded_sat: int
    """Outputs of locks, or the whole LSF, or the payer's part of a settlement transaction."""
    received_sat: Mapping[Closer, int]
    """What arrived in each wallet, own fees already off."""
    anchors_sat: Mapping[Closer, int]
    """What each party took of anchors and P2As, which the payer had paid for."""
    left_sat: int
    """Anchors and P2As that nobody took: too small to be worth it."""
    waiting_sat: int
    """Not spent yet, though somebody should."""

    @property
    def vbytes(self) -> int:
        return sum(movement.vbytes for movement in self.movements)

    @property
    def size_bytes(self) -> int:
        """Of the transactions as blocks hold them, witnesses in full."""
        return sum(movement.size_bytes for movement in self.movements)

    def of(self, role: Role) -> tuple[Movement, ...]:
        return tuple(movement for movement in self.movements if movement.role is role)

    @property
    def confirmed(self) -> bool:
        return all(movement.height is not None for movement in self.movements)

    def fees_sat(self, owner: Closer | None) -> int:
        """Of the transactions of one party, or (None) of the channel's."""
        return sum(m.fee_sat for m in self.movements if m.owner is owner)


class Source(Protocol):
    """What is asked of the Esplora server."""

    async def transaction(self, txid: str) -> Json:
        """Inputs with what they spend, outputs, weight, fee, status."""

    async def outspends(self, txid: str) -> list[Json]:
        """One for each output, in order."""


@dataclass(slots=True)
class _Sweep:
    tx: Json
    owners: set[Closer] = field(default_factory=set)
    purposes: set[str] = field(default_factory=set)
    anchors_sat: int = 0
    likely: Closer | None = None
    role: Role = Role.SWEEP

    @property
    def scripts(self) -> set[str]:
        return {out["scriptpubkey"] for out in self.tx["vout"]}


@dataclass(slots=True)
class _Walk:
    source: Source
    scheme: DemoScheme
    closed_by: Closer
    movements: dict[str, Movement] = field(default_factory=dict)
    claimed: dict[bytes, int] = field(default_factory=dict)
    received: dict[Closer, int] = field(default_factory=lambda: dict.fromkeys(Closer, 0))
    anchors: dict[Closer, int] = field(default_factory=lambda: dict.fromkeys(Closer, 0))
    lsf: int = 0
    refunded: int = 0
    left: int = 0
    waiting: int = 0
    ours: set[tuple[str, int]] = field(default_factory=set)
    """Outputs of the channel's transactions: what else a sweep spends is a wallet's."""
    sweeps: dict[str, _Sweep] = field(default_factory=dict)

    async def commitment(self, txid: str) -> None:
        tx = await self._channel_tx(txid, "commitment", Role.COMMITMENT)
        for out, spend in await self._spends(txid, tx):
            is_lsf = out["scriptpubkey_type"] == "v1_p2tr"
            self.lsf += out["value"] * is_lsf
            if not spend.get("spent"):
                self._unspent(out)
            elif is_lsf:
                await self._lsf(spend)
            else:
                await self._commitment_output(spend, out)

    async def _lsf(self, spend: Json) -> None:
        tx = await self.source.transaction(spend["txid"])
        witness = tx["vin"][spend["vin"]]["witness"]
        if len(witness) == 5:  # payee's and payer's signature, secret, script, control block
            if self.scheme is DemoScheme.LADDER:
                await self._settlement(spend["txid"], secret=bytes.fromhex(witness[2]))
            else:
                await self._micropayment(spend["txid"])
        elif len(witness) == 3:  # the payer's signature, script, control block
            self.refunded += tx["vin"][spend["vin"]]["prevout"]["value"]
            self._sweep(tx, Closer.PAYER, "refund of the LSF", role=Role.BOOK)
        else:
            raise StrangeSpend(f"{spend['txid']} spends an LSF with {len(witness)} witness items")

    async def _micropayment(self, txid: str) -> None:
        tx = await self._channel_tx(txid, "micropayment transaction", Role.BOOK)
        for out, spend in await self._spends(txid, tx):
            if not spend.get("spent"):
                self._unspent(out)
                continue
            spender = await self._known(spend["txid"])
            witness = [bytes.fromhex(item) for item in spender["vin"][spend["vin"]]["witness"]]
            if out["scriptpubkey_type"] == _P2A_TYPE:
                self._p2a(spender, out)
            elif self.scheme is DemoScheme.SEALS:
                self._seals(spender, out, script=witness[1])
            elif len(witness) == 4:  # signature, secret, script, control block
                self.claimed[hashlib.sha256(witness[1]).digest()] = out["value"]
                self._sweep(spender, Closer.PAYEE, "claim", role=Role.BOOK)
            elif len(witness) == 3:  # signature, script, control block
                self.refunded += out["value"]
                self._sweep(spender, Closer.PAYER, "refund", role=Role.BOOK)
            else:
                raise StrangeSpend(f"{spend['txid']} spends a lock in a way that no leaf has")

    def _seals(self, spender: Json, out: Json, *, script: bytes) -> None:
        """The output of all locks: without a delay it is the payee's."""
        if script[-1:] == bytes([_OP_CHECKSEQUENCEVERIFY]):
            self.refunded += out["value"]
            self._sweep(spender, Closer.PAYER, "refund", role=Role.BOOK)
        else:
            self._sweep(spender, Closer.PAYEE, "claim", role=Role.BOOK)

    async def _settlement(self, txid: str, *, secret: bytes) -> None:
        """The payee's output, then the payer's if it has one: each spent by key path."""
        tx = await self._channel_tx(txid, "settlement transaction", Role.BOOK)
        owners = [Closer.PAYER, Closer.PAYEE]
        for out, spend in await self._spends(txid, tx):
            spender = await self._known(spend["txid"]) if spend.get("spent") else None
            if out["scriptpubkey_type"] == _OPRET_TYPE:
                continue
            if out["scriptpubkey_type"] == _P2A_TYPE:
                if spender is None:
                    self._unspent(out)
                else:
                    self._p2a(spender, out)
                continue
            if not owners:
                raise StrangeSpend(f"{txid} has outputs for more than two parties")
            owner = owners.pop()
            if owner is Closer.PAYEE:
                self.claimed[hashlib.sha256(secret).digest()] = out["value"]
            else:
                self.refunded += out["value"]
            if spender is None:
                self._unspent(out)
            elif len(spender["vin"][spend["vin"]]["witness"]) == 1:  # a signature
                what = "paid locks" if owner is Closer.PAYEE else "unpaid locks"
                self._sweep(spender, owner, what)
            else:
                raise StrangeSpend(f"{spend['txid']} spends a settlement by a script")

    def _p2a(self, spender: Json, out: Json) -> None:
        self._sweep(spender, None, "P2A", anchor_sat=out["value"], likely=Closer.PAYEE)

    async def _commitment_output(self, spend: Json, out: Json) -> None:
        spender = await self._known(spend["txid"])
        script = bytes.fromhex(spender["vin"][spend["vin"]]["witness"][-1])
        if script[:1] == bytes([_OP_IF]):
            self._sweep(spender, self.closed_by, "sweep of the balance")
        elif script[-1:] == bytes([_OP_CHECKSEQUENCEVERIFY]):
            self._sweep(spender, self.closed_by.other, "sweep of the balance")
        elif out["value"] == _ANCHOR_SAT:
            self._sweep(spender, None, "anchor", anchor_sat=out["value"], likely=self.closed_by)
        else:
            raise StrangeSpend(f"{spend['txid']} spends an output that the channel does not have")

    async def _known(self, txid: str) -> Json:
        found = self.sweeps.get(txid)
        return found.tx if found else await self.source.transaction(txid)

    async def _spends(self, txid: str, tx: Json) -> list[tuple[Json, Json]]:
        """Every output with its spend."""
        self.ours.update((txid, vout) for vout in range(len(tx["vout"])))
        return list(zip(tx["vout"], await self.source.outspends(txid), strict=True))

    async def _channel_tx(self, txid: str, what: str, role: Role) -> Json:
        tx = await self.source.transaction(txid)
        self.movements[txid] = _movement(tx, what, None, role)
        return tx

    def _sweep(
        self,
        tx: Json,
        owner: Closer | None,
        what: str,
        *,
        role: Role = Role.SWEEP,
        anchor_sat: int = 0,
        likely: Closer | None = None,
    ) -> None:
        """`owner` None: an output that shows no owner; `likely` has a reason to take it."""
        sweep = self.sweeps.setdefault(tx["txid"], _Sweep(tx))
        sweep.purposes.add(what)
        sweep.anchors_sat += anchor_sat
        sweep.likely = sweep.likely or likely
        if role is Role.BOOK:
            sweep.role = role
        if owner is not None:
            sweep.owners.add(owner)

    def _unspent(self, out: Json) -> None:
        if out["scriptpubkey_type"] == _P2A_TYPE or (
            out["scriptpubkey_type"] == "v0_p2wsh" and out["value"] == _ANCHOR_SAT
        ):
            self.left += out["value"]
        else:
            self.waiting += out["value"]

    def settle(self) -> None:
        """What every sweep paid to its owner: its outputs, less what it took from a wallet."""
        for sweep in self.sweeps.values():
            owner = self._owner(sweep)
            from_wallet = sum(
                txin["prevout"]["value"]
                for txin in sweep.tx["vin"]
                if (txin["txid"], txin["vout"]) not in self.ours
            )
            paid = sum(out["value"] for out in sweep.tx["vout"])
            self.received[owner] += paid - from_wallet
            self.anchors[owner] += sweep.anchors_sat
            what = ", ".join(sorted(sweep.purposes))
            self.movements[sweep.tx["txid"]] = _movement(sweep.tx, what, owner, sweep.role)

    def _owner(self, sweep: _Sweep) -> Closer:
        """Of a sweep of anchors alone: who gets other money at the same script."""
        owners = sweep.owners
        if not owners:
            alike = [other for other in self.sweeps.values() if other.scripts & sweep.scripts]
            owners = {owner for other in alike for owner in other.owners}
        if not owners and sweep.likely:
            owners = {sweep.likely}
        if len(owners) != 1:
            raise StrangeSpend(f"{sweep.tx['txid']} takes outputs of {len(owners)} parties")
        return next(iter(owners))


async def follow(
    source: Source, *, funding_txid: str, vout: int, scheme: DemoScheme, closed_by: Closer
) -> Trail:
    """Raises `StrangeSpend`, also when the funding output is not spent at all."""
    funding = await source.transaction(funding_txid)
    spend = (await source.outspends(funding_txid))[vout]
    if not spend.get("spent"):
        raise StrangeSpend("the channel's funding output is not spent")
    walk = _Walk(source, scheme, closed_by)
    await walk.commitment(spend["txid"])
    walk.settle()
    return Trail(
        capacity_sat=funding["vout"][vout]["value"],
        movements=tuple(walk.movements.values()),
        claimed=walk.claimed,
        lsf_sat=walk.lsf,
        refunded_sat=walk.refunded,
        received_sat=walk.received,
        anchors_sat=walk.anchors,
        left_sat=walk.left,
        waiting_sat=walk.waiting,
    )


def _movement(tx: Json, what: str, owner: Closer | None, role: Role) -> Movement:
    return Movement(
        txid=tx["txid"],
        what=what,
        owner=owner,
        role=role,
        size_bytes=tx["size"],
        vbytes=-(-tx["weight"] // _WEIGHT_PER_VBYTE),
        fee_sat=tx["fee"],
        height=tx["status"].get("block_height"),
    )

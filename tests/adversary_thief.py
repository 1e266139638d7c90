"""The cheating side: it keeps every state that it ever had, and takes whatever a script allows.

Its node goes on by the protocol until somebody tells it otherwise. Once a commitment is on
chain, the thief tries at each block, with a high fee and one transaction for each output, all
that it can complete with everything that it ever held or was told.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from adversary_machine import Machine
from adversary_record import Record
from lightspeed.bitcoin import P2A_SCRIPT, FeeRate, OutPoint, Tx
from lightspeed.chain import BroadcastRefused
from lightspeed.channel import (
    Channel,
    ChannelState,
    Facts,
    Publication,
    Remedy,
    SpentOnChain,
    Sweep,
    UnknownCommitment,
    identify,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.commitment import NotACommitment
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE, Spend, SweepTooSmall
from lightspeed.channel.weights import witness_weight
from lightspeed.node.errors import InsufficientFunds
from lightspeed.node.proofs import NoProofs
from lightspeed.node.sweeping import BuiltSweep, build_sweep
from lightspeed.rgb import WitnessBundle

__all__ = ["Thief"]

_FEERATE = FeeRate(2_500)
"""It outbids."""


@dataclass
class Thief:
    """`loot`: its commitments by number, each with the state that it had last."""

    machine: Machine
    record: Record
    loot: dict[int, ChannelState] = field(default_factory=dict)
    preimages: dict[bytes, bytes] = field(default_factory=dict)
    taken: list[Tx] = field(default_factory=list)
    _channel: Channel | None = None
    own_secrets: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    """Book id -> lock -> secret: all of those that it made itself."""
    proofs: list[WitnessBundle] = field(default_factory=list)
    """Of the tokens that it took."""

    def keep(self) -> None:
        """To be called whenever its state may have changed."""
        if self.machine.has_channel:
            channel = self.machine.channel
            self._channel = channel
            self.loot[channel.state.holder_commitment.number] = channel.state
            for invoice in self.machine.node.invoices.all():
                preimage = bytes.fromhex(invoice.preimage)
                self.preimages[bytes.fromhex(invoice.payment_hash)] = preimage

    def channel(self, number: int) -> Channel:
        """As it was when commitment `number` was the latest."""
        latest = self._channel
        assert latest is not None
        return Channel(self.loot[number], signer=latest.signer, extensions=latest.extensions)

    def commitment(self, number: int) -> Tx:
        """Complete: the thief may broadcast it at any time."""
        return self.channel(number).holder_commitment_tx()

    @property
    def numbers(self) -> list[int]:
        """Of the commitments that it holds, oldest first."""
        return sorted(self.loot)

    # --- the chain ------------------------------------------------------------------------
    def rob(self) -> list[Tx]:
        """Tries everything once; what the mempool took."""
        if self._channel is None:
            return []
        funding = self._channel.state.config.funding_outpoint
        spend = self.machine.regtest.outspend(funding)
        if spend is None or spend.confirmed is None:
            return []
        accepted = []
        for tx in self._transactions(spend.tx, spend.confirmed.height):
            with contextlib.suppress(BroadcastRefused):
                self.machine.regtest.broadcast(tx)
                accepted.append(tx)
        self.taken += accepted
        return accepted

    def _transactions(self, commitment: Tx, height: int) -> Iterator[Tx]:
        facts = Facts(
            confirmed_height=height,
            spends=self._spends(commitment),
            preimages=self.preimages,
            lock_secrets=self._lock_secrets(),
        )
        for remedy in self._remedies(commitment, facts):
            if remedy.mature_height > self.machine.regtest.height + 3:
                continue  # far too early; a little too early is for the mempool to refuse
            if isinstance(remedy, Publication):
                yield remedy.tx
                continue
            with contextlib.suppress(SweepTooSmall, InsufficientFunds):
                yield self._sweep(remedy)

    def _sweep(self, sweep: Sweep) -> Tx:
        spend = sweep.spend
        if spend.paired_output is not None or spend.tokens:
            purse = self.machine.purse
            making = build_sweep(
                [sweep],
                wallet=purse,  # type: ignore[arg-type]
                proofs=NoProofs(),
                destination_script=self._destination,
                feerate_per_kw=_FEERATE,
            )
            try:
                making.send(None)  # this wallet never waits
            except StopIteration as done:
                built: BuiltSweep = done.value
                purse.release_coins(coin.outpoint for coin in built.added)
                self.proofs += built.proofs
                return built.tx
            raise AssertionError("the purse waits for nothing")
        return sweep_transaction(
            [spend], destination_script=self._destination, feerate_per_kw=_FEERATE
        )

    @property
    def _destination(self) -> bytes:
        scripts = sorted(self.machine.purse.scripts)
        return scripts[0] if scripts else self.machine.purse.new_script()

    def _remedies(self, commitment: Tx, facts: Facts) -> tuple[Remedy, ...]:
        """As its holder, whenever it held it; else as its countersignatory."""
        lookup = self.machine.stored_record
        for number in reversed(self.numbers):
            channel = self.channel(number)
            if channel.holder_commitment().frozen.tx.txid == commitment.txid:
                return remedies(channel, identify(channel, commitment, lookup), facts)
        for number in reversed(self.numbers):
            channel = self.channel(number)
            try:
                return remedies(channel, identify(channel, commitment, lookup), facts)
            except (UnknownCommitment, NotACommitment):
                continue
        return ()

    def _lock_secrets(self) -> dict[bytes, dict[int, bytes]]:
        presented = {
            book_id: {
                lock: element
                for lock, (unit, element) in use.presented.items()
                if unit == use.terms.chain_length
            }
            for book_id, use in self.record.books.items()
        }
        return presented | self.own_secrets

    def _spends(self, commitment: Tx) -> dict[OutPoint, SpentOnChain]:
        found: dict[OutPoint, SpentOnChain] = {}
        todo = [commitment]
        while todo:
            tx = todo.pop()
            for vout in range(len(tx.outputs)):
                spend = self.machine.regtest.outspend(tx.outpoint(vout))
                if spend is not None and spend.confirmed is not None:
                    found[tx.outpoint(vout)] = SpentOnChain(
                        spend.tx, spend.input_index, spend.confirmed.height
                    )
                    todo.append(spend.tx)
        return found

    # --- pinning --------------------------------------------------------------------------
    def pin(self) -> list[Tx]:
        """A low child on every P2A in the mempool that nobody spends yet."""
        pins = []
        for entry in list(self.machine.regtest.mempool):
            for vout, output in enumerate(entry.tx.outputs):
                outpoint = entry.tx.outpoint(vout)
                if output.script != P2A_SCRIPT or self.machine.regtest.outspend(outpoint):
                    continue
                p2a = Spend(
                    outpoint=outpoint,
                    prevout=output,
                    sequence=SEQUENCE_REPLACEABLE,
                    witness_weight=witness_weight(),
                    sign=lambda digest, index: (),
                )
                with contextlib.suppress(SweepTooSmall, InsufficientFunds, BroadcastRefused):
                    pin = self._pin(p2a, version=entry.tx.version)
                    self.machine.regtest.broadcast(pin)
                    pins.append(pin)
        return pins

    def _pin(self, p2a: Spend, *, version: int) -> Tx:
        purse = self.machine.purse
        coin = next(purse.free_spends())
        return sweep_transaction(
            [p2a, coin],
            destination_script=self._destination,
            feerate_per_kw=FeeRate(300),
            version=version,
        )

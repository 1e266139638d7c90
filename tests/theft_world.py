"""A chain, two channels and a thief who keeps everything that it ever held.

The honest side is a machine: at each block it looks at the chain, asks for remedies and
publishes what is ripe. D = 6, R = 20 blocks. The HTLCs of these scenarios are never settled.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from channel_pair import Node, Pair
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, p2wpkh, sha256
from lightspeed.chain import BroadcastRefused, FeePolicy, Regtest
from lightspeed.channel import (
    Channel,
    ChannelSecrets,
    Facts,
    Publication,
    Remedy,
    SpentOnChain,
    identify,
    remedies,
    sweep_transaction,
)
from lightspeed.channel.scripts import funding_output_script
from lightspeed.channel.sweeps import SweepTooSmall
from lightspeed.lsf import next_close, next_settle
from lightspeed.payment import LockElement, SecretBook
from lightspeed.units import Msat, Sat
from lsf_pair import channel_of, open_book, open_lsf_pair, payee_of, payer_of, secret_book
from lsf_world import book_terms

__all__ = ["LOCKS", "LOCK_SAT", "THIEF_FEERATE", "D", "Loot", "R", "TheftWorld", "held_sat"]

D, R = 6, 20
LOCKS, LOCK_SAT = 5, 10_000
HONEST_FEERATE = FeeRate(500)
THIEF_FEERATE = FeeRate(5_000)  # a thief outbids


@dataclass(frozen=True, eq=False)
class Loot:
    """A commitment that a node held, and the channel as it was then."""

    channel: Channel
    tx: Tx


def copied(channel: Channel) -> Channel:
    """Frozen at this moment: `state` is replaced, never changed."""
    return Channel(channel.state, signer=channel.signer, extensions=channel.extensions)


@dataclass
class TheftWorld:
    """`loot` fills up with every commitment of either node, oldest first."""

    push_sat: int = 1_000_000
    loot: dict[str, list[Loot]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.regtest = Regtest(fees=FeePolicy())
        keys = [ChannelSecrets.derive(sha256(name)).basepoints.funding for name in (b"a", b"b")]
        funding = self.regtest.fund(funding_output_script(*keys), Sat(5_000_000))
        self.regtest.mine()
        self.funding = OutPoint(funding.txid, 0)
        self.pair: Pair = open_lsf_pair(
            funding=self.funding, delay_blocks=D, push_sat=self.push_sat, feerate_per_kw=500
        )
        self.secrets: dict[bytes, SecretBook] = {}
        self.paid: dict[bytes, dict[int, bytes]] = {}
        self.counter = 0
        self.keep()

    @property
    def payer(self) -> Node:
        return payer_of(self.pair)

    @property
    def payee(self) -> Node:
        return payee_of(self.pair)

    # --- the life of the channel -------------------------------------------------------
    def keep(self) -> None:
        """Everybody puts its present commitment aside."""
        for node in (self.pair.funder, self.pair.fundee):
            held = self.loot.setdefault(node.name, [])
            channel = copied(channel_of(node))
            if not held or held[-1].channel.state.holder_commitment != (
                channel.state.holder_commitment
            ):
                held.append(Loot(channel, channel.holder_commitment_tx()))

    def settle(self) -> None:
        """Deliver everything, and keep what is held on the way."""
        while self.pair.funder.sent or self.pair.fundee.sent:
            for node in (self.pair.funder, self.pair.fundee):
                self.pair.deliver(node)
                self.keep()

    def open_book(self, *, locks: int = LOCKS) -> SecretBook:
        self.counter += 1
        secret = secret_book(
            self.pair,
            book_terms(locks=locks, lock_amount=LOCK_SAT, refund_delay_blocks=R),
            seed=bytes([self.counter]),
        )
        open_book(self.pair, secret)
        self.keep()
        self.secrets[secret.book.book_id] = secret
        self.paid[secret.book.book_id] = {}
        return secret

    def pay(self, secret: SecretBook, *locks: int) -> None:
        known = self.paid[secret.book.book_id]
        known |= {lock: secret.lock_secret(lock) for lock in locks}

    def settle_book(self, secret: SecretBook, *, to_lock: int) -> None:
        """What was paid up to this lock moves to the payee's balance."""
        book_id = secret.book.book_id
        known = {lock: s for lock, s in self.paid[book_id].items() if lock <= to_lock}
        update = next_settle(channel_of(self.payee), book_id, known)
        assert update is not None
        self.payee.run(channel_of(self.payee).propose(update))
        self.payee.run(channel_of(self.payee).commit())
        self.settle()

    def close_book(self, secret: SecretBook) -> None:
        """To the unit; the rest goes back to the payer."""
        book_id = secret.book.book_id
        final = [LockElement(lock, 1, s) for lock, s in self.paid[book_id].items()]
        update = next_close(channel_of(self.payee), book_id, final)
        assert update is not None
        self.payee.run(channel_of(self.payee).propose(update))
        self.payee.run(channel_of(self.payee).commit())
        self.settle()

    def offer_htlc(self, node: Node, amount_sat: int = 50_000) -> None:
        self.counter += 1
        _, effects = channel_of(node).add_htlc(
            amount_msat=Msat(amount_sat * 1_000),
            payment_hash=sha256(bytes([self.counter])),
            cltv_expiry=self.regtest.height + 200,
            onion=bytes(1_366),
        )
        node.run(effects)
        node.run(channel_of(node).commit())
        self.settle()

    def fail_htlcs(self, node: Node) -> None:
        """`node` sends back all that it was offered."""
        for htlc in channel_of(node).unresolved_htlcs():
            node.run(channel_of(node).fail_htlc(htlc.id, b"no"))
        node.run(channel_of(node).commit())
        self.settle()

    # --- the chain ---------------------------------------------------------------------
    def commitment_on_chain(self) -> Tx | None:
        spend = self.regtest.outspend(self.funding)
        return spend.tx if spend is not None and spend.confirmed is not None else None

    def facts(self, commitment: Tx, *, payee: bool) -> Facts:
        info = self.regtest.transaction(commitment.txid)
        assert info is not None
        assert info.confirmed is not None
        spends: dict[OutPoint, SpentOnChain] = {}
        todo = [commitment]
        while todo:
            tx = todo.pop()
            for vout in range(len(tx.outputs)):
                spend = self.regtest.outspend(tx.outpoint(vout))
                if spend is not None and spend.confirmed is not None:
                    spends[tx.outpoint(vout)] = SpentOnChain(
                        spend.tx, spend.input_index, spend.confirmed.height
                    )
                    todo.append(spend.tx)
        return Facts(
            confirmed_height=info.confirmed.height,
            spends=spends,
            lock_secrets=self.paid if payee else {},
        )

    def remedies(self, node: Node, channel: Channel, commitment: Tx) -> tuple[Remedy, ...]:
        facts = self.facts(commitment, payee=node is self.payee)
        return remedies(channel, identify(channel, commitment, node.lookup), facts)

    def act(self, node: Node, channel: Channel | None = None) -> list[Tx]:
        """Publish all that the next block may include; a thief brings its own old channel."""
        commitment = self.commitment_on_chain()
        if commitment is None:
            return []
        feerate = HONEST_FEERATE if channel is None else THIEF_FEERATE
        found = self.remedies(node, channel or channel_of(node), commitment)
        ripe = [remedy for remedy in found if remedy.mature_height <= self.regtest.height + 1]
        published = []
        for tx in self.transactions(node, ripe, feerate=feerate):
            with contextlib.suppress(BroadcastRefused):
                self.regtest.broadcast(tx)
                published.append(tx)
        return published

    def transactions(self, node: Node, found: Iterable[Remedy], *, feerate: FeeRate) -> list[Tx]:
        """One for each remedy, so that nothing holds up anything else."""
        made = []
        for remedy in found:
            if isinstance(remedy, Publication):
                made.append(remedy.tx)
                continue
            if remedy.spend.paired_output is not None:
                continue  # second stages of HTLCs need a wallet
            with contextlib.suppress(SweepTooSmall):
                made.append(
                    sweep_transaction(
                        [remedy.spend],
                        destination_script=self.destination(node),
                        feerate_per_kw=feerate,
                    )
                )
        return made

    def destination(self, node: Node) -> bytes:
        return p2wpkh(sha256(node.name.encode())[:20])

    def received_sat(self, node: Node) -> int:
        """What came out of the channel to this node, after the fees that it paid itself."""
        script = self.destination(node)
        return sum(output.value for _, output, _ in self.regtest.unspent(sha256(script)))

    def own_fees_sat(self, node: Node) -> int:
        """Of the confirmed transactions that pay to the node: all are of its making."""
        total = 0
        for outpoint, _, block in self.regtest.unspent(sha256(self.destination(node))):
            info = self.regtest.transaction(outpoint.txid)
            assert info is not None
            assert block is not None
            spent = [self.regtest.output(txin.outpoint) for txin in info.tx.inputs]
            total += sum(output.value for output in spent if output is not None)
            total -= sum(output.value for output in info.tx.outputs)
        return total


def held_sat(channel: Channel, *, locks_paid: int = 0) -> int:
    """What the holder is owed of its current commitment, before the fees of its sweeps.

    `locks_paid`: those of its books that are not settled. The funder's includes what the
    commitment's fee and anchors take.
    """
    state = channel.state
    owed = state.base.holder_msat // 1_000
    lsf = state.extension_states["lsf"]
    is_payer = lsf.parameters.holder.name == "PAYER"
    for book in state.base.extensions["lsf"].books:
        if is_payer:
            owed += (lsf.books[book.book_id].locks - book.settled) * LOCK_SAT
    return owed + (-locks_paid if is_payer else locks_paid) * LOCK_SAT

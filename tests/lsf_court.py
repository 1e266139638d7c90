"""A chain with real consensus, two channels on it, and one book that is open: for closes."""

from collections.abc import Iterable

import pytest

from channel_pair import Node, Pair
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, TxOut, p2wpkh, sha256
from lightspeed.chain import BroadcastRefused, FeePolicy, Regtest
from lightspeed.channel import (
    ChannelSecrets,
    Facts,
    OnChain,
    Publication,
    Remedy,
    SpentOnChain,
    Sweep,
    identify,
    remedies,
    split_spends,
    sweep_transaction,
)
from lightspeed.channel.scripts import funding_output_script
from lightspeed.lsf import LsfChild
from lightspeed.lsf.children import children
from lightspeed.payment import SATS, Scheme, SecretBook
from lightspeed.units import Sat
from lsf_pair import (
    channel_of,
    open_book,
    open_lsf_pair,
    payee_of,
    payer_of,
    say_close,
    say_settle,
    secret_book,
)
from lsf_world import book_terms

__all__ = ["FEERATE", "Court", "D", "R", "fee"]

D, R = 6, 20
FEERATE = FeeRate(500)
LSF_PURPOSES = {
    "LSF penalty",
    "LSF refund",
    "micropayments",
    "lock refund",
    "claim",
    "settlement",
    "paid locks",
    "unpaid locks",
}


class Court:
    """A chain, two channels on it, and one book that is open."""

    def __init__(
        self,
        *,
        locks: int = 5,
        literal: bool = False,
        funding_sat: int = 5_000_000,
        scheme: Scheme = Scheme.OUTPUTS,
    ) -> None:
        self.regtest = Regtest(fees=FeePolicy())
        keys = [ChannelSecrets.derive(sha256(name)).basepoints.funding for name in (b"a", b"b")]
        self.pair = self.opened(TxOut(Sat(funding_sat), funding_output_script(*keys)))
        self.payer, self.payee = payer_of(self.pair), payee_of(self.pair)
        terms = book_terms(
            locks=locks,
            refund_delay_blocks=R,
            literal=literal,
            scheme=scheme,
            asset=self.contract_id,
        )
        self.secret: SecretBook = secret_book(self.pair, terms)
        open_book(self.pair, self.secret)
        self.paid: dict[int, bytes] = {}

    @property
    def contract_id(self) -> bytes:
        """Of the tokens that the book is in, if it is."""
        return SATS

    def opened(self, output: TxOut) -> Pair:
        """The channels, on a confirmed funding output."""
        funding = self.regtest.fund(output.script, output.value)
        self.regtest.mine()
        return open_lsf_pair(funding=funding.outpoint(0), delay_blocks=D, funding_sat=output.value)

    def pay(self, *locks: int) -> None:
        self.paid |= {lock: self.secret.lock_secret(lock) for lock in locks}

    def settle(self, *locks: int) -> None:
        """These were paid, and are settled as far as may be."""
        self.pay(*locks)
        say_settle(self.pair, self.secret, *locks)
        self.pair.settle()

    def close(self, *parts: tuple[int, int]) -> None:
        say_close(self.pair, self.secret, *parts)
        self.pair.settle()

    def commitment(self, node: Node) -> Tx:
        return channel_of(node).holder_commitment_tx()

    def next_state(self) -> None:
        """Revokes both current commitments."""
        self.payer.run(channel_of(self.payer).update_fee(1_100))
        self.payer.run(channel_of(self.payer).commit())
        self.pair.settle()

    # --- the chain ---------------------------------------------------------------------
    def publish(self, tx: Tx) -> None:
        self.regtest.broadcast(tx)

    def confirm(self, tx: Tx) -> int:
        self.publish(tx)
        self.regtest.mine()
        return self.height_of(tx)

    def height_of(self, tx: Tx) -> int:
        info = self.regtest.transaction(tx.txid)
        assert info is not None
        assert info.confirmed is not None
        return info.confirmed.height

    def is_mined(self, tx: Tx) -> bool:
        info = self.regtest.transaction(tx.txid)
        return info is not None and info.confirmed is not None

    # --- what a node does --------------------------------------------------------------
    def onchain(self, node: Node, commitment: Tx) -> OnChain:
        return identify(channel_of(node), commitment, node.lookup)

    def children(self, node: Node, commitment: Tx) -> tuple[LsfChild, ...]:
        onchain = self.onchain(node, commitment)
        state = channel_of(node).state.extension_states["lsf"]
        built = onchain.built
        return children(state, built.sheet.extensions["lsf"], built.context, built.frozen)

    def child(self, node: Node, commitment: Tx) -> LsfChild:
        """Of scheme outputs."""
        (child,) = self.children(node, commitment)
        return child

    def facts(self, node: Node, commitment: Tx) -> Facts:
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
            confirmed_height=self.height_of(commitment),
            spends=spends,
            lock_secrets={self.secret.book.book_id: self.known_secrets(node)},
        )

    def known_secrets(self, node: Node) -> dict[int, bytes]:
        """The payer, who has the seed, knows all."""
        if node is self.payee:
            return self.paid
        locks = range(1, self.secret.book.terms.locks + 1)
        return {lock: self.secret.lock_secret(lock) for lock in locks}

    def remedies(self, node: Node, commitment: Tx) -> list[Remedy]:
        found = remedies(
            channel_of(node), self.onchain(node, commitment), self.facts(node, commitment)
        )
        return [remedy for remedy in found if remedy.purpose in LSF_PURPOSES]

    def destination(self, node: Node) -> bytes:
        return p2wpkh(sha256(node.name.encode())[:20])

    def act(self, node: Node, commitment: Tx) -> list[Tx]:
        """Publish everything that the next block may include."""
        ripe = [
            remedy
            for remedy in self.remedies(node, commitment)
            if remedy.mature_height <= self.regtest.height + 1
        ]
        transactions = [remedy.tx for remedy in ripe if isinstance(remedy, Publication)]
        transactions += self.sweeps(node, ripe)
        for tx in transactions:
            self.publish(tx)
        return transactions

    def sweeps(self, node: Node, ripe: Iterable[Remedy]) -> list[Tx]:
        spends = [remedy.spend for remedy in ripe if isinstance(remedy, Sweep)]
        script = self.destination(node)
        return [
            sweep_transaction(part, destination_script=script, feerate_per_kw=FEERATE)
            for part in split_spends(spends, destination_script=script)
        ]

    def act_too_early(self, node: Node, commitment: Tx) -> list[str]:
        """Publish what is not ripe: why it is refused."""
        found = self.remedies(node, commitment)
        early = [tx.tx for tx in found if isinstance(tx, Publication)]
        early += self.sweeps(node, found)
        reasons = []
        for tx in early:
            with pytest.raises(BroadcastRefused) as refused:
                self.publish(tx)
            reasons.append(refused.value.reason)
        return reasons

    def received(self, node: Node) -> int:
        """What the node's sweeps paid, before their fees."""
        total = 0
        for _, output, _ in self.regtest.unspent(sha256(self.destination(node))):
            total += output.value
        return total


def fee(tx: Tx, spent: Iterable[TxOut]) -> int:
    return sum(out.value for out in spent) - sum(out.value for out in tx.outputs)

"""Two channels in memory over a real funding output, each with a wallet, a store and a closer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from channel_pair import Node, Pair, open_pair, opening_terms
from lightspeed.bitcoin import FeeRate, Network, OutPoint, Tx, sha256
from lightspeed.chain import LocalChain, Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.channel import Channel, ChannelSecrets, Put
from lightspeed.channel.scripts import funding_output_script
from lightspeed.node.closer import Closer
from lightspeed.node.closing import CloseProgress, CloseState
from lightspeed.node.own_transactions import OwnTransaction, OwnTransactions
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import ChainNet
from lightspeed.units import Msat, Sat

FUNDING_SAT = 5_000_000
PUSH_SAT = 1_000_000
COIN_SAT = 200_000
FUNDER_DELAY = 5  # of the funder's to_local: the fundee asked for it
FUNDEE_DELAY = 8
ONION = bytes(1366)


@dataclass
class Party:
    """A node of the pair, and what it closes its channel with."""

    node: Node
    folder: Path
    regtest: Regtest
    url: str
    preimages: dict[bytes, bytes] = field(default_factory=dict)
    lock_secrets: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    safe_depth: int = 3
    lock_secrets_final: bool = True
    progress: CloseProgress | None = None
    synced_at: int | None = None

    def start(self) -> None:
        """Opens the files; also after `stop`, as a new process would."""
        self.store = NodeStore(self.folder / f"{self.node.name}.sqlite")
        self.wallet = Wallet(
            self.folder / f"{self.node.name}-wallet.sqlite",
            seed=sha256(self.node.name.encode()),
            network=Network.REGTEST,
            esplora_url=self.url,
        )
        chain = LocalChain(self.regtest)
        self.stash = Stash(
            self.store, chain, chain_net=ChainNet.BITCOIN_REGTEST, safe_depth=self.safe_depth
        )
        self.wallet.kept_apart = lambda outpoint, _: bool(self.stash.tokens_on(outpoint))
        self.closer = Closer(
            self.store, self.wallet, chain, proofs=self.stash, safe_depth=self.safe_depth
        )

    def stop(self) -> None:
        self.store.close()
        self.node.restart()

    def save(self) -> None:
        """The channel's records go where the closer looks them up."""
        self.store.apply([Put(table, key, value) for (table, key), value in self._records()])

    def _records(self) -> Any:
        return self.node.store.items()

    async def step(self) -> CloseProgress:
        if self.synced_at != self.regtest.height // 2:  # not at every block: it takes its time
            await self.wallet.sync()
            self.synced_at = self.regtest.height // 2
        assert self.node.channel is not None
        self.progress = await self.closer.step(
            self.node.channel,
            preimages=self.preimages,
            lock_secrets=self.lock_secrets,
            may_grow=not self.lock_secrets_final,
        )
        return self.progress

    def remembered(self) -> list[OwnTransaction]:
        assert self.node.channel is not None
        return list(OwnTransactions(self.store, self.node.channel.channel_id))

    def spent_coins(self) -> set[OutPoint]:
        return {txin.outpoint for own in self.remembered() for txin in own.tx.inputs}

    @property
    def fees_sat(self) -> int:
        """Of everything that it published after the commitment."""
        assert self.progress is not None
        ours = [tx for tx in self.progress.transactions if tx.ours and tx.purpose != "commitment"]
        fees = [tx.fee_sat for tx in ours]
        assert None not in fees
        return sum(fee for fee in fees if fee is not None)

    async def gained_sat(self) -> int:
        """What came out of the channel, fees taken off; read from the chain."""
        await self.wallet.sync()
        assert self.wallet.balance().pending_sat == 0
        return self.wallet.balance().confirmed_sat - COIN_SAT


@dataclass
class World:
    regtest: Regtest
    pair: Pair
    funder: Party
    fundee: Party

    @property
    def parties(self) -> tuple[Party, Party]:
        return self.funder, self.fundee

    def offer(self, offerer: Party, amount_sat: int, *, expires_in: int, known: bool) -> bytes:
        """An irrevocably committed HTLC; `known`: the other party has its preimage."""
        other = self.other(offerer)
        preimage = sha256(f"{offerer.node.name} {amount_sat} {expires_in}".encode())
        assert offerer.node.channel is not None
        _, effects = offerer.node.channel.add_htlc(
            amount_msat=Msat(amount_sat * 1_000),
            payment_hash=sha256(preimage),
            cltv_expiry=self.regtest.height + expires_in,
            onion=ONION,
        )
        offerer.node.run(effects)
        offerer.node.run(offerer.node.channel.commit())
        self.pair.settle()
        if known:
            other.preimages[sha256(preimage)] = preimage
        return preimage

    def other(self, party: Party) -> Party:
        return self.fundee if party is self.funder else self.funder

    def make_revoked(self, cheater: Party) -> Tx:
        """The cheater's commitment, which the next one revokes; it goes on as if it were not."""
        channel = cheater.node.channel
        assert channel is not None
        before = Channel(channel.state, signer=channel.signer, extensions=channel.extensions)
        self.offer(cheater, 9_000, expires_in=100, known=False)
        cheater.node.channel = before
        return before.holder_commitment_tx()

    def publish(self, tx: Tx, *, mine: int = 1) -> None:
        for party in self.parties:
            party.save()
        self.regtest.broadcast(tx)
        if mine:
            self.regtest.mine(mine)

    async def step(self) -> None:
        for party in self.parties:
            await party.step()

    async def run(self, *, blocks: int = 60, each: Callable[[int], None] | None = None) -> None:
        """Blocks and steps until both closes are done."""
        for number in range(blocks):
            await self.step()
            if all(party.progress.state is CloseState.DONE for party in self.parties):  # type: ignore[union-attr]
                return
            self.regtest.mine()
            if each is not None:
                each(number)
        raise AssertionError([party.progress for party in self.parties])


def _open_plain(**options: Any) -> Pair:
    return open_pair(
        funder_terms=opening_terms("a", to_self_delay_blocks=FUNDEE_DELAY),
        fundee_terms=opening_terms("b", to_self_delay_blocks=FUNDER_DELAY),
        **options,
    )


def _fund_plain(regtest: Regtest, script: bytes, sat: Sat) -> OutPoint:
    return regtest.fund(script, sat).outpoint(0)


@asynccontextmanager
async def closing_world(
    folder: Path,
    *,
    opened: Callable[..., Pair] = _open_plain,
    fund: Callable[[Regtest, bytes, Sat], OutPoint] = _fund_plain,
    safe_depth: int = 3,
    **options: Any,
) -> AsyncIterator[World]:
    """`opened` makes the pair on the output that `fund` pays; `options` are for it."""
    regtest = Regtest()
    keys = [ChannelSecrets.derive(sha256(name)).funding.public for name in (b"a", b"b")]
    funding = fund(regtest, funding_output_script(*keys), Sat(FUNDING_SAT))
    regtest.mine()
    pair = opened(funding_sat=FUNDING_SAT, push_sat=PUSH_SAT, funding=funding, **options)
    async with serving(regtest) as url:
        parties = [
            Party(node, folder, regtest, url, safe_depth=safe_depth)
            for node in (pair.funder, pair.fundee)
        ]
        for party in parties:
            party.start()
            regtest.fund(party.wallet.new_script(), Sat(COIN_SAT))
        regtest.mine()
        for party in parties:
            await party.wallet.sync()
        try:
            yield World(regtest, pair, *parties)
        finally:
            for party in parties:
                party.store.close()


def set_fee_rate(world: World, sat_per_vbyte: int) -> None:
    world.regtest.fee_rate = FeeRate(250 * sat_per_vbyte)

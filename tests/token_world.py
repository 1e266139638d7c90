"""Parties with wallets and stashes on one regtest, without whole nodes around them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightspeed.bitcoin import FEE_RATE_FLOOR, Network, OutPoint, Tx, TxOut, sha256
from lightspeed.chain import EsploraChain, Regtest
from lightspeed.chain.esplora_server import serving
from lightspeed.errors import StoreError
from lightspeed.node.config import NodeConfig
from lightspeed.node.reservations import release_forgotten_coins
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens import Builder, Tokens, TokenTransaction
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import AssetSpec, ChainNet, Destination, GenesisSeal, issue
from lightspeed.units import Sat

__all__ = ["TokenParty", "TokenWorld", "token_world"]

NET = ChainNet.BITCOIN_REGTEST


@dataclass
class TokenParty:
    """Its parts can be closed and opened again from its folder."""

    world: "TokenWorld"
    folder: Path
    minimum_depth: int = 1
    store: NodeStore = field(init=False)
    wallet: Wallet = field(init=False)
    stash: Stash = field(init=False)
    tokens: Tokens = field(init=False)
    failures: list[StoreError] = field(default_factory=list)
    _parts: ExitStack = field(init=False)

    def open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._parts = ExitStack()
        self.store = self._parts.enter_context(NodeStore(self.folder / "node.sqlite"))
        self.wallet = Wallet(
            self.folder / "wallet.sqlite",
            seed=sha256(self.folder.name.encode()),
            network=Network.REGTEST,
            esplora_url=self.world.url,
        )
        self.stash = Stash(self.store, self.world.chain, chain_net=NET, safe_depth=6)
        self.tokens = Tokens(
            NodeConfig(
                data_dir=self.folder,
                esplora_url=self.world.url,
                minimum_depth=self.minimum_depth,
                safe_depth=6,
                poll_seconds=0.05,
            ),
            store=self.store,
            stash=self.stash,
            wallet=self.wallet,
            chain=self.world.chain,
            clock=lambda: self.world.now,
            on_failure=self.failures.append,
        )
        release_forgotten_coins(self.store, self.wallet)

    @property
    def builder(self) -> Builder:
        return self.tokens.builder

    def close(self) -> None:
        self._parts.close()

    def reopen(self) -> None:
        """As after a crash."""
        self.close()
        self.open()

    # --- means ----------------------------------------------------------------------------
    async def fund(self, *sats: int) -> list[OutPoint]:
        found = [self.world.regtest.fund(self.wallet.new_script(), Sat(sat)) for sat in sats]
        self.world.regtest.mine()
        await self.wallet.sync()
        return [tx.outpoint(0) for tx in found]

    async def issue(self, *amounts: int, sats: int = 1_000) -> bytes:
        """On coins of its own, which hold nothing else."""
        coins = await self.fund(*(sats for _ in amounts))
        genesis = issue(
            spec=AssetSpec(ticker="CALL", name="Calls"),
            chain_net=NET,
            timestamp=1_700_000_000,
            allocations=[
                (GenesisSeal(coin.txid, coin.vout, number), amount)
                for number, (coin, amount) in enumerate(zip(coins, amounts, strict=True))
            ],
        )
        self.stash.issue(genesis)
        return genesis.contract_id

    async def transfer(
        self,
        contract_id: bytes,
        *allocations: tuple[Destination, int],
        outputs: Sequence[TxOut] = (),
    ) -> TokenTransaction:
        """Published and kept."""
        built = await self.builder.transfer(
            contract_id, allocations, outputs=outputs, feerate_per_kw=FEE_RATE_FLOOR
        )
        self.stash.add(built.coloured.witness)
        await self.publish(built.tx)
        return built

    async def publish(self, tx: Tx) -> None:
        await self.world.chain.broadcast(tx)
        self.wallet.note_broadcast(tx)

    async def balance(self, contract_id: bytes, *, mined: bool = True) -> int:
        held = await self.builder.holdings(contract_id)
        return sum(each.token.amount for each in held if each.mined or not mined)


@dataclass
class TokenWorld:
    regtest: Regtest
    url: str
    chain: EsploraChain
    folder: Path
    parties: list[TokenParty] = field(default_factory=list)
    now: float = 1_800_000_000.0

    def party(self, name: str, *, minimum_depth: int = 1) -> TokenParty:
        party = TokenParty(self, self.folder / name, minimum_depth)
        party.open()
        self.parties.append(party)
        return party

    async def mine(self, blocks: int = 1) -> None:
        self.regtest.mine(blocks)
        for party in self.parties:
            await party.wallet.sync()


@asynccontextmanager
async def token_world(folder: Path) -> AsyncIterator[TokenWorld]:
    regtest = Regtest()
    async with serving(regtest) as url, EsploraChain(url) as chain:
        world = TokenWorld(regtest, url, chain, folder)
        try:
            yield world
        finally:
            for party in world.parties:
                await party.tokens.stop()
                party.close()

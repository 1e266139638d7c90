"""A channel with a book, a tower that guards one of its sides, and the chain between them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from closing_world import FUNDING_SAT, PUSH_SAT, Party, World, closing_world
from lightspeed.bitcoin import FeeRate, Tx
from lightspeed.chain import LocalChain, Regtest
from lightspeed.channel import Phase
from lightspeed.channel.commitment import commitment_fee
from lightspeed.lsf import PayeeLimits
from lightspeed.lsf.scripts import LSF_OUTPUT_WEIGHT
from lightspeed.node.closing import CloseState
from lightspeed.node.destination import closing_destination
from lightspeed.node.records import ChannelRecord
from lightspeed.node.tower import Change, Guard, TowerStore
from lightspeed.node.tower.feed import TowerFeed
from lightspeed.payment import Scheme, SecretBook
from lsf_pair import open_book, open_lsf_pair, secret_book
from lsf_world import book_terms

__all__ = [
    "COST_SAT",
    "DELAY_BLOCKS",
    "LOCKS",
    "LOCK_SAT",
    "DirectClient",
    "TowerWorld",
    "tower_world",
]

LOCKS, LOCK_SAT = 20, 1_000
DELAY_BLOCKS = 6
REFUND_DELAY_BLOCKS = 30
COST_SAT = 660 + commitment_fee(
    feerate_per_kw=FeeRate(1_000),
    untrimmed_htlcs=0,
    anchors=True,
    extension_weight=LSF_OUTPUT_WEIGHT,
)


class WatchedChain(LocalChain):
    """Remembers what was published over it."""

    def __init__(self, regtest: Regtest) -> None:
        super().__init__(regtest)
        self.published: dict[bytes, Tx] = {}

    async def broadcast(self, tx: Tx) -> None:
        await super().broadcast(tx)
        self.published[tx.txid] = tx

    async def broadcast_package(self, transactions: Sequence[Tx]) -> None:
        await super().broadcast_package(transactions)
        self.published |= {tx.txid: tx for tx in transactions}


class DirectClient:
    """A `TowerClient` without the network."""

    def __init__(self, store: TowerStore, guard: Guard, token: str) -> None:
        self._store = store
        self._guard = guard
        self._token = token
        self.requests: list[list[Change]] = []

    async def hand_over(self, label: bytes, changes: Sequence[Change]) -> None:
        account = self._store.authenticate(self._token)
        self._store.apply(account.id, label, changes)
        self._guard.expect(change.hint for change in changes if change.blob is not None)
        self.requests.append(list(changes))

    async def account(self) -> dict[str, int]:
        return {"used_bytes": self._store.authenticate(self._token).used_bytes}

    async def forget(self, label: bytes) -> None:
        self._store.forget(self._store.authenticate(self._token).id, label)


@dataclass
class FakeDriver:
    """What a feed asks of a channel's driver."""

    party: Party
    record: ChannelRecord

    @property
    def channel(self) -> Any:
        return self.party.node.channel

    @property
    def phase(self) -> Phase:
        phase: Phase = self.channel.state.phase
        return phase


@dataclass
class TowerWorld:
    world: World
    secret: SecretBook
    store: TowerStore
    chain: WatchedChain
    guard: Guard
    client: DirectClient
    problems: dict[str, str] = field(default_factory=dict)
    _feeds: dict[str, TowerFeed] = field(default_factory=dict)
    _drivers: dict[str, FakeDriver] = field(default_factory=dict)

    @property
    def regtest(self) -> Regtest:
        return self.world.regtest

    @property
    def payer(self) -> Party:
        return self.world.funder

    @property
    def payee(self) -> Party:
        return self.world.fundee

    @property
    def lsf_sat(self) -> int:
        state = self.payer.node.channel.state.extension_states["lsf"]
        return int(state.books[self.secret.book.book_id].amount_sat(settled=0))

    def pay(self, *locks: int) -> None:
        """The payee redeemed these; it knows their secrets."""
        secrets = {lock: self.secret.lock_secret(lock) for lock in locks}
        self.payee.lock_secrets.setdefault(self.secret.book.book_id, {}).update(secrets)

    # --- handing over ---------------------------------------------------------------------
    def driver(self, party: Party) -> FakeDriver:
        return self._drivers.setdefault(
            party.node.name, FakeDriver(party, ChannelRecord(node_id=bytes(33), index=0))
        )

    def feed(self, party: Party) -> TowerFeed:
        def report(key: str, text: str | None) -> None:
            self.problems.pop(key, None)
            if text is not None:
                self.problems[key] = text

        async def fenced(_: Any) -> bool:
            return True

        def make() -> TowerFeed:
            return TowerFeed(
                self.client,  # type: ignore[arg-type]
                store=party.store,
                drivers=lambda: [self.driver(party)],  # type: ignore[list-item]
                destination=lambda channel: closing_destination(
                    party.store, party.wallet, channel.channel_id
                ),
                preimages=lambda _: dict(party.preimages),
                lock_secrets=lambda _: {
                    book: dict(secrets) for book, secrets in party.lock_secrets.items()
                },
                fenced=fenced,
                report=report,
            )

        if party.node.name not in self._feeds:
            self._feeds[party.node.name] = make()
        return self._feeds[party.node.name]

    async def hand_over(self, party: Party) -> None:
        """As the node does after each change of its channel."""
        party.save()
        assert await self.feed(party).hand_over(), self.problems

    def stored(self) -> list[tuple[bytes, int, int]]:
        """(hint, part, size) of everything at the tower."""
        rows = self.store._connection.execute(
            "SELECT hint, number, length(blob) FROM part ORDER BY hint, number"
        )
        return [tuple(row) for row in rows]

    # --- the chain ------------------------------------------------------------------------
    async def without(
        self,
        absent: Party,
        *,
        blocks: int,
        other_acts: bool = True,
        each: Callable[[int], None] | None = None,
    ) -> None:
        """Blocks in which `absent` does nothing, the tower what it can, and the other all."""
        other = self.world.other(absent)
        for number in range(blocks):
            await self.guard.look()
            if other_acts:
                await other.step()
            self.regtest.mine()
            if each is not None:
                each(number)
        await self.guard.look()

    async def back(self, absent: Party, *, blocks: int = 80) -> None:
        """It starts again and takes what is left; the other goes on."""
        absent.stop()
        absent.start()
        await self.world.run(blocks=blocks)
        assert absent.progress is not None
        assert absent.progress.state is CloseState.DONE

    def confirmed(self) -> list[Tx]:
        """What the tower published and a block holds."""
        found = (self.regtest.transaction(txid) for txid in self.chain.published)
        return [info.tx for info in found if info is not None and info.confirmed]

    def height_of(self, tx: Tx) -> int:
        info = self.regtest.transaction(tx.txid)
        assert info is not None
        assert info.confirmed is not None
        return info.confirmed.height

    def fee_sat(self, tx: Tx) -> int:
        values = [self.regtest.output(txin.outpoint) for txin in tx.inputs]
        return sum(output.value for output in values if output) - sum(o.value for o in tx.outputs)

    def fees_sat(self, *, but: Sequence[Tx] = ()) -> int:
        """Of all that the tower published and a block holds."""
        return sum(self.fee_sat(tx) for tx in self.confirmed() if tx not in but)


@asynccontextmanager
async def tower_world(
    folder: Path,
    *,
    scheme: Scheme = Scheme.OUTPUTS,
    locks: int = LOCKS,
    lock_sat: int = LOCK_SAT,
    child_feerate: int = 253,
) -> AsyncIterator[TowerWorld]:
    async with closing_world(
        folder, opened=open_lsf_pair, limits=PayeeLimits(late_children=True)
    ) as world:
        terms = book_terms(
            locks=locks,
            lock_amount=lock_sat,
            refund_delay_blocks=REFUND_DELAY_BLOCKS,
            scheme=scheme,
            child_feerate=child_feerate,
        )
        secret = secret_book(world.pair, terms)
        open_book(world.pair, secret)
        with TowerStore(folder / "tower.sqlite") as store:
            chain = WatchedChain(world.regtest)
            guard = Guard(store, chain, safe_depth=3)
            client = DirectClient(store, guard, store.add_client("node"))
            await guard.look()
            yield TowerWorld(world, secret, store, chain, guard, client)


OWED_BEFORE = {"payer": FUNDING_SAT - PUSH_SAT - COST_SAT, "payee": PUSH_SAT}
"""Without anything paid."""

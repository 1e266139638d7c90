"""The stash: every contract that the node knows, the history of its tokens, and where they are.

What is stored are bundles, never whether they stand: that is asked of the chain at each use, so
that reorganisations and transactions that lost need no bookkeeping.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightspeed.bitcoin import Network, OutPoint
from lightspeed.chain import Chain
from lightspeed.channel import Put, StateError
from lightspeed.node.errors import ConsignmentRefused, HistoryTooYoung, UnknownContract
from lightspeed.node.store import NodeStore
from lightspeed.node.threads import by_size, to_the_end
from lightspeed.rgb import (
    ASSET_OWNER,
    ChainNet,
    Consignment,
    Genesis,
    GraphSeal,
    History,
    Holding,
    Opout,
    Reader,
    RgbError,
    SecretSeal,
    TokenInput,
    Transition,
    Validated,
    Witness,
    WitnessBundle,
    WitnessStatus,
    contract_id_text,
    validate,
    witnesses_of,
)

__all__ = [
    "MAX_BUNDLES",
    "MAX_CONSIGNMENT_SIZE",
    "TOKEN_BUNDLE_TABLE",
    "TOKEN_CONTRACT_TABLE",
    "Stash",
    "chain_net_of",
]

TOKEN_CONTRACT_TABLE = "token_contract"
"""A genesis. Key: contract id."""
TOKEN_BUNDLE_TABLE = "token_bundle"
"""Key: contract id, txid."""

MAX_CONSIGNMENT_SIZE = 64 << 20  # bytes; a claim of 65,535 locks is below 20 MB
MAX_BUNDLES = 10_000
"""Of one consignment: each is a question to the chain backend."""

_VERSION = b"\1"
_PARALLEL_QUESTIONS = 8
_CHAIN_NETS = {
    Network.MAINNET: ChainNet.BITCOIN_MAINNET,
    Network.TESTNET: ChainNet.BITCOIN_TESTNET3,
    Network.SIGNET: ChainNet.BITCOIN_SIGNET,
    Network.REGTEST: ChainNet.BITCOIN_REGTEST,
}


def chain_net_of(network: Network) -> ChainNet:
    return _CHAIN_NETS[network]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Growth:
    """What changes when the history of a contract becomes `history`."""

    contract_id: bytes
    history: History
    puts: tuple[Put, ...]
    assigned: Mapping[OutPoint, Mapping[Opout, tuple[bytes, int]]]
    """As in `Stash`, of what is new."""


class Stash:
    """Belongs to the node's thread. What it holds in memory is what the store holds.

    `safe_depth`: a transaction so deep is asked for once only.
    """

    def __init__(
        self, store: NodeStore, chain: Chain, *, chain_net: ChainNet, safe_depth: int
    ) -> None:
        """Raises `StateError`."""
        self.chain_net = chain_net
        self._store = store
        self._chain = chain
        self._safe_depth = safe_depth
        self._seen: dict[bytes, int] = {}
        """Depths of transactions when they were asked for last."""
        self._final: dict[bytes, int] = {}
        """Heights of transactions that are safely deep."""
        self._at: dict[OutPoint, dict[Opout, tuple[bytes, int]]] = {}
        """Contract and amount of everything that was ever assigned to an outpoint."""
        self._histories: dict[bytes, History] = {}
        for contract_id, data in store.scan(TOKEN_CONTRACT_TABLE):
            stored = _load_history(contract_id, data, store)
            self._hold(_growth(stored, stored))

    # --- what there is --------------------------------------------------------------------

    @property
    def contracts(self) -> tuple[bytes, ...]:
        """Ids."""
        return tuple(self._histories)

    def history(self, contract_id: bytes) -> History:
        """Raises `UnknownContract`."""
        try:
            return self._histories[contract_id]
        except KeyError:
            raise UnknownContract(
                f"no contract {contract_id_text(contract_id)} is known here"
            ) from None

    def tokens_on(self, outpoint: OutPoint) -> tuple[TokenInput, ...]:
        """All that was ever assigned there by what is kept, of any contract."""
        found = self._at.get(outpoint, {})
        return tuple(sorted(TokenInput(opout, amount) for opout, (_, amount) in found.items()))

    def keeps_apart(self, outpoint: OutPoint, _script: bytes) -> bool:
        """The wallet's question: a coin that holds tokens pays for nothing else."""
        return outpoint in self._at

    def contracts_on(self, outpoint: OutPoint) -> frozenset[bytes]:
        """Of which contracts."""
        return frozenset(contract_id for contract_id, _ in self._at.get(outpoint, {}).values())

    @property
    def seen(self) -> Mapping[bytes, WitnessStatus]:
        """Of transactions that were there when they were asked for last."""
        return _judged(self._seen, 1)

    async def holdings(self, contract_id: bytes, *, minimum_depth: int = 1) -> dict[Opout, Holding]:
        """Whatever the history says to be unspent, ours or not. Raises `ChainUnavailable`.

        `mined` means so deep, together with all that the tokens rest on.
        """
        history = self.history(contract_id)
        depths = await self._depths(history.bundles)
        return await by_size(
            _size(history.bundles.values()), history.holdings, _judged(depths, minimum_depth)
        )

    # --- growth ---------------------------------------------------------------------------

    def issue(self, genesis: Genesis) -> None:
        """A contract of ours; durably."""
        self._store_and_keep(History(genesis))

    def add(self, *bundles: WitnessBundle, besides: Sequence[Put] = ()) -> None:
        """Of known contracts, and valid. Durably, before any of their witnesses is published.

        `besides` is stored with them. The same again does no harm. Raises `UnknownContract` and
        `HistoryError`.
        """
        self._grow(
            [
                _with(self.history(contract_id), own)
                for contract_id, own in _by_contract(bundles).items()
            ],
            besides=besides,
        )

    async def keep(self, *bundles: WitnessBundle) -> None:
        """`add` of bundles that may be large: the loop goes on meanwhile. Contract by contract."""
        for contract_id, own in _by_contract(bundles).items():
            while True:
                old = self.history(contract_id)
                growth = await by_size(_size(own), _with, old, own)
                if self.history(contract_id) is old:  # nobody else made it grow meanwhile
                    break
            self._grow([growth])

    def reveal(self, contract_id: bytes, seals: Iterable[GraphSeal]) -> None:
        """Open what is assigned to these; durably."""
        self._store_and_keep(self.history(contract_id).reveal(seals))

    async def check(
        self,
        consignment: Consignment,
        *,
        minimum_depth: int = 1,
        unmined: Collection[bytes] = (),
    ) -> Validated:
        """Validate it against the chain, whether the contract is known here or not.

        Every witness has to be so deep, but for those of the ids `unmined`: they may be in the
        mempool, or known from the consignment alone. Raises `InvalidConsignment`,
        `ConsignmentRefused`, `HistoryTooYoung` and `ChainUnavailable`.
        """
        if len(consignment.bundles) > MAX_BUNDLES:
            raise ConsignmentRefused(f"a history of more than {MAX_BUNDLES:,} transactions")
        carried = witnesses_of(consignment)
        depths = await self._depths(bundle.txid for bundle in consignment.bundles)
        witnesses = {txid: carried[txid] for txid in unmined if txid in carried}
        for txid, status in _judged(depths, minimum_depth).items():
            known = carried.get(txid)
            witnesses[txid] = (
                await self._witness(txid, status) if known is None else Witness(known.tx, status)
            )
        validated = await to_the_end(validate, consignment, witnesses, chain_net=self.chain_net)
        waiting = [
            txid
            for txid, status in validated.statuses.items()
            if status is not WitnessStatus.MINED and txid not in unmined
        ]
        if waiting:
            raise HistoryTooYoung(
                f"the history is not {minimum_depth} blocks deep: of its transactions "
                f"{len(waiting)} wait for more blocks"
            )
        return validated

    def take(
        self,
        consignment: Consignment,
        opouts: Collection[Opout],
        *,
        seals: Iterable[GraphSeal] = (),
        besides: Sequence[Put] = (),
    ) -> None:
        """Keep, of a consignment that was checked, what proves these allocations; durably.

        `seals` are opened in it; `besides` is stored with it.

        What else it assigns stays concealed: nobody gets us to keep coins apart because of tokens
        that we did not ask for. Raises `ConsignmentRefused` when two contracts would meet on an
        outpoint: a transaction of ours moves tokens of one.
        """
        given = History.of(consignment).reveal(seals)
        contract_id = given.contract_id
        wanted = set(opouts)
        reduced = given.consignment(wanted)
        for opout, (outpoint, _) in _spots(History.of(reduced)):
            if opout in wanted and not self.contracts_on(outpoint) <= {contract_id}:
                raise ConsignmentRefused(f"{outpoint} holds tokens of another contract")
        known = self._histories.get(contract_id)
        new = History.of(reduced) if known is None else known.merge(reduced)
        self._store_and_keep(new, besides=besides)

    async def forget_unmined(self, contract_id: bytes, outpoint: OutPoint) -> None:
        """What was kept for tokens on an outpoint whose transaction never came; durably.

        And what rests on that. Nothing happens if the transaction is there after all, or was
        kept for other tokens too. Raises `ChainUnavailable`.
        """
        txid = outpoint.txid
        if await self._chain.transaction(txid) is not None:
            return
        old = self._histories.get(contract_id)
        if old is None or txid not in old.bundles:
            return
        if any(spot != outpoint for _, (spot, _) in _spots(old, only=[txid])):
            return
        gone = old.resting_on(txid)
        self._store.apply([Put(TOKEN_BUNDLE_TABLE, contract_id + each, None) for each in gone])
        for opout, (spot, _) in _spots(old, only=gone):
            self._at[spot].pop(opout, None)
            if not self._at[spot]:
                del self._at[spot]
        self._histories[contract_id] = old.without(gone)

    def consignment(
        self, contract_id: bytes, opouts: Collection[Opout], *, named: Collection[SecretSeal] = ()
    ) -> Consignment:
        """See `History.consignment`."""
        return self.history(contract_id).consignment(opouts, named=named, statuses=self.seen)

    # --- inside ---------------------------------------------------------------------------

    def _store_and_keep(self, new: History, *, besides: Sequence[Put] = ()) -> None:
        self._grow([_growth(self._histories.get(new.contract_id), new)], besides=besides)

    def _grow(self, growths: Sequence[_Growth], *, besides: Sequence[Put] = ()) -> None:
        puts = [*(put for growth in growths for put in growth.puts), *besides]
        if puts:
            self._store.apply(puts)
        for growth in growths:
            self._hold(growth)

    def _hold(self, growth: _Growth) -> None:
        self._histories[growth.contract_id] = growth.history
        for outpoint, tokens in growth.assigned.items():
            self._at.setdefault(outpoint, {}).update(tokens)

    async def _depths(self, txids: Iterable[bytes]) -> dict[bytes, int]:
        """Of those that are in the chain or, with depth 0, in the mempool."""
        tip = await self._chain.tip()
        questions = asyncio.Semaphore(_PARALLEL_QUESTIONS)
        found: dict[bytes, int] = {}

        async def ask(txid: bytes) -> None:
            height = self._final.get(txid)
            if height is None:
                async with questions:
                    info = await self._chain.transaction(txid)
                if info is None:
                    return
                if info.confirmed is None:
                    found[txid] = 0
                    return
                height = info.confirmed.height
                if tip.height - height + 1 >= self._safe_depth:
                    self._final[txid] = height
            found[txid] = max(tip.height - height + 1, 0)

        asked = set(txids)
        await asyncio.gather(*(ask(txid) for txid in asked))
        for txid in asked - found.keys():
            self._seen.pop(txid, None)
        self._seen |= found
        return found

    async def _witness(self, txid: bytes, status: WitnessStatus) -> Witness:
        info = await self._chain.transaction(txid)
        if info is None:
            raise ConsignmentRefused("a transaction of the history has just left the chain")
        return Witness(info.tx, status)


def _judged(depths: Mapping[bytes, int], minimum_depth: int) -> dict[bytes, WitnessStatus]:
    return {
        txid: WitnessStatus.MINED if depth >= minimum_depth else WitnessStatus.TENTATIVE
        for txid, depth in depths.items()
    }


def _spots(
    history: History, *, only: Collection[bytes] | None = None
) -> Iterator[tuple[Opout, tuple[OutPoint, int]]]:
    """Outpoint and amount of every allocation whose seal is open; of these witnesses `only`."""
    operations: list[tuple[bytes, bytes, Genesis | Transition]] = []
    if only is None:
        operations.append((history.contract_id, b"", history.genesis))
    for txid in history.bundles if only is None else only:
        known = history.bundles[txid].bundle.known
        operations += [(opid, txid, transition) for opid, transition in known]
    for opid, txid, operation in operations:
        for number, assign in enumerate(operation.assignments.of_type(ASSET_OWNER)):
            outpoint = assign.outpoint(txid)
            if outpoint is not None and isinstance(assign.state, int):
                yield Opout(opid, ASSET_OWNER, number), (outpoint, assign.state)


def _by_contract(bundles: Iterable[WitnessBundle]) -> dict[bytes, list[WitnessBundle]]:
    found: dict[bytes, list[WitnessBundle]] = {}
    for bundle in bundles:
        found.setdefault(bundle.bundle.known[0][1].contract_id, []).append(bundle)
    return found


def _with(old: History, bundles: Sequence[WitnessBundle]) -> _Growth:
    return _growth(old, old.add(*bundles), only={bundle.txid for bundle in bundles})


def _growth(old: History | None, new: History, *, only: Collection[bytes] | None = None) -> _Growth:
    """From `old`, which the stash holds, to `new`; of these witnesses `only`."""
    contract_id = new.contract_id
    assigned: dict[OutPoint, dict[Opout, tuple[bytes, int]]] = {}
    for opout, (outpoint, amount) in _spots(new, only=only):
        assigned.setdefault(outpoint, {})[opout] = (contract_id, amount)
    return _Growth(
        contract_id=contract_id,
        history=new,
        puts=tuple(_puts(old, new, contract_id=contract_id)),
        assigned=assigned,
    )


def _size(bundles: Iterable[WitnessBundle]) -> int:
    """How many inputs and allocations are to be gone through."""
    known = [transition for bundle in bundles for _, transition in bundle.bundle.known]
    return sum(
        len(each.inputs) + sum(len(assigns) for _, assigns in each.assignments.by_type)
        for each in known
    )


def _puts(old: History | None, new: History, *, contract_id: bytes) -> Iterator[Put]:
    """What the store has to hold for `new` where it holds `old`."""
    if old is None or old.genesis != new.genesis:
        yield Put(TOKEN_CONTRACT_TABLE, contract_id, _VERSION + new.genesis.serialize())
    before = {} if old is None else old.bundles
    for txid, bundle in new.bundles.items():
        kept = before.get(txid)
        if kept is not bundle and kept != bundle:
            data = _VERSION + bundle.serialize()
            yield Put(TOKEN_BUNDLE_TABLE, contract_id + txid, data)


def _load_history(contract_id: bytes, data: bytes, store: NodeStore) -> History:
    try:
        genesis = Genesis.read(_reader(data))
        bundles = [
            WitnessBundle.read(_reader(value))
            for _, value in store.scan(TOKEN_BUNDLE_TABLE, contract_id)
        ]
        return History(genesis).add(*bundles)
    except RgbError as error:
        raise StateError(f"a stored contract cannot be read: {error}") from None


def _reader(data: bytes) -> Reader:
    if data[:1] != _VERSION:
        raise StateError("tokens stored by another version")
    return Reader(data[1:])

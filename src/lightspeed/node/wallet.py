"""The node's on-chain wallet: BIP 86 coins, kept by BDK and synced from an Esplora server.

ADR 3 says why BDK. What it does not know of are the Lightning side's needs: coins that stay
reserved while a funding transaction waits for a signature, and inputs that sign themselves into
a transaction of ours.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import bdkpython as bdk

from lightspeed.bitcoin import (
    P2TR_KEY_PATH_WITNESS_WEIGHT,
    TX_INPUT_WEIGHT,
    FeeRate,
    Network,
    OutPoint,
    PrivateKey,
    Tx,
    TxDigest,
    TxOut,
    address_of_script,
    fee_for_weight,
    tweak_secret,
    txid_from_hex,
    txid_hex,
)
from lightspeed.chain import BroadcastRefused, Chain
from lightspeed.channel import Spend
from lightspeed.channel.sweeps import SEQUENCE_REPLACEABLE
from lightspeed.node.errors import InsufficientFunds, NodeRefusal, WalletUnavailable
from lightspeed.node.wallet_file import WalletFile
from lightspeed.units import Sat

__all__ = ["Balance", "KeptApart", "Wallet"]

T = TypeVar("T")
KeptApart: TypeAlias = Callable[[OutPoint, bytes], bool]
"""Of a coin's outpoint and script; asked in any thread."""

_STOP_GAP = 20  # unused addresses in a row that end a scan, as other BIP 86 wallets do
_PARALLEL_REQUESTS = 4
_COIN_TYPE = {Network.MAINNET: 0}  # SLIP 44; every test network has 1
_NETWORK = {
    Network.MAINNET: bdk.Network.BITCOIN,
    Network.TESTNET: bdk.Network.TESTNET,
    Network.SIGNET: bdk.Network.SIGNET,
    Network.REGTEST: bdk.Network.REGTEST,
}
_FOREIGN_ERRORS = (
    bdk.EsploraError,
    bdk.CannotConnectError,
    bdk.LoadWithPersistError,
    bdk.CreateWithPersistError,
    bdk.PersistenceError,
    bdk.InternalError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Balance:
    """Reserved coins are counted: they are ours until a transaction spends them."""

    confirmed_sat: Sat
    pending_sat: Sat
    """Unconfirmed change and payments to us."""

    @property
    def total_sat(self) -> Sat:
        return Sat(self.confirmed_sat + self.pending_sat)


class Wallet:
    """The coins of one seed (32 bytes, BIP 39's entropy of 24 words; path m/86'/coin'/0').

    Coroutines that ask the network run in a thread, one at a time; everything else answers from
    what the last `sync` saw. Every method raises `WalletUnavailable` when the file or the server
    fails.
    """

    def __init__(self, path: Path, *, seed: bytes, network: Network, esplora_url: str) -> None:
        """Opens or creates the file. Raises `WalletMismatch`."""
        self._network = network
        kind = bdk.NetworkKind.MAIN if network is Network.MAINNET else bdk.NetworkKind.TEST
        self._account = bdk.DescriptorSecretKey(kind, bdk.Mnemonic.from_entropy(seed), None)
        self._file = WalletFile(path, account=self._account, network=_NETWORK[network])
        with _translated():
            self._kept = self._file.open()
            self._client = bdk.EsploraClient(esplora_url, None)
        self.kept_apart: KeptApart | None = None
        """Coins with something on them that a payment would destroy: none of these is used."""
        self._one_at_a_time = asyncio.Lock()
        self._scanning: asyncio.Future[bdk.Update] | None = None

    @property
    def _wallet(self) -> bdk.Wallet:
        return self._kept.wallet

    # --- what there is --------------------------------------------------------------------

    @property
    def synced_height(self) -> int:
        """Of the chain, as the last `sync` saw it; 0 before the first."""
        return int(self._wallet.latest_checkpoint().height)

    def balance(self) -> Balance:
        found = self._wallet.balance()
        confirmed = Sat(found.confirmed.to_sat())
        return Balance(confirmed, Sat(found.total.to_sat() - confirmed))

    def spendable_sat(self) -> Sat:
        """What `fund` could use: no reserved coins, no unconfirmed payments of others."""
        return Sat(sum(coin.txout.value.to_sat() for coin in self._free_coins()))

    def apart_sat(self) -> Sat:
        """Of the balance: on coins that are kept apart, and pay for nothing."""
        return Sat(sum(coin.txout.value.to_sat() for coin in self._coins() if self._is_apart(coin)))

    def new_script(self, *, change: bool = False) -> bytes:
        """A scriptPubKey that was never given out before; `change`: for ourselves alone."""
        keychain = bdk.KeychainKind.INTERNAL if change else bdk.KeychainKind.EXTERNAL
        with _translated():
            info = self._wallet.reveal_next_address(keychain)
            self._persist()
        return bytes(info.address.script_pubkey().to_bytes())

    def new_address(self) -> str:
        return address_of_script(self.new_script(), self._network)

    async def sync(self) -> None:
        """Learns from the server what was paid to us and spent; follows reorganisations."""

        async with self._one_at_a_time:
            if self._scanning is not None:  # nobody waited for its end: it may be of an old tip
                with contextlib.suppress(WalletUnavailable):
                    await self._learn()
            await self._learn()
            if self._kept.holds_lost_transactions:
                empty = self._file.empty(self._kept)
                update = await _in_thread(lambda: self._scan(empty))
                with _translated():
                    self._kept = self._file.rebuilt(self._kept, update)

    async def _learn(self) -> None:
        update = await self._scanned()
        with _translated():
            self._wallet.apply_update(update)
            self._persist()

    async def _scanned(self) -> bdk.Update:
        """The result of a scan; one that nobody waited for to the end is waited for again.

        Nothing ends a thread whose request hangs, but there is never a second one.
        """
        if self._scanning is None:
            scan = _in_thread(lambda: self._scan(self._wallet))
            self._scanning = asyncio.ensure_future(scan)
        try:
            return await asyncio.shield(self._scanning)
        finally:
            if self._scanning.done():
                self._scanning = None

    def _scan(self, wallet: bdk.Wallet) -> bdk.Update:
        if wallet.latest_checkpoint().height == 0:
            request = wallet.start_full_scan().build()
            return self._client.full_scan(request, _STOP_GAP, _PARALLEL_REQUESTS)
        known = wallet.start_sync_with_revealed_spks().build()
        return self._client.sync(known, _PARALLEL_REQUESTS)

    # --- payments -------------------------------------------------------------------------

    async def fund(
        self, script: bytes, amount_sat: Sat, *, feerate_per_kw: FeeRate, minimum_depth: int = 0
    ) -> Tx:
        """A complete transaction with this output, at any index, that nobody has seen yet.

        Its coins are `minimum_depth` blocks deep; what others paid to us is one at the least. They
        stay reserved, over restarts too, until `release` or until it is on chain. Raises
        `InsufficientFunds`.
        """
        async with self._one_at_a_time:
            return await _in_thread(
                lambda: self._fund(script, amount_sat, feerate_per_kw, minimum_depth)
            )

    def _fund(
        self, script: bytes, amount_sat: Sat, feerate_per_kw: FeeRate, minimum_depth: int
    ) -> Tx:
        deep = [coin for coin in self._free_coins() if self._depth(coin) >= minimum_depth]
        free = {_outpoint(coin.outpoint) for coin in deep}
        others = [coin.outpoint for coin in self._coins() if _outpoint(coin.outpoint) not in free]
        builder = (
            bdk.TxBuilder()
            .add_recipient(bdk.Script(script), bdk.Amount.from_sat(amount_sat))
            .fee_rate(bdk.FeeRate.from_sat_per_kwu(feerate_per_kw))
            .unspendable(others)
        )
        try:
            psbt = builder.finish(self._wallet)
        except bdk.CreateTxError.CoinSelection:
            available = sum(coin.txout.value.to_sat() for coin in deep)
            raise InsufficientFunds(
                needed_sat=amount_sat,
                available_sat=available,
                young_sat=self._young_sat(minimum_depth, but=deep),
                minimum_depth=minimum_depth,
            ) from None
        self._wallet.sign(psbt, None)
        tx = Tx.parse(bytes(psbt.extract_tx().serialize()))
        self._reserve(txin.outpoint for txin in tx.inputs)
        return tx

    async def send(
        self,
        script: bytes,
        amount_sat: Sat,
        *,
        feerate_per_kw: FeeRate,
        chain: Chain,
        minimum_depth: int = 0,
    ) -> Tx:
        """`fund`, broadcast. Raises `InsufficientFunds`, `BroadcastRefused`, `ChainUnavailable`.

        The new output is reserved, too.
        """
        tx = await self.fund(
            script, amount_sat, feerate_per_kw=feerate_per_kw, minimum_depth=minimum_depth
        )
        made = [tx.outpoint([output.script for output in tx.outputs].index(script))]
        self.reserve(made)  # before anybody can mine it
        try:
            await chain.broadcast(tx)
        except BroadcastRefused:
            self.release(tx)
            self.release_coins(made)
            raise
        self.note_broadcast(tx)
        return tx

    async def fee_spends(
        self, min_value_sat: Sat, *, feerate_per_kw: FeeRate, own_change: bool = False
    ) -> list[Spend]:
        """Confirmed coins that add at least so much to a transaction, their own inputs paid.

        They sign themselves, and are reserved like those of `fund`. `own_change`: unconfirmed
        change of ours will do too. Raises `InsufficientFunds`.
        """
        async with self._one_at_a_time:
            return await _in_thread(
                lambda: self._fee_spends(min_value_sat, feerate_per_kw, own_change=own_change)
            )

    def _fee_spends(
        self, min_value_sat: Sat, feerate_per_kw: FeeRate, *, own_change: bool
    ) -> list[Spend]:
        input_weight = TX_INPUT_WEIGHT + P2TR_KEY_PATH_WITNESS_WEIGHT
        input_fee = fee_for_weight(input_weight, feerate_per_kw) + 1

        def gain(coin: bdk.LocalOutput) -> int:
            return int(coin.txout.value.to_sat()) - input_fee

        fit = (c for c in self._free_coins() if own_change or c.chain_position.is_confirmed())
        coins = sorted((coin for coin in fit if gain(coin) > 0), key=gain)
        chosen = [coin for coin in coins if gain(coin) >= min_value_sat][:1]
        while not chosen or sum(map(gain, chosen)) < min_value_sat:
            if not coins:
                raise InsufficientFunds(
                    needed_sat=min_value_sat,
                    available_sat=sum(map(gain, chosen)),
                    young_sat=self._young_sat(1, but=chosen),
                )
            chosen.append(coins.pop())
        self._reserve(_outpoint(coin.outpoint) for coin in chosen)
        return [self._spend(coin) for coin in chosen]

    def own_inputs(self, tx: Tx) -> list[Spend]:
        """The wallet's own among the inputs of `tx`, to sign a transaction that replaces it."""
        return self.own_among(txin.outpoint for txin in tx.inputs)

    def spends_of(self, outpoints: Iterable[OutPoint]) -> list[Spend]:
        """Of these outputs of the wallet, spent or not, each once.

        Raises `NodeRefusal` for one that the wallet does not know any more: what was to spend it
        would be another transaction.
        """
        wanted = set(outpoints)
        found = self.own_among(wanted)
        if missing := wanted - {spend.outpoint for spend in found}:
            texts = ", ".join(sorted(map(str, missing)))
            raise NodeRefusal(f"the wallet has lost {texts}: try again")
        return found

    def own_among(self, outpoints: Iterable[OutPoint]) -> list[Spend]:
        """Of those among them that are the wallet's outputs, spent or not."""
        wanted = set(outpoints)
        coins = (c for c in self._wallet.list_output() if _outpoint(c.outpoint) in wanted)
        return [self._spend(coin) for coin in coins]

    def unspent(self) -> frozenset[OutPoint]:
        """Every coin, also those that are reserved or kept apart."""
        return frozenset(_outpoint(coin.outpoint) for coin in self._coins())

    async def small_coin(self, max_value_sat: Sat, *, minimum_depth: int = 1) -> OutPoint | None:
        """The smallest free coin that is so deep, if it is worth no more; reserved."""
        async with self._one_at_a_time:
            return await _in_thread(lambda: self._small_coin(max_value_sat, minimum_depth))

    def _small_coin(self, max_value_sat: Sat, minimum_depth: int) -> OutPoint | None:
        coins = (c for c in self._free_coins() if self._depth(c) >= max(minimum_depth, 1))
        smallest = min(coins, key=lambda coin: int(coin.txout.value.to_sat()), default=None)
        if smallest is None or smallest.txout.value.to_sat() > max_value_sat:
            return None
        outpoint = _outpoint(smallest.outpoint)
        self._reserve([outpoint])
        return outpoint

    def reserve(self, outpoints: Iterable[OutPoint]) -> None:
        """They are for one transaction from now on, as the coins of `fund` are."""
        with _translated():
            self._reserve(outpoints)

    def _spend(self, coin: bdk.LocalOutput) -> Spend:
        branch = 0 if coin.keychain is bdk.KeychainKind.EXTERNAL else 1
        coin_type = _COIN_TYPE.get(self._network, 1)
        path = f"m/86h/{coin_type}h/0h/{branch}/{coin.derivation_index}"

        def sign(digest: TxDigest, index: int) -> tuple[bytes, ...]:
            secret = bytes(self._account.derive(bdk.DerivationPath(path)).secret_bytes())
            return (tweak_secret(PrivateKey(secret)).sign_schnorr(digest.taproot(index)),)

        return Spend(
            outpoint=_outpoint(coin.outpoint),
            prevout=TxOut(
                Sat(coin.txout.value.to_sat()), bytes(coin.txout.script_pubkey.to_bytes())
            ),
            sequence=SEQUENCE_REPLACEABLE,
            witness_weight=P2TR_KEY_PATH_WITNESS_WEIGHT,
            sign=sign,
        )

    # --- what becomes of transactions -----------------------------------------------------

    def release(self, tx: Tx) -> None:
        """`tx` will not be published: its coins are free again."""
        self.release_coins(txin.outpoint for txin in tx.inputs)

    def release_coins(self, outpoints: Iterable[OutPoint]) -> None:
        """They are not used after all."""
        with _translated():
            for outpoint in outpoints:
                self._wallet.unlock_outpoint(_bdk_outpoint(outpoint))
            self._persist()

    def reserved(self) -> frozenset[OutPoint]:
        return frozenset(map(_outpoint, self._wallet.list_locked_outpoints()))

    def note_broadcast(self, tx: Tx) -> None:
        """`tx` was published: counted from now on, not only from the next `sync`."""
        with _translated():
            seen = bdk.UnconfirmedTx(tx=bdk.Transaction(tx.serialize()), last_seen=_now())
            self._wallet.apply_unconfirmed_txs([seen])
            self._persist()

    def note_replaced(self, tx: Tx) -> None:
        """`tx` lost against another one: it spends nothing any more. Its coins stay reserved."""
        with _translated():
            txid = bdk.Txid.from_string(txid_hex(tx.txid))
            evicted = bdk.EvictedTx(txid=txid, evicted_at=_now() + 1)
            self._wallet.apply_evicted_txs([evicted])
            self._persist()

    # --- inside ---------------------------------------------------------------------------

    def _coins(self) -> list[bdk.LocalOutput]:
        return list(self._wallet.list_unspent())

    def _free_coins(self) -> Iterator[bdk.LocalOutput]:
        reserved = self.reserved()
        for coin in self._coins():
            # Change is our own doing; what others paid may be double-spent until confirmed.
            own = coin.keychain is bdk.KeychainKind.INTERNAL
            safe = own or coin.chain_position.is_confirmed()
            if safe and _outpoint(coin.outpoint) not in reserved and not self._is_apart(coin):
                yield coin

    def _young_sat(self, minimum_depth: int, *, but: Sequence[bdk.LocalOutput]) -> int:
        """Of coins, besides these, that are not deep enough and that nothing else keeps."""
        kept = self.reserved() | {_outpoint(coin.outpoint) for coin in but}
        return sum(
            coin.txout.value.to_sat()
            for coin in self._coins()
            if self._depth(coin) < max(minimum_depth, 1)
            and _outpoint(coin.outpoint) not in kept
            and not self._is_apart(coin)
        )

    def _depth(self, coin: bdk.LocalOutput) -> int:
        """In blocks, as of the last sync; 0: unconfirmed."""
        if not isinstance(coin.chain_position, bdk.ChainPosition.CONFIRMED):
            return 0
        height = coin.chain_position.confirmation_block_time.block_id.height
        return int(self._wallet.latest_checkpoint().height) - int(height) + 1

    def _is_apart(self, coin: bdk.LocalOutput) -> bool:
        script = bytes(coin.txout.script_pubkey.to_bytes())
        return self.kept_apart is not None and self.kept_apart(_outpoint(coin.outpoint), script)

    def _reserve(self, outpoints: Iterable[OutPoint]) -> None:
        for outpoint in outpoints:
            self._wallet.lock_outpoint(_bdk_outpoint(outpoint))
        self._persist()

    def _persist(self) -> None:
        self._kept.persist()


async def _in_thread(act: Callable[[], T]) -> T:
    def run() -> T:
        with _translated():
            return act()

    return await asyncio.to_thread(run)


def _outpoint(outpoint: bdk.OutPoint) -> OutPoint:
    return OutPoint(txid_from_hex(str(outpoint.txid)), int(outpoint.vout))


def _bdk_outpoint(outpoint: OutPoint) -> bdk.OutPoint:
    return bdk.OutPoint(txid=bdk.Txid.from_string(txid_hex(outpoint.txid)), vout=outpoint.vout)


def _now() -> int:
    return int(time.time())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except WalletUnavailable:
        raise
    except _FOREIGN_ERRORS as error:
        raise WalletUnavailable(f"{type(error).__name__}: {error}") from None

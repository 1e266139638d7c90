"""The node: puts peers, channels, payments, books and the chain together, and runs them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lightspeed.bitcoin import FeeRate, PublicKey
from lightspeed.chain import Chain
from lightspeed.channel import (
    CHANNEL_TABLE,
    Broadcast,
    Channel,
    ChannelClosed,
    ChannelFailed,
    ChannelUsable,
    ClosingOffered,
    HtlcFailed,
    HtlcFulfilled,
    HtlcReceived,
    Link,
    PeerIsAhead,
    Persist,
    Phase,
    Put,
    Side,
    Signer,
)
from lightspeed.colour import Colouring, ColourTerms
from lightspeed.errors import StoreError
from lightspeed.ledger import Ledger, PayerStore
from lightspeed.lsf import Party
from lightspeed.node.alarms import Alarms
from lightspeed.node.answers import AnswersOwed
from lightspeed.node.bookkeeping import Bookkeeping
from lightspeed.node.closer import Closer
from lightspeed.node.config import NodeConfig
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import (
    ConfigError,
    NodeRefusal,
    NotFound,
    PeerNotConnected,
    UnknownContract,
)
from lightspeed.node.extensions import extensions_for
from lightspeed.node.fee_updates import FeeUpdates
from lightspeed.node.invoices import Invoices
from lightspeed.node.keys import NodeKeys
from lightspeed.node.metrics import Metrics
from lightspeed.node.old_copy import doubt
from lightspeed.node.openings import Openings
from lightspeed.node.payments import Payments
from lightspeed.node.peers import Peers, peer_settings
from lightspeed.node.records import (
    CHANNEL_RECORD_TABLE,
    CLOSING_TX_TABLE,
    ChannelRecord,
)
from lightspeed.node.reservations import release_forgotten_coins
from lightspeed.node.stash import Stash, chain_net_of
from lightspeed.node.store import NodeStore
from lightspeed.node.token_openings import TokenOpenings
from lightspeed.node.tokens import Tokens
from lightspeed.node.unfunded import Unfunded
from lightspeed.node.wallet import Wallet
from lightspeed.node.watch import Watch
from lightspeed.rgb import Coloured, RgbError
from lightspeed.units import Sat
from lightspeed.wire import (
    ALL_CHANNELS,
    ChannelReestablish,
    ErrorMessage,
    Message,
    Shutdown,
    WarningMessage,
)
from lightspeed.wire.peer import Peer, PeerDisconnected

__all__ = ["Node"]

_log = logging.getLogger(__name__)


class Node:
    """All of a node but its API. `start`, then `stop`; belongs to one event loop.

    `ledger` is needed to be a payee, `payer_store` to be a payer; who made the parts closes them.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        keys: NodeKeys,
        store: NodeStore,
        wallet: Wallet,
        chain: Chain,
        ledger: Ledger | None = None,
        payer_store: PayerStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.keys = keys
        self.wallet = wallet
        self.chain = chain
        self.clock = clock
        self.metrics = Metrics()
        self.drivers: dict[bytes, ChannelDriver] = {}
        self.failed: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        """Done when the store failed: the node has to stop."""
        self._store = store
        self.stash = Stash(
            store,
            chain,
            chain_net=chain_net_of(config.network),
            safe_depth=config.safe_depth,
        )
        self.tokens = Tokens(
            config,
            store=store,
            stash=self.stash,
            wallet=wallet,
            chain=chain,
            clock=clock,
            on_failure=self.on_store_failure,
        )
        self.invoices = Invoices(
            config=config,
            keys=keys,
            store=store,
            metrics=self.metrics,
            height=lambda: self.watch.height,
            clock=clock,
        )
        self.payments = Payments(
            config=config,
            keys=keys,
            store=store,
            drivers=lambda: tuple(self.drivers.values()),
            height=lambda: self.watch.height,
            clock=clock,
        )
        self.alarms = Alarms()
        self.books = Bookkeeping(
            config.lightspeed,
            ledger=ledger,
            payer_store=payer_store,
            store=store,
            chain=chain,
            drivers=self.drivers,
            alarms=self.alarms,
            clock=clock,
        )
        self.payer_books, self.payee_books = self.books.payer, self.books.payee
        self._answers = AnswersOwed(patience_seconds=config.answer_seconds, clock=clock)
        self._fee_updates = FeeUpdates(market=self._market, alarms=self.alarms)
        self._token_openings = TokenOpenings(
            config=config,
            stash=self.stash,
            wallet=wallet,
            builder=self.tokens.builder,
            alone=self.tokens.alone,
        )
        unfunded = Unfunded(self.drivers, store=store, stash=self.stash)
        self.watch = Watch(
            chain=chain,
            wallet=wallet,
            closer=Closer(store, wallet, chain, proofs=self.stash, safe_depth=config.safe_depth),
            store=store,
            invoices=self.invoices,
            payments=self.payments,
            payee_books=self.payee_books,
            lock_secrets=self.books.lock_secrets,
            drivers=self._live_drivers,
            tend=self._tend,
            tokens_problem=self._token_openings.problem,
            unfunded=unfunded,
            alarms=self.alarms,
            reserve_sat=self._bump_reserve_sat,
            clock=clock,
            poll_seconds=config.poll_seconds,
        )
        self.peers = Peers(
            peer_settings(
                node_key=keys.node_key,
                chain_hash=config.chain_hash,
                lightspeed=config.lightspeed is not None,
            ),
            listener=self,
            store=store,
            metrics=self.metrics,
            reconnect_seconds=config.reconnect_seconds,
        )
        self._openings = Openings(
            config=config,
            keys=keys,
            store=store,
            wallet=wallet,
            chain=chain,
            tokens=self._token_openings,
            unfunded=unfunded,
            metrics=self.metrics,
            adopt=self._adopt,
            claim_feerate=self._fee_rate,
            reserve_sat=self._bump_reserve_sat,
        )
        self._watching: asyncio.Task[None] | None = None

    def _fee_rate(self) -> FeeRate:
        return self.watch.fee_rate

    # --- life -----------------------------------------------------------------------------
    async def start(self) -> None:
        """Load the channels, look at the chain, listen. Raises `ConfigError`, `StoreError`."""
        genesis = await self.chain.block_id(0)
        if genesis is None or genesis.hash != self.config.chain_hash:
            raise ConfigError(f"the chain backend is not on {self.config.network.value}")
        await self.watch.start()
        release_forgotten_coins(self._store, self.wallet)
        for channel_id, data in self._store.scan(CHANNEL_RECORD_TABLE):
            await self._load(channel_id, ChannelRecord.load(data))
        await self.peers.start(host=self.config.listen_host, port=self.config.listen_port)
        self._watching = asyncio.create_task(self.watch.run())
        self._watching.add_done_callback(self._watch_ended)
        self.tokens.start()
        _log.info(
            "node started",
            extra={
                "node_id": self.keys.node_id.data.hex(),
                "port": self.peers.port,
                "channels": len(self.drivers),
            },
        )

    async def stop(self) -> None:
        """Hang up and stop watching; what was begun is finished. Books keep their lease."""
        await self.tokens.stop()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self.books.close()
        await self.peers.close()
        _log.info("node stopped")

    async def _load(self, channel_id: bytes, record: ChannelRecord) -> None:
        data = self._store.get(CHANNEL_TABLE, channel_id)
        if data is None:
            raise ConfigError(f"channel {channel_id.hex()} is not in the store")
        if record.party is Party.PAYEE and self.payee_books is None:
            raise ConfigError(f"this node is the payee of channel {channel_id.hex()}: no ledger")
        signer = Signer(self.keys.channel_secrets(record.index))
        self.metrics.add_signer(signer)
        channel = Channel.load(
            data,
            signer=signer,
            extensions=extensions_for(
                record.party,
                self.config,
                claim_feerate=self._fee_rate,
                colouring=Colouring() if record.coloured else None,
            ),
            lookup=self._store.get,
        )
        driver = self._driver(channel, record)
        self.drivers[channel_id] = driver
        if not record.over:
            # A crash ended the connection without a word.
            await driver.act(lambda channel: channel.disconnected())
            await self.books.loaded(driver)

    def _driver(
        self, channel: Channel, record: ChannelRecord, peer: Peer | None = None
    ) -> ChannelDriver:
        return ChannelDriver(
            channel,
            record=record,
            store=self._store,
            chain=self.chain,
            listener=self,
            peer=peer,
        )

    def _live_drivers(self) -> tuple[ChannelDriver, ...]:
        return tuple(driver for driver in self.drivers.values() if not driver.record.over)

    def _watch_ended(self, task: asyncio.Task[None]) -> None:
        """It runs until it is cancelled; a store failure or a fault of ours stops the node."""
        if task.cancelled():
            return
        error = task.exception()
        _log.critical("the chain is not watched any more", exc_info=error)
        self.on_store_failure(
            error if isinstance(error, StoreError) else StoreError("the chain watch failed")
        )

    async def _tend(self, driver: ChannelDriver) -> None:
        """What the channel's peer and books ask for, apart from the chain."""
        state = f"state of channel {driver.channel.channel_id.hex()}"
        self.alarms.report(state, doubt(driver))
        await self._answers.tend(driver)
        await self._fee_updates.tend(driver)
        await self.books.tend(driver)

    def _market(self) -> FeeRate | None:
        return None if self.watch.answered_at is None else self.watch.fee_rate

    def _bump_reserve_sat(self) -> Sat:
        """What all channels together may need before their ends are final."""
        live = (driver.channel.state for driver in self._live_drivers())
        count = sum(state.config.anchors and state.phase is not Phase.CLOSED for state in live)
        return Sat(count * self.config.bump_reserve_sat)

    # --- wishes ---------------------------------------------------------------------------
    async def connect(self, node_id: PublicKey, *, host: str, port: int) -> Peer:
        """Raises `PeerUnreachable`, `PeerIncompatible` or `WireError`."""
        return await self.peers.connect(node_id, host=host, port=port)

    async def open_channel(
        self,
        node_id: bytes,
        *,
        funding_sat: Sat,
        push_sat: Sat = Sat(0),
        party: Party | None,
        tokens: ColourTerms | None = None,
    ) -> ChannelDriver:
        """With a connected peer; see `Openings.open`."""
        peer = self.peers.get(node_id)
        if peer is None:
            raise PeerNotConnected("not connected to this peer: say NODE_ID@HOST:PORT")
        driver = await self._openings.open(
            peer, funding_sat=funding_sat, push_sat=push_sat, party=party, tokens=tokens
        )
        self.watch.wake()
        return driver

    def driver(self, channel_id: bytes) -> ChannelDriver:
        """Raises `NotFound`."""
        try:
            return self.drivers[channel_id]
        except KeyError:
            raise NotFound("no channel of this id") from None

    async def close_channel(self, channel_id: bytes, *, force: bool = False) -> None:
        """Begin a cooperative close, or end the channel unilaterally.

        Open books are settled first: in the channel when it closes cooperatively, else on chain.
        Raises `NodeRefusal` and `ChannelRefusal`.
        """
        driver = self.driver(channel_id)
        if force:
            if driver.phase in (Phase.CLOSED, Phase.FAILED, Phase.BEHIND):
                raise NodeRefusal(f"the channel is {driver.phase.value}")
            if driver.record.doubtful:
                raise NodeRefusal("our state of the channel may be old: its peer has to close it")
            await driver.fail("closed by its owner", at_fault=Side.HOLDER)
        else:
            await driver.act(lambda channel: channel.shutdown())
            await self.books.stop(driver)
        self.watch.wake()

    async def close_book(self, book_id: bytes) -> None:
        """See `Bookkeeping.close_book`."""
        await self.books.close_book(book_id)
        self.watch.wake()

    # --- peers (PeerListener) -------------------------------------------------------------
    def needs(self, node_id: bytes) -> bool:
        """A peer with a channel that lives, or that has not heard of its end."""
        return any(driver.record.node_id == node_id for driver in self._live_drivers())

    async def on_peer(self, peer: Peer) -> None:
        for driver in self._drivers_with(peer):
            await driver.connected(peer)

    async def on_peer_gone(self, peer: Peer) -> None:
        self._openings.peer_gone(peer)
        for driver in self._drivers_with(peer):
            await driver.disconnected(peer)

    def _drivers_with(self, peer: Peer) -> list[ChannelDriver]:
        node_id = peer.node_id.data
        return [driver for driver in self._live_drivers() if driver.record.node_id == node_id]

    async def on_message(self, peer: Peer, message: Message) -> None:
        match message:
            case ErrorMessage():
                await self._on_error(peer, message)
            case WarningMessage():
                _log.warning(
                    "peer warns", extra={"peer": peer.node_id.data.hex(), "text": message.text}
                )
            case _ if self._openings.concerns(peer, message):
                await self._openings.receive(peer, message)
            case _:
                await self._on_channel_message(peer, message)

    async def _on_channel_message(self, peer: Peer, message: Message) -> None:
        channel_id = getattr(message, "channel_id", None)
        if not isinstance(channel_id, bytes):
            return  # a second init, for one: nothing that concerns a channel
        driver = self.drivers.get(channel_id)
        if driver is None or driver.record.node_id != peer.node_id.data:
            with contextlib.suppress(PeerDisconnected):
                await peer.send(ErrorMessage(channel_id=channel_id, data=b"unknown channel"))
            return
        await driver.receive(peer, message)
        match message:
            case ChannelReestablish():
                await self._resume(driver)
            case Shutdown():
                await self.books.stop(driver)
                self.watch.wake()

    async def _resume(self, driver: ChannelDriver) -> None:
        """The channel is in step again: go on with what the lost connection left undone."""
        if driver.channel.state.session.link is Link.UP and driver.phase is not Phase.BEHIND:
            driver.confirmed()
        if driver.phase not in (Phase.NORMAL, Phase.SHUTTING_DOWN):
            return
        await self.invoices.resume(driver)
        await self.books.reconnected(driver)
        self.watch.wake()

    async def _on_error(self, peer: Peer, message: ErrorMessage) -> None:
        """BOLT 1: the channel that it names fails, or all with this peer.

        The peer is about to publish its commitment, which delays our balance less than our own
        would: ours follows at the next block if nothing came.
        """
        _log.warning(
            "peer reports an error", extra={"peer": peer.node_id.data.hex(), "text": message.text}
        )
        if self._openings.receive_error(peer, message):
            return
        everything = message.channel_id == ALL_CHANNELS
        for driver in self._drivers_with(peer):
            if everything or driver.channel.channel_id == message.channel_id:
                reason = f"the peer said: {message.text}"
                await driver.fail(reason, at_fault=Side.COUNTERPARTY, publishing=False)
        if everything:
            await peer.close()

    async def _adopt(
        self, channel: Channel, *, record: ChannelRecord, peer: Peer, puts: Sequence[Put]
    ) -> ChannelDriver:
        record = replace(record, opened_height=self.watch.height)
        driver = self._driver(channel, record, peer)
        stored = (*puts, record.put(channel.channel_id))
        await driver.act(lambda channel: (*channel.created(), Persist(stored)))
        self.drivers[channel.channel_id] = driver
        return driver

    # --- channels (ChannelListener) -------------------------------------------------------
    def records(self, driver: ChannelDriver, event: object) -> Sequence[Put]:
        if isinstance(event, ChannelClosed | ClosingOffered | Broadcast):
            self._keep_proof(driver, event.coloured)
        if isinstance(event, ChannelClosed):
            return (Put(CLOSING_TX_TABLE, driver.channel.channel_id, event.tx.serialize()),)
        return (*self.payments.records(event), *self.books.records(driver, event))

    def _keep_proof(self, driver: ChannelDriver, moved: Coloured | None) -> None:
        """Of tokens, before the transaction is published. A fault there holds nothing up."""
        try:
            if moved is not None:
                self.stash.add(moved.witness)
        except (RgbError, UnknownContract) as error:
            _log.error(
                "the proof of tokens cannot be kept",
                extra={"channel": driver.channel.channel_id.hex(), "reason": str(error)},
            )

    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        details = {"channel": driver.channel.channel_id.hex()}
        match event:
            case HtlcReceived():
                await self.invoices.receive(driver, event)
            case PeerIsAhead():
                await driver.on_peer_is_ahead(event)
            case ChannelUsable():
                _log.info("channel usable", extra=details)
            case ChannelClosed() | ChannelFailed():
                _log.info("channel closes", extra=details)
                self.watch.wake()
            case HtlcFulfilled() | HtlcFailed():
                self.payments.on_event(event)
            case _:
                await self.books.on_event(driver, event)
                self.watch.wake()

    async def before_failure(self, driver: ChannelDriver) -> None:
        await self.books.fence(driver)

    def on_store_failure(self, error: StoreError) -> None:
        _log.critical("the node's store failed", extra={"reason": str(error)})
        if not self.failed.done():
            self.failed.set_result(error)

"""What the node does again and again: books tended, and what the chain asks for.

Confirmations, ends of channels, deadlines, leases.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, Tx, p2wsh
from lightspeed.chain import BlockId, Chain, ChainUnavailable, TxInfo
from lightspeed.channel import Channel, HtlcFailed, HtlcFulfilled, Phase, Side
from lightspeed.channel.scripts import funding_script
from lightspeed.errors import StoreError
from lightspeed.node.alarms import Alarms
from lightspeed.node.closer import Closer
from lightspeed.node.closing import CloseProgress, CloseState
from lightspeed.node.deadlines import overdue
from lightspeed.node.driver import ChannelDriver, publish
from lightspeed.node.errors import WalletUnavailable
from lightspeed.node.invoices import Invoices
from lightspeed.node.leases import PayeeBooks
from lightspeed.node.payments import Payments
from lightspeed.node.records import CLOSING_TX_TABLE, FUNDING_TX_TABLE
from lightspeed.node.store import NodeStore
from lightspeed.node.unfunded import Unfunded
from lightspeed.node.wallet import Wallet
from lightspeed.units import Sat

__all__ = ["Watch"]

_log = logging.getLogger(__name__)

_FEE_TARGET_BLOCKS = 6
_SYNC_SECONDS = 60.0
"""BDK's requests have no timeout of their own."""
_CATCH_UP_SECONDS = 5.0
_OFFERED_GRACE_BLOCKS = 3
"""BOLT 2: so long after its expiry an HTLC of ours may wait for the peer to fail it."""
_FULFILLED_MARGIN_BLOCKS = 12
"""BOLT 2: so long before its expiry an HTLC that we fulfilled has to be gone."""


class Watch:
    """Looks at the chain again and again; all channels of the node hear of it."""

    def __init__(
        self,
        *,
        chain: Chain,
        wallet: Wallet,
        closer: Closer,
        store: NodeStore,
        invoices: Invoices,
        payments: Payments,
        payee_books: PayeeBooks | None,
        lock_secrets: Callable[[ChannelDriver], Mapping[bytes, Mapping[int, bytes]]],
        drivers: Callable[[], Iterable[ChannelDriver]],
        tend: Callable[[ChannelDriver], Awaitable[None]],
        tokens_problem: Callable[[Channel], Awaitable[str | None]],
        unfunded: Unfunded,
        alarms: Alarms,
        reserve_sat: Callable[[], Sat],
        clock: Callable[[], float],
        poll_seconds: float,
    ) -> None:
        self._chain = chain
        self._wallet = wallet
        self._closer = closer
        self._store = store
        self._invoices = invoices
        self._payments = payments
        self._payee_books = payee_books
        self._lock_secrets = lock_secrets
        self._drivers = drivers
        self._tend = tend
        self._tokens_problem = tokens_problem
        self._unfunded = unfunded
        self._alarms = alarms
        self._reserve_sat = reserve_sat
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._woken = asyncio.Event()
        self._seen: BlockId | None = None
        """The last tip to which everything was done that had to be done."""
        self._synced: BlockId | None = None
        """The tip that the wallet knows."""
        self.tip: BlockId | None = None
        self.answered_at: float | None = None
        self.fee_rate: FeeRate = FEE_RATE_FLOOR
        self.progress: dict[bytes, CloseProgress] = {}
        """By channel id; channels that are open on chain are missing."""

    @property
    def height(self) -> int:
        """Of the last tip seen. `start` has seen one."""
        assert self.tip is not None
        return self.tip.height

    def wake(self) -> None:
        """Look now rather than after the pause."""
        self._woken.set()

    # --- the loop -------------------------------------------------------------------------
    async def start(self) -> None:
        """The first look at the tip. Raises `ChainUnavailable`."""
        self.tip = await self._chain.tip()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except ChainUnavailable as error:
                self._alarms.report("chain", f"the chain backend does not answer: {error}")
            except WalletUnavailable as error:
                _log.error("the wallet does not answer", extra={"reason": str(error)})
            self._woken.clear()
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Once: everything that channels, the present tip and the mempool ask for."""
        await self._each(self._tend)
        tip = await self._chain.tip()
        moved = tip != self._seen
        self.tip = tip
        if moved:
            self.fee_rate = await self._chain.fee_rate(_FEE_TARGET_BLOCKS)
        if tip != self._synced:
            await self._sync_wallet(tip)
        await self._each(lambda driver: self._look_at(driver, moved=moved))
        self.answered_at = self._clock()
        self._seen = tip
        self._alarms.report("chain", None)

    async def catch_up(self) -> None:
        """Let the wallet know the present tip, if the chain and the wallet answer soon."""
        with contextlib.suppress(ChainUnavailable, TimeoutError):
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                tip = await self._chain.tip()
                if tip != self._synced:
                    await self._sync_wallet(tip)

    async def _sync_wallet(self, tip: BlockId) -> None:
        """What cannot be synced now is tried again; channels are watched all the same."""
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self._wallet.sync()
        except (WalletUnavailable, TimeoutError) as error:
            reason = str(error) or f"no answer in {_SYNC_SECONDS:.0f} s"
            self._alarms.report("wallet", f"the wallet is not in sync: {reason}")
            return
        self._synced = tip
        self._alarms.report("wallet", None)
        reserve_sat = self._reserve_sat()
        there_sat = max(0, self._wallet.balance().confirmed_sat - self._wallet.apart_sat())
        missing = there_sat < reserve_sat
        text = f"the wallet holds {there_sat} sat, {reserve_sat} sat may be needed for fees"
        self._alarms.report("reserve", text if missing else None)

    async def _each(self, look: Callable[[ChannelDriver], Awaitable[None]]) -> None:
        for driver in tuple(self._drivers()):
            try:
                await look(driver)
            except StoreError:
                raise
            except Exception:
                # A fault that one channel meets must not leave the others unwatched.
                _log.exception(
                    "a look at a channel failed",
                    extra={"channel": driver.channel.channel_id.hex()},
                )

    async def _look_at(self, driver: ChannelDriver, *, moved: bool) -> None:
        channel_id = driver.channel.channel_id
        asked_at = self._clock()
        spend = await self._chain.outspend(driver.channel.state.config.funding_outpoint)
        if spend is None:
            self.progress.pop(channel_id, None)
            await self._look_at_open(driver, asked_at=asked_at, moved=moved)
        elif moved or channel_id not in self.progress:
            await self._look_at_spent(driver, spend.tx)

    # --- while the funding output is there ------------------------------------------------
    async def _look_at_open(self, driver: ChannelDriver, *, asked_at: float, moved: bool) -> None:
        books = self._payee_books
        lease_is_due = books is not None and books.lease_is_due(driver, asked_at)
        funded = False
        if moved or lease_is_due or not driver.channel.state.holder_ready:
            funded = await self._look_for_funding(driver)
            if not funded and self._unfunded.is_given_up(driver, height=self.height):
                for key in (_funding_alarm(driver), _tokens_alarm(driver)):
                    self._alarms.report(key, None)
                await self._unfunded.forget(driver)
                return
        state = driver.channel.state
        if books is not None:
            if driver.record.doubtful:
                pass  # neither leased nor fenced before we know how things stand
            elif state.phase is Phase.NORMAL:
                if lease_is_due and funded:
                    await books.extend(driver, answered_at=asked_at)
            elif state.phase is not Phase.AWAITING_READY:
                await books.fence(driver)
        if not moved:
            return
        if state.phase is Phase.FAILED:
            if not driver.record.doubtful:
                await self._step(driver)
        elif state.phase is Phase.CLOSED:
            await self._publish_again(driver, CLOSING_TX_TABLE, purpose="cooperative close")
        else:
            await self._check_deadlines(driver)

    async def _look_for_funding(self, driver: ChannelDriver) -> bool:
        """Whether the funding transaction is in a block.

        That nothing spends its output is no proof: so says a chain too that does not know it,
        such as after a reorganisation that left it out. BOLT 2, "The `channel_ready` Message":
        at minimum depth, the output is what was said.
        """
        state = driver.channel.state
        config = state.config
        info = await self._chain.transaction(config.funding_outpoint.txid)
        if info is None:
            await self._publish_again(driver, FUNDING_TX_TABLE, purpose="funding")
        lost = state.holder_ready and (info is None or info.confirmed is None)
        key = _funding_alarm(driver)
        text = f"{key}: not in a block any more; no book of the channel is leased meanwhile"
        self._alarms.report(key, text if lost else None)
        if info is None or info.confirmed is None:
            return False
        if not _funds(driver.channel, info):
            await driver.fail("the funding output is another one", at_fault=Side.COUNTERPARTY)
            return False
        depth = self.height - info.confirmed.height + 1
        if not state.holder_ready and depth >= config.minimum_depth:
            await self._confirm(driver)
        return True

    async def _confirm(self, driver: ChannelDriver) -> None:
        """The funding output is deep enough: so is the channel, if its tokens are there."""
        key = _tokens_alarm(driver)
        problem = await self._tokens_problem(driver.channel)
        self._alarms.report(key, None if problem is None else f"{key}: {problem}")
        if problem is None:
            await driver.act(lambda channel: channel.funding_confirmed())

    async def _publish_again(self, driver: ChannelDriver, table: str, *, purpose: str) -> None:
        data = self._store.get(table, driver.channel.channel_id)
        if data is not None:
            await publish(self._chain, Tx.parse(data), purpose=purpose)

    async def _check_deadlines(self, driver: ChannelDriver) -> None:
        """BOLT 2, "cltv_expiry_delta Selection": an HTLC that is late is settled on chain."""
        preimages = self._invoices.preimages(driver.channel)
        for htlc in driver.channel.state.base.htlcs:
            expiry = htlc.add.cltv_expiry
            if htlc.offered_by is Side.HOLDER:
                late = self.height >= expiry + _OFFERED_GRACE_BLOCKS
            else:
                known = htlc.add.payment_hash in preimages
                late = known and self.height >= expiry - _FULFILLED_MARGIN_BLOCKS
            if late:
                await driver.fail(f"HTLC {htlc.add.id} is too late", at_fault=Side.COUNTERPARTY)
                return

    # --- once it is spent -----------------------------------------------------------------
    async def _look_at_spent(self, driver: ChannelDriver, tx: Tx) -> None:
        """Fence first: what is published depends on the last redeemed secrets.

        Without the fence it is not over: more may have been redeemed than can be claimed yet.
        """
        self._alarms.report(_funding_alarm(driver), None)
        fenced = self._payee_books is None or await self._payee_books.fence(driver)
        await driver.act(lambda channel: channel.funding_spent(tx))
        await driver.fail(
            "the funding output is spent", at_fault=Side.COUNTERPARTY, publishing=False
        )
        progress = await self._step(driver, may_grow=not fenced)
        self._learn_preimages(driver, progress)
        self._tell_overdue(driver, overdue(driver.channel, progress))
        if progress.state is CloseState.DONE and fenced:
            await self._end(driver)

    def _tell_overdue(self, driver: ChannelDriver, texts: Sequence[str]) -> None:
        key = f"close of channel {driver.channel.channel_id.hex()}"
        self._alarms.report(key, f"{key}: {'; '.join(texts)}" if texts else None)

    async def _step(self, driver: ChannelDriver, *, may_grow: bool = False) -> CloseProgress:
        progress = await self._closer.step(
            driver.channel,
            preimages=self._invoices.preimages(driver.channel),
            lock_secrets=self._lock_secrets(driver),
            may_grow=may_grow,
        )
        if progress.state is not CloseState.OPEN:
            self.progress[driver.channel.channel_id] = progress
        return progress

    def _learn_preimages(self, driver: ChannelDriver, progress: CloseProgress) -> None:
        """Payments that were settled on chain: by a preimage, or by nothing."""
        if not progress.preimages and progress.state is not CloseState.DONE:
            return
        for payment in self._payments.pending(driver.channel.channel_id):
            payment_hash = bytes.fromhex(payment.payment_hash)
            event: object = None
            if payment_hash in progress.preimages:
                preimage = progress.preimages[payment_hash]
                event = HtlcFulfilled(0, payment_hash, preimage)
            elif progress.state is CloseState.DONE:
                event = HtlcFailed(0, payment_hash, b"")
            if event is not None:
                self._store.apply(self._payments.records(event))
                self._payments.on_event(event)

    async def _end(self, driver: ChannelDriver) -> None:
        channel_id = driver.channel.channel_id
        self._tell_overdue(driver, ())
        if self._payee_books is not None:
            await self._payee_books.close(driver)
        driver.record = replace(driver.record, over=True)
        self._store.apply((driver.record.put(channel_id),))
        _log.info("channel is over", extra={"channel": channel_id.hex()})


def _funding_alarm(driver: ChannelDriver) -> str:
    return f"funding of channel {driver.channel.channel_id.hex()}"


def _tokens_alarm(driver: ChannelDriver) -> str:
    return f"tokens of channel {driver.channel.channel_id.hex()}"


def _funds(channel: Channel, info: TxInfo) -> bool:
    config = channel.state.config
    keys = (config.holder.basepoints.funding, config.counterparty.basepoints.funding)
    vout = config.funding_outpoint.vout
    if vout >= len(info.tx.outputs):
        return False
    output = info.tx.outputs[vout]
    return output.script == p2wsh(funding_script(*keys)) and output.value == config.funding_sat

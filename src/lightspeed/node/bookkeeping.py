"""All books of a node, and trades of tokens: which part acts on which event, wish, and look."""

from collections.abc import Callable, Mapping, Sequence

from lightspeed.chain import Chain
from lightspeed.channel import Put
from lightspeed.ledger import Ledger, PayerStore
from lightspeed.lsf import Party, usable_books
from lightspeed.node.alarms import Alarms
from lightspeed.node.books import PayerBooks, agreed_books
from lightspeed.node.channel_trades import ChannelTrades, SalePolicy
from lightspeed.node.config import LightspeedConfig
from lightspeed.node.driver import ChannelDriver
from lightspeed.node.errors import NodeRefusal, NotFound
from lightspeed.node.leases import PayeeBooks
from lightspeed.node.refilling import Refilling, RefillPolicy
from lightspeed.node.settling import SettlePolicy, Settling
from lightspeed.node.store import NodeStore
from lightspeed.payment import Book
from lightspeed.units import Msat, Sat

__all__ = ["Bookkeeping"]


class Bookkeeping:
    """A node is a payer where it has a `payer_store`, and a payee where it has a `ledger`."""

    def __init__(
        self,
        config: LightspeedConfig | None,
        *,
        ledger: Ledger | None,
        payer_store: PayerStore | None,
        store: NodeStore,
        chain: Chain,
        drivers: Mapping[bytes, ChannelDriver],
        alarms: Alarms,
        clock: Callable[[], float],
    ) -> None:
        self._drivers = drivers
        policy = SalePolicy()
        if config is not None:
            policy = SalePolicy(
                price_msat=Msat(config.sell_price_msat), max_tokens=config.sell_max_tokens
            )
        self.trades = ChannelTrades(policy=policy, alarms=alarms, clock=clock)
        self.payer: PayerBooks | None = None
        self.refilling: Refilling | None = None
        if payer_store is not None and config is not None:
            self.payer = PayerBooks(
                payer_store=payer_store,
                chain=chain,
                seals_policy=config.seals_policy,
                drivers=drivers,
            )
            self.refilling = Refilling(
                books=self.payer,
                payer_store=payer_store,
                store=store,
                policy=RefillPolicy(
                    below_units=config.refill_below_units,
                    budget_sat_per_day=Sat(config.refill_budget_sat_per_day),
                    budget_tokens_per_day=config.refill_budget_tokens_per_day,
                ),
                alarms=alarms,
                clock=clock,
            )
        self.payee: PayeeBooks | None = None
        self.settling: Settling | None = None
        if ledger is not None and config is not None:
            self.payee = PayeeBooks(ledger=ledger, store=store)
            self.settling = Settling(
                books=self.payee,
                policy=SettlePolicy(
                    at_sat=Sat(config.settle_at_sat),
                    at_tokens=config.settle_at_tokens,
                    after_seconds=config.settle_after_seconds,
                ),
                alarms=alarms,
                clock=clock,
            )

    async def close(self) -> None:
        """Nothing more is opened."""
        if self.refilling is not None:
            await self.refilling.close()

    # --- wishes ---------------------------------------------------------------------------
    def find(self, book_id: bytes) -> tuple[ChannelDriver, Book]:
        """Any that was ever usable. Raises `NotFound`."""
        for driver in self._drivers.values():
            if driver.record.party is not None:
                for book in agreed_books(driver.channel):
                    if book.book_id == book_id:
                        return driver, book
        raise NotFound("no book of this id")

    async def settle_book(self, book_id: bytes) -> None:
        """As a payee, now. Raises `NodeRefusal`, `ChannelRefusal` and `LedgerUnavailable`."""
        driver, book = self._find_usable(book_id)
        if driver.record.party is not Party.PAYEE or self.settling is None:
            raise NodeRefusal("only the payee settles a book")
        await self.settling.settle(driver, book)

    async def close_book(self, book_id: bytes) -> None:
        """The payee closes it; the payer stops paying from it and asks for that.

        It is over when the channel says so. Raises `NodeRefusal` and `ChannelRefusal`.
        """
        driver, book = self._find_usable(book_id)
        if self.settling is not None and driver.record.party is Party.PAYEE:
            await self.settling.close(driver, book)
        elif self.payer is not None:
            await self.payer.close(driver, book)

    def _find_usable(self, book_id: bytes) -> tuple[ChannelDriver, Book]:
        driver, book = self.find(book_id)
        if book not in usable_books(driver.channel):
            raise NodeRefusal("the book is closed")
        return driver, book

    async def stop(self, driver: ChannelDriver) -> None:
        """The channel is shutting down: its books are paid from no more."""
        if self.payer is not None:
            self.payer.stop_all(driver)
        await self.fence(driver)

    async def fence(self, driver: ChannelDriver) -> bool:
        """See `PayeeBooks.fence`; True where there is nothing to fence."""
        return self.payee is None or await self.payee.fence(driver)

    def lock_secrets(self, driver: ChannelDriver) -> Mapping[bytes, Mapping[int, bytes]]:
        """Book id -> lock -> secret, that the channel's end on chain needs."""
        if driver.record.party is Party.PAYEE and self.payee is not None:
            return self.payee.lock_secrets(driver)
        if driver.record.party is Party.PAYER and self.payer is not None:
            return self.payer.seal_secrets(driver)
        return {}

    # --- what has to be done --------------------------------------------------------------
    async def tend(self, driver: ChannelDriver) -> None:
        """Everything that the books of this channel ask for now."""
        for part in (self.settling, self.payer, self.refilling, self.trades):
            if part is not None:
                await part.tend(driver)

    async def loaded(self, driver: ChannelDriver) -> None:
        """At start."""
        if self.payee is not None:
            await self.payee.resume(driver)

    async def reconnected(self, driver: ChannelDriver) -> None:
        """The channel is in step again."""
        if self.payer is not None and driver.record.party is Party.PAYER:
            await self.payer.resume(driver)

    # --- what channels tell ---------------------------------------------------------------
    def records(self, driver: ChannelDriver, event: object) -> Sequence[Put]:
        """What is stored with the turn in which it happened."""
        return () if self.payee is None else self.payee.records(driver, event)

    async def on_event(self, driver: ChannelDriver, event: object) -> None:
        await self.trades.on_event(driver, event)
        if driver.record.party is Party.PAYER and self.payer is not None:
            await self.payer.on_event(driver, event)
        if driver.record.party is Party.PAYEE and self.payee is not None:
            await self.payee.on_event(event)
            if self.settling is not None:
                await self.settling.on_event(driver, event)

"""Two whole nodes, a chain with real consensus, a thief, and what everybody is owed.

One side is honest: its node looks at the chain at each block, unless it sleeps. The other side
runs the same program, but whoever holds it may do with its messages, files and transactions
whatever it likes. D and R are short, but longer than all that the world does against an honest
side at a time: a sleep, and a reorganisation of 6 blocks by a miner who leaves out its
transactions.
"""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from adversary_machine import ORIGIN, Killed, Machine
from adversary_record import Fault, Record
from adversary_thief import Thief
from lightspeed.bitcoin import FEE_RATE_FLOOR, OutPoint, Tx, sha256
from lightspeed.chain import BroadcastRefused, Regtest
from lightspeed.channel import ChannelRefusal, Effect, Phase
from lightspeed.channel.channel import Channel
from lightspeed.errors import LightspeedError, RemoteError
from lightspeed.ledger import LedgerUnavailable, SQLiteLedger
from lightspeed.lsf import (
    LightspeedFunding,
    Party,
    Settlement,
    usable_books,
)
from lightspeed.node.daemon import Node
from lightspeed.node.peers import peer_settings
from lightspeed.payment import (
    Allocator,
    Book,
    BookExhausted,
    BookStopped,
    BookTerms,
    Credential,
    PaymentRefused,
    Receipt,
    Scheme,
    SecretBook,
    WindowFull,
)
from lightspeed.rgb import secret_lock_seal
from lightspeed.units import Msat, Sat
from lightspeed.wire import Message

__all__ = ["FUNDING_SAT", "PUSH_SAT", "SETTLED_DEPTH", "D", "Lost", "R", "World", "world_of"]

D, R = 20, 44
FUNDING_SAT, PUSH_SAT = 2_000_000, 200_000
COIN_SAT = 400_000
SECONDS_PER_BLOCK = 60.0
SETTLED_DEPTH = 8
"""Blocks on the funding transaction before anything happens: no reorganisation undoes it."""


_IDLE_ROUNDS = 10
"""So many turns of the event loop let every task of a node go on that still can."""
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Lost(AssertionError):
    """The honest side has less than it is owed."""


@dataclass
class World:
    """`cheat`: which party the thief is; None: both are honest."""

    folder: Path
    cheat: Party | None = None
    scheme: Scheme = Scheme.OUTPUTS
    seed: int = 0
    settle_at_sat: int = 0
    """The payee's policy; 0: it settles when it is told to."""
    provoked: bool = False
    """Something happened that no honest side does: a channel may fail now."""
    pinning: bool = False
    """The thief puts a low child on every P2A that it sees."""
    sleeping_blocks: int = 0
    """So long the honest side does not look."""
    last_words_arrive: bool = False
    """What a process said before it died is heard, or is lost with its connection."""
    record: Record = field(default_factory=Record)
    secrets: dict[bytes, SecretBook] = field(default_factory=dict)
    allocators: dict[bytes, Allocator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.record.thief = self.cheat
        self.now = 1_700_000_000.0
        self.regtest = Regtest()
        self.payer, self.payee = (
            Machine(
                party.name.lower(),
                party,
                self.folder / party.name.lower(),
                self.regtest,
                clock=lambda: self.now,
                delay_blocks=D,
                said=self.record.hear,
                honest=party is not self.cheat,
                settle_at_sat=self.settle_at_sat,
                stored=self._stored,
                about_to_publish=self._about_to_publish,
            )
            for party in Party
        )
        self.thief = (
            Thief(self.machine(self.cheat), self.record) if self.cheat is not None else None
        )
        self._wishes: set[asyncio.Task[Any]] = set()
        self.codec = peer_settings(
            node_key=self.payer.keys.node_key,
            chain_hash=self.payer.config.chain_hash,
            lightspeed=True,
        ).codec

    @property
    def asset(self) -> bytes:
        """What books are in; nothing: sat."""
        return b""

    def traded_msat(self, machine: Machine) -> int:
        """What it gained by selling something in the channel, less what it bought."""
        return 0

    # --- who is who -----------------------------------------------------------------------
    def machine(self, party: Party) -> Machine:
        return self.payer if party is Party.PAYER else self.payee

    @property
    def machines(self) -> tuple[Machine, Machine]:
        return self.payer, self.payee

    def other(self, machine: Machine) -> Machine:
        return self.payee if machine is self.payer else self.payer

    @property
    def honest(self) -> tuple[Machine, ...]:
        return tuple(m for m in self.machines if m.party is not self.cheat)

    @property
    def funding(self) -> OutPoint:
        return self._funding

    def _stored(self, machine: Machine) -> None:
        if self.thief is not None and machine is self.thief.machine:
            self.thief.keep()

    def _about_to_publish(self, machine: Machine, tx: Tx) -> None:
        if machine.party is not self.cheat:
            self.record.publish(machine, tx)

    # --- the beginning --------------------------------------------------------------------
    async def begin(self, *, funding_sat: int = FUNDING_SAT, push_sat: int = PUSH_SAT) -> None:
        """A usable channel that the payer has funded."""
        await self.prepare(funding_sat=funding_sat, push_sat=push_sat)
        await self.open_channel()
        assert self.is_open

    async def prepare(self, *, funding_sat: int = FUNDING_SAT, push_sat: int = PUSH_SAT) -> None:
        """Two nodes with coins, connected."""
        self.funding_sat, self.push_sat = funding_sat, push_sat
        for machine in self.machines:
            for _ in range(3):
                self.regtest.fund(machine.purse.new_script(), Sat(COIN_SAT))
        self.regtest.fund(self.payer.purse.new_script(), Sat(2 * funding_sat))
        self.regtest.mine()
        for machine in self.machines:
            await machine.start()
        await self.connect()

    async def open_channel(self) -> None:
        """As far as it comes."""
        if self.payer.running:
            await self.wish(self._opening())
        self.learn_channel()
        await self.mine(SETTLED_DEPTH)
        self.learn_channel()
        self.take_stock()
        if self.thief is not None:
            self.thief.keep()

    def _opening(self) -> Coroutine[Any, Any, Any]:
        return self.payer.node.open_channel(
            self.payee.keys.node_id.data,
            funding_sat=Sat(self.funding_sat),
            push_sat=Sat(self.push_sat),
            party=Party.PAYER,
        )

    def take_stock(self) -> None:
        """What a purse gains or a fee costs counts from now on."""
        self.begun_height = self.regtest.height
        self.coins_sat = {m.name: m.purse.balance().total_sat for m in self.machines}

    def learn_channel(self) -> None:
        """The channel that both have; the fundee may know of one whose opening the funder lost."""
        if all(machine.running for machine in self.machines):
            common = self.payer.node.drivers.keys() & self.payee.node.drivers.keys()
            for channel_id in common:
                config = self.payer.node.drivers[channel_id].channel.state.config
                self._funding = config.funding_outpoint
                for machine in self.machines:
                    machine.channel_id = channel_id

    @property
    def has_common_channel(self) -> bool:
        return all(machine.channel_id for machine in self.machines)

    @property
    def is_open(self) -> bool:
        return all(
            machine.running and machine.has_channel and machine.phase is Phase.NORMAL
            for machine in self.machines
        )

    # --- the wire -------------------------------------------------------------------------
    @property
    def connected(self) -> bool:
        return self.payer.line is not None and self.payee.line is not None

    async def connect(self) -> None:
        """If both run."""
        if self.connected or not all(machine.running for machine in self.machines):
            return
        lines = [machine.plug(self.other(machine)) for machine in self.machines]
        for machine, line in zip(self.machines, lines, strict=True):
            await self.in_process(machine, machine.node.on_peer(line))  # type: ignore[arg-type]

    async def disconnect(self) -> None:
        """What is under way is lost."""
        for machine in self.machines:
            line = machine.unplug()
            if line is not None and machine.running:
                await self.in_process(machine, machine.node.on_peer_gone(line))  # type: ignore[arg-type]

    async def deliver(self, sender: Machine) -> Message | None:
        """The next message of `sender`, over the wire's form."""
        await self._bury()
        return await self._deliver(sender)

    async def _deliver(self, sender: Machine) -> Message | None:
        if not sender.outbox:
            return None
        message = sender.outbox.popleft()
        await self.hear(self.other(sender), message)
        return message

    async def hear(self, receiver: Machine, message: Message) -> None:
        """`receiver` hears it from its peer, whoever made it."""
        if receiver.line is None or not receiver.running:
            return
        decoded = self.codec.decode(message.encode())
        try:
            await self.in_process(receiver, receiver.node.on_message(receiver.line, decoded))  # type: ignore[arg-type]
        except RemoteError:
            await self.disconnect()  # as the task that reads the connection does
        if any(machine.line is not None and not machine.line.up for machine in self.machines):
            await self.disconnect()
        if self.thief is not None:
            self.thief.keep()

    async def quiet(self, *, rounds: int = 500) -> None:
        """Deliver until nobody has anything to say."""
        for _ in range(rounds):
            said = [await self.deliver(machine) for machine in self.machines]
            if not any(said):
                return self.check_peace()
        raise Fault("the nodes talk for ever")

    def check_peace(self) -> None:
        """Honest nodes do not fail each other. Raises `Fault`."""
        if self.provoked:
            return
        for machine in self.machines:
            lives = machine.running and machine.has_channel
            if lives and machine.phase in (Phase.FAILED, Phase.BEHIND):
                raise Fault(f"the {machine.name}'s channel is {machine.phase.value}")

    async def talk(
        self, *, until: type[Message] | None = None, without: tuple[type[Message], ...] = ()
    ) -> list[Message]:
        """Deliver, but for what the thief keeps back (`without`); stop before `until` is heard.

        What was kept back, in order.
        """
        kept: list[Message] = []
        self.provoked = self.provoked or bool(without)
        while any(machine.outbox for machine in self.machines):
            for machine in self.machines:
                if machine.outbox and until is not None and isinstance(machine.outbox[0], until):
                    return kept
                if machine.outbox and isinstance(machine.outbox[0], without):
                    kept.append(machine.outbox.popleft())
                else:
                    await self.deliver(machine)
        return kept

    async def say(self, message: Message) -> None:
        """The thief says it to the honest side, whatever its own node thinks of that."""
        self.provoked = True
        (victim,) = self.honest
        await self.hear(victim, message)

    async def in_process(self, machine: Machine, act: Awaitable[Any]) -> Any:
        """Something that the process of `machine` does; it may die of it."""
        try:
            return await act
        except Killed:
            await self._bury()
            return None

    # --- wishes ---------------------------------------------------------------------------
    async def wish(self, act: Coroutine[Any, Any, Any], *, delivered: bool = True) -> Any:
        """What an operator asks of a node, with all messages delivered meanwhile.

        None when it is refused, or when nothing moves it any more; it then goes on waiting.
        """
        task = asyncio.ensure_future(act)
        idle = 0
        while not task.done() and idle < _IDLE_ROUNDS:
            said = delivered and [await self.deliver(machine) for machine in self.machines]
            idle = 0 if said and any(said) else idle + 1
            await self._breathe()
        if not task.done():
            self._wishes.add(task)
            task.add_done_callback(self._forget_wish)
            return None
        try:
            return task.result()
        except (LightspeedError, TimeoutError):
            return None
        except Killed:
            await self._bury()
            return None

    async def _breathe(self) -> None:
        """Every task goes on; what one had asked the ledger's thread for is answered."""
        await asyncio.sleep(0)
        if self.payee.running and self.payee.ledger is not None:
            await self.payee.ledger.generation()

    def _forget_wish(self, task: asyncio.Task[Any]) -> None:
        self._wishes.discard(task)
        if not task.cancelled():
            task.exception()

    async def act(self, machine: Machine, turn: Callable[[Channel], Sequence[Effect]]) -> bool:
        """A turn of its channel; False if it is refused or the machine is down."""
        if not machine.running or not machine.has_channel:
            return False
        try:
            await self.in_process(machine, machine.driver.act(turn))
        except ChannelRefusal:
            return False
        return machine.running

    # --- processes ------------------------------------------------------------------------
    async def crash(self, machine: Machine, *, rest_arrives: bool = False) -> None:
        """kill -9. `rest_arrives`: what it said last is heard, or is lost with the connection."""
        if not machine.started:
            return
        machine.fuse.dead = True
        while rest_arrives and await self._deliver(machine):
            pass
        machine.unplug()
        await machine.kill()
        if machine is self.payer:
            self.allocators.clear()
        await self.disconnect()

    async def _bury(self) -> None:
        """Processes that a fuse has killed, maybe in a task that nobody waits for."""
        for machine in self.machines:
            if machine.started and machine.fuse.dead:
                await self.crash(machine, rest_arrives=self.last_words_arrive)

    async def start(self, machine: Machine, *, blows_at: int | None = None) -> None:
        """Again, from its files."""
        await self._bury()
        if not machine.running:
            with contextlib.suppress(Killed):
                await machine.start(blows_at=blows_at)

    async def restart(self, machine: Machine, *, backup: bytes | None = None) -> None:
        """Kill it and start it again; `backup`: with an old copy of its store."""
        await self.crash(machine)
        if backup is not None:
            machine.put_back(backup)
        await self.start(machine)

    # --- time -----------------------------------------------------------------------------
    async def mine(self, blocks: int = 1, *, transactions: Sequence[Tx] | None = None) -> None:
        """The thief sees each tip first. `transactions`: the miner is on the thief's side."""
        for _ in range(blocks):
            if transactions is None:
                self.regtest.mine()
            else:
                self.regtest.mine_block(transactions)
            self.now += SECONDS_PER_BLOCK
            if self.thief is not None and self.provoked:
                self.thief.rob()
            await self.look()
            if self.thief is not None and self.pinning:
                self.thief.pin()

    async def look(self) -> None:
        """Whoever is awake looks at the chain. A crashed honest node starts again first."""
        asleep, self.sleeping_blocks = self.sleeping_blocks > 0, max(0, self.sleeping_blocks - 1)
        for machine in self.machines:
            if machine.party is self.cheat:
                if machine.running and not self.provoked:
                    await self.in_process(machine, machine.node.watch.look())
            elif not asleep:
                await self.start(machine)
                if machine.running:
                    await self.in_process(machine, machine.node.watch.look())
        await self.quiet()

    async def reorganise(self, depth: int, *, censored: bool = False) -> None:
        """`censored`: the new branch is empty; else the next block has what the old one had."""
        depth = min(depth, self.regtest.height - self.begun_height + SETTLED_DEPTH - 1)
        if depth <= 0:
            return
        self.regtest.reorganise(depth, keep_transactions=not censored)
        self.now += SECONDS_PER_BLOCK
        if self.thief is not None and self.provoked:
            self.thief.rob()
        await self.look()

    def broadcast(self, tx: Tx) -> bool:
        """By somebody who is on the thief's side."""
        self.provoked = True
        try:
            self.regtest.broadcast(tx)
        except BroadcastRefused:
            return False
        return True

    @contextlib.contextmanager
    def ledger_down(self) -> Iterator[None]:
        """It answers nothing to the payee's node, over restarts too."""

        async def down(*_: Any, **__: Any) -> Any:
            raise LedgerUnavailable("down")

        asked = ("fence", "status", "statuses", "completed_secrets", "extend_lease", "store_book")
        with contextlib.ExitStack() as stack:
            for name in asked:
                stack.enter_context(mock.patch.object(SQLiteLedger, name, down))
            yield

    def broadcast_by(self, machine: Machine, tx: Tx) -> bool:
        """By the wallet of `machine`, whatever its node does."""
        try:
            self.regtest.broadcast(tx)
        except BroadcastRefused:
            machine.purse.release(tx)
            return False
        return True

    # --- books ----------------------------------------------------------------------------
    @property
    def books(self) -> tuple[Book, ...]:
        """Those that the payee serves."""
        if not self.payee.running or not self.payee.has_channel:
            return ()
        return usable_books(self.payee.channel)

    async def open_book(self, *, delivered: bool = True, **terms: Any) -> SecretBook | None:
        """Usable, and in the ledger with a lease; None if it did not come to that."""
        secret = await self.propose_book(**terms)
        if secret is not None and delivered:
            await self.quiet()
            await self.look()
        usable = secret is not None and secret.book in self.books
        return secret if usable else None

    async def propose_book(
        self,
        *,
        locks: int = 6,
        chain_length: int = 4,
        lock_sat: int = 10_000,
        window: int = 8,
        refund_delay_blocks: int = R,
    ) -> SecretBook | None:
        """Said, not delivered. The payer's node opens the book once it is accepted."""
        if not self.payer.running or not self.payer.has_channel:
            return None
        assert self.payer.payer_store is not None
        settlement = Settlement(
            refund_delay_blocks=refund_delay_blocks, child_feerate=FEE_RATE_FLOOR
        )
        terms = BookTerms(
            scheme=self.scheme,
            locks=locks,
            chain_length=chain_length,
            lock_amount=lock_sat,
            window=window,
            origins=(ORIGIN,),
            asset=self.asset,
            settlement=settlement.to_bytes(),
        )
        seed = sha256(b"book" + self.seed.to_bytes(8, "big") + bytes([len(self.secrets)]))
        secret = SecretBook.create(
            channel_id=self.payer.channel.channel_id,
            terms=terms,
            seed=seed,
            seal_of=secret_lock_seal,
        )
        if self.cheat is Party.PAYER and self.thief is not None and self.asset:
            own = {lock: secret.lock_secret(lock) for lock in range(1, locks + 1)}
            self.thief.own_secrets[secret.book.book_id] = own
        self.payer.payer_store.save(secret)
        self.secrets[secret.book.book_id] = secret
        self.record.use(secret.book)
        lsf = self.payer.channel.extensions["lsf"]
        assert isinstance(lsf, LightspeedFunding)
        proposed = await self.act(
            self.payer, lambda channel: channel.extend("lsf", lsf.propose_book(secret.book))
        )
        return secret if proposed else None

    def allocator(self, book_id: bytes) -> Allocator:
        """Of the payer's program."""
        if book_id not in self.allocators:
            assert self.payer.payer_store is not None
            self.allocators[book_id] = self.payer.payer_store.take_over(self.secrets[book_id])
        return self.allocators[book_id]

    async def call(
        self,
        secret: SecretBook,
        count: int = 1,
        *,
        answered: bool = True,
        problem: str | None = None,
        redeemed: bool = True,
    ) -> bool:
        """An honest payer's paid call. What a thief of a payee may do: not answer, answer with
        a `problem`, and not even redeem. True if the call was served and answered."""
        if not self.payer.running:
            return False
        allocator = self.allocator(secret.book.book_id)
        try:
            allocation = allocator.allocate(count)
        except (WindowFull, BookExhausted, BookStopped):
            return False
        credential = secret.credential(allocation.first_unit, allocation.count)
        receipt: Receipt | None = None
        refusal: PaymentRefused | None = None
        self.record.use(secret.book).present(credential)
        if redeemed and self.payee.running:
            try:
                receipt = await self.redeem(credential)
            except PaymentRefused as refused:
                refusal = refused
        if problem is not None:
            allocator.refused(allocation, problem)
        elif refusal is not None and answered:
            unit = getattr(refusal, "unit", None)
            allocator.refused(allocation, refusal.slug, redeemed_unit=unit)
        elif receipt is not None and answered:
            allocator.served(allocation, receipt)
            return True
        else:
            allocator.lost(allocation)
        return False

    async def redeem(self, credential: Credential) -> Receipt:
        """At the payee's API. Raises `PaymentRefused`."""
        assert self.payee.ledger is not None
        use = self.record.books.get(credential.book_id)
        receipt = await self.payee.ledger.redeem(Credential.from_token(credential.to_token()))
        if use is not None:
            use.present(credential)
            use.serve(receipt)
        return receipt

    async def present(self, secret: SecretBook, first_unit: int, count: int = 1) -> bool:
        """A payer who pays as it likes; True if the call was served."""
        self.provoked = True
        if not self.payee.running:
            return False
        try:
            await self.redeem(secret.credential(first_unit, count))
        except PaymentRefused:
            return False
        return True

    # --- the payee's updates --------------------------------------------------------------
    async def settle(self, book_id: bytes) -> bool:
        """By the payee's word; nothing is delivered yet."""
        return await self._wish_of_books(self.payee, lambda node: node.books.settle_book(book_id))

    async def close_book(self, book_id: bytes) -> bool:
        """By the payee's word; nothing is delivered yet."""
        return await self._wish_of_books(self.payee, lambda node: node.close_book(book_id))

    async def request_close(self, book_id: bytes) -> bool:
        """By the payer's word; nothing is delivered yet."""
        return await self._wish_of_books(self.payer, lambda node: node.close_book(book_id))

    async def _wish_of_books(
        self, machine: Machine, wish: Callable[[Node], Coroutine[Any, Any, None]]
    ) -> bool:
        if not machine.has_channel:
            return False
        try:
            await self.in_process(machine, wish(machine.node))
        except LightspeedError:
            return False
        return machine.running

    # --- conventional payments ------------------------------------------------------------
    async def pay(self, sender: Machine, sat: int, *, delivered: bool = True) -> bool:
        """An invoice of the other side, paid over the channel."""
        receiver = self.other(sender)
        if not (sender.has_channel and receiver.has_channel):
            return False
        try:
            invoice = receiver.node.invoices.create(amount_msat=Msat(sat * 1_000))
        except Killed:
            await self._bury()
            return False
        if self.thief is not None:
            self.thief.keep()
        paying = sender.node.payments.pay(invoice.bolt11, timeout_seconds=3_600)
        await self.wish(paying, delivered=delivered)
        return True

    # --- the end --------------------------------------------------------------------------
    async def force_close(self, machine: Machine) -> None:
        """Its owner ends the channel."""
        self.provoked = True
        await self.start(machine)
        if machine.running:
            with contextlib.suppress(LightspeedError):
                await self.in_process(
                    machine,
                    machine.node.close_channel(machine.channel.channel_id, force=True),
                )
        await self.quiet()

    async def until_over(self, *, blocks: int = 2 * R + 2 * D + 40) -> None:
        """Blocks until every honest node has seen the end. The thief goes on stealing."""
        for _ in range(blocks):
            await self.mine()
            if all(machine.running and machine.over for machine in self.honest):
                return
        raise Fault(f"the end does not come: {[m.node.watch.progress for m in self.honest]}")

    async def end(self) -> None:
        """Everything that the world still waits for is dropped."""
        for task in tuple(self._wishes):
            task.cancel()
        await asyncio.gather(*self._wishes, return_exceptions=True)
        for machine in self.machines:
            if machine.started:
                await machine.kill()


async def _at_once(act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Where `asyncio.to_thread` stands."""
    return act(*args, **kwargs)


@asynccontextmanager
async def world_of(
    cheat: Party | None,
    *,
    scheme: Scheme = Scheme.OUTPUTS,
    seed: int = 0,
    settle_at_sat: int = 0,
    opened: bool = True,
    kind: type[World] = World,
    **opening: Any,
) -> AsyncIterator[World]:
    """A world with a usable channel, if `opened`. The same seed makes the same secrets.

    Threads take no time in it.
    """
    entropy = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY) as folder,
        mock.patch("secrets.token_bytes", entropy.randbytes),
        mock.patch("secrets.randbits", entropy.getrandbits),
        mock.patch("asyncio.to_thread", _at_once),
    ):
        world = kind(
            Path(folder), cheat=cheat, scheme=scheme, seed=seed, settle_at_sat=settle_at_sat
        )
        try:
            await (world.begin if opened else world.prepare)(**opening)
            yield world
        except Killed as killed:
            raise Fault("something was asked of a process that is dead") from killed
        finally:
            await world.end()

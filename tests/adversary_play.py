"""Anything at any time: steps with small numbers as arguments, for whoever draws them.

Each step is possible at every moment; where it makes no sense it does nothing. A game is a
number of steps, then an end that the thief or its victim chooses, then the law.
"""

import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from adversary_law import Account, check_all
from adversary_machine import Machine
from adversary_world import D, World, world_of
from lightspeed.bitcoin import FeeRate, sha256
from lightspeed.lsf import (
    LsfClose,
    LsfSettle,
    LsfSignatures,
    LsfSignRequest,
    Party,
    settled_locks,
)
from lightspeed.payment import Credential, LockElement, PaymentRefused, Scheme, SecretBook
from lightspeed.wire import (
    CommitmentSigned,
    EncodeError,
    ErrorMessage,
    Message,
    RevokeAndAck,
)

__all__ = ["CHEATS", "LIFE", "Game", "Outcome", "random_game"]

LIFE = (
    "open_book",
    "call",
    "calls",
    "pay",
    "settle",
    "close_book",
    "request_close",
    "change_fee",
    "deliver",
    "quiet",
    "mine",
    "lose_connection",
    "connect",
    "crash",
    "reorganise",
    "shut_down",
    "lose_ledger",
)
"""What happens to honest nodes."""

CHEATS = (
    "withhold",
    "replay",
    "garble",
    "present",
    "skimp",
    "overlap",
    "answer_falsely",
    "overclaim",
    "publish",
    "restore_own_state",
    "pin",
    "censored_reorganisation",
    "victim_sleeps",
    "raise_fees",
    "say_error",
)
"""What only a thief does, or a miner who is on its side."""

_LONGEST_SLEEP_BLOCKS = 4
_MAX_BOOKS = 5


@dataclass
class Game:
    """One play of the world. `tried` counts the steps that did something."""

    life: ClassVar[tuple[str, ...]] = LIFE
    cheats: ClassVar[tuple[str, ...]] = CHEATS
    kind: ClassVar[type[World]] = World
    schemes: ClassVar[tuple[Scheme, ...]] = (Scheme.OUTPUTS, Scheme.LADDER)
    world: World
    heard: list[Message] = field(default_factory=list)
    """What the thief ever said: to be said again."""
    withheld: list[Message] = field(default_factory=list)
    old_stores: list[bytes] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    sleeps_left: int = 1
    censored_left: int = 1
    ledger_left: int = 1

    def __post_init__(self) -> None:
        thief = self.world.thief
        if thief is not None:
            hear = self.world.record.hear

            def said(machine: Machine, message: Message) -> None:
                self.heard.append(message)
                hear(machine, message)

            thief.machine.said = said

    async def step(self, name: str, a: int = 0, b: int = 0) -> None:
        """`a` and `b` choose among what is possible."""
        if name in self.cheats and self.world.thief is None:
            return
        act: Callable[[int, int], Awaitable[bool | None]] = getattr(self, f"_{name}")
        if await act(a, b) is not False:
            self.tried[name] += 1
        if self.world.thief is not None and self.world.thief.machine.running and a % 4 == 0:
            self.old_stores.append(self.world.thief.machine.backup())

    async def finish(self, a: int = 0, b: int = 0) -> list[Account]:
        """The end, and the judgement. Raises `Lost` or `Fault`."""
        world = self.world
        world.regtest.fee_rate = min(world.regtest.fee_rate, FeeRate(2_500))
        for machine in world.honest:
            machine.fuse.blows_at = None
            await world.start(machine)
        if world.regtest.outspend(world.funding) is None:
            if world.thief is not None and a % 3:
                await self._publish(b, 1)
            else:
                await world.force_close(world.honest[b % len(world.honest)])
        world.provoked = True
        await world.until_over()
        return check_all(world)

    # --- what there is --------------------------------------------------------------------
    @property
    def _thief(self) -> Machine:
        assert self.world.thief is not None
        return self.world.thief.machine

    def _secret(self, a: int) -> SecretBook | None:
        books = self.world.books
        return self.world.secrets[books[a % len(books)].book_id] if books else None

    def _any_secret(self, a: int) -> SecretBook | None:
        secrets = list(self.world.secrets.values())
        return secrets[a % len(secrets)] if secrets else None

    def _machine(self, a: int) -> Machine:
        return self.world.machines[a % 2]

    # --- honest life ----------------------------------------------------------------------
    async def _open_book(self, a: int, b: int) -> bool:
        if len(self.world.secrets) >= _MAX_BOOKS:
            return False
        chain_length = (1, 2, 5)[a % 3]
        return None is not await self.world.open_book(
            locks=(3, 6, 12)[b % 3],
            chain_length=chain_length,
            lock_sat=(2_000, 10_000, 20_000)[(a // 3) % 3],
            window=(2, 4)[b % 2],
            delivered=bool(a % 4),
        )

    async def _call(self, a: int, b: int) -> bool:
        secret = self._secret(a)
        return secret is not None and await self.world.call(secret, 1 + b % 3)

    async def _calls(self, a: int, b: int) -> bool:
        secret = self._secret(a)
        if secret is None:
            return False
        return any([await self.world.call(secret, 1 + b % 2) for _ in range(4 + b % 8)])

    async def _pay(self, a: int, b: int) -> bool:
        sender = self._machine(a)
        sat = (6_000 + 1_000 * (b % 40)) * (1 if b % 4 else 6)
        return await self.world.pay(sender, sat, delivered=bool(a % 3))

    async def _settle(self, a: int, b: int) -> bool:
        secret = self._secret(a)
        said = secret is not None and await self.world.settle(secret.book.book_id)
        await self._maybe_quiet(b)
        return said

    async def _close_book(self, a: int, b: int) -> bool:
        secret = self._secret(a)
        said = secret is not None and await self.world.close_book(secret.book.book_id)
        await self._maybe_quiet(b)
        return said

    async def _request_close(self, a: int, b: int) -> bool:
        secret = self._secret(a)
        return secret is not None and await self.world.request_close(secret.book.book_id)

    async def _change_fee(self, a: int, b: int) -> bool:
        feerate = 253 + 50 * (a % 20)
        return await self.world.act(
            self.world.payer, lambda ch: (*ch.update_fee(feerate), *ch.commit())
        )

    async def _deliver(self, a: int, b: int) -> bool:
        """A few messages of one side."""
        return any([await self.world.deliver(self._machine(a)) for _ in range(1 + b % 4)])

    async def _quiet(self, a: int, b: int) -> None:
        await self.world.quiet()

    async def _maybe_quiet(self, b: int) -> None:
        if b % 3:
            await self.world.quiet()

    async def _mine(self, a: int, b: int) -> None:
        await self.world.mine(1 + a % 3)

    async def _lose_connection(self, a: int, b: int) -> None:
        await self.world.disconnect()

    async def _connect(self, a: int, b: int) -> None:
        for machine in self.world.machines:
            await self.world.start(machine)
        await self.world.connect()
        await self._maybe_quiet(b)

    async def _crash(self, a: int, b: int) -> None:
        """Now, or before one of its next I/O operations."""
        machine = self._machine(a)
        if b % 2:
            await self.world.crash(machine, rest_arrives=bool(b % 4 == 1))
        elif machine.running:
            machine.fuse.blows_at = len(machine.fuse.points) + b % 16

    async def _reorganise(self, a: int, b: int) -> None:
        await self.world.reorganise(1 + a % 6)

    async def _shut_down(self, a: int, b: int) -> bool:
        """One side wants to close the channel cooperatively."""
        machine = self._machine(a)
        if b % 4 or not machine.running or not machine.has_channel:
            return False
        closing = machine.node.close_channel(machine.channel.channel_id)
        await self.world.wish(closing, delivered=bool(b % 8))
        return True

    async def _lose_ledger(self, a: int, b: int) -> bool:
        """It answers nothing for some blocks."""
        if not self.world.payee.running or not self.ledger_left:
            return False
        self.ledger_left -= 1
        with self.world.ledger_down():
            await self.world.mine(1 + a % 4)
        return True

    # --- what a thief does ----------------------------------------------------------------
    async def _withhold(self, a: int, b: int) -> None:
        """What it would say next of one kind gets lost, or comes later and out of order."""
        self.world.provoked = True
        kind = (LsfSignatures, RevokeAndAck, CommitmentSigned, LsfSettle, LsfSignRequest)[a % 5]
        left = 1 + b % 4

        def drops(message: Message) -> bool:
            nonlocal left
            if not left or not isinstance(message, kind):
                return False
            left -= 1
            self.withheld.append(message)
            return True

        self._thief.drops = drops

    async def _replay(self, a: int, b: int) -> bool:
        """Something that it said before, or has withheld, once more."""
        pool = self.withheld if b % 2 and self.withheld else self.heard
        if not pool or not self.world.connected:
            return False
        await self.world.say(pool[-1 - a % min(len(pool), 40)])
        await self._maybe_quiet(b)
        return True

    async def _garble(self, a: int, b: int) -> bool:
        """A message of its own with other values in it."""
        if not self.heard or not self.world.connected:
            return False
        entropy = random.Random(a << 8 | b)
        garbled = _garbled(self.heard[-1 - a % min(len(self.heard), 30)], entropy, self.heard)
        if garbled is None:
            return False
        await self.world.say(garbled)
        return True

    async def _present(self, a: int, b: int) -> bool:
        """A payer's thief: units out of order, left out, replayed, of another book, made up."""
        secret, other = self._any_secret(a), self._any_secret(b)
        if self.world.cheat is not Party.PAYER or secret is None or other is None:
            return False
        if not self.world.payee.running:
            return False
        units = secret.book.terms.units
        first, count = 1 + b % units, 1 + a % 3
        if first + count - 1 > units:
            return False
        if a % 8:
            await self.world.present(secret, first, count)
            return True
        self.world.provoked = True
        honest = secret.credential(first, count)
        elements = sha256(honest.elements) * (len(honest.elements) // 32)
        with contextlib.suppress(PaymentRefused):
            await self.world.redeem(Credential(other.book.book_id, first, count, elements))
            raise AssertionError("a credential that was made up was redeemed")
        return True

    async def _skimp(self, a: int, b: int) -> bool:
        """A payer's thief: every unit of the book in order, but for one of each lock."""
        secret = self._secret(a)
        if self.world.cheat is not Party.PAYER or secret is None:
            return False
        terms = secret.book.terms
        left_out = terms.chain_length if b % 2 else 1 + b % terms.chain_length
        for lock in range(b % 3, terms.locks):
            for unit in range(1, terms.chain_length + 1):
                if unit != left_out or terms.chain_length == 1:
                    await self.world.present(secret, lock * terms.chain_length + unit)
        return True

    async def _overlap(self, a: int, b: int) -> bool:
        """A payer's thief: a book whose refund may come before the payee's child."""
        if self.world.cheat is not Party.PAYER or len(self.world.secrets) >= _MAX_BOOKS:
            return False
        secret = await self.world.open_book(
            locks=8, chain_length=1, window=2, refund_delay_blocks=D - 5 + a % 20
        )
        for _ in range(7 if secret is not None else 0):
            await self.world.call(secret)  # type: ignore[arg-type]
        return secret is not None

    async def _overclaim(self, a: int, b: int) -> bool:
        """A payee's thief: the end of a book, by elements that it was not given."""
        secret = self._secret(a)
        if self.world.cheat is not Party.PAYEE or secret is None or not self.world.connected:
            return False
        book = secret.book
        c, use = book.terms.chain_length, self.world.record.use(book)
        given = [LockElement(lock, *found) for lock, found in sorted(use.presented.items())]
        made = {
            0: [LockElement(lock, max(1, c - 1), book.lock_hash(lock)) for lock in (1, 2)],
            1: [LockElement(lock, c, element) for lock, _, element in given],
            2: [LockElement(lock + 1, unit, element) for lock, unit, element in given],
            3: given,
        }[b % 4]
        settled = settled_locks(self.world.payee.channel).get(book.book_id, 0)
        close = LsfClose(
            channel_id=book.channel_id,
            book_id=book.book_id,
            first_lock=settled + 1,
            elements=tuple(element for element in made if element.lock > settled),
        )
        self.world.provoked = True
        if not await self.world.act(
            self.world.payee, lambda channel: (*channel.propose(close), *channel.commit())
        ):
            await self.world.say(close)
        await self._maybe_quiet(a)
        return True

    async def _answer_falsely(self, a: int, b: int) -> bool:
        """A payee's thief: takes units and does not answer, or with a problem."""
        secret = self._secret(a)
        if self.world.cheat is not Party.PAYEE or secret is None:
            return False
        self.world.provoked = True
        problem = (None, "already-redeemed", "wrong-secret", "exposure", "too-far")[b % 5]
        await self.world.call(
            secret, 1 + a % 3, answered=False, problem=problem, redeemed=bool(b % 2)
        )
        return True

    async def _publish(self, a: int, b: int) -> bool:
        """Any commitment that it ever held; a miner takes what the mempool does not."""
        thief = self.world.thief
        assert thief is not None
        self.world.provoked = True
        with_book = [n for n in thief.numbers if thief.loot[n].base.extensions["lsf"].books]
        number = (thief.numbers[-1:], with_book or thief.numbers, thief.numbers)[a % 3]
        tx = thief.commitment(number[(a // 3) % len(number)])
        spend = self.world.regtest.outspend(self.world.funding)
        if spend is not None and spend.confirmed is not None:
            return False
        if not self.world.broadcast(tx):
            await self.world.mine(transactions=[tx])
        elif b % 2:
            await self.world.mine()
        return True

    async def _restore_own_state(self, a: int, b: int) -> bool:
        """Its node starts again from an old copy of its store, and speaks."""
        if not self.old_stores:
            return False
        self.world.provoked = True
        await self.world.restart(self._thief, backup=self.old_stores[-1 - a % len(self.old_stores)])
        await self.world.connect()
        await self._maybe_quiet(b)
        return True

    async def _pin(self, a: int, b: int) -> bool:
        """From now on, at every block."""
        pinned, self.world.pinning = self.world.pinning, True
        return not pinned

    async def _censored_reorganisation(self, a: int, b: int) -> bool:
        if not self.censored_left:
            return False
        self.censored_left -= 1
        self.world.provoked = True
        await self.world.reorganise(1 + a % 6, censored=True)
        return True

    async def _victim_sleeps(self, a: int, b: int) -> bool:
        if not self.sleeps_left:
            return False
        self.sleeps_left -= 1
        self.world.sleeping_blocks = 1 + a % _LONGEST_SLEEP_BLOCKS
        return True

    async def _raise_fees(self, a: int, b: int) -> None:
        self.world.regtest.fee_rate = FeeRate((253, 1_000, 2_500)[a % 3])

    async def _say_error(self, a: int, b: int) -> bool:
        if not self.world.connected or not self._thief.running:
            return False
        channel_id = self._thief.channel.channel_id if a % 2 else bytes(32)
        await self.world.say(ErrorMessage(channel_id=channel_id, data=b"no"))
        return True


def _garbled(message: Message, entropy: random.Random, known: list[Message]) -> Message | None:
    """With another value in about half of its fields, some of them from other messages."""
    pool = [
        value
        for other in known[-40:]
        for item in fields(other)
        if isinstance(value := getattr(other, item.name), bytes)
    ]
    changes: dict[str, Any] = {}
    for item in fields(message):
        value = getattr(message, item.name)
        if item.name == "channel_id" or entropy.random() < 0.5:
            continue
        match value:
            case int():
                options: list[Any] = [0, 1, value + 1, max(0, value - 1), 2**16 - 1, 2**48]
            case bytes():
                same = [other for other in pool if len(other) == len(value)]
                options = [bytes(len(value)), value[::-1], *same[-6:]]
            case tuple():
                options = [(), value[:-1], value + value[:1], value[::-1]]
            case _:
                options = [value]
        changes[item.name] = entropy.choice(options)
    try:
        garbled = replace(message, **changes)
        garbled.encode()
    except (EncodeError, ValueError, OverflowError):
        return None
    return garbled


@dataclass(frozen=True)
class Outcome:
    """How one random game ended."""

    seed: int
    cheat: Party | None
    scheme: Scheme
    money: str
    tried: Counter[str]
    end: str
    balances: tuple[int, ...]
    """What each honest side has above what it is owed, in sat."""


async def random_game(seed: int, *, game_of: type[Game] = Game) -> Outcome:
    """The same game for the same seed. Raises `Lost`, `Fault`, or what a node should not."""
    draw = random.Random(seed)
    cheat = draw.choice((Party.PAYER, Party.PAYER, Party.PAYEE, Party.PAYEE, None))
    scheme = draw.choice(game_of.schemes)
    push_sat = draw.choice((25_000, 200_000, 900_000))
    settle_at_sat = draw.choice((0, 30_000))
    async with world_of(
        cheat,
        scheme=scheme,
        seed=seed,
        kind=game_of.kind,
        push_sat=push_sat,
        settle_at_sat=settle_at_sat,
    ) as world:
        game = game_of(world)
        await game.step("open_book", 1 + 4 * draw.randrange(60), draw.randrange(256))
        await game.step("calls", 0, draw.randrange(256))
        dishonesty = draw.choice((0.0, 0.2, 0.6)) if cheat is not None else 0.0
        for _ in range(draw.randrange(5, 60)):
            if not world.connected and draw.random() < 0.5:
                await game.step("connect", 0, draw.randrange(256))
            names = game.cheats if draw.random() < dishonesty else game.life
            await game.step(draw.choice(names), draw.randrange(256), draw.randrange(256))
            spend = world.regtest.outspend(world.funding)
            if spend is not None and spend.confirmed and draw.random() < 0.3:
                break
        accounts = await game.finish(draw.randrange(256), draw.randrange(256))
        end = world.honest[0].node.watch.progress[world.honest[0].channel.channel_id]
        return Outcome(
            seed=seed,
            cheat=cheat,
            scheme=scheme,
            money="tokens" if world.asset else "sat",
            tried=game.tried,
            end=end.kind.value if end.kind else "",
            balances=tuple(account.balance for account in accounts),
        )

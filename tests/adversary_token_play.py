"""Random games whose channel holds tokens: trades, false seals, and any message about tokens."""

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from adversary_play import CHEATS, LIFE, Game
from adversary_token_scenarios import TOKEN_SCHEMES
from adversary_token_world import TokenWorld
from adversary_world import World
from lightspeed.bitcoin import FeeRate, TxOut, p2wpkh
from lightspeed.colour import (
    RefusedSubject,
    RgbAsk,
    RgbConsignment,
    RgbOffer,
    RgbRefuse,
    RgbTrade,
)
from lightspeed.lsf import Party
from lightspeed.node.errors import InsufficientFunds
from lightspeed.payment import Scheme
from lightspeed.rgb import NotEnoughTokens
from lightspeed.units import Sat
from lightspeed.wire import Message

__all__ = ["TOKEN_CHEATS", "TOKEN_LIFE", "TokenGame"]

TOKEN_LIFE = (*LIFE, "buy", "move_tokens", "spend_coins")
TOKEN_CHEATS = (*CHEATS, "false_seals", "speak_of_tokens")

_MAX_BOOKS = 5


@dataclass
class TokenGame(Game):
    """A play of a world with tokens."""

    life: ClassVar[tuple[str, ...]] = TOKEN_LIFE
    cheats: ClassVar[tuple[str, ...]] = TOKEN_CHEATS
    kind: ClassVar[type[World]] = TokenWorld
    schemes: ClassVar[tuple[Scheme, ...]] = TOKEN_SCHEMES

    @property
    def _tokens(self) -> TokenWorld:
        assert isinstance(self.world, TokenWorld)
        return self.world

    async def _buy(self, a: int, b: int) -> bool:
        """By either side, at its seller's price."""
        said = await self._tokens.buy(self._machine(a), 10 * (1 + b % 30))
        await self._maybe_quiet(b)
        return said

    async def _move_tokens(self, a: int, b: int) -> bool:
        """On chain, by the operator: everything on a coin, a part of it to another one."""
        machine = self._machine(a)

        async def move() -> bool:
            built = await machine.node.tokens.builder.transfer(
                self.world.asset,
                [(1, 1_000 * (1 + b % 60))],
                outputs=[TxOut(Sat(1_000), machine.purse.new_script())],
                feerate_per_kw=FeeRate(500),
            )
            machine.node.stash.add(built.coloured.witness)
            return self.world.broadcast_by(machine, built.tx)

        with contextlib.suppress(NotEnoughTokens, InsufficientFunds):
            return machine.running and bool(await self.world.in_process(machine, move()))
        return False

    async def _spend_coins(self, a: int, b: int) -> bool:
        """By the operator: some, or nearly all that the wallet takes for free."""
        machine = self._machine(a)
        spendable = machine.purse.spendable_sat()
        amount = Sat(20_000 if b % 8 else spendable - 60_000)
        script = p2wpkh(b"elsewhere".ljust(20))
        try:
            tx = await machine.purse.fund(script, amount, feerate_per_kw=FeeRate(500))
        except InsufficientFunds:
            return False
        if not self.world.broadcast_by(machine, tx):
            return False
        self.world.coins_sat[machine.name] -= amount
        self.world.regtest.mine()
        return True

    async def _false_seals(self, a: int, b: int) -> bool:
        """A payer's thief: a book with garbage in it, paid to its end, or in a bad order."""
        world = self._tokens
        if world.cheat is not Party.PAYER or world.scheme is not Scheme.SEALS:
            return False
        if len(world.secrets) >= _MAX_BOOKS:
            return False
        world.provoked = True
        garbage = {1 + a % 6, 1 + b % 6}
        secret = await world.open_false_book(garbage, locks=6, chain_length=2, window=4)
        if secret is None:
            return False
        units = range(1, secret.book.terms.units + 1)
        for unit in units if a % 3 else reversed(units):
            await world.present(secret, unit)
        return True

    async def _speak_of_tokens(self, a: int, b: int) -> bool:
        """Whatever it likes, asked for or not."""
        world = self._tokens
        if not world.connected or not self._thief.has_channel:
            return False
        await world.say(self._word(a, b))
        await self._maybe_quiet(b)
        return True

    def _word(self, a: int, b: int) -> Message:
        channel_id = self._thief.channel.channel_id
        trades = self._tokens.trades or [None]
        known = trades[b % len(trades)]
        tokens, price = (known.tokens, known.price_msat) if known else (1 + b, 1_000 * (1 + b))
        subjects = tuple(RefusedSubject)
        words: tuple[Message, ...] = (
            RgbAsk(channel_id=channel_id, tokens=b),
            RgbOffer(channel_id=channel_id, offer=1 + b % 4, tokens=tokens, price_msat=price),
            RgbTrade(channel_id=channel_id, offer=1 + b % 4, tokens=tokens, price_msat=price),
            RgbTrade(channel_id=channel_id, offer=1 + b % 4, tokens=tokens, price_msat=0),
            RgbConsignment(channel_id=channel_id, total=1 + b, offset=0, data=bytes(1 + b)),
            RgbRefuse(channel_id=channel_id, subject=subjects[b % len(subjects)], text=b"no"),
        )
        return words[a % len(words)]

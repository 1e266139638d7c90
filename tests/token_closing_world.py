"""A closing world whose channel holds tokens, with one book in them: who ends with how many."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from channel_pair import Pair, open_pair, opening_terms
from closing_world import Party, World, closing_world
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, TxIn
from lightspeed.chain import LocalChain, Regtest
from lightspeed.channel import coloured_sweep
from lightspeed.channel.sweeps import SWEEP_VOUT
from lightspeed.colour import Colouring, ColourTerms, with_allocations
from lightspeed.lsf import LightspeedFunding, PayeeLimits
from lightspeed.lsf import Party as LsfParty
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT, REGTEST_RULES
from lightspeed.node.destination import closing_destination
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.payment import Scheme, SecretBook
from lightspeed.rgb import (
    ChainNet,
    Consignment,
    Holding,
    Opout,
    TokenInput,
)
from lightspeed.units import Sat
from lsf_pair import ORIGINS, open_book, secret_book
from lsf_world import token_terms
from payment_books import with_garbage
from rgb_token import OPEN_P2TR, OPEN_P2WSH, Move, Token

__all__ = [
    "CHANNEL_TOKENS",
    "LOCKS",
    "LOCK_TOKENS",
    "PUSHED_TOKENS",
    "REFUND_DELAY_BLOCKS",
    "TokenWorld",
    "token_world",
]

CHANNEL_TOKENS, PUSHED_TOKENS = 100_000, 3_000
LOCKS, LOCK_TOKENS = 12, 500
REFUND_DELAY_BLOCKS = 17
DELAY_BLOCKS = 6
_MOVE_FEE_SAT = 10_000  # of each move of `rgb_token`
_COIN_SAT = 100_000


@dataclass
class _Funding:
    """The token, and the transaction that put it on the funding output."""

    token: Token = field(init=False)
    move: Move = field(init=False)

    def fund(self, regtest: Regtest, script: bytes, sat: Sat) -> OutPoint:
        self.token = Token.issue(regtest, CHANNEL_TOKENS)
        rest = regtest.fund(OPEN_P2WSH, Sat(sat + _MOVE_FEE_SAT - _COIN_SAT)).outpoint(0)
        regtest.mine()
        self.move = self.token.move(
            [self.token.issued(0)],
            [(1, CHANNEL_TOKENS)],
            closes=[self.token.coins[0], rest],
            outputs=[script],
        )
        regtest.broadcast(self.move.tx)
        return self.move.tx.outpoint(1)

    def opened(self, *, with_books: bool, **opening: Any) -> Pair:
        """The funder is the payer."""
        terms = ColourTerms(
            contract_id=self.token.contract_id, tokens=CHANNEL_TOKENS, pushed=PUSHED_TOKENS
        )

        def extensions(party: LsfParty) -> list[Any]:
            lsf = LightspeedFunding(
                party=party,
                rules=REGTEST_RULES,
                limits=PayeeLimits(),
                origins=ORIGINS,
                max_exposure_sat=DEFAULT_MAX_EXPOSURE_SAT,
                max_exposure_tokens=1_000_000,
                claim_feerate=lambda: FeeRate(253),
            )
            return [*[lsf] * with_books, Colouring(terms)]

        return open_pair(
            funder_extensions=extensions(LsfParty.PAYER),
            fundee_extensions=extensions(LsfParty.PAYEE),
            funder_terms=opening_terms("a", to_self_delay_blocks=DELAY_BLOCKS),
            fundee_terms=opening_terms("b", to_self_delay_blocks=DELAY_BLOCKS),
            know_funding=lambda each: with_allocations(each, self.move.on_output(1)),
            **opening,
        )


@dataclass
class TokenWorld:
    world: World
    token: Token
    funding: Move
    secret: SecretBook | None = None

    @property
    def payer(self) -> Party:
        return self.world.funder

    @property
    def payee(self) -> Party:
        return self.world.fundee

    @property
    def contract_id(self) -> bytes:
        return self.token.contract_id

    def book(self, scheme: Scheme, *, locks: int, garbage: Collection[int]) -> None:
        """In it, the seals of `garbage` are not those of the secrets."""
        terms = token_terms(
            asset=self.contract_id,
            scheme=scheme,
            locks=locks,
            lock_amount=LOCK_TOKENS,
            refund_delay_blocks=REFUND_DELAY_BLOCKS,
        )
        self.secret = secret_book(self.world.pair, terms)
        if garbage:
            self.secret = with_garbage(self.secret, *garbage)
        open_book(self.world.pair, self.secret)
        book_id = self.secret.book.book_id
        secrets = {lock: self.secret.lock_secret(lock) for lock in range(1, locks + 1)}
        if scheme is Scheme.SEALS:
            self.payer.lock_secrets[book_id] = secrets

    def pay(self, *locks: int) -> None:
        assert self.secret is not None
        secrets = {lock: self.secret.lock_secret(lock) for lock in locks}
        self.payee.lock_secrets.setdefault(self.secret.book.book_id, {}).update(secrets)

    def know_funding(self, party: Party) -> None:
        """As an opener's or accepter's node does before it signs."""
        consignment = self.token.consignment(self.funding, to=1)
        parsed = Consignment.parse(consignment.serialize())
        party.stash.take(parsed, [token.opout for token in self.funding.on_output(1)])

    # --- where the tokens are -----------------------------------------------------------
    async def holdings(self, party: Party) -> dict[Opout, Holding]:
        """On outputs of the party's wallet, by its own stash."""
        script = self._script(party)
        found = await party.stash.holdings(self.contract_id)
        return {
            opout: holding
            for opout, holding in found.items()
            if self._output_script(holding.outpoint) == script
        }

    async def tokens(self, party: Party) -> int:
        """All of them mined."""
        found = await self.holdings(party)
        assert all(holding.mined for holding in found.values())
        return sum(holding.token.amount for holding in found.values())

    def _script(self, party: Party) -> bytes:
        assert party.node.channel is not None
        return closing_destination(party.store, party.wallet, party.node.channel.channel_id)

    def _output_script(self, outpoint: OutPoint) -> bytes:
        info = self.world.regtest.transaction(outpoint.txid)
        return info.tx.outputs[outpoint.vout].script if info else b""

    # --- what they are good for ---------------------------------------------------------
    async def spend(self, party: Party) -> int:
        """Sends everything to a stranger, who validates it from nothing; how much it got."""
        holdings = await self.holdings(party)
        await party.wallet.sync()
        tokens: dict[OutPoint, list[TokenInput]] = {}
        for holding in holdings.values():
            tokens.setdefault(holding.outpoint, []).append(holding.token)
        draft = Tx(version=2, inputs=tuple(map(TxIn, tokens)), outputs=())
        own = [
            replace(spend, tokens=tuple(sorted(tokens[spend.outpoint])))
            for spend in party.wallet.own_inputs(draft)
        ]
        assert len(own) == len(tokens)
        coins = await party.wallet.fee_spends(Sat(5_000), feerate_per_kw=FeeRate(253))
        moved = coloured_sweep(
            [
                *(replace(spend, tokens=tuple(sorted(tokens[spend.outpoint]))) for spend in own),
                *coins,
            ],
            contract_id=self.contract_id,
            destination_script=OPEN_P2TR,
            feerate_per_kw=FeeRate(500),
        )
        party.stash.add(moved.witness)
        self.world.regtest.broadcast(moved.tx)
        self.world.regtest.mine()
        (sent,) = moved.on_output(SWEEP_VOUT)
        consignment = party.stash.consignment(self.contract_id, [sent.opout])
        with NodeStore(party.folder / f"stranger of {party.node.name}.sqlite") as store:
            stranger = Stash(
                store,
                LocalChain(self.world.regtest),
                chain_net=ChainNet.BITCOIN_REGTEST,
                safe_depth=6,
            )
            handed = Consignment.parse(consignment.serialize())
            validated = await stranger.check(handed)
            assert validated.revealed[sent.opout].outpoint == moved.tx.outpoint(SWEEP_VOUT)
            stranger.take(handed, [sent.opout])
            found = await stranger.holdings(self.contract_id)
            return found[sent.opout].token.amount

    async def check_tokens(self, *, payer: int, payee: int) -> None:
        """In the stashes; and a stranger to whom they are sent takes their word for nothing."""
        assert await self.tokens(self.payer) == payer
        assert await self.tokens(self.payee) == payee
        for party, tokens in ((self.payer, payer), (self.payee, payee)):
            if tokens:
                assert await self.spend(party) == tokens


@asynccontextmanager
async def token_world(
    folder: Path,
    *,
    scheme: Scheme | None = None,
    locks: int = LOCKS,
    safe_depth: int = 3,
    garbage: Collection[int] = (),
) -> AsyncIterator[TokenWorld]:
    """Without a `scheme` the channel has no book."""
    funding = _Funding()
    async with closing_world(
        folder,
        opened=funding.opened,
        fund=funding.fund,
        safe_depth=safe_depth,
        with_books=scheme is not None,
    ) as world:
        tokens = TokenWorld(world, funding.token, funding.move)
        for party in world.parties:
            tokens.know_funding(party)
        if scheme is not None:
            tokens.book(scheme, locks=locks, garbage=garbage)
        yield tokens

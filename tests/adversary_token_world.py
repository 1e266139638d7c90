"""The world with tokens in its channel: a contract, what proves it, and books in its tokens."""

from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from adversary_machine import Machine
from adversary_world import COIN_SAT, FUNDING_SAT, PUSH_SAT, World
from lightspeed.bitcoin import OutPoint
from lightspeed.channel import Side, identify
from lightspeed.channel.commitment import is_commitment
from lightspeed.colour import ColourContent, Colouring, ColourState, ColourTerms, RgbTrade
from lightspeed.lsf import Party
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.payment import SecretBook
from lightspeed.rgb import (
    ASSET_OWNER,
    AssetSpec,
    ChainNet,
    Consignment,
    Genesis,
    GenesisSeal,
    History,
    Opout,
    Witness,
    WitnessStatus,
    issue,
    validate,
)
from lightspeed.units import Sat
from payment_books import with_garbage

__all__ = ["CHANNEL_TOKENS", "PUSHED_TOKENS", "SUPPLY", "WALLET_TOKENS", "TokenWorld"]

SUPPLY = 2_500_000
CHANNEL_TOKENS, PUSHED_TOKENS = 1_900_000, 10_000
MAX_EXPOSURE_TOKENS = 100_000
WALLET_TOKENS = 50_000
"""On a coin of each wallet that is tempting to pay a fee with: the smallest of those that suffice.
"""
_ISSUED_ON_SAT = Sat(1_000)
_TEMPTING_SAT = Sat(COIN_SAT - 1)
_GIFT = 2
"""Which of the allocations at issue is the payee's."""


@dataclass(frozen=True)
class Trade:
    """Of tokens for sats, in the channel."""

    seller: Party
    number: int
    """Of the seller's offer."""
    tokens: int
    price_msat: int


@dataclass(frozen=True)
class Gain:
    """Of one party, by all trades; below zero: given away."""

    tokens: int
    msat: int


@dataclass
class TokenWorld(World):
    """The payer issued the tokens, and brings most of them into the channel. Both have some on a
    coin that is worth enough sats to be mistaken for one.
    """

    genesis: Genesis = field(init=False)
    channel_tokens: int = CHANNEL_TOKENS
    pushed_tokens: int = PUSHED_TOKENS
    trades: list[Trade] = field(default_factory=list)
    """That were tried, in the order of each seller's offers."""
    taken: set[tuple[Party, int]] = field(default_factory=set)
    """Offers, by seller and number."""
    never_opened: bool = False
    """It came to no channel: there is nothing more to judge."""

    @property
    def asset(self) -> bytes:
        return self.genesis.contract_id

    # --- the beginning --------------------------------------------------------------------
    async def prepare(self, *, funding_sat: int = FUNDING_SAT, push_sat: int = PUSH_SAT) -> None:
        self.genesis = self.issued()
        for machine in self.machines:
            machine.know_tokens(self.asset, max_exposure=MAX_EXPOSURE_TOKENS)
        await super().prepare(funding_sat=funding_sat, push_sat=push_sat)
        self.payer.node.stash.issue(self.genesis)
        gift = Opout(self.asset, ASSET_OWNER, _GIFT)
        self.payee.node.stash.take(History(self.genesis).consignment([gift]), [gift])

    def issued(self, *, chain_net: ChainNet = ChainNet.BITCOIN_REGTEST) -> Genesis:
        """A contract on three coins, the last of them the payee's."""
        coins = [
            (self.payer, _ISSUED_ON_SAT, SUPPLY - 2 * WALLET_TOKENS),
            (self.payer, _TEMPTING_SAT, WALLET_TOKENS),
            (self.payee, _TEMPTING_SAT, WALLET_TOKENS),
        ]
        allocations = []
        for number, (machine, sat, tokens) in enumerate(coins):
            coin = self.regtest.fund(machine.purse.new_script(), sat).outpoint(0)
            allocations.append((GenesisSeal(coin.txid, coin.vout, number), tokens))
        return issue(
            spec=AssetSpec(ticker="CALL", name="Calls"),
            chain_net=chain_net,
            timestamp=1_700_000_000,
            allocations=allocations,
        )

    def _opening(self) -> Coroutine[Any, Any, Any]:
        return self.payer.node.open_channel(
            self.payee.keys.node_id.data,
            funding_sat=Sat(self.funding_sat),
            push_sat=Sat(self.push_sat),
            party=Party.PAYER,
            tokens=ColourTerms(
                contract_id=self.asset, tokens=self.channel_tokens, pushed=self.pushed_tokens
            ),
        )

    # --- what can be proved ---------------------------------------------------------------
    def history(self, machine: Machine) -> History:
        """What its stash holds, whether it runs or not."""
        if machine.started:
            return machine.node.stash.history(self.asset)
        with NodeStore(machine.config.store_path) as store:
            chain: Any = None  # nothing is asked
            stash = Stash(store, chain, chain_net=ChainNet.BITCOIN_REGTEST, safe_depth=6)
            return stash.history(self.asset)

    def known_history(self) -> History:
        """What anybody knows."""
        known = History(self.genesis)
        for machine in self.machines:
            known = known.add(*self.history(machine).bundles.values())
        return known.add(*(self.thief.proofs if self.thief is not None else ()))

    def provable(self, history: History, scripts: Collection[bytes] | None = None) -> int:
        """Tokens on unspent outputs with these scripts (None: with any), by mined transactions
        alone; as a stranger finds who is handed the consignment and knows nothing else.
        """
        statuses = {txid: WitnessStatus.MINED for txid in history.bundles if self._is_mined(txid)}
        held = {
            opout: holding.token.amount
            for opout, holding in history.holdings(statuses).items()
            if self._is_spendable(holding.outpoint, scripts)
        }
        self._convince_a_stranger(history, held)
        return sum(held.values())

    def _convince_a_stranger(self, history: History, held: dict[Opout, int]) -> None:
        if not held:
            return
        consignment = Consignment.parse(history.consignment(list(held)).serialize())
        witnesses = {}
        for bundle in consignment.bundles:
            info = self.regtest.transaction(bundle.txid)
            assert info is not None
            assert info.confirmed is not None
            witnesses[bundle.txid] = Witness(info.tx, WitnessStatus.MINED)
        found = validate(consignment, witnesses, chain_net=ChainNet.BITCOIN_REGTEST)
        assert {opout: found.revealed[opout].amount for opout in held} == held

    def _is_mined(self, txid: bytes) -> bool:
        info = self.regtest.transaction(txid)
        return info is not None and info.confirmed is not None

    def _is_spendable(self, outpoint: OutPoint, scripts: Collection[bytes] | None) -> bool:
        output = self.regtest.output(outpoint)
        spend = self.regtest.outspend(outpoint)
        if output is None or (spend is not None and spend.confirmed is not None):
            return False
        return scripts is None or output.script in scripts

    # --- trades in the channel ------------------------------------------------------------
    async def buy(self, buyer: Machine, tokens: int) -> bool:
        """An ask, the offer of the seller's node, and the update; not yet delivered. False if it
        did not come to that.
        """
        seller = self.other(buyer)
        if not buyer.has_channel:
            return False
        # A new question voids the offer before; if that was taken, it is the last one that was.
        content = buyer.channel.state.base.extensions["rgb"]
        assert isinstance(content, ColourContent)
        self.taken.add((seller.party, content.traded(Side.COUNTERPARTY)))
        if not await self._extend(buyer, lambda colouring: colouring.ask_for(tokens)):
            return False
        await self.quiet()
        if not buyer.has_channel:
            return False
        state = buyer.channel.state.extension_states["rgb"]
        assert isinstance(state, ColourState)
        offer = state.counterparty_offer
        if offer is None:
            return False
        trade = RgbTrade(
            channel_id=buyer.channel.channel_id,
            offer=offer.number,
            tokens=offer.tokens,
            price_msat=offer.price_msat,
        )
        done = Trade(seller.party, trade.offer, trade.tokens, trade.price_msat)
        if done not in self.trades:
            self.trades.append(done)
        return await self.act(buyer, lambda channel: (*channel.propose(trade), *channel.commit()))

    def traded(self, machine: Machine) -> Gain:
        """By the trades that the channel's end has in it, as the machine's side knows it."""
        end = self.regtest.outspend(self.funding)
        content = machine.channel.state.base.extensions["rgb"]
        if end is not None and is_commitment(end.tx):
            onchain = identify(machine.channel, end.tx, machine.stored_record)
            content = onchain.built.sheet.extensions["rgb"]
        assert isinstance(content, ColourContent)
        tokens = msat = 0
        for trade in self.trades:
            sold = trade.seller is machine.party
            last = content.traded(Side.HOLDER if sold else Side.COUNTERPARTY)
            known = (trade.seller, trade.number) in self.taken and trade.number < last
            if known or trade.number == last:
                tokens += -trade.tokens if sold else trade.tokens
                msat += trade.price_msat if sold else -trade.price_msat
        return Gain(tokens, msat)

    def traded_msat(self, machine: Machine) -> int:
        return self.traded(machine).msat

    async def _extend(self, machine: Machine, wish: Any) -> bool:
        if not machine.has_channel:
            return False
        colouring = machine.channel.extensions["rgb"]
        assert isinstance(colouring, Colouring)
        return await self.act(machine, lambda channel: channel.extend("rgb", wish(colouring)))

    # --- false books ----------------------------------------------------------------------
    async def open_false_book(self, garbage: Iterable[int], **terms: Any) -> SecretBook | None:
        """A payer's thief: the seals of these locks are not those of their secrets."""
        real = SecretBook.create

        def false_book(**given: Any) -> SecretBook:
            return with_garbage(real(**given), *garbage)

        SecretBook.create = false_book  # type: ignore[method-assign, assignment]
        try:
            return await self.open_book(**terms)
        finally:
            SecretBook.create = real  # type: ignore[method-assign]

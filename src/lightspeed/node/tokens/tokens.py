"""Everything of a node that is about tokens: its parts put together, and their background work."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from lightspeed.bitcoin import OutPoint
from lightspeed.chain import Chain, ChainUnavailable
from lightspeed.errors import StoreError
from lightspeed.node.config import NodeConfig
from lightspeed.node.stash import Stash
from lightspeed.node.store import NodeStore
from lightspeed.node.tokens.building import Builder, new_blinding
from lightspeed.node.tokens.buying import Buying
from lightspeed.node.tokens.proxy import ProxyClient
from lightspeed.node.tokens.receiving import Receiving
from lightspeed.node.tokens.selling import Selling
from lightspeed.node.tokens.sending import Sending
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import AssetSpec, ContractTerms, GenesisSeal, issue

__all__ = ["TokenBalance", "Tokens"]

_POLLS = 5
"""Proxies are others' machines: asked every so many looks at the chain."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBalance:
    """Tokens on coins of the wallet; what is in channels is not among them."""

    settled: int
    """Mined, together with all that they rest on; reserved ones are counted."""
    pending: int
    """Ours as soon as their transactions are mined."""
    reserved: int
    """Of the settled ones: for a transfer under way."""


class Tokens:
    """`start`, then `stop`. Makes the wallet keep coins apart that hold tokens, or may soon."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        store: NodeStore,
        stash: Stash,
        wallet: Wallet,
        chain: Chain,
        clock: Callable[[], float],
        on_failure: Callable[[StoreError], None],
    ) -> None:
        self._config = config
        self._wallet = wallet
        self._clock = clock
        self._on_failure = on_failure
        self._proxies = ProxyClient()
        self._looking: asyncio.Task[None] | None = None
        self._one_look = asyncio.Lock()
        self.alone = asyncio.Lock()
        """Held by whoever chooses tokens or coins for them."""
        self.stash = stash
        self.builder = Builder(self.stash, wallet, minimum_depth=config.minimum_depth)
        self.sending = Sending(
            store=store,
            stash=self.stash,
            wallet=wallet,
            chain=chain,
            builder=self.builder,
            proxies=self._proxies,
            alone=self.alone,
            safe_depth=config.safe_depth,
            clock=clock,
        )
        self.receiving = Receiving(
            store=store,
            stash=self.stash,
            wallet=wallet,
            chain=chain,
            proxies=self._proxies,
            alone=self.alone,
            minimum_depth=config.minimum_depth,
            clock=clock,
        )
        self.selling = Selling(
            store=store,
            stash=stash,
            wallet=wallet,
            chain=chain,
            builder=self.builder,
            sending=self.sending,
            alone=self.alone,
            clock=clock,
        )
        self.buying = Buying(
            store=store,
            stash=stash,
            wallet=wallet,
            chain=chain,
            builder=self.builder,
            alone=self.alone,
            minimum_depth=config.minimum_depth,
            safe_depth=config.safe_depth,
            clock=clock,
        )
        wallet.kept_apart = self._keeps_apart

    def _keeps_apart(self, outpoint: OutPoint, script: bytes) -> bool:
        return self.stash.keeps_apart(outpoint, script) or self.receiving.keeps_apart(
            outpoint, script
        )

    # --- background -----------------------------------------------------------------------

    def start(self) -> None:
        self._looking = asyncio.create_task(self._look_again())

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._proxies.close()

    async def look(self) -> None:
        """Once: everything that is open with payers and payees. Raises `ChainUnavailable`."""
        async with self._one_look:
            for part in (self.receiving, self.sending, self.selling, self.buying):
                await part.look()

    async def _look_again(self) -> None:
        while True:
            try:
                parts = (self.receiving, self.sending, self.selling, self.buying)
                if any(part.busy for part in parts):
                    await self.look()
            except ChainUnavailable as error:
                _log.warning("tokens: the chain does not answer", extra={"reason": str(error)})
            except StoreError as error:
                self._on_failure(error)
                return
            except Exception:
                _log.exception("looking after transfers of tokens failed")
            await asyncio.sleep(_POLLS * self._config.poll_seconds)

    # --- wishes ---------------------------------------------------------------------------

    async def issue(
        self, spec: AssetSpec, supply: int, *, terms: ContractTerms | None = None
    ) -> bytes:
        """A new contract, all of it on one coin of ours; its id. Raises `InsufficientFunds`."""
        async with self.alone:
            coin = await self.receiving.seal_coin()
            genesis = issue(
                spec=spec,
                chain_net=self.stash.chain_net,
                timestamp=int(self._clock()),
                allocations=[(GenesisSeal(coin.txid, coin.vout, new_blinding()), supply)],
                terms=terms,
            )
            self.stash.issue(genesis)
            self._wallet.release_coins([coin])  # it is kept apart from now on
        return genesis.contract_id

    async def balance(self, contract_id: bytes) -> TokenBalance:
        """Raises `UnknownContract`, `ChainUnavailable`."""
        held = await self.builder.holdings(contract_id)
        reserved = self._wallet.reserved()
        settled = [holding for holding in held if holding.mined]
        return TokenBalance(
            settled=sum(holding.token.amount for holding in settled),
            pending=sum(holding.token.amount for holding in held if not holding.mined),
            reserved=sum(each.token.amount for each in settled if each.outpoint in reserved),
        )

    async def exported(self, contract_id: bytes, *, holdings: bool) -> bytes:
        """A consignment file: the contract's introduction, or what proves all that we hold."""
        if not holdings:
            return self.stash.history(contract_id).contract().serialize(magic=True)
        opouts = [each.token.opout for each in await self.builder.holdings(contract_id)]
        return self.stash.consignment(contract_id, opouts).serialize(magic=True)

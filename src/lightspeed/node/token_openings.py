"""What tokens add to the opening of a channel: who brings them, and what proves it.

The opener's funding transaction moves them to its output 1. Before `funding_created` it sends
their history, which the accepter validates against the chain as far as it is there: all of it
but the funding transaction has to be mined, at the depth that the channel needs. Both keep it
before they sign what would be worth nothing without it, and ask the chain for all of it again
before `channel_ready`: an ancestor may be gone while the funding transaction stands.
"""

import asyncio
from dataclasses import dataclass, field

from lightspeed.bitcoin import FeeRate, OutPoint, Tx, TxOut
from lightspeed.chain import ChainUnavailable
from lightspeed.channel import Acceptance, Channel, ChannelViolation, Opening
from lightspeed.channel.scripts import funding_output_script
from lightspeed.colour import (
    EXTENSION_NAME,
    ColourParameters,
    ColourTerms,
    allocations_on,
    colour_parameters,
    with_allocations,
)
from lightspeed.node.config import NodeConfig
from lightspeed.node.errors import ConsignmentRefused, UnknownContract
from lightspeed.node.folder import CONFIG_NAME
from lightspeed.node.stash import Stash
from lightspeed.node.threads import to_the_end
from lightspeed.node.tokens.building import Builder
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import (
    ASSET_OWNER,
    Consignment,
    RgbError,
    TokenInput,
    contract_id_text,
    witnesses_of,
)

__all__ = ["FUNDING_VOUT", "MAX_OPENING_BUNDLES", "Brought", "Proved", "TokenOpenings"]

FUNDING_VOUT = 1
"""Of a funding transaction that moves tokens; output 0 is the commitment."""
MAX_OPENING_BUNDLES = 2_000
"""Transactions of a history that an opener may bring: each is a question to the chain backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """An opener's funding transaction: signed, its proof kept, seen by nobody."""

    tx: Tx
    opening: Opening
    """Which knows what is on its funding output."""
    consignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What an opener brings, validated, and not kept yet."""

    opening: Opening
    """Which knows what is on its funding output."""
    consignment: Consignment = field(repr=False)
    tokens: tuple[TokenInput, ...]


class TokenOpenings:
    """The part of both sides that asks chain, wallet and stash."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        stash: Stash,
        wallet: Wallet,
        builder: Builder,
        alone: asyncio.Lock,
    ) -> None:
        """`alone` is held while tokens are chosen."""
        self._config = config
        self._stash = stash
        self._wallet = wallet
        self._builder = builder
        self._alone = alone
        self._one_at_a_time = asyncio.Lock()

    # --- the opener -----------------------------------------------------------------------
    async def check_brought(self, terms: ColourTerms) -> None:
        """Raises `UnknownContract` and `NotEnoughTokens`."""
        self._stash.history(terms.contract_id)
        await self._builder.pick(terms.contract_id, terms.tokens)

    async def fund(self, acceptance: Acceptance, *, feerate_per_kw: FeeRate) -> Brought:
        """Raises `NotEnoughTokens` and `InsufficientFunds`."""
        opening = acceptance.opening
        terms = _terms(opening)
        async with self._alone:
            built = await self._builder.transfer(
                terms.contract_id,
                [(FUNDING_VOUT, terms.tokens)],
                outputs=[TxOut(acceptance.amount_sat, acceptance.funding_script)],
                feerate_per_kw=feerate_per_kw,
            )
        try:
            self._stash.add(built.coloured.witness)
            tokens = built.coloured.on_output(FUNDING_VOUT)
            opouts = [token.opout for token in tokens]
            proof = self._stash.consignment(terms.contract_id, opouts)
            return Brought(
                tx=built.tx,
                opening=with_allocations(opening, tokens),
                consignment=proof.serialize(),
            )
        except BaseException:
            self._wallet.release(built.tx)
            raise

    # --- the accepter ---------------------------------------------------------------------
    def check_wanted(self, terms: ColourTerms) -> None:
        """Raises `ChannelViolation` for a contract that is not on our list and not ours."""
        lightspeed = self._config.lightspeed
        listed = lightspeed is not None and terms.contract_id in lightspeed.contract_ids
        if not (listed or self._is_own_issue(terms.contract_id)):
            raise ChannelViolation(
                f"this node takes no tokens of {contract_id_text(terms.contract_id)}: its operator "
                f"has to add the contract to tokens under [lightspeed] in {CONFIG_NAME}"
            )

    def _is_own_issue(self, contract_id: bytes) -> bool:
        """Its genesis gave tokens to coins of our wallet, and we know of it."""
        try:
            genesis = self._stash.history(contract_id).genesis
        except UnknownContract:
            return False
        issued = (assign.outpoint(b"") for assign in genesis.assignments.of_type(ASSET_OWNER))
        return bool(self._wallet.own_among(outpoint for outpoint in issued if outpoint))

    async def prove(self, opening: Opening, data: bytes, outpoint: OutPoint) -> Proved:
        """Validate what the opener brings. Raises `ChannelViolation`.

        One at a time: it takes memory, and questions to the chain backend.
        """
        async with self._one_at_a_time:
            try:
                return await self._proved(opening, data, outpoint)
            except (RgbError, ConsignmentRefused) as error:
                raise ChannelViolation(f"the tokens' history is refused: {error}") from None
            except ChainUnavailable:
                raise ChannelViolation("the tokens' history cannot be checked now") from None

    async def _proved(self, opening: Opening, data: bytes, outpoint: OutPoint) -> Proved:
        terms = _terms(opening)
        consignment = await to_the_end(Consignment.parse, data)
        if consignment.contract_id != terms.contract_id:
            raise ConsignmentRefused("it is of another contract")
        if len(consignment.bundles) > MAX_OPENING_BUNDLES:
            raise ConsignmentRefused(f"more than {MAX_OPENING_BUNDLES:,} transactions")
        _check_funding(opening, consignment, outpoint)
        validated = await self._stash.check(
            consignment, minimum_depth=opening.minimum_depth, unmined=(outpoint.txid,)
        )
        tokens = allocations_on(validated, outpoint, contract_id=terms.contract_id)
        return Proved(
            opening=with_allocations(opening, tokens), consignment=consignment, tokens=tokens
        )

    def keep(self, proved: Proved) -> None:
        """Durably; before we sign, and only for a channel that its opener has signed: it is
        forgotten with the channel, if that is never funded. Raises `ChannelViolation`.
        """
        try:
            self._stash.take(proved.consignment, [token.opout for token in proved.tokens])
        except (RgbError, ConsignmentRefused) as error:
            raise ChannelViolation(f"the tokens' history is refused: {error}") from None

    # --- both -----------------------------------------------------------------------------
    async def problem(self, channel: Channel) -> str | None:
        """Why `channel_ready` has to wait, if it has: some of the tokens' history is not there.

        Raises `ChainUnavailable`.
        """
        config = channel.state.config
        parameters = colour_parameters(config)
        if parameters is None:
            return None
        holdings = await self._stash.holdings(
            parameters.contract_id, minimum_depth=config.minimum_depth
        )
        for token in parameters.allocations:
            holding = holdings.get(token.opout)
            if holding is None or not holding.mined:
                return (
                    f"{token.amount} tokens are not there: a transaction that they rest on is not "
                    f"{config.minimum_depth} blocks deep, or lost"
                )
        return None


def _terms(opening: Opening) -> ColourTerms:
    return ColourParameters.from_bytes(opening.extension_parameters[EXTENSION_NAME]).terms


def _check_funding(opening: Opening, consignment: Consignment, outpoint: OutPoint) -> None:
    """The transaction is in it as a whole, and funds the channel. Raises `ConsignmentRefused`."""
    assert opening.counterparty is not None
    keys = (opening.holder.basepoints.funding, opening.counterparty.basepoints.funding)
    wanted = TxOut(opening.funding_sat, funding_output_script(*keys))
    funding = witnesses_of(consignment).get(outpoint.txid)
    if funding is None:
        raise ConsignmentRefused("the funding transaction is not in it")
    outputs = funding.tx.outputs
    if outpoint.vout >= len(outputs) or outputs[outpoint.vout] != wanted:
        raise ConsignmentRefused("the funding output is another one than was agreed")

"""A token, a funding transaction that holds some of it, and two coloured channels on that."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from channel_pair import Node, Pair, open_pair
from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut, p2wpkh, sha256
from lightspeed.channel import Channel, ChannelSecrets, Opening
from lightspeed.channel.scripts import funding_output_script
from lightspeed.colour import (
    ColourContent,
    Colouring,
    ColourState,
    ColourTerms,
    RgbTrade,
    with_allocations,
)
from lightspeed.rgb import (
    ASSET_OWNER,
    OPRET_PLACEHOLDER,
    AssetSpec,
    ChainNet,
    Coloured,
    Consignment,
    Destination,
    GenesisSeal,
    GraphSeal,
    Opout,
    TokenInput,
    Validated,
    WitnessBundle,
    colour,
    issue,
    validate,
    witnesses_of,
)
from lightspeed.units import Sat

__all__ = [
    "ColouredPair",
    "Token",
    "channel_of",
    "colouring_of",
    "content_of",
    "open_coloured_pair",
    "state_of",
]

FUNDING_VOUT = 1
_COINS = 4
"""Outpoints that the whole supply of a test's token is spread over."""


@dataclass
class Token:
    """A contract, and what its issuer still has: one allocation for each of a few coins."""

    supply_each: int = 1_000_000
    spent: int = 0

    def __post_init__(self) -> None:
        self.coins = [OutPoint(sha256(b"coin %d" % number), 0) for number in range(_COINS)]
        self.genesis = issue(
            spec=AssetSpec(ticker="TEST", name="Test"),
            chain_net=ChainNet.BITCOIN_REGTEST,
            timestamp=1,
            allocations=[
                (GenesisSeal(coin.txid, coin.vout, number), self.supply_each)
                for number, coin in enumerate(self.coins)
            ],
        )
        self.contract_id = self.genesis.contract_id

    def pay(self, output: TxOut, allocations: Sequence[tuple[Destination, int]]) -> Coloured:
        """From the next coin, the change back to an output of the issuer's, which is lost."""
        coin, self.spent = self.coins[self.spent], self.spent + 1
        change = self.supply_each - sum(amount for _, amount in allocations)
        tx = Tx(
            version=2,
            inputs=(TxIn(coin, sequence=0),),
            outputs=(OPRET_PLACEHOLDER, output, TxOut(Sat(546), p2wpkh(bytes(20)))),
        )
        moved = TokenInput(Opout(self.contract_id, ASSET_OWNER, self.spent - 1), self.supply_each)
        rest: list[tuple[Destination, int]] = [(2, change)] if change else []
        return colour(
            tx, contract_id=self.contract_id, inputs=[moved], allocations=[*allocations, *rest]
        )

    def validate(self, *bundles: WitnessBundle) -> Validated:
        """Offline, and over its serialization: as somebody would who is handed the history."""
        consignment = Consignment(transfer=True, genesis=self.genesis, bundles=bundles)
        parsed = Consignment.parse(consignment.serialize())
        return validate(parsed, witnesses_of(parsed), chain_net=ChainNet.BITCOIN_REGTEST)


def colouring_of(node: Node) -> Colouring:
    colouring = node.extensions["rgb"]
    assert isinstance(colouring, Colouring)
    return colouring


def channel_of(node: Node) -> Channel:
    assert node.channel is not None
    return node.channel


def state_of(node: Node) -> ColourState:
    state = channel_of(node).state.extension_states["rgb"]
    assert isinstance(state, ColourState)
    return state


def content_of(node: Node) -> ColourContent:
    content = channel_of(node).state.base.extensions["rgb"]
    assert isinstance(content, ColourContent)
    return content


@dataclass
class ColouredPair:
    """Two channels, and the history of what their funding outpoint holds."""

    pair: Pair
    token: Token
    history: list[WitnessBundle] = field(default_factory=list)

    @property
    def funder(self) -> Node:
        return self.pair.funder

    @property
    def fundee(self) -> Node:
        return self.pair.fundee

    @property
    def funding(self) -> OutPoint:
        return channel_of(self.funder).state.config.funding_outpoint

    def tokens(self) -> tuple[int, int]:
        """The funder's and the fundee's, irrevocably."""
        sheet = channel_of(self.funder).state.base
        return sheet.holder_tokens, sheet.counterparty_tokens

    def total(self) -> int:
        return sum(token.amount for token in state_of(self.funder).parameters.allocations)

    def proved(self, *bundles: WitnessBundle) -> dict[OutPoint, int]:
        """What is where after these bundles, by the outpoint, without the issuer's rest."""
        validated = self.token.validate(*self.history, *bundles)
        found: dict[OutPoint, int] = {}
        ignored = {OutPoint(bundle.txid, 2) for bundle in self.history}
        for allocation in validated.revealed.values():
            outpoint = allocation.outpoint
            if outpoint not in ignored and outpoint not in self.token.coins:
                found[outpoint] = found.get(outpoint, 0) + allocation.amount
        assert not validated.concealed
        return found

    # --- trades ------------------------------------------------------------------------
    def extend(self, node: Node, act: Callable[..., Any]) -> None:
        node.run(channel_of(node).extend("rgb", act))

    def agree(self, buyer: Node, tokens: int, price_msat: int) -> None:
        """Up to the standing offer."""
        seller = self.pair.other(buyer)
        self.extend(buyer, colouring_of(buyer).ask_for(tokens))
        self.pair.settle()
        self.extend(seller, colouring_of(seller).offer_tokens(tokens, price_msat))
        self.pair.settle()

    def trade_of(self, buyer: Node) -> RgbTrade:
        offer = state_of(buyer).counterparty_offer
        assert offer is not None
        return RgbTrade(
            channel_id=channel_of(buyer).channel_id,
            offer=offer.number,
            tokens=offer.tokens,
            price_msat=offer.price_msat,
        )

    def trade(self, buyer: Node, tokens: int, price_msat: int) -> None:
        self.agree(buyer, tokens, price_msat)
        buyer.run(channel_of(buyer).propose(self.trade_of(buyer)))
        buyer.run(channel_of(buyer).commit())
        self.pair.settle()

    def put_on_funding(self, amount: int) -> TokenInput:
        """On chain: a transfer to the funding outpoint."""
        seal = GraphSeal(self.funding.txid, self.funding.vout, 5)
        coloured = self.token.pay(TxOut(Sat(1_000), p2wpkh(bytes(20))), [(seal, amount)])
        self.history.append(coloured.witness)
        return TokenInput(Opout(coloured.opid, ASSET_OWNER, 0), amount)


def open_coloured_pair(
    *,
    tokens: int = 1_000,
    pushed: int = 0,
    funding_sat: int = 5_000_000,
    funder_extensions: Iterable[Any] = (),
    fundee_extensions: Iterable[Any] = (),
    know_funding: Callable[[Opening, Sequence[TokenInput]], Opening] = with_allocations,
    **opening: Any,
) -> ColouredPair:
    """The funder brings the tokens. Other extensions come before the colouring."""
    token = Token()
    keys = [ChannelSecrets.derive(sha256(name)).basepoints.funding for name in (b"a", b"b")]
    output = TxOut(Sat(funding_sat), funding_output_script(*keys))
    funded = token.pay(output, [(FUNDING_VOUT, tokens)])
    terms = ColourTerms(contract_id=token.contract_id, tokens=tokens, pushed=pushed)
    pair = open_pair(
        funding=OutPoint(funded.tx.txid, FUNDING_VOUT),
        funding_sat=funding_sat,
        funder_extensions=[*funder_extensions, Colouring(terms)],
        fundee_extensions=[*fundee_extensions, Colouring(terms)],
        know_funding=lambda each: know_funding(each, funded.on_output(FUNDING_VOUT)),
        **opening,
    )
    return ColouredPair(pair, token, [funded.witness])

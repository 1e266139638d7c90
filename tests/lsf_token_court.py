"""A court whose channel is coloured: who gets which tokens, by what is mined."""

from collections.abc import Iterable

from channel_pair import Node, Pair, open_pair
from lightspeed.bitcoin import OutPoint, PrivateKey, Tx, TxDigest, TxIn, TxOut, sha256
from lightspeed.channel import Remedy, Sweep
from lightspeed.channel.spends import p2wpkh_spend
from lightspeed.channel.sweeps import Spend, coloured_sweep
from lightspeed.colour import Colouring, ColourTerms, with_allocations
from lightspeed.lsf import Party
from lightspeed.rgb import (
    ASSET_OWNER,
    OPRET_PLACEHOLDER,
    AssetSpec,
    ChainNet,
    GenesisSeal,
    History,
    Opout,
    TokenInput,
    Witness,
    WitnessStatus,
    colour,
    issue,
    validate,
)
from lightspeed.units import Sat
from lsf_court import FEERATE, Court, D
from lsf_pair import lightspeed, same_delay

__all__ = ["SUPPLY", "TokenCourt"]

SUPPLY = 100_000
_COIN_KEY = PrivateKey(sha256(b"coins of the court"))
_COIN_SAT = Sat(20_000)
_FUNDING_VOUT = 1


class TokenCourt(Court):
    """The book is in tokens, of which the payer put the whole supply into the channel."""

    @property
    def contract_id(self) -> bytes:
        return self.genesis.contract_id

    def opened(self, output: TxOut) -> Pair:
        coin = self._coin(Sat(output.value + _COIN_SAT))
        self.genesis = issue(
            spec=AssetSpec(ticker="CALL", name="Calls"),
            chain_net=ChainNet.BITCOIN_REGTEST,
            timestamp=1,
            allocations=[(GenesisSeal(coin.outpoint.txid, coin.outpoint.vout, 1), SUPPLY)],
        )
        funded = colour(
            Tx(version=2, inputs=(TxIn(coin.outpoint),), outputs=(OPRET_PLACEHOLDER, output)),
            contract_id=self.contract_id,
            inputs=[TokenInput(Opout(self.contract_id, ASSET_OWNER, 0), SUPPLY)],
            allocations=[(_FUNDING_VOUT, SUPPLY)],
        )
        self.history = History(self.genesis).add(funded.witness)
        witness = coin.sign(TxDigest(funded.tx, (coin.prevout,)), 0)
        self.regtest.broadcast(funded.tx.with_witness(0, witness))
        self.regtest.mine()
        terms = ColourTerms(contract_id=self.contract_id, tokens=SUPPLY)
        allocations = funded.on_output(_FUNDING_VOUT)
        return open_pair(
            funding=OutPoint(funded.tx.txid, _FUNDING_VOUT),
            funding_sat=output.value,
            funder_extensions=[lightspeed(Party.PAYER), Colouring(terms)],
            fundee_extensions=[lightspeed(Party.PAYEE), Colouring(terms)],
            know_funding=lambda opening: with_allocations(opening, allocations),
            **same_delay(D),
        )

    def _coin(self, amount: Sat = _COIN_SAT) -> Spend:
        """Of a wallet: what has tokens holds too few sats to pay for its own way."""
        script = p2wpkh_spend(OutPoint(bytes(32), 0), amount, secret=_COIN_KEY).prevout.script
        funded = self.regtest.fund(script, amount)
        return p2wpkh_spend(funded.outpoint(0), amount, secret=_COIN_KEY)

    # --- what a node does --------------------------------------------------------------
    def sweeps(self, node: Node, ripe: Iterable[Remedy]) -> list[Tx]:
        """One coloured transaction for each output; what each knows enters the history."""
        transactions = []
        for remedy in ripe:
            self.history = self.history.add(*remedy.history)
            if isinstance(remedy, Sweep):
                swept = coloured_sweep(
                    (remedy.spend, self._coin()),
                    contract_id=self.contract_id,
                    destination_script=self.destination(node),
                    feerate_per_kw=FEERATE,
                )
                self.history = self.history.add(swept.witness)
                transactions.append(swept.tx)
        return transactions

    # --- what came of it ---------------------------------------------------------------
    def tokens_of(self, node: Node) -> int:
        """On the node's own script, by mined transactions alone; proved to a stranger."""
        statuses = {
            txid: WitnessStatus.MINED
            for txid in self.history.bundles
            if (info := self.regtest.transaction(txid)) is not None and info.confirmed is not None
        }
        own = {outpoint for outpoint, _, _ in self.regtest.unspent(sha256(self.destination(node)))}
        held = {
            opout: holding.token.amount
            for opout, holding in self.history.holdings(statuses).items()
            if holding.outpoint in own
        }
        if not held:
            return 0
        witnesses = {
            txid: Witness(info.tx, status)
            for txid, status in statuses.items()
            if (info := self.regtest.transaction(txid)) is not None
        }
        found = validate(
            self.history.consignment(list(held)), witnesses, chain_net=ChainNet.BITCOIN_REGTEST
        )
        assert all(found.revealed[opout].amount == amount for opout, amount in held.items())
        return sum(held.values())

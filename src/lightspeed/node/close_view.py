"""One look at one channel's close: what the chain shows, and what may be done about it."""

import logging
from dataclasses import dataclass, field

from lightspeed.bitcoin import OutPoint, Tx, txid_hex
from lightspeed.chain import BlockId
from lightspeed.chain import Spend as ChainSpend
from lightspeed.channel import (
    Channel,
    Facts,
    Lookup,
    OnChain,
    Remedy,
    Side,
    UnknownCommitment,
    identify,
)
from lightspeed.channel.commitment import NotACommitment
from lightspeed.channel.graph import Anchor, HtlcKey
from lightspeed.node.closing import CloseKind
from lightspeed.node.observation import Observation
from lightspeed.node.own_transactions import OwnTransactions

__all__ = ["ClosingChannel", "holder_anchor", "identified"]

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ClosingChannel:
    """One step's view of one channel's close."""

    channel: Channel
    tip: BlockId
    spend: ChainSpend
    kind: CloseKind
    onchain: OnChain | None
    destination_script: bytes
    own: OwnTransactions
    observation: Observation
    facts: Facts | None
    """None for a cooperative close, of which nothing has to be taken."""
    remedies: tuple[Remedy, ...]
    problems: list[str] = field(default_factory=list)

    def problem(self, what: str, tx: Tx | None = None) -> None:
        self.problems.append(what)
        _logger.warning(
            "closing a channel: %s",
            what,
            extra={
                "channel": self.channel.channel_id.hex(),
                "txid": txid_hex(tx.txid) if tx else None,
            },
        )

    def spender(self, outpoint: OutPoint) -> bytes | None:
        """Id of the transaction, confirmed or not, that spends one of the channel's outputs."""
        spend = self.observation.spends.get(outpoint)
        return spend.txid if spend else None

    def contested(self) -> set[OutPoint]:
        """What a transaction of somebody else in the mempool spends."""
        return {
            outpoint
            for outpoint, spend in self.observation.spends.items()
            if spend.confirmed is None and spend.txid not in self.own
        }

    def contestable(self) -> set[OutPoint]:
        """HTLC outputs: the counterparty has a way to each of them as well."""
        if self.onchain is None:
            return set()
        frozen = self.onchain.built.frozen
        return {frozen.outpoint(o.key) for o in frozen.outputs if isinstance(o.key, HtlcKey)}

    @property
    def tokens_are_stuck(self) -> bool:
        """On a commitment that we cannot rebuild: whoever takes the sats there loses them."""
        return self.kind is CloseKind.UNKNOWN and (
            self.channel.holder_commitment().frozen.coloured is not None
        )

    def mature(self) -> list[Remedy]:
        return [remedy for remedy in self.remedies if remedy.mature_height <= self.tip.height + 1]


def holder_anchor(kind: CloseKind) -> Anchor:
    """The graph's key of our anchor on the commitment."""
    return Anchor(broadcaster=kind is CloseKind.HOLDER)


def identified(channel: Channel, tx: Tx, lookup: Lookup) -> tuple[CloseKind, OnChain | None]:
    try:
        onchain = identify(channel, tx, lookup)
    except NotACommitment:
        return CloseKind.COOPERATIVE, None
    except UnknownCommitment:
        return CloseKind.UNKNOWN, None
    if onchain.revocation is not None:
        return CloseKind.REVOKED, onchain
    if onchain.broadcaster is Side.HOLDER:
        return CloseKind.HOLDER, onchain
    return CloseKind.COUNTERPARTY, onchain

"""From one look at a close to the report of how far it has got."""

from lightspeed.bitcoin import FEE_RATE_FLOOR
from lightspeed.channel import Publication, Remedy, Sweep
from lightspeed.node.close_view import ClosingChannel
from lightspeed.node.closing import (
    CloseKind,
    CloseProgress,
    CloseState,
    ClosingTransaction,
    Waiting,
)
from lightspeed.node.observation import Observation
from lightspeed.node.sweeping import is_worth_taking, token_sum
from lightspeed.units import Sat

__all__ = ["progress_of"]


def progress_of(close: ClosingChannel, *, safe_depth: int) -> CloseProgress:
    """`safe_depth`: confirmations after which a spend is taken as final."""
    confirmed = close.spend.confirmed
    left = [remedy for remedy in close.remedies if _counts(remedy)]
    state = CloseState.CLOSING
    if confirmed is None:
        state = CloseState.SPENT_UNCONFIRMED
    elif not left and not close.tokens_are_stuck:
        heights = [spend.height for spend in close.observation.confirmed().values()]
        if close.tip.height - max((confirmed.height, *heights)) + 1 >= safe_depth:
            state = CloseState.DONE
    onchain = close.onchain
    return CloseProgress(
        state=state,
        tip_height=close.tip.height,
        kind=close.kind,
        commitment_txid=close.spend.txid,
        confirmed_height=confirmed.height if confirmed else None,
        transactions=_transactions(close),
        waiting=tuple(_waiting(remedy, close.observation) for remedy in left),
        preimages=close.observation.preimages(onchain.built) if onchain else {},
        problems=tuple(close.problems),
    )


def _counts(remedy: Remedy) -> bool:
    """Not what never pays for its own input: waiting for it would have no end."""
    return isinstance(remedy, Publication) or is_worth_taking(remedy.spend, FEE_RATE_FLOOR)


def _waiting(remedy: Remedy, observation: Observation) -> Waiting:
    if isinstance(remedy, Sweep):
        value, tokens = remedy.spend.prevout.value, token_sum([remedy.spend])
    else:
        spent = (observation.outputs.get(txin.outpoint) for txin in remedy.tx.inputs)
        value, tokens = Sat(sum(output.value for output in spent if output)), 0
    return Waiting(
        purpose=remedy.purpose,
        value_sat=value,
        mature_height=remedy.mature_height,
        tokens=tokens,
    )


def _transactions(close: ClosingChannel) -> tuple[ClosingTransaction, ...]:
    """The spend of the funding output, then what followed, in no particular order."""
    first, funding_sat = close.spend, close.channel.state.config.funding_sat
    name = "cooperative close" if close.kind is CloseKind.COOPERATIVE else "commitment"
    found = {
        first.txid: ClosingTransaction(
            txid=first.txid,
            purpose=name,
            ours=close.kind in (CloseKind.COOPERATIVE, CloseKind.HOLDER),
            vbytes=first.tx.vsize,
            fee_sat=Sat(funding_sat - sum(output.value for output in first.tx.outputs)),
            confirmed_height=first.confirmed.height if first.confirmed else None,
        )
    }
    for spend in close.observation.spends.values():
        if spend.txid in found:
            continue  # one transaction may spend many outputs
        own = close.own.get(spend.txid)
        found[spend.txid] = ClosingTransaction(
            txid=spend.txid,
            purpose=own.purpose if own else "of the counterparty",
            ours=own is not None,
            vbytes=spend.tx.vsize,
            fee_sat=own.fee_sat if own else close.observation.fee_sat(spend.tx),
            confirmed_height=spend.confirmed.height if spend.confirmed else None,
            tokens=own.tokens if own else 0,
        )
    return tuple(found.values())

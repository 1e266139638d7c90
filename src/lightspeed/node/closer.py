"""The end of a channel on chain: sees what spends the funding output and takes what is ours.

Nothing is remembered but the transactions that were made: what the chain shows is read anew at
each step, so that a reorganisation, a restart or a lost broadcast needs no code of its own.
"""

from collections.abc import Mapping, Sequence

from lightspeed.bitcoin import FEE_RATE_FLOOR, FeeRate, OutPoint, Tx, fee_rate_of
from lightspeed.chain import BlockId, Chain
from lightspeed.chain import Spend as ChainSpend
from lightspeed.channel import (
    Channel,
    Facts,
    Phase,
    Publication,
    Remedy,
    Spend,
    Sweep,
    commitment_history,
    remedies,
    remedies_without_state,
)
from lightspeed.channel.sweeps import SweepTooSmall
from lightspeed.lsf import p2a_spend
from lightspeed.node.bumping import anchor_handle, claim_handles
from lightspeed.node.close_report import progress_of
from lightspeed.node.close_view import ClosingChannel, holder_anchor, identified
from lightspeed.node.closing import SAFE_DEPTH, CloseKind, CloseProgress, CloseState
from lightspeed.node.deadlines import may_wait
from lightspeed.node.destination import closing_destination
from lightspeed.node.errors import InsufficientFunds, UnknownContract
from lightspeed.node.observation import Observation, observe
from lightspeed.node.own_transactions import OwnTransaction, OwnTransactions
from lightspeed.node.proofs import NoProofs, Proofs
from lightspeed.node.publishing import LATER_BLOCKS, SOON_BLOCKS, Publisher
from lightspeed.node.store import NodeStore
from lightspeed.node.sweeping import batches, build_sweep, is_worth_taking, token_sum
from lightspeed.node.threads import by_size
from lightspeed.node.wallet import Wallet
from lightspeed.rgb import RgbError, TokensWouldBurn, WitnessBundle
from lightspeed.units import Sat

__all__ = ["Closer"]


class Closer:
    """For all channels of a node; one step per channel at a time."""

    def __init__(
        self,
        store: NodeStore,
        wallet: Wallet,
        chain: Chain,
        *,
        proofs: Proofs | None = None,
        safe_depth: int = SAFE_DEPTH,
        bump_after_blocks: int = 3,
    ) -> None:
        """`safe_depth`: confirmations after which a spend is taken as final. `proofs` are needed
        for channels with tokens.
        """
        proofs = proofs or NoProofs()
        self._store = store
        self._wallet = wallet
        self._chain = chain
        self._proofs = proofs
        self._safe_depth = safe_depth
        self._publisher = Publisher(
            wallet, chain, proofs=proofs, bump_after_blocks=bump_after_blocks
        )

    async def step(
        self,
        channel: Channel,
        *,
        preimages: Mapping[bytes, bytes],
        lock_secrets: Mapping[bytes, Mapping[int, bytes]],
        may_grow: bool = False,
    ) -> CloseProgress:
        """To be called at each new tip, and after each look into the mempool.

        `preimages` by payment hash; `lock_secrets`: book id -> lock -> secret, what was paid
        (and for the payer of scheme seals all). `may_grow`: there may be secrets that are not
        known yet: a claim of tokens waits for them while it can, and so does a settlement.
        The caller changes neither while this runs. Raises `ChainUnavailable`,
        `StoreUnavailable`, `WalletUnavailable`: call again.
        """
        tip = await self._chain.tip()
        spend = await self._chain.outspend(channel.state.config.funding_outpoint)
        if spend is None:
            return await self._unspent(channel, tip)
        close = await self._look(channel.as_it_is(), tip, spend, preimages, lock_secrets)
        await self._publish_commitment(close)
        await self._publish(close, may_grow=may_grow)
        await self._sweep(close, may_grow=may_grow)
        progress = progress_of(close, safe_depth=self._safe_depth)
        if progress.state is CloseState.DONE:
            for own in close.own:
                if all(close.spender(i.outpoint) != own.tx.txid for i in own.tx.inputs):
                    self._publisher.forget(close, own)
        return progress

    async def _unspent(self, channel: Channel, tip: BlockId) -> CloseProgress:
        """A channel that failed has its commitment published until something spends the funding."""
        problems: tuple[str, ...] = ()
        if channel.state.phase is Phase.FAILED:
            spend = ChainSpend(channel.holder_commitment_tx(), 0, None)
            close = await self._look(channel.as_it_is(), tip, spend, {}, {})
            await self._publish_commitment(close)
            problems = tuple(close.problems)
        return CloseProgress(state=CloseState.OPEN, tip_height=tip.height, problems=problems)

    # --- what there is --------------------------------------------------------------------

    async def _look(
        self,
        channel: Channel,
        tip: BlockId,
        spend: ChainSpend,
        preimages: Mapping[bytes, bytes],
        lock_secrets: Mapping[bytes, Mapping[int, bytes]],
    ) -> ClosingChannel:
        kind, onchain = identified(channel, spend.tx, self._store.get)
        observation = Observation(outputs={}, spends={})
        destination_script = b""
        found: tuple[Remedy, ...] = ()
        facts: Facts | None = None
        if kind is not CloseKind.COOPERATIVE:
            destination_script = closing_destination(self._store, self._wallet, channel.channel_id)
            observation = await observe(
                self._chain,
                spend.tx,
                frozen=onchain.built.frozen if onchain else None,
                holder_anchor=holder_anchor(kind),
                destination_script=destination_script,
            )
            facts = Facts(
                confirmed_height=spend.confirmed.height if spend.confirmed else tip.height + 1,
                spends=observation.confirmed(),
                preimages=preimages,
                lock_secrets=lock_secrets,
            )
            if onchain is None:
                found = remedies_without_state(channel, spend.tx, facts)
            else:
                locks = sum(map(len, lock_secrets.values()))
                found = await by_size(locks, remedies, channel, onchain, facts)
        close = ClosingChannel(
            channel=channel,
            tip=tip,
            spend=spend,
            kind=kind,
            onchain=onchain,
            destination_script=destination_script,
            own=OwnTransactions(self._store, channel.channel_id),
            observation=observation,
            facts=facts,
            remedies=found,
        )
        if kind is CloseKind.COOPERATIVE:
            moved = channel.closing_coloured(spend.tx)
            await self._keep(close, [moved.witness] if moved else [])
        if close.tokens_are_stuck:
            close.problem("its tokens cannot be moved; the sats beside them are left with them")
        return close

    async def _keep(self, close: ClosingChannel, proofs: Sequence[WitnessBundle]) -> bool:
        """Before anything is published. What the stash refuses does not hold sats up."""
        try:
            if proofs:
                await self._proofs.keep(*proofs)
        except (RgbError, UnknownContract) as refusal:
            close.problem(f"the proofs of tokens cannot be kept: {refusal}")
            return False
        return True

    # --- complete transactions ------------------------------------------------------------

    async def _publish_commitment(self, close: ClosingChannel) -> None:
        """Ours only, until it is confirmed: the other side's is the other side's cost."""
        if close.kind is not CloseKind.HOLDER or close.spend.confirmed or close.onchain is None:
            return
        frozen = close.onchain.built.frozen
        tx = close.spend.tx
        await self._keep(close, commitment_history(frozen))
        paid = close.channel.state.config.funding_sat - sum(o.value for o in tx.outputs)
        anchor = anchor_handle(close.channel, frozen, holder_anchor(close.kind))
        await self._publisher.support(
            close,
            _complete(tx, "commitment", Sat(paid), close.tip.height),
            handles=[anchor] if anchor else [],
            in_mempool=False,
        )

    async def _publish(self, close: ClosingChannel, *, may_grow: bool) -> None:
        for remedy in close.mature():
            if not isinstance(remedy, Publication):
                continue
            tx = remedy.tx
            own = close.own.get(tx.txid)
            if own is None:
                if may_grow and may_wait(close.channel, remedy, tip_height=close.tip.height):
                    continue
                await self._keep(close, remedy.history)
                fee = close.observation.fee_sat(tx) or Sat(0)
                own = _complete(tx, remedy.purpose, fee, close.tip.height)
                close.own.add(own)
            await self._publisher.support(
                close,
                own,
                handles=_handles(close, tx),
                in_mempool=close.spender(tx.inputs[0].outpoint) == tx.txid,
            )

    # --- transactions of our own making ---------------------------------------------------

    async def _sweep(self, close: ClosingChannel, *, may_grow: bool) -> None:
        wanted = {
            remedy.spend.outpoint: remedy
            for remedy in close.mature()
            if isinstance(remedy, Sweep)
            and is_worth_taking(remedy.spend, FEE_RATE_FLOOR)
            and not (may_grow and may_wait(close.channel, remedy, tip_height=close.tip.height))
        }
        covered = await self._tend(close, wanted)
        open_sweeps = [sweep for outpoint, sweep in wanted.items() if outpoint not in covered]
        if not open_sweeps:
            return
        contestable = close.contestable()
        for batch in batches(
            open_sweeps,
            contested=close.contested(),
            contestable=contestable,
            destination_script=close.destination_script,
        ):
            urgent = any(sweep.spend.outpoint in contestable for sweep in batch)
            rate = await self._publisher.fee_rate(SOON_BLOCKS if urgent else LATER_BLOCKS)
            paying = [sweep for sweep in batch if is_worth_taking(sweep.spend, rate)]
            await self._make(close, paying, rate)

    async def _tend(self, close: ClosingChannel, wanted: Mapping[OutPoint, Sweep]) -> set[OutPoint]:
        """Looks after the transactions made before; returns which outputs they still take."""
        covered: set[OutPoint] = set()
        contested = close.contested()
        confirmed = {o for o, spend in close.observation.spends.items() if spend.confirmed}
        for own in close.own:
            spent = [i.outpoint for i in own.tx.inputs if i.outpoint in close.observation.outputs]
            if any(o in confirmed and close.spender(o) != own.tx.txid for o in spent):
                self._publisher.forget(close, own)
                continue
            if not spent or any(outpoint not in wanted for outpoint in spent):
                continue  # confirmed, or of a branch of the chain that is gone for now
            if len(spent) > 1 and contested.intersection(spent):
                self._publisher.forget(close, own)
                continue
            if any(close.spender(o) not in (None, own.tx.txid) for o in spent) and not (
                contested.intersection(spent)
            ):
                close.own.remove(own)  # killed between a replacement and its bookkeeping
                continue
            covered.update(spent)
            rate = await self._publisher.fee_rate(SOON_BLOCKS)
            sweeps = [wanted[outpoint] for outpoint in spent]
            more = token_sum(sweep.spend for sweep in sweeps) > own.tokens
            rise = self._publisher.raised(
                own,
                rate,
                height=close.tip.height,
                contested=more or bool(contested.intersection(spent)),
                at_once=more,  # what a claim of tokens leaves out is lost
            )
            if rise is not None and await self._make(close, sweeps, rise, replaces=own):
                continue
            if any(close.spender(outpoint) != own.tx.txid for outpoint in spent):
                await self._publisher.broadcast(close, own)
        return covered

    async def _make(
        self,
        close: ClosingChannel,
        sweeps: Sequence[Sweep],
        rate: FeeRate,
        *,
        replaces: OwnTransaction | None = None,
    ) -> bool:
        """Builds, remembers and publishes one transaction; False if it is not in the mempool."""
        if not sweeps:
            return False
        try:
            built = await build_sweep(
                sweeps,
                wallet=self._wallet,
                proofs=self._proofs,
                destination_script=close.destination_script,
                feerate_per_kw=rate,
                coins=self._wallet.own_inputs(replaces.tx) if replaces else (),
            )
        except (SweepTooSmall, InsufficientFunds, TokensWouldBurn) as refusal:
            close.problem(f"{_purpose(sweeps)}: {refusal}")
            return False
        own = OwnTransaction(
            tx=built.tx,
            purpose=_purpose(sweeps),
            fee_sat=built.fee_sat,
            feerate_per_kw=rate,
            built_height=close.tip.height,
            tokens=token_sum(sweep.spend for sweep in sweeps),
        )
        kept = False
        try:
            kept = await self._keep(close, built.proofs)
        finally:
            if not kept:
                self._wallet.release_coins(coin.outpoint for coin in built.added)
        if not kept:
            return False
        close.own.add(own)
        accepted = await self._publisher.broadcast(close, own)
        if replaces is not None:
            loser = replaces if accepted else own
            self._wallet.note_replaced(loser.tx)
            if loser.tx.txid in close.own:
                close.own.remove(loser)
            if not accepted:
                self._wallet.release_coins(coin.outpoint for coin in built.added)
        return accepted


def _handles(close: ClosingChannel, tx: Tx) -> Sequence[Spend]:
    """By which a child can pay for a transaction of ours and the counterparty's."""
    p2a = p2a_spend(tx)
    if p2a is not None:
        return [p2a]
    if close.onchain is None or close.facts is None:
        return []
    return claim_handles(close.channel, close.onchain, close.facts, tx, tip_height=close.tip.height)


def _complete(tx: Tx, purpose: str, fee_sat: Sat, height: int) -> OwnTransaction:
    """One whose fee we cannot choose."""
    return OwnTransaction(
        tx=tx,
        purpose=purpose,
        fee_sat=fee_sat,
        feerate_per_kw=fee_rate_of(fee_sat, tx.weight),
        built_height=height,
    )


def _purpose(sweeps: Sequence[Sweep]) -> str:
    return ", ".join(dict.fromkeys(sweep.purpose for sweep in sweeps))

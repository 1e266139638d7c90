"""The end of the demo's channel: one side publishes its commitment, the nodes do the rest.

The demo only mines. What is published, claimed and refunded is the nodes' own doing.
"""

from lightspeed.cli.demo.house import House, until
from lightspeed.cli.demo.plan import Closer, DemoScheme
from lightspeed.cli.demo.trail import Trail, follow

__all__ = ["Ending"]

_PATIENCE_SECONDS = 60.0
_LAST_BLOCKS = 30
_SEALS_VOUT = 1
"""Of the micropayment transaction of scheme seals."""


class Ending:
    """The steps; each waits for what the nodes have to do, then mines it."""

    def __init__(self, house: House, *, channel_id: str, funding_txid: str, vout: int) -> None:
        self._house = house
        self._channel_id = channel_id
        self._funding_txid = funding_txid
        self._vout = vout
        self._commitment_txid = ""
        self._child_txid = ""

    async def publish_commitment(self) -> int:
        """One node closes without asking the other. Returns the height of the commitment."""
        closer = self._house.nodes[self._house.plan.closer]
        await closer.client.close_channel(self._channel_id, force=True)
        self._commitment_txid = await self._spender(self._funding_txid, self._vout, "commitment")
        return await self._house.mine()

    async def child(self, commitment_height: int) -> int:
        """The payee's node publishes the child as soon as its delay allows. Returns its height."""
        plan = self._house.plan
        delay = 1 if plan.closer is Closer.PAYER else plan.to_self_delay_blocks
        await self._mine_up_to(commitment_height + delay - 1)
        ladder = plan.scheme is DemoScheme.LADDER
        what = "settlement transaction" if ladder else "micropayment transaction"
        self._child_txid = await self._spender(self._commitment_txid, await self._lsf_vout(), what)
        return await self._house.mine()

    async def claims(self, locks: int) -> int:
        """The payee's node claims so many outputs; in blocks until all are confirmed."""
        await self._spent_outputs(locks, "claim of every completed lock")
        return await self._mine_mempool()

    async def claim_of_seals(self) -> int:
        """One transaction for all locks. Returns its height."""
        await self._spender(self._child_txid, _SEALS_VOUT, "claim of every completed lock")
        return await self._mine_mempool()

    async def refunds(self, child_height: int) -> int:
        """Blocks pass until the payer's delay is over; its node takes back the rest."""
        plan = self._house.plan
        await self._mine_up_to(child_height + plan.refund_delay_blocks - 1)
        await self._spent_outputs(plan.locks, "refund of every other lock")
        return await self._mine_mempool()

    async def whole_refund(self, commitment_height: int) -> int:
        """Nothing was paid, so nothing is published; the payer's node takes back the LSF."""
        plan = self._house.plan
        await self._mine_up_to(commitment_height + plan.refund_delay_blocks - 1)
        await self._spender(self._commitment_txid, await self._lsf_vout(), "refund of the LSF")
        return await self._mine_mempool()

    async def settled(self) -> Trail:
        """Mines until nothing of either side waits any more, and follows the money."""
        for _ in range(_LAST_BLOCKS):
            trail = await self.trail()
            if not trail.waiting_sat and trail.confirmed and await self._nodes_are_done():
                return trail
            await self._house.mine()
        return await self.trail()

    async def trail(self) -> Trail:
        """As the chain stands now."""
        return await follow(
            self._house.chain,
            funding_txid=self._funding_txid,
            vout=self._vout,
            scheme=self._house.plan.scheme,
            closed_by=self._house.plan.closer,
        )

    async def _nodes_are_done(self) -> bool:
        for node in self._house.nodes.values():
            views = await node.client.channels()
            if any(v.onchain_state != "done" for v in views if v.channel_id == self._channel_id):
                return False
        return True

    async def _lsf_vout(self) -> int:
        """The commitment's only Taproot output."""
        outputs = (await self._house.chain.transaction(self._commitment_txid))["vout"]
        return next(n for n, out in enumerate(outputs) if out["scriptpubkey_type"] == "v1_p2tr")

    async def _spender(self, txid: str, vout: int, what: str) -> str:
        async def is_spent() -> bool:
            return bool((await self._house.chain.outspends(txid))[vout]["spent"])

        await until(is_spent, what=what, seconds=_PATIENCE_SECONDS)
        return str((await self._house.chain.outspends(txid))[vout]["txid"])

    async def _spent_outputs(self, number: int, what: str) -> None:
        async def are_spent() -> bool:
            spends = await self._house.chain.outspends(self._child_txid)
            spent = sum(bool(s["spent"]) for s in spends[: self._house.plan.locks])
            return spent >= number

        await until(are_spent, what=what, seconds=_PATIENCE_SECONDS)

    async def _mine_up_to(self, height: int) -> None:
        blocks = height - await self._house.chain.height()
        if blocks > 0:
            await self._house.mine(blocks)

    async def _mine_mempool(self) -> int:
        height = await self._house.mine()
        while await self._house.chain.mempool_txids():
            height = await self._house.mine()
        return height

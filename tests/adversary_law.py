"""The law: when the dust has settled, the honest side has at least what it is owed.

    honest    owed                                                     bound
    payee     what it had, what it served, what it was paid by HTLC    the exposure rule's, per book
    payer     all but what it presented and paid by HTLC               none: to the satoshi

Less, for both, the fees of its own transactions; for the payer, who funds the channel, less what
the commitment and the child of each LSF cost. Books in tokens: `adversary_token_law`.
"""

from dataclasses import dataclass

from adversary_machine import Machine
from adversary_token_law import check_tokens
from adversary_token_world import TokenWorld
from adversary_world import Lost, World
from lightspeed.bitcoin import P2A_SCRIPT, Tx
from lightspeed.channel import identify
from lightspeed.channel.commitment import ANCHOR_SAT, is_commitment
from lightspeed.lsf import LsfKey, Party, closed_books
from lightspeed.lsf.child import TOKEN_OUTPUT_SAT

__all__ = ["Account", "account_of", "check_all"]

ROUNDING_SAT = 8
"""Each output of a commitment is cut to whole satoshis."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Of one honest machine, in sat. `due`: what it is owed after its costs."""

    party: Party
    gained: int
    """What its purse gained since the channel was usable."""
    own_fees: int
    """Of the confirmed transactions that it made."""
    common_cost: int
    """Payer only: commitment fee, anchors, child fee and P2A."""
    owed: int
    tolerated: int
    """Payee only: units that could not be enforced yet."""

    @property
    def balance(self) -> int:
        """Above zero: more than it is owed."""
        return self.gained + self.own_fees + self.common_cost - self.owed

    def check(self) -> None:
        """Raises `Lost`."""
        if self.balance < -self.tolerated - ROUNDING_SAT:
            raise Lost(f"{self.party.name.lower()} lost {-self.balance} sat: {self}")


def check_all(world: World) -> list[Account]:
    """Of every honest machine. Raises `Lost`."""
    accounts = [account_of(world, machine) for machine in world.honest]
    for account in accounts:
        account.check()
    if isinstance(world, TokenWorld):
        check_tokens(world)
    return accounts


def account_of(world: World, machine: Machine) -> Account:
    """Once the channel is over."""
    paid_out = _paid_msat(machine) - _received_msat(machine)
    books = {b: use for b, use in world.record.books.items() if not use.terms.asset}
    if machine.party is Party.PAYEE:
        closed = closed_books(machine.channel)
        owed_msat = world.push_sat * 1_000 - paid_out
        owed_msat += sum(use.served_value for use in books.values())
        tolerated_msat = 0
        for book_id, use in books.items():
            unenforced = use.served_value - use.secured_value
            if book_id not in closed:
                tolerated_msat += max(0, min(unenforced, use.exposure_value))
        common = 0
    else:
        owed_msat = (world.funding_sat - world.push_sat) * 1_000 - paid_out
        owed_msat -= sum(use.presented_value for use in books.values())
        tolerated_msat = 0
        common = _common_cost_sat(world, machine)
    owed_msat += world.traded_msat(machine)
    return Account(
        party=machine.party,
        gained=machine.purse.balance().total_sat - world.coins_sat[machine.name],
        own_fees=_own_fees_sat(world, machine),
        common_cost=common,
        owed=owed_msat // 1_000,
        tolerated=tolerated_msat // 1_000,
    )


# --- conventional payments ------------------------------------------------------------------


def _paid_msat(machine: Machine) -> int:
    payments = machine.node.payments.all()
    return sum(payment.amount_msat for payment in payments if payment.state == "paid")


def _received_msat(machine: Machine) -> int:
    """Whose preimage it gave out."""
    return sum(invoice.received_msat for invoice in machine.node.invoices.all() if invoice.paid)


# --- the chain ------------------------------------------------------------------------------


def _own_fees_sat(world: World, machine: Machine) -> int:
    """Of what pays to its purse or from it, but for the channel's own end."""
    scripts, regtest = machine.purse.scripts, world.regtest
    total = 0
    for height in range(world.begun_height + 1, regtest.height + 1):
        for tx in regtest.index.block(height).transactions[1:]:
            if tx.inputs[0].outpoint == world.funding:
                continue
            spent = [regtest.output(txin.outpoint) for txin in tx.inputs]
            outputs = [*tx.outputs, *(output for output in spent if output is not None)]
            if any(output.script in scripts for output in outputs):
                total += sum(output.value for output in spent if output is not None)
                total -= sum(output.value for output in tx.outputs)
    return total


def _common_cost_sat(world: World, machine: Machine) -> int:
    """What the payer's balance pays for what both sides signed."""
    end = world.regtest.outspend(world.funding)
    assert end is not None
    cost = world.funding_sat - sum(output.value for output in end.tx.outputs)
    if not is_commitment(end.tx):
        return cost
    frozen = identify(machine.channel, end.tx, machine.stored_record).built.frozen
    cost += sum(output.value for output in end.tx.outputs if output.value == ANCHOR_SAT)
    for output in frozen.outputs:
        if not isinstance(output.key, LsfKey):
            continue
        spend = world.regtest.outspend(frozen.outpoint(output.key))
        assert spend is not None
        if len(spend.tx.inputs) == 1 and _is_child(spend.tx):
            p2a = sum(o.value for o in spend.tx.outputs if o.script == P2A_SCRIPT)
            cost += output.txout.value - sum(o.value for o in spend.tx.outputs) + p2a
            if world.asset:
                cost += TOKEN_OUTPUT_SAT  # beside the payee's tokens
    return cost


def _is_child(tx: Tx) -> bool:
    """A leaf of both parties and a secret: two signatures, the secret, script, control block."""
    return len(tx.inputs[0].witness) == 5

"""Two nodes over TCP: the conventional payment, its failures, and lost connections."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from lightspeed.bitcoin import Network
from lightspeed.node.errors import InvoiceError, NodeRefusal, NoRoute
from lightspeed.node.invoice_text import encode_invoice
from lightspeed.node.invoices import Invoice
from lightspeed.units import Msat
from node_world import NodeWorld, RunningNode, eventually, node_world


class Pair(NamedTuple):
    world: NodeWorld
    alice: RunningNode
    bob: RunningNode

    async def settled(self) -> None:
        await eventually(lambda: self.alice.settled() and self.bob.settled())

    def forged(self, invoice: Invoice, *, amount_msat: int, payment_secret: bytes) -> str:
        """The same invoice in other words: signed by its payee, as only tests can."""
        return encode_invoice(
            network=Network.REGTEST,
            node_key=self.bob.node.keys.node_key,
            payment_hash=bytes.fromhex(invoice.payment_hash),
            payment_secret=payment_secret,
            amount_msat=Msat(amount_msat),
            description="",
            created_at=invoice.created_at,
            expiry_seconds=3_600,
        )


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with node_world(tmp_path) as world:
        alice, bob = await world.start("alice"), await world.start("bob")
        await world.open_channel(alice, bob)
        yield Pair(world, alice, bob)


async def test_payer_pays_invoice_over_direct_channel(pair: Pair) -> None:
    invoice = pair.bob.node.invoices.create(amount_msat=Msat(50_000_000), description="a call")

    payment = await pair.alice.node.payments.pay(invoice.bolt11)

    assert payment.state == "paid"
    assert payment.preimage == invoice.preimage
    await pair.settled()
    paid = pair.bob.node.invoices.get(bytes.fromhex(invoice.payment_hash))
    assert (paid.paid, paid.received_msat) == (True, 50_000_000)
    assert pair.bob.channel.state.base.holder_msat == 70_000_000
    assert pair.alice.channel.state.base.counterparty_msat == 70_000_000


async def test_invoice_is_paid_at_most_once(pair: Pair) -> None:
    invoice = pair.bob.node.invoices.create(amount_msat=Msat(1_000_000))
    pay = pair.alice.node.payments.pay

    outcomes = await asyncio.gather(
        *(pay(invoice.bolt11) for _ in range(3)), return_exceptions=True
    )

    assert sum(isinstance(outcome, NodeRefusal) for outcome in outcomes) == 2
    with pytest.raises(NodeRefusal, match="is paid"):
        await pay(invoice.bolt11)
    await pair.settled()
    assert pair.bob.channel.state.base.holder_msat == 21_000_000


async def test_wrong_payment_secret_is_failed_and_nothing_moves(pair: Pair) -> None:
    invoice = pair.bob.node.invoices.create(amount_msat=Msat(1_000_000))
    forged = pair.forged(invoice, amount_msat=1_000_000, payment_secret=bytes(32))

    payment = await pair.alice.node.payments.pay(forged)

    assert payment.state == "failed"
    assert payment.failure == "incorrect_or_unknown_payment_details"
    await pair.settled()
    assert pair.bob.channel.state.base.holder_msat == 20_000_000
    assert not pair.bob.node.invoices.get(bytes.fromhex(invoice.payment_hash)).paid


async def test_too_little_is_failed_and_can_be_paid_again(pair: Pair) -> None:
    invoice = pair.bob.node.invoices.create(amount_msat=Msat(1_000_000))
    secret = bytes.fromhex(invoice.payment_secret)
    forged = pair.forged(invoice, amount_msat=999_999, payment_secret=secret)

    failed = await pair.alice.node.payments.pay(forged)
    paid = await pair.alice.node.payments.pay(invoice.bolt11)

    assert (failed.state, paid.state) == ("failed", "paid")


async def test_payer_refuses_what_it_cannot_pay(pair: Pair) -> None:
    create, pay = pair.bob.node.invoices.create, pair.alice.node.payments.pay
    with pytest.raises(NoRoute, match="balance"):
        await pay(create(amount_msat=Msat(2_000_000_000)).bolt11)
    with pytest.raises(InvoiceError, match="does not parse"):
        await pay("lnbcrt1nonsense")
    with pytest.raises(InvoiceError, match="amount"):
        await pay(create(amount_msat=None).bolt11)
    with pytest.raises(InvoiceError, match="our own"):
        await pay(pair.alice.node.invoices.create(amount_msat=Msat(1)).bolt11)
    assert (await pay(create(amount_msat=None).bolt11, amount_msat=Msat(7_000))).state == "paid"
    await pair.settled()
    assert pair.bob.channel.state.base.holder_msat == 20_007_000


async def test_payments_go_on_after_a_killed_connection(pair: Pair) -> None:
    invoices = [pair.bob.node.invoices.create(amount_msat=Msat(1_000_000)) for _ in range(12)]
    pay = pair.alice.node.payments.pay
    payments = [asyncio.create_task(pay(invoice.bolt11)) for invoice in invoices[:8]]
    await eventually(lambda: pair.bob.channel.state.base.htlcs)
    for _ in range(3):
        peer = pair.alice.node.peers.get(pair.bob.node_id)
        if peer is not None:
            peer._connection._writer.transport.abort()
        await eventually(lambda: pair.alice.usable() and pair.bob.usable())
    outcomes = await asyncio.gather(*payments, *(pay(i.bolt11) for i in invoices[8:]))

    assert {payment.state for payment in outcomes} == {"paid"}
    await pair.settled()
    assert pair.bob.channel.state.base.holder_msat == 32_000_000


async def test_channel_survives_a_restart_of_either_node(pair: Pair) -> None:
    for restarted in (pair.alice, pair.bob):
        await restarted.stop()
        await restarted.start()
        if restarted is pair.bob:  # it listens elsewhere now: nobody finds it by itself
            await pair.alice.connect(pair.bob)
        await eventually(lambda: pair.alice.usable() and pair.bob.usable())
        invoice = pair.bob.node.invoices.create(amount_msat=Msat(1_000_000))
        assert (await pair.alice.node.payments.pay(invoice.bolt11)).state == "paid"
    await pair.settled()
    assert pair.bob.channel.state.base.holder_msat == 22_000_000


async def test_counters_tell_what_a_payment_costs(pair: Pair) -> None:
    """Paper 1.2: 6 node messages and 6 signatures of commitments, HTLCs and the invoice."""
    nodes = [pair.alice.node, pair.bob.node]
    before = [node.metrics.snapshot() for node in nodes]
    invoice = pair.bob.node.invoices.create(amount_msat=Msat(1_000_000))
    await pair.alice.node.payments.pay(invoice.bolt11)
    await pair.settled()
    after = [node.metrics.snapshot() for node in nodes]

    def sent(index: int) -> dict[str, int]:
        old = before[index].messages_sent
        pairs = after[index].messages_sent.items()
        return {name: n - old.get(name, 0) for name, n in pairs if n > old.get(name, 0)}

    assert sent(0) == {"UpdateAddHtlc": 1, "CommitmentSigned": 2, "RevokeAndAck": 2}
    assert sent(1) == {"UpdateFulfillHtlc": 1, "CommitmentSigned": 2, "RevokeAndAck": 2}
    signatures = [new.signatures - old.signatures for new, old in zip(after, before, strict=True)]
    # Four commitments, an HTLC on two of them, the invoice.
    assert sum(signatures) == 4 + 2 + 1

"""Whole nodes of ours and wallets of rgb-lib hand tokens to each other, over channels."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightspeed.lsf import Party
from lightspeed.node.tokens.records import TransferState
from lightspeed.payment import Scheme
from lightspeed.rgb import contract_id_text, parse_contract_id
from lightspeed.units import Sat
from node_tokens import SUPPLY, TokenBooks, issued, open_coloured, over, settled
from node_world import NodeWorld, RunningNode, eventually, nodes_on
from rgb_lib_world import RgbLibWallet, RgbLibWorld, rgb_lib_world

IN_CHANNEL, PUSHED = 100_000, 4_000
LOCKS, SETTLED, PAID = 100, 3, 40


@dataclass
class Meeting:
    """Nodes and wallets on one chain, with one proxy."""

    wallets: RgbLibWorld
    nodes: NodeWorld

    async def receive(
        self,
        payee: RunningNode,
        payer: RgbLibWallet,
        *,
        asset_id: str,
        amount: int,
        blinded: bool = False,
    ) -> None:
        """By an invoice of `payee`'s, which names the token if it knows it; settled for both."""
        proxy, contract_id = self.wallets.proxy, parse_contract_id(asset_id)
        invoiced = await payee.node.tokens.receiving.invoice(
            contract_id=contract_id if contract_id in payee.node.stash.contracts else None,
            amount=amount,
            blinded=blinded,
            endpoints=(proxy.endpoint,),
        )
        recipient_id = invoiced.invoice.recipient_id
        self.nodes.mine()
        await payer.pay_invoice(invoiced.text, asset_id=asset_id)
        await eventually(lambda: proxy.acks.get(recipient_id))
        await payer.refresh()  # publishes
        self.nodes.mine()
        await payer.refresh()
        assert await payer.status(recipient_id) == "SETTLED"
        assert payee.node.tokens.receiving.get(invoiced.text).received == amount

    async def send(
        self,
        payer: RunningNode,
        payee: RgbLibWallet,
        *,
        asset_id: str,
        amount: int,
        witness: bool = False,
    ) -> None:
        """By an invoice of `payee`'s; acknowledged and settled."""
        invoice = await payee.invoice(witness=witness)
        sending = asyncio.create_task(
            payer.node.tokens.sending.send(
                invoice.invoice, contract_id=parse_contract_id(asset_id), amount=amount
            )
        )
        await eventually(
            lambda: sending.done() or invoice.recipient_id in self.wallets.proxy.posted
        )
        await payee.refresh()
        sent = await sending
        assert sent.transfer.state == TransferState.PUBLISHED
        assert self.wallets.proxy.acks[invoice.recipient_id]
        self.nodes.mine()
        await payee.refresh()
        assert await payee.status(invoice.recipient_id) == "SETTLED"

    async def spend_all(self, payer: RgbLibWallet, payee: RgbLibWallet, asset_id: str) -> None:
        """Between wallets of rgb-lib."""
        amount, spendable = await payer.balance(asset_id)
        assert amount == spendable > 0
        invoice = await payee.invoice()
        await self.wallets.transfer(payer, payee, invoice, asset_id=asset_id, amount=amount)


@asynccontextmanager
async def meeting(folder: Path) -> AsyncIterator[Meeting]:
    async with (
        rgb_lib_world(folder) as wallets,
        nodes_on(wallets.regtest, wallets.indexer_url, folder / "nodes") as nodes,
    ):
        yield Meeting(wallets, nodes)


async def paid_and_closed(books: TokenBooks, scheme: Scheme, closer: str) -> tuple[int, int]:
    """Calls are paid; some locks are settled in the channel, the others that are paid on chain.

    What payer and payee take out of the channel.
    """
    secret = await books.open_book(scheme=scheme, locks=LOCKS)
    length, amount = secret.book.terms.chain_length, secret.book.terms.lock_amount
    await books.redeem(secret, 1, SETTLED * length)
    await books.payee.node.books.settle_book(secret.book.book_id)
    await eventually(lambda: books.settled(secret) == SETTLED)
    for lock in range(SETTLED, PAID):
        await books.redeem(secret, lock * length + 1, length)

    closing: RunningNode = getattr(books, closer)
    await closing.node.close_channel(closing.channel.channel_id, force=True)
    await over(books)

    unpaid = (LOCKS - PAID) * amount
    lost = unpaid if scheme is Scheme.SEALS else 0  # by a payee that claims
    return IN_CHANNEL - PUSHED - PAID * amount - lost, PUSHED + PAID * amount


@pytest.mark.parametrize(
    ("scheme", "closer"),
    [(Scheme.SEALS, "payee"), (Scheme.LADDER, "payer")],
    ids=["seals", "ladder"],
)
async def test_token_of_rgb_lib_pays_calls_and_comes_back(
    tmp_path: Path, scheme: Scheme, closer: str
) -> None:
    async with meeting(tmp_path) as world:
        issuer, wallet = await world.wallets.wallet("issuer"), await world.wallets.wallet("wallet")
        asset_id = await issuer.issue(SUPPLY)
        contract_id = parse_contract_id(asset_id)
        payer = await world.nodes.start("payer", party=Party.PAYER)
        await payer.fund_wallet()
        payee = await world.nodes.start(
            "payee", party=Party.PAYEE, lightspeed_changes={"tokens": (asset_id,)}
        )
        await payee.fund_wallet()
        await world.receive(payer, issuer, asset_id=asset_id, amount=IN_CHANNEL - 1, blinded=True)
        await world.receive(payer, issuer, asset_id=asset_id, amount=1_001)
        await settled(payer, contract_id, IN_CHANNEL + 1_000)

        await open_coloured(
            payer, payee, contract_id, tokens=IN_CHANNEL, pushed=PUSHED, party=Party.PAYER
        )
        books = TokenBooks(world.nodes, payer, payee, contract_id)
        refunded, claimed = await paid_and_closed(books, scheme, closer)

        await settled(payee, contract_id, claimed)
        await world.send(payee, wallet, asset_id=asset_id, amount=claimed)
        await settled(payer, contract_id, 1_000 + refunded)
        await world.send(payer, issuer, asset_id=asset_id, amount=1_000 + refunded, witness=True)
        await world.spend_all(wallet, issuer, asset_id)
        await world.spend_all(issuer, wallet, asset_id)
        lost = IN_CHANNEL - refunded - claimed
        assert await wallet.balance(asset_id) == (SUPPLY - lost, SUPPLY - lost)


@pytest.mark.parametrize(
    ("scheme", "closer"),
    [(Scheme.SEALS, "payer"), (Scheme.LADDER, "payee")],
    ids=["seals", "ladder"],
)
async def test_token_of_ours_goes_through_rgb_lib_and_comes_back(
    tmp_path: Path, scheme: Scheme, closer: str
) -> None:
    """Its issuer sells it for calls: it goes to a customer's wallet, node, and back."""
    async with meeting(tmp_path) as world:
        wallet, third = await world.wallets.wallet("wallet"), await world.wallets.wallet("third")
        payee = await world.nodes.start("payee", party=Party.PAYEE)
        payer = await world.nodes.start("payer", party=Party.PAYER)
        await payer.fund_wallet()
        contract_id = await issued(payee)
        asset_id = contract_id_text(contract_id)
        sold = IN_CHANNEL + 500
        await world.send(payee, wallet, asset_id=asset_id, amount=sold)
        await world.receive(payer, wallet, asset_id=asset_id, amount=sold)
        await settled(payer, contract_id, sold)

        await open_coloured(
            payer, payee, contract_id, tokens=IN_CHANNEL, pushed=PUSHED, party=Party.PAYER
        )
        books = TokenBooks(world.nodes, payer, payee, contract_id)
        refunded, claimed = await paid_and_closed(books, scheme, closer)

        await settled(payee, contract_id, SUPPLY - sold + claimed)
        everything = SUPPLY - sold + claimed
        await world.send(payee, wallet, asset_id=asset_id, amount=everything, witness=True)
        await settled(payer, contract_id, 500 + refunded)
        await world.send(payer, wallet, asset_id=asset_id, amount=500 + refunded)
        await world.spend_all(wallet, third, asset_id)
        lost = IN_CHANNEL - refunded - claimed
        assert await third.balance(asset_id) == (SUPPLY - lost, SUPPLY - lost)


async def test_tokens_bought_on_chain_pass_a_channel_that_closes_in_agreement(
    tmp_path: Path,
) -> None:
    async with meeting(tmp_path) as world:
        wallet, third = await world.wallets.wallet("wallet"), await world.wallets.wallet("third")
        payee = await world.nodes.start("payee", party=Party.PAYEE)
        payer = await world.nodes.start("payer", party=Party.PAYER)
        await payer.fund_wallet()
        contract_id = await issued(payee)
        asset_id = contract_id_text(contract_id)
        price = Sat(50_000)
        offer = await payee.node.tokens.selling.sell(contract_id, IN_CHANNEL, price_sat=price)
        ordered = await payer.node.tokens.buying.buy(offer.text(), max_price_sat=price)
        await payee.node.tokens.selling.complete(ordered.order.text())
        world.nodes.mine()
        await settled(payer, contract_id, IN_CHANNEL)

        await open_coloured(payer, payee, contract_id, tokens=IN_CHANNEL, party=Party.PAYER)
        books = TokenBooks(world.nodes, payer, payee, contract_id)
        secret = await books.open_book(locks=PAID)
        await books.redeem(secret, 1, secret.book.terms.units)
        await payer.node.close_channel(payer.channel.channel_id)
        await over(books)

        paid = secret.book.terms.locks * secret.book.terms.lock_amount
        for node, amount in ((payer, IN_CHANNEL - paid), (payee, SUPPLY - IN_CHANNEL + paid)):
            await settled(node, contract_id, amount)
            await world.send(node, wallet, asset_id=asset_id, amount=amount)
        await world.spend_all(wallet, third, asset_id)
        assert await third.balance(asset_id) == (SUPPLY, SUPPLY)


async def test_tokens_of_a_revoked_commitment_are_taken_and_spent(tmp_path: Path) -> None:
    """The payee publishes it; the penalty takes both sides' tokens and those of the book."""
    async with meeting(tmp_path) as world:
        wallet, third = await world.wallets.wallet("wallet"), await world.wallets.wallet("third")
        payer = await world.nodes.start("payer", party=Party.PAYER)
        contract_id = await issued(payer)
        asset_id = contract_id_text(contract_id)
        payee = await world.nodes.start(
            "payee", party=Party.PAYEE, lightspeed_changes={"tokens": (asset_id,)}
        )
        await open_coloured(
            payer, payee, contract_id, tokens=IN_CHANNEL, pushed=PUSHED, party=Party.PAYER
        )
        books = TokenBooks(world.nodes, payer, payee, contract_id)
        secret = await books.open_book()
        revoked = payee.channel.holder_commitment_tx()
        await books.redeem(secret, 1, secret.book.terms.chain_length)
        await payee.node.books.settle_book(secret.book.book_id)
        await eventually(lambda: books.settled(secret) == 1)
        await payee.stop()
        world.nodes.nodes.remove(payee)

        world.wallets.regtest.broadcast(revoked)
        for _ in range(20):
            world.nodes.mine()
            await payer.node.watch.look()
        assert payer.driver.record.over
        await settled(payer, contract_id, SUPPLY)
        await world.send(payer, wallet, asset_id=asset_id, amount=SUPPLY)
        await world.spend_all(wallet, third, asset_id)
        assert await third.balance(asset_id) == (SUPPLY, SUPPLY)


async def test_transfer_waits_for_a_payee_that_wants_more_confirmations(tmp_path: Path) -> None:
    """rgb-lib says nothing before all that the tokens rest on is as deep as it asks for."""
    async with meeting(tmp_path) as world:
        wallet, other = await world.wallets.wallet("wallet"), await world.wallets.wallet("other")
        payer = await world.nodes.start("payer")
        contract_id = await issued(payer)
        asset_id = contract_id_text(contract_id)
        await world.send(payer, other, asset_id=asset_id, amount=1)
        invoice = await wallet.invoice(min_confirmations=3, amount=30)
        sent = await payer.node.tokens.sending.send(
            invoice.invoice, contract_id=contract_id, patience_seconds=0
        )
        await wallet.refresh()
        assert await wallet.status(invoice.recipient_id) == "WAITING_SAFE_HEIGHT"
        assert sent.transfer.state == TransferState.WAITING
        world.nodes.mine(2)
        await wallet.refresh()
        txid = sent.transfer.tx.txid
        await eventually(lambda: world.wallets.regtest.transaction(txid))
        world.nodes.mine(3)
        await wallet.refresh()
        assert await wallet.balance(asset_id) == (30, 30)
        sending = payer.node.tokens.sending
        await eventually(lambda: sending.get(txid).state == TransferState.SETTLED)


async def test_rgb_lib_waits_for_a_node_that_wants_more_confirmations(tmp_path: Path) -> None:
    async with meeting(tmp_path) as world:
        issuer, payer = await world.wallets.wallet("issuer"), await world.wallets.wallet("payer")
        asset_id = await issuer.issue(SUPPLY)
        first = await payer.invoice()
        await world.wallets.transfer(issuer, payer, first, asset_id=asset_id, amount=50)
        payee = await world.nodes.start("payee", minimum_depth=3)
        proxy = world.wallets.proxy
        invoiced = await payee.node.tokens.receiving.invoice(endpoints=(proxy.endpoint,))
        recipient_id = invoiced.invoice.recipient_id
        await payer.pay(recipient_id, asset_id=asset_id, amount=50)
        await payee.node.tokens.look()
        assert recipient_id not in proxy.acks
        world.nodes.mine(2)
        await eventually(lambda: recipient_id in proxy.acks)
        assert proxy.acks[recipient_id]
        await payer.refresh()
        world.nodes.mine()
        await payer.refresh()
        assert await payer.status(recipient_id) == "SETTLED"
        await settled(payee, parse_contract_id(asset_id), 50)


async def test_tokens_that_shared_a_coin_are_received_apart(tmp_path: Path) -> None:
    """What rgb-lib sends of one contract moved others too: their bundles share a commitment."""
    async with meeting(tmp_path) as world:
        issuer = await world.wallets.wallet("issuer", coins=1)
        assets = [await issuer.issue(SUPPLY), await issuer.issue(2 * SUPPLY)]
        payee = await world.nodes.start("payee")
        await payee.fund_wallet()
        for amount, asset_id in enumerate(assets, 70):
            await world.receive(payee, issuer, asset_id=asset_id, amount=amount, blinded=True)
            await settled(payee, parse_contract_id(asset_id), amount)
        for amount, asset_id in enumerate(assets, 70):
            await world.send(payee, issuer, asset_id=asset_id, amount=amount)
            total = SUPPLY * (1 + assets.index(asset_id))
            assert await issuer.balance(asset_id) == (total, total)

"""Tokens paid to invoices: nothing is published before the payee knows of it, nothing is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lightspeed.bitcoin import FeeRate, Tx, txid_from_hex
from lightspeed.channel import sweep_transaction
from lightspeed.node.errors import (
    ConsignmentRefused,
    InsufficientFunds,
    InvoiceError,
    NodeRefusal,
    NotFound,
    ProxyUnavailable,
)
from lightspeed.node.tokens import Sent, Transfer
from lightspeed.rgb import (
    AssetSpec,
    ChainNet,
    Consignment,
    InvalidConsignment,
    NotEnoughTokens,
    RgbFormatError,
    TokenInvoice,
    WitnessOutput,
    contract_id_text,
)
from lightspeed.units import Sat
from node_world import eventually
from rgb_proxy import RgbProxy
from token_world import TokenParty, TokenWorld, token_world

SPEC = AssetSpec(ticker="CALL", name="Calls", precision=2)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TokenWorld]:
    async with token_world(tmp_path) as world:
        yield world


@pytest.fixture
async def proxy() -> AsyncIterator[RgbProxy]:
    proxy = RgbProxy()
    async with proxy.serving():
        yield proxy


@pytest.fixture
async def alice(world: TokenWorld) -> TokenParty:
    party = world.party("alice")
    await party.fund(100_000)
    return party


@pytest.fixture
async def contract_id(world: TokenWorld, alice: TokenParty) -> bytes:
    found = await alice.tokens.issue(SPEC, 1_000)
    await world.mine()
    return found


@pytest.fixture
async def bob(world: TokenWorld) -> TokenParty:
    party = world.party("bob")
    await party.fund(50_000)
    return party


def _known(world: TokenWorld, transfer: Transfer) -> bool:
    return world.regtest.transaction(txid_from_hex(transfer.txid)) is not None


async def _balances(contract_id: bytes, *parties: TokenParty) -> list[int]:
    return [(await party.tokens.balance(contract_id)).settled for party in parties]


async def _send(party: TokenParty, text: str, **wanted: object) -> Sent:
    return await party.tokens.sending.send(text, patience_seconds=0.0, **wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("blinded", [True, False])
async def test_payee_speaks_before_the_payer_publishes(
    world: TokenWorld,
    alice: TokenParty,
    bob: TokenParty,
    contract_id: bytes,
    proxy: RgbProxy,
    *,
    blinded: bool,
) -> None:
    invoice = await bob.tokens.receiving.invoice(
        amount=300, blinded=blinded, endpoints=(proxy.endpoint,)
    )
    await world.mine()
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    assert sent.transfer.state == "waiting"
    assert not _known(world, sent.transfer)
    await alice.tokens.look()
    assert not _known(world, sent.transfer)
    await bob.tokens.look()
    await alice.tokens.look()
    assert _known(world, sent.transfer)
    assert (await bob.tokens.balance(contract_id)).pending in (0, 300)  # bob's wallet syncs later
    await world.mine()
    assert await _balances(contract_id, alice, bob) == [700, 300]
    await world.mine(6)
    await alice.tokens.look()
    assert alice.tokens.sending.all()[-1].state == "settled"
    assert not alice.tokens.sending.busy
    assert not bob.tokens.receiving.busy

    back = await alice.tokens.receiving.invoice(contract_id=contract_id)
    returned = await _send(bob, back.text, amount=300)
    assert returned.transfer.state == "published"
    found = await alice.tokens.receiving.accept(returned.consignment)
    assert found.amount == 300
    await world.mine()
    assert await _balances(contract_id, alice, bob) == [1_000, 0]


async def test_both_looks_run_by_themselves(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    invoice = await bob.tokens.receiving.invoice(amount=5, endpoints=(proxy.endpoint,))
    bob.tokens.start()
    sent = await alice.tokens.sending.send(
        invoice.text, contract_id=contract_id, patience_seconds=20
    )
    assert sent.transfer.state == "published"
    assert await eventually(lambda: not bob.tokens.receiving.busy)
    await world.mine()
    assert await _balances(contract_id, bob) == [5]


async def test_payer_does_not_pay_what_the_payee_refuses(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    """Too few tokens, though the consignment is valid: the payee's word is no."""
    invoice = await bob.tokens.receiving.invoice(amount=300, endpoints=(proxy.endpoint,))
    less = str(replace(invoice.invoice, amount=299))
    sent = await _send(alice, less, contract_id=contract_id)
    await bob.tokens.look()
    (record,) = bob.tokens.receiving.all()
    assert record.reason == "299 tokens where 300 are asked for"
    await alice.tokens.look()
    (transfer,) = alice.tokens.sending.all()
    assert (transfer.state, transfer.reason) == ("failed", "the payee refuses the consignment")
    assert not _known(world, sent.transfer)
    assert not alice.wallet.reserved() & alice.wallet.unspent()
    assert (await _send(alice, invoice.text, contract_id=contract_id)).transfer.state == "waiting"


async def test_waiting_transfer_can_be_cancelled_and_a_published_one_not(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    invoice = await bob.tokens.receiving.invoice(amount=300, endpoints=(proxy.endpoint,))
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    assert (await alice.tokens.balance(contract_id)).reserved == 1_000
    txid = txid_from_hex(sent.transfer.txid)
    cancelled = await alice.tokens.sending.cancel(txid)
    assert cancelled.state == "failed"
    with pytest.raises(NodeRefusal, match="no invoice was paid"):
        alice.tokens.sending.consignment(txid)
    assert (await alice.tokens.balance(contract_id)).reserved == 0
    await bob.tokens.look()  # says yes, too late
    await alice.tokens.look()
    assert not _known(world, sent.transfer)
    paid = await _send(alice, invoice.text, contract_id=contract_id, at_once=True)
    with pytest.raises(NodeRefusal, match="published"):
        await alice.tokens.sending.cancel(txid_from_hex(paid.transfer.txid))
    with pytest.raises(NotFound):
        await alice.tokens.sending.cancel(bytes(32))


async def test_crash_before_the_word_loses_nothing(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    invoice = await bob.tokens.receiving.invoice(
        amount=300, blinded=True, endpoints=(proxy.endpoint,)
    )
    await world.mine()
    await _send(alice, invoice.text, contract_id=contract_id)
    alice.reopen()
    bob.reopen()
    with pytest.raises(NotEnoughTokens):  # reserved over the restart
        await _send(
            alice,
            str(
                replace(
                    invoice.invoice, amount=1, beneficiary=WitnessOutput(bob.wallet.new_script())
                )
            ),
            contract_id=contract_id,
        )
    await bob.tokens.look()
    bob.reopen()
    await alice.tokens.look()
    alice.reopen()
    await world.mine()
    assert await _balances(contract_id, alice, bob) == [700, 300]
    assert await alice.wallet.small_coin(Sat(5_000)) is None
    assert await bob.wallet.small_coin(Sat(5_000)) is None


async def test_transfer_that_was_never_posted_is_undone(
    alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    invoice = await bob.tokens.receiving.invoice(amount=300, endpoints=(proxy.endpoint,))
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    alice.store.apply([replace(sent.transfer, endpoint=None).put])  # the node dies before
    alice.reopen()
    await alice.tokens.look()
    (transfer,) = alice.tokens.sending.all()
    assert transfer.state == "failed"
    assert not alice.wallet.reserved() & alice.wallet.unspent()


async def test_transfer_is_published_again_until_it_is_mined(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes
) -> None:
    invoice = await bob.tokens.receiving.invoice(contract_id=None, amount=300)
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    await bob.tokens.receiving.accept(sent.consignment)
    await world.mine()
    world.regtest.reorganise(1)
    await alice.tokens.look()
    assert (await alice.tokens.balance(contract_id)).settled == 0
    await world.mine(2)
    assert await _balances(contract_id, alice, bob) == [700, 300]


async def test_transfer_that_lost_its_coin_is_given_up(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    """The same seed may run elsewhere: what it spent is not waited for for ever."""
    invoice = await bob.tokens.receiving.invoice(amount=300)
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    spends = alice.wallet.own_inputs(sent.transfer.tx)
    rival = sweep_transaction(
        spends, destination_script=alice.wallet.new_script(), feerate_per_kw=FeeRate(1_000)
    )
    await alice.publish(rival)
    await world.mine(1)
    await alice.tokens.look()
    assert alice.tokens.sending.busy
    await world.mine(6)
    await alice.tokens.look()
    (transfer,) = alice.tokens.sending.all()
    assert (transfer.state, transfer.reason) == (
        "failed",
        "a coin of it was spent by another transaction",
    )


async def test_background_leaves_a_transfer_alone_that_is_being_posted(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    invoice = await bob.tokens.receiving.invoice(amount=300, endpoints=(proxy.endpoint,))
    sending = asyncio.create_task(_send(alice, invoice.text, contract_id=contract_id))
    while not sending.done():
        await alice.tokens.look()
        await asyncio.sleep(0)
    assert (await sending).transfer.state == "waiting"
    assert (await alice.tokens.balance(contract_id)).reserved == 1_000


async def test_background_sees_what_was_posted_while_it_asked_for_another(
    world: TokenWorld,
    alice: TokenParty,
    bob: TokenParty,
    contract_id: bytes,
    proxy: RgbProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await alice.fund(50_000)
    other = await alice.tokens.issue(SPEC, 1_000)
    await world.mine()
    invoices = [
        await bob.tokens.receiving.invoice(amount=300, endpoints=(proxy.endpoint,))
        for _ in range(2)
    ]
    await _send(alice, invoices[0].text, contract_id=contract_id)
    world.now += 1  # the background sees to the older one first
    proxies, asking, posted = alice.tokens.sending._proxies, asyncio.Event(), asyncio.Event()
    acknowledged, post = proxies.acknowledged, proxies.post

    async def ask(*of: str) -> bool | None:
        asking.set()
        await posted.wait()
        return await acknowledged(*of)

    async def post_late(*what: object) -> None:
        background.append(asyncio.create_task(alice.tokens.look()))
        await asking.wait()
        await post(*what)  # type: ignore[arg-type]

    background: list[asyncio.Task[None]] = []
    monkeypatch.setattr(proxies, "acknowledged", ask)
    monkeypatch.setattr(proxies, "post", post_late)
    await _send(alice, invoices[1].text, contract_id=other)
    posted.set()
    await asyncio.gather(*background)

    assert [each.state for each in alice.tokens.sending.all()] == ["waiting", "waiting"]


async def test_coin_of_a_seal_is_not_taken_by_a_payment_meanwhile(
    world: TokenWorld, bob: TokenParty
) -> None:
    """Payments choose their coins in another thread."""
    await bob.fund(2_000, 50_000)

    async def pay() -> None:
        with contextlib.suppress(InsufficientFunds):
            tx = await bob.wallet.fund(
                bob.wallet.new_script(), Sat(1_000), feerate_per_kw=FeeRate(253)
            )
            assert not any(bob.tokens.receiving.keeps_apart(i.outpoint, b"") for i in tx.inputs)

    records = await asyncio.gather(pay(), bob.tokens.receiving.invoice(blinded=True), pay())
    seal = records[1].graph_seal  # type: ignore[union-attr]
    assert seal is not None
    coin = seal.outpoint(b"")
    assert bob.tokens.receiving.keeps_apart(coin, b"")
    assert coin not in bob.wallet.reserved()


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://a/b",
        "rpc://",
        "rpc:///b",
        "rpc://[a",
        "rpc://a b",
        "rpc://a:x",
        "rpc://a:65536",
        "a",
    ],
)
async def test_invoice_names_no_endpoint_that_cannot_be_one(bob: TokenParty, endpoint: str) -> None:
    with pytest.raises(InvoiceError, match="rpc://host:port/path"):
        await bob.tokens.receiving.invoice(endpoints=(endpoint,))


async def test_dead_endpoint_sends_nothing(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    dead = "rpc://127.0.0.1:1/json-rpc"
    invoice = await bob.tokens.receiving.invoice(amount=300, endpoints=(dead,))
    with pytest.raises(ProxyUnavailable):
        await _send(alice, invoice.text, contract_id=contract_id, at_once=True)
    (transfer,) = alice.tokens.sending.all()
    assert transfer.state == "failed"
    assert not _known(world, transfer)
    assert not alice.wallet.reserved() & alice.wallet.unspent()
    await bob.tokens.look()  # a proxy that does not answer is no reason to stop
    both = await bob.tokens.receiving.invoice(amount=300, endpoints=(dead, proxy.endpoint))
    assert (await _send(alice, both.text, contract_id=contract_id)).transfer.endpoint == (
        proxy.endpoint
    )


@pytest.mark.parametrize("blinded", [True, False])
async def test_consignment_that_was_lost_is_made_again(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, *, blinded: bool
) -> None:
    """The file may never have been written: the node was killed, or the disk was full."""
    invoice = await bob.tokens.receiving.invoice(blinded=blinded)
    await world.mine()
    sent = await _send(alice, invoice.text, contract_id=contract_id, amount=300)
    await world.mine(2)
    alice.reopen()
    again = alice.tokens.sending.consignment(txid_from_hex(sent.transfer.txid))
    assert (await bob.tokens.receiving.accept(again)).amount == 300
    await world.mine()
    assert await _balances(contract_id, alice, bob) == [700, 300]
    with pytest.raises(NotFound):
        alice.tokens.sending.consignment(bytes(32))


async def test_invoice_is_paid_once_and_as_it_asks(
    alice: TokenParty, bob: TokenParty, contract_id: bytes, world: TokenWorld
) -> None:
    with pytest.raises(NotFound):
        await bob.tokens.receiving.invoice(contract_id=contract_id)  # not known to bob yet
    await bob.tokens.receiving.accept(await alice.tokens.exported(contract_id, holdings=False))
    invoice = await bob.tokens.receiving.invoice(contract_id=contract_id, amount=300)
    for wanted in ({"amount": 299}, {"contract_id": bytes(32)}):
        with pytest.raises(InvoiceError, match="asks for another"):
            await _send(alice, invoice.text, **wanted)
    opened = replace(invoice.invoice, amount=None)
    with pytest.raises(InvoiceError, match="leaves the amount open"):
        await _send(alice, str(opened))
    with pytest.raises(NotEnoughTokens):
        await _send(alice, str(opened), amount=1_001)
    foreign = replace(invoice.invoice, chain_net=ChainNet.BITCOIN_TESTNET4)
    with pytest.raises(InvoiceError, match="another chain"):
        await _send(alice, str(foreign))
    with pytest.raises(InvoiceError, match="expired"):
        await _send(alice, str(replace(invoice.invoice, expiry=int(world.now))))
    with pytest.raises(InvoiceError):
        await _send(alice, "lnbcrt1...")
    await _send(alice, invoice.text)
    with pytest.raises(InvoiceError, match="paid already"):
        await _send(alice, invoice.text)


async def test_consignments_that_are_not_for_us_are_refused(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes
) -> None:
    carol = world.party("carol")
    invoice = await bob.tokens.receiving.invoice(amount=300)
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    with pytest.raises(ConsignmentRefused, match="for an invoice of this node"):
        await carol.tokens.receiving.accept(sent.consignment)
    with pytest.raises(ConsignmentRefused, match="on a coin of this node"):
        await carol.tokens.receiving.accept(sent.consignment, any_coin=True)
    assert carol.stash.contracts == ()
    with pytest.raises(RgbFormatError):
        await bob.tokens.receiving.accept(sent.consignment[:-1])
    broken = Consignment.parse(sent.consignment)
    (bundle,) = broken.bundles
    assert isinstance(bundle.witness, Tx)
    stolen = replace(bundle.witness, outputs=bundle.witness.outputs[1:])
    for bad in (replace(bundle, witness=stolen), replace(bundle, witness=bytes(32))):
        with pytest.raises(InvalidConsignment):
            await bob.tokens.receiving.accept(replace(broken, bundles=(bad,)).serialize())
    assert bob.stash.contracts == ()
    assert (await bob.tokens.receiving.accept(sent.consignment)).amount == 300
    assert (await bob.tokens.receiving.accept(sent.consignment)).amount == 300  # and again


async def test_history_that_is_not_mined_is_not_accepted(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes
) -> None:
    """Only the last transaction may be: what it rests on could be replaced for nothing."""
    first = await _send(
        alice, (await bob.tokens.receiving.invoice(amount=1_000)).text, contract_id=contract_id
    )
    await bob.tokens.receiving.accept(first.consignment)
    await world.mine()
    second = await _send(
        bob, (await alice.tokens.receiving.invoice(amount=9)).text, contract_id=contract_id
    )
    world.regtest.reorganise(1)
    with pytest.raises(ConsignmentRefused, match="not 1 blocks deep"):
        await alice.tokens.receiving.accept(second.consignment)


async def test_payee_says_nothing_of_a_history_that_waits_for_blocks(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, proxy: RgbProxy
) -> None:
    """A refusal would be for good, and the payer's transfer would fail."""
    first = await _send(
        alice, (await bob.tokens.receiving.invoice(amount=1_000)).text, contract_id=contract_id
    )
    await bob.tokens.receiving.accept(first.consignment)
    await world.mine()
    invoice = await alice.tokens.receiving.invoice(amount=9, endpoints=(proxy.endpoint,))
    await _send(bob, invoice.text, contract_id=contract_id)
    world.regtest.reorganise(1)
    for _ in range(2):
        await alice.tokens.look()
        assert proxy.acks == {}
        assert alice.tokens.receiving.get(invoice.text).reason is None
    await world.mine()
    await alice.tokens.look()
    assert proxy.acks == {invoice.invoice.recipient_id: True}


async def test_coins_of_invoices_are_kept_until_some_time_after_their_expiry(
    world: TokenWorld, bob: TokenParty
) -> None:
    await bob.tokens.receiving.invoice(blinded=True, expiry_seconds=60)
    await world.mine()
    assert await bob.wallet.small_coin(Sat(5_000)) is None
    await bob.tokens.receiving.invoice(blinded=True, expiry_seconds=60)
    await world.mine()
    bob.reopen()
    assert await bob.wallet.small_coin(Sat(5_000)) is None
    world.now += 60 + 86_400
    assert await bob.wallet.small_coin(Sat(5_000)) is not None


async def test_output_that_an_invoice_asked_for_is_not_spent_before_its_consignment_comes(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes
) -> None:
    invoice = await bob.tokens.receiving.invoice(amount=300)
    await _send(alice, invoice.text, contract_id=contract_id)
    await world.mine()
    assert bob.wallet.balance().confirmed_sat == 51_000
    assert bob.wallet.spendable_sat() == 50_000


async def test_contract_and_holdings_are_exported_and_imported(
    world: TokenWorld, alice: TokenParty, bob: TokenParty, contract_id: bytes, tmp_path: Path
) -> None:
    """A lost store is replaced from exports, and the coins from the seed."""
    invoice = await bob.tokens.receiving.invoice(amount=300)
    sent = await _send(alice, invoice.text, contract_id=contract_id)
    await bob.tokens.receiving.accept(sent.consignment)
    await world.mine()
    backup = await bob.tokens.exported(contract_id, holdings=True)
    bob.close()
    (bob.folder / "node.sqlite").unlink()
    bob.open()
    assert bob.stash.contracts == ()
    assert (await bob.tokens.receiving.accept(backup, any_coin=True)).amount == 300
    assert await _balances(contract_id, bob) == [300]
    assert bob.wallet.spendable_sat() == 50_000
    text = (await bob.tokens.receiving.invoice(contract_id=contract_id)).text
    assert contract_id_text(contract_id).removeprefix("rgb:") in text
    assert TokenInvoice.parse(text).contract_id == contract_id


async def test_proxy_may_say_anything(bob: TokenParty) -> None:
    from aiohttp import web

    answers = [
        b"",
        b"[]",
        b"{}",
        b'{"result": 5}',
        b'{"result": {"consignment": "?", "txid": "00"}}',
        b'{"result": {"consignment": "", "txid": 5, "vout": "x"}}',
        b'{"error": 5}',
        b'{"error": {"code": -1, "message": ["x"]}}',
        b"[" * 100_000,
    ]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=answers[0])

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        await bob.tokens.receiving.invoice(endpoints=(f"rpc://127.0.0.1:{port}/",))
        while answers:
            await bob.tokens.look()
            answers.pop(0)
            if not answers:
                break
    finally:
        await runner.cleanup()
    (record,) = bob.tokens.receiving.all()
    assert (record.received, record.reason) == (0, None)
    await asyncio.sleep(0)

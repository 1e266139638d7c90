"""The Esplora client believes nothing that contradicts itself, and survives a lost server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lightspeed.bitcoin import OutPoint, txid_hex
from lightspeed.chain import (
    BroadcastRefused,
    ChainUnavailable,
    EsploraChain,
    LocalChain,
    Regtest,
)
from lightspeed.chain import esplora_server as server_module
from lightspeed.chain.esplora_server import serving

Answers = dict[str, tuple[int, str | bytes]]


@asynccontextmanager
async def _lying(
    regtest: Regtest, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EsploraChain]:
    """A client of a server that gives these answers, by path, instead of true ones."""
    honest = server_module.create_app

    def create(regtest: Regtest) -> ASGIApp:
        truth = honest(regtest)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            said = answers.get(scope["path"])
            answer = truth if said is None else PlainTextResponse(said[1], status_code=said[0])
            await answer(scope, receive, send)

        return app

    monkeypatch.setattr(server_module, "create_app", create)
    async with serving(regtest) as url, EsploraChain(url) as chain:
        yield chain


async def test_senseless_tip_is_no_tip(regtest: Regtest, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Answers = {}
    async with _lying(regtest, answers, monkeypatch) as chain:
        for said in (
            (500, "internal"),
            (429, "slow down"),
            (404, "Block not found"),
            (200, ""),
            (200, "zz" * 32),
            (200, "00" * 31),
            (200, "11" * 32),
            (200, b"\xff\xfe"),
        ):
            answers["/blocks/tip/hash"] = said
            with pytest.raises(ChainUnavailable):
                await chain.tip()


async def test_header_of_another_block_is_refused(
    regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = regtest.tip
    other = regtest.index.block(5).header.serialize().hex()
    path = f"/block/{txid_hex(tip.hash)}/header"
    answers: Answers = {}
    async with _lying(regtest, answers, monkeypatch) as chain:
        for said in (other, "", "00" * 80, "x"):
            answers[path] = (200, said)
            with pytest.raises(ChainUnavailable):
                await chain.tip()


async def test_tip_without_a_height_is_refused(
    regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Answers = {}
    path = f"/block/{txid_hex(regtest.tip.hash)}"
    async with _lying(regtest, answers, monkeypatch) as chain:
        for height in ("-1", '"7"', "true", "7.0", "1e3", str(1 << 64)):
            answers[path] = (200, f'{{"height": {height}}}')
            with pytest.raises(ChainUnavailable):
                await chain.tip()
        for said in ("{}", "[]", ""):
            answers[path] = (200, said)
            with pytest.raises(ChainUnavailable):
                await chain.tip()
        answers[path] = (404, "")
        with pytest.raises(ChainUnavailable):
            await chain.tip()


async def test_height_follows_from_the_links_not_from_what_is_stated(
    regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Answers = {}
    async with _lying(regtest, answers, monkeypatch) as chain:
        await chain.tip()
        regtest.mine(2)
        answers[f"/block/{txid_hex(regtest.tip.hash)}"] = (200, '{"height": 900}')
        assert await chain.tip() == regtest.tip


async def test_other_transaction_than_asked_for_is_refused(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = purse.spend(purse.coin()), purse.spend(purse.coin())
    regtest.broadcast(one)
    path = f"/tx/{txid_hex(one.txid)}/raw"
    answers: Answers = {}
    async with _lying(regtest, answers, monkeypatch) as chain:
        for said in (two.serialize(), one.serialize() + b"\x00", b""):
            answers[path] = (200, said)
            with pytest.raises(ChainUnavailable):
                await chain.transaction(one.txid)


async def test_spend_that_does_not_spend_is_refused(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    coin, other = purse.coin(), purse.coin()
    spender = purse.spend(other)
    regtest.broadcast(spender)
    said = (
        f'{{"spent": true, "txid": "{txid_hex(spender.txid)}", "vin": VIN,'
        ' "status": {"confirmed": false}}'
    )
    path = f"/tx/{txid_hex(coin.txid)}/outspend/{coin.vout}"
    answers: Answers = {}
    async with _lying(regtest, answers, monkeypatch) as chain:
        for vin in ("0", "1", "-1", "null", '"0"', "true"):
            answers[path] = (200, said.replace("VIN", vin))
            with pytest.raises(ChainUnavailable):
                await chain.outspend(coin)


async def test_senseless_fee_estimate_is_refused(
    regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Answers = {}
    senseless = ["[]", "{", '{"six": 1}', '{"6": -1}', '{"6": NaN}', '{"6": null}', "[" * 100_000]
    senseless += ['{"6": 1e999}', f'{{"6": 1{"0" * 400}}}']
    async with _lying(regtest, answers, monkeypatch) as chain:
        for said in senseless:
            answers["/fee-estimates"] = (200, said)
            with pytest.raises(ChainUnavailable):
                await chain.fee_rate(6)


async def test_fee_rate_takes_the_target_asked_for(
    regtest: Regtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = '{"2": 40.0, "6": 20.0, "144": 2.0}'
    async with _lying(regtest, {"/fee-estimates": (200, said)}, monkeypatch) as chain:
        rates = [await chain.fee_rate(target) for target in (1, 2, 5, 6, 143, 144, 1_008)]
    assert rates == [10_000, 10_000, 10_000, 5_000, 5_000, 500, 500]


async def test_server_without_packages_gets_the_transactions_one_by_one(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = purse.spend(purse.coin())
    child = purse.spend(parent.outpoint(0), parents=(parent,))
    async with _lying(regtest, {"/txs/package": (404, "")}, monkeypatch) as chain:
        await chain.broadcast_package([parent, child])
    assert len(regtest.mempool) == 2


async def test_reason_is_read_from_the_refusal(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc_error = "sendrawtransaction RPC error: "
    answers: Answers = {}
    tx = purse.spend(purse.coin())
    async with _lying(regtest, answers, monkeypatch) as chain:
        for body, reason in (
            (rpc_error + '{"code":-26,"message":"dust, more"}', "dust"),
            (rpc_error + '{"code":-25, "message": "TRUC-violation"}', "TRUC-violation"),
            ("plain words", "plain words"),
        ):
            answers["/tx"] = (400, body)
            with pytest.raises(BroadcastRefused) as refused:
                await chain.broadcast(tx)
            assert refused.value.reason == reason
        answers["/tx"] = (502, "bad gateway")
        with pytest.raises(ChainUnavailable):
            await chain.broadcast(tx)


async def test_confirmed_and_spent_transaction_is_no_refusal(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitcoin Core has forgotten it by then and speaks of missing inputs."""
    known, unknown = purse.spend(purse.coin()), purse.spend(purse.coin())
    regtest.mine_block([known])
    body = '{"code":-25,"message":"bad-txns-inputs-missingorspent"}'
    async with _lying(regtest, {"/tx": (400, body)}, monkeypatch) as chain:
        await chain.broadcast(known)
        with pytest.raises(BroadcastRefused):
            await chain.broadcast(unknown)


async def test_package_verdict_names_the_cause_and_not_what_follows_from_it(
    regtest: Regtest, purse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        '{"package_msg": "transaction failed", "tx-results": {'
        '"a": {"txid": "00", "error": "bad-txns-inputs-missingorspent"},'
        '"b": {"txid": "01", "error": "min relay fee not met, 0 < 100"}}}'
    )
    async with _lying(regtest, {"/txs/package": (200, body)}, monkeypatch) as chain:
        with pytest.raises(BroadcastRefused) as refused:
            await chain.broadcast_package([purse.spend(purse.coin())])
    assert refused.value.reason == "min relay fee not met"


async def test_server_that_is_away_is_unavailable_and_comes_back(regtest: Regtest) -> None:
    async with serving(regtest) as url:
        port = int(url.rpartition(":")[2])
        chain = EsploraChain(url)
        assert await chain.tip() == regtest.tip
    for question in (
        chain.tip(),
        chain.block_id(1),
        chain.transaction(bytes(32)),
        chain.outspend(OutPoint(bytes(32), 0)),
        chain.outspends(bytes(32)),
        chain.fee_rate(6),
        chain.broadcast(regtest.index.block(1).transactions[0]),
    ):
        with pytest.raises(ChainUnavailable):
            await question
    regtest.mine()
    async with serving(regtest, port=port):
        assert await chain.tip() == regtest.tip
        await chain.close()


async def test_new_chain_behind_the_same_address_is_followed() -> None:
    first, second = Regtest(), Regtest(clock=lambda: 1_700_000_000, initial_blocks=250)
    async with serving(first) as url:
        port = int(url.rpartition(":")[2])
        chain = EsploraChain(url)
        assert await chain.tip() == await LocalChain(first).tip()
    async with serving(second, port=port):
        assert await chain.tip() == await LocalChain(second).tip()
        await chain.close()

"""The Esplora API answers in Blockstream's format, and the controls do what they say."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from judge import root_by_branch
from lightspeed.bitcoin import (
    P2A_SCRIPT,
    Block,
    BlockHeader,
    Network,
    Op,
    Reader,
    Tx,
    TxOut,
    address_of_script,
    op_return,
    p2wsh,
    script,
    sha256,
    sha256d,
    txid_from_hex,
    txid_hex,
)
from lightspeed.chain import Regtest
from lightspeed.chain.esplora_server import create_app, run, serving
from lightspeed.errors import LocalError
from lightspeed.units import Sat

TARGET = p2wsh(b"\x51")
ADDRESS = address_of_script(TARGET, Network.REGTEST)


class _Api:
    """Asks the application without a socket."""

    def __init__(self, regtest: Regtest) -> None:
        transport = httpx.ASGITransport(create_app(regtest))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://regtest")

    async def json(self, path: str) -> Any:
        answer = await self._client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    async def text(self, path: str, *, status: int = 200) -> str:
        answer = await self._client.get(path)
        assert answer.status_code == status, (path, answer.text)
        return answer.text

    async def raw(self, path: str) -> bytes:
        return (await self._client.get(path)).content

    async def post(self, path: str, *, status: int = 200, **sent: Any) -> Any:
        answer = await self._client.post(path, **sent)
        assert answer.status_code == status, (path, answer.text)
        is_json = answer.headers["content-type"].startswith("application/json")
        return answer.json() if is_json else answer.text


@pytest.fixture
def api(regtest: Regtest) -> _Api:
    return _Api(regtest)


# --- blocks -------------------------------------------------------------------------------


async def test_block_is_told_in_all_its_forms(api: _Api, regtest: Regtest, purse: Any) -> None:
    tx = purse.spend(purse.coin())
    regtest.broadcast(tx)
    regtest.mine()
    height = regtest.height
    block_hash = await api.text("/blocks/tip/hash")
    assert await api.text("/blocks/tip/height") == str(height)
    assert await api.text(f"/block-height/{height}") == block_hash
    raw = await api.raw(f"/block/{block_hash}/raw")
    block = Block.parse(raw)
    assert txid_hex(block.hash) == block_hash
    assert await api.text(f"/block/{block_hash}/header") == raw[:80].hex()
    told = await api.json(f"/block/{block_hash}")
    assert told == {
        "id": block_hash,
        "height": height,
        "version": 0x20000000,
        "timestamp": block.header.time,
        "tx_count": 2,
        "size": len(raw),
        "weight": 3 * (len(raw) - _witness_size(block)) + len(raw),
        "merkle_root": txid_hex(block.header.merkle_root),
        "previousblockhash": await api.text(f"/block-height/{height - 1}"),
        "mediantime": regtest.index.median_time_past(height),
        "nonce": block.header.nonce,
        "bits": 0x207FFFFF,
        "difficulty": pytest.approx(4.656e-10, rel=1e-3),
    }
    txids = [txid_hex(tx.txid) for tx in block.transactions]
    assert await api.json(f"/block/{block_hash}/txids") == txids
    assert await api.text(f"/block/{block_hash}/txid/1") == txids[1]
    assert [tx["txid"] for tx in await api.json(f"/block/{block_hash}/txs")] == txids
    assert await api.json(f"/block/{block_hash}/status") == {
        "in_best_chain": True,
        "height": height,
        "next_best": None,
    }


def _witness_size(block: Block) -> int:
    return sum(len(t.serialize()) - len(t.serialize(witness=False)) for t in block.transactions)


async def test_blocks_come_in_tens_newest_first(api: _Api) -> None:
    assert [block["height"] for block in await api.json("/blocks")] == list(range(110, 100, -1))
    assert [block["height"] for block in await api.json("/blocks/4")] == [4, 3, 2, 1, 0]
    genesis = (await api.json("/blocks/0"))[0]
    assert genesis["id"] == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    assert genesis["previousblockhash"] is None


async def test_replaced_block_is_still_told_but_not_as_best(api: _Api, regtest: Regtest) -> None:
    stale = await api.text("/blocks/tip/hash")
    regtest.reorganise(1)
    assert (await api.json(f"/block/{stale}"))["height"] == 110
    assert BlockHeader.parse(bytes.fromhex(await api.text(f"/block/{stale}/header")))
    status = await api.json(f"/block/{stale}/status")
    assert status == {"in_best_chain": False, "height": None, "next_best": None}
    below = await api.text("/block-height/109")
    status = await api.json(f"/block/{below}/status")
    assert status["next_best"] == await api.text("/block-height/110") != stale


async def test_block_transactions_come_in_pages_of_25(api: _Api, regtest: Regtest) -> None:
    for value in range(30):
        regtest.fund(TARGET, Sat(1_000 + value))
    regtest.mine()
    block = await api.text("/blocks/tip/hash")
    txids = await api.json(f"/block/{block}/txids")
    first, second = [await api.json(f"/block/{block}/txs/{start}") for start in (0, 25)]
    assert [tx["txid"] for tx in first + second] == txids
    assert len(first) == 25
    await api.text(f"/block/{block}/txs/24", status=400)
    await api.text(f"/block/{block}/txs/50", status=400)


# --- transactions -------------------------------------------------------------------------


async def test_transaction_is_told_in_all_its_forms(
    api: _Api, regtest: Regtest, purse: Any
) -> None:
    delay = script(2, Op.OP_CHECKSEQUENCEVERIFY)
    coin = purse.coin(script=delay)
    regtest.mine()
    extra = (TxOut(Sat(0), op_return(b"hello")), TxOut(Sat(240), P2A_SCRIPT))
    tx = purse.spend(coin, script=delay, sequence=2, extra=extra, fee=777)
    regtest.broadcast(tx)
    txid = txid_hex(tx.txid)
    told = await api.json(f"/tx/{txid}")
    spent = p2wsh(delay)
    assert told == {
        "txid": txid,
        "version": 2,
        "locktime": 0,
        "vin": [
            {
                "txid": txid_hex(coin.txid),
                "vout": 0,
                "prevout": {
                    "scriptpubkey": spent.hex(),
                    "scriptpubkey_asm": f"OP_0 OP_PUSHBYTES_32 {spent[2:].hex()}",
                    "scriptpubkey_type": "v0_p2wsh",
                    "scriptpubkey_address": address_of_script(spent, Network.REGTEST),
                    "value": 100_000,
                },
                "scriptsig": "",
                "scriptsig_asm": "",
                "witness": [delay.hex()],
                "is_coinbase": False,
                "sequence": 2,
                "inner_witnessscript_asm": "OP_PUSHNUM_2 OP_CSV",
            }
        ],
        "vout": [
            {
                "scriptpubkey": "6a0568656c6c6f",
                "scriptpubkey_asm": "OP_RETURN OP_PUSHBYTES_5 68656c6c6f",
                "scriptpubkey_type": "op_return",
                "value": 0,
            },
            {
                "scriptpubkey": "51024e73",
                "scriptpubkey_asm": "OP_PUSHNUM_1 OP_PUSHBYTES_2 4e73",
                "scriptpubkey_type": "anchor",
                "scriptpubkey_address": "bcrt1pfeesnyr2tx",
                "value": 240,
            },
            {
                "scriptpubkey": spent.hex(),
                "scriptpubkey_asm": f"OP_0 OP_PUSHBYTES_32 {spent[2:].hex()}",
                "scriptpubkey_type": "v0_p2wsh",
                "scriptpubkey_address": address_of_script(spent, Network.REGTEST),
                "value": 98_983,
            },
        ],
        "size": len(tx.serialize()),
        "weight": tx.weight,
        "fee": 777,
        "status": {"confirmed": False},
    }
    assert await api.text(f"/tx/{txid}/hex") == tx.serialize().hex()
    assert await api.raw(f"/tx/{txid}/raw") == tx.serialize()
    assert await api.json(f"/tx/{txid}/status") == {"confirmed": False}
    regtest.mine()
    status = await api.json(f"/tx/{txid}/status")
    assert status == (await api.json(f"/tx/{txid}"))["status"]
    assert status == {
        "confirmed": True,
        "block_height": regtest.height,
        "block_hash": txid_hex(regtest.tip.hash),
        "block_time": regtest.index.block(regtest.height).header.time,
    }


async def test_coinbase_has_no_prevout_and_no_fee(api: _Api, regtest: Regtest) -> None:
    reward = regtest.index.block(7).transactions[0]
    told = await api.json(f"/tx/{txid_hex(reward.txid)}")
    assert told["fee"] == 0
    assert told["vin"][0]["is_coinbase"]
    assert told["vin"][0]["prevout"] is None
    assert told["vout"][0]["scriptpubkey_type"] == "v0_p2wpkh"


async def test_outspends_name_spender_and_status(api: _Api, regtest: Regtest, purse: Any) -> None:
    parent = purse.spend(purse.coin(), outputs=2)
    regtest.broadcast(parent)
    child = purse.spend(parent.outpoint(1))
    regtest.broadcast(child)
    path = f"/tx/{txid_hex(parent.txid)}"
    unspent = {"spent": False}
    spent = {
        "spent": True,
        "txid": txid_hex(child.txid),
        "vin": 0,
        "status": {"confirmed": False},
    }
    assert await api.json(f"{path}/outspends") == [unspent, spent]
    assert await api.json(f"{path}/outspend/0") == unspent
    assert await api.json(f"{path}/outspend/1") == spent
    assert await api.json(f"{path}/outspend/2") == unspent
    assert await api.json(f"/tx/{'ab' * 32}/outspend/0") == unspent


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 12])
async def test_merkle_proofs_prove_each_transaction(
    api: _Api, regtest: Regtest, count: int
) -> None:
    for value in range(count):
        regtest.fund(TARGET, Sat(1_000 + value))
    regtest.mine()
    block = regtest.index.block(regtest.height)
    for position, tx in enumerate(block.transactions):
        proof = await api.json(f"/tx/{txid_hex(tx.txid)}/merkle-proof")
        branch = [txid_from_hex(sibling) for sibling in proof["merkle"]]
        assert proof["pos"] == position
        assert proof["block_height"] == regtest.height
        assert root_by_branch(tx.txid, position, branch=branch) == block.header.merkle_root
        raw = bytes.fromhex(await api.text(f"/tx/{txid_hex(tx.txid)}/merkleblock-proof"))
        assert _proven(raw) == (block.header.merkle_root, [tx.txid])


def _proven(raw: bytes) -> tuple[bytes, list[bytes]]:
    """Root and matched ids of a BIP 37 merkle block, read as BIP 37 describes it."""
    reader = Reader(raw)
    BlockHeader.parse(reader.take(80))
    total = reader.unsigned(4)
    hashes = iter([reader.take(32) for _ in range(reader.compact_size())])
    packed = reader.sized_bytes()
    reader.finish()
    bits: Iterator[int] = (byte >> i & 1 for byte in packed for i in range(8))
    matched: list[bytes] = []

    def width(height: int) -> int:
        return (total + (1 << height) - 1) >> height

    def node(height: int, position: int) -> bytes:
        on_the_way = next(bits)
        if not on_the_way or height == 0:
            found = next(hashes)
            if on_the_way:
                matched.append(found)
            return found
        left = right = node(height - 1, 2 * position)
        if 2 * position + 1 < width(height - 1):
            right = node(height - 1, 2 * position + 1)
        return sha256d(left + right)

    top = 0
    while width(top) > 1:
        top += 1
    return node(top, 0), matched


async def test_refused_transaction_gets_bitcoin_cores_words(
    api: _Api, regtest: Regtest, purse: Any
) -> None:
    coin = purse.coin()
    tx = purse.spend(coin)
    assert await api.post("/tx", content=tx.serialize().hex()) == txid_hex(tx.txid)
    assert await api.post("/tx", content=tx.serialize().hex()) == txid_hex(tx.txid)
    conflict = purse.spend(coin, fee=1_001).serialize().hex()
    said = await api.post("/tx", content=conflict, status=400)
    assert said.startswith('sendrawtransaction RPC error: {"code":-26,"message":"insufficient fee')
    regtest.mine()
    said = await api.post("/tx", content=tx.serialize().hex(), status=400)
    assert said == (
        'sendrawtransaction RPC error: {"code":-27,'
        '"message":"Transaction outputs already in utxo set"}'
    )
    for junk in ("", "zz", "00", tx.serialize().hex() + "00"):
        said = await api.post("/tx", content=junk, status=400)
        assert said == 'sendrawtransaction RPC error: {"code":-22,"message":"TX decode failed"}'


async def test_package_is_answered_as_submitpackage_does(
    api: _Api, regtest: Regtest, purse: Any
) -> None:
    parent = purse.spend(purse.coin(), version=3, fee=0)
    child = purse.spend(parent.outpoint(0), version=3, fee=900, parents=(parent,))
    stingy = purse.spend(parent.outpoint(0), version=3, fee=1, parents=(parent,))

    def hexes(*transactions: Tx) -> list[str]:
        return [tx.serialize().hex() for tx in transactions]

    said = await api.post("/txs/package", json=hexes(parent, stingy))
    assert said["package_msg"].startswith("min relay fee not met")
    assert all("error" in result for result in said["tx-results"].values())
    said = await api.post("/txs/package", json=hexes(parent, child))
    assert said == {
        "package_msg": "success",
        "tx-results": {
            txid_hex(tx.wtxid): {
                "txid": txid_hex(tx.txid),
                "vsize": tx.vsize,
                "fees": {"base": fee / 100_000_000},
            }
            for tx, fee in ((parent, 0), (child, 900))
        },
        "replaced-transactions": [],
    }
    for junk in ("[1]", "{", "7", '["zz"]'):
        await api.post("/txs/package", content=junk, status=400)


# --- scripts and mempool ------------------------------------------------------------------


async def test_address_and_script_hash_tell_the_same(
    api: _Api, regtest: Regtest, purse: Any
) -> None:
    coin = purse.coin(50_000)
    regtest.broadcast(purse.spend(coin, fee=500))
    told = await api.json(f"/address/{ADDRESS}")
    script_hash = sha256(TARGET).hex()
    assert told == {
        "address": ADDRESS,
        "chain_stats": {
            "tx_count": 1,
            "funded_txo_count": 1,
            "funded_txo_sum": 50_000,
            "spent_txo_count": 0,
            "spent_txo_sum": 0,
        },
        "mempool_stats": {
            "tx_count": 1,
            "funded_txo_count": 1,
            "funded_txo_sum": 49_500,
            "spent_txo_count": 1,
            "spent_txo_sum": 50_000,
        },
    }
    by_hash = await api.json(f"/scripthash/{script_hash}")
    assert by_hash == {"scripthash": script_hash} | {
        name: told[name] for name in ("chain_stats", "mempool_stats")
    }
    for path in ("txs", "txs/chain", "txs/mempool", "utxo"):
        by_address = await api.json(f"/address/{ADDRESS}/{path}")
        assert by_address
        assert by_address == await api.json(f"/scripthash/{script_hash}/{path}")
    (unspent,) = await api.json(f"/address/{ADDRESS}/utxo")
    assert unspent["value"] == 49_500
    assert unspent["status"] == {"confirmed": False}


async def test_script_history_is_newest_first_in_pages_of_25(api: _Api, regtest: Regtest) -> None:
    sent = []
    for value in range(60):
        sent.append(txid_hex(regtest.fund(TARGET, Sat(1_000 + value)).txid))
        if value % 10 == 9 and value < 55:
            regtest.mine()
    first = [tx["txid"] for tx in await api.json(f"/address/{ADDRESS}/txs")]
    assert first == sent[::-1][:35], "10 of the mempool, then 25"
    second = [tx["txid"] for tx in await api.json(f"/address/{ADDRESS}/txs/chain/{first[-1]}")]
    assert second == sent[::-1][35:]
    assert await api.json(f"/address/{ADDRESS}/txs/chain/{second[-1]}") == []
    assert await api.json(f"/address/{ADDRESS}/txs/chain/{'ab' * 32}") == []


async def test_unknown_script_has_an_empty_history(api: _Api) -> None:
    told = await api.json(f"/scripthash/{'ab' * 32}")
    assert told["chain_stats"]["tx_count"] == 0
    for path in ("txs", "txs/chain", "txs/mempool", "utxo"):
        assert await api.json(f"/scripthash/{'ab' * 32}/{path}") == []


async def test_mempool_and_fees_are_told(api: _Api, regtest: Regtest, purse: Any) -> None:
    coins = [purse.coin(), purse.coin()]
    cheap, dear = (purse.spend(coin, fee=fee) for coin, fee in zip(coins, (500, 900), strict=True))
    regtest.broadcast(cheap)
    regtest.broadcast(dear)
    assert await api.json("/mempool") == {
        "count": 2,
        "vsize": 2 * cheap.vsize,
        "total_fee": 1_400,
        "fee_histogram": [[900 / dear.vsize, dear.vsize], [500 / cheap.vsize, cheap.vsize]],
    }
    txids = [txid_hex(tx.txid) for tx in (cheap, dear)]
    assert await api.json("/mempool/txids") == txids
    recent = await api.json("/mempool/recent")
    assert [entry["txid"] for entry in recent] == txids[::-1]
    assert recent[0] == {
        "txid": txids[1],
        "fee": 900,
        "vsize": dear.vsize,
        "value": 100_000 - 900,
    }
    estimates = await api.json("/fee-estimates")
    assert set(estimates) == {str(n) for n in (*range(1, 26), 144, 504, 1008)}


async def test_unknown_is_404_and_malformed_400(api: _Api, regtest: Regtest) -> None:
    nothing = "ab" * 32
    for path in (
        f"/block/{nothing}",
        f"/block/{nothing}/header",
        f"/block/{nothing}/raw",
        f"/block/{nothing}/txs",
        "/block-height/111",
        f"/tx/{nothing}",
        f"/tx/{nothing}/hex",
        f"/tx/{nothing}/raw",
        f"/tx/{nothing}/outspends",
        f"/tx/{nothing}/merkle-proof",
        f"/tx/{nothing}/merkleblock-proof",
        f"/block/{txid_hex(regtest.tip.hash)}/txid/1",
        "/block-height/-1",
        "/nowhere",
    ):
        await api.text(path, status=404)
    for path in (
        "/tx/abc",
        "/block/xyz",
        "/scripthash/12",
        "/address/nonsense",
        "/address/bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4/txs",
    ):
        await api.text(path, status=400)


# --- controls -----------------------------------------------------------------------------


async def test_controls_mine_fund_and_reorganise(api: _Api, regtest: Regtest) -> None:
    funded = await api.post("/regtest/fund", json={"address": ADDRESS, "sat": 7_000})
    assert funded["vout"] == 0
    assert funded["txid"] == txid_hex(next(iter(regtest.mempool)).tx.txid)
    mined = await api.post("/regtest/mine", json={"blocks": 3, "script": "51"})
    assert (mined["height"], mined["hash"]) == (113, mined["blocks"][-1])
    assert regtest.index.block(113).transactions[0].outputs[0].script == b"\x51"
    paying = await api.post("/regtest/mine", json={"address": ADDRESS})
    assert paying["height"] == 114
    reorg = await api.post("/regtest/reorg", json={"depth": 4})
    assert (reorg["height"], reorg["fork_height"]) == (115, 110)
    assert len(regtest.mempool) == 1
    raw = next(iter(regtest.mempool)).tx.serialize().hex()
    await api.post("/regtest/reorg", json={"depth": 2, "replacement": [[], [raw]]})
    assert len(regtest.mempool) == 0
    await api.post("/regtest/reorg", json={"depth": 2, "keep_transactions": True})
    assert len(regtest.mempool) == 0
    confirmed = await api.post(
        "/regtest/fund", json={"address": ADDRESS, "sat": 7_000, "confirm": True}
    )
    assert (await api.json(f"/tx/{confirmed['txid']}/status"))["confirmed"]


async def test_controls_set_estimate_and_floor(api: _Api, regtest: Regtest, purse: Any) -> None:
    body = {"sat_per_vbyte": 12.5, "mempool_floor_sat_per_vbyte": 4}
    tx = purse.spend(purse.coin(), fee=300)
    assert await api.post("/regtest/fees", json=body) == body
    assert (await api.json("/fee-estimates"))["6"] == 12.5
    said = await api.post("/tx", content=tx.serialize().hex(), status=400)
    assert "mempool min fee not met" in said


async def test_controls_that_cannot_be_done_say_why(api: _Api, regtest: Regtest) -> None:
    tip = regtest.tip
    for action, body in (
        ("mine", {"blocks": 0}),
        ("mine", {"blocks": 10_001}),
        ("mine", {"blocks": "many"}),
        ("mine", {"address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}),
        ("mine", []),
        ("fund", {"sat": 1_000}),
        ("fund", {"script": "51"}),
        ("fund", {"script": "51", "sat": 1_000}),
        ("fund", {"address": ADDRESS, "sat": 21_000_000 * 10**8}),
        ("fund", {"address": ADDRESS, "sat": 1}),
        ("reorg", {}),
        ("reorg", {"depth": 111}),
        ("reorg", {"depth": 1, "replacement": [["00"]]}),
        ("fees", {"sat_per_vbyte": None}),
    ):
        assert await api.post(f"/regtest/{action}", json=body, status=400), (action, body)
        assert regtest.tip == tip
    await api.post("/regtest/mine", content="{", status=400)


# --- the server ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_server_listens_on_loopback_only(regtest: Regtest, host: str) -> None:
    with pytest.raises(LocalError):
        run(regtest, host=host, port=0)
    with pytest.raises(LocalError):
        async with serving(regtest, host=host):
            pass


def test_server_runs_until_it_is_interrupted() -> None:
    program = (
        "from lightspeed.chain import Regtest\n"
        "from lightspeed.chain.esplora_server import run\n"
        "run(Regtest(), port=0, on_ready=lambda url: print(url, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert httpx.get(f"{url}/blocks/tip/height").text == "110"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)

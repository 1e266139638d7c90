"""A wallet that others wrote lives on our Esplora server: it syncs, spends, sees reorgs."""

from typing import Any

import bdkpython as bdk
import httpx
import pytest

STOP_GAP = 5
PARALLEL = 2


class _Wallet:
    def __init__(self, url: str) -> None:
        mnemonic = bdk.Mnemonic.from_entropy(bytes(range(16)))
        secret = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, mnemonic, None)
        descriptors = [
            bdk.Descriptor.new_bip84(secret, kind, bdk.NetworkKind.TEST)
            for kind in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
        ]
        self.wallet = bdk.Wallet(*descriptors, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
        self.client = bdk.EsploraClient(url, None)

    def new_address(self) -> str:
        info = self.wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL)
        return str(info.address)

    def full_scan(self) -> None:
        request = self.wallet.start_full_scan().build()
        self.wallet.apply_update(self.client.full_scan(request, STOP_GAP, PARALLEL))

    def sync(self) -> None:
        request = self.wallet.start_sync_with_revealed_spks().build()
        self.wallet.apply_update(self.client.sync(request, PARALLEL))

    @property
    def confirmed_sat(self) -> int:
        return int(self.wallet.balance().confirmed.to_sat())

    @property
    def total_sat(self) -> int:
        return int(self.wallet.balance().total.to_sat())

    def pay(self, address: str, sat: int) -> Any:
        recipient = bdk.Address(address, bdk.Network.REGTEST).script_pubkey()
        builder = bdk.TxBuilder().add_recipient(recipient, bdk.Amount.from_sat(sat))
        psbt = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(2)).finish(self.wallet)
        assert self.wallet.sign(psbt, None)
        tx = psbt.extract_tx()
        self.client.broadcast(tx)
        return tx

    def confirmation_height(self, txid: Any) -> int | None:
        details = self.wallet.get_tx(txid)
        if details is None or not details.chain_position.is_confirmed():
            return None
        return int(details.chain_position.confirmation_block_time.block_id.height)


@pytest.fixture
def control(esplora_url: str) -> httpx.Client:
    return httpx.Client(base_url=esplora_url)


def _post(control: httpx.Client, action: str, **body: object) -> dict[str, Any]:
    answer = control.post(f"/regtest/{action}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_bdk_wallet_scans_spends_and_follows_a_reorganisation(
    esplora_url: str, control: httpx.Client
) -> None:
    ours = _Wallet(esplora_url)
    ours.full_scan()
    assert ours.total_sat == 0
    _post(control, "fund", address=ours.new_address(), sat=1_000_000, confirm=True)
    _post(control, "fund", address=ours.new_address(), sat=500_000)
    ours.full_scan()
    assert ours.confirmed_sat == 1_000_000
    assert ours.total_sat == 1_500_000

    destination = ours.new_address()
    tx = ours.pay(destination, 400_000)
    ours.sync()
    assert ours.confirmation_height(tx.compute_txid()) is None
    height = _post(control, "mine")["height"]
    ours.sync()
    assert ours.confirmation_height(tx.compute_txid()) == height
    assert ours.wallet.latest_checkpoint().height == height
    fee = ours.wallet.calculate_fee(tx).to_sat()
    assert ours.confirmed_sat == 1_500_000 - fee

    reorg = _post(control, "reorg", depth=2)
    assert reorg["fork_height"] == height - 2
    ours.sync()
    assert ours.confirmation_height(tx.compute_txid()) is None
    assert ours.wallet.latest_checkpoint().height == reorg["height"]
    height = _post(control, "mine")["height"]
    ours.sync()
    assert ours.confirmation_height(tx.compute_txid()) == height


def test_bdk_client_sees_blocks_fees_and_proofs(esplora_url: str, control: httpx.Client) -> None:
    client = bdk.EsploraClient(esplora_url, None)
    funded = _post(control, "fund", script="0014" + "11" * 20, sat=70_000, confirm=True)
    txid = bdk.Txid.from_string(funded["txid"])
    tip = client.get_height()
    assert str(client.get_block_hash(tip)) == control.get("/blocks/tip/hash").text
    tx = client.get_tx(txid)
    assert tx is not None
    assert tx.output()[0].value.to_sat() == 70_000
    info = client.get_tx_info(txid)
    assert info is not None
    assert info.status.confirmed
    assert info.status.block_height == tip
    assert info.fee > 0
    _post(control, "fees", sat_per_vbyte=7.5)
    assert client.get_fee_estimates()[6] == 7.5
    assert client.get_tx(bdk.Txid.from_string("ab" * 32)) is None


def test_many_transactions_of_one_address_come_in_pages(
    esplora_url: str, control: httpx.Client
) -> None:
    ours = _Wallet(esplora_url)
    address = ours.new_address()
    for value in range(10_000, 10_060):
        _post(control, "fund", address=address, sat=value, confirm=value % 3 == 0)
    _post(control, "mine")
    ours.full_scan()
    assert ours.confirmed_sat == sum(range(10_000, 10_060))

"""The money of the regtest chain: coinbases and what is left of them."""

from collections.abc import Iterable

from lightspeed.bitcoin import (
    P2WPKH_OUTPUT_WEIGHT,
    P2WPKH_WITNESS_WEIGHT,
    SEGWIT_MARKER_WEIGHT,
    SIGHASH_ALL,
    TX_BASE_WEIGHT,
    TX_INPUT_WEIGHT,
    OutPoint,
    PrivateKey,
    Tx,
    TxIn,
    TxOut,
    dust_limit,
    fee_for_weight,
    fee_rate_from_sat_per_vbyte,
    p2pkh,
    p2wpkh,
    segwit_v0_sighash,
    sha256,
)
from lightspeed.chain.errors import FaucetEmpty
from lightspeed.units import Sat

__all__ = ["FAUCET_SCRIPT", "pay"]

_KEY = PrivateKey(sha256(b"lightspeed regtest faucet"))  # public on purpose: regtest money
FAUCET_SCRIPT = p2wpkh(_KEY.public.data)
_FEE_RATE = fee_rate_from_sat_per_vbyte(5)


def pay(outputs: tuple[TxOut, ...], coins: Iterable[tuple[OutPoint, TxOut]]) -> Tx:
    """A signed transaction from the first coins that suffice, change to the faucet."""
    wanted = sum(out.value for out in outputs)
    weight = TX_BASE_WEIGHT + SEGWIT_MARKER_WEIGHT + P2WPKH_OUTPUT_WEIGHT
    weight += sum(4 * len(out.serialize()) for out in outputs)
    chosen: list[tuple[OutPoint, TxOut]] = []
    total = 0
    for coin in coins:
        chosen.append(coin)
        total += coin[1].value
        weight += TX_INPUT_WEIGHT + P2WPKH_WITNESS_WEIGHT
        change = total - wanted - fee_for_weight(weight, _FEE_RATE)
        if change >= dust_limit(FAUCET_SCRIPT):
            paid = (*outputs, TxOut(Sat(change), FAUCET_SCRIPT))
            return _signed(tuple(TxIn(outpoint) for outpoint, _ in chosen), paid, chosen)
    raise FaucetEmpty(f"the faucet has {total} sat, not {wanted} and a fee: mine more blocks")


def _signed(
    inputs: tuple[TxIn, ...], outputs: tuple[TxOut, ...], coins: list[tuple[OutPoint, TxOut]]
) -> Tx:
    tx = Tx(2, inputs, outputs)
    public = _KEY.public.data
    script_code = p2pkh(_KEY.public.hash160)
    for index, (_, coin) in enumerate(coins):
        digest = segwit_v0_sighash(tx, index, script_code=script_code, value=coin.value)
        signature = _KEY.sign_ecdsa_der(digest) + bytes([SIGHASH_ALL])
        tx = tx.with_witness(index, (signature, public))
    return tx

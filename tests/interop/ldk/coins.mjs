// LDK's money on chain: outputs that pay to the KeysManager, and transactions that spend them.

import * as ldk from "lightningdevkit";

const FEERATE_PER_KW = 1000;
const P2WPKH_SATISFACTION_WEIGHT = 4 + 1 + 1 + 73 + 1 + 33; // LDK's: empty scriptSig, witness

const FINAL_SCRIPT_WITNESS = 0x08;

export class Coins {
  constructor(keys) {
    this.keys = keys;
    this.coins = new Map(); // "txid:vout" -> SpendableOutputDescriptor
    const script = keys.as_SignerProvider().get_destination_script(new Uint8Array(32));
    this.script = script.res;
  }

  add(txid, vout, value) {
    const outpoint = ldk.OutPoint.constructor_new(txid, vout);
    const output = ldk.TxOut.constructor_new(BigInt(value), this.script);
    this.coins.set(outpoint.to_str(), ldk.SpendableOutputDescriptor.constructor_static_output(
      outpoint, output, new Uint8Array(32)));
  }

  // A complete transaction that pays `value` to `script`, from all coins.
  fund(script, value) {
    const outputs = [ldk.TxOut.constructor_new(value, script)];
    const tx = this.sweep([...this.coins.values()], outputs);
    this.coins.clear();
    return tx;
  }

  // A complete transaction that spends `descriptors`; what is left goes to `this.script`.
  sweep(descriptors, outputs = []) {
    const spent = this.keys.as_OutputSpender().spend_spendable_outputs(
      descriptors, outputs, this.script, FEERATE_PER_KW, ldk.Option_u32Z.constructor_none());
    if (!spent.is_ok()) throw new Error("the outputs cannot be spent");
    return spent.res;
  }

  // What LDK's anchor and HTLC transactions take their fee from.
  source() {
    return ldk.WalletSource.new_impl({
      list_confirmed_utxos: () => ldk.Result_CVec_UtxoZNoneZ.constructor_ok(
        [...this.coins.values()].map((coin) => ldk.Utxo.constructor_new(
          coin.outpoint, coin.output, BigInt(P2WPKH_SATISFACTION_WEIGHT)))),
      get_change_script: () => ldk.Result_CVec_u8ZNoneZ.constructor_ok(this.script),
      sign_psbt: (psbt) => {
        const signed = this.keys.sign_spendable_outputs_psbt([...this.coins.values()], psbt);
        if (!signed.is_ok()) return ldk.Result_TransactionNoneZ.constructor_err();
        return ldk.Result_TransactionNoneZ.constructor_ok(transactionOf(signed.res));
      },
    });
  }
}

// BIP 174: the unsigned transaction with those witnesses that are final.
function transactionOf(psbt) {
  const bytes = Buffer.from(psbt);
  let at = 5; // after the magic
  const size = () => {
    const first = bytes[at++];
    if (first < 0xfd) return first;
    at += 2;
    return bytes.readUInt16LE(at - 2);
  };
  const take = (length) => bytes.subarray(at, (at += length));
  const map = () => {
    const found = new Map();
    for (let keySize = size(); keySize !== 0; keySize = size()) {
      const key = take(keySize);
      found.set(key[0], take(size()));
    }
    return found;
  };
  const unsigned = map().get(0x00);
  const inputs = unsigned[4]; // fewer than 253
  const witnesses = [];
  for (let index = 0; index < inputs; index++) {
    witnesses.push(map().get(FINAL_SCRIPT_WITNESS) ?? Buffer.from([0]));
  }
  const locktimeAt = unsigned.length - 4;
  return new Uint8Array(Buffer.concat([
    unsigned.subarray(0, 4),
    Buffer.from([0, 1]), // segwit marker and flag
    unsigned.subarray(4, locktimeAt),
    ...witnesses,
    unsigned.subarray(locktimeAt),
  ]));
}

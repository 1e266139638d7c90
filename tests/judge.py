"""Bitcoin's consensus code (libbitcoinkernel) as the judge of the spends that we build.

And merkle branches, as who checks them reads them.
"""

from collections.abc import Sequence

import pbk
from pbk.script import PrecomputedTransactionData

from lightspeed.bitcoin import Tx, TxOut, sha256d, txid_hex

__all__ = ["refuses_spend", "root_by_branch", "verify_all_spends", "verify_spend"]


def verify_spend(tx: Tx, index: int, prevouts: Sequence[TxOut]) -> None:
    """Raises AssertionError unless consensus accepts input `index`.

    `prevouts` are the outputs that all inputs spend, in order. Judged are scripts, witness and
    the transaction's own locktime and sequence; whether coins are mature enough for a relative
    locktime is only judged in a block.
    """
    assert _accepts(tx, index, prevouts), (
        f"consensus refuses input {index} of {txid_hex(tx.txid)}: {tx.serialize().hex()}"
    )


def verify_all_spends(tx: Tx, prevouts: Sequence[TxOut]) -> None:
    """`verify_spend` for every input, and no more coming out than goes in."""
    for index in range(len(tx.inputs)):
        verify_spend(tx, index, prevouts)
    paid = sum(output.value for output in tx.outputs)
    assert paid <= sum(prevout.value for prevout in prevouts), "outputs exceed inputs"


def refuses_spend(tx: Tx, index: int, prevouts: Sequence[TxOut]) -> None:
    """Raises AssertionError if consensus accepts input `index`."""
    assert not _accepts(tx, index, prevouts), (
        f"consensus accepts input {index} of {txid_hex(tx.txid)}: {tx.serialize().hex()}"
    )


def root_by_branch(leaf: bytes, index: int, *, branch: Sequence[bytes]) -> bytes:
    """The merkle root of the block in which `branch` proves `leaf` to stand at `index`."""
    node = leaf
    for sibling in branch:
        node = sha256d(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def _accepts(tx: Tx, index: int, prevouts: Sequence[TxOut]) -> bool:
    assert len(prevouts) == len(tx.inputs), "one spent output for each input"
    judged = pbk.Transaction(tx.serialize())
    spent = [pbk.TransactionOutput(pbk.ScriptPubkey(out.script), out.value) for out in prevouts]
    return bool(
        spent[index].script_pubkey.verify(
            prevouts[index].value,
            judged,
            PrecomputedTransactionData(judged, spent),
            index,
            pbk.ScriptVerificationFlags.ALL,
        )
    )

"""Transactions as consignments carry them: not in Bitcoin's serialization but strictly encoded."""

from lightspeed.bitcoin import OutPoint, Tx, TxIn, TxOut
from lightspeed.rgb.errors import RgbFormatError
from lightspeed.rgb.strict import Reader, counted, signed, sized, unsigned
from lightspeed.units import Sat

__all__ = ["encode_tx", "read_tx"]

_MAX_VALUE = (1 << 63) - 1  # Bitcoin's own serialization is signed


def encode_tx(tx: Tx) -> bytes:
    inputs = [
        b"".join(
            (
                txin.outpoint.serialize(),
                sized(txin.script_sig, 4),
                unsigned(txin.sequence, 4),
                counted([sized(item, 4) for item in txin.witness], 4),
            )
        )
        for txin in tx.inputs
    ]
    outputs = [unsigned(txout.value, 8) + sized(txout.script, 4) for txout in tx.outputs]
    return b"".join(
        (signed(tx.version, 4), counted(inputs, 4), counted(outputs, 4), unsigned(tx.locktime, 4))
    )


def read_tx(reader: Reader) -> Tx:
    version = reader.signed(4)
    inputs = reader.items(4, _read_input)
    outputs = reader.items(4, _read_output)
    return Tx(version, inputs, outputs, reader.unsigned(4))


def _read_input(reader: Reader) -> TxIn:
    return TxIn(
        outpoint=OutPoint(reader.take(32), reader.unsigned(4)),
        script_sig=reader.sized(4),
        sequence=reader.unsigned(4),
        witness=reader.items(4, lambda each: each.sized(4)),
    )


def _read_output(reader: Reader) -> TxOut:
    value = reader.unsigned(8)
    if value > _MAX_VALUE:
        raise RgbFormatError("an output of more than all bitcoin")
    return TxOut(Sat(value), reader.sized(4))

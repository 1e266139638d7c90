"""The gate before a signature: what spends tokens has to move them, or they are lost."""

from collections.abc import Mapping, Sequence

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.errors import LocalError
from lightspeed.rgb.colouring import Coloured, TokenInput
from lightspeed.rgb.errors import DbcError, MpcError, RgbError

__all__ = ["TokensWouldBurn", "check_moves_tokens"]


class TokensWouldBurn(RgbError, LocalError, ValueError):
    """A transaction spends an output with tokens, and nothing in it moves them."""


def check_moves_tokens(
    tx: Tx, *, tokens: Mapping[OutPoint, Sequence[TokenInput]], coloured: Coloured | None
) -> None:
    """Raises `TokensWouldBurn` unless `coloured` moves all `tokens` that `tx` spends, and no other.

    One input that the transaction does not spend makes the whole transition void.
    `tokens` are those of one contract, by the output that they are on. Witnesses do not matter.
    """
    spent = [token for txin in tx.inputs for token in tokens.get(txin.outpoint, ())]
    if coloured is None:
        if spent:
            raise TokensWouldBurn(f"{sum(token.amount for token in spent)} tokens would be lost")
        return
    if coloured.tx.txid != tx.txid:
        raise TokensWouldBurn("the tokens are moved in another transaction than this one")
    closed, moved = {token.opout for token in spent}, set(coloured.transition.inputs)
    if closed - moved:
        raise TokensWouldBurn(f"{len(closed - moved)} allocations are spent and not moved")
    if moved - closed:
        raise TokensWouldBurn(f"{len(moved - closed)} allocations are moved and not spent")
    witness = coloured.witness
    try:
        commitment = witness.mpc_proof.commitment(
            coloured.transition.contract_id, witness.bundle.bundle_id
        )
        witness.dbc_proof.verify(commitment, tx)
    except (MpcError, DbcError) as error:
        raise TokensWouldBurn(f"the transaction does not commit to the transition: {error}") from (
            error
        )

"""Bitcoin Core's consensus code in process: a regtest chain, and script verification."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pbk
from pbk.log import LoggingConnection
from pbk.script import PrecomputedTransactionData

from lightspeed.bitcoin import Tx, TxOut

__all__ = ["BlockVerdict", "ChainStep", "Kernel", "unverified_input"]

_REASON = re.compile(r"\[error\].*(?:failed, |FAILED \()(?P<reason>.*?)\)?\s*$")


@dataclass(slots=True)
class BlockVerdict:
    """What one submitted block did to the best chain, and why it was refused.

    A refused block may have moved the chain: forth and back again, when a longer branch turns
    out to be invalid half way.
    """

    steps: list["ChainStep"] = field(default_factory=list)
    refused: str | None = None


class ChainStep(NamedTuple):
    """One block joined the best chain, or left it."""

    joined: bool
    block_hash: bytes


class _Witness:
    """Keeps what the kernel says while it processes one block.

    Apart from `Kernel`, so that the callbacks hold no reference back to it and everything is
    torn down in order.
    """

    def __init__(self) -> None:
        self.verdict = BlockVerdict()
        self.logged_reason = ""

    def block_checked(self, _: Any, __: Any, state: Any) -> None:
        if state.validation_mode != pbk.ValidationMode.VALID:
            self.verdict.refused = str(state.block_validation_result.name)

    def block_connected(self, _: Any, block: Any, __: Any) -> None:
        self.verdict.steps.append(ChainStep(True, bytes(block.block_hash)))

    def block_disconnected(self, _: Any, block: Any, __: Any) -> None:
        self.verdict.steps.append(ChainStep(False, bytes(block.block_hash)))

    def log(self, line: str) -> None:
        if found := _REASON.search(line):
            self.logged_reason = found["reason"]


class Kernel:
    """A regtest chain, validated and stored by libbitcoinkernel in a private directory."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="lightspeed-regtest-")
        self._witness = witness = _Witness()
        self._log = LoggingConnection(cb=witness.log)
        callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=witness.block_checked,
            block_connected=witness.block_connected,
            block_disconnected=witness.block_disconnected,
        )
        context = pbk.make_context(pbk.ChainType.REGTEST, validation_callbacks=callbacks)
        root = Path(self._directory.name)
        options = pbk.ChainstateManagerOptions(context, str(root), str(root / "blocks"))
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        self._manager = pbk.ChainstateManager(options)
        self._chain = self._manager.get_active_chain()

    @property
    def height(self) -> int:
        return int(self._chain.height)

    def raw_block(self, height: int) -> bytes:
        """Of the best chain, as stored."""
        return bytes(self._manager.blocks[self._chain.block_tree_entries[height]])

    def process(self, raw: bytes) -> BlockVerdict:
        """Submits a serialized block.

        `process_block` answers True also for a block that does not connect; the truth is in
        the callbacks, and Bitcoin Core's words for it only in its log.
        """
        witness = self._witness
        witness.verdict, witness.logged_reason = BlockVerdict(), ""
        verdict = witness.verdict
        try:
            block = pbk.Block(raw)
        except RuntimeError:
            verdict.refused = "block-does-not-parse"
            return verdict
        try:
            self._manager.process_block(block)
        except pbk.ProcessBlockException:
            verdict.refused = verdict.refused or "block-not-accepted"
        if verdict.refused and witness.logged_reason:
            verdict.refused = witness.logged_reason
        return verdict


def unverified_input(tx: Tx, spent: Sequence[TxOut]) -> int | None:
    """Index of the first input whose script fails; None when all verify.

    `spent`: the outputs of all inputs, in their order. The flags are those of consensus; the
    kernel offers no others.
    """
    kernel_tx = pbk.Transaction(tx.serialize())
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(out.script), out.value) for out in spent]
    precomputed = PrecomputedTransactionData(kernel_tx, outputs)
    for index, (out, kernel_out) in enumerate(zip(spent, outputs, strict=True)):
        if not kernel_out.script_pubkey.verify(
            out.value, kernel_tx, precomputed, index, pbk.ScriptVerificationFlags.ALL
        ):
            return index
    return None

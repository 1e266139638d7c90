"""Validation of a consignment against the transactions of a chain.

What is checked, in the order of the reference implementation: the chain; the genesis; then bundle
by bundle, in the order of the consignment, and in it transition by transition: that its id is its
own; that what it spends was assigned to a revealed seal and is not spent; that a transaction
spends those seals and commits to the bundle; that the schema's rules hold. Signatures and scripts
of transactions are the chain's business, not RGB's.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.errors import LocalError
from lightspeed.rgb import failures
from lightspeed.rgb.consignment import Consignment, WitnessBundle
from lightspeed.rgb.dbc import dbc_method
from lightspeed.rgb.errors import DbcError, MpcError, RgbError
from lightspeed.rgb.operation import ChainNet, Opout
from lightspeed.rgb.rules import check_genesis, check_transition
from lightspeed.rgb.seals import SecretSeal
from lightspeed.rgb.state import Assignments

__all__ = [
    "Allocation",
    "Concealed",
    "ResolverError",
    "Validated",
    "Witness",
    "WitnessStatus",
    "validate",
    "witnesses_of",
]


class ResolverError(RgbError, LocalError, ValueError):
    """A transaction was handed in under the id of another one."""


class WitnessStatus(Enum):
    """Where a transaction stands. An archived one was superseded, or reorganised away."""

    MINED = "mined"
    TENTATIVE = "tentative"
    IGNORED = "ignored"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Witness:
    tx: Tx
    status: WitnessStatus


@dataclass(frozen=True, slots=True)
class Allocation:
    """Tokens that belong to whoever can spend the outpoint."""

    outpoint: OutPoint
    amount: int


@dataclass(frozen=True, slots=True)
class Concealed:
    """Tokens on an outpoint that only those know who made the seal."""

    seal: SecretSeal
    amount: int


@dataclass(frozen=True, slots=True)
class Validated:
    """What a valid consignment proves.

    `revealed` and `concealed` are not spent within it. `statuses` by transaction id, of all that
    the history rests on: how deep they must be mined is for the caller to decide.
    """

    contract_id: bytes
    revealed: Mapping[Opout, Allocation]
    concealed: Mapping[Opout, Concealed]
    statuses: Mapping[bytes, WitnessStatus]


def witnesses_of(
    consignment: Consignment, *, status: WitnessStatus = WitnessStatus.TENTATIVE
) -> dict[bytes, Witness]:
    """The transactions that the consignment itself carries, for validation without a chain."""
    return {
        bundle.txid: Witness(bundle.witness, status)
        for bundle in consignment.bundles
        if isinstance(bundle.witness, Tx)
    }


def validate(
    consignment: Consignment,
    witnesses: Mapping[bytes, Witness],
    *,
    chain_net: ChainNet,
    progress: Callable[[int], None] | None = None,
) -> Validated:
    """`witnesses` by transaction id. Raises a `Failure`, or `ResolverError`.

    `progress` is told after each bundle how many are done.
    """
    _check_container(consignment)
    genesis = consignment.genesis
    if genesis.chain_net is not chain_net:
        raise failures.ContractChainNetMismatch(expected=chain_net, found=genesis.chain_net)
    contract_id = genesis.contract_id
    history = _History(contract_id)
    history.register(contract_id, genesis.assignments, check_genesis(genesis, contract_id), b"")
    statuses = {}
    for done, bundle in enumerate(consignment.bundles, start=1):
        bundle_id = bundle.bundle.bundle_id
        witness = _resolved(bundle.txid, bundle_id, witnesses)
        statuses[bundle.txid] = witness.status
        history.follow(bundle, bundle_id, witness.tx)
        if progress is not None:
            progress(done)
    return Validated(contract_id, history.revealed, history.concealed, statuses)


def _check_container(consignment: Consignment) -> None:
    if not consignment.transfer and (consignment.bundles or consignment.terminals):
        raise failures.ContractWithHistory
    if consignment.terminals:
        known = {bundle.bundle.bundle_id for bundle in consignment.bundles}
        for bundle_id, _ in consignment.terminals:
            if bundle_id not in known:
                raise failures.TerminalBundleAbsent(bundle_id)


def _resolved(txid: bytes, bundle_id: bytes, witnesses: Mapping[bytes, Witness]) -> Witness:
    witness = witnesses.get(txid)
    if witness is None or witness.status is WitnessStatus.ARCHIVED:
        raise failures.SealNoPubWitness(bundle_id, txid)
    if witness.tx.txid != txid:
        raise ResolverError("a transaction was handed in under another one's id")
    return witness


class _History:
    """What is assigned and not spent, up to the operation looked at."""

    def __init__(self, contract_id: bytes) -> None:
        self._contract_id = contract_id
        self.revealed: dict[Opout, Allocation] = {}
        self.concealed: dict[Opout, Concealed] = {}

    def register(
        self, opid: bytes, assignments: Assignments, amounts: Sequence[int], txid: bytes
    ) -> None:
        """Of a valid operation, which assigns nothing but `amounts`."""
        for (kind, number, assign), amount in zip(assignments, amounts, strict=True):
            opout = Opout(opid, kind, number)
            outpoint = assign.outpoint(txid)
            if outpoint is None:
                self.concealed[opout] = Concealed(assign.secret_seal, amount)
            else:
                self.revealed[opout] = Allocation(outpoint, amount)

    def follow(self, bundle: WitnessBundle, bundle_id: bytes, tx: Tx) -> None:
        """All transitions of the bundle, which `tx` must commit to."""
        spender = bundle.bundle.spender
        closed = {txin.outpoint for txin in tx.inputs}
        for opid, transition in bundle.bundle.known:
            found = transition.opid
            if opid != found:
                raise failures.TransitionIdMismatch(opid, found)
            if transition.contract_id != self._contract_id:
                raise failures.ContractMismatch(opid, transition.contract_id)
            spent = []
            for opout in transition.inputs:
                if spender.get(opout) != opid:
                    raise failures.InputMapTransitionMismatch(bundle_id, opid, opout)
                allocation = self.revealed.pop(opout, None)
                if allocation is None:
                    raise failures.NoPrevState(opid, opout)
                spent.append(allocation)
            self._check_closing(bundle, bundle_id, tx, closed, spent)
            amounts = check_transition(transition, opid, spent=[each.amount for each in spent])
            self.register(opid, transition.assignments, amounts, bundle.txid)

    def _check_closing(
        self,
        bundle: WitnessBundle,
        bundle_id: bytes,
        tx: Tx,
        closed: Set[OutPoint],
        spent: Sequence[Allocation],
    ) -> None:
        """That `tx`, which spends `closed`, closes the seals of `spent` over the bundle."""
        try:
            commitment = bundle.mpc_proof.commitment(self._contract_id, bundle_id)
        except MpcError as error:
            raise failures.MpcInvalid(bundle_id, tx.txid, str(error)) from error
        method = dbc_method(tx)
        if method is None:
            raise failures.NoDbcOutput(tx.txid)
        if method is not bundle.dbc_proof.method:
            raise failures.InvalidProofType(tx.txid, bundle.dbc_proof.method.name.lower())
        for allocation in spent:
            if allocation.outpoint not in closed:
                reason = f"it does not spend {allocation.outpoint}"
                raise failures.SealsInvalid(bundle_id, tx.txid, reason)
        try:
            bundle.dbc_proof.verify(commitment, tx)
        except DbcError as error:
            raise failures.SealsInvalid(bundle_id, tx.txid, str(error)) from error

"""A token of ours on regtest, moved by transactions of any shape, and its consignments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from lightspeed.bitcoin import (
    NUMS_H,
    Leaf,
    Op,
    OutPoint,
    TaprootOutput,
    Tx,
    TxIn,
    TxOut,
    p2wsh,
    script,
)
from lightspeed.chain import Regtest
from lightspeed.rgb import (
    ASSET_OWNER,
    AssetSpec,
    Assign,
    Assignments,
    ChainNet,
    Consignment,
    Genesis,
    GenesisSeal,
    GraphSeal,
    MpcProof,
    MpcTree,
    Opout,
    OpretProof,
    SecretSeal,
    Transition,
    TransitionBundle,
    WitnessBundle,
    contract_id_text,
    issue,
    opret_script,
    transfer,
)
from lightspeed.units import Sat

__all__ = ["OPEN_P2TR", "OPEN_P2WSH", "Move", "Token", "seal"]

_OPEN = script(Op.OP_1)
_OPEN_TREE = TaprootOutput(NUMS_H, Leaf(_OPEN))
OPEN_P2WSH, OPEN_P2TR = p2wsh(_OPEN), _OPEN_TREE.script
"""Scripts that anyone can spend, so that no test is about keys."""

_WITNESSES = {OPEN_P2WSH: (_OPEN,), OPEN_P2TR: _OPEN_TREE.script_path(0)}
_COIN = Sat(100_000)
_FEE = 10_000  # for each move: enough for any of them

_blindings = count(1_000)


def seal(vout: int) -> GraphSeal:
    """On an output of the transaction that commits to it, each with another blinding."""
    return GraphSeal(None, vout, next(_blindings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transaction that commits at output 0, and the transition that it commits to."""

    tx: Tx
    opid: bytes
    transition: Transition
    mpc_proof: MpcProof
    bundle: TransitionBundle

    def opout(self, number: int) -> Opout:
        return Opout(self.opid, ASSET_OWNER, number)

    def outpoint(self, vout: int) -> OutPoint:
        return self.tx.outpoint(vout)


@dataclass(slots=True)
class Token:
    """What we hold of it, and how it came to us."""

    regtest: Regtest
    genesis: Genesis
    coins: Sequence[OutPoint] = ()
    """That hold what was issued."""
    before: tuple[WitnessBundle, ...] = ()
    """The history that we were handed, with our seal revealed."""
    moves: dict[bytes, Move] = field(default_factory=dict)
    """By operation id."""

    @classmethod
    def issue(cls, regtest: Regtest, *amounts: int) -> "Token":
        """On coins of ours, one for each amount."""
        coins = [_fund(regtest, confirm=False) for _ in amounts]
        regtest.mine()
        allocations = [
            (GenesisSeal(coin.txid, coin.vout, next(_blindings)), amount)
            for coin, amount in zip(coins, amounts, strict=True)
        ]
        genesis = issue(
            spec=AssetSpec(ticker="CALL", name="Calls"),
            chain_net=ChainNet.BITCOIN_REGTEST,
            timestamp=1_700_000_000,
            allocations=allocations,
        )
        return cls(regtest, genesis, coins)

    @classmethod
    def received(cls, regtest: Regtest, consignment: bytes, ours: GraphSeal | None) -> "Token":
        """`ours` is the blinded seal that we named; none where a witness output pays us."""
        parsed = Consignment.parse(consignment)
        bundles = tuple(_with_seal_revealed(bundle, ours) for bundle in parsed.bundles)
        return cls(regtest, parsed.genesis, before=bundles)

    @property
    def asset_id(self) -> str:
        return contract_id_text(self.genesis.contract_id)

    def coin(self) -> OutPoint:
        """Confirmed, without tokens."""
        return _fund(self.regtest)

    def issued(self, number: int) -> Opout:
        return Opout(self.genesis.opid, ASSET_OWNER, number)

    def move(
        self,
        spent: Sequence[Opout],
        to: Sequence[tuple[GraphSeal | SecretSeal, int]],
        *,
        closes: Sequence[OutPoint],
        outputs: Sequence[bytes] = (OPEN_P2WSH,),
        beside: Sequence[Transition] = (),
    ) -> Move:
        """Spends `closes`, in the mempool or confirmed; sats are shared out evenly.

        Not published. `beside`: transitions of the same bundle that nobody is shown.
        """
        contract_id = self.genesis.contract_id
        transition = transfer(contract_id=contract_id, inputs=spent, allocations=to)
        bundle = TransitionBundle.of([transition, *beside])
        tree = MpcTree({contract_id: bundle.bundle_id}, entropy=777)
        coins = [self._output(outpoint) for outpoint in closes]
        share = (sum(coin.value for coin in coins) - _FEE) // len(outputs)
        tx = Tx(
            2,
            tuple(TxIn(outpoint) for outpoint in closes),
            (
                TxOut(Sat(0), opret_script(tree.commitment)),
                *(TxOut(Sat(share), output) for output in outputs),
            ),
            0,
        )
        for index, coin in enumerate(coins):
            tx = tx.with_witness(index, _WITNESSES[coin.script])
        move = Move(
            tx=tx,
            opid=bundle.known[0][0],
            transition=transition,
            mpc_proof=tree.proof(contract_id),
            bundle=bundle,
        )
        self.moves[move.opid] = move
        return move

    def _output(self, outpoint: OutPoint) -> TxOut:
        for move in self.moves.values():
            if move.tx.txid == outpoint.txid:
                return move.tx.outputs[outpoint.vout]
        output = self.regtest.output(outpoint)
        assert output is not None
        return output

    # --- consignments ---------------------------------------------------------------------

    def history(self, last: Move) -> list[Move]:
        """What leads to it, parents first."""
        needed: dict[bytes, Move] = {}

        def follow(move: Move) -> None:
            if move.opid in needed:
                return
            for opout in move.transition.inputs:
                if opout.opid in self.moves:
                    follow(self.moves[opout.opid])
            needed[move.opid] = move

        follow(last)
        return list(needed.values())

    def consignment(
        self, last: Move, *, shown: Sequence[int] = (), to: SecretSeal | None = None
    ) -> bytes:
        """A file: of each transition, only the seals that the history spends are revealed.

        `shown` are assignments of the last one whose seals its receiver sees; `to` is the seal
        that the receiver named.
        """
        moves = self.history(last)
        revealed: dict[bytes, set[int]] = {last.opid: set(shown)}
        for move in moves:
            for opout in move.transition.inputs:
                revealed.setdefault(opout.opid, set()).add(opout.number)
        bundles = (*self.before, *(self._bundle(move, revealed) for move in moves))
        terminals = () if to is None else ((last.bundle.bundle_id, (to,)),)
        consignment = Consignment(
            transfer=True, genesis=self.genesis, bundles=bundles, terminals=terminals
        )
        return consignment.serialize(magic=True)

    def _bundle(self, move: Move, revealed: Mapping[bytes, set[int]]) -> WitnessBundle:
        seen = revealed.get(move.opid, set())

        def as_seen(number: int, assign: Assign) -> Assign:
            return assign if number in seen else assign.conceal()

        transition = _with_owned(move.transition, as_seen)
        bundle = TransitionBundle(move.bundle.input_map, ((move.opid, transition),))
        return WitnessBundle(move.tx, move.mpc_proof, OpretProof(), bundle)


def _fund(regtest: Regtest, *, confirm: bool = True) -> OutPoint:
    tx = regtest.fund(OPEN_P2WSH, _COIN)
    if confirm:
        regtest.mine()
    return tx.outpoint(0)


def _with_seal_revealed(bundle: WitnessBundle, ours: GraphSeal | None) -> WitnessBundle:
    concealed = ours and ours.conceal()

    def reveal(_: int, assign: Assign) -> Assign:
        return replace(assign, seal=ours) if ours and assign.seal == concealed else assign

    known = tuple((opid, _with_owned(each, reveal)) for opid, each in bundle.bundle.known)
    return replace(bundle, bundle=replace(bundle.bundle, known=known))


def _with_owned(transition: Transition, change: Callable[[int, Assign], Assign]) -> Transition:
    owned = transition.assignments.of_type(ASSET_OWNER)
    changed = tuple(change(number, assign) for number, assign in enumerate(owned))
    return replace(transition, assignments=Assignments(((ASSET_OWNER, changed),)))

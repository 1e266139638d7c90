"""A token on regtest in our hands: moved by transactions of any shape, with its consignments."""

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
    OPRET_PLACEHOLDER,
    AssetSpec,
    Assign,
    Assignments,
    ChainNet,
    Coloured,
    Consignment,
    Destination,
    Genesis,
    GenesisSeal,
    GraphSeal,
    Opout,
    SecretSeal,
    TokenInput,
    Transition,
    TransitionBundle,
    WitnessBundle,
    colour,
    contract_id_text,
    issue,
)
from lightspeed.units import Sat
from rgb_world import committed

__all__ = ["OPEN_P2TR", "OPEN_P2WSH", "Move", "Token", "sealed"]

_OPEN = script(Op.OP_1)
_OPEN_TREE = TaprootOutput(NUMS_H, Leaf(_OPEN))
OPEN_P2WSH, OPEN_P2TR = p2wsh(_OPEN), _OPEN_TREE.script
"""Scripts that anyone can spend, so that no test is about keys."""

_WITNESSES = {OPEN_P2WSH: (_OPEN,), OPEN_P2TR: _OPEN_TREE.script_path(0)}
_COIN = Sat(100_000)
_FEE = 10_000  # for each move: enough for any of them

_blindings = count(1_000)


def sealed(vout: int) -> GraphSeal:
    """A secret seal's opening: on an output of the transaction that will commit to it."""
    return GraphSeal(None, vout, next(_blindings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A signed transaction and the transfer that it commits to."""

    tx: Tx
    coloured: Coloured
    witness: WitnessBundle

    @property
    def opid(self) -> bytes:
        return self.coloured.opid

    @property
    def transition(self) -> Transition:
        return self.coloured.transition

    def on_output(self, vout: int) -> tuple[TokenInput, ...]:
        return self.coloured.on_output(vout)


@dataclass(slots=True)
class Token:
    """What we know of its history. Each amount issued is on a coin of its own."""

    regtest: Regtest
    genesis: Genesis
    coins: Sequence[OutPoint] = ()
    before: tuple[WitnessBundle, ...] = ()
    """The history that we were handed, with our seal revealed."""
    moves: dict[bytes, Move] = field(default_factory=dict)
    """Ours, by operation id."""

    @classmethod
    def issue(cls, regtest: Regtest, *amounts: int) -> "Token":
        coins = [regtest.fund(OPEN_P2WSH, _COIN).outpoint(0) for _ in amounts]
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
    def received(
        cls, regtest: Regtest, consignment: bytes, ours: GraphSeal | None = None
    ) -> "Token":
        """`ours` is the seal that we named; none where a witness output pays us."""
        parsed = Consignment.parse(consignment)
        bundles = tuple(_with_seal_revealed(bundle, ours) for bundle in parsed.bundles)
        return cls(regtest, parsed.genesis, before=bundles)

    @property
    def contract_id(self) -> bytes:
        return self.genesis.contract_id

    @property
    def asset_id(self) -> str:
        return contract_id_text(self.contract_id)

    def coin(self) -> OutPoint:
        """Confirmed, without tokens."""
        tx = self.regtest.fund(OPEN_P2WSH, _COIN)
        self.regtest.mine()
        return tx.outpoint(0)

    def issued(self, number: int) -> TokenInput:
        assign = self.genesis.assignments.of_type(ASSET_OWNER)[number]
        assert isinstance(assign.state, int)
        return TokenInput(Opout(self.genesis.opid, ASSET_OWNER, number), assign.state)

    def handed_over(self, outpoint: OutPoint) -> TokenInput:
        """By the last transaction of the history before us."""
        for opid, transition in self.before[-1].bundle.known:
            for kind, number, assign in transition.assignments:
                if assign.outpoint(self.before[-1].txid) == outpoint:
                    assert isinstance(assign.state, int)
                    return TokenInput(Opout(opid, kind, number), assign.state)
        raise AssertionError(f"no tokens on {outpoint}")

    def move(
        self,
        inputs: Sequence[TokenInput],
        to: Sequence[tuple[Destination, int]],
        *,
        closes: Sequence[OutPoint],
        outputs: Sequence[bytes] = (OPEN_P2WSH,),
        beside: Sequence[Transition] = (),
    ) -> Move:
        """Spends `closes`; sats are shared out evenly among `outputs`, numbered from 1.

        Not published. `beside`: transitions of the same bundle that nobody is shown.
        """
        coins = [self._output(outpoint) for outpoint in closes]
        share = (sum(coin.value for coin in coins) - _FEE) // len(outputs)
        paid = tuple(TxOut(Sat(share), output) for output in outputs)
        tx = Tx(2, tuple(TxIn(outpoint) for outpoint in closes), (OPRET_PLACEHOLDER, *paid), 0)
        coloured = colour(tx, contract_id=self.contract_id, inputs=inputs, allocations=to)
        witness = coloured.witness
        if beside:
            bundle = TransitionBundle.of([coloured.transition, *beside])
            witness = committed(bundle, coloured.tx, self.contract_id)
        tx = witness.witness
        assert isinstance(tx, Tx)
        for index, coin in enumerate(coins):
            tx = tx.with_witness(index, _WITNESSES[coin.script])
        move = Move(tx=tx, coloured=coloured, witness=witness)
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
        """Our moves that lead to it, parents first."""
        needed: dict[bytes, Move] = {}

        def follow(move: Move) -> None:
            for opout in move.transition.inputs:
                parent = self.moves.get(opout.opid)
                if parent is not None and parent.opid not in needed:
                    follow(parent)
            needed[move.opid] = move

        follow(last)
        return list(needed.values())

    def consignment(self, last: Move, *, to: SecretSeal | int) -> Consignment:
        """For a receiver who named a seal, or whom output `to` pays.

        Revealed are the seals that the history spends, and those on output `to`: nothing else.
        """
        moves = self.history(last)
        revealed: dict[bytes, set[int]] = {}
        for move in moves:
            for opout in move.transition.inputs:
                revealed.setdefault(opout.opid, set()).add(opout.number)
        terminals: tuple[tuple[bytes, tuple[SecretSeal, ...]], ...] = ()
        if isinstance(to, int):
            revealed[last.opid] = {token.opout.number for token in last.on_output(to)}
        else:
            terminals = ((last.witness.bundle.bundle_id, (to,)),)
        bundles = (*self.before, *(_as_seen(move, revealed) for move in moves))
        return Consignment(
            transfer=True, genesis=self.genesis, bundles=bundles, terminals=terminals
        )


def _as_seen(move: Move, revealed: Mapping[bytes, set[int]]) -> WitnessBundle:
    seen = revealed.get(move.opid, set())

    def conceal(number: int, assign: Assign) -> Assign:
        return assign if number in seen else assign.conceal()

    known = ((move.opid, _with_owned(move.transition, conceal)),)
    return replace(move.witness, witness=move.tx, bundle=replace(move.witness.bundle, known=known))


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

"""Known attacks on tokens, played as the others are; these too are played with tokens."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

from adversary_law import check_all
from adversary_machine import Machine
from adversary_record import Fault
from adversary_scenarios import SCENARIOS, Scenario, lived, opened, paid, thief_publishes
from adversary_token_world import MAX_EXPOSURE_TOKENS, TokenWorld
from adversary_world import SETTLED_DEPTH, D, Lost, world_of
from lightspeed.bitcoin import FeeRate, OutPoint, Tx, p2wpkh, sha256
from lightspeed.channel import Facts, Phase, Side, Spend, Sweep, coloured_sweep, sweep_transaction
from lightspeed.channel.build import commitment_terms
from lightspeed.channel.funding import funding_witness
from lightspeed.channel.shutdown import _closing
from lightspeed.channel.sweeps import SWEEP_VOUT
from lightspeed.channel.turn import Turn
from lightspeed.colour import RgbTrade
from lightspeed.lsf import Party
from lightspeed.node.errors import ConsignmentRefused
from lightspeed.node.token_openings import TokenOpenings
from lightspeed.node.tokens import Builder
from lightspeed.payment import Scheme
from lightspeed.rgb import (
    ASSET_OWNER,
    Assignments,
    ChainNet,
    Consignment,
    Genesis,
    GraphSeal,
    History,
    InvalidConsignment,
    Opout,
    TokenInput,
    TransitionBundle,
    WitnessBundle,
    lock_seal,
)
from lightspeed.units import Sat
from lightspeed.wire import ClosingSigned

__all__ = ["TOKEN_PLAYS", "TOKEN_SCENARIOS", "TOKEN_SCHEMES", "play_tokens"]

Script = Callable[[TokenWorld], Awaitable[None]]
TOKEN_SCHEMES = (Scheme.SEALS, Scheme.LADDER)
_SEALS, _LADDER = (Scheme.SEALS,), (Scheme.LADDER,)
TOKEN_SCENARIOS: dict[str, Scenario] = {}


def token_scenario(
    cheat: Party | None, *, schemes: tuple[Scheme, ...] = TOKEN_SCHEMES, **opening: Any
) -> Callable[[Script], Script]:
    """Registers the script under its name."""

    def register(script: Any) -> Script:
        TOKEN_SCENARIOS[script.__name__] = Scenario(
            script=script, cheat=cheat, opening=opening, schemes=schemes
        )
        return script  # type: ignore[no-any-return]

    return register


async def play_tokens(name: str, *, scheme: Scheme, seed: int = 0) -> None:
    """The whole of it, with the judgement; also of an attack that is not about tokens.

    Raises `Lost` or `Fault`.
    """
    chosen = TOKEN_SCENARIOS.get(name) or SCENARIOS[name]
    async with world_of(
        chosen.cheat, scheme=scheme, seed=seed, kind=TokenWorld, **chosen.opening
    ) as world:
        assert isinstance(world, TokenWorld)
        await chosen.script(world)  # type: ignore[arg-type]
        if world.never_opened:
            return
        if not all(machine.running and machine.over for machine in world.honest):
            await world.until_over()
        check_all(world)


# --- books that lie -------------------------------------------------------------------------


async def _pay_all(world: TokenWorld, garbage: Sequence[int]) -> None:
    secret = await world.open_false_book(garbage, locks=6, chain_length=4, window=4)
    assert secret is not None
    for unit in range(1, secret.book.terms.units + 1):
        await world.present(secret, unit)
    await world.force_close(world.payee)


@token_scenario(Party.PAYER, schemes=_SEALS)
async def garbage_seals_in_the_book(world: TokenWorld) -> None:
    """Nothing that their secrets open is assigned to them: the payee serves one lock at most."""
    await _pay_all(world, garbage=range(1, 7))


@token_scenario(Party.PAYER, schemes=_SEALS)
async def garbage_seal_after_good_ones(world: TokenWorld) -> None:
    """In a claim it would void the transition, and burn what the good ones were paid for."""
    await _pay_all(world, garbage=[4])


@token_scenario(Party.PAYER, schemes=_SEALS)
async def garbage_seals_that_are_met_out_of_order(world: TokenWorld) -> None:
    """Each of them completed at a time, among units of others, by a thief that then closes."""
    secret = await world.open_false_book([2, 5], locks=6, chain_length=4, window=8)
    assert secret is not None
    for unit in (1, 5, 2, 3, 6, 4, 7, 8, 9, 10, 11, 12, 13, 17, 14, 15, 16, 18, 19, 20):
        await world.present(secret, unit)
    await thief_publishes(world, age=0)
    await world.mine()


# --- claims ---------------------------------------------------------------------------------


async def _claimable(world: TokenWorld, locks_paid: int) -> tuple[Sweep, OutPoint]:
    """The payee's thief has its child mined; its honest claim, which is not published."""
    thief = world.thief
    assert thief is not None
    secret = await opened(world, locks=6, chain_length=1, lock_sat=10_000, window=3)
    await paid(world, secret, locks_paid)
    commitment = thief.commitment(thief.numbers[-1])
    with mock.patch.object(thief, "rob", list):  # it has other plans
        assert world.broadcast(commitment)
        await world.mine()
        for _ in range(D + 1):
            claim = _claim(world)
            if claim is not None:
                return claim, claim.spend.outpoint
            _publish_child(world)
            await world.mine()
    raise AssertionError("no claim")


def _remedies(world: TokenWorld) -> Sequence[Any]:
    thief = world.thief
    assert thief is not None
    spend = world.regtest.outspend(world.funding)
    assert spend is not None
    assert spend.confirmed is not None
    facts = Facts(
        confirmed_height=spend.confirmed.height,
        spends=thief._spends(spend.tx),
        preimages={},
        lock_secrets=thief._lock_secrets(),
    )
    return thief._remedies(spend.tx, facts)


def _publish_child(world: TokenWorld) -> None:
    for remedy in _remedies(world):
        if not isinstance(remedy, Sweep):
            world.broadcast(remedy.tx)


def _claim(world: TokenWorld) -> Sweep | None:
    claims = (r for r in _remedies(world) if isinstance(r, Sweep) and r.purpose == "claim")
    return next(claims, None)


def _coin(world: TokenWorld) -> Spend:
    assert world.thief is not None
    return next(world.thief.machine.purse.free_spends())


def _destination(world: TokenWorld) -> bytes:
    assert world.thief is not None
    return world.thief.machine.purse.new_script()


async def _convinces_nobody(world: TokenWorld, *bundles: WitnessBundle, tokens: TokenInput) -> None:
    """The thief says it to its victim, as somebody would who wants to pay with the tokens."""
    (victim,) = world.honest
    history = world.known_history()
    known = dict(history.bundles)
    known |= {bundle.txid: bundle for bundle in bundles}
    consignment = replace(
        History(world.genesis).consignment([]), bundles=tuple(_parents_first(known.values()))
    )
    told = Consignment.parse(consignment.serialize())
    try:
        found = await victim.node.stash.check(told)
    except (InvalidConsignment, ConsignmentRefused):
        return
    if tokens.opout in found.revealed:
        raise Lost(f"{tokens.amount} tokens that were not paid convince somebody")


def _parents_first(bundles: Iterable[WitnessBundle]) -> Iterator[WitnessBundle]:
    waiting = {bundle.bundle.known[0][0]: bundle for bundle in bundles}
    while waiting:
        for opid, bundle in waiting.items():
            if not any(o.opid in waiting for o in bundle.bundle.known[0][1].inputs):
                yield waiting.pop(opid)
                break


def _with_guessed_seals(claim: Sweep) -> tuple[WitnessBundle, ...]:
    """The child's bundle, with seals of the unpaid locks that their secrets do not open."""
    *before, child = claim.history
    ((opid, transition),) = child.bundle.known
    owned = [
        replace(assign, seal=lock_seal(sha256(b"guess")))
        if isinstance(assign.seal, bytes)
        else assign
        for assign in transition.assignments.of_type(ASSET_OWNER)
    ]
    guessed = replace(transition, assignments=Assignments(((ASSET_OWNER, tuple(owned)),)))
    return *before, replace(child, bundle=replace(child.bundle, known=((opid, guessed),)))


@token_scenario(Party.PAYEE, schemes=_SEALS)
async def claim_with_an_unknown_secret(world: TokenWorld) -> None:
    """Three locks were paid, the claim lists all six: it burns them, and is worth nothing."""
    claim, _ = await _claimable(world, 3)
    opid = claim.spend.tokens[0].opout.opid
    everything = tuple(TokenInput(Opout(opid, ASSET_OWNER, n), 10_000) for n in range(6))
    moved = coloured_sweep(
        [replace(claim.spend, tokens=everything), _coin(world)],
        contract_id=world.asset,
        destination_script=_destination(world),
        feerate_per_kw=FeeRate(1_000),
    )
    assert world.broadcast(moved.tx)
    await world.mine()
    (stolen,) = moved.on_output(SWEEP_VOUT)
    await _convinces_nobody(world, *claim.history, moved.witness, tokens=stolen)
    await _convinces_nobody(world, *_with_guessed_seals(claim), moved.witness, tokens=stolen)


@token_scenario(Party.PAYEE, schemes=_SEALS)
async def claim_in_a_transaction_without_commitment(world: TokenWorld) -> None:
    """Consensus takes it, and the tokens are gone: no proof fits it afterwards."""
    claim, _ = await _claimable(world, 3)
    coin, script = _coin(world), _destination(world)
    plain = sweep_transaction(
        [replace(claim.spend, tokens=()), coin],
        destination_script=script,
        feerate_per_kw=FeeRate(1_000),
    )
    assert world.broadcast(plain)
    await world.mine()
    moved = coloured_sweep(
        [claim.spend, coin],
        contract_id=world.asset,
        destination_script=script,
        feerate_per_kw=FeeRate(1_000),
    )
    (stolen,) = moved.on_output(SWEEP_VOUT)
    for witness in (moved.tx, plain):
        proof = replace(moved.witness, witness=witness)
        await _convinces_nobody(world, *claim.history, proof, tokens=stolen)


@token_scenario(Party.PAYEE, schemes=_SEALS)
async def two_transitions_on_one_seal(world: TokenWorld) -> None:
    """In two transactions of which one is mined; and in one that commits to both."""
    claim, _ = await _claimable(world, 3)
    coin = _coin(world)
    first, second = (
        coloured_sweep(
            [claim.spend, coin],
            contract_id=world.asset,
            destination_script=_destination(world),
            feerate_per_kw=FeeRate(1_000),
        )
        for _ in range(2)
    )
    both = TransitionBundle(
        input_map=second.witness.bundle.input_map,
        known=(*second.witness.bundle.known, *first.witness.bundle.known),
    )
    assert world.broadcast(first.tx)
    await world.mine()
    (real,) = first.on_output(SWEEP_VOUT)
    (copy,) = second.on_output(SWEEP_VOUT)
    await _convinces_nobody(world, *claim.history, second.witness, tokens=copy)
    await _convinces_nobody(
        world, *claim.history, replace(second.witness, witness=first.tx), tokens=copy
    )
    await _convinces_nobody(world, *claim.history, replace(first.witness, bundle=both), tokens=copy)
    assert world.thief is not None
    world.thief.proofs += [*claim.history, first.witness]
    assert real.amount == 30_000


@token_scenario(Party.PAYEE, schemes=_SEALS)
async def child_that_is_never_claimed(world: TokenWorld) -> None:
    """The payee would ransom what its child holds: all of it goes back to the payer in time."""
    claim, _ = await _claimable(world, 3)
    assert world.thief is not None
    with mock.patch.object(world.thief, "rob", list):
        await world.until_over()
    refund = world.regtest.outspend(claim.spend.outpoint)
    assert refund is not None
    assert refund.tx.outputs[-1].script in world.payer.purse.scripts


async def _starved(world: TokenWorld, *, left: int) -> None:
    """Three books, and so many sat in the payee's wallet beside its tokens."""
    secrets = [await opened(world, locks=4, chain_length=1, window=2) for _ in range(3)]
    for secret in secrets:
        await paid(world, secret, 3)
    before = world.payee.purse.balance().total_sat
    await _drain(world.payee, world, left=left)
    world.coins_sat[world.payee.name] -= before - world.payee.purse.balance().total_sat


@token_scenario(Party.PAYER)
async def one_coin_for_the_fees_of_all_claims(world: TokenWorld) -> None:
    await _starved(world, left=20_000)
    await thief_publishes(world, age=0)
    await world.mine()


@token_scenario(Party.PAYER)
async def no_coin_for_the_fees_of_any_claim(world: TokenWorld) -> None:
    """The payee's own balance in the channel has to pay for all of it."""
    await _starved(world, left=3_000)
    await world.force_close(world.payee)
    await world.mine()


# --- openings -------------------------------------------------------------------------------


async def _refused_then_honest(world: TokenWorld, *spoilt: Any) -> None:
    """The thief opens with a lie; then it opens honestly, and the channel is as any other."""
    world.provoked = True
    with ExitStack() as stack:
        for patch in spoilt:
            stack.enter_context(patch)
        await world.open_channel()
    if world.payee.node.drivers:
        raise Fault("a channel on tokens that are not there")
    world.provoked = False
    await world.connect()
    await world.open_channel()
    assert world.is_open
    secret = await opened(world)
    await paid(world, secret, 9)
    await world.force_close(world.payee)


def _consigned(spoil: Callable[[bytes], bytes]) -> Any:
    """What the opener sends as its history."""
    fund = TokenOpenings.fund

    async def spoilt(openings: TokenOpenings, *given: Any, **named: Any) -> Any:
        brought = await fund(openings, *given, **named)
        return replace(brought, consignment=spoil(brought.consignment))

    return mock.patch.object(TokenOpenings, "fund", spoilt)


@token_scenario(Party.PAYER, schemes=_SEALS, opened=False)
async def consignment_that_is_withheld_at_an_opening(world: TokenWorld) -> None:
    await _refused_then_honest(world, _consigned(lambda data: b""))


@token_scenario(Party.PAYER, schemes=_LADDER, opened=False)
async def invalid_consignment_at_an_opening(world: TokenWorld) -> None:
    """Each time another byte is wrong."""
    for at in (-1, -40, -200):
        spoil = _consigned(lambda d, at=at: d[:at] + bytes([d[at] ^ 1]) + d[at + 1 or len(d) :])
        world.provoked = True
        with spoil:
            await world.open_channel()
        await world.connect()
    await _refused_then_honest(world, _consigned(lambda data: data[:-1]))


@token_scenario(Party.PAYER, schemes=_SEALS, opened=False)
async def inflation_at_an_opening(world: TokenWorld) -> None:
    """The funding transaction's transition gives out ten times what it takes in."""
    pick = Builder.pick

    async def inflated(builder: Builder, contract_id: bytes, amount: int) -> Any:
        held = await pick(builder, contract_id, amount // 10)
        return tuple(
            replace(each, token=TokenInput(each.token.opout, 10 * each.token.amount))
            for each in held
        )

    world.channel_tokens *= 10
    patch = mock.patch.object(Builder, "pick", inflated)
    world.provoked = True
    with patch:
        await world.open_channel()
    if world.payee.node.drivers:
        raise Fault("a channel on tokens from nothing")
    world.channel_tokens //= 10
    await world.connect()
    await _refused_then_honest(world, _consigned(lambda data: b""))


@token_scenario(Party.PAYER, schemes=_LADDER, opened=False)
async def consignment_for_another_chain(world: TokenWorld) -> None:
    """The payee's operator was talked into a contract of the main chain."""
    real = world.genesis
    foreign = world.issued(chain_net=ChainNet.BITCOIN_MAINNET)
    world.regtest.mine()
    await _take_contract(world, foreign)
    world.payer.node.stash.issue(foreign)
    world.provoked = True
    await world.open_channel()
    if world.payee.node.drivers:
        raise Fault("a channel on tokens of another chain")
    await _take_contract(world, real)
    await _refused_then_honest(world, _consigned(lambda data: b""))


async def _take_contract(world: TokenWorld, genesis: Genesis) -> None:
    world.genesis = genesis
    await world.crash(world.payee)
    world.payee.know_tokens(world.asset, max_exposure=MAX_EXPOSURE_TOKENS)
    await world.start(world.payee)
    await world.connect()


async def _move_aside(world: TokenWorld) -> Tx:
    """The payer's tokens go to a coin that was there before: the transaction that proves it is no
    ancestor of one that spends the coin.
    """
    payer = world.payer
    held = await payer.node.tokens.builder.holdings(world.asset)
    token = max(held, key=lambda each: each.token.amount)
    coin = world.regtest.fund(payer.purse.new_script(), Sat(1_000)).outpoint(0)
    world.regtest.mine()
    seal = GraphSeal(coin.txid, coin.vout, 7)
    built = await payer.node.tokens.builder.transfer(
        world.asset, [(seal, token.token.amount)], feerate_per_kw=FeeRate(1_000)
    )
    payer.node.stash.add(built.coloured.witness)
    world.regtest.broadcast(built.tx)
    return built.tx


def _double_spend(world: TokenWorld, tx: Tx) -> Tx:
    """By its owner: the same first input, to somewhere else, without commitment."""
    purse = world.payer.purse
    return sweep_transaction(
        [*purse.own_inputs(tx), next(purse.free_spends())],
        destination_script=world.payer.purse.new_script(),
        feerate_per_kw=FeeRate(2_500),
    )


async def _with_depth(world: TokenWorld, blocks: int) -> None:
    """Of the payee: a payer that steals does not wait before it brings its tokens."""
    await world.crash(world.payee)
    world.payee.config = replace(world.payee.config, minimum_depth=blocks)
    await world.start(world.payee)
    await world.connect()


@token_scenario(Party.PAYER, schemes=_SEALS, opened=False)
async def reorganised_witness_that_funding_does_not_rest_on(world: TokenWorld) -> None:
    """Against six blocks a payee asks for seven; of the whole history, or it signs nothing."""
    await _with_depth(world, 7)
    await _move_aside(world)
    world.provoked = True
    await world.mine(6)
    await world.open_channel()
    if world.payee.node.drivers:
        raise Fault("a channel on tokens that six blocks undo")
    await world.connect()
    await world.mine()
    world.provoked = False
    await world.open_channel()
    assert world.is_open
    await world.reorganise(6, censored=True)
    await lived(world)
    await thief_publishes(world, age=2)
    await world.reorganise(6, censored=True)
    await world.mine(3)


@token_scenario(Party.PAYER, schemes=_LADDER, opened=False)
async def witness_double_spent_before_channel_ready(world: TokenWorld) -> None:
    """The funding transaction stands, its tokens do not: the channel is never usable."""
    await _with_depth(world, 3)
    world.pushed_tokens = 0
    moved = await _move_aside(world)
    await world.mine(3)
    world.provoked = True
    await world.wish(world._opening())
    world.learn_channel()
    world.begun_height = world.regtest.height
    theft = _double_spend(world, moved)
    world.regtest.reorganise(4, keep_transactions=False)
    world.regtest.mine_block([theft])
    await world.mine(6)
    if world.payee.channel.state.holder_ready:
        raise Fault("channel_ready for tokens that are not there")
    world.never_opened = True


@token_scenario(Party.PAYER, schemes=_SEALS, opened=False)
async def double_spent_parent_of_the_funding(world: TokenWorld) -> None:
    """A reorganisation takes the funding transaction, and its coin is spent elsewhere."""
    await _with_depth(world, 7)
    world.provoked = True
    await world.wish(world._opening())
    world.learn_channel()
    await world.mine(6)
    config = world.payee.channel.state.config
    info = world.regtest.transaction(config.funding_outpoint.txid)
    assert info is not None
    theft = _double_spend(world, info.tx)
    world.regtest.reorganise(6, keep_transactions=False)
    world.regtest.mine_block([theft])
    await world.mine(9)
    if world.payee.channel.state.holder_ready:
        raise Fault("a channel without a funding transaction")
    world.never_opened = True


@token_scenario(None, schemes=_LADDER, opened=False)
async def reorganisations_while_a_channel_opens(world: TokenWorld) -> None:
    """Of the funding transaction, and of what brought its tokens."""
    await _move_aside(world)
    await world.mine(2)
    await world.wish(world._opening())
    world.learn_channel()
    world.take_stock()
    for depth in (1, 2, 3, 4, 5, 6):
        await world.mine()
        await world.reorganise(depth)
    await world.mine(SETTLED_DEPTH)
    assert world.is_open
    world.take_stock()
    await paid(world, await opened(world), 9)
    await world.force_close(world.payer)


# --- what would burn ------------------------------------------------------------------------


async def _drain(machine: Machine, world: TokenWorld, *, left: int = 20_000) -> None:
    """Its operator sends away what its wallet takes for free, and that is mined."""
    amount = machine.purse.spendable_sat() - left
    script = p2wpkh(b"elsewhere".ljust(20))
    drained = await machine.purse.fund(script, Sat(amount), feerate_per_kw=FeeRate(500))
    world.regtest.broadcast(drained)
    world.regtest.mine()


@token_scenario(None)
async def fee_input_that_carries_an_allocation(world: TokenWorld) -> None:
    """Both wallets pay from what they have, as much as there is; sweeps add fees at a high rate."""
    secret = await opened(world)
    await paid(world, secret, 9)
    world.regtest.fee_rate = FeeRate(2_000)
    await world.force_close(world.payee)


async def _closing_kept_to_itself(world: TokenWorld, tx: Tx, victim: Machine) -> None:
    """Mined before the victim's node has looked; its wallet sees coins."""
    world.broadcast(tx)
    world.regtest.mine()
    paid_out = world.regtest.transaction(tx.txid)
    assert paid_out is not None
    assert paid_out.confirmed is not None
    before = victim.purse.balance().total_sat
    await _drain(victim, world)
    world.coins_sat[victim.name] -= before - victim.purse.balance().total_sat
    await world.mine()


@token_scenario(Party.PAYEE, schemes=_LADDER)
async def closing_that_the_payee_completes_and_keeps_to_itself(world: TokenWorld) -> None:
    world.provoked = True
    payer, payee = world.machines
    payee.drops = lambda message: isinstance(message, ClosingSigned)
    await world.wish(payer.node.close_channel(payer.channel_id))
    await world.quiet()
    assert payee.phase is Phase.CLOSED
    assert payer.phase is Phase.SHUTTING_DOWN
    await _closing_kept_to_itself(world, payee.published[-1], payer)


@token_scenario(Party.PAYER, schemes=_SEALS)
async def closing_fee_that_the_payer_chooses_in_the_end(world: TokenWorld) -> None:
    """Its first fee is out of range; it completes the payee's answer, and says nothing of it."""
    world.provoked = True
    payer, payee = world.machines
    payer.drops = lambda message: isinstance(message, ClosingSigned)
    await world.wish(payer.node.close_channel(payer.channel_id))
    await world.quiet()
    channel = payer.channel
    turn = Turn(channel.state, signer=channel.signer, extensions=channel.extensions)
    high = Sat(100_000)
    signature = channel.signer.ecdsa(channel.signer.secrets.funding, _closing(turn, high).digest)
    await world.say(
        ClosingSigned(channel_id=payer.channel_id, fee_satoshis=high, signature=signature)
    )
    (answer,) = [m for m in payee.outbox if isinstance(m, ClosingSigned)]
    closing = _closing(turn, Sat(answer.fee_satoshis))
    ours = channel.signer.ecdsa(channel.signer.secrets.funding, closing.digest)
    keys = commitment_terms(channel.state.config, Side.HOLDER).funding_keys
    witness = funding_witness(funding_keys=keys, signatures=(ours, answer.signature))
    await world.disconnect()
    await _closing_kept_to_itself(world, closing.tx.with_witness(0, witness), payee)


async def _stale_version(world: TokenWorld) -> None:
    """Of what the victim has replaced, a miner takes the first version."""
    (victim,) = world.honest
    await lived(world)
    await thief_publishes(world, age=2)
    await world.mine()
    for feerate in (500, 1_000, 1_500, 2_000, 2_500, 2_500):
        world.regtest.fee_rate = FeeRate(feerate)
        await world.mine(transactions=[])
        for versions in _versions(world, victim):
            if len(versions) > 1:
                await world.mine(transactions=[versions[0]])
                return
    raise AssertionError("nothing was replaced")


def _versions(world: TokenWorld, machine: Machine) -> Iterator[list[Tx]]:
    """Of each unconfirmed sweep of tokens, by what they spend."""
    by_outpoint: dict[OutPoint, dict[bytes, Tx]] = {}
    for tx in machine.published:
        spend = world.regtest.outspend(tx.inputs[0].outpoint)
        mined = spend is not None and spend.confirmed is not None
        if not mined and tx.outputs[0].value == 0 and len(tx.inputs) > 1:
            by_outpoint.setdefault(tx.inputs[0].outpoint, {})[tx.txid] = tx
    for versions in by_outpoint.values():
        yield list(versions.values())


@token_scenario(Party.PAYER)
async def stale_version_of_a_penalty_is_mined_for_the_payee(world: TokenWorld) -> None:
    await _stale_version(world)


@token_scenario(Party.PAYEE)
async def stale_version_of_a_penalty_is_mined_for_the_payer(world: TokenWorld) -> None:
    await _stale_version(world)


# --- trades ---------------------------------------------------------------------------------


async def _trades(world: TokenWorld, buyer: Machine) -> None:
    """The buyer says its trade again: at once, later, after the next one, and after a crash."""
    said: list[RgbTrade] = []
    hear = world.record.hear

    def listen(machine: Machine, message: Any) -> None:
        if isinstance(message, RgbTrade):
            said.append(message)
        hear(machine, message)

    buyer.said = listen
    await lived(world)
    assert await world.buy(buyer, 2_000)
    await world.quiet()
    assert await world.buy(buyer, 1_000)
    await world.quiet()
    await world.disconnect()
    await world.connect()
    await world.quiet()
    await world.say(said[0])
    await world.say(replace(said[-1], offer=said[-1].offer + 1))
    await world.quiet()
    await thief_publishes(world, age=0)
    await world.mine()


@token_scenario(Party.PAYEE)
async def trade_that_the_payee_says_again(world: TokenWorld) -> None:
    await _trades(world, world.payee)


@token_scenario(Party.PAYER)
async def trade_that_the_payer_says_again(world: TokenWorld) -> None:
    await _trades(world, world.payer)


@token_scenario(Party.PAYEE)
async def commitment_from_before_a_trade(world: TokenWorld) -> None:
    """The thief bought tokens, and publishes the commitment in which it has its sats yet."""
    await lived(world)
    assert await world.buy(world.payee, 2_000)
    await world.quiet()
    await thief_publishes(world, age=2)
    await world.mine()


SHARED = tuple(name for name, chosen in SCENARIOS.items() if Scheme.LADDER in chosen.schemes)
"""Attacks that are played with tokens too."""

TOKEN_PLAYS: tuple[tuple[str, Scheme], ...] = (
    *((name, scheme) for name, chosen in TOKEN_SCENARIOS.items() for scheme in chosen.schemes),
    *((name, scheme) for name in SHARED for scheme in TOKEN_SCHEMES),
)

"""Builds that lose tokens, each with the attack that it falls to."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import adversary_machine
from adversary_mutations import Mutation, patched
from adversary_purse import Purse
from adversary_token_scenarios import TOKEN_SCHEMES
from lightspeed.channel import shutdown, sweep_transaction
from lightspeed.channel.graph import Draft, ToBroadcaster, ToCountersignatory
from lightspeed.colour import extension as colouring
from lightspeed.colour import updates
from lightspeed.colour.state import ColourContent
from lightspeed.lsf import ladder, seals
from lightspeed.node import bumping, closer, daemon, sweeping
from lightspeed.node.stash import Stash
from lightspeed.node.sweeping import BuiltSweep, fee_paid
from lightspeed.node.token_openings import TokenOpenings
from lightspeed.node.tokens import building
from lightspeed.payment import Scheme
from lightspeed.rgb import OPRET_PLACEHOLDER, History, Opout, WitnessBundle, WitnessStatus

__all__ = ["TOKEN_MUTATIONS"]

_SEALS = (Scheme.SEALS,)
_LADDER = (Scheme.LADDER,)


# --- the broken builds ----------------------------------------------------------------------


class _AnySeal(bytes):
    """The one that is asked for, whichever that is."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def no_seal_check_before_serving(stack: ExitStack) -> None:
    patched(adversary_machine, "secret_lock_seal", lambda secret: _AnySeal())(stack)


def sweeps_without_a_transition(stack: ExitStack) -> None:
    def plain(sweeps: Any, inputs: Sequence[Any], script: bytes, rate: Any) -> BuiltSweep:
        bare = [replace(spend, tokens=()) for spend in inputs]
        tx = sweep_transaction(bare, destination_script=script, feerate_per_kw=rate)
        return BuiltSweep(tx=tx, fee_sat=fee_paid(tx, inputs))

    patched(sweeping, "_coloured", plain)(stack)


def claims_are_made_before_the_last_secrets_are_read(stack: ExitStack) -> None:
    patched(closer, "may_wait", lambda *_, **__: False)(stack)


def fee_coins_are_taken_from_allocations(stack: ExitStack) -> None:
    patched(Purse, "_is_apart", lambda *_: False)(stack)
    for module in (sweeping, bumping, building):
        patched(module, "check_nothing_burns", lambda *_: None)(stack)


def proofs_are_not_stored_before_a_broadcast(stack: ExitStack) -> None:
    async def nothing(*_: Any) -> bool:
        return True

    patched(closer.Closer, "_keep", nothing)(stack)


def proofs_of_replaced_versions_are_dropped(stack: ExitStack) -> None:
    keep = Stash.keep

    def inputs(bundle: WitnessBundle) -> set[Opout]:
        return {opout for _, transition in bundle.bundle.known for opout in transition.inputs}

    async def forgetful(stash: Stash, *bundles: WitnessBundle) -> None:
        await keep(stash, *bundles)
        for new in bundles:
            history = stash.history(new.bundle.known[0][1].contract_id)
            kept = {
                txid: bundle
                for txid, bundle in history.bundles.items()
                if txid == new.txid or not inputs(bundle) & inputs(new)
            }
            stash._histories[history.contract_id] = replace(history, bundles=kept)

    patched(Stash, "keep", forgetful)(stack)


def accepter_does_not_validate(stack: ExitStack) -> None:
    async def believes(stash: Stash, consignment: Any, **_: Any) -> Any:
        history = History.of(consignment)
        mined = dict.fromkeys(history.bundles, WitnessStatus.MINED)
        revealed = {
            opout: SimpleNamespace(outpoint=holding.outpoint, amount=holding.token.amount)
            for opout, holding in history.holdings(mined).items()
        }
        return SimpleNamespace(contract_id=consignment.contract_id, revealed=revealed)

    patched(Stash, "check", believes)(stack)


def accepter_takes_any_depth(stack: ExitStack) -> None:
    check = Stash.check

    async def shallow(stash: Stash, consignment: Any, **named: Any) -> Any:
        return await check(stash, consignment, **(named | {"minimum_depth": 1}))

    patched(Stash, "check", shallow)(stack)


def channel_ready_without_asking_again(stack: ExitStack) -> None:
    async def nothing(*_: Any) -> None:
        return None

    patched(TokenOpenings, "problem", nothing)(stack)


def to_local_without_tokens(stack: ExitStack) -> None:
    """All of them go to the other side's output."""
    real = colouring.coloured_draft

    def misled(draft: Draft, *given: Any, **named: Any) -> Draft:
        tokens = {output.key: output.tokens for output in draft.outputs}
        if ToBroadcaster() in tokens and ToCountersignatory() in tokens:
            both = tokens.pop(ToBroadcaster()) + tokens.pop(ToCountersignatory())
            tokens |= {ToBroadcaster(): 0, ToCountersignatory(): both}
        outputs = tuple(replace(each, tokens=tokens[each.key]) for each in draft.outputs)
        return real(replace(draft, outputs=outputs), *given, **named)

    patched(colouring, "coloured_draft", misled)(stack)


def children_without_their_commitment(stack: ExitStack) -> None:
    real = seals.build_child

    def bare(*given: Any, **named: Any) -> Any:
        child = real(*given, **named)
        outputs = (OPRET_PLACEHOLDER, *child.tx.outputs[1:])
        return replace(child, tx=replace(child.tx, outputs=outputs))

    for module in (seals, ladder):
        patched(module, "build_child", bare)(stack)


def closing_transaction_without_a_transition(stack: ExitStack) -> None:
    real = shutdown.ClosingShare
    patched(shutdown, "modifiers", lambda *_, **__: ())(stack)
    patched(shutdown, "ClosingShare", lambda *share, tokens: real(*share))(stack)


def closing_proof_is_stored_when_the_close_is_complete(stack: ExitStack) -> None:
    patched(daemon, "ClosingOffered", type("Never", (), {}))(stack)


def offers_are_taken_twice(stack: ExitStack) -> None:
    patched(updates, "check", lambda *_: None)(stack)
    patched(ColourContent, "traded", lambda *_: 0)(stack)


TOKEN_MUTATIONS = (
    Mutation(no_seal_check_before_serving, "garbage_seals_in_the_book", _SEALS),
    Mutation(
        sweeps_without_a_transition,
        "revoked_commitment_of_the_payer_with_its_children",
        TOKEN_SCHEMES,
    ),
    Mutation(sweeps_without_a_transition, "double_settlement", TOKEN_SCHEMES),
    Mutation(
        claims_are_made_before_the_last_secrets_are_read,
        "ledger_is_down_when_the_channel_closes",
        TOKEN_SCHEMES,
    ),
    Mutation(
        fee_coins_are_taken_from_allocations, "fee_input_that_carries_an_allocation", TOKEN_SCHEMES
    ),
    Mutation(
        proofs_are_not_stored_before_a_broadcast,
        "stale_version_of_a_penalty_is_mined_for_the_payee",
        TOKEN_SCHEMES,
    ),
    Mutation(
        proofs_of_replaced_versions_are_dropped,
        "stale_version_of_a_penalty_is_mined_for_the_payer",
        TOKEN_SCHEMES,
    ),
    Mutation(accepter_does_not_validate, "inflation_at_an_opening", _SEALS),
    Mutation(accepter_does_not_validate, "consignment_for_another_chain", _LADDER),
    Mutation(accepter_takes_any_depth, "reorganised_witness_that_funding_does_not_rest_on", _SEALS),
    Mutation(
        channel_ready_without_asking_again, "witness_double_spent_before_channel_ready", _LADDER
    ),
    Mutation(to_local_without_tokens, "fee_input_that_carries_an_allocation", TOKEN_SCHEMES),
    Mutation(
        children_without_their_commitment, "refund_at_the_first_possible_block", TOKEN_SCHEMES
    ),
    Mutation(
        closing_transaction_without_a_transition,
        "closing_that_the_payee_completes_and_keeps_to_itself",
        _LADDER,
    ),
    Mutation(
        closing_proof_is_stored_when_the_close_is_complete,
        "closing_that_the_payee_completes_and_keeps_to_itself",
        _LADDER,
    ),
    Mutation(
        closing_proof_is_stored_when_the_close_is_complete,
        "closing_fee_that_the_payer_chooses_in_the_end",
        _SEALS,
    ),
    Mutation(offers_are_taken_twice, "trade_that_the_payee_says_again", TOKEN_SCHEMES),
)

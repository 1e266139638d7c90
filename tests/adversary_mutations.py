"""Builds without one of the rules, each with the attack that it falls to."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from lightspeed.bitcoin import NUMS_H, TaprootOutput, balanced_tree
from lightspeed.channel import Channel
from lightspeed.lsf import children, ladder, limits, outputs, scheme, seals
from lightspeed.node import config
from lightspeed.node.leases import PayeeBooks
from lightspeed.payment import BookRecord, Scheme, chain

__all__ = ["MUTATIONS", "Mutation"]

Patch = Callable[[ExitStack], None]


def patched(target: Any, name: str, value: Any) -> Patch:
    return lambda stack: stack.enter_context(mock.patch.object(target, name, value))  # type: ignore[func-returns-value]


# --- the broken builds ----------------------------------------------------------------------


def payee_signs_before_it_holds_the_child_signatures(stack: ExitStack) -> None:
    patched(children, "request", lambda *_: None)(stack)


def payee_revokes_before_it_holds_the_child_signatures(stack: ExitStack) -> None:
    patched(children, "verify", lambda state, *_: (state, b""))(stack)


def child_signatures_are_not_verified(stack: ExitStack) -> None:
    def trusting(state: Any, content: Any, context: Any, frozen: Any) -> Any:
        whose = children.broadcasting_party(state, context)
        collected = state.signatures.get(whose)
        if collected is None:
            return state, b""
        return replace(state, signatures={}), b"".join(collected.signatures)

    patched(children, "verify", trusting)(stack)


def revoke_and_ack_between_request_and_signature(stack: ExitStack) -> None:
    """The payee acts on everything while its question is open."""
    patched(Channel, "_breaks_pending", lambda self, message: True)(stack)


def no_revocation_at_the_lsf(stack: ExitStack) -> None:
    def unrevocable(revocation: Any, *, spending: Any, refund: bytes) -> TaprootOutput:
        return TaprootOutput(NUMS_H, balanced_tree((*spending, refund)))

    patched(scheme, "lsf_output", unrevocable)(stack)


def children_of_the_payees_own_commitment_without_delay(stack: ExitStack) -> None:
    def at_once(whose: Any, *, payee_delay_blocks: int) -> int:
        return 1

    for module in (scheme, outputs, seals, ladder):
        patched(module, "child_delay_blocks", at_once)(stack)


def refund_delay_not_above_to_self_delay(stack: ExitStack) -> None:
    rules = replace(limits.REGTEST_RULES, min_refund_margin_blocks=-100)
    patched(config, "REGTEST_RULES", rules)(stack)


def chain_step_is_plain_sha256(stack: ExitStack) -> None:
    patched(chain, "_copy_midstate", hashlib.sha256().copy)(stack)


def no_exposure_rule(stack: ExitStack) -> None:
    patched(BookRecord, "limit_unit_for", lambda self, secured_locks: self.units)(stack)


def no_fence_before_a_close(stack: ExitStack) -> None:
    """What was completed is read, but redeeming goes on."""

    async def reads(self: PayeeBooks, book: Any) -> bool:
        if self.is_fenced(book):
            return True
        completed = await self._ledger.completed_secrets(book.book_id)
        self._keep(book, completed, replace(self._lease(book.book_id), fenced=True))
        return True

    patched(PayeeBooks, "fence_book", reads)(stack)


def refund_of_an_lsf_needs_no_delay(stack: ExitStack) -> None:
    """Two blocks, in the script and in what spends it, whatever was agreed."""
    patched(scheme.SchemeBook, "refund_delay_blocks", property(lambda _: 2))(stack)


@dataclass(frozen=True)
class Mutation:
    """`broken` takes the rule out until the stack unwinds; `caught_by` names a scenario."""

    broken: Patch
    caught_by: str
    schemes: tuple[Scheme, ...] = (Scheme.OUTPUTS, Scheme.LADDER)

    @property
    def name(self) -> str:
        return self.broken.__name__


MUTATIONS = (
    Mutation(payee_signs_before_it_holds_the_child_signatures, "withheld_child_signatures"),
    Mutation(
        payee_revokes_before_it_holds_the_child_signatures,
        "commitment_without_the_signatures_of_its_children",
    ),
    Mutation(child_signatures_are_not_verified, "stale_child_signatures"),
    Mutation(
        revoke_and_ack_between_request_and_signature,
        "sign_request_around_a_crossing_revoke_and_ack",
    ),
    Mutation(no_revocation_at_the_lsf, "revoked_lsf_that_holds_all_of_the_payers_money"),
    Mutation(no_revocation_at_the_lsf, "double_settlement"),
    Mutation(children_of_the_payees_own_commitment_without_delay, "double_settlement"),
    Mutation(refund_delay_not_above_to_self_delay, "delays_chosen_to_overlap"),
    Mutation(chain_step_is_plain_sha256, "units_computed_from_public_data"),
    Mutation(no_exposure_rule, "payer_leaves_out_the_last_unit_of_every_lock"),
    Mutation(no_exposure_rule, "payer_leaves_out_the_first_lock", (Scheme.OUTPUTS,)),
    Mutation(no_fence_before_a_close, "paying_on_after_the_channel_was_spent"),
    Mutation(refund_of_an_lsf_needs_no_delay, "refund_at_the_first_possible_block"),
)

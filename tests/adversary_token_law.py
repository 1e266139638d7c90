"""The law in tokens: what each honest side can prove to a stranger, and spend.

    honest    owed                                            bound
    payee     what it had, bought and served                  the exposure rule's, per book
    payer     all but what it sold and presented              ladder: none; seals: the rest of a
                                                              book whose tokens the payee claimed

Tokens are counted on unspent outputs of the side's own wallet, by its own stash, by mined
transactions alone. All that anybody can prove is no more than what was issued; while nobody
cheats, and no seals are claimed, it is all of it, in the two wallets.
"""

from dataclasses import dataclass

from adversary_machine import Machine
from adversary_record import BookUse
from adversary_token_world import SUPPLY, WALLET_TOKENS, TokenWorld
from adversary_world import Lost
from lightspeed.channel import identify
from lightspeed.channel.commitment import is_commitment
from lightspeed.lsf import LsfKey, Party, closed_books
from lightspeed.payment import Scheme
from lightspeed.rgb import LOCK_SEAL_VOUT

__all__ = ["TokenAccount", "check_tokens"]


@dataclass(frozen=True, kw_only=True)
class TokenAccount:
    """Of one honest machine."""

    party: Party
    provable: int
    owed: int
    tolerated: int

    def check(self) -> None:
        """Raises `Lost`."""
        if self.provable < self.owed - self.tolerated:
            raise Lost(f"{self.party.name.lower()} lost {self.owed - self.provable} tokens: {self}")


def check_tokens(world: TokenWorld) -> list[TokenAccount]:
    """Of every honest machine, once the channel is over. Raises `Lost`."""
    everything = world.provable(world.known_history())
    if everything > SUPPLY:
        raise Lost(f"{everything} tokens where {SUPPLY} were issued")
    accounts = [_account_of(world, machine) for machine in world.honest]
    for account in accounts:
        account.check()
    burnt = SUPPLY - sum(account.provable for account in accounts)
    if world.cheat is None and burnt > sum(
        use.terms.locks * use.terms.lock_amount - use.secured_value
        for use in _claimed_books(world, world.payer)
    ):
        raise Lost(f"{burnt} tokens are burnt, or left somewhere")
    return accounts


def _account_of(world: TokenWorld, machine: Machine) -> TokenAccount:
    books = world.record.books
    bought = world.traded(machine).tokens
    if machine.party is Party.PAYEE:
        owed = WALLET_TOKENS + world.pushed_tokens + bought
        owed += sum(use.served_value for use in books.values())
        tolerated = _unenforced(machine, books)
    else:
        owed = SUPPLY - WALLET_TOKENS - world.pushed_tokens + bought
        owed -= sum(use.presented_value for use in books.values())
        tolerated = sum(
            use.terms.locks * use.terms.lock_amount - use.presented_value
            for use in _claimed_books(world, machine)
        )
    return TokenAccount(
        party=machine.party,
        provable=world.provable(world.history(machine), machine.purse.scripts),
        owed=owed,
        tolerated=tolerated,
    )


def _unenforced(machine: Machine, books: dict[bytes, BookUse]) -> int:
    closed = closed_books(machine.channel)
    return sum(
        max(0, min(use.served_value - use.secured_value, use.exposure_value))
        for book_id, use in books.items()
        if book_id not in closed
    )


def _claimed_books(world: TokenWorld, machine: Machine) -> list[BookUse]:
    """Those of scheme seals whose payee made its claim, as `machine` sees it."""
    end = world.regtest.outspend(world.funding)
    assert end is not None
    if world.scheme is not Scheme.SEALS or not is_commitment(end.tx):
        return []
    frozen = identify(machine.channel, end.tx, machine.stored_record).built.frozen
    found = []
    for output in frozen.outputs:
        if isinstance(output.key, LsfKey) and output.key.book_id in world.record.books:
            child = world.regtest.outspend(frozen.outpoint(output.key))
            claim = child and world.regtest.outspend(child.tx.outpoint(LOCK_SEAL_VOUT))
            if claim is None or _pays(claim.tx.outputs[-1].script, world.payer):
                continue
            found.append(world.record.books[output.key.book_id])
    return found


def _pays(script: bytes, machine: Machine) -> bool:
    return script in machine.purse.scripts

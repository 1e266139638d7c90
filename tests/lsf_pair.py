"""Two channels with Lightspeed funding between them, and what tests do with them."""

from typing import Any

from channel_pair import Node, Pair, open_pair, opening_terms
from lightspeed.bitcoin import FeeRate, sha256
from lightspeed.channel import Channel, OpeningTerms
from lightspeed.lsf import (
    LightspeedFunding,
    LsfOpen,
    Party,
    PayeeLimits,
    next_close,
    next_settle,
)
from lightspeed.lsf.limits import DEFAULT_MAX_EXPOSURE_SAT, REGTEST_RULES
from lightspeed.payment import Book, BookTerms, LockElement, SecretBook
from lightspeed.rgb import secret_lock_seal
from lightspeed.units import Sat
from lsf_world import book_terms

__all__ = [
    "ORIGINS",
    "channel_of",
    "elements_of",
    "lightspeed",
    "lsf_of",
    "open_book",
    "open_lsf_pair",
    "payee_of",
    "payer_of",
    "propose_book",
    "same_delay",
    "say_close",
    "say_settle",
    "secret_book",
]

ORIGINS = frozenset({"https://api.example.com"})


def lightspeed(
    party: Party,
    *,
    limits: PayeeLimits | None = None,
    origins: frozenset[str] = ORIGINS,
    max_exposure_sat: int = DEFAULT_MAX_EXPOSURE_SAT,
    max_exposure_tokens: int = 1_000_000,
    claim_feerate: int = 253,
) -> LightspeedFunding:
    """For a channel on regtest."""
    return LightspeedFunding(
        party=party,
        rules=REGTEST_RULES,
        limits=limits,
        origins=origins,
        max_exposure_sat=Sat(max_exposure_sat),
        max_exposure_tokens=max_exposure_tokens,
        claim_feerate=lambda: FeeRate(claim_feerate),
    )


def same_delay(delay_blocks: int) -> dict[str, OpeningTerms]:
    """Both sides impose it."""
    return {
        "funder_terms": opening_terms("a", to_self_delay_blocks=delay_blocks),
        "fundee_terms": opening_terms("b", to_self_delay_blocks=delay_blocks),
    }


def open_lsf_pair(
    *,
    funder: Party = Party.PAYER,
    delay_blocks: int = 6,
    limits: PayeeLimits | None = None,
    origins: frozenset[str] = ORIGINS,
    max_exposure_sat: int = DEFAULT_MAX_EXPOSURE_SAT,
    claim_feerate: int = 253,
    **opening: Any,
) -> Pair:
    """The funder is the payer unless told otherwise."""

    def extension(party: Party) -> LightspeedFunding:
        return lightspeed(
            party,
            limits=limits,
            origins=origins,
            max_exposure_sat=max_exposure_sat,
            claim_feerate=claim_feerate,
        )

    return open_pair(
        funder_extensions=[extension(funder)],
        fundee_extensions=[extension(funder.other)],
        **same_delay(delay_blocks),
        **opening,
    )


def party_of(node: Node) -> Party:
    holder: Party = channel_of(node).state.extension_states["lsf"].parameters.holder
    return holder


def payer_of(pair: Pair) -> Node:
    return pair.funder if party_of(pair.funder) is Party.PAYER else pair.fundee


def payee_of(pair: Pair) -> Node:
    return pair.other(payer_of(pair))


def channel_of(node: Node) -> Channel:
    assert node.channel is not None
    return node.channel


def secret_book(pair: Pair, terms: BookTerms | None = None, *, seed: bytes = b"1") -> SecretBook:
    return SecretBook.create(
        channel_id=channel_of(pair.funder).channel_id,
        terms=terms or book_terms(),
        seed=sha256(seed),
        seal_of=secret_lock_seal,
    )


def propose_book(pair: Pair, book: Book) -> None:
    """The payer says it; nothing is delivered yet."""
    payer = payer_of(pair)
    lsf = payer.extensions["lsf"]
    assert isinstance(lsf, LightspeedFunding)
    payer.run(channel_of(payer).extend("lsf", lsf.propose_book(book)))


def say_open(pair: Pair, book: Book) -> None:
    """The payer sends lsf_open and commits; nothing is delivered yet."""
    payer = payer_of(pair)
    channel = channel_of(payer)
    payer.run(channel.propose(LsfOpen(channel_id=channel.channel_id, book_id=book.book_id)))
    payer.run(channel.commit())


def open_book(pair: Pair, secret: SecretBook) -> list[str]:
    """From the proposal to a usable book; what was said, in order."""
    propose_book(pair, secret.book)
    said = pair.settle()
    say_open(pair, secret.book)
    return said + pair.settle()


# --- the payee's updates --------------------------------------------------------------------


def lsf_of(node: Node) -> LightspeedFunding:
    lsf = node.extensions["lsf"]
    assert isinstance(lsf, LightspeedFunding)
    return lsf


def elements_of(secret: SecretBook, *parts: tuple[int, int]) -> tuple[LockElement, ...]:
    """e(lock, unit) for each part."""
    return tuple(LockElement(lock, unit, secret.element(lock, unit)) for lock, unit in parts)


def say_settle(pair: Pair, secret: SecretBook, *locks: int) -> None:
    """The payee, who was paid these locks, settles what it can; nothing is delivered yet."""
    payee = payee_of(pair)
    secrets = {lock: secret.lock_secret(lock) for lock in locks}
    update = next_settle(channel_of(payee), secret.book.book_id, secrets)
    assert update is not None
    payee.run(channel_of(payee).propose(update))
    payee.run(channel_of(payee).commit())


def say_close(pair: Pair, secret: SecretBook, *parts: tuple[int, int]) -> None:
    """The payee, whose ledger ended with these elements, closes; nothing is delivered yet."""
    payee = payee_of(pair)
    update = next_close(channel_of(payee), secret.book.book_id, elements_of(secret, *parts))
    assert update is not None
    payee.run(channel_of(payee).propose(update))
    payee.run(channel_of(payee).commit())

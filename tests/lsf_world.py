"""Payer, payee, one book and commitments that carry it, without a channel around them."""

from dataclasses import dataclass
from functools import cached_property

from lightspeed.bitcoin import (
    FeeRate,
    OutPoint,
    PrivateKey,
    Tx,
    TxIn,
    TxOut,
    p2wpkh,
)
from lightspeed.channel.graph import Draft, Frozen, Output, build
from lightspeed.channel.keys import ChannelSecrets, CommitmentKeys, derive_revocation_private_key
from lightspeed.lsf.child import LsfChild
from lightspeed.lsf.keys import LsfBasepoints, LsfKeys, book_private_key, lsf_private_key
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import SchemeBook, graph_output
from lightspeed.lsf.schemes import derive_book
from lightspeed.lsf.settlement import Settlement
from lightspeed.payment import BookTerms, Scheme, SecretBook, default_window
from lightspeed.units import Sat

__all__ = ["CHANNEL_ID", "DESTINATION", "World", "book_terms", "make_world"]

CHANNEL_ID = b"\xc1" * 32
DESTINATION = p2wpkh(b"\x0d" * 20)
_FUNDING = OutPoint(b"\xf0" * 32, 0)


def book_terms(
    *,
    locks: int = 5,
    chain_length: int = 1,
    lock_amount: int = 1_000,
    refund_delay_blocks: int = 20,
    child_feerate: int = 253,
    literal: bool = False,
    origins: tuple[str, ...] = ("https://api.example.com",),
    scheme: Scheme = Scheme.OUTPUTS,
    window: int | None = None,
) -> BookTerms:
    """Terms that a payee on regtest with D = 6 accepts."""
    settlement = Settlement(
        refund_delay_blocks=refund_delay_blocks,
        child_feerate=FeeRate(child_feerate),
        literal=literal,
    )
    return BookTerms(
        scheme=scheme,
        locks=locks,
        chain_length=chain_length,
        lock_amount=lock_amount,
        window=window or default_window(chain_length),
        origins=origins,
        settlement=settlement.to_bytes(),
    )


@dataclass(frozen=True)
class World:
    """One commitment of `whose` with one book, `settled` of whose locks it no longer holds."""

    secret_book: SecretBook
    payer: ChannelSecrets
    payee: ChannelSecrets
    whose: Party
    payee_delay_blocks: int
    settled: int
    number: int = 7

    @cached_property
    def book(self) -> SchemeBook:
        return derive_book(
            self.secret_book.book,
            basepoints=self.basepoints,
            payee_delay_blocks=self.payee_delay_blocks,
        )

    @cached_property
    def basepoints(self) -> LsfBasepoints:
        return LsfBasepoints(
            payer=self.payer.extension_secret("lsf").public,
            payee=self.payee.extension_secret("lsf").public,
        )

    @property
    def broadcaster(self) -> ChannelSecrets:
        return self.payer if self.whose is Party.PAYER else self.payee

    @property
    def countersignatory(self) -> ChannelSecrets:
        return self.payee if self.whose is Party.PAYER else self.payer

    @cached_property
    def keys(self) -> LsfKeys:
        commitment = CommitmentKeys.derive(
            self.broadcaster.per_commitment_point(self.number),
            broadcaster=self.broadcaster.basepoints,
            countersignatory=self.countersignatory.basepoints,
        )
        return LsfKeys.derive(commitment, self.basepoints)

    @cached_property
    def frozen(self) -> Frozen:
        """The LSF is output 1, between two others, so that indices matter."""
        others = [
            Output("low", TxOut(Sat(1), DESTINATION)),
            Output("high", TxOut(Sat(10**12), DESTINATION)),
        ]
        lsf = graph_output(self.book, self.keys, whose=self.whose, settled=self.settled)
        return build(lambda: Draft(2, 0, (TxIn(_FUNDING),), (*others, lsf)))

    @cached_property
    def children(self) -> tuple[LsfChild, ...]:
        """What the payer signs: the micropayment transaction, or S_j for each lock."""
        made = self.book.children(self.frozen, self.keys, whose=self.whose, settled=self.settled)
        return tuple(made)

    @property
    def child(self) -> LsfChild:
        """Of scheme outputs."""
        (child,) = self.children
        return child

    def settlement(self, lock: int) -> LsfChild:
        """S_j of scheme ladder."""
        return self.children[lock - self.settled - 1]

    def secret(self, lock: int) -> bytes:
        return self.secret_book.lock_secret(lock)

    def lsf_secret(self, party: ChannelSecrets) -> PrivateKey:
        """What signs split and refund leaves of this commitment."""
        point = self.broadcaster.per_commitment_point(self.number)
        return lsf_private_key(party.extension_secret("lsf"), point)

    def book_secret(self, party: ChannelSecrets) -> PrivateKey:
        """What signs for the outputs of the child."""
        return book_private_key(
            party.extension_secret("lsf"), book_id=self.secret_book.book.book_id
        )

    def revocation_secret(self) -> PrivateKey:
        """What the countersignatory has once the broadcaster has revoked."""
        return derive_revocation_private_key(
            self.countersignatory.revocation,
            PrivateKey(self.broadcaster.per_commitment_secret(self.number)),
        )

    def completed_child(self) -> Tx:
        """The micropayment transaction as the payee publishes it."""
        return self.completed(self.child, lock=self.settled + 1)

    def completed(self, child: LsfChild, *, lock: int) -> Tx:
        return child.completed(
            payer_signature=child.sign(self.lsf_secret(self.payer)),
            payee_signature=child.sign(self.lsf_secret(self.payee)),
            secret=self.secret(lock),
        )


def make_world(
    terms: BookTerms | None = None,
    *,
    whose: Party = Party.PAYER,
    payee_delay_blocks: int = 6,
    settled: int = 0,
    seed: bytes = b"\x5e" * 32,
) -> World:
    secret_book = SecretBook.create(channel_id=CHANNEL_ID, terms=terms or book_terms(), seed=seed)
    return World(
        secret_book=secret_book,
        payer=ChannelSecrets.derive(b"\x01" * 32),
        payee=ChannelSecrets.derive(b"\x02" * 32),
        whose=whose,
        payee_delay_blocks=payee_delay_blocks,
        settled=settled,
    )

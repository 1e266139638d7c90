"""Payer, payee, one book and commitments that carry it, without a channel around them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lightspeed.bitcoin import (
    FeeRate,
    OutPoint,
    PrivateKey,
    Tx,
    TxIn,
    TxOut,
    p2wpkh,
)
from lightspeed.channel import SpentOnChain
from lightspeed.channel.graph import Draft, Frozen, Output, bip69_order, build
from lightspeed.channel.keys import ChannelSecrets, CommitmentKeys, derive_revocation_private_key
from lightspeed.colour import coloured_draft
from lightspeed.lsf.child import LsfChild
from lightspeed.lsf.keys import LsfBasepoints, LsfKeys, book_private_key, lsf_private_key
from lightspeed.lsf.messages import Party
from lightspeed.lsf.scheme import LsfOnChain, SchemeBook, graph_output
from lightspeed.lsf.schemes import derive_book
from lightspeed.lsf.settlement import Settlement
from lightspeed.payment import SATS, BookTerms, Scheme, SecretBook, default_window
from lightspeed.rgb import (
    ASSET_OWNER,
    AssetSpec,
    ChainNet,
    Consignment,
    GenesisSeal,
    Opout,
    TokenInput,
    Validated,
    WitnessBundle,
    issue,
    secret_lock_seal,
    validate,
    witnesses_of,
)
from lightspeed.units import Sat

__all__ = [
    "CHANNEL_ID",
    "CONTRACT",
    "DESTINATION",
    "GENESIS",
    "SUPPLY",
    "World",
    "book_terms",
    "make_world",
    "token_terms",
    "validated",
]

CHANNEL_ID = b"\xc1" * 32
DESTINATION = p2wpkh(b"\x0d" * 20)
_FUNDING = OutPoint(b"\xf0" * 32, 0)

SUPPLY = 100_000_000
GENESIS = issue(
    spec=AssetSpec(ticker="CALL", name="Calls of an API"),
    chain_net=ChainNet.BITCOIN_REGTEST,
    timestamp=1,
    allocations=[(GenesisSeal(_FUNDING.txid, _FUNDING.vout, 7), SUPPLY)],
)
CONTRACT = GENESIS.contract_id
"""Its whole supply is on the funding outpoint."""


def validated(*bundles: WitnessBundle) -> Validated:
    """Offline, and over its serialization: as by somebody who is handed the history."""
    made = Consignment(transfer=True, genesis=GENESIS, bundles=bundles)
    parsed = Consignment.parse(made.serialize())
    return validate(parsed, witnesses_of(parsed), chain_net=ChainNet.BITCOIN_REGTEST)


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
    asset: bytes = SATS,
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
        asset=asset,
    )


def token_terms(*, scheme: Scheme = Scheme.SEALS, **terms: Any) -> BookTerms:
    """Of a book in the tokens of the contract."""
    return book_terms(scheme=scheme, asset=terms.pop("asset", CONTRACT), **terms)


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
        """The LSF is between two other outputs, so that indices matter."""
        in_tokens = self.secret_book.book.terms.asset != SATS
        lsf = graph_output(self.book, self.keys, whose=self.whose, settled=self.settled)
        rest = SUPPLY - lsf.tokens if in_tokens else 0
        others = [
            Output("low", TxOut(Sat(1), DESTINATION)),
            Output("high", TxOut(Sat(10**12), DESTINATION), tokens=rest),
        ]
        moved = TokenInput(Opout(CONTRACT, ASSET_OWNER, 0), SUPPLY)

        def coloured(draft: Draft) -> Draft:
            if not in_tokens:
                return draft
            return coloured_draft(draft, contract_id=CONTRACT, inputs=[moved])

        return build(
            lambda: Draft(2, self.number, (TxIn(_FUNDING),), (*others, lsf)),
            modifiers=(bip69_order, coloured),
        )

    @cached_property
    def children(self) -> tuple[LsfChild, ...]:
        """What the payer signs: the micropayment transaction, or S_j for each lock."""
        made = self.book.children(self.frozen, self.keys, whose=self.whose, settled=self.settled)
        return tuple(made)

    @property
    def child(self) -> LsfChild:
        """Of schemes outputs and seals."""
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

    def on_chain(
        self, party: Party, *, paid: Iterable[int] = (), spends: Iterable[OutPoint] = ()
    ) -> LsfOnChain:
        """What `party` has to take the LSF with; the payee was paid these locks."""
        own = self.payer if party is Party.PAYER else self.payee
        known = range(1, self.book.book.terms.locks + 1) if party is Party.PAYER else paid
        signed = self.children if party is Party.PAYEE else ()
        gone = SpentOnChain(self.frozen.tx, 0, 121)
        return LsfOnChain(
            frozen=self.frozen,
            keys=self.keys,
            whose=self.whose,
            settled=self.settled,
            confirmed_height=100,
            lsf_secret=self.lsf_secret(own),
            book_secret=self.book_secret(own),
            signatures=tuple(child.sign(self.lsf_secret(self.payer)) for child in signed),
            lock_secrets={lock: self.secret(lock) for lock in known},
            spends=dict.fromkeys(spends, gone),
        )


def make_world(
    terms: BookTerms | None = None,
    *,
    whose: Party = Party.PAYER,
    payee_delay_blocks: int = 6,
    settled: int = 0,
    seed: bytes = b"\x5e" * 32,
) -> World:
    secret_book = SecretBook.create(
        channel_id=CHANNEL_ID,
        terms=terms or book_terms(),
        seed=seed,
        seal_of=secret_lock_seal,
    )
    return World(
        secret_book=secret_book,
        payer=ChannelSecrets.derive(b"\x01" * 32),
        payee=ChannelSecrets.derive(b"\x02" * 32),
        whose=whose,
        payee_delay_blocks=payee_delay_blocks,
        settled=settled,
    )

"""What to publish once a commitment is on chain: BOLT 5, for every output of every commitment.

Pure and without memory: the same facts give the same remedies, so that it can be asked again
after each block, each reorganisation and each restart.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lightspeed.bitcoin import OutPoint, PrivateKey, Tx
from lightspeed.channel.build import BuiltCommitment, commitment_context, commitment_of
from lightspeed.channel.channel import Channel
from lightspeed.channel.commitment import commitment_number
from lightspeed.channel.errors import ChannelRefusal
from lightspeed.channel.extension import ChannelView, Lookup
from lightspeed.channel.graph import Frozen, HtlcKey, ToBroadcaster, ToCountersignatory
from lightspeed.channel.htlc import HtlcChild
from lightspeed.channel.per_commitment import RevocationSecretUnknown
from lightspeed.channel.records import REVOKED_TABLE, load_sheet, revoked_key
from lightspeed.channel.scripts import to_remote_output_script
from lightspeed.channel.side import Side
from lightspeed.channel.spends import (
    delayed_spend,
    preimage_spend,
    revoked_delayed_spend,
    revoked_htlc_spend,
    second_stage_spend,
    second_stage_transaction,
    timeout_spend,
    to_remote_spend,
)
from lightspeed.channel.sweeps import Spend
from lightspeed.rgb import Coloured, WitnessBundle

__all__ = [
    "Facts",
    "OnChain",
    "Publication",
    "Remedy",
    "SpentOnChain",
    "Sweep",
    "UnknownCommitment",
    "commitment_history",
    "counterparty_commitments_on_chain",
    "holder_commitment_on_chain",
    "identify",
    "remedies",
    "remedies_without_state",
    "revoked_commitment_on_chain",
]


class UnknownCommitment(ChannelRefusal):
    """The funding output was spent by a commitment that we cannot rebuild: we lost state."""


@dataclass(frozen=True, slots=True)
class SpentOnChain:
    """A confirmed spend of an output."""

    tx: Tx
    input_index: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when remedies are asked for."""

    confirmed_height: int
    """Of the commitment; while it is unconfirmed, the next block's."""
    spends: Mapping[OutPoint, SpentOnChain] = field(default_factory=dict)
    """Confirmed spends of the commitment's outputs and of what came out of them."""
    preimages: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """Payment hash -> preimage."""
    lock_secrets: Mapping[bytes, Mapping[int, bytes]] = field(default_factory=dict, repr=False)
    """Book id -> lock -> secret: what the payee was paid; a payer knows all of its own."""
    for_tower: bool = False
    """Asked for what a watchtower is to hold: only signatures that may leave the node."""
    revocation: bytes | None = field(default=None, repr=False)
    """The per-commitment secret, when the commitment was revoked. `remedies` fills it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A transaction that is complete already."""

    tx: Tx
    purpose: str
    mature_height: int
    """The first block that may include it."""
    coloured: Coloured | None = None
    """When it moves tokens."""
    history: tuple[WitnessBundle, ...] = ()
    """What proves, from the commitment on, the tokens that it moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """An output that we take with a transaction of our own making."""

    spend: Spend
    purpose: str
    mature_height: int
    """The first block that may include it."""
    history: tuple[WitnessBundle, ...] = ()
    """What proves, from the commitment on, the tokens that the spend has to move."""


Remedy: TypeAlias = Publication | Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChain:
    """Which commitment it is that was published."""

    built: BuiltCommitment
    revocation: bytes | None = field(default=None, repr=False)
    child_signatures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    htlc_signatures: tuple[bytes, ...] = ()

    @property
    def broadcaster(self) -> Side:
        return self.built.context.broadcaster


def identify(channel: Channel, tx: Tx, lookup: Lookup) -> OnChain:
    """The commitment that `tx`, a spend of the funding output, is.

    Raises `NotACommitment` (a cooperative close) or `UnknownCommitment`.
    """
    holder = holder_commitment_on_chain(channel)
    for current in (holder, *counterparty_commitments_on_chain(channel)):
        if current.built.frozen.tx.txid == tx.txid:
            return current
    number = commitment_number(tx, holder.built.terms.obscuring_factor)
    revoked = revoked_commitment_on_chain(channel, number, lookup)
    if revoked.built.frozen.tx.txid != tx.txid:
        raise UnknownCommitment(f"commitment {number} is not one that we know")
    return revoked


def holder_commitment_on_chain(channel: Channel) -> OnChain:
    """Our current commitment, as if it were published."""
    commitment = channel.state.holder_commitment
    return OnChain(
        built=channel.holder_commitment(),
        child_signatures=commitment.child_signatures,
        htlc_signatures=commitment.htlc_signatures,
    )


def counterparty_commitments_on_chain(channel: Channel) -> tuple[OnChain, ...]:
    """The counterparty's one or two current commitments, as if each were published."""
    known = channel.state.counterparty_commitments
    return tuple(
        OnChain(built=built, child_signatures=commitment.child_signatures)
        for built, commitment in zip(channel.counterparty_commitments(), known, strict=True)
    )


def revoked_commitment_on_chain(channel: Channel, number: int, lookup: Lookup) -> OnChain:
    """The counterparty's revoked commitment `number`, rebuilt. Raises `UnknownCommitment`."""
    try:
        secret = channel.state.revocations.secret(number)
    except RevocationSecretUnknown:
        raise UnknownCommitment(f"commitment {number} is newer than what we know") from None
    record = lookup(REVOKED_TABLE, revoked_key(channel.channel_id, number))
    if record is None:
        raise UnknownCommitment(f"what commitment {number} held is not stored")
    point = PrivateKey(secret).public
    context = commitment_context(
        channel.state.config, broadcaster=Side.COUNTERPARTY, number=number, point=point
    )
    built = commitment_of(
        _view(channel),
        load_sheet(record, channel.extensions),
        context,
        extensions=channel.extensions,
        states=channel.state.extension_states,
    )
    return OnChain(built=built, revocation=secret)


def _view(channel: Channel) -> ChannelView:
    return ChannelView(
        config=channel.state.config,
        signer=channel.signer,
        base=channel.state.base,
        shutting_down=False,
    )


def remedies(channel: Channel, onchain: OnChain, facts: Facts) -> tuple[Remedy, ...]:
    """Everything that we may publish for this commitment, now or later, and have not got yet.

    An output that `facts` shows as spent has no remedy any more; what came out of it may.
    """
    built = onchain.built
    with_secret = replace(facts, revocation=onchain.revocation)
    found: list[Remedy] = [*_main_outputs(channel, onchain, with_secret)]
    found.extend(_htlcs(channel, onchain, with_secret))
    for extension in channel.extensions:
        found.extend(
            extension.remedies(
                _view(channel),
                channel.state.extension_states[extension.name],
                built.sheet.extensions[extension.name],
                built.context,
                built.frozen,
                child_signatures=onchain.child_signatures.get(extension.name, b""),
                facts=with_secret,
            )
        )
    return tuple(found)


def remedies_without_state(channel: Channel, tx: Tx, facts: Facts) -> tuple[Remedy, ...]:
    """What is left for a commitment that we cannot rebuild: our balance, whose key never changes.

    BOLT 5, "Unilateral Close Handling: Remote Commitment Transaction", and static_remotekey.
    Nothing in a coloured channel: the tokens on the same output would be lost, and without the
    commitment's content nothing can move them.
    """
    if channel.holder_commitment().frozen.coloured is not None:
        return ()
    secrets, anchors = channel.signer.secrets, channel.state.config.anchors
    script = to_remote_output_script(secrets.payment.public, anchors=anchors)
    return tuple(
        Sweep(
            spend=to_remote_spend(
                tx.outpoint(vout), output.value, anchors=anchors, secrets=secrets
            ),
            purpose="own balance",
            mature_height=facts.confirmed_height + 1,
        )
        for vout, output in enumerate(tx.outputs)
        if output.script == script and tx.outpoint(vout) not in facts.spends
    )


def commitment_history(frozen: Frozen) -> tuple[WitnessBundle, ...]:
    """The bundle that proves the tokens on a commitment's outputs; none of one without."""
    return (frozen.coloured.witness,) if frozen.coloured else ()


def _main_outputs(channel: Channel, onchain: OnChain, facts: Facts) -> Iterator[Remedy]:
    built, secrets = onchain.built, channel.signer.secrets
    frozen, keys = built.frozen, built.context.keys
    ours = ToBroadcaster() if onchain.broadcaster is Side.HOLDER else ToCountersignatory()
    theirs = ToCountersignatory() if onchain.broadcaster is Side.HOLDER else ToBroadcaster()
    delay = built.terms.to_self_delay_blocks

    def sweep(key: Hashable, spend: Spend, *, purpose: str, mature_height: int) -> Sweep:
        return Sweep(
            spend=replace(spend, tokens=frozen.tokens(key)),
            purpose=purpose,
            mature_height=mature_height,
            history=commitment_history(frozen) if frozen.tokens(key) else (),
        )

    if frozen.has(ours) and frozen.outpoint(ours) not in facts.spends:
        outpoint, value = frozen.outpoint(ours), frozen.output(ours).value
        if onchain.broadcaster is Side.HOLDER:
            yield sweep(
                ours,
                delayed_spend(
                    outpoint, value, keys=keys, to_self_delay_blocks=delay, secrets=secrets
                ),
                purpose="own balance",
                mature_height=facts.confirmed_height + delay,
            )
        else:
            yield sweep(
                ours,
                to_remote_spend(outpoint, value, anchors=built.terms.anchors, secrets=secrets),
                purpose="own balance",
                mature_height=facts.confirmed_height + 1,
            )
    if onchain.revocation and frozen.has(theirs) and frozen.outpoint(theirs) not in facts.spends:
        yield sweep(
            theirs,
            revoked_delayed_spend(
                frozen.outpoint(theirs),
                frozen.output(theirs).value,
                keys=keys,
                to_self_delay_blocks=delay,
                secrets=secrets,
                per_commitment_secret=onchain.revocation,
            ),
            purpose="penalty",
            mature_height=facts.confirmed_height,
        )


def _htlcs(channel: Channel, onchain: OnChain, facts: Facts) -> Iterator[Remedy]:
    for index, child in enumerate(onchain.built.htlc_children()):
        outpoint = onchain.built.frozen.outpoint(child.key)
        spent = facts.spends.get(outpoint)
        if spent is not None:
            yield from _second_stage_output(channel, onchain, facts, spent)
        elif onchain.revocation is not None:
            yield Sweep(
                spend=revoked_htlc_spend(
                    outpoint,
                    child.htlc,
                    keys=onchain.built.context.keys,
                    anchors=onchain.built.terms.anchors,
                    secrets=channel.signer.secrets,
                    per_commitment_secret=onchain.revocation,
                ),
                purpose="penalty",
                mature_height=facts.confirmed_height,
            )
        elif onchain.broadcaster is Side.HOLDER:
            yield from _own_htlc(
                channel, onchain, facts, child=child, signature=onchain.htlc_signatures[index]
            )
        else:
            yield from _their_htlc(channel, onchain, facts, child=child, outpoint=outpoint)


def _own_htlc(
    channel: Channel, onchain: OnChain, facts: Facts, *, child: HtlcChild, signature: bytes
) -> Iterator[Remedy]:
    """On our own commitment: through the second stage, which the counterparty signed."""
    key: HtlcKey = child.key
    preimage = facts.preimages.get(child.htlc.payment_hash)
    if not key.offered_by_broadcaster and preimage is None:
        return
    purpose = "HTLC timeout" if key.offered_by_broadcaster else "HTLC success"
    mature = max(facts.confirmed_height + 1, child.tx.locktime + 1)
    keys, secrets = onchain.built.context.keys, channel.signer.secrets
    if child.anchors:
        spend = second_stage_spend(
            child,
            countersignatory_signature=signature,
            keys=keys,
            secrets=secrets,
            preimage=preimage,
        )
        yield Sweep(spend=spend, purpose=purpose, mature_height=mature)
    else:
        tx = second_stage_transaction(
            child,
            countersignatory_signature=signature,
            keys=keys,
            secrets=secrets,
            preimage=preimage,
        )
        yield Publication(tx=tx, purpose=purpose, mature_height=mature)


def _their_htlc(
    channel: Channel, onchain: OnChain, facts: Facts, *, child: HtlcChild, outpoint: OutPoint
) -> Iterator[Remedy]:
    """On the counterparty's current commitment: directly."""
    built, htlc, secrets = onchain.built, child.htlc, channel.signer.secrets
    anchors, keys = built.terms.anchors, built.context.keys
    earliest = facts.confirmed_height + 1
    if not htlc.key.offered_by_broadcaster:
        spend = timeout_spend(outpoint, htlc, keys=keys, anchors=anchors, secrets=secrets)
        mature = max(earliest, htlc.cltv_expiry + 1)
        yield Sweep(spend=spend, purpose="HTLC timeout", mature_height=mature)
    elif (preimage := facts.preimages.get(htlc.payment_hash)) is not None:
        spend = preimage_spend(
            outpoint, htlc, keys=keys, anchors=anchors, secrets=secrets, preimage=preimage
        )
        yield Sweep(spend=spend, purpose="HTLC success", mature_height=earliest)


def _second_stage_output(
    channel: Channel, onchain: OnChain, facts: Facts, spent: SpentOnChain
) -> Iterator[Remedy]:
    """What an HTLC transaction made of an HTLC output: delayed, or ours if it was revoked."""
    outpoint = spent.tx.outpoint(spent.input_index)
    if outpoint in facts.spends or not _is_second_stage(onchain, spent):
        return
    value = spent.tx.outputs[spent.input_index].value
    keys, delay = onchain.built.context.keys, onchain.built.terms.to_self_delay_blocks
    secrets = channel.signer.secrets
    if onchain.revocation is not None:
        spend = revoked_delayed_spend(
            outpoint,
            value,
            keys=keys,
            to_self_delay_blocks=delay,
            secrets=secrets,
            per_commitment_secret=onchain.revocation,
        )
        yield Sweep(spend=spend, purpose="penalty", mature_height=spent.height)
    elif onchain.broadcaster is Side.HOLDER:
        spend = delayed_spend(
            outpoint, value, keys=keys, to_self_delay_blocks=delay, secrets=secrets
        )
        yield Sweep(spend=spend, purpose="own HTLC", mature_height=spent.height + delay)


def _is_second_stage(onchain: OnChain, spent: SpentOnChain) -> bool:
    """Does the output at the spending input's index have the second stage's script?"""
    if spent.input_index >= len(spent.tx.outputs):
        return False
    children = onchain.built.htlc_children()
    script = spent.tx.outputs[spent.input_index].script
    return any(child.tx.outputs[0].script == script for child in children)

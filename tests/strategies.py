"""Hypothesis strategies of every package, one section each."""

from functools import cache
from typing import Any

from hypothesis import strategies as st

from lightspeed.bitcoin import (
    GROUP_ORDER,
    Block,
    BlockHeader,
    Branch,
    FeeRate,
    Leaf,
    OutPoint,
    PrivateKey,
    TapTree,
    Tx,
    TxIn,
    TxOut,
    sha256,
)
from lightspeed.channel.commitment import obscuring_factor
from lightspeed.channel.graph import HtlcKey
from lightspeed.channel.keys import ChannelSecrets
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.lsf.messages import LockElementField
from lightspeed.payment import (
    MAX_LOCKS,
    MAX_WINDOW,
    BookTerms,
    Credential,
    LockElement,
    Scheme,
)
from lightspeed.rgb import (
    Assign,
    Assignments,
    GenesisSeal,
    GlobalState,
    GraphSeal,
    Metadata,
    MpcProof,
    Opout,
    SecretSeal,
    Transition,
    TransitionBundle,
)
from lightspeed.units import Msat, Sat
from lightspeed.wire import Codec, FeeRange, Message
from lightspeed.wire.codec import layout_of
from lightspeed.wire.features import Features
from lightspeed.wire.fields import (
    Array,
    FeatureBits,
    Fixed,
    PrefixedBytes,
    Remainder,
    UInt,
)
from lightspeed.wire.messages import FeeRangeField

# --- wire: messages, TLVs, features ---------------------------------------------------------


def wire_values(field: Any) -> st.SearchStrategy[Any]:
    """Values of one declared field of a message."""
    match field:
        case UInt(size=size):
            return st.integers(0, (1 << (8 * size)) - 1)
        case Fixed(size=size):
            # hypothesis draws long binaries slowly: repeat a short one
            return st.binary(min_size=1, max_size=4).map(lambda seed: (seed * size)[:size])
        case PrefixedBytes() | Remainder():
            return st.binary(max_size=40)
        case FeatureBits():
            return st.integers(0, 1 << 70).map(Features)
        case Array(item=item):
            return st.lists(wire_values(item), max_size=4).map(tuple)
        case FeeRangeField():
            return st.builds(FeeRange, *[wire_values(UInt(8))] * 2)
        case LockElementField():
            sizes = [UInt(4), UInt(2), Fixed(32)]
            return st.builds(LockElement, *[wire_values(size) for size in sizes])
        case _:
            raise TypeError(f"no strategy for {field!r}")


def wire_messages(message_class: type[Message]) -> st.SearchStrategy[Any]:
    """Any message of a class, made from its declaration."""
    layout = layout_of(message_class)
    values = {name: wire_values(field) for name, field in layout.fixed.items()}
    for name, tlv in layout.tlvs.items():
        values[name] = st.none() | wire_values(tlv.value)
    if layout.extension_tlvs:
        types = st.integers(1 << 15, 1 << 20).map(lambda half: 2 * half + 1)
        values[layout.extension_tlvs] = st.dictionaries(types, st.binary(max_size=10), max_size=3)
    return st.builds(message_class, **values)


def wire_codec_messages(codec: Codec) -> st.SearchStrategy[Any]:
    """Any message of a codec."""
    return st.sampled_from(codec.message_classes).flatmap(wire_messages)


# --- bitcoin: keys, transactions, blocks, script trees --------------------------------------

bytes32 = st.integers(0, (1 << 256) - 1).map(lambda n: n.to_bytes(32, "big"))
private_keys = st.integers(1, GROUP_ORDER - 1).map(lambda n: PrivateKey(n.to_bytes(32, "big")))
uint32s = st.integers(0, 0xFFFFFFFF)
int32s = st.integers(-(1 << 31), (1 << 31) - 1)
raw_scripts = st.binary(max_size=40)
outpoints = st.builds(OutPoint, bytes32, uint32s)
tx_inputs = st.builds(
    TxIn, outpoints, raw_scripts, uint32s, st.lists(st.binary(max_size=80), max_size=3).map(tuple)
)
tx_outputs = st.builds(TxOut, st.integers(0, 21_000_000 * 10**8).map(Sat), raw_scripts)
transactions = st.builds(
    Tx,
    int32s,
    st.lists(tx_inputs, min_size=1, max_size=4).map(tuple),
    st.lists(tx_outputs, max_size=4).map(tuple),
    uint32s,
)
block_headers = st.builds(BlockHeader, int32s, bytes32, bytes32, uint32s, uint32s, uint32s)
blocks = st.builds(Block, block_headers, st.lists(transactions, max_size=3).map(tuple))
tap_trees: st.SearchStrategy[TapTree] = st.recursive(
    st.builds(Leaf, raw_scripts), lambda trees: st.builds(Branch, trees, trees), max_leaves=12
)

# --- channel: commitments -------------------------------------------------------------------


@st.composite
def commitment_cases(
    draw: st.DrawFn, *, funder_least_sat: int = 660
) -> tuple[CommitmentTerms, CommitmentBalance]:
    """A funding amount, divided between two sides and HTLCs around the dust limit.

    The funder has at least what two anchors cost, if not what the fee is. Keys are those of
    `channel_secrets(1)`, the broadcaster, and `channel_secrets(2)`.
    """
    broadcaster, countersignatory = (channel_secrets(n).basepoints for n in (1, 2))
    broadcaster_is_funder = draw(st.booleans())
    opener, accepter = broadcaster.payment, countersignatory.payment
    if not broadcaster_is_funder:
        opener, accepter = accepter, opener
    terms = CommitmentTerms(
        funding_outpoint=draw(outpoints),
        funding_sat=Sat(draw(st.integers(100_000, 10**9))),
        funding_keys=(broadcaster.funding, countersignatory.funding),
        broadcaster_is_funder=broadcaster_is_funder,
        obscuring_factor=obscuring_factor(opener=opener, accepter=accepter),
        dust_limit_sat=Sat(draw(st.sampled_from([354, 546, 1_000]))),
        to_self_delay_blocks=draw(st.sampled_from([1, 6, 16, 17, 144, 2_016])),
        anchors=draw(st.booleans()),
    )
    kept = 1_000 * funder_least_sat
    left = terms.funding_sat * 1_000 - kept
    htlcs = []
    for key in draw(st.lists(st.builds(HtlcKey, st.booleans(), st.integers(0, 9)), unique=True)):
        amount = draw(st.integers(1, 4_000_000))
        if amount <= left:
            left -= amount
            expiry = draw(st.integers(1, 3)) + 500_000
            payment_hash = sha256(bytes([draw(st.integers(0, 2))]) * 32)
            htlcs.append(HtlcOutput(key, Msat(amount), payment_hash, expiry))
    to_funder = draw(st.integers(0, left) | st.integers(0, min(left, 2_000_000)))
    shares = (kept + to_funder, left - to_funder)
    to_broadcaster, to_countersignatory = shares if broadcaster_is_funder else shares[::-1]
    balance = CommitmentBalance(
        number=draw(st.integers(0, 2**48 - 1)),
        to_broadcaster_msat=Msat(to_broadcaster),
        to_countersignatory_msat=Msat(to_countersignatory),
        feerate_per_kw=FeeRate(draw(st.integers(253, 5_000))),
        htlcs=tuple(htlcs),
    )
    return terms, balance


@cache
def channel_secrets(number: int) -> ChannelSecrets:
    """The same secrets for the same number."""
    return ChannelSecrets.derive(bytes([number]) * 32)


# payment


def book_terms() -> st.SearchStrategy[BookTerms]:
    """Terms of every scheme and asset, at and between their limits."""
    label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
    host = st.sampled_from(["localhost", "127.0.0.1", "[::1]"]) | label.map("{}.example".format)
    origin = st.builds(
        "{}://{}{}".format,
        st.sampled_from(["http", "https"]),
        host,
        st.just("") | st.integers(1_024, 65_535).map(":{}".format),
    )
    return st.integers(1, 65_535).flatmap(
        lambda chain_length: st.builds(
            BookTerms,
            scheme=st.sampled_from(Scheme),
            locks=st.integers(1, MAX_LOCKS),
            chain_length=st.just(chain_length),
            lock_amount=st.integers(1, 2**48).map(lambda value: value * chain_length),
            window=st.integers(1, MAX_WINDOW),
            origins=st.lists(origin, min_size=1, max_size=4, unique=True).map(tuple),
            asset=st.just(b"") | st.binary(min_size=32, max_size=32),
            settlement=st.binary(max_size=20),
        )
    )


def credentials() -> st.SearchStrategy[Credential]:
    """Well-formed credentials; their elements are of no book."""
    return st.integers(1, 4).flatmap(
        lambda locks: st.builds(
            Credential,
            st.binary(min_size=16, max_size=16),
            st.integers(1, 2**40 - 1),
            st.integers(locks, 65_535),
            st.binary(min_size=32 * locks, max_size=32 * locks),
        )
    )


# rgb

_HASHES = st.binary(min_size=32, max_size=32)
_U16 = st.integers(0, 0xFFFF)
_U64 = st.integers(0, 2**64 - 1)


def graph_seals() -> st.SearchStrategy[GraphSeal]:
    return st.builds(GraphSeal, st.none() | _HASHES, st.integers(0, 2**32 - 1), _U64)


def genesis_seals() -> st.SearchStrategy[GenesisSeal]:
    return st.builds(GenesisSeal, _HASHES, st.integers(0, 2**32 - 1), _U64)


def rgb_assignments(
    seals: st.SearchStrategy[GraphSeal] | st.SearchStrategy[GenesisSeal],
) -> st.SearchStrategy[Assignments]:
    """Of up to three types, each with one kind of state; seals revealed, concealed or mixed."""

    def assigns(state: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Assign, ...]]:
        assign = st.builds(Assign, seals | _HASHES.map(SecretSeal), state)
        return st.lists(assign, min_size=1, max_size=4).map(tuple)

    of_a_type = assigns(_U64) | assigns(st.none()) | assigns(st.binary(max_size=9))
    types = st.dictionaries(_U16, of_a_type, max_size=3)
    return types.map(lambda each: Assignments(tuple(sorted(each.items()))))


def opouts() -> st.SearchStrategy[Opout]:
    return st.builds(Opout, _HASHES, _U16, _U16)


def transitions() -> st.SearchStrategy[Transition]:
    metadata = st.dictionaries(_U16, st.binary(max_size=9), max_size=2)
    values = st.lists(st.binary(max_size=9), min_size=1, max_size=3).map(tuple)
    return st.builds(
        Transition,
        contract_id=_HASHES,
        transition_type=_U16,
        inputs=st.sets(opouts(), min_size=1, max_size=4).map(sorted).map(tuple),
        assignments=rgb_assignments(graph_seals()),
        nonce=_U64,
        metadata=metadata.map(lambda each: Metadata(tuple(sorted(each.items())))),
        globals=st.dictionaries(_U16, values, max_size=2).map(
            lambda each: GlobalState(tuple(sorted(each.items())))
        ),
        signature=st.none() | st.binary(min_size=64, max_size=64),
    )


def transition_bundles() -> st.SearchStrategy[TransitionBundle]:
    return st.lists(
        transitions(), min_size=1, max_size=3, unique_by=lambda each: each.inputs[0].opid
    ).map(lambda each: TransitionBundle.of([one for one in each if _apart(one, each)]))


def _apart(one: Transition, others: list[Transition]) -> bool:
    earlier = others[: others.index(one)]
    return not any(set(one.inputs) & set(each.inputs) for each in earlier)


def mpc_proofs() -> st.SearchStrategy[MpcProof]:
    return st.builds(
        MpcProof, st.integers(0, 2**32 - 1), _U16, st.lists(_HASHES, max_size=32).map(tuple)
    )

"""BOLT 9: feature bits, what they need, and whether two nodes fit together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightspeed.wire import EncodeError, FeatureError, Features


@given(st.sets(st.integers(0, 400)))
def test_bits_round_trip(bits):
    features = Features.of(*bits)
    assert list(features) == sorted(bits)
    assert all(bit in features for bit in bits)
    encoded = features.encode()
    assert encoded[:1] != b"\0"
    assert Features.decode(encoded) == features
    assert Features.decode(b"\0\0" + encoded) == features


def test_known_encodings():
    assert Features.of(12, 22).encode().hex() == "401000"
    assert Features().encode() == b""
    assert repr(Features.of(12, 22)) == "Features.of(12, 22)"
    assert Features.of(12, 23, 339).names() == (
        "option_static_remotekey",
        "option_anchors",
        "bit 339",
    )


def test_even_and_odd_bit_both_support_but_only_even_requires():
    for bit in (12, 13):
        assert Features.of(bit).supports(12)
        assert Features.of(bit).supports(13)
    assert Features.of(12).requires(12)
    assert not Features.of(13).requires(12)
    assert -1 not in Features.of(12)


def test_an_unknown_even_feature_is_refused():
    ours = Features.of(13)
    ours.check_peer(Features.of(12, 13, 339))
    with pytest.raises(FeatureError, match="requires bit 338"):
        ours.check_peer(Features.of(338))
    ours.check_peer(Features.of(338), known=(338,))


def test_a_peer_without_what_we_require_is_refused():
    with pytest.raises(FeatureError, match="lacks option_static_remotekey"):
        Features.of(12).check_peer(Features())
    Features.of(12).check_peer(Features.of(13))


def test_a_feature_without_its_dependency_is_refused():
    with pytest.raises(FeatureError, match="option_anchors without option_static_remotekey"):
        Features.of(22, 23).check_peer(Features.of(23))
    Features.of(13, 23).check_dependencies()
    with pytest.raises(FeatureError):
        Features.of(51).check_dependencies()


def test_a_negative_mask_is_refused():
    with pytest.raises(EncodeError):
        Features(-1)


def test_a_field_of_the_longest_length_is_walked_in_linear_time():
    everything = Features.decode(b"\xff" * 65_535)
    with pytest.raises(FeatureError):
        Features.of(13).check_peer(everything)
    assert sum(1 for _ in everything) == 8 * 65_535

"""Keys derive as BOLT 3 says, and no secret shows."""

import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import given

from lightspeed.bitcoin import PrivateKey, PublicKey
from lightspeed.channel.keys import (
    ChannelSecrets,
    CommitmentKeys,
    derive_private_key,
    derive_public_key,
    derive_revocation_private_key,
    derive_revocation_public_key,
)
from strategies import bytes32, private_keys

APPENDIX_E = (
    Path(__file__).parents[1] / "vectors" / "bolt" / "bolt3-key-derivation.txt"
).read_text()


def written(name: str) -> bytes:
    found = re.search(rf"^ +{name}: 0x(\w+)$", APPENDIX_E, re.MULTILINE)
    assert found, name
    return bytes.fromhex(found[1])


def test_appendix_e_key_derivation(vectors: Callable[[str, int], None]) -> None:
    base_secret = PrivateKey(written("base_secret"))
    per_commitment = PrivateKey(written("per_commitment_secret"))
    base_point = PublicKey(written("base_point"))
    point = PublicKey(written("per_commitment_point"))
    assert (base_secret.public, per_commitment.public) == (base_point, point)

    assert derive_public_key(base_point, point).data == written("localpubkey")
    assert derive_private_key(base_secret, point).secret == written("localprivkey")
    revocation = derive_revocation_public_key(base_point, point)
    assert revocation.data == written("revocationpubkey")
    revocation_secret = derive_revocation_private_key(base_secret, per_commitment)
    assert revocation_secret.secret == written("revocationprivkey")
    assert APPENDIX_E.count("name: ") == 4
    vectors("BOLT 3 E", 4)


@given(secret=private_keys, per_commitment=private_keys)
def test_derived_secrets_belong_to_derived_points(
    secret: PrivateKey, per_commitment: PrivateKey
) -> None:
    point = per_commitment.public
    assert derive_private_key(secret, point).public == derive_public_key(secret.public, point)
    revocation = derive_revocation_private_key(secret, per_commitment)
    assert revocation.public == derive_revocation_public_key(secret.public, point)


@given(seed=bytes32, other=bytes32)
def test_a_seed_gives_the_same_distinct_secrets_each_time(seed: bytes, other: bytes) -> None:
    secrets = ChannelSecrets.derive(seed)
    assert secrets == ChannelSecrets.derive(seed)
    assert seed == other or secrets != ChannelSecrets.derive(other)
    points = secrets.basepoints
    all_points = {
        points.funding,
        points.revocation,
        points.payment,
        points.delayed_payment,
        points.htlc,
        secrets.extension_secret("one").public,
        secrets.extension_secret("two").public,
        secrets.per_commitment_point(0),
        secrets.per_commitment_point(1),
    }
    assert len(all_points) == 9


def test_each_side_derives_the_same_keys_of_a_commitment() -> None:
    """Every key of a commitment has a secret on one side, and the revocation key on none alone."""
    broadcaster, countersignatory = (ChannelSecrets.derive(bytes([n]) * 32) for n in (1, 2))
    point = broadcaster.per_commitment_point(7)
    keys = CommitmentKeys.derive(
        point,
        broadcaster=broadcaster.basepoints,
        countersignatory=countersignatory.basepoints,
    )
    per_commitment = PrivateKey(broadcaster.per_commitment_secret(7))
    revocation = derive_revocation_private_key(countersignatory.revocation, per_commitment)
    assert keys == CommitmentKeys(
        per_commitment_point=per_commitment.public,
        revocation=revocation.public,
        broadcaster_delayed=derive_private_key(broadcaster.delayed_payment, point).public,
        broadcaster_htlc=derive_private_key(broadcaster.htlc, point).public,
        countersignatory_htlc=derive_private_key(countersignatory.htlc, point).public,
        countersignatory_payment=countersignatory.payment.public,
    )


def test_no_secret_shows_in_a_repr() -> None:
    secrets = ChannelSecrets.derive(bytes(range(32)))
    assert repr(secrets) == "ChannelSecrets()"

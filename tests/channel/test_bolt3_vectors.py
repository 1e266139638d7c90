"""BOLT 3 byte for byte: every transaction and signature of the appendices and of lnd's files."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from judge import verify_all_spends
from lightspeed.bitcoin import (
    OutPoint,
    PrivateKey,
    PublicKey,
    Tx,
    TxIn,
    TxOut,
    der_decode,
    legacy_sighash,
    p2pkh,
    p2wpkh,
    p2wsh,
    script,
    sha256,
    txid_from_hex,
    txid_hex,
)
from lightspeed.channel.commitment import (
    build_commitment,
    commitment_digest,
    commitment_fee,
    commitment_number,
    obscuring_factor,
)
from lightspeed.channel.funding import ecdsa_item, funding_witness
from lightspeed.channel.graph import Draft, HtlcKey, Output, ToBroadcaster, build
from lightspeed.channel.htlc import HtlcChild, htlc_children
from lightspeed.channel.keys import Basepoints, CommitmentKeys, derive_private_key
from lightspeed.channel.keys import derive_public_key as derive
from lightspeed.channel.scripts import funding_output_script, funding_script, to_local_script
from lightspeed.channel.terms import CommitmentBalance, CommitmentTerms, HtlcOutput
from lightspeed.units import Msat, Sat

BOLT = Path(__file__).parents[1] / "vectors" / "bolt"
APPENDIX_C = (BOLT / "bolt3-commitments-static-remotekey.txt").read_text()
APPENDIX_F = (BOLT / "bolt3-commitments-anchors.txt").read_text()

Record = Callable[[str, int], None]


# --- the common parameters, which stand at the head of appendix C -----------------------------


def value_of(name: str, text: str = APPENDIX_C) -> str:
    found = re.search(rf"^\s*(?:INTERNAL: )?{re.escape(name)}: (\S+)", text, re.MULTILINE)
    assert found, name
    return found[1]


def secret_of(name: str, text: str = APPENDIX_C) -> PrivateKey:
    """Written with a trailing 01 byte: "private key of a compressed public key"."""
    written = bytes.fromhex(value_of(name, text))
    assert len(written) == 33
    assert written[-1] == 1
    return PrivateKey(written[:32])


def key_of(name: str, text: str = APPENDIX_C) -> PublicKey:
    return PublicKey(bytes.fromhex(value_of(name, text)))


LOCAL_FUNDING = secret_of("local_funding_privkey")
REMOTE_FUNDING = secret_of("remote_funding_privkey")
POINT = secret_of("x_local_per_commitment_secret").public
REMOTE_PAYMENT = secret_of("remote_payment_basepoint_secret")
LOCAL_PAYMENT = secret_of("local_payment_basepoint_secret")
# The HTLC basepoints have the values of the payment basepoints.
LOCAL_HTLC = derive_private_key(LOCAL_PAYMENT, POINT)
REMOTE_HTLC = derive_private_key(REMOTE_PAYMENT, POINT)
UNUSED = PrivateKey(b"\x55" * 32).public

KEYS = CommitmentKeys.derive(
    POINT,
    broadcaster=Basepoints(
        funding=LOCAL_FUNDING.public,
        revocation=UNUSED,
        payment=LOCAL_PAYMENT.public,
        delayed_payment=secret_of("local_delayed_payment_basepoint_secret").public,
        htlc=LOCAL_PAYMENT.public,
    ),
    countersignatory=Basepoints(
        funding=REMOTE_FUNDING.public,
        revocation=secret_of("remote_revocation_basepoint_secret").public,
        payment=REMOTE_PAYMENT.public,
        delayed_payment=UNUSED,
        htlc=REMOTE_PAYMENT.public,
    ),
)
TERMS = CommitmentTerms(
    funding_outpoint=OutPoint(
        txid_from_hex(value_of("funding_tx_id")), int(value_of("funding_output_index"))
    ),
    funding_sat=Sat(int(value_of("funding_amount_satoshi"))),
    funding_keys=(LOCAL_FUNDING.public, REMOTE_FUNDING.public),
    broadcaster_is_funder=True,
    obscuring_factor=obscuring_factor(opener=LOCAL_PAYMENT.public, accepter=REMOTE_PAYMENT.public),
    dust_limit_sat=Sat(int(value_of("local_dust_limit_satoshi"))),
    to_self_delay_blocks=int(value_of("local_delay")),
    anchors=False,
)
NUMBER = int(value_of("commitment_number"))
PREIMAGES = {i: bytes.fromhex(value_of(f"htlc {i} payment_preimage")) for i in range(7)}
FUNDING_PREVOUT = TxOut(TERMS.funding_sat, funding_output_script(*TERMS.funding_keys))


def htlc(number: int) -> HtlcOutput:
    direction = value_of(f"htlc {number} direction")
    return HtlcOutput(
        key=HtlcKey(offered_by_broadcaster=direction == "local->remote", id=number),
        amount_msat=Msat(int(value_of(f"htlc {number} amount_msat"))),
        payment_hash=sha256(PREIMAGES[number]),
        cltv_expiry=int(value_of(f"htlc {number} expiry")),
    )


def htlcs_of(name: str) -> tuple[HtlcOutput, ...]:
    """ "HTLCs 5 and 6 are only used in the 'same amount and preimage' test"; it has no 0, 2..4."""
    if "simple" in name:
        return ()
    return tuple(htlc(i) for i in ((1, 5, 6) if "same amount" in name else range(5)))


@dataclass(frozen=True)
class Case:
    """One commitment of a vector file, and what it has to become."""

    name: str
    terms: CommitmentTerms
    keys: CommitmentKeys
    balance: CommitmentBalance
    commitment: bytes
    remote_signature: bytes
    htlc_transactions: tuple[bytes, ...]
    remote_htlc_signatures: tuple[bytes, ...]
    written: str = ""
    """The lines of the text form, for what the JSON form does not have."""

    def check(self) -> int:
        """Rebuild and compare everything; returns the number of transactions."""
        frozen = build_commitment(self.terms, self.balance, self.keys)
        digest = commitment_digest(frozen.tx, self.terms)
        local, remote = (key.sign_ecdsa(digest) for key in (LOCAL_FUNDING, REMOTE_FUNDING))
        assert remote == der_decode(self.remote_signature), self.name
        self.terms.funding_keys[1].verify_ecdsa(remote, digest)
        signed = frozen.tx.with_witness(
            0, funding_witness(funding_keys=self.terms.funding_keys, signatures=(local, remote))
        )
        assert signed.serialize() == self.commitment, self.name
        verify_all_spends(signed, [FUNDING_PREVOUT])
        assert commitment_number(signed, self.terms.obscuring_factor) == self.balance.number

        children = htlc_children(frozen, self.terms, self.balance, self.keys)
        assert len(children) == len(self.htlc_transactions) == len(self.remote_htlc_signatures)
        for child, transaction, signature in zip(
            children, self.htlc_transactions, self.remote_htlc_signatures, strict=True
        ):
            assert self._signed(child, der_decode(signature)).serialize() == transaction, self.name
        self._check_written(local, frozen.has(ToBroadcaster()))
        return 1 + len(children)

    def _signed(self, child: HtlcChild, remote_signature: bytes) -> Tx:
        assert REMOTE_HTLC.sign_ecdsa(child.countersignatory_digest()) == remote_signature
        child.verify(remote_signature)
        signed = child.tx.with_witness(
            0,
            child.witness(
                countersignatory_signature=remote_signature,
                broadcaster_signature=LOCAL_HTLC.sign_ecdsa(child.broadcaster_digest()),
                preimage=PREIMAGES[child.key.id],
            ),
        )
        verify_all_spends(signed, child.prevouts)
        return signed

    def _check_written(self, local_signature: bytes, has_to_local: bool) -> None:
        """What only the text form tells: fee, script of to_local, the local signatures."""
        if not self.written:
            return
        local = re.search(r"# local_signature = (\w+)", self.written)
        assert local
        assert der_decode(bytes.fromhex(local[1])) == local_signature
        if fee := re.search(r"# base commitment transaction fee = (\d+)", self.written):
            expected = commitment_fee(
                feerate_per_kw=self.balance.feerate_per_kw,
                untrimmed_htlcs=len(self.htlc_transactions),
                anchors=self.terms.anchors,
            )
            assert int(fee[1]) == expected, self.name
        to_local = re.search(r"# to_local amount \d+ wscript (\w+)", self.written)
        if to_local:
            assert has_to_local
            assert bytes.fromhex(to_local[1]) == to_local_script(
                revocation=self.keys.revocation,
                delayed=self.keys.broadcaster_delayed,
                to_self_delay_blocks=self.terms.to_self_delay_blocks,
            )
        for der, transaction in zip(
            re.findall(r"# local_htlc_signature = (\w+)", self.written),
            self.htlc_transactions,
            strict=True,
        ):
            assert (
                ecdsa_item(der_decode(bytes.fromhex(der)))
                in Tx.parse(transaction).inputs[0].witness
            )


def appendix_c_cases() -> Iterator[Case]:
    for block in re.split(r"^    name: ", APPENDIX_C, flags=re.MULTILINE)[1:]:
        name = block.splitlines()[0]
        transactions = re.findall(r"htlc_(?:success|timeout)_tx \(htlc #\d\): (\w+)", block)
        signatures = re.findall(r"^ +remote_htlc_signature = (\w+)", block, re.MULTILINE)
        assert len(transactions) == int(value_of("num_htlcs", block))
        remote = re.search(r"^ +remote_signature = (\w+)", block, re.MULTILINE)
        assert remote
        yield Case(
            name=name,
            terms=TERMS,
            keys=KEYS,
            balance=CommitmentBalance(
                number=NUMBER,
                to_broadcaster_msat=Msat(int(value_of("to_local_msat", block))),
                to_countersignatory_msat=Msat(int(value_of("to_remote_msat", block))),
                feerate_per_kw=int(value_of("local_feerate_per_kw", block)),  # type: ignore[arg-type]
                htlcs=htlcs_of(name),
            ),
            commitment=bytes.fromhex(value_of("output commit_tx", block)),
            remote_signature=bytes.fromhex(remote[1]),
            htlc_transactions=tuple(map(bytes.fromhex, transactions)),
            remote_htlc_signatures=tuple(map(bytes.fromhex, signatures)),
            written=block,
        )


def json_cases(
    entries: list[dict[str, Any]], *, terms: CommitmentTerms, keys: CommitmentKeys
) -> Iterator[Case]:
    for entry in entries:
        assert entry["UseTestHtlcs"] == bool(htlcs_of(entry["Name"]))
        yield Case(
            name=entry["Name"],
            terms=replace(
                terms, dust_limit_sat=entry.get("DustLimitSatoshis", terms.dust_limit_sat)
            ),
            keys=keys,
            balance=CommitmentBalance(
                number=NUMBER,
                to_broadcaster_msat=entry["LocalBalance"],
                to_countersignatory_msat=entry["RemoteBalance"],
                feerate_per_kw=entry["FeePerKw"],
                htlcs=htlcs_of(entry["Name"]),
            ),
            commitment=bytes.fromhex(entry["ExpectedCommitmentTxHex"]),
            remote_signature=bytes.fromhex(entry["RemoteSigHex"]),
            htlc_transactions=tuple(
                bytes.fromhex(d["ResolutionTxHex"]) for d in entry["HtlcDescs"]
            ),
            remote_htlc_signatures=tuple(
                bytes.fromhex(d["RemoteSigHex"]) for d in entry["HtlcDescs"]
            ),
        )


def appendix_f_entries() -> list[dict[str, Any]]:
    block = re.search(r"```yaml\n(.*?)```", APPENDIX_F, re.DOTALL)
    assert block
    entries: list[dict[str, Any]] = json.loads(block[1])
    return entries


# --- the tests --------------------------------------------------------------------------------


def test_appendix_b_the_funding_transaction(vectors: Record) -> None:
    text = (BOLT / "bolt3-funding.txt").read_text()
    coinbase = Tx.parse(bytes.fromhex(value_of("Block 1 coinbase transaction", text)))
    secret = secret_of("Block 1 coinbase privkey", text)
    local, remote = key_of("local_funding_pubkey", text), key_of("remote_funding_pubkey", text)
    witness_script = funding_script(local, remote)
    assert f"# funding witness script = {witness_script.hex()}\n" in text
    assert txid_hex(coinbase.txid) == value_of("input txid", text)
    outpoint = OutPoint(coinbase.txid, int(value_of("input index", text)))
    assert coinbase.outputs[outpoint.vout].value == int(value_of("input satoshis", text))

    frozen = build(
        lambda: Draft(
            version=2,
            locktime=0,
            inputs=(TxIn(outpoint),),
            outputs=tuple(
                Output(name, TxOut(Sat(int(value_of(f"{name} satoshis", text))), output_script))
                for name, output_script in (
                    ("change", p2wpkh(secret.public.data)),
                    ("funding", funding_output_script(remote, local)),
                )
            ),
        )
    )
    code = p2pkh(secret.public.hash160)
    signature = secret.sign_ecdsa(legacy_sighash(frozen.tx, 0, script_code=code, hash_type=1))
    script_sig = script(ecdsa_item(signature), secret.public.data)
    signed = replace(frozen.tx, inputs=(TxIn(outpoint, script_sig),))
    assert signed.serialize().hex() == value_of("funding tx", text)
    assert txid_hex(signed.txid) == value_of("# txid", text)
    assert frozen.vout("funding") == int(value_of("funding output", text))
    verify_all_spends(signed, coinbase.outputs)
    vectors("BOLT 3 B", 1)


def test_appendix_c_keys_are_the_derived_ones() -> None:
    """The text prints each key of the transactions; the derivation has to arrive at it."""
    assert key_of("local_per_commitment_point") == POINT
    assert (LOCAL_FUNDING.public, REMOTE_FUNDING.public) == (
        key_of("local_funding_pubkey"),
        key_of("remote_funding_pubkey"),
    )
    assert (secret_of("local_privkey"), secret_of("remote_privkey")) == (LOCAL_HTLC, REMOTE_HTLC)
    assert (
        CommitmentKeys(
            per_commitment_point=POINT,
            revocation=key_of("local_revocation_pubkey"),
            broadcaster_delayed=key_of("local_delayedpubkey"),
            broadcaster_htlc=key_of("local_htlcpubkey"),
            countersignatory_htlc=key_of("remote_htlcpubkey"),
            countersignatory_payment=key_of("remote_payment_basepoint"),
        )
        == KEYS
    )
    assert TERMS.obscuring_factor == 0x2BB038521914
    assert f"# funding wscript = {funding_script(*TERMS.funding_keys).hex()}\n" in APPENDIX_C


@pytest.mark.parametrize("case", list(appendix_c_cases()), ids=lambda case: case.name)
def test_appendix_c_static_remotekey(case: Case, vectors: Record) -> None:
    vectors("BOLT 3 C", case.check())


def test_appendix_c_has_all_its_cases() -> None:
    assert sum(1 for _ in appendix_c_cases()) == APPENDIX_C.count("    name: ") == 16


def test_appendix_f_anchors(vectors: Record) -> None:
    cases = list(json_cases(appendix_f_entries(), terms=replace(TERMS, anchors=True), keys=KEYS))
    assert len(cases) == APPENDIX_F.count('"Name"') == 9
    vectors("BOLT 3 F", sum(case.check() for case in cases))


def test_lnd_anchors_file(vectors: Record) -> None:
    entries = json.loads((BOLT / "bolt3-anchors-zero-fee-htlc.json").read_text())
    cases = list(json_cases(entries, terms=replace(TERMS, anchors=True), keys=KEYS))
    assert len(cases) == 9
    vectors("BOLT 3, lnd anchors", sum(case.check() for case in cases))


def test_lnd_file_without_anchors(vectors: Record) -> None:
    """lnd made these with a tweaked `to_remote` key; all else is as in appendix C."""
    entries = json.loads((BOLT / "bolt3-static-remotekey.json").read_text())
    keys = replace(KEYS, countersignatory_payment=derive(REMOTE_PAYMENT.public, POINT))
    cases = list(json_cases(entries, terms=TERMS, keys=keys))
    assert len(cases) == 14
    vectors("BOLT 3, lnd without anchors", sum(case.check() for case in cases))


def test_a_changed_vector_is_noticed() -> None:
    """The comparison itself can fail."""
    case = next(c for c in appendix_c_cases() if c.htlc_transactions)
    for changed in (
        replace(case, balance=replace(case.balance, number=NUMBER + 1)),
        replace(case, terms=replace(case.terms, to_self_delay_blocks=145)),
        replace(case, htlc_transactions=case.htlc_transactions[::-1]),
    ):
        with pytest.raises(AssertionError):
            changed.check()


def test_funding_scripts_hash_to_the_output_of_appendix_b() -> None:
    assert FUNDING_PREVOUT.script == p2wsh(funding_script(*TERMS.funding_keys[::-1]))

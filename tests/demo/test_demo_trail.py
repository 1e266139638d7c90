"""Money is followed to its owners by what spends show; a strange spend is no owner's."""

import hashlib
from typing import Any

import pytest

from lightspeed.cli.demo.plan import Closer, DemoScheme
from lightspeed.cli.demo.trail import Role, StrangeSpend, Trail, follow

SECRET = b"s" * 32
LOCK_HASH = hashlib.sha256(SECRET).digest()
TO_LOCAL = "63ac"  # OP_IF ...
TO_REMOTE = "21b2"  # ... OP_CHECKSEQUENCEVERIFY
ANCHOR = "2168"  # ... OP_ENDIF
PAYER_SCRIPT, PAYEE_SCRIPT = "0014aa", "0014bb"


class FakeEsplora:
    """Transactions by name; an output is spent by whoever names it as an input."""

    def __init__(self) -> None:
        self.transactions: dict[str, dict[str, Any]] = {}
        self.spends: dict[tuple[str, int], dict[str, Any]] = {}

    def add(
        self,
        txid: str,
        inputs: list[tuple[str, int, list[str]]],
        outputs: list[tuple[str, int] | tuple[str, int, str]],
        *,
        height: int | None = 110,
    ) -> None:
        """Inputs: (txid, vout, witness); outputs: (type, sat[, script])."""
        vin = []
        for index, (parent, vout, witness) in enumerate(inputs):
            known = self.transactions.get(parent)
            prevout = known["vout"][vout] if known else {"value": 10_000}
            vin.append({"txid": parent, "vout": vout, "witness": witness, "prevout": prevout})
            self.spends[parent, vout] = {"spent": True, "txid": txid, "vin": index}
        vout_json = [
            {"scriptpubkey_type": kind, "value": value, "scriptpubkey": (script or ["0014cc"])[0]}
            for kind, value, *script in outputs
        ]
        fee = sum(i["prevout"]["value"] for i in vin) - sum(o["value"] for o in vout_json)
        status = {"confirmed": False} if height is None else {"block_height": height}
        self.transactions[txid] = {
            "txid": txid,
            "vin": vin,
            "vout": vout_json,
            "size": 500,
            "weight": 801,
            "fee": fee,
            "status": status,
        }

    async def transaction(self, txid: str) -> dict[str, Any]:
        return self.transactions[txid]

    async def outspends(self, txid: str) -> list[dict[str, Any]]:
        outputs = range(len(self.transactions[txid]["vout"]))
        return [self.spends.get((txid, vout), {"spent": False}) for vout in outputs]


def closed_channel() -> FakeEsplora:
    """The payer's commitment with an LSF of two locks, nothing of it spent yet."""
    esplora = FakeEsplora()
    esplora.add("funding", [("coins", 0, [])], [("v0_p2wsh", 9_900)])
    esplora.add(
        "commitment",
        [("funding", 0, ["", "", "", ""])],
        [
            ("v0_p2wsh", 330),
            ("v0_p2wsh", 330),
            ("v0_p2wsh", 1_000),
            ("v1_p2tr", 3_000),
            ("v0_p2wsh", 5_000),
        ],
    )
    return esplora


def with_child(esplora: FakeEsplora) -> FakeEsplora:
    outputs = [("v1_p2tr", 1_200), ("v1_p2tr", 1_200), ("anchor", 240)]
    esplora.add("child", [("commitment", 3, ["aa"] * 5)], outputs)
    return esplora


async def trail(
    esplora: FakeEsplora,
    closed_by: Closer = Closer.PAYER,
    *,
    scheme: DemoScheme = DemoScheme.OUTPUTS,
) -> Trail:
    return await follow(esplora, funding_txid="funding", vout=0, scheme=scheme, closed_by=closed_by)


def claim(txid: str = "claim") -> tuple[str, list[Any], list[Any]]:
    inputs = [("child", 0, ["aa", SECRET.hex(), "bb", "cc"])]
    return txid, inputs, [("v0_p2wpkh", 1_100, PAYEE_SCRIPT)]


def refund() -> tuple[str, list[Any], list[Any]]:
    return "refund", [("child", 1, ["aa", "bb", "cc"])], [("v0_p2wpkh", 1_050, PAYER_SCRIPT)]


async def test_what_nobody_spent_is_waiting() -> None:
    found = await trail(closed_channel())
    assert (found.waiting_sat, found.left_sat, found.lsf_sat) == (9_000, 660, 3_000)
    assert found.received_sat == {Closer.PAYER: 0, Closer.PAYEE: 0}


async def test_every_output_finds_its_owner() -> None:
    esplora = with_child(closed_channel())
    esplora.add(*claim())
    esplora.add(*refund())
    esplora.add(
        "local", [("commitment", 4, ["aa", "", TO_LOCAL])], [("v0_p2wpkh", 4_900, PAYER_SCRIPT)]
    )
    esplora.add(
        "remote", [("commitment", 2, ["aa", TO_REMOTE])], [("v0_p2wpkh", 950, PAYEE_SCRIPT)]
    )
    found = await trail(esplora)
    assert found.claimed == {LOCK_HASH: 1_200}
    assert found.refunded_sat == 1_200
    assert found.received_sat == {Closer.PAYER: 4_900 + 1_050, Closer.PAYEE: 950 + 1_100}
    assert found.fees_sat(Closer.PAYEE) == 50 + 100
    assert found.fees_sat(Closer.PAYER) == 100 + 150
    assert found.fees_sat(None) == (9_900 - 9_660) + (3_000 - 2_640)
    assert (found.left_sat, found.waiting_sat) == (660 + 240, 0)
    whole = sum(found.received_sat.values()) + sum(m.fee_sat for m in found.movements)
    assert whole + found.left_sat == found.capacity_sat
    assert found.vbytes == 6 * 201
    assert found.confirmed


async def test_the_broadcaster_owns_what_is_delayed() -> None:
    esplora = closed_channel()
    esplora.add("local", [("commitment", 4, ["aa", "", TO_LOCAL])], [("v0_p2wpkh", 4_900)])
    for closer in Closer:
        assert (await trail(esplora, closer)).received_sat[closer] == 4_900


async def test_a_book_without_payments_goes_back_whole() -> None:
    esplora = closed_channel()
    esplora.add("refund", [("commitment", 3, ["aa", "bb", "cc"])], [("v0_p2wpkh", 2_900)])
    found = await trail(esplora)
    assert (found.refunded_sat, found.lsf_sat, found.claimed) == (3_000, 3_000, {})
    assert found.received_sat[Closer.PAYER] == 2_900


async def test_coins_of_a_wallet_are_no_income() -> None:
    esplora = with_child(closed_channel())
    esplora.add(*claim())
    bump = [("child", 2, []), ("own", 0, ["aa", "bb"])]
    esplora.add("bump", bump, [("v0_p2wpkh", 9_800, PAYEE_SCRIPT)])
    found = await trail(esplora)
    assert found.received_sat[Closer.PAYEE] == 1_100 + 9_800 - 10_000
    assert found.anchors_sat[Closer.PAYEE] == 240


async def test_an_anchor_belongs_to_whom_its_script_pays_elsewhere() -> None:
    esplora = with_child(closed_channel())
    esplora.add(*claim())
    esplora.add("anchor", [("commitment", 0, ["aa", ANCHOR])], [("v0_p2wpkh", 230, PAYEE_SCRIPT)])
    found = await trail(esplora)
    assert found.anchors_sat == {Closer.PAYEE: 330, Closer.PAYER: 0}
    assert found.left_sat == 330 + 240


async def test_an_unconfirmed_transaction_is_told() -> None:
    esplora = with_child(closed_channel())
    txid, inputs, outputs = claim()
    esplora.add(txid, inputs, outputs, height=None)
    assert not (await trail(esplora)).confirmed


@pytest.mark.parametrize(
    ("parent", "vout", "witness"),
    [
        ("commitment", 3, ["aa"]),  # a key path spend of the LSF: a penalty
        ("commitment", 4, ["aa", "ff"]),  # no script that a commitment has
        ("child", 0, ["aa", "bb", "cc", "dd", "ee"]),
        ("child", 0, ["aa"]),
    ],
)
async def test_a_spend_that_was_not_agreed_is_no_part_of_the_books(
    parent: str, vout: int, witness: list[str]
) -> None:
    esplora = closed_channel() if parent == "commitment" else with_child(closed_channel())
    esplora.add("strange", [(parent, vout, witness)], [("v0_p2wpkh", 100)])
    with pytest.raises(StrangeSpend):
        await trail(esplora)


async def test_one_transaction_has_one_owner() -> None:
    esplora = with_child(closed_channel())
    both = [("child", 0, ["aa", SECRET.hex(), "bb", "cc"]), ("child", 1, ["aa", "bb", "cc"])]
    esplora.add("both", both, [("v0_p2wpkh", 2_000)])
    with pytest.raises(StrangeSpend):
        await trail(esplora)


def settled(*outputs: tuple[str, int]) -> FakeEsplora:
    """A ladder's settlement transaction, by default with an output for each side."""
    esplora = closed_channel()
    outputs = outputs or (("v1_p2tr", 1_000), ("v1_p2tr", 1_500), ("anchor", 240))
    witness = ["aa", "bb", SECRET.hex(), "cc", "dd"]
    esplora.add("settlement", [("commitment", 3, witness)], list(outputs))
    return esplora


async def settled_trail(esplora: FakeEsplora) -> Trail:
    return await trail(esplora, scheme=DemoScheme.LADDER)


async def test_a_settlement_pays_the_payee_first_and_gives_back_the_rest() -> None:
    esplora = settled()
    esplora.add("paid", [("settlement", 0, ["aa"])], [("v0_p2wpkh", 900, PAYEE_SCRIPT)])
    esplora.add("unpaid", [("settlement", 1, ["aa"])], [("v0_p2wpkh", 1_400, PAYER_SCRIPT)])
    found = await settled_trail(esplora)
    assert (found.claimed, found.refunded_sat) == ({LOCK_HASH: 1_000}, 1_500)
    assert found.received_sat == {Closer.PAYEE: 900, Closer.PAYER: 1_400}
    assert [movement.what for movement in found.of(Role.BOOK)] == ["settlement transaction"]
    assert [movement.what for movement in found.of(Role.SWEEP)] == ["paid locks", "unpaid locks"]
    assert found.left_sat == 660 + 240
    assert found.waiting_sat == 1_000 + 5_000  # the balances
    assert (found.size_bytes, found.vbytes) == (4 * 500, 4 * 201)


async def test_a_settlement_of_every_lock_gives_nothing_back() -> None:
    found = await settled_trail(settled(("v1_p2tr", 2_500), ("anchor", 240)))
    assert (found.claimed, found.refunded_sat) == ({LOCK_HASH: 2_500}, 0)


async def test_what_a_settlement_paid_waits_for_its_owner() -> None:
    found = await settled_trail(settled())
    assert (found.claimed, found.refunded_sat) == ({LOCK_HASH: 1_000}, 1_500)
    assert found.waiting_sat == 1_000 + 1_500 + 6_000


async def test_a_claim_is_the_books_even_with_a_balance_beside_it() -> None:
    esplora = with_child(closed_channel())
    _, inputs, outputs = claim()
    esplora.add("claim", [*inputs, ("commitment", 2, ["aa", TO_REMOTE])], outputs)
    found = await trail(esplora)
    assert [m.what for m in found.of(Role.COMMITMENT)] == ["commitment"]
    assert [m.what for m in found.of(Role.BOOK)] == [
        "micropayment transaction",
        "claim, sweep of the balance",
    ]
    assert found.of(Role.SWEEP) == ()


@pytest.mark.parametrize("witness", [["aa", "bb", "cc"], ["aa", SECRET.hex(), "bb", "cc"]])
async def test_a_settlement_is_not_spent_by_a_script(witness: list[str]) -> None:
    esplora = settled()
    esplora.add("strange", [("settlement", 0, witness)], [("v0_p2wpkh", 900)])
    with pytest.raises(StrangeSpend):
        await settled_trail(esplora)


async def test_a_settlement_has_two_parties() -> None:
    with pytest.raises(StrangeSpend):
        await settled_trail(settled(*[("v1_p2tr", 800)] * 3))


async def test_an_open_channel_has_no_trail() -> None:
    esplora = FakeEsplora()
    esplora.add("funding", [("coins", 0, [])], [("v0_p2wsh", 9_900)])
    with pytest.raises(StrangeSpend):
        await trail(esplora)


# --- tokens ---------------------------------------------------------------------------------


def with_seals(esplora: FakeEsplora, *, script: str, paid_to: str) -> FakeEsplora:
    """The output of all locks, spent by a leaf."""
    outputs = [("op_return", 0), ("v1_p2tr", 330), ("anchor", 240)]
    esplora.add("child", [("commitment", 3, ["aa"] * 5)], outputs)
    outputs = [("op_return", 0), ("v1_p2tr", 1_000, paid_to), ("v1_p2tr", 2_000, paid_to)]
    spent = [("child", 1, ["aa", script, "cc"]), ("coin", 0, ["aa"])]
    esplora.add("spend", spent, outputs)
    return esplora


@pytest.mark.parametrize(("script", "owner"), [("20ac", Closer.PAYEE), ("20adb2", Closer.PAYER)])
async def test_all_seals_are_claimed_or_refunded_in_one_transaction(
    script: str, owner: Closer
) -> None:
    esplora = with_seals(closed_channel(), script=script, paid_to="5120dd")
    found = await trail(esplora, scheme=DemoScheme.SEALS)
    assert found.received_sat[owner] == 3_000 - 10_000  # what came in from the wallet is taken off
    assert found.received_sat[Closer(owner.other)] == 0
    assert [movement.role for movement in found.movements if movement.owner is owner] == [Role.BOOK]
    assert found.refunded_sat == (330 if owner is Closer.PAYER else 0)
    assert found.left_sat == 660 + 240


async def test_commitments_of_tokens_do_not_count_as_outputs() -> None:
    esplora = closed_channel()
    outputs = [("op_return", 0), ("v1_p2tr", 330), ("v1_p2tr", 330), ("anchor", 240)]
    secret = ["aa", "bb", SECRET.hex(), "cc", "dd"]
    esplora.add("child", [("commitment", 3, secret)], outputs)
    esplora.add("paid", [("child", 1, ["aa"])], [("op_return", 0), ("v1_p2tr", 200, "5120bb")])
    esplora.add("rest", [("child", 2, ["aa"])], [("op_return", 0), ("v1_p2tr", 220, "5120aa")])
    found = await trail(esplora, scheme=DemoScheme.LADDER)
    assert found.claimed == {LOCK_HASH: 330}
    assert found.received_sat == {Closer.PAYEE: 200, Closer.PAYER: 220}

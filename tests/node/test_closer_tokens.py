"""Closing a channel with tokens: each side ends with its own, mined, proved and ready to be sent.

The funder is the payer. A stranger who is sent the tokens validates them from nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from closing_world import Party, set_fee_rate
from lightspeed.bitcoin import FeeRate, OutPoint, Tx
from lightspeed.chain import LocalChain
from lightspeed.channel import Channel, Put, Spend, Sweep
from lightspeed.node.closing import CloseKind, CloseState
from lightspeed.node.own_transactions import BROADCAST_TABLE, OwnTransactions
from lightspeed.node.stash import TOKEN_BUNDLE_TABLE
from lightspeed.node.store import NodeStore
from lightspeed.node.sweeping import build_sweep
from lightspeed.payment import Scheme
from lightspeed.rgb import TokensWouldBurn
from token_closing_world import (
    CHANNEL_TOKENS,
    LOCK_TOKENS,
    LOCKS,
    PUSHED_TOKENS,
    REFUND_DELAY_BLOCKS,
    TokenWorld,
    token_world,
)

PAYER_TOKENS = CHANNEL_TOKENS - PUSHED_TOKENS
BOOK_TOKENS = LOCKS * LOCK_TOKENS
SCHEMES = pytest.mark.parametrize("scheme", [Scheme.SEALS, Scheme.LADDER])
BROADCASTERS = pytest.mark.parametrize("broadcaster", ["payer", "payee"])


def close_of(tokens: TokenWorld, broadcaster: str) -> None:
    party: Party = getattr(tokens, broadcaster)
    tokens.world.publish(party.node.channel.holder_commitment_tx())


def purposes(party: Party) -> set[str]:
    return {tx.purpose for tx in party.progress.transactions if tx.ours}


@BROADCASTERS
async def test_balances_of_tokens_come_out_of_a_unilateral_close(
    tmp_path: Path, broadcaster: str
) -> None:
    async with token_world(tmp_path) as tokens:
        close_of(tokens, broadcaster)
        await tokens.world.run(blocks=40)
        await tokens.check_tokens(payer=PAYER_TOKENS, payee=PUSHED_TOKENS)


@SCHEMES
@BROADCASTERS
async def test_paid_locks_are_claimed_in_tokens(
    tmp_path: Path, scheme: Scheme, broadcaster: str
) -> None:
    """Seals: the unredeemed rest is lost. Ladder: it comes back in the same transaction."""
    async with token_world(tmp_path, scheme=scheme) as tokens:
        tokens.pay(1, 2, 3, 5)
        close_of(tokens, broadcaster)
        await tokens.world.run(blocks=80)
        paid = (4 if scheme is Scheme.SEALS else 5) * LOCK_TOKENS
        lost = BOOK_TOKENS - paid if scheme is Scheme.SEALS else 0
        await tokens.check_tokens(payer=PAYER_TOKENS - paid - lost, payee=PUSHED_TOKENS + paid)


@SCHEMES
@BROADCASTERS
async def test_unpaid_book_gives_its_tokens_back(
    tmp_path: Path, scheme: Scheme, broadcaster: str
) -> None:
    async with token_world(tmp_path, scheme=scheme) as tokens:
        close_of(tokens, broadcaster)
        await tokens.world.run(blocks=80)
        assert any("LSF refund" in purpose for purpose in purposes(tokens.payer))
        await tokens.check_tokens(payer=PAYER_TOKENS, payee=PUSHED_TOKENS)


@SCHEMES
@pytest.mark.parametrize("cheater_name", ["payer", "payee"])
async def test_revoked_commitment_gives_all_tokens_to_the_victim(
    tmp_path: Path, scheme: Scheme, cheater_name: str
) -> None:
    async with token_world(tmp_path, scheme=scheme) as tokens:
        tokens.pay(1, 2)
        cheater: Party = getattr(tokens, cheater_name)
        victim = tokens.world.other(cheater)
        tokens.world.publish(tokens.world.make_revoked(cheater))
        await tokens.world.run(blocks=80)
        assert victim.progress.kind is CloseKind.REVOKED
        assert await tokens.tokens(victim) == CHANNEL_TOKENS
        assert await tokens.tokens(cheater) == 0
        assert await tokens.spend(victim) == CHANNEL_TOKENS


async def test_seals_that_nobody_claims_go_back_to_the_payer(tmp_path: Path) -> None:
    """The payee publishes the micropayment transaction and sleeps through the refund delay."""
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        tokens.pay(1, 2)
        close_of(tokens, "payee")
        while not any(own.purpose == "micropayments" for own in tokens.payee.remembered()):
            await tokens.payee.step()
            tokens.world.regtest.mine()
        while (await tokens.payer.step()).state is not CloseState.DONE:
            tokens.world.regtest.mine()
        assert "lock refund" in purposes(tokens.payer)
        assert await tokens.tokens(tokens.payer) == PAYER_TOKENS
        assert await tokens.spend(tokens.payer) == PAYER_TOKENS


@SCHEMES
async def test_tokens_survive_restarts_and_reorganisations(tmp_path: Path, scheme: Scheme) -> None:
    async with token_world(tmp_path, scheme=scheme, safe_depth=7) as tokens:
        tokens.pay(1, 2, 3)
        close_of(tokens, "payer")

        def disturb(block: int) -> None:
            if block in (3, 7, 14, 28):
                tokens.world.regtest.reorganise(6)
            for party in tokens.world.parties:
                party.stop()
                party.start()

        await tokens.world.run(blocks=100, each=disturb)
        lost = BOOK_TOKENS - 3 * LOCK_TOKENS if scheme is Scheme.SEALS else 0
        await tokens.check_tokens(
            payer=PAYER_TOKENS - 3 * LOCK_TOKENS - lost, payee=PUSHED_TOKENS + 3 * LOCK_TOKENS
        )


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", ["own record", "broadcast", "proof"])
async def test_killed_at_any_write_it_goes_on_and_the_proof_is_never_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Each write and each broadcast of the payee's is once the last thing that it does."""
    deadly: set[bytes] = set()

    def die_once(what: str, key: bytes) -> None:
        if what == after and key not in deadly:
            deadly.add(key)
            raise Killed

    apply, broadcast = NodeStore.apply, LocalChain.broadcast

    def applied(store: NodeStore, puts: Sequence[Put]) -> None:
        apply(store, puts)
        for put in puts:
            if put.value is not None and store.path.name == "fundee.sqlite":  # the payee's
                if put.table == BROADCAST_TABLE:
                    die_once("own record", put.key[32:])
                elif put.table == TOKEN_BUNDLE_TABLE:
                    die_once("proof", put.key[32:])

    async def published(chain: LocalChain, tx: Tx) -> None:
        payee = tokens.payee
        own = OwnTransactions(payee.store, payee.node.channel.channel_id).get(tx.txid)
        if own is not None and tx.outputs[0].value == 0:
            assert payee.store.get(TOKEN_BUNDLE_TABLE, tokens.contract_id + tx.txid) is not None
        await broadcast(chain, tx)
        if own is not None:
            die_once("broadcast", tx.txid)

    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        monkeypatch.setattr(NodeStore, "apply", applied)
        monkeypatch.setattr(LocalChain, "broadcast", published)
        tokens.pay(1, 2, 3)
        close_of(tokens, "payee")
        for _ in range(100):
            for party in tokens.world.parties:
                try:
                    await party.step()
                except Killed:
                    party.stop()
                    party.start()
            progress = [each.progress for each in tokens.world.parties]
            if all(found and found.state is CloseState.DONE for found in progress):
                break
            tokens.world.regtest.mine()
        monkeypatch.undo()
        assert len(deadly) > 1
        await tokens.check_tokens(
            payer=PAYER_TOKENS - BOOK_TOKENS, payee=PUSHED_TOKENS + 3 * LOCK_TOKENS
        )


async def test_the_sweep_that_is_mined_counts_however_often_it_was_replaced(
    tmp_path: Path,
) -> None:
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        tokens.pay(1, 2, 3)
        regtest, payee = tokens.world.regtest, tokens.payee
        close_of(tokens, "payer")
        seen = set()
        for round_ in range(7):
            set_fee_rate(tokens.world, 1 + 4 * round_)
            await payee.step()
            seen |= {own.tx.txid for own in payee.remembered() if own.tokens}
            for _ in range(3):
                regtest.mine_block([])  # nothing of it is mined
        assert len(seen) > 4
        for txid in seen:
            assert payee.stash.tokens_on(OutPoint(txid, 1))
        set_fee_rate(tokens.world, 1)
        await tokens.world.run(blocks=80)
        mined = {tx.txid for tx in payee.progress.transactions if tx.tokens}
        assert len(mined) < len(seen)
        await tokens.check_tokens(
            payer=PAYER_TOKENS - BOOK_TOKENS, payee=PUSHED_TOKENS + 3 * LOCK_TOKENS
        )


async def test_coins_pay_for_what_the_sats_beside_tokens_do_not(tmp_path: Path) -> None:
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        tokens.pay(1)
        close_of(tokens, "payer")
        set_fee_rate(tokens.world, 20)
        await tokens.world.run(blocks=80)
        (claim,) = [tx for tx in tokens.payee.progress.transactions if tx.purpose == "claim"]
        assert (claim.tokens, claim.ours) == (LOCK_TOKENS, True)
        assert claim.fee_sat > 330
        assert claim.fee_sat / claim.vbytes == pytest.approx(20, rel=0.05)


async def test_sats_are_not_left_with_the_tokens(tmp_path: Path) -> None:
    """Only few: what stands beside tokens cannot pay for anything else."""
    async with token_world(tmp_path) as tokens:
        close_of(tokens, "payer")
        await tokens.world.run(blocks=40)
        for party in tokens.world.parties:
            (holding,) = (await tokens.holdings(party)).values()
            assert tokens.world.regtest.output(holding.outpoint).value == 1_000
            await party.wallet.sync()
            assert party.wallet.spendable_sat() == party.wallet.balance().confirmed_sat - 1_000
            assert party.wallet.apart_sat() == 1_000


async def test_secret_that_comes_late_joins_a_claim_that_is_not_mined(tmp_path: Path) -> None:
    """What a claim leaves out is lost."""
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        tokens.pay(1)
        close_of(tokens, "payer")
        await tokens.payee.step()
        while not any(own.purpose == "claim" for own in tokens.payee.remembered()):
            tokens.world.regtest.mine()
            await tokens.payee.step()
        tokens.pay(2, 3)
        await tokens.payee.step()
        (claim,) = [own for own in tokens.payee.remembered() if own.purpose == "claim"]
        assert claim.tokens == 3 * LOCK_TOKENS
        assert claim.tx.txid in tokens.world.regtest.mempool
        await tokens.world.run(blocks=80)
        await tokens.check_tokens(
            payer=PAYER_TOKENS - BOOK_TOKENS, payee=PUSHED_TOKENS + 3 * LOCK_TOKENS
        )


async def test_claim_waits_for_secrets_but_not_for_ever(tmp_path: Path) -> None:
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        tokens.pay(1)
        tokens.payee.lock_secrets_final = False
        close_of(tokens, "payer")
        claimed_at = None
        while claimed_at is None:
            await tokens.payee.step()
            if any(own.purpose == "claim" for own in tokens.payee.remembered()):
                claimed_at = tokens.world.regtest.height
            tokens.world.regtest.mine()
        (child,) = [
            tx for tx in tokens.payee.progress.transactions if tx.purpose == "micropayments"
        ]
        assert claimed_at == child.confirmed_height + REFUND_DELAY_BLOCKS // 2
        await tokens.world.run(blocks=80)
        assert await tokens.tokens(tokens.payee) == PUSHED_TOKENS + LOCK_TOKENS


async def test_cooperative_close_is_in_both_stashes(tmp_path: Path) -> None:
    """Also a version with another fee than the one that was agreed last."""
    async with token_world(tmp_path) as tokens:
        pair = tokens.world.pair
        for party in tokens.world.parties:
            party.node.run(party.node.channel.shutdown())
        pair.settle()
        (closing, *_) = pair.funder.published
        tokens.world.publish(closing)
        await tokens.world.run(blocks=10)
        for party, amount in ((tokens.payer, PAYER_TOKENS), (tokens.payee, PUSHED_TOKENS)):
            found = await party.stash.holdings(tokens.contract_id)
            assert {holding.token.amount for holding in found.values()} == {
                PAYER_TOKENS,
                PUSHED_TOKENS,
            }
            assert all(holding.mined for holding in found.values())
            (ours,) = [
                holding
                for holding in found.values()
                if closing.outputs[holding.outpoint.vout].script
                == party.node.channel.state.config.holder.upfront_shutdown_script
            ]
            assert ours.token.amount == amount


async def test_commitment_that_we_lost_the_state_of_is_left_alone_and_told_of(
    tmp_path: Path,
) -> None:
    """Who took its sats would burn the tokens; it is never over."""
    async with token_world(tmp_path) as tokens:
        node = tokens.payee.node
        old = Channel(node.channel.state, signer=node.channel.signer, extensions=node.extensions)
        for amount in (9_000, 8_000):
            tokens.world.offer(tokens.payer, amount, expires_in=100, known=False)
        close_of(tokens, "payer")
        node.channel = old
        for _ in range(6):
            await tokens.payee.step()
            tokens.world.regtest.mine()
        assert tokens.payee.progress.kind is CloseKind.UNKNOWN
        assert tokens.payee.progress.state is CloseState.CLOSING
        assert any("cannot be moved" in text for text in tokens.payee.progress.problems)
        assert not tokens.payee.remembered()


@BROADCASTERS
async def test_htlcs_are_taken_beside_the_tokens(tmp_path: Path, broadcaster: str) -> None:
    async with token_world(tmp_path) as tokens:
        world = tokens.world
        world.offer(tokens.payer, 30_000, expires_in=12, known=True)
        world.offer(tokens.payer, 20_000, expires_in=12, known=False)
        world.offer(tokens.payee, 25_000, expires_in=12, known=True)
        close_of(tokens, broadcaster)
        await world.run(blocks=60)
        for party in world.parties:
            for own in party.progress.transactions:
                assert not (own.tokens and "HTLC" in own.purpose)
        await tokens.check_tokens(payer=PAYER_TOKENS, payee=PUSHED_TOKENS)


async def test_lock_with_a_garbage_seal_is_not_claimed_and_spoils_nothing(tmp_path: Path) -> None:
    async with token_world(tmp_path, scheme=Scheme.SEALS, garbage=(2,)) as tokens:
        tokens.pay(1, 2, 3)
        close_of(tokens, "payer")
        await tokens.world.run(blocks=80)
        await tokens.check_tokens(
            payer=PAYER_TOKENS - BOOK_TOKENS, payee=PUSHED_TOKENS + 2 * LOCK_TOKENS
        )


async def test_coin_with_tokens_never_pays_a_fee(tmp_path: Path) -> None:
    """Though the wallet were to offer it."""
    async with token_world(tmp_path) as tokens:
        close_of(tokens, "payer")
        await tokens.world.run(blocks=40)
        party = tokens.payee
        await party.wallet.sync()
        party.wallet.kept_apart = None
        coins = await party.wallet.fee_spends(
            party.wallet.balance().confirmed_sat - 500, feerate_per_kw=FeeRate(253)
        )
        (holding,) = (await tokens.holdings(party)).values()
        assert holding.outpoint in {coin.outpoint for coin in coins}
        for coin in coins:
            party.wallet.release_coins([coin.outpoint])
        plain = next(coin for coin in coins if coin.outpoint != holding.outpoint)
        reserved = party.wallet.reserved()
        with pytest.raises(TokensWouldBurn):
            await build_sweep(
                [_sweep(plain)],
                wallet=party.wallet,
                proofs=party.stash,
                destination_script=plain.prevout.script,
                feerate_per_kw=FeeRate(253),
                coins=coins,
            )
        assert party.wallet.reserved() == reserved


def _sweep(spend: Spend) -> Sweep:
    return Sweep(spend=spend, purpose="test", mature_height=0)

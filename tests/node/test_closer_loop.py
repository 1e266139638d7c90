"""A claim of many locks does not hold the node's loop up, and what changes meanwhile is seen."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightspeed.bitcoin import OutPoint, Tx
from lightspeed.channel import Spend, Sweep
from lightspeed.node import closer, stash, sweeping, threads
from lightspeed.node.closing import CloseState
from lightspeed.node.errors import StoreUnavailable, UnknownContract
from lightspeed.node.stash import Stash
from lightspeed.payment import Scheme
from lightspeed.rgb import ASSET_OWNER, Opout, TokenInput, WitnessBundle, WitnessStatus
from token_closing_world import LOCK_TOKENS, LOCKS, PUSHED_TOKENS, TokenWorld, token_world

TURNS = 20


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the book has locks."""
    monkeypatch.setattr(threads, "_FEW", LOCKS - 1)


async def until_done(tokens: TokenWorld) -> None:
    while (await tokens.payee.step()).state is not CloseState.DONE:
        tokens.world.regtest.mine()


def paid_and_closed(tokens: TokenWorld) -> None:
    tokens.pay(*range(1, LOCKS + 1))
    channel = tokens.payee.node.channel
    assert channel is not None
    tokens.world.publish(channel.holder_commitment_tx())


async def test_loop_turns_while_a_large_claim_is_made_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = threading.Event()
    large: set[str] = set()

    async def turn() -> None:
        while True:
            turned.set()
            await asyncio.sleep(0)

    def only_while_the_loop_turns(module: Any, name: str) -> None:
        act: Callable[..., Any] = getattr(module, name)

        def acts(*args: Any, **named: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                return act(*args, **named)
            for _ in range(TURNS):
                turned.clear()
                assert turned.wait(60), "the loop stands still"
            large.add(name)
            # a turn meanwhile changes the node's channel, and not what is read here
            assert all(arg is not tokens.payee.node.channel for arg in args)
            return act(*args, **named)

        monkeypatch.setattr(module, name, acts)

    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        paid_and_closed(tokens)
        only_while_the_loop_turns(closer, "remedies")
        only_while_the_loop_turns(sweeping, "_coloured")
        only_while_the_loop_turns(stash, "_with")
        turning = asyncio.create_task(turn())
        await until_done(tokens)
        turning.cancel()
        assert large == {"remedies", "_coloured", "_with"}
        assert await tokens.tokens(tokens.payee) == PUSHED_TOKENS + LOCKS * LOCK_TOKENS


async def test_histories_that_grow_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        paid_and_closed(tokens)
        await until_done(tokens)
        history = tokens.payee.stash.history(tokens.contract_id)
        bundles = tuple(history.bundles.values())
        assert len(bundles) > 3
        monkeypatch.setattr(threads, "_FEW", -1)
        other = Stash(
            tokens.payer.store,
            tokens.payee.closer._chain,
            chain_net=tokens.payee.stash.chain_net,
            safe_depth=3,
        )
        await asyncio.gather(*(other.keep(bundle) for bundle in bundles))
        assert other.history(tokens.contract_id).bundles.keys() >= history.bundles.keys()
        mined = dict.fromkeys(history.bundles, WitnessStatus.MINED)
        held = {holding.outpoint for holding in history.holdings(mined).values()}
        assert held
        for outpoint in held:
            assert other.tokens_on(outpoint) == tokens.payee.stash.tokens_on(outpoint)


@pytest.mark.parametrize(
    "error", [UnknownContract("never heard of it"), StoreUnavailable("disk full")]
)
async def test_claim_whose_proofs_cannot_be_kept_gives_its_coins_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is tried again at each block: soon there would be none left."""
    added: set[OutPoint] = set()
    build, keep = closer.build_sweep, Stash.keep

    async def built(*args: Any, **named: Any) -> sweeping.BuiltSweep:
        swept = await build(*args, **named)
        added.update(coin.outpoint for coin in swept.added)
        return swept

    async def refuse(stash: Stash, *bundles: WitnessBundle) -> None:
        if added:
            raise error
        await keep(stash, *bundles)

    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        paid_and_closed(tokens)
        monkeypatch.setattr(closer, "build_sweep", built)
        monkeypatch.setattr(Stash, "keep", refuse)
        while not added:
            with contextlib.suppress(StoreUnavailable):
                await tokens.payee.step()
            tokens.world.regtest.mine()
        assert not added & set(tokens.payee.wallet.reserved())
        monkeypatch.undo()
        monkeypatch.setattr(threads, "_FEW", LOCKS - 1)
        await until_done(tokens)
        assert await tokens.tokens(tokens.payee) == PUSHED_TOKENS + LOCKS * LOCK_TOKENS


async def test_coin_that_tokens_come_to_meanwhile_pays_for_no_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tx] = []
    build = sweeping._coloured

    def built(sweeps: Sequence[Sweep], inputs: Sequence[Spend], *rest: Any) -> Any:
        swept = build(sweeps, inputs, *rest)
        if len(inputs) > len(sweeps):  # with coins of the wallet
            made.append(swept.tx)
        return swept

    def tokens_on(stash: Stash, outpoint: OutPoint) -> tuple[TokenInput, ...]:
        """Everything that the first version spends."""
        if made and outpoint in {txin.outpoint for txin in made[0].inputs}:
            return (TokenInput(Opout(bytes(32), ASSET_OWNER, 0), 1),)
        return ()

    async with token_world(tmp_path, scheme=Scheme.SEALS) as tokens:
        paid_and_closed(tokens)
        monkeypatch.setattr(sweeping, "_coloured", built)
        monkeypatch.setattr(Stash, "tokens_on", tokens_on)
        while not made:
            progress = await tokens.payee.step()
            tokens.world.regtest.mine()
        assert any("would be lost" in problem for problem in progress.problems)
        assert made[0].txid not in {own.tx.txid for own in tokens.payee.remembered()}
        assert tokens.world.regtest.transaction(made[0].txid) is None
        spent = {txin.outpoint for txin in made[0].inputs}
        assert not spent & set(tokens.payee.wallet.reserved())

"""Channels with tokens: opened between whole nodes, restarted, and refused in time."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightspeed.channel import ChannelRefusal, ChannelViolation, Phase, Side
from lightspeed.colour import ColourTerms, colour_parameters, with_allocations
from lightspeed.lsf import Party
from lightspeed.node import openings, token_openings
from lightspeed.node.errors import OpeningRefused, PeerLacksLightspeed, UnknownContract
from lightspeed.node.stash import Stash
from lightspeed.rgb import NotEnoughTokens, TokenInput, contract_id_text
from lightspeed.units import Sat
from node_tokens import SUPPLY, issued, open_coloured, settled, tokens_of
from node_world import NodeWorld, RunningNode, eventually, node_world


async def pair(
    world: NodeWorld, *, listed: bool = True, **changes: Any
) -> tuple[RunningNode, RunningNode, bytes]:
    """An opener that issued a token, and an accepter that takes it."""
    opener = await world.start("opener", party=Party.PAYER)
    contract_id = await issued(opener)
    tokens = (contract_id_text(contract_id),) if listed else ()
    accepter = await world.start(
        "accepter", party=Party.PAYEE, lightspeed_changes={"tokens": tokens}, **changes
    )
    return opener, accepter, contract_id


async def free_tokens(running: RunningNode, contract_id: bytes) -> int:
    balance = await running.node.tokens.balance(contract_id)
    return balance.settled - balance.reserved


async def attempt(
    opener: RunningNode,
    accepter: RunningNode,
    contract_id: bytes,
    *,
    tokens: int = 100_000,
    push_sat: int = 100_000,
    party: Party | None = Party.PAYER,
) -> None:
    await opener.connect(accepter)
    await opener.node.open_channel(
        accepter.node_id,
        funding_sat=Sat(1_000_000),
        push_sat=Sat(push_sat),
        party=party,
        tokens=ColourTerms(contract_id=contract_id, tokens=tokens),
    )


async def test_both_sides_agree_on_the_tokens_and_know_them_after_a_restart(
    tmp_path: Path,
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)

        await open_coloured(
            opener, accepter, contract_id, tokens=70_000, pushed=500, party=Party.PAYER
        )

        assert tokens_of(opener) == (69_500, 500)
        assert tokens_of(accepter) == (500, 69_500)
        await settled(opener, contract_id, SUPPLY - 70_000)
        for running in (opener, accepter):
            await running.stop()
        await accepter.start()
        await opener.start()
        await opener.connect(accepter)
        await eventually(lambda: opener.usable() and accepter.usable())
        assert tokens_of(accepter) == (500, 69_500)
        parameters = colour_parameters(accepter.channel.state.config)
        assert parameters is not None
        funding = accepter.channel.state.config.funding_outpoint
        assert accepter.node.stash.tokens_on(funding) == parameters.allocations


async def test_an_ordinary_channel_may_hold_tokens(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        await open_coloured(opener, accepter, contract_id, tokens=10)
        assert tokens_of(accepter) == (0, 10)
        assert opener.driver.record.party is None


async def test_a_contract_that_is_not_on_the_list_is_refused_before_its_history_is_sent(
    tmp_path: Path,
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world, listed=False)
        with pytest.raises(OpeningRefused, match="tokens under \\[lightspeed\\]"):
            await attempt(opener, accepter, contract_id)
        assert "RgbConsignment" not in opener.node.metrics.snapshot().messages_sent
        assert await free_tokens(opener, contract_id) == SUPPLY


async def test_a_node_takes_tokens_that_it_issued_without_a_list(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        issuer, other, contract_id = await pair(world)
        await open_coloured(issuer, other, contract_id, tokens=10, party=Party.PAYER)
        lists = issuer.node._token_openings
        lists.check_wanted(ColourTerms(contract_id=contract_id, tokens=1))
        # The other one knows the contract as well, by its list alone.
        no_list = replace(other.config.lightspeed, tokens=())  # type: ignore[type-var]
        other.node._token_openings._config = replace(other.config, lightspeed=no_list)
        with pytest.raises(ChannelViolation, match="takes no tokens"):
            other.node._token_openings.check_wanted(ColourTerms(contract_id=contract_id, tokens=1))


async def test_what_the_opener_has_not_got_is_told_before_a_word_is_said(tmp_path: Path) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        with pytest.raises(NotEnoughTokens):
            await attempt(opener, accepter, contract_id, tokens=SUPPLY + 1)
        with pytest.raises(UnknownContract):
            await attempt(opener, accepter, bytes(32))
        ordinary = await world.start("ordinary")
        with pytest.raises(PeerLacksLightspeed, match="tokens"):
            await attempt(opener, ordinary, contract_id, party=None)


async def test_an_opening_that_its_opener_gives_up_takes_no_place_of_the_next(
    tmp_path: Path,
) -> None:
    """A peer opens one channel with tokens at a time."""
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        with pytest.raises(ChannelRefusal, match="own output would be 0 sat"):
            await attempt(opener, accepter, contract_id, push_sat=0)
        assert await free_tokens(opener, contract_id) == SUPPLY
        await attempt(opener, accepter, contract_id)


async def test_one_history_of_a_peer_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        begun, held = asyncio.Event(), asyncio.Event()
        fund = type(opener.node._token_openings).fund

        async def slow(*given: Any, **named: Any) -> Any:
            begun.set()
            await held.wait()
            return await fund(*given, **named)

        monkeypatch.setattr(type(opener.node._token_openings), "fund", slow)
        first = asyncio.create_task(attempt(opener, accepter, contract_id, tokens=10))
        await begun.wait()
        with pytest.raises(OpeningRefused, match="try again later"):
            await attempt(opener, accepter, contract_id, tokens=10)
        held.set()
        await first


async def test_a_peer_that_says_nothing_more_holds_no_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of peers cost nothing: eight of them would end all openings with tokens."""
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        monkeypatch.setattr(openings, "_TOKENS_PATIENCE_SECONDS", 0.0)
        begun = asyncio.Event()
        funding = openings.Openings._funding

        async def silent(*given: Any, **named: Any) -> Any:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            return await funding(*given, **named)

        monkeypatch.setattr(openings.Openings, "_funding", silent)
        first = asyncio.create_task(attempt(opener, accepter, contract_id, tokens=10))
        await begun.wait()
        await attempt(opener, accepter, contract_id, tokens=10)
        assert not accepter.node._openings._pending
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_history_is_kept_for_a_channel_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Funding transactions that nobody signs for cost nothing, and are asked for at each use."""
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        made = openings.funded

        def unsigned(*given: Any, **named: Any) -> Any:
            opening, message = made(*given, **named)
            wrong = bytes([message.signature[0] ^ 1]) + message.signature[1:]
            return opening, replace(message, signature=wrong)

        monkeypatch.setattr(openings, "funded", unsigned)
        with pytest.raises(OpeningRefused, match="signature"):
            await attempt(opener, accepter, contract_id)
        assert not accepter.node.stash.contracts


async def test_a_history_that_is_not_deep_enough_is_refused_and_the_tokens_are_free_again(
    tmp_path: Path,
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world, minimum_depth=4)
        first = await world.start(
            "first", party=Party.PAYEE, lightspeed_changes=accepter_list(contract_id)
        )
        await open_coloured(opener, first, contract_id, tokens=10, party=Party.PAYER)
        # What is left rests on the first channel's funding transaction, two blocks deep.
        await eventually(lambda: all(d.phase is Phase.NORMAL for d in opener.node.drivers.values()))
        with pytest.raises(OpeningRefused, match="not 4 blocks deep"):
            await attempt(opener, accepter, contract_id)
        assert await free_tokens(opener, contract_id) == SUPPLY - 10
        assert not accepter.node.drivers
        world.mine(3)
        await eventually(lambda: opener.node.watch.height == world.regtest.height)
        await attempt(opener, accepter, contract_id)


def accepter_list(contract_id: bytes) -> dict[str, Any]:
    return {"tokens": (contract_id_text(contract_id),)}


async def test_tokens_that_are_not_on_the_funding_output_are_no_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opener claims more than it brought: both sides would sign what RGB does not know."""
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        brings = opener.node._token_openings._builder

        async def fewer(contract: bytes, allocations: Any, **others: Any) -> Any:
            ((vout, amount),) = allocations
            return await type(brings).transfer(brings, contract, [(vout, amount - 1)], **others)

        monkeypatch.setattr(brings, "transfer", fewer)

        def claims(opening: Any, tokens: Any) -> Any:
            if opening.funder is Side.COUNTERPARTY:
                return with_allocations(opening, tokens)
            (token,) = tokens
            return with_allocations(opening, [TokenInput(token.opout, token.amount + 1)])

        monkeypatch.setattr(token_openings, "with_allocations", claims)
        with pytest.raises(OpeningRefused, match="99999 tokens on the funding output"):
            await attempt(opener, accepter, contract_id)
        assert not accepter.node.drivers
        assert not accepter.node.stash.contracts


async def test_funding_output_that_was_not_agreed_is_refused_before_a_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        brings = opener.node._token_openings._builder

        async def less(*given: Any, outputs: Any, **named: Any) -> Any:
            outputs = [replace(outputs[0], value=outputs[0].value - 1)]
            return await type(brings).transfer(brings, *given, outputs=outputs, **named)

        monkeypatch.setattr(brings, "transfer", less)
        with pytest.raises(OpeningRefused, match="another one than was agreed"):
            await attempt(opener, accepter, contract_id)
        assert not accepter.node.drivers


async def test_a_withheld_or_garbled_history_opens_no_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        proofs: list[Any] = [lambda data: b"", lambda data: data[:-1] + bytes([data[-1] ^ 1])]
        texts = ["before the history", "history is refused"]
        fund = type(opener.node._token_openings).fund
        for spoil, text in zip(proofs, texts, strict=True):

            async def spoilt(*given: Any, spoil: Any = spoil, **named: Any) -> Any:
                brought = await fund(*given, **named)
                return replace(brought, consignment=spoil(brought.consignment))

            monkeypatch.setattr(type(opener.node._token_openings), "fund", spoilt)
            with pytest.raises(OpeningRefused, match=text):
                await attempt(opener, accepter, contract_id)
            assert await free_tokens(opener, contract_id) == SUPPLY
        assert not accepter.node.stash.contracts


async def test_a_peer_that_hangs_up_while_its_history_is_validated_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        waiting = asyncio.Event()

        async def for_ever(*_: Any, **__: Any) -> Any:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(accepter.node.stash, "check", for_ever)
        opening = asyncio.create_task(attempt(opener, accepter, contract_id))
        await waiting.wait()
        await opener.node.peers.get(accepter.node_id).close()  # type: ignore[union-attr]
        with pytest.raises(OpeningRefused, match="connection was lost"):
            await opening
        await eventually(lambda: not accepter.node._openings._pending)
        monkeypatch.undo()
        await open_coloured(opener, accepter, contract_id, party=Party.PAYER)


async def test_opener_that_dies_before_funding_signed_has_its_tokens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        waiting = asyncio.Event()

        async def for_ever(*_: Any, **__: Any) -> Any:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(accepter.node.stash, "check", for_ever)
        monkeypatch.setattr(opener.node.wallet, "release", lambda tx: None)  # as a crash does
        opening = asyncio.create_task(attempt(opener, accepter, contract_id))
        await waiting.wait()
        await opener.stop()
        with pytest.raises(OpeningRefused):
            await opening
        monkeypatch.undo()
        await opener.start()
        await eventually(lambda: opener.node.wallet.balance().confirmed_sat)
        assert await free_tokens(opener, contract_id) == SUPPLY
        await open_coloured(opener, accepter, contract_id, party=Party.PAYER)


async def test_channel_ready_waits_for_an_ancestor_that_a_reorganisation_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The funding transaction stands and its tokens do not: they would be counted for nothing."""
    async with node_world(tmp_path) as world:
        opener, accepter, contract_id = await pair(world)
        holdings = Stash.holdings
        gone: set[bytes] = {contract_id}

        async def without(stash: Stash, contract: bytes, **named: Any) -> Any:
            found = await holdings(stash, contract, **named)
            if stash is accepter.node.stash and contract in gone:
                return {opout: replace(each, mined=False) for opout, each in found.items()}
            return found

        monkeypatch.setattr(Stash, "holdings", without)
        await attempt(opener, accepter, contract_id)
        world.mine(3)
        key = f"tokens of channel {accepter.channel.channel_id.hex()}"
        await eventually(lambda: any(t.startswith(key) for t in accepter.node.alarms.texts))
        assert accepter.driver.phase is Phase.AWAITING_READY
        gone.clear()
        world.mine()
        await eventually(lambda: opener.usable() and accepter.usable())
        assert not accepter.node.alarms.texts

"""A peer that says what it likes: a bare connection, and a channel driven by hand."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from channel_pair import opening_terms
from lightspeed.bitcoin import OutPoint, PrivateKey, sha256
from lightspeed.channel import (
    Channel,
    ChannelSecrets,
    Effect,
    Extensions,
    Persist,
    Send,
    Signer,
    accepted,
    funded,
    propose,
    receive_funding_signed,
)
from lightspeed.node.peers import peer_settings
from lightspeed.units import Msat, Sat
from lightspeed.wire import (
    AcceptChannel,
    ChannelReady,
    FundingSigned,
    Message,
)
from lightspeed.wire.peer import Peer, connect
from node_world import RunningNode, eventually

__all__ = ["RawPeer"]

M = TypeVar("M", bound=Message)


@dataclass
class RawPeer:
    """Connected to one node; `channel` follows only what the test tells it."""

    target: RunningNode
    key: PrivateKey
    peer: Peer
    signer: Signer
    channel: Channel | None = None
    store: dict[tuple[str, bytes], bytes | None] = field(default_factory=dict)

    @classmethod
    async def to(cls, target: RunningNode, *, name: str = "raw", lightspeed: bool = False) -> Any:
        key = PrivateKey(sha256(name.encode()))
        peer = await cls._connect(target, key, lightspeed=lightspeed)
        return cls(target, key, peer, Signer(ChannelSecrets.derive(sha256(name.encode()))))

    @staticmethod
    async def _connect(target: RunningNode, key: PrivateKey, *, lightspeed: bool) -> Peer:
        config = target.config
        peer = await connect(
            host="127.0.0.1",
            port=target.node.peers.port,
            their_node_id=target.node.keys.node_id,
            settings=peer_settings(
                node_key=key, chain_hash=config.chain_hash, lightspeed=lightspeed
            ),
        )
        await eventually(lambda: target.node.peers.get(key.public.data))
        return peer

    async def reconnect(self) -> None:
        await self.peer.close()
        await eventually(lambda: not self.target.node.peers.get(self.key.public.data))
        self.peer = await self._connect(self.target, self.key, lightspeed=False)

    async def expect(self, kind: type[M]) -> M:
        """The next message, which has to be of this kind."""
        async with asyncio.timeout(60):
            message = await anext(self.peer)
        assert isinstance(message, kind), message
        return message

    async def hung_up(self) -> bool:
        """The node ends the connection and says nothing more."""
        async with asyncio.timeout(60):
            return [message async for message in self.peer] == []

    async def run(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist():
                    self.store |= {(put.table, put.key): put.value for put in effect.puts}
                case Send():
                    await self.peer.send(effect.message)
                case _:
                    pass

    async def receive(self, kind: type[Message]) -> None:
        """Hear the next message as an honest peer would."""
        assert self.channel is not None
        await self.run(self.channel.receive(await self.expect(kind)))

    async def open_channel(
        self,
        *,
        funding_sat: int = 1_000_000,
        push_sat: int = 100_000,
        outpoint: OutPoint | None = None,
        vout: int = 0,
    ) -> None:
        """An ordinary channel, ready on both sides. The regtest's faucet pays.

        A liar names another `outpoint`, or another `vout` than 0, as the funding output.
        """
        regtest = self.target.world.regtest
        extensions = Extensions()
        opening, message = propose(
            temporary_channel_id=sha256(b"temporary"),
            chain_hash=self.target.config.chain_hash,
            funding_sat=Sat(funding_sat),
            push_msat=Msat(push_sat * 1_000),
            feerate_per_kw=1_000,
            terms=opening_terms("raw", minimum_depth=1),
            signer=self.signer,
            extensions=extensions,
        )
        await self.peer.send(message)
        acceptance = accepted(opening, await self.expect(AcceptChannel), extensions=extensions)
        tx = regtest.fund(acceptance.funding_script, acceptance.amount_sat)
        named = outpoint or OutPoint(tx.txid, vout)
        opening, created = funded(
            acceptance.opening, named, signer=self.signer, extensions=extensions
        )
        await self.peer.send(created)
        state = receive_funding_signed(
            opening, await self.expect(FundingSigned), signer=self.signer, extensions=extensions
        )
        self.channel = Channel(state, signer=self.signer, extensions=extensions)
        await self.run(self.channel.created())
        self.target.world.mine()
        await self.run(self.channel.funding_confirmed())
        await self.receive(ChannelReady)
        await eventually(self.target.usable)

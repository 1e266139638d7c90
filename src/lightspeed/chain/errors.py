"""What a chain backend refuses or fails at.

LocalError
├── BroadcastRefused   the mempool does not take the transaction
├── BlockRefused       a block does not connect (regtest, where we mine)
├── ReorgTooDeep       there are fewer blocks than should be replaced (regtest)
└── FaucetEmpty        more coins are asked for than were mined (regtest)
StoreError
└── ChainUnavailable   the backend did not answer, or its answer is inconsistent
"""

from lightspeed.errors import LocalError, StoreError

__all__ = ["BlockRefused", "BroadcastRefused", "ChainUnavailable", "FaucetEmpty", "ReorgTooDeep"]


class BroadcastRefused(LocalError, ValueError):
    """The mempool refuses; `reason` starts with Bitcoin Core's reject string, such as `dust`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason


class BlockRefused(LocalError, ValueError):
    """Bitcoin Core's validation refuses a block; `reason` is its reject string."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason


class ReorgTooDeep(LocalError, ValueError):
    """A reorganisation would replace the genesis block."""


class FaucetEmpty(LocalError, ValueError):
    """The faucet's mature coins do not suffice."""


class ChainUnavailable(StoreError, ConnectionError):
    """No usable answer from the chain backend; nothing is known about what was asked."""

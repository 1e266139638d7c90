"""How fast a client may ask: a bucket of tokens, refilled by the clock that is given."""

import math

from lightspeed.node.tower.errors import TooManyRequests

__all__ = ["RateLimit"]


class RateLimit:
    """For each client `burst` tokens, of which `per_second` come back."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[int, tuple[float, float]] = {}

    def take(self, client: int, tokens: float, *, now: float) -> None:
        """Raises `TooManyRequests`; then nothing was taken. More than a full bucket is never
        there, so it is asked for no more.
        """
        left, at = self._left.get(client, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._per_second)
        wanted = min(tokens, self._burst)
        self._left[client] = (left, now)
        if wanted > left:
            raise TooManyRequests(math.ceil((wanted - left) / self._per_second))
        self._left[client] = (left - wanted, now)

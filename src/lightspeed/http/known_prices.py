"""What calls were last said to cost, so that the next one is paid at once."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from lightspeed.http.pricing import is_below
from lightspeed.payment import Price

__all__ = ["KnownPrices"]

MAX_KNOWN_PRICES = 4_096
LIFETIME_SECONDS = 3_600.0  # then it is asked for again: a price may fall

_ANY_METHOD = ""


class KnownPrices:
    """By origin and path: for the path alone and one method, or for a whole scope."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, str, str], tuple[Sequence[Price], float]] = (
            OrderedDict()
        )

    def learn(
        self, method: str, origin: str, path: str, *, scope: str, prices: Sequence[Price]
    ) -> None:
        """A scope that the path is not on or below says nothing about this call."""
        whole = scope != "" and is_below(path, scope)
        key = (origin, scope, _ANY_METHOD) if whole else (origin, path, method)
        with self._lock:
            self._known.pop((origin, path, method), None)
            self._known[key] = prices, self._clock() + LIFETIME_SECONDS
            if len(self._known) > MAX_KNOWN_PRICES:
                self._known.popitem(last=False)

    def find(self, method: str, origin: str, path: str) -> Sequence[Price] | None:
        """None if the call must first be made without payment."""
        with self._lock:
            found = self._known.get((origin, path, method))
            if found is None:
                found = next(
                    (
                        self._known[key]
                        for scope in _scopes(path)
                        if (key := (origin, scope, _ANY_METHOD)) in self._known
                    ),
                    None,
                )
            if found is None or found[1] <= self._clock():
                return None
            return found[0]


def _scopes(path: str) -> Iterator[str]:
    """The path and everything that it is below, longest first."""
    yield path
    at = path.rfind("/")
    while at > 0:
        yield path[: at + 1]
        yield path[:at]
        at = path.rfind("/", 0, at)
    yield "/"

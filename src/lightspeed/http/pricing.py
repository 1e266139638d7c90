"""What each request costs: one price, a price per path, or a function of the request."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from lightspeed.http.errors import PriceError
from lightspeed.http.tokens import parse_asset
from lightspeed.payment import Price

__all__ = ["PriceLike", "Pricing", "PricingLike", "Quote", "Scope", "is_below", "parse_price"]

Scope = Mapping[str, Any]
"""An ASGI scope of type "http"."""

PriceLike = str | Price | Iterable[str | Price] | None
"""`"10 sat"` or `"10 rgb:..."`, a Price, several of them (one per asset), or None: free."""

PricingLike = PriceLike | Mapping[str, PriceLike] | Callable[[Scope], PriceLike]

_UNITS = {"msat": 1, "sat": 1_000, "sats": 1_000, "btc": 100_000_000_000}  # in msat
_AMOUNT = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,11}))? ?([a-z]+)", re.ASCII)
_TOKENS = re.compile(r"([0-9]{1,19}) (rgb:.+)", re.ASCII)


class Quote(NamedTuple):
    """What one request costs: one price per asset that it is sold for.

    Every request on `scope` and below it costs the same; empty if that is known for this one
    path only.
    """

    prices: tuple[Price, ...]
    scope: str


class Pricing:
    """The quote for each request, from any of the forms in which a price is given.

    A mapping is by path: `"/v1"` stands for itself and all below it, the longest match counts,
    and a path without a match is free. A function gets the ASGI scope.
    """

    def __init__(self, price: PricingLike) -> None:
        self._function: Callable[[Scope], PriceLike] | None = None
        self._routes: list[tuple[str, Quote | None]] = []
        if isinstance(price, Mapping):
            self._routes = _routes(price)
        elif callable(price):
            self._function = price
        else:
            self._routes = _routes({"/": price})
        self._always = self._routes[0][1] if [*dict(self._routes)] == ["/"] else None

    def quote(self, scope: Scope) -> Quote | None:
        """None for a request that is free. Raises PriceError for what a function returned."""
        if self._always is not None:
            return self._always
        if self._function is not None:
            return _quote(self._function(scope), "")
        for path in _paths(scope):
            for route, quote in self._routes:
                if route == "/" or is_below(path, route):
                    return quote
        return None


def _paths(scope: Scope) -> Iterator[str]:
    """As the application routes it, then as it was asked for.

    A server's or a mount's `root_path` is part of ASGI's path. Whichever of the two a price was
    given for, the request is not free.
    """
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and is_below(path, root):
        yield path[len(root) :] or "/"
    yield path


def is_below(path: str, route: str) -> bool:
    """Whether a path is `route` itself or below it."""
    return path == route or path.startswith(route if route.endswith("/") else f"{route}/")


@lru_cache(maxsize=1_024)
def parse_price(text: str) -> Price:
    """`"10 sat"`, `"0.5 sat"`, `"1500 msat"`, `"0.00000010 btc"`, or whole units of a token by the
    id of its contract, `"10 rgb:..."`. Raises PriceError."""
    tokens = _TOKENS.fullmatch(text.strip())
    if tokens is not None:
        return _token_price(int(tokens[1]), tokens[2])
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None or match[3] not in _UNITS:
        raise PriceError(f'{text!r} is not a price such as "10 sat", or "10 rgb:..." for tokens')
    whole, fraction, unit = match[1], match[2] or "", match[3]
    amount, rest = divmod(int(whole + fraction) * _UNITS[unit], 10 ** len(fraction))
    if rest:
        raise PriceError(f"{text!r} is not a whole number of msat")
    return Price(amount)


def _token_price(amount: int, contract: str) -> Price:
    try:
        return Price(amount, parse_asset(contract))
    except ValueError as error:
        raise PriceError(f"{contract!r} is not the id of a contract: {error}") from error


def _quote(price: PriceLike, scope: str) -> Quote | None:
    if price is None:
        return None
    if isinstance(price, str | Price):
        price = (price,)
    prices = tuple(parse_price(one) if isinstance(one, str) else one for one in price)
    if not prices or len({one.asset for one in prices}) != len(prices):
        raise PriceError("one price for each asset")
    if not all(isinstance(one, Price) for one in prices):
        raise PriceError("a price is a text, a Price or several of them")
    return Quote(prices, scope) if any(one.amount for one in prices) else None


def _routes(prices: Mapping[str, PriceLike]) -> list[tuple[str, Quote | None]]:
    """Longest first; a route is the scope of its quote unless another lies below it."""
    routes = []
    for route in sorted(prices, key=len, reverse=True):
        if not route.startswith("/"):
            raise PriceError(f"the route {route!r} does not start with a slash")
        alone = not any(other != route and is_below(other, route) for other in prices)
        routes.append((route, _quote(prices[route], route if alone else "")))
    return routes

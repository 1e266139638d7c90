"""What a payer allows itself to pay: per origin, per call and per time. On by default."""

from collections import deque
from dataclasses import dataclass, field

from lightspeed.http.errors import BudgetExceeded
from lightspeed.http.pricing import parse_price
from lightspeed.payment import Price

__all__ = ["Budget", "Spending"]

_HOUR_SECONDS = 3_600.0
_DAY_SECONDS = 86_400.0
_GRAIN_SECONDS = 60.0  # spending of the same minute leaves a window together


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits for one origin, or for each origin that has no budget of its own.

    Amounts are texts such as `"10 sat"`, or Prices. All three are in one asset: a token that no
    budget names is never paid with. It counts what was handed out, served or not, since this
    process started.
    """

    per_call: str | Price = "1000 sat"
    per_hour: str | Price = "10000 sat"
    per_day: str | Price = "100000 sat"
    origin: str | None = None
    asset: bytes = field(init=False)

    def __post_init__(self) -> None:
        assets = {price.asset for price in self._prices()}
        if len(assets) != 1:
            raise ValueError("a budget's per_call, per_hour and per_day are in one asset: say each")
        object.__setattr__(self, "asset", assets.pop())

    def amounts(self) -> tuple[int, int, int]:
        """Per call, hour and day; in msat or token units."""
        per_call, per_hour, per_day = self._prices()
        return per_call.amount, per_hour.amount, per_day.amount

    def _prices(self) -> tuple[Price, Price, Price]:
        per_call, per_hour, per_day = (
            parse_price(limit) if isinstance(limit, str) else limit
            for limit in (self.per_call, self.per_hour, self.per_day)
        )
        return per_call, per_hour, per_day


class _Window:
    """The sum of what was spent in the last so many seconds."""

    def __init__(self, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def left(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._sum -= self._spent.popleft()[1]
        return self._limit - self._sum

    def add(self, amount: int, now: float) -> None:
        grain = now - now % _GRAIN_SECONDS + _GRAIN_SECONDS
        if self._spent and self._spent[-1][0] == grain:
            amount_before = self._spent.pop()[1]
            self._spent.append((grain, amount_before + amount))
        else:
            self._spent.append((grain, amount))
        self._sum += amount


class Spending:
    """What was spent at one origin, against its budget. `now` counts seconds of any clock."""

    def __init__(self, origin: str, budget: Budget) -> None:
        per_call, per_hour, per_day = budget.amounts()
        self._origin = origin
        self._per_call = per_call
        self._hour = _Window(_HOUR_SECONDS, per_hour)
        self._day = _Window(_DAY_SECONDS, per_day)
        self.total = 0

    def check(self, amount: int, now: float) -> None:
        """Raises BudgetExceeded if a call of this amount is not allowed now."""
        for limit, allowed in (
            ("per call", self._per_call),
            ("within an hour", self._hour.left(now)),
            ("within a day", self._day.left(now)),
        ):
            if amount > allowed:
                raise BudgetExceeded(self._origin, limit, amount=amount, allowed=max(allowed, 0))

    def add(self, amount: int, now: float) -> None:
        """Count units that are handed out for the first time."""
        self.total += amount
        self._hour.add(amount, now)
        self._day.add(amount, now)

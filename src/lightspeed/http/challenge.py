"""The 402's challenge: `WWW-Authenticate: Payment ..., method="lightspeed", intent="session"`.

The scheme is that of draft-httpauth-payment. `request` tells a client all that it needs to open
a channel and pay; `id` binds it by an HMAC, so that no challenge is kept.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from lightspeed.http.auth_header import format_challenge, parse_challenges
from lightspeed.http.encoding import canonical_json, from_base64url, strict_json, to_base64url
from lightspeed.http.errors import ChallengeError
from lightspeed.http.offer import Offer
from lightspeed.http.tokens import BITCOIN, asset_text, parse_asset
from lightspeed.payment import Price

__all__ = ["INTENT", "METHOD", "PaymentRequest", "challenge_id", "find_request", "format_request"]

METHOD = "lightspeed"
INTENT = "session"
MAX_PRICES = 16

_VERSION = 1
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SCOPE = re.compile(r"(?:/[!-~]{0,255})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """The request object. Made by the payee; for the payer it is untrusted input.

    `scope` is the path on and below which every call costs the same; empty for this call only.
    """

    prices: tuple[Price, ...]
    scope: str = ""
    offer: Offer | None = None

    def to_text(self) -> str:
        """base64url of canonical JSON. An amount is in msat (asset btc) or in token units, of the
        contract that `asset` names."""
        found: dict[str, Any] = {
            "prices": [
                {
                    "amount": str(price.amount),
                    "asset": asset_text(price.asset),
                    "unit": "token" if price.asset else "msat",
                }
                for price in self.prices
            ],
            "version": _VERSION,
        }
        if self.scope:
            found["scope"] = self.scope
        if self.offer is not None:
            found["offer"] = self.offer.to_json()
        return to_base64url(canonical_json(found))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ChallengeError. Names that this version does not know are left out."""
        try:
            found = strict_json(from_base64url(text))
        except ValueError as error:
            raise ChallengeError("the request object is not base64url of JSON") from error
        if not isinstance(found, dict) or found.get("version") != _VERSION:
            raise ChallengeError("no request object of version 1")
        scope = found.get("scope", "")
        if not isinstance(scope, str) or _SCOPE.fullmatch(scope) is None:
            raise ChallengeError("the request object's scope")
        offer = found.get("offer")
        return cls(
            prices=_prices(found.get("prices")),
            scope=scope,
            offer=None if offer is None else Offer.from_json(offer),
        )


def challenge_id(key: bytes, params: Mapping[str, str]) -> str:
    """The `id` of a challenge with these parameters (draft-httpauth-payment, "HMAC-SHA256")."""
    slots = [params[name] for name in ("realm", "method", "intent", "request")]
    slots += [params.get(name, "") for name in ("expires", "digest", "opaque")]
    # A client's JSON may hold what has no UTF-8; ours never does, so such an id is never ours.
    text = "|".join(slots).encode("utf-8", "surrogatepass")
    digest = hmac.digest(key, text, hashlib.sha256)
    return to_base64url(digest)


def format_request(request_text: str, *, realm: str, key: bytes) -> str:
    """The value of `WWW-Authenticate`."""
    params = {"realm": realm, "method": METHOD, "intent": INTENT, "request": request_text}
    return format_challenge("Payment", {"id": challenge_id(key, params), **params})


def find_request(fields: Iterable[str]) -> PaymentRequest | None:
    """Our challenge among those of a response's `WWW-Authenticate` fields, or None.

    Raises ChallengeError.
    """
    for field in fields:
        for scheme, params in parse_challenges(field):
            ours = params.get("method") == METHOD and params.get("intent") == INTENT
            if scheme == "payment" and ours:
                return PaymentRequest.from_text(params.get("request", ""))
    return None


def _prices(found: Any) -> tuple[Price, ...]:
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_PRICES:
        raise ChallengeError("the request object's prices")
    return tuple(map(_price, found))


def _price(found: Any) -> Price:
    entry = found if isinstance(found, dict) else {}
    amount, asset, unit = (entry.get(name) for name in ("amount", "asset", "unit"))
    if not isinstance(amount, str) or _AMOUNT.fullmatch(amount) is None:
        raise ChallengeError("a price's amount")
    if not isinstance(asset, str) or unit != ("msat" if asset == BITCOIN else "token"):
        raise ChallengeError("a price's asset or unit")
    try:
        return Price(int(amount), parse_asset(asset))
    except ValueError as error:
        raise ChallengeError("a price's asset") from error

"""Finds the one credential of a request, in any of its three places, and takes it out."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lightspeed.http.challenge import INTENT, METHOD
from lightspeed.http.encoding import from_base64url, strict_json
from lightspeed.http.errors import InvalidChallenge
from lightspeed.payment import Credential, MalformedCredential, NoPayment

__all__ = ["Presented", "take_credential"]

Header = tuple[bytes, bytes]

MAX_PAYMENT_SIZE = 64 * 1024

_OWN_PLACE = b"lightspeed-payment"
_PLACES = frozenset((_OWN_PLACE, b"authorization"))


class Presented(NamedTuple):
    """A request's headers without any credential, and the texts that were found."""

    headers: list[Header]
    tokens: list[bytes]
    payments: list[bytes]

    def token(self) -> bytes:
        """The one text of a request without a Payment credential.

        Raises NoPayment, and MalformedCredential for more than one.
        """
        if len(self.tokens) == 1:
            return self.tokens[0]
        raise MalformedCredential("more than one credential") if self.tokens else NoPayment

    def payment_credential(self, is_ours: Callable[[dict[str, str]], bool]) -> Credential:
        """The credential in the Payment scheme, once its challenge was found to be ours.

        Raises MalformedCredential (also for more than one) and InvalidChallenge.
        """
        if self.tokens or len(self.payments) != 1:
            raise MalformedCredential("more than one credential")
        return _from_payment(self.payments[0], is_ours)


def take_credential(headers: Iterable[Header]) -> Presented:
    """Read `Lightspeed-Payment` and the Lightspeed and Payment schemes of `Authorization`.

    Any other Authorization stays: it is the application's.
    """
    kept: list[Header] = []
    tokens: list[bytes] = []
    payments: list[bytes] = []
    for header in headers:
        if header[0] not in _PLACES:
            kept.append(header)
        elif header[0] == _OWN_PLACE:
            tokens.append(header[1])
        else:
            scheme, _, rest = header[1].partition(b" ")
            match scheme.lower():
                case b"lightspeed":
                    tokens.append(rest.strip(b" "))
                case b"payment":
                    payments.append(rest.strip(b" "))
                case _:
                    kept.append(header)
    return Presented(kept, tokens, payments)


def _from_payment(text: bytes, is_ours: Callable[[dict[str, str]], bool]) -> Credential:
    """The Payment scheme's credential: base64url of {"challenge": {...}, "payload": {...}}."""
    if len(text) > MAX_PAYMENT_SIZE:
        raise MalformedCredential("the Payment credential is too long")
    try:
        found: Any = strict_json(from_base64url(text.decode("ascii")))
        challenge, token = found["challenge"], found["payload"]["credential"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedCredential("not a Payment credential") from error
    if not isinstance(token, str) or not isinstance(challenge, dict):
        raise MalformedCredential("not a Payment credential")
    if not all(isinstance(value, str) for value in challenge.values()):
        raise MalformedCredential("a parameter of a challenge is text")
    if (challenge.get("method"), challenge.get("intent")) != (METHOD, INTENT):
        raise InvalidChallenge("the Payment credential is for another method")
    if not is_ours(challenge):
        raise InvalidChallenge("the challenge is not of this payee, or its price has changed")
    return Credential.from_token(token)

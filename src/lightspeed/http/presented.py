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


class Presented(NamedTuple):
    """A request's headers without any credential, and the texts that were found."""

    headers: list[Header]
    tokens: list[bytes]
    payments: list[bytes]

    def credential(self, is_ours: Callable[[dict[str, str]], bool]) -> Credential:
        """Raises NoPayment, MalformedCredential (also for more than one) or InvalidChallenge.

        `is_ours` says whether a challenge that a Payment credential echoes is one of ours.
        """
        found = len(self.tokens) + len(self.payments)
        if found == 1:
            if self.tokens:
                return Credential.from_token(self.tokens[0])
            return _from_payment(self.payments[0], is_ours)
        if found:
            raise MalformedCredential("more than one credential")
        raise NoPayment


def take_credential(headers: Iterable[Header]) -> Presented:
    """Read `Lightspeed-Payment` and the Lightspeed and Payment schemes of `Authorization`.

    Any other Authorization stays: it is the application's.
    """
    kept: list[Header] = []
    tokens: list[bytes] = []
    payments: list[bytes] = []
    for header in headers:
        name, value = header
        if name == b"lightspeed-payment":
            tokens.append(value)
        elif name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            match scheme.lower():
                case b"lightspeed":
                    tokens.append(rest.strip(b" "))
                case b"payment":
                    payments.append(rest.strip(b" "))
                case _:
                    kept.append(header)
        else:
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

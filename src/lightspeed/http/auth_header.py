"""The grammar of `WWW-Authenticate` and `Authorization` (RFC 9110, section 11)."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lightspeed.http.errors import ChallengeError

__all__ = ["AuthChallenge", "format_challenge", "parse_challenges"]

MAX_HEADER_SIZE = 64 * 1024

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAM = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*+)")', re.ASCII)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ ]+|(?=[ \t]*(?:,|$)))", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))", re.ASCII)
_BETWEEN = re.compile(r"[ \t]*(?:,[ \t]*)*")


class AuthChallenge(NamedTuple):
    """One challenge: its scheme in lower case, and its parameters (names in lower case)."""

    scheme: str
    params: Mapping[str, str]


def format_challenge(scheme: str, params: Mapping[str, str]) -> str:
    """All values quoted; raises ValueError for what no header can hold."""
    pieces = []
    for name, value in params.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"{name} is not printable ASCII")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        pieces.append(f'{name}="{quoted}"')
    return f"{scheme} {', '.join(pieces)}"


def parse_challenges(value: str) -> list[AuthChallenge]:
    """All challenges of one field; a token68 in the place of parameters is left out.

    Raises ChallengeError for anything that RFC 9110 does not allow.
    """
    if len(value) > MAX_HEADER_SIZE:
        raise ChallengeError("the challenge is too long")
    return list(_challenges(value))


def _challenges(value: str) -> Iterator[AuthChallenge]:
    at = _skip(value, 0)
    while at < len(value):
        scheme = _SCHEME.match(value, at)
        if scheme is None:
            raise ChallengeError("not a list of challenges")
        at = scheme.end()
        params: dict[str, str] = {}
        token68 = _TOKEN68.match(value, at)
        if token68 is not None:
            at = _skip(value, token68.end())
        while (param := _PARAM.match(value, at)) is not None:
            name, token, quoted = param.groups()
            name = name.lower()
            if name in params:
                raise ChallengeError("a parameter is there twice")
            params[name] = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            at = _skip(value, param.end(), required=True)
        at = _skip(value, at)
        yield AuthChallenge(scheme[1].lower(), params)


def _skip(value: str, at: int, *, required: bool = False) -> int:
    """Behind white space and commas; after a parameter a comma or the end is required."""
    match = _BETWEEN.match(value, at)
    end = at if match is None else match.end()
    if required and end < len(value) and "," not in value[at:end]:
        raise ChallengeError("no comma between two parameters")
    return end

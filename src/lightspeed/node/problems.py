"""Errors as the API says them: RFC 9457 problems, without anything secret.

The text of our own errors names no secret; of an error that we do not know nothing is told.
"""

import re
from dataclasses import dataclass

from starlette.responses import JSONResponse

from lightspeed.channel import ChannelRefusal
from lightspeed.errors import LocalError, RemoteError, StoreError
from lightspeed.node.errors import InsufficientFunds, NodeRefusal
from lightspeed.rgb import NotEnoughTokens

__all__ = ["PROBLEM_TYPE_PREFIX", "BadRequest", "Unauthorized", "problem_of"]

PROBLEM_TYPE_PREFIX = "urn:lightspeed:node:"

_MEDIA_TYPE = "application/problem+json"


class BadRequest(LocalError, ValueError):
    """The request's body is not what the route takes."""


class Unauthorized(LocalError, PermissionError):
    """The bearer token is missing or wrong."""


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    title: str


def problem_of(error: Exception) -> JSONResponse:
    """The response for an error; its type is the error class's name in kebab case."""
    kind = _kind(error)
    known = kind.status != 500
    name = type(error).__name__ if known else "InternalError"
    slug = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    body = {"type": PROBLEM_TYPE_PREFIX + slug, "title": kind.title, "status": kind.status}
    if known:
        body["detail"] = str(error)
    headers = {"WWW-Authenticate": "Bearer"} if kind.status == 401 else None
    return JSONResponse(body, kind.status, headers=headers, media_type=_MEDIA_TYPE)


def _kind(error: Exception) -> _Kind:
    match error:
        case Unauthorized():
            return _Kind(401, "the token is missing or wrong")
        case NodeRefusal():
            return _Kind(error.http_status, "not possible now")
        case ChannelRefusal() | InsufficientFunds() | NotEnoughTokens():
            return _Kind(409, "not possible now")
        case LocalError():
            return _Kind(400, "the request cannot be done")
        case RemoteError():
            return _Kind(502, "the peer is at fault")
        case StoreError():
            return _Kind(503, "a store or the chain does not answer")
        case _:
            return _Kind(500, "internal error")

"""Problem bodies (RFC 9457): one type for each reason not to serve a call."""

import json
from typing import Any, NamedTuple

from lightspeed.errors import LightspeedError, StoreError
from lightspeed.http.encoding import strict_json
from lightspeed.http.errors import ChallengeError, InvalidChallenge
from lightspeed.payment import (
    AlreadyRedeemed,
    BookClosed,
    ExposureExceeded,
    GarbageLock,
    MalformedCredential,
    NoPayment,
    PaymentRefused,
    TooFar,
    TooLittle,
    TooMany,
    UnknownBook,
    WrongAsset,
    WrongSecret,
)

__all__ = [
    "APPLICATION_FAILED",
    "LEDGER_UNAVAILABLE",
    "PROBLEM_CONTENT_TYPE",
    "TYPE_PREFIX",
    "Problem",
    "ProblemReport",
    "parse_problem",
    "problem_body",
    "problem_for",
]

TYPE_PREFIX = "urn:lightspeed:problem:"
PROBLEM_CONTENT_TYPE = b"application/problem+json"
MAX_PROBLEM_SIZE = 16 * 1024


class Problem(NamedTuple):
    """A row of the table. `fields` are attributes of the error that go into the body."""

    slug: str
    status: int
    title: str
    fields: tuple[str, ...] = ()


LEDGER_UNAVAILABLE = Problem("ledger-unavailable", 503, "The ledger does not answer")
APPLICATION_FAILED = Problem("application-failed", 500, "The paid call failed")

_REFUSALS: dict[type[PaymentRefused], tuple[str, tuple[str, ...]]] = {
    NoPayment: ("This call has a price", ()),
    MalformedCredential: ("The credential is malformed", ()),
    InvalidChallenge: ("The credential is for another challenge", ()),
    UnknownBook: ("The book is unknown", ()),
    BookClosed: ("The book is closed", ()),
    WrongAsset: ("The call is not sold for this asset", ()),
    TooMany: ("Too many units in one credential", ("count", "max_count")),
    TooLittle: ("Too few units for this call", ("count", "required_units")),
    AlreadyRedeemed: ("A unit is already redeemed", ("unit",)),
    ExposureExceeded: ("The exposure limit is reached", ("last_unit", "limit_unit")),
    TooFar: ("Too far from what is known of the lock", ("lock", "distance", "window")),
    WrongSecret: ("A secret is wrong", ("lock",)),
    GarbageLock: ("A lock's seal does not belong to its secret", ("lock",)),
}

_PROBLEMS = {
    kind.slug: Problem(kind.slug, kind.http_status, title, fields)
    for kind, (title, fields) in _REFUSALS.items()
}


def problem_for(error: LightspeedError) -> Problem:
    """The row for a refusal of a payment or a failed store."""
    if isinstance(error, PaymentRefused):
        return _PROBLEMS[error.slug]
    if isinstance(error, StoreError):
        return LEDGER_UNAVAILABLE
    raise TypeError(f"no problem type for {type(error).__name__}")


def problem_body(problem: Problem, error: Exception | None = None) -> bytes:
    """The JSON body. Only refusals of a payment are told in detail: other errors are ours."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.slug,
        "title": problem.title,
        "status": problem.status,
    }
    if isinstance(error, PaymentRefused):
        body["detail"] = str(error) or problem.title
        for field in problem.fields:
            body[field] = getattr(error, field)
    return json.dumps(body, separators=(",", ":")).encode("utf-8")


class ProblemReport(NamedTuple):
    """What a payer reads of a problem body: nothing of it is trusted."""

    slug: str
    detail: str
    unit: int | None
    required_units: int | None


def parse_problem(body: bytes) -> ProblemReport:
    """Raises ChallengeError for anything that is not a problem of ours."""
    if len(body) > MAX_PROBLEM_SIZE:
        raise ChallengeError("the problem is too long")
    try:
        found = strict_json(body)
    except ValueError as error:
        raise ChallengeError("the problem is not JSON") from error
    kind = found.get("type") if isinstance(found, dict) else None
    if not isinstance(kind, str) or not kind.startswith(TYPE_PREFIX):
        raise ChallengeError("not a problem of Lightspeed")
    detail = found.get("detail")
    return ProblemReport(
        slug=kind.removeprefix(TYPE_PREFIX),
        detail=detail if isinstance(detail, str) else "",
        unit=_number(found.get("unit")),
        required_units=_number(found.get("required_units")),
    )


def _number(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None

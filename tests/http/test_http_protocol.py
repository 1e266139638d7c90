"""docs/protocol.md says of HTTP what is so."""

import re
from pathlib import Path

from lightspeed.http.challenge import PaymentRequest
from lightspeed.http.encoding import from_base64url, to_base64url
from lightspeed.http.problems import (
    APPLICATION_FAILED,
    LEDGER_UNAVAILABLE,
    TYPE_PREFIX,
    problem_for,
)
from lightspeed.payment import PaymentRefused

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def test_the_request_object_is_what_is_made() -> None:
    (example,) = re.findall(r"```json\n(\{\"offer.*)\n```", PROTOCOL)
    request = PaymentRequest.from_text(to_base64url(example.encode()))
    assert from_base64url(request.to_text()).decode() == example


def test_every_problem_is_told_with_its_status_and_fields() -> None:
    section = PROTOCOL[PROTOCOL.index("**Problems**") : PROTOCOL.index("**Origins.**")]
    assert f"`{TYPE_PREFIX}`" in section
    told = {
        (name, int(status), tuple(re.findall(r"`([a-z_]+)`", fields)))
        for names, status, fields in re.findall(r"^\| (.+?) \| (\d+) \|(.*)\|$", section, re.M)
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    refusals = (problem_for(kind.__new__(kind)) for kind in PaymentRefused.__subclasses__())
    problems = (LEDGER_UNAVAILABLE, APPLICATION_FAILED, *refusals)
    assert told == {(problem.slug, problem.status, problem.fields) for problem in problems}

"""Documents name tests, files and documents that exist."""

import importlib.util
import re
from pathlib import Path

import pytest

from adversary_mutations import MUTATIONS
from adversary_token_mutations import TOKEN_MUTATIONS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_a_document_names_exist(document: Path) -> None:
    for name, test in re.findall(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`", document.read_text()):
        path = ROOT / name
        assert path.exists(), name
        if test:
            assert re.search(rf"def {test}\(", path.read_text()), f"{name}::{test}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_states_are_those_of_the_code() -> None:
    specification = importlib.util.spec_from_file_location("states", ROOT / "docs" / "states.py")
    assert specification is not None
    assert specification.loader is not None
    states = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(states)
    written = (ROOT / "docs" / "states.md").read_text()
    assert written == states.render(), "run: python docs/states.py"


def test_every_broken_build_is_listed_with_what_catches_it() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    listed = re.findall(
        r"^\| ([a-z0-9 ]+?)(?: \(\w+\))? \| `tests/adversary\w*_scenarios.py::(\w+)` \|$",
        text,
        re.M,
    )
    builds = (*MUTATIONS, *TOKEN_MUTATIONS)
    assert listed == [(m.name.replace("_", " "), m.caught_by) for m in builds]

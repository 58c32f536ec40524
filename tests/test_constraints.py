"""Pinned versions agree with pyproject.toml."""

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from musigma.paths import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]


def pins(name: str) -> dict[str, Version]:
    """Package → the one version that a file allows."""
    lines = (PROJECT_ROOT / ".github/constraints" / name).read_text("utf-8").splitlines()
    found = {}
    for pinned in map(Requirement, (line for line in lines if not line.startswith("#"))):
        (only,) = pinned.specifier
        assert only.operator == "==", pinned
        assert not pinned.marker, pinned
        found[canonicalize_name(pinned.name)] = Version(only.version)
    return found


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_the_oldest_pinned_version_is_the_floor_in_pyproject(needed):
    (floor,) = (bound for bound in needed.specifier if bound.operator == ">=")
    assert pins("oldest.txt")[canonicalize_name(needed.name)] == Version(floor.version)


def test_every_oldest_pin_is_an_allowed_version_of_a_requirement():
    allowed = {canonicalize_name(needed.name): needed.specifier for needed in NEEDED + DEV}
    for name, version in pins("oldest.txt").items():
        assert version in allowed[name]


@pytest.mark.parametrize("needed", NEEDED + DEV, ids=str)
def test_every_requirement_has_a_tested_pin_that_is_allowed(needed):
    assert pins("tested.txt")[canonicalize_name(needed.name)] in needed.specifier


def test_the_citation_and_the_changelog_name_this_version():
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text("utf-8"))
    changelog = (PROJECT_ROOT / "CHANGELOG.md").read_text("utf-8")
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["title"] == PROJECT["name"]
    assert changelog.partition("\n## ")[2].splitlines()[0] == PROJECT["version"]

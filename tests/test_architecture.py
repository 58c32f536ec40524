"""The layers that docs/architecture.md describes are those that `make lint` checks."""

import re
import tomllib

import pytest

from musigma.paths import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = {each["name"]: each for each in PROJECT["tool"]["importlinter"]["contracts"]}


@pytest.mark.parametrize(
    "heading",
    ["The science, from commands down to tensors", "The workbench, from scripts down to errors"],
)
def test_the_table_of_a_package_lists_the_layers_of_its_contract(heading):
    text = (PROJECT_ROOT / "docs/architecture.md").read_text("utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (table,) = (part for part in section if part.startswith(heading))
    described = [
        sorted(re.findall(r"`(\w+)`", layer))
        for modules in re.findall(r"^\| [^|]+ \| (`.*) \|$", table, re.MULTILINE)
        for layer in modules.split(";")
    ]
    assert described == [sorted(layer.split(" | ")) for layer in CONTRACTS[heading]["layers"]]

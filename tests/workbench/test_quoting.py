"""Paths can be typed as they are, even if their names contain Hydra's syntax."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from workbench.jobs.quoting import quote


@pytest.mark.parametrize("name", ["seed=0,lr=0.1", "a,b", "it's", "[x]", "{y: z}", "a b (2)"])
def test_an_existing_path_is_quoted_as_one_value(name, tmp_path):
    path = tmp_path / name
    path.mkdir()
    (override,) = OverridesParser.create().parse_overrides([quote(f"init_from={path}")])
    assert not override.is_sweep_override()
    assert override.value() == str(path)


def test_paths_separated_by_commas_stay_a_sweep(tmp_path):
    values = [str(tmp_path / name) for name in "ab"]
    for value in values:
        (tmp_path / value).mkdir()
    (override,) = OverridesParser.create().parse_overrides([quote(f"init_from={','.join(values)}")])
    assert [*override.sweep_string_iterator()] == values

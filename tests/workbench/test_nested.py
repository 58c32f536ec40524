"""The values in nested mappings and lists, by their places."""

from workbench.config.nested import dotted, flatten, leaves, matches

CONFIG = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": None, 3: "x"}


def test_every_value_that_holds_no_others_is_found_at_its_place():
    found = {dotted(path): value for path, value in leaves(CONFIG)}
    assert found == {"a.b[0]": 1, "a.b[1].c": 2, "a.d": {}, "e": None, "3": "x"}


def test_a_flat_config_has_whole_lists_and_no_empty_mappings():
    assert flatten(CONFIG) == {"a.b": [1, {"c": 2}], "e": None, "3": "x"}
    assert flatten({}) == {}


def test_a_pattern_matches_a_whole_name():
    assert matches("trainer.max_epochs", ("seed", "trainer.max_*"))
    assert not matches("my.trainer.max_epochs", ("seed", "trainer.max_*"))
    assert not matches("seeds", ("seed",))

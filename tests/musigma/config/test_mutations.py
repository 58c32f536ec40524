"""No mutation of a shipped config passes silently or ends in a traceback."""

import copy
import functools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from extras import MISSING
from musigma.paths import CONFIGS
from running import composed
from workbench.jobs import hydra_adapter
from workbench.jobs.rules import Rules

pytestmark = pytest.mark.slow

GROUPS = ("data", "model", "optimizer", "scheduler", "trainer", "callbacks", "logger", "experiment")
SHIPPED = [
    "",
    *(
        f"{g}={path.stem}"
        for g in GROUPS
        for path in sorted((CONFIGS / g).glob("*.yaml"))
        if path.stem not in {*MISSING, "own"}  # needs a class of the user
    ),
]
WITH_A_PATH = ("data=image_folder", "data=tensor_file")
RULES = Rules("train")  # shared, so that equal parts of configs are checked once, as in a sweep


@functools.cache
def _composed(option):
    needed = ["data.path=images"] if option in WITH_A_PATH else []
    if option == "data=dataset":
        needed = ["data.dataset._target_=torchvision.datasets.FakeData"]
    cfg, _ = composed(CONFIGS, (*filter(None, [option]), *needed))
    hydra_adapter.set_hydra_config(cfg)
    return hydra_adapter.resolved(cfg)


def _problems(option, config):
    job = OmegaConf.create(config)
    problems, _ = RULES.check(hydra_adapter.unresolved(job), job)
    return [str(problem) for problem in problems]


def _places(node, path=()):
    for key, value in node.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _places(value, (*path, key))


@st.composite
def _place_in_a_config(draw):
    option = draw(st.sampled_from(SHIPPED))
    path = draw(st.sampled_from(list(_places(_composed(option)))))
    return option, path


def _copy_at(option, path):
    config = copy.deepcopy(_composed(option))
    node = config
    for key in path[:-1]:
        node = node[key]
    return config, node


def _dotted(path):
    return ".".join(path)


@given(_place_in_a_config(), st.sampled_from(["{}x", "{}_", "X{}", "unknown"]))
def test_a_renamed_key_is_reported(place, pattern):
    option, path = place
    config, node = _copy_at(option, path)
    name = pattern.format(path[-1])
    node[name] = node.pop(path[-1])
    problems = _problems(option, config)
    if path[0] in ("callbacks", "logger") and len(path) == 2:  # names that the user chooses
        assert not problems
    else:
        place = _dotted(path[:-1] if path[-1] == "_target_" else path)
        assert any(name in problem or place in problem for problem in problems)


ARGUMENTS = {("data", "test"), ("data", "val")}
"""Mappings with arbitrary keys: arguments of a class that the check does not import."""


@given(_place_in_a_config(), st.sampled_from([{"a": 1}, [["b"]], [{"c": 2}]]))
def test_a_mapping_or_list_of_lists_is_reported_in_any_place(place, value):
    option, path = place
    assume(not (path in ARGUMENTS and isinstance(value, dict)))
    config, node = _copy_at(option, path)
    node[path[-1]] = value
    assert any(_dotted(path) in problem for problem in _problems(option, config))


@given(_place_in_a_config(), st.sampled_from(["text", "8", "1e-3", "true", ""]))
def test_text_in_place_of_a_number_or_a_mapping_is_reported(place, text):
    option, path = place
    config, node = _copy_at(option, path)
    before = node[path[-1]]
    node[path[-1]] = text
    problems = _problems(option, config)
    if isinstance(before, int | float | list | dict) and path != ("trainer", "devices"):
        assert any(_dotted(path) in problem for problem in problems)


@given(_place_in_a_config(), st.sampled_from([3.5, True, -7, []]))
def test_a_plausible_value_causes_no_traceback(place, value):
    option, path = place
    config, node = _copy_at(option, path)
    node[path[-1]] = value
    _problems(option, config)


OPTIONAL = {"compile", "matmul_precision", "sweep", "varied"}
OPTIONAL |= {"module", "monitor", "parameter_groups"}  # new in 0.3, so older configs lack them
OPTIONAL |= {"init_from", "init_from_parts", "freeze", "published"}

NO_DEFAULT = {"network", "likelihood", "objective", "steps", "milestones", "T_max", "_target_"}


@given(_place_in_a_config())
def test_a_missing_value_without_a_default_is_reported(place):
    option, path = place
    config, node = _copy_at(option, path)
    del node[path[-1]]
    problems = _problems(option, config)
    if path[-1] in NO_DEFAULT or (len(path) == 1 and path[0] not in OPTIONAL):
        assert any(_dotted(path[:-1]) in problem for problem in problems)


@given(_place_in_a_config())
def test_question_marks_are_reported_in_any_place(place):
    option, path = place
    config, node = _copy_at(option, path)
    node[path[-1]] = "???"
    assert any(problem.startswith(_dotted(path)) for problem in _problems(option, config))


@given(_place_in_a_config(), st.sampled_from(["unknown", "latent_dims", "_targets_", "lr2"]))
def test_an_added_key_is_reported(place, name):
    option, path = place
    config, node = _copy_at(option, path)
    node[name] = 1
    if path[:-1] != () and path[0] == "callbacks" and len(path) == 2:
        expected = f"callbacks.{name}"
    else:
        expected = _dotted((*path[:-1], name))
    assert any(expected in problem for problem in _problems(option, config))

"""The JSON schema accepts the shipped configs and points at mistakes."""

import pytest
import yaml
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from musigma.paths import CONFIGS
from workbench.config.schema import json_schema


@pytest.fixture(scope="module")
def validator():
    schema = json_schema(CONFIGS)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def test_every_shipped_config_is_valid(validator):
    for path in CONFIGS.rglob("*.yaml"):
        content = OmegaConf.to_container(OmegaConf.load(path))  # PyYAML reads 1e-3 as text
        assert not list(validator.iter_errors(content)), path


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("_target_: musigma.models.MLP\nencoder_size: [3]", []),
        ("_target_: musigma.models.MLP\nencoder_sizes: [0]", ["encoder_sizes"]),
        ("_target_: musigma.models.MLP\nactivation: relu", ["activation"]),
        ("likelihood:\n  _target_: musigma.objectives.likelihoods.Laplace\n  scale: 0",
         ["likelihood", "scale"]),
        ("_target_: lightning.pytorch.Trainer\nmax_epochs: ten", ["max_epochs"]),
        ("- a list", []),
    ],
)  # fmt: skip
def test_the_schema_reports_a_mistake_at_its_place(validator, text, place):
    (error,) = validator.iter_errors(yaml.safe_load(text))
    assert list(error.absolute_path) == place


def test_an_interpolation_is_valid_in_place_of_any_value(validator):
    text = "_target_: lightning.pytorch.Trainer\nmax_epochs: ${epochs}"
    assert validator.is_valid(yaml.safe_load(text))

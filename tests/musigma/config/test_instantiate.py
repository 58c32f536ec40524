"""A config builds objects of the wanted types, and problems are reported with their place."""

import functools
from typing import Any

import pytest
import torch
from torch import nn

from musigma.models import MLP
from musigma.models.network import Network
from musigma.project import PROJECT
from workbench.config.instantiate import instantiate
from workbench.config.settings import OptimizerRecipe
from workbench.errors import ConfigError


def test_nested_objects_and_partials_are_built():
    network = {"_target_": "musigma.models.MLP", "encoder_sizes": [5]}
    built = instantiate({"a": network, "b": [network, 1]}, dict[str, Network | list[Network]], "x")
    assert built["a"] == MLP(encoder_sizes=[5])
    plain = {"n": [1, {"a": 2}]}
    assert instantiate(plain, Any, "x") == plain
    adam = instantiate(
        {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1}, OptimizerRecipe, "optimizer"
    )
    assert isinstance(adam, functools.partial)
    assert adam.func is torch.optim.Adam


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "torch.hub.load",
        "torch.nn.functional.torch.hub.load",
        "workbench.runs.environment.subprocess.run",
        "musigma.paths.os.system",
        "torch.nn.init.normal_",
        "lightning.pytorch.trainer.trainer.os.system",
        "lightning.fabric.Fabric",
        f"{PROJECT.package}x.models.MLP",
        "",
        None,
        7,
    ],
)
def test_targets_that_are_not_allowed_are_refused_before_anything_runs(target):
    for config in ({"_target_": target}, [{"_target_": target, "_partial_": True}]):
        with pytest.raises(ConfigError, match="not allowed"):
            instantiate(config, nn.Module | list[nn.Module], "place")
        with pytest.raises(ConfigError, match="should be a plain value"):
            instantiate({"inner": config}, Any, "place")


def test_an_unknown_target_is_reported_with_its_place():
    with pytest.raises(ConfigError, match=r"model.network._target_: there is no musigma.models.ML"):
        instantiate({"network": {"_target_": "musigma.models.ML"}}, dict[str, Network], "model")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"_target_": "musigma.models.MLP", "activation": "Rel"},
            "model.activation: should be .LeakyReLU",
        ),
        (
            {"_target_": "musigma.models.MLP", "sizes": [3]},
            "model.sizes: Unexpected keyword argument",
        ),
        (
            {"_target_": "torch.nn.Linear", "in_features": 10**9, "out_features": 10**6},
            "model: .* you tried to allocate",
        ),
    ],
)
def test_a_refused_argument_is_reported_with_its_place(config, message):
    with pytest.raises(ConfigError, match=message):
        instantiate(config, Network | nn.Module, "model")

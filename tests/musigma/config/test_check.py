"""Configs are checked against signatures before anything is built; all problems are reported."""

import copy
from contextlib import nullcontext

import pytest

from extras import MISSING
from musigma.paths import PROJECT_ROOT
from workbench.config.check import check_config
from workbench.errors import ConfigError

CONFIGS = PROJECT_ROOT / "configs"
OPTIONS = [
    f"{group}={path.stem}"
    for group in (
        "data", "model", "optimizer", "scheduler", "trainer", "logger", "experiment", "debug",
        "model/likelihood", "model/network", "model/objective",
    )
    for path in sorted((CONFIGS / group).glob("*.yaml"))
    if path.stem not in MISSING
]  # fmt: skip


NEEDED = {
    "image_folder": ["data.path=images"],
    "tensor_file": ["data.path=images"],
    "own": ["data._target_=lightning.pytorch.demos.boring_classes.BoringDataModule"],
    "dataset": ["data.dataset._target_=torchvision.datasets.FakeData"],
}


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_every_shipped_config_passes(option, compose_launch):
    needed = NEEDED.get(option.removeprefix("data="), [])
    check_config(compose_launch(option, *needed).config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.latent_dim=eight", "='eight': should be a whole number"),
        ("model.latent_dim=2.5", "=2.5: should be a whole number"),
        ("+model.latent_dm=3", "has no argument latent_dm; did you mean latent_dim?"),
        ("model.posterior=cauchy", "='cauchy': should be 'normal' or 'point'"),
        ("model.network.encoder_sizes=300", "=300: should be"),
        ("model.network.encoder_sizes=[a]", "=['a']: should be a whole number"),
        ("model.objective.beta=four", "='four': should be a number"),
        ("model.latent_dim=''", "='': should be a whole number"),
        ("optimizer.lr=fast", "='fast': should be a number"),
        ("+optimizer.learning_rate=1", "torch.optim.Adam has no argument learning_rate"),
        ("data.root=''", "='': is empty; write a value, or leave it out"),
        ("data.batch_size=many", "='many': should be a whole number"),
        ("data.normalization=none", "='none': should be 'standardize'"),
        ("+data.roots=x", "has no argument roots; did you mean root?"),
        ("trainer.max_epochs=ten", "='ten': should be"),
        ("+trainer.epochs=3", "lightning.pytorch.Trainer has no argument epochs"),
        ("+callbacks.progress.every=3", "has no argument every"),
        ("+callbacks.checkpoint.mode=least", "='least': should be 'min' or 'max'"),
        ("~model.network", " is missing: musigma.models.Autoencoder needs it"),
        ("model.likelihood._target_=os.system", ": os.system is not allowed"),
    ],
)
def test_a_wrong_value_is_reported_with_its_setting(override, message, compose_launch):
    with pytest.raises(ConfigError) as error:
        check_config(compose_launch("model=vae", override).config)
    place = override.strip("+~").partition("=")[0]
    assert str(error.value).startswith(place)
    assert message in str(error.value)


@pytest.mark.parametrize(("degrees", "fault"), [("5", None), ("[0,5]", None), ("few", "number")])
def test_an_argument_typed_as_number_takes_any_number(degrees, fault, compose_launch):
    rotation = f"{{_target_: torchvision.transforms.v2.RandomRotation, degrees: {degrees}}}"
    config = compose_launch(f"data.augment=[{rotation}]").config
    with pytest.raises(ConfigError, match=fault) if fault else nullcontext():
        check_config(config)


def test_all_problems_are_reported_at_once(compose_launch):
    launch = compose_launch("model.latent_dim=eight", "+data.roots=x", "optimizer.lr=fast")
    with pytest.raises(ConfigError) as error:
        check_config(launch.config)
    for place in ("model.latent_dim", "data.roots", "optimizer.lr"):
        assert place in str(error.value)


def test_a_renamed_or_retyped_setting_is_always_refused(compose_launch):
    """Every setting is refused under another name, and with a list of lists as its value."""
    config = compose_launch("model=vae").config
    for group in ("data", "model", "callbacks"):
        for path in _settings(config[group]):
            renamed, node = _copy_at(config, group, path)
            node[f"{path[-1]}x"] = node.pop(path[-1])
            with pytest.raises(ConfigError):
                check_config(renamed)
            retyped, node = _copy_at(config, group, path)
            node[path[-1]] = [["neither"], "nor"]
            with pytest.raises(ConfigError):
                check_config(retyped)


def _settings(node, path=()):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _settings(value, (*path, key))
        elif key != "_target_":
            yield (*path, key)


def _copy_at(config, group, path):
    changed = copy.deepcopy(config)
    node = changed[group]
    for key in path[:-1]:
        node = node[key]
    return changed, node


@pytest.mark.parametrize("override", ["optimizer.lr=-1", "+optimizer.eps=-1"])
def test_a_value_that_the_optimizer_refuses_is_a_config_error(override, compose_launch):
    from workbench.config.build import build_data, build_module

    config = compose_launch(override).config
    with pytest.raises(ConfigError, match="optimizer or scheduler: Invalid"):
        build_module(config, build_data(config))


@pytest.mark.parametrize("text", ["''", "abc"])
def test_text_is_refused_in_place_of_a_list(text, compose_launch):
    """A text is refused even where torch accepts any iterable."""
    with pytest.raises(ConfigError, match=r"scheduler.milestones='\w*': should be a list"):
        check_config(compose_launch("scheduler=multistep", f"scheduler.milestones={text}").config)

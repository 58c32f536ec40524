"""Every shipped config composes and builds."""

import functools
import inspect
import itertools
import math

import pytest
import torch
import yaml

from musigma.models import Autoencoder
from musigma.objectives.schedules import Constant
from musigma.paths import PROJECT_ROOT
from workbench.config.build import build_data, build_module, compared_settings
from workbench.config.targets import find_class
from workbench.errors import ConfigError
from workbench.training.trainer import build_trainer

CONFIGS = PROJECT_ROOT / "configs"
HERE = {"gpu": False, "gpu_mixed": False, "mps": torch.backends.mps.is_available()}


def _options(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def test_values_in_files_are_the_defaults_of_the_signatures():
    """For example, `model=vae` is `ELBO()`; only presets, which have no target, change defaults."""
    compared = 0
    for path in CONFIGS.rglob("*.yaml"):
        content = yaml.safe_load(path.read_text("utf-8")) or {}
        for node in [content, *content.values()]:
            if isinstance(node, dict) and node.get("_target_", "").startswith("musigma."):
                for name, default in _defaults(node["_target_"]):
                    if name in node:
                        number = default.end if isinstance(default, Constant) else default
                        assert node[name] == number, f"{path}: {name}"
                        compared += 1
    assert compared > 20


def _defaults(target):
    for parameter in inspect.signature(find_class(target, "")).parameters.values():
        default = parameter.default
        if isinstance(default, functools.partial):  # a recipe, described by its target
            path = f"{default.func.__module__}.{default.func.__name__}"
            target = path.replace("torch.optim.adam.", "torch.optim.")
            settings = {
                k: list(v) if isinstance(v, tuple) else v for k, v in default.keywords.items()
            }
            yield parameter.name, {"_target_": target, "_partial_": True, **settings}
        elif default is not parameter.empty:
            yield parameter.name, list(default) if isinstance(default, tuple) else default


DATA = sorted({*_options("data")} - {"own"})  # needs a class of the user


def _each_with_the_default(models, data, default_model="vae", default_data="mnist"):
    """Pairs of a model and a data set; marked exhaustive if neither is the default."""
    for model, source in itertools.product(models, data):
        is_plain = default_model == model or default_data == source
        yield pytest.param(model, source, marks=[] if is_plain else pytest.mark.exhaustive)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "data"),
    [*_each_with_the_default(_options("model"), DATA)],
)
def test_every_model_builds_on_every_data_set(option, data, compose_launch):
    needed = {
        "image_folder": ["data.path=images"],
        "tensor_file": ["data.path=images"],
        "dataset": ["data.dataset._target_=torchvision.datasets.FakeData"],
    }.get(data, [])
    other = [] if data == "mnist" else [f"data={data}"]
    config = compose_launch(f"model={option}", *other, *needed).config
    if "classes" in config["model"]:  # the number of classes is not known for every data set
        config["model"]["classes"] = 10
    module = build_module(config, build_data(config))
    model = module.model
    if type(model) is not Autoencoder or model.latent_dim != 2 or module.learners():
        return  # other models have other sizes
    expected = 563_286 if not model.has_density else 563_888
    more_pixels = math.prod(model.image_shape) - 784
    expected += (300 + 300 + 1) * more_pixels
    assert sum(p.numel() for p in module.parameters()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("option", _options("optimizer"))
@pytest.mark.parametrize("scheduler", _options("scheduler"))
def test_every_optimizer_and_scheduler_builds(option, scheduler, compose_launch):
    config = compose_launch(f"optimizer={option}").config
    config["scheduler"] = compose_launch(f"scheduler={scheduler}").config["scheduler"]
    module = build_module(config, build_data(config))
    module.configure_optimizers()


@pytest.mark.parametrize("option", _options("trainer"))
def test_every_trainer_builds_or_says_what_is_missing(option, compose_launch, tmp_path):
    launch = compose_launch(f"trainer={option}")
    if option in HERE and not torch.cuda.is_available() and not HERE[option]:
        with pytest.raises(ConfigError, match="trainer: "):
            build_trainer(launch.config, tmp_path)
    else:
        build_trainer(launch.config, tmp_path)


@pytest.mark.parametrize("option", _options("experiment"))
def test_every_experiment_builds(option, compose_launch, tmp_path):
    config = compose_launch(f"experiment={option}").config
    build_module(config, build_data(config))
    build_trainer(config, tmp_path)


def test_the_notebook_experiment_is_the_default(compose_launch):
    default, notebook = compose_launch().config, compose_launch("experiment=notebook").config
    assert {**notebook, "name": None} == {**default, "name": None}


@pytest.mark.slow
@pytest.mark.parametrize("option", _options("debug"))
def test_every_debug_mode_runs(option, run_here):
    epochs = "trainer.max_epochs=1"
    folder = run_here(f"debug={option}", epochs, "trainer.log_every_n_steps=1")
    assert folder.read_metrics()["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("option", ["none", "csv", "tensorboard", "[csv,tensorboard]"])
def test_every_logger_writes_into_the_run_folder(option, run_here):
    folder = run_here(f"logger={option}")
    assert bool(list(folder.path.glob("csv/*/metrics.csv"))) == ("csv" in option)
    assert bool(list(folder.path.glob("events.out.*"))) == ("tensorboard" in option)


@pytest.mark.slow
@pytest.mark.parametrize("option", _options("model"))
def test_every_model_trains(option, trained):
    assert trained(f"model={option}").read_metrics()["status"] == "completed"


@pytest.mark.parametrize("network", _options("model/network"))
@pytest.mark.parametrize(
    ("likelihood", "normalization"),
    [
        ("laplace", "standardize"),
        ("laplace", "unit"),
        ("gaussian", "standardize"),
        ("gaussian", "dequantize"),
        ("bernoulli", "binarize_dynamic"),
        ("bernoulli", "binarize_static"),
        ("continuous_bernoulli", "unit"),
        ("continuous_bernoulli", "dequantize"),
    ],
)
def test_matching_likelihoods_and_pixels_build_on_every_network(
    network, likelihood, normalization, compose_launch
):
    config = compose_launch(
        "model=vae",
        f"model/network={network}",
        f"model/likelihood={likelihood}",
        f"data.normalization={normalization}",
    ).config
    build_module(config, build_data(config))


@pytest.mark.parametrize(
    ("likelihood", "normalization"),
    [
        ("bernoulli", "standardize"),
        ("bernoulli", "unit"),
        ("continuous_bernoulli", "standardize"),
        ("continuous_bernoulli", "binarize_dynamic"),
        ("laplace", "binarize_static"),
        ("gaussian", "binarize_dynamic"),
    ],
)
def test_a_likelihood_for_other_pixels_is_refused(likelihood, normalization, compose_launch):
    config = compose_launch(
        f"model/likelihood={likelihood}", f"data.normalization={normalization}"
    ).config
    with pytest.raises(ConfigError, match=r"model\.likelihood: .* data\.normalization gives"):
        build_module(config, build_data(config))


def test_the_elbo_of_a_point_posterior_is_refused(compose_launch):
    config = compose_launch("model=vae", "model.posterior=point").config
    with pytest.raises(ConfigError, match="objective ELBO needs a rate"):
        build_module(config, build_data(config))


def test_compared_settings_leave_out_logging_and_paths(compose_launch):
    settings = compared_settings(compose_launch("model=vae", "model.latent_dim=5").config)
    assert settings["model.latent_dim"] == 5
    assert settings["model.likelihood"] == "Laplace"
    assert settings["optimizer"] == "Adam"
    assert settings["model.network.encoder_sizes"] == [300, 300]
    words = ("callbacks", "logger", "log_dir", "_target_", "_partial_")
    assert not [name for name in settings for word in words if word in name]


def test_compared_settings_include_callbacks_that_may_change_metrics(compose_launch):
    early = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/l1}"
    changes = ("++callbacks.checkpoint.monitor=l1", f"+callbacks.early_stopping={early}")
    settings = compared_settings(compose_launch(*changes).config)
    assert {name: value for name, value in settings.items() if "callbacks" in name} == {
        "callbacks.checkpoint.monitor": "l1",
        "callbacks.early_stopping": "EarlyStopping",
        "callbacks.early_stopping.monitor": "val/l1",
    }

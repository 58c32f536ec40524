"""Where a `_target_` stands decides which classes it may name, before anything is built."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import typing
import warnings
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musigma.assemble import build_model
from musigma.data import MNISTDataModule
from musigma.models import MLP, Autoencoder, Conv, LatentVariableModel
from musigma.objectives import ELBO, Objective, Reconstruction
from musigma.objectives.likelihoods import Likelihood
from musigma.objectives.schedules import Constant, Cyclical, Linear
from musigma.settings import TrainSettings
from objectives import OBJECTIVES
from workbench import project
from workbench.config.build import build_callbacks, build_data, build_module
from workbench.config.hints import is_recipe
from workbench.config.signatures import arguments_of
from workbench.config.targets import LIBRARIES, target_of
from workbench.errors import ConfigError

SETTINGS = typing.get_type_hints(TrainSettings)


def _hint(place: str) -> Any:
    """The type hint of a dotted config key, for the default classes."""
    owners = {
        "data": MNISTDataModule,
        "model": Autoencoder,
        "model.network": MLP,
        "model.objective": ELBO,
        "trainer": L.Trainer,
        "optimizer": Adam,
    }
    owner, _, name = place.rpartition(".")
    if owner in ("callbacks", "logger"):
        return typing.get_args(SETTINGS[owner])[1]
    if not owner:
        return SETTINGS[name]
    return arguments_of(owners[owner])[0][name].hint


EXPECTED = {
    "data": L.LightningDataModule,
    "model": LatentVariableModel,
    "model.network": {MLP, Conv},
    "model.likelihood": Likelihood,
    "model.objective.beta": {Constant, Linear, Cyclical},
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "trainer": L.Trainer,
    "trainer.profiler": Profiler,
    "trainer.strategy": Strategy,
    "trainer.accelerator": Accelerator,
    "callbacks.anything": L.Callback,
    "logger.anything": Logger,
    # These keys hold plain values, so no class is accepted.
    "name": set(),
    "seed": set(),
    "log_dir": set(),
    "data.root": set(),
    "data.mirrors": set(),
    "model.latent_dim": set(),
    "model.network.encoder_sizes": set(),
    "optimizer.lr": set(),
    "trainer.max_epochs": set(),
}


@functools.cache
def _everything() -> dict[str, Any]:
    """Every class, function and method of the project and of the libraries, by its full name."""
    found: dict[str, Any] = {}
    for package in ("musigma", "workbench", *LIBRARIES):
        root = importlib.import_module(package)
        for module in [root, *_modules(root)]:
            for name, thing in vars(module).items():
                full = f"{module.__name__}.{name}"
                if callable(thing):
                    found[full] = thing
                if inspect.isclass(thing) and thing.__module__ == module.__name__:
                    found |= {f"{full}.{n}": m for n, m in vars(thing).items() if callable(m)}
    return found


def _modules(package: Any) -> typing.Iterator[Any]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", lambda _: None):
        if "__main__" not in info.name:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    yield importlib.import_module(info.name)
            except Exception:  # an optional package is not installed
                continue


def _is_accepted(name: str, hint: Any) -> bool:
    try:
        target_of({"_target_": name, "_partial_": is_recipe(hint)}, hint, "place")
    except ConfigError:
        return False
    return True


BY_DEFAULT = {"data", "model.network", "optimizer", "callbacks.anything", "data.root"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [pytest.param(p, marks=[] if p in BY_DEFAULT else pytest.mark.exhaustive) for p in EXPECTED],
)
def test_every_place_accepts_the_public_classes_of_its_type_and_nothing_else(place):
    everything = _everything()
    assert len(everything) > 4000
    homes = tuple(f"{package}." for package in ("musigma", "workbench", *LIBRARIES))
    hint, expected = _hint(place), EXPECTED[place]
    for name, thing in everything.items():
        public = not any(part.startswith("_") for part in name.split("."))
        is_class = inspect.isclass(thing)
        at_home = is_class and f"{thing.__module__}.".startswith(homes)
        wanted = is_class and (
            thing in expected if isinstance(expected, set) else issubclass(thing, expected)
        )
        assert _is_accepted(name, hint) == (public and at_home and wanted), name


@pytest.mark.slow
def test_an_objective_can_be_any_subclass_of_objective():
    accepted = {thing for name, thing in _everything().items() if _is_accepted(name, Objective)}
    assert accepted >= {ELBO, Reconstruction} | {type(o) for o in OBJECTIVES.values()}
    assert all(Objective in thing.__mro__ for thing in accepted)


@pytest.fixture
def witness(tmp_path):
    """A shell command, and a function that says whether it was run."""
    path = tmp_path / "witness"
    return ["/bin/sh", "-c", f"touch {path}"], path.exists


@pytest.mark.parametrize("place", ["network", "likelihood", "objective", "latent_dim", "posterior"])
def test_a_function_of_the_project_is_never_called(place, witness, compose_launch):
    command, has_run = witness
    config = compose_launch("model=vae").config
    config["model"][place] = {
        "_target_": "workbench.runs.environment._git",
        "command": command,
    }
    with pytest.raises(ConfigError, match="_git"):
        build_module(config, build_data(config))
    assert not has_run()


def test_arguments_of_a_refused_class_are_not_built(witness, compose_launch):
    command, has_run = witness
    config = compose_launch("model=vae").config
    inner = {"_target_": "workbench.runs.environment._git", "command": command}
    config["model"]["network"] = {"_target_": "torch.nn.Sequential", "args": inner}
    with pytest.raises(ConfigError, match=r"torch\.nn\.Sequential: should be Network"):
        build_model(config, build_data(config))
    config["data"]["mirrors"] = [inner]
    with pytest.raises(ConfigError, match=r"data\.mirrors\[0\]\._target_"):
        build_data(config)
    assert not has_run()


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    """A package of the user, installed beside the project."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").write_text("")
    (tmp_path / "mylab" / "callbacks.py").write_text(
        "import lightning as L\nclass Foo(L.Callback):\n    pass\ndef run():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "configs" / "local").mkdir(parents=True)
    here = dataclasses.replace(project.the_project(), root=tmp_path)
    monkeypatch.setattr(project, "_current", [here])
    return tmp_path


@pytest.mark.parametrize("how", ["environment", "file"])
def test_a_class_of_a_trusted_package_is_accepted_only_where_its_type_fits(how, mylab, monkeypatch):
    foo = {"_target_": "mylab.callbacks.Foo"}
    with pytest.raises(ConfigError, match="mylab.callbacks.Foo is not allowed.*MUSIGMA_TRUSTED"):
        target_of(foo, L.Callback, "callbacks.foo")
    if how == "environment":
        monkeypatch.setenv("MUSIGMA_TRUSTED", "bitsandbytes, mylab")
    else:
        (mylab / "configs" / "local" / "trusted.yaml").write_text("- bitsandbytes\n- mylab\n")
    assert target_of(foo, L.Callback, "callbacks.foo").__name__ == "Foo"
    with pytest.raises(ConfigError, match="should be Logger"):
        target_of(foo, Logger, "logger.foo")
    with pytest.raises(ConfigError, match=r"mylab\.callbacks\.run is not allowed"):
        target_of({"_target_": "mylab.callbacks.run"}, L.Callback, "callbacks.foo")


def test_a_config_cannot_trust_a_package(mylab):
    foo = {"_target_": "mylab.callbacks.Foo"}
    config = {"trusted": ["mylab"], "callbacks": {"foo": foo}}
    with pytest.raises(ConfigError, match=r"mylab\.callbacks\.Foo is not allowed"):
        build_callbacks(config)


def test_a_malformed_file_of_trusted_packages_is_reported(mylab):
    (mylab / "configs" / "local" / "trusted.yaml").write_text("mylab: true\n")
    with pytest.raises(ConfigError, match=r"trusted\.yaml: should be a list of packages"):
        target_of({"_target_": "mylab.callbacks.Foo"}, L.Callback, "callbacks.foo")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_here", "ModuleNotFoundError: No module named 'nothing_here' .*, line 2"),
        ("from math import tau2", "ImportError: cannot import name 'tau2' .*, line 2"),
        ("def f(:", "SyntaxError: invalid syntax .*line 2"),
        ("1 / 0", "ZeroDivisionError: division by zero .*, line 2"),
    ],
)
def test_an_error_in_a_module_is_reported_rather_than_a_missing_class(
    code, message, tmp_path, monkeypatch
):
    (tmp_path / "mistaken.py").write_text(f"class Mine: ...\n{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MUSIGMA_TRUSTED", "mistaken")
    match = f"model._target_: mistaken cannot be imported: {message}"
    with pytest.raises(ConfigError, match=match):
        target_of({"_target_": "mistaken.Mine"}, LatentVariableModel, "model")


def test_an_argument_without_a_type_inherits_it_from_the_base_class():
    class Untyped(Autoencoder):
        def __init__(self, network, likelihood, *, latent_dim=2, weight=0.5, **settings):
            super().__init__(network, likelihood, latent_dim=latent_dim, **settings)

    base, found = (arguments_of(kind)[0] for kind in (Autoencoder, Untyped))
    for name in ("network", "likelihood", "latent_dim", "posterior"):
        assert found[name].hint == base[name].hint
    assert found["weight"].hint is typing.Any


def test_an_object_for_an_argument_without_any_type_is_refused():
    with pytest.raises(ConfigError, match=r"the argument has no type .* give it one"):
        target_of({"_target_": "musigma.models.MLP"}, typing.Any, "model.network")

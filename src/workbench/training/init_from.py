"""Initialize a run with the weights of another run."""

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.console import display_path, show_table
from workbench.errors import ConfigError, RunError, one_line
from workbench.optimizers.parts import find_part, is_within
from workbench.project import Config
from workbench.runs.resume import find_run
from workbench.runs.weights import WEIGHTS, is_weight, load_checkpoint, load_weights
from workbench.training.launch import Launch

LOADED, OTHER_SHAPE = "loaded", "other shape"


class SourceWeights(NamedTuple):
    """Weights read from a file, to initialize a run with.

    Args:
        path: the file.
        sha256: the hash of its content.
        weights: the weights by name.
        step: the optimizer steps that they were trained for, if the file says so.
    """

    path: Path
    sha256: str
    weights: dict[str, Tensor]
    step: int | None


class Transfer(NamedTuple):
    """The weights that a module loads from a source, and why others are not loaded.

    Args:
        source: the source.
        outcomes: `loaded`, or the reason why not, by name of a weight of the module or the source.
        shapes: the shapes in the module and in the source, by name, where they differ.
    """

    source: SourceWeights
    outcomes: dict[str, str]
    shapes: dict[str, tuple[list[int], list[int]]]

    @property
    def names(self) -> frozenset[str]:
        """The names of the loaded weights in the module."""
        return frozenset(name for name, outcome in self.outcomes.items() if outcome == LOADED)

    def plain(self) -> dict[str, Any]:
        """The transfer as plain values, for JSON."""
        rest = {name: outcome for name, outcome in self.outcomes.items() if outcome != LOADED}
        path, digest, _, step = self.source
        about = {"path": str(path), "sha256": digest, "step": step}
        return {**about, "loaded": sorted(self.names), "not_loaded": rest}

    def show(self) -> None:
        """Print a table: outcomes by part, and both shapes of each weight where they differ."""
        parts = Counter(
            (".".join(name.split(".")[:2]), outcome)
            for name, outcome in self.outcomes.items()
            if outcome != OTHER_SHAPE
        )
        rows = [[part, f"{count} tensors", what] for (part, what), count in parts.items()]
        rows += [
            [name, f"{here} here, {there} in the file", OTHER_SHAPE]
            for name, (here, there) in self.shapes.items()
        ]
        title = f"init from   {display_path(self.source.path)}"
        show_table(title, ("", "weights", ""), sorted(rows))


def begin_with(
    module: nn.Module,
    which: str | Path,
    parts: Iterable[str] | None = None,
    runs: Path = Path("logs/runs"),
) -> Transfer:
    """Give a module those weights of another run that fit it by name and shape.

    Args:
        module: the module, whose weights are replaced.
        which: a run folder, for its best checkpoint; `latest`; or a file of a checkpoint or of
            weights, of a LightningModule or of the model in it.
        parts: the parts of the module to initialize, as for `find_part`; by default all.
        runs: the folder of runs in which `latest` is looked for.

    Raises:
        ConfigError: if there is no such run, its file cannot be read, or none of its weights fits.
    """
    return transfer(module, read_source(find_weights_file(str(which), runs)), parts)


def find_weights_file(which: str, runs: Path) -> Path:
    """The file of weights that `init_from` names.

    Raises:
        ConfigError: if there is none.
    """
    path = Path(which).expanduser()
    if not path.is_file():
        try:
            folder = find_run(which, runs)
        except RunError as error:
            raise ConfigError(f"init_from={which}: {one_line(error)}") from error
        exported = folder.path / WEIGHTS
        path = exported if exported.is_file() else folder.checkpoint("best")
    if not path.is_file():
        raise ConfigError(f"init_from={which}: has saved no weights yet: there is no {path}")
    return path.absolute()


def with_weights_file(launch: Launch) -> Launch:
    """The job with the path of a file as `init_from`, in place of `latest` or a folder.

    Raises:
        ConfigError: if there is no such file.
    """
    which = launch.config.get("init_from")
    if which is None or launch.config["resume"] is not None:
        return launch
    path = find_weights_file(which, Path(launch.config["log_dir"]) / "runs")
    return launch._replace(config={**launch.config, "init_from": str(path)})


def read_source(path: Path) -> SourceWeights:
    """Read the weights of a checkpoint or a safetensors file.

    Raises:
        ConfigError: if it is damaged or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            found: Mapping[str, Any] = {"state_dict": load_weights(path)}
        else:
            found = load_checkpoint(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (RunError, OSError) as error:
        raise ConfigError(f"init_from={path}: {one_line(error)}") from error
    weights = found.get("state_dict", found)
    if (
        not isinstance(weights, Mapping)
        or not weights
        or not all(is_weight(*item) for item in weights.items())
    ):
        raise ConfigError(f"init_from={path}: holds no weights by name; use a run's checkpoint")
    if broken := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ConfigError(f"init_from={path}: {broken[0]} is not finite: training had diverged")
    step = found.get("global_step")
    return SourceWeights(path, digest, dict(weights), step if isinstance(step, int) else None)


def transfer(
    module: nn.Module, source: SourceWeights, parts: Iterable[str] | None = None
) -> Transfer:
    """Give a module the weights that fit it by name and shape.

    Raises:
        ConfigError: if none fits.
    """
    weights, plan = _plan_transfer(module, source, parts)
    module.load_state_dict({name: weights[name] for name in plan.names}, strict=False)
    return plan


def check_fits(module: nn.Module, config: Config) -> None:
    """Check that `init_from` fits a module, which may be on the device "meta".

    Raises:
        ConfigError: if the weights cannot be read, or none of them fits.
    """
    if which := config.get("init_from"):
        path = find_weights_file(which, Path(config["log_dir"]) / "runs")
        source = _read_shapes(path, path.stat().st_mtime_ns)
        _plan_transfer(module, source, config.get("init_from_parts"))


@functools.lru_cache(1)  # the jobs of a sweep mostly have the same source
def _read_shapes(path: Path, mtime_ns: int) -> SourceWeights:
    """As `read_source`, with weights on the device "meta"."""
    source = read_source(path)
    return source._replace(weights={n: w.to("meta") for n, w in source.weights.items()})


def _plan_transfer(
    module: nn.Module, source: SourceWeights, parts: Iterable[str] | None
) -> tuple[Mapping[str, Tensor], Transfer]:
    """The weights of the source by their names in a module, and which of them it can load."""
    own = module.state_dict()
    weights = _renamed(source.weights, module)
    wanted = None if parts is None else [find_part(module, p, "init_from_parts") for p in parts]
    outcomes, shapes = {}, {}
    for name, value in {**own, **weights}.items():
        if wanted is not None and not any(is_within(name, part) for part in wanted):
            outcomes[name] = "not among init_from_parts"
        elif name not in weights:
            outcomes[name] = "not in the file: initialized"
        elif name not in own:
            outcomes[name] = "not in the module"
        elif own[name].shape != value.shape:
            outcomes[name] = OTHER_SHAPE
            shapes[name] = ([*own[name].shape], [*value.shape])
        else:
            outcomes[name] = LOADED
    plan = Transfer(source, outcomes, shapes)
    if not plan.names:
        name, shape = next(iter(shapes.items()), (next(iter(weights)), None))
        fault = f"{name} is {shape[1]} there and {shape[0]} here" if shape else f"it holds {name}"
        raise ConfigError(f"init_from={source.path}: none of its weights fits, as {fault}")
    return weights, plan


def _renamed(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Weights by their names in a module: a model may be a part of either, with a prefix there.

    The prefixes to remove and to add are those for which most names are the module's.
    """
    own = module.state_dict().keys()
    added = ["", *(f"{name}." for name, _ in module.named_children())]
    removed = ["", *dict.fromkeys(f"{name.partition('.')[0]}." for name in weights)]
    candidates = [
        {f"{new}{name.removeprefix(old)}": value for name, value in weights.items()}
        for new in added
        for old in removed
    ]
    return max(candidates, key=lambda renamed: len(own & renamed.keys()))

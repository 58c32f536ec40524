"""Initialize a run with the weights of another run."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workbench.errors import ConfigError, RunError, one_line
from workbench.project import Config
from workbench.runs.resume import find_run
from workbench.runs.weights import WEIGHTS, is_weight, load_checkpoint, load_weights
from workbench.training.launch import Launch
from workbench.training.transfer import SourceWeights, Transfer, plan_transfer, transfer


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
    """The file of weights that `init_from` names; a ConfigError if there is none."""
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
    """The job with the path of a file as `init_from`, in place of `latest` or a folder."""
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


def check_fits(module: nn.Module, config: Config) -> None:
    """Raise a ConfigError if `init_from` does not fit a module, which may be on "meta"."""
    if which := config.get("init_from"):
        path = find_weights_file(which, Path(config["log_dir"]) / "runs")
        source = _read_shapes(path, path.stat().st_mtime_ns)
        plan_transfer(module, source, config.get("init_from_parts"))


@functools.lru_cache(1)  # the jobs of a sweep mostly have the same source
def _read_shapes(path: Path, mtime_ns: int) -> SourceWeights:
    """As `read_source`, with weights on the device "meta"."""
    source = read_source(path)
    return source._replace(weights={n: w.to("meta") for n, w in source.weights.items()})

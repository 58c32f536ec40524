"""Begin with the weights of another run."""

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.config.launch import Launch
from workbench.console import display_path, show_table
from workbench.errors import ConfigError, RunError, one_line
from workbench.parts import find_part, is_within
from workbench.project import Config
from workbench.runs.resume import find_run
from workbench.runs.weights import WEIGHTS, is_weight, load_checkpoint, load_weights

OTHER_SHAPE = "another shape"


class Origin(NamedTuple):
    """Weights that a run may begin with.

    Args:
        path: the file.
        sha256: of its content.
        weights: by name.
        step: the optimizer steps that they were trained for, where the file says so.
    """

    path: Path
    sha256: str
    weights: dict[str, Tensor]
    step: int | None


class Taken(NamedTuple):
    """The weights that were taken of an origin, and the reasons for the others.

    Args:
        origin: of the weights.
        fates: of each weight there or here: `taken`, or why it was not.
        shapes: of those that have another shape, here and there.
    """

    origin: Origin
    fates: dict[str, str]
    shapes: dict[str, tuple[list[int], list[int]]]

    @property
    def names(self) -> frozenset[str]:
        """The weights that were taken, by their names here."""
        return frozenset(name for name, fate in self.fates.items() if fate == "taken")

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        fates = {name: fate for name, fate in self.fates.items() if fate != "taken"}
        path, digest, _, step = self.origin
        about = {"path": str(path), "sha256": digest, "step": step}
        return {**about, "taken": sorted(self.names), "not_taken": fates}

    def show(self) -> None:
        """Print a table: weights by part, and each one of another shape with both shapes."""
        parts = Counter(
            (".".join(name.split(".")[:2]), fate)
            for name, fate in self.fates.items()
            if fate != OTHER_SHAPE
        )
        rows = [[part, f"{count} of its weights", fate] for (part, fate), count in parts.items()]
        rows += [
            [name, f"{here} here, {there} there", OTHER_SHAPE]
            for name, (here, there) in self.shapes.items()
        ]
        title = f"begins with {display_path(self.origin.path)}"
        show_table(title, ("", "weights", ""), sorted(rows))


def begin_with(
    module: nn.Module,
    which: str | Path,
    parts: Iterable[str] | None = None,
    runs: Path = Path("logs/runs"),
) -> Taken:
    """Give a module those of another run's weights that fit it by name and shape.

    Args:
        module: whose weights are replaced.
        which: a run folder, for its best checkpoint; `latest`; or a file of a checkpoint or of
            weights, of a LightningModule or of the model in it.
        parts: of the module that take weights, as `find_part` takes them; by default all of it.
        runs: where `latest` is looked for.

    Raises:
        ConfigError: if there is no such run, its file cannot be read, or nothing of it fits.
    """
    return take(module, read_origin(find_origin(str(which), runs)), parts)


def find_origin(which: str, runs: Path) -> Path:
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


def with_origin(launch: Launch) -> Launch:
    """The job with the file of weights that it begins with, in place of `latest` or a folder.

    Raises:
        ConfigError: if there is none.
    """
    which = launch.config.get("init_from")
    if which is None or launch.config["resume"] is not None:
        return launch
    path = find_origin(which, Path(launch.config["log_dir"]) / "runs")
    return launch._replace(config={**launch.config, "init_from": str(path)})


def read_origin(path: Path) -> Origin:
    """The weights in a file, a checkpoint or safetensors.

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
        raise ConfigError(f"init_from={path}: holds no weights by name; take a run's checkpoint")
    if broken := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ConfigError(f"init_from={path}: {broken[0]} is not finite: training had diverged")
    step = found.get("global_step")
    return Origin(path, digest, dict(weights), step if isinstance(step, int) else None)


def take(module: nn.Module, origin: Origin, parts: Iterable[str] | None = None) -> Taken:
    """Give a module what fits it by name and shape.

    Raises:
        ConfigError: if nothing does.
    """
    weights, taken = _fitting(module, origin, parts)
    module.load_state_dict({name: weights[name] for name in taken.names}, strict=False)
    return taken


def check_fits(module: nn.Module, config: Config) -> None:
    """Check that weights to begin with fit a module, which may be without memory for its own.

    Raises:
        ConfigError: if they cannot be read, or nothing of them fits.
    """
    if which := config.get("init_from"):
        path = find_origin(which, Path(config["log_dir"]) / "runs")
        _fitting(module, _read_once(path, path.stat().st_mtime_ns), config.get("init_from_parts"))


@functools.lru_cache(1)
def _read_once(path: Path, changed: int) -> Origin:
    """The shapes of an origin's weights; the jobs of a sweep mostly have the same one."""
    origin = read_origin(path)
    return origin._replace(weights={n: w.to("meta") for n, w in origin.weights.items()})


def _fitting(
    module: nn.Module, origin: Origin, parts: Iterable[str] | None
) -> tuple[Mapping[str, Tensor], Taken]:
    """The origin's weights by the names of a module, and which of them fit it."""
    own = module.state_dict()
    weights = _named_as(own, module, origin.weights)
    wanted = None if parts is None else [find_part(module, p, "init_from_parts") for p in parts]
    fates, shapes = {}, {}
    for name, value in {**own, **weights}.items():
        if wanted is not None and not any(is_within(name, part) for part in wanted):
            fates[name] = "not among init_from_parts"
        elif name not in weights:
            fates[name] = "not there: begins anew"
        elif name not in own:
            fates[name] = "not here"
        elif own[name].shape != value.shape:
            fates[name] = OTHER_SHAPE
            shapes[name] = ([*own[name].shape], [*value.shape])
        else:
            fates[name] = "taken"
    taken = Taken(origin, fates, shapes)
    if not taken.names:
        name, shape = next(((n, s) for n, s in shapes.items()), (next(iter(weights)), None))
        fault = f"{name} is {shape[1]} there and {shape[0]} here" if shape else f"it holds {name}"
        raise ConfigError(f"init_from={origin.path}: nothing of it fits: {fault}, for one")
    return weights, taken


def _named_as(
    own: Mapping[str, Tensor], module: nn.Module, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights under the names that most of them have here: a model may be a part, here or there."""
    inside = ["", *(f"{name}." for name, _ in module.named_children())]
    outside = ["", *dict.fromkeys(f"{name.partition('.')[0]}." for name in weights)]
    renamed = [
        {f"{more}{name.removeprefix(less)}": value for name, value in weights.items()}
        for more in inside
        for less in outside
    ]
    return max(renamed, key=lambda named: sum(name in own for name in named))

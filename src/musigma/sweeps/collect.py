"""What the run folders of a sweep hold, whatever became of the runs."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from musigma.config.build import build_data, build_objective, compared_settings
from musigma.config.instantiate import instantiate
from musigma.data.normalization import Dequantize
from musigma.errors import RunError, UserError
from musigma.objectives.likelihoods import Likelihood
from musigma.runs.folder import UNKNOWN, RunFolder, is_special, leads_out
from musigma.runs.load import WEIGHTS
from musigma.runs.status import status_of

SIGN_OF_DENSITY = {"elbo": 1, "iwae": 1, "distortion": -1}
"""Figures that hold a log-density of pixels, and its sign."""

FAILURE = "failure.txt"
READ = (
    "config.yaml",
    "metrics.json",
    FAILURE,
    ".lock",
    "checkpoints",
    "checkpoints/best.ckpt",
    WEIGHTS,
)
"""What is read of a run, beside its curves."""

GREY = "cross-entropy of grey levels, which is no likelihood"


class Kind(NamedTuple):
    """What the figures of a run speak of, in words; runs compare where these are equal.

    Args:
        data: the data set and its source.
        pixels: the normalisation, with its settings.
        density: what exp(log p(x|z)) is, in the model's own pixels.
        common: the same on the common [0, 1] scale; empty where there is none.
        likelihood: its class and settings.
        objective: its class and settings.
        uses_prior: whether codes are held to the prior.
        monitor: the objective's own figure.
    """

    data: str
    pixels: str
    density: str
    common: str
    likelihood: str
    objective: str
    uses_prior: bool
    monitor: str


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep, as far as its folder can be read.

    Args:
        path: its folder.
        status: `completed`, `running`, `killed`, `interrupted`, `failed`, or `damaged` where the
            folder cannot be read.
        error: what went wrong, in a line.
        traceback: where.
        settings: what runs are compared by, by dotted name.
        asked: the names of the settings that its sweep was asked to vary.
        kind: what its figures speak of; None if nobody can tell.
        metrics: figures by name. Log-densities of pixels that are no classes are there twice:
            `test/elbo_unit` is `test/elbo` on the common [0, 1] scale.
        seconds: how long it took; NaN if unknown.
        written_by: the version of musigma that made it.
    """

    path: Path
    status: str
    error: str = ""
    traceback: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    kind: Kind | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    written_by: str = UNKNOWN

    @property
    def is_done(self) -> bool:
        """Whether it came to its end."""
        return self.status == "completed"

    def has_model(self) -> bool:
        """Whether there is a trained model to look at."""
        return RunFolder(self.path).checkpoint("best").exists()


def find_sweep(which: str, sweeps: Path) -> Path:
    """The sweep folder that `which` names: a path, a name in `sweeps`, or `latest`.

    Raises:
        RunError: if there is none.
    """
    if which == "latest":
        configs = list(sweeps.glob("*/*/config.yaml"))
        if not configs:
            raise RunError(f"There is no sweep in {sweeps} yet; name a folder instead of `latest`.")
        return max(configs, key=lambda path: path.stat().st_mtime).parents[1]
    for path in (Path(which), sweeps / which):
        if path.is_dir():
            return path
    known = [path.name for path in sweeps.glob("*") if path.is_dir()]
    nearest = difflib.get_close_matches(which, known, 1)
    meant = f"Did you mean {nearest[0]}?" if nearest else "Name a folder of run folders."
    raise RunError(f"There is no sweep {which}, nor is one of that name in {sweeps}. {meant}")


def collect(sweep: Path) -> list[SweepRun]:
    """The runs of a sweep by their names.

    Raises:
        RunError: if there are none.
    """
    paths = sorted(path.parent for path in sweep.glob("*/config.yaml"))
    runs = [_read(RunFolder(path), sweep) for path in paths if not path.name.startswith(".")]
    if not runs:
        raise RunError(
            f"{sweep} holds no runs: no folder in it has a config.yaml.\n"
            "A sweep folder is what a multirun names at its start, such as logs/sweeps/..."
        )
    return runs


def _read(folder: RunFolder, sweep: Path) -> SweepRun:
    for path in (folder.path, *map(folder.path.joinpath, READ), *folder.path.glob("events*")):
        if leads_out(path, sweep):
            text = f"{path} is a link out of this folder: copy the run instead"
            return SweepRun(folder.path, "damaged", text)
        if is_special(path):
            text = f"{path} is neither a file nor a folder: remove it"
            return SweepRun(folder.path, "damaged", text)
    traceback = ""
    try:
        failure = folder.path / FAILURE
        traceback = failure.read_text("utf-8", errors="replace") if failure.exists() else ""
        return _whole(folder, traceback)
    except (UserError, OSError) as error:
        return SweepRun(folder.path, "damaged", str(error), traceback)
    except Exception as error:  # one run, damaged in whatever way, must not cost the page
        text = f"config.yaml or metrics.json is not what it was: {type(error).__name__}: {error}"
        return SweepRun(folder.path, "damaged", text, traceback)


def _whole(folder: RunFolder, traceback: str) -> SweepRun:
    config = folder.read_config()
    settings = compared_settings(config)
    if "data.path" in settings:  # the same data may lie elsewhere on another machine
        settings["data.path"] = Path(settings["data.path"]).name
    known = folder.read_metrics()
    source = known.get("data_source") or config["data"].get("source", "unknown")
    kind, gain = _kind(config, source)
    metrics = _numbers(known.get("metrics", {}))
    return SweepRun(
        folder.path,
        status_of(folder, known),
        str(known.get("error", "")),
        traceback,
        settings,
        tuple(config.get("varied") or ()),
        kind,
        metrics | (_on_common_scale(metrics, gain) if kind.common else {}),
        _number(known.get("seconds")),
        str(folder.written_by()),
    )


def _kind(config: dict[str, Any], source: str) -> tuple[Kind, float]:
    """And what a log-density gains on the [0, 1] scale, in nats per image."""
    data = build_data(config)
    normalization = data.normalization
    likelihood = instantiate(config["model"]["likelihood"], Likelihood, "model.likelihood")
    objective = build_objective(config)
    pixels = _described(normalization, vars(normalization))
    density, common = f"density of {pixels} pixels", "density of [0, 1] pixels"
    if not likelihood.is_density:
        density, common = GREY, ""
    elif normalization.pixels == "binary":
        density, common = "probability of binary pixels", ""
    elif isinstance(normalization, Dequantize):
        density = common = "density of dequantized pixels"
    kind = Kind(
        f"{data.name} ({source})",
        f"{pixels} pixels",
        density,
        common,
        _described(likelihood, config["model"]["likelihood"]) + " likelihood",
        "objective " + _described(objective, config["model"]["objective"]),
        objective.uses_prior,
        objective.monitor,
    )
    return kind, normalization.log_unit_volume() * math.prod(data.image_shape)


def _described(thing: object, settings: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{k}={v}" for k, v in settings.items() if not k.startswith("_"))
    return type(thing).__name__ + (f"({shown})" if shown else "")


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(v) for name, v in metrics.items() if isinstance(v, int | float)}


def _number(value: Any) -> float:
    """NaN for what is not a number, or not a finite one, which compares with no other."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else math.nan


def _on_common_scale(metrics: Mapping[str, float], gain: float) -> dict[str, float]:
    return {
        f"{name}_unit": value + sign * gain
        for name, value in metrics.items()
        if (sign := SIGN_OF_DENSITY.get(name.partition("/")[2]))
    }

"""Evaluate trained runs: metrics, plots and a page for each."""

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from musigma.commands.measure import Metrics, measure
from musigma.commands.plotting import plots_of
from musigma.commands.report import or_none, page_of, print_report
from musigma.evaluation.encoding import Encoded, encoded
from musigma.loading import Run, load_run
from musigma.plots.named import plot_files
from musigma.project import PROJECT
from musigma.published import beside_published
from musigma.seeding import FIXED_SEED, seed_noise
from workbench.console import display_path, set_up_logging
from workbench.devices import exact_device
from workbench.errors import ConfigError, DataError, RunError, UserError
from workbench.interactive import compose
from workbench.project import Config
from workbench.runs.description import RunDescription, describe_run
from workbench.runs.evaluation import (
    FILES,
    PAGE,
    evaluated_checkpoint,
    finite,
    write_evaluation,
)
from workbench.runs.folder import RunFolder
from workbench.runs.output import output_folder
from workbench.runs.resume import find_runs

log = logging.getLogger(__name__)


def evaluate(
    runs: Sequence[str],
    known: Path,
    *,
    checkpoint: str,
    images: int | None,
    samples: int,
    seed: int,
    output: str | None = None,
    data: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> list[Metrics]:
    """Evaluate runs one after the other; return the contents of each `evaluation/metrics.json`.

    If there are several runs, an error is logged for each that cannot be evaluated.

    Args:
        runs: run folders, folders of run folders, or `latest`.
        known: the folder in which `latest` is looked up.
        checkpoint: `best`, `last`, or another; see `load_run`.
        images: the number of test images for log p(x), chosen by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: the seed of the importance samples.
        output: a folder to write to instead of the run folders, with a subfolder for each run if
            there are several. By default results are written into the run folder, or into its
            `evaluations/<checkpoint>` for a checkpoint other than the best and the last.
        data: where the data are; see `load_run`.
        device: the device of the models, see `load_run`; draws are the same on every device.

    Raises:
        ConfigError: if this machine does not have the device.
        RunError: before anything is measured, if a folder is not a run, or results cannot be
            written; at the end, if one of several runs could not be measured.
    """
    set_up_logging()
    device = str(exact_device(device))
    by_path = {f.path.resolve(): f for which in runs for f in find_runs(which, known)}
    if not by_path:
        raise ConfigError("run=[] names no run; name a run folder, or run=latest.")
    folders = [*by_path.values()]
    subfolders = _unique([path.name for path in by_path]) if len(folders) > 1 else [""]
    places = [
        output_folder(output and str(Path(output) / name), _own_place(folder, checkpoint), FILES)
        for folder, name in zip(folders, subfolders, strict=True)
    ]
    defaults = or_none("the comparison with the defaults", compose)
    settings = {"images": images, "samples": samples, "seed": seed}
    opened, results = 0, []
    for folder, place in zip(folders, places, strict=True):
        try:
            run = load_run(folder.path, checkpoint, data, device)
            opened += 1
            run.data.device = torch.device("cpu")  # so that its draws are the same on every device
            about = describe_run(folder, run.config, folder.checkpoint_name(checkpoint))
            metrics = _evaluate(
                run, about, folder.path, place, settings=settings, defaults=defaults
            )
            results.append(metrics)
        except UserError as error:
            if len(folders) == 1:
                raise
            log.error("%s is left out: %s", folder.path, error)
    if not opened:
        raise RunError("None of the runs can be opened.")
    if len(results) < opened:
        raise RunError(f"{opened - len(results)} of {opened} runs could not be measured.")
    return results


def _own_place(folder: RunFolder, checkpoint: str) -> Path:
    """The folder, inside the run's, for the results of a checkpoint."""
    name = folder.checkpoint_name(checkpoint)
    is_default = name in ("best", "last")
    return folder.path if is_default else folder.path / "evaluations" / name.replace("/", "_")


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with numbers appended to repeated ones."""
    unique: list[str] = []
    for name in names:
        candidates = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(2)))
        unique.append(next(candidate for candidate in candidates if candidate not in unique))
    return unique


def _evaluate(
    run: Run,
    about: RunDescription,
    folder: Path,
    place: Path,
    *,
    settings: Mapping[str, Any],
    defaults: Config | None,
) -> Metrics:
    """Measure a run, print its metrics, and write them with plots and a page."""
    start = time.perf_counter()
    if (before := evaluated_checkpoint(place)) not in (None, about.checkpoint):
        log.warning(
            "%s: the evaluation of the %s checkpoint is replaced; output=... keeps both",
            place,
            before,
        )
    for note in about.notes:
        log.warning("%s", note)
    test = _encoded_test_images(run, about, folder)
    measurements = measure(run, test, **settings)
    published = beside_published(run.config, measurements)
    plots = [plot_files(plot) for plot in plots_of(run, test, about.curves)]
    metrics: Metrics = finite(
        {
            "run": str(folder),
            "status": about.status,
            "checkpoint": about.checkpoint,
            "epoch": about.epoch,
            "step": about.step,
            "measured_by": PROJECT.version,
            "device": str(run.model.device),
            "data_source": run.data.source,
            **measurements,
            **({"published": published} if published else {}),
            "figures": sorted(name for plot in plots for name in plot.files),
        }
    )
    print_report(metrics, about)  # before writing, so that a full disk loses no numbers
    seconds = time.perf_counter() - start
    page = page_of(
        run, test, metrics, plots, about, place=place, defaults=defaults, seconds=seconds
    )
    write_evaluation(place, metrics, page, [plot.files for plot in plots])
    log.info("page        %s", display_path(place / PAGE))
    return metrics


def _encoded_test_images(run: Run, about: RunDescription, folder: Path) -> Encoded:
    """The encoded test images of a run.

    Raises:
        DataError: if there are none.
        RunError: if the model does not give finite numbers.
    """
    run.data.prepare_data()
    run.data.setup("fit")
    run.data.setup("test")
    log.info("measuring %s", display_path(folder))
    loader: Any = run.data.evaluation_loader("test")
    if isinstance(loader, list):
        raise DataError(f"{folder}: its data have no test set")
    seed_noise(run.model.device, FIXED_SEED)  # for models that also use torch's global generator
    test = encoded(run.model, loader.images(), run.data.normalization.to_unit)
    if not all(torch.isfinite(part).all() for part in (test.mu, test.std, test.errors.mse)):
        raise RunError(
            f"{folder}: the {about.weights()} gives codes or images that are not finite: "
            "training had diverged. Choose another checkpoint or an earlier run."
        )
    return test

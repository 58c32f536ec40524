"""Evaluate trained runs: metrics, plots and a page for each."""

import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml

from musigma.commands.explorer import latent_explorer
from musigma.commands.measure import Metrics, measure
from musigma.commands.plotting import plots_of
from musigma.evaluation.encoding import encoded
from musigma.evaluation.quadrature import is_one
from musigma.loading import Run, load_run
from musigma.pages.run import Row, facts_of, measured, published_of, rows_of
from musigma.plots.named import plot_files
from musigma.project import PROJECT
from musigma.published import beside_published, published_rows
from musigma.seeding import FIXED_SEED, seed_noise
from musigma.words import describe
from workbench.console import display_path, set_up_logging
from workbench.devices import exact_device
from workbench.errors import ConfigError, DataError, RunError, UserError
from workbench.interactive import changed_settings, compose
from workbench.pages.render import render
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
from workbench.runs.provenance import own_overrides, sweep_of, train_command
from workbench.runs.resume import find_runs
from workbench.text import show_table, wrapped

log = logging.getLogger(__name__)

T = TypeVar("T")


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
    names = _unique([path.name for path in by_path])
    subfolders = names if len(folders) > 1 else [""]
    places = [
        output_folder(output and str(Path(output) / name), _own_place(folder, checkpoint), FILES)
        for folder, name in zip(folders, subfolders, strict=True)
    ]
    defaults = _or_none("the comparison with the defaults", compose)
    opened, results = 0, []
    for folder, place in zip(folders, places, strict=True):
        try:
            run = load_run(folder.path, checkpoint, data, device)
            opened += 1
            run.data.device = torch.device("cpu")  # so that its draws are the same on every device
            about = describe_run(folder, run.config, folder.checkpoint_name(checkpoint))
            if (before := evaluated_checkpoint(place)) not in (None, about.checkpoint):
                log.warning(
                    "%s: the evaluation of the %s checkpoint is replaced; output=... keeps both",
                    place,
                    before,
                )
            settings = {"images": images, "samples": samples, "seed": seed}
            metrics = _evaluate(run, folder, place, about, settings=settings, defaults=defaults)
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
        numbered = (f"{name}_{number}" for number in range(2, len(names) + 2))
        unique.append(name if name not in unique else next(n for n in numbered if n not in unique))
    return unique


def _evaluate(
    run: Run,
    folder: RunFolder,
    place: Path,
    about: RunDescription,
    *,
    settings: dict[str, Any],
    defaults: Config | None,
) -> Metrics:
    """Measure a run, print its metrics, and write them with plots and a page."""
    start = time.perf_counter()
    for note in about.notes:
        log.warning("%s", note)
    run.data.prepare_data()
    run.data.setup("fit")
    run.data.setup("test")
    log.info("measuring %s", display_path(folder.path))
    loader: Any = run.data.evaluation_loader("test")
    if isinstance(loader, list):
        raise DataError(f"{folder.path}: its data have no test set")
    seed_noise(run.model.device, FIXED_SEED)  # for models that also use torch's global generator
    test = encoded(run.model, loader.images(), run.data.normalization.to_unit)
    if not all(torch.isfinite(part).all() for part in (test.mu, test.std, test.errors.mse)):
        raise RunError(
            f"{folder.path}: the {about.weights()} gives codes or images that are not finite: "
            "training had diverged. Choose another checkpoint or an earlier run."
        )
    measurements = measure(run, test, **settings)
    published = beside_published(run.config, measurements)
    plots = [plot_files(plot) for plot in plots_of(run, test, about.curves)]
    metrics: Metrics = finite(
        {
            "run": str(folder.path),
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
    rows = list(rows_of(metrics))
    _show(rows, metrics, about)  # before writing, so that a full disk loses no numbers
    explorer = _or_none("the latent space", latent_explorer, run, test)
    page = render(
        "run.html.jinja",
        package=PROJECT.package,
        name=folder.path.resolve().name,
        facts=facts_of(
            describe(run.config, run.model, run.objective(), run.data), run.objective(), about
        ),
        sweep=sweep_of(run.config, folder.path, place),
        commands=[
            train_command(about.overrides),
            f"python scripts/evaluate.py run={shlex.quote(str(folder.path))}",
        ],
        published=published_of(run.config, rows),
        explorer=explorer,
        changed=None
        if defaults is None
        else _or_none("the comparison with the defaults", changed_settings, run.config, defaults),
        measured=measured(metrics, about.weights()),
        notes=[*about.notes, *_notes(metrics)],
        rows=rows,
        plots=[plot for plot in plots if not explorer or plot.name != "latent_scatter"],
        ran={
            **about.facts,
            "measured": f"in {time.perf_counter() - start:.0f} s on {run.model.device} with "
            f"{PROJECT.package} {PROJECT.version}",
            **({} if place == folder.path else {"written to": place}),
        },
        overrides=own_overrides(about.overrides),
        config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
        environment=about.environment,
    )
    write_evaluation(place, metrics, page, [plot.files for plot in plots])
    log.info("page        %s", display_path(place / PAGE))
    return metrics


def _or_none(name: str, make: Callable[..., T], *arguments: Any) -> T | None:
    """Make a part of the page; None if that fails, so that the measurements are not lost."""
    try:
        return make(*arguments)
    except Exception as error:
        log.warning("%s is left out of the page: %s", name, error)
        return None


def _notes(metrics: Metrics) -> list[str]:
    """What was left out or did not converge, with the reasons."""
    reasons = []
    if "no_log_p" in metrics:
        reasons.append(f"No log {metrics['evidence']}: {metrics['no_log_p']}")
    if reason := metrics["latent"].get("for_normal_posteriors"):
        reasons.append(f"Left out: {reason}")
    if "left_out" in metrics:
        reasons.append(f"Left out because not finite: {', '.join(metrics['left_out'])}")
    if count := metrics.get("log_p_exact_not_converged"):
        text = f"The integral did not converge for {count} of {metrics['images']} images"
        mass = metrics.get("log_p_exact_prior_mass", 1.0)
        if not is_one(mass):
            text += (
                f": that of the prior's own density is {mass:.4g} and should be 1, so the density "
                "is not normalised, or too narrow for the grid"
            )
        reasons.append(text)
    return reasons


def _show(rows: Sequence[Row], metrics: Metrics, about: RunDescription) -> None:
    """Print the metrics, what was left out, and the comparison with published values."""
    title = f"test metrics, data source: {metrics['data_source']}"
    print(wrapped(measured(metrics, about.weights())))
    cells = [(row.name, row.value, row.error, row.unit) for row in rows]
    show_table(title, ("", "value", "± over images", "unit"), cells)
    for reason in _notes(metrics):
        print(wrapped(f"{reason}."))
    if beside := list(published_rows(metrics)):
        columns = ("", "obtained", "± over images", "published", "source")
        show_table("beside published values", columns, [row[:5] for row in beside])
        for text in dict.fromkeys(row.differs for row in beside):
            names = [row.name for row in beside if row.differs == text]
            print(wrapped(f"what differs ({'; '.join(names)}): {text}"))
        overrides = " ".join(own_overrides(about.overrides)) or "none"
        print(wrapped(f"overrides of this run: {overrides}"))

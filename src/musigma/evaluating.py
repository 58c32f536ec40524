"""Measuring and drawing trained runs: numbers, figures and a page in each run's folder."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from musigma.console import set_up_logging
from musigma.drawing import draw
from musigma.figures.latent_space import Drawing
from musigma.measuring import Metrics, encoded, measure
from musigma.pages.render import embedded, render
from musigma.runs.curves import read_curves
from musigma.runs.folder import WENT_ON, RunFolder
from musigma.runs.load import Run, load_run
from musigma.runs.resume import find_runs
from musigma.units import NATS, UNITS

log = logging.getLogger(__name__)


def evaluate(
    runs: Sequence[str],
    known: Path,
    *,
    checkpoint: str,
    images: int | None,
    samples: int,
    seed: int,
) -> list[Metrics]:
    """Evaluate runs one after the other; returns what each `evaluation/metrics.json` holds.

    Args:
        runs: run folders, folders of such, or `latest`.
        known: where `latest` looks.
        checkpoint: `best` or `last`.
        images: how many test images log p(x) is measured on, drawn by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: of those samples.

    Raises:
        RunError: if a folder is no run; nothing has been measured then.
    """
    set_up_logging()
    folders = [folder for run in runs for folder in find_runs(run, known)]
    return [_evaluate(folder, checkpoint, images, samples, seed) for folder in folders]


def _evaluate(
    folder: RunFolder, checkpoint: str, images: int | None, samples: int, seed: int
) -> Metrics:
    run = load_run(folder.path, checkpoint)
    run.data.prepare_data()
    run.data.setup("fit")
    run.data.setup("test")
    log.info("measuring %s", folder.path)
    test = encoded(run.model, *run.data.evaluation_loader("test").dataset.tensors)
    metrics = {
        "checkpoint": checkpoint,
        "data_source": run.data.source,
        **measure(run, test, images=images, samples=samples, seed=seed),
    }
    folder.write_evaluation(metrics)
    pictures = [_kept(folder, drawing) for drawing in draw(run, test, read_curves(folder.path))]
    rows = list(_rows(metrics))
    folder.write_page(
        render(
            "run.html.jinja",
            name=folder.path.resolve().name,
            summary=_summary(run, metrics),
            measured=_measured(metrics),
            no_log_p=metrics.get("no_log_p"),
            rows=rows,
            pictures=pictures,
            ran=_ran(folder, run.config),
            overrides=folder.read_overrides(),
            config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
            environment=folder.read_environment(),
        )
    )
    _show(rows, metrics, folder)
    return metrics


class _Kept(NamedTuple):
    name: str
    caption: str
    source: str


def _kept(folder: RunFolder, drawing: Drawing) -> _Kept:
    if drawing.draw is None:
        return _Kept(drawing.name, drawing.caption, "")
    figure = drawing.draw()
    folder.write_figure(drawing.name, figure)
    return _Kept(drawing.name, drawing.caption, embedded(figure))


class _Row(NamedTuple):
    name: str
    value: str
    error: str
    unit: str


SHOWN = {
    "distortion": ("distortion D", NATS),
    "rate": ("rate R", NATS),
    "elbo": ("ELBO", NATS),
    "log_p": ("log p(x), importance weights", NATS),
    "log_p_exact": ("log p(x), quadrature", NATS),
    "elbo_unit": ("ELBO on the [0, 1] scale", NATS),
    "log_p_unit": ("log p(x) on the [0, 1] scale, importance weights", NATS),
    "log_p_exact_unit": ("log p(x) on the [0, 1] scale, quadrature", NATS),
    "gap_of_family": ("log p(x) − ELBO: the family's part", NATS),
    "gap_of_amortization": ("log p(x) − ELBO: amortisation's part", NATS),
    "l1": ("l1", UNITS["l1"]),
    "mse": ("mse", UNITS["mse"]),
    "psnr": ("PSNR", "dB"),
}


def _rows(metrics: Metrics) -> Iterator[_Row]:
    for name in dict.fromkeys([*SHOWN, *metrics]):
        figure = metrics.get(name)
        if isinstance(figure, dict) and figure.keys() == {"mean", "error"}:
            title, unit = SHOWN.get(name, (name.replace("_", " "), ""))
            digits = 2 if unit in (NATS, "dB") else 4
            yield _Row(title, f"{figure['mean']:.{digits}f}", f"{figure['error']:.{digits}f}", unit)
    latent, classes = metrics["latent"], metrics["classes"]
    d = len(latent["spread"])
    if "active_units" in latent:
        yield _Row("active units", f"{latent['active_units']} of {d}", "", "dimensions")
    if "mutual_information_at_least" in latent:
        information = latent["mutual_information_at_least"]
        value, error = f"≥ {information['mean']:.2f}", f"{information['error']:.2f}"
        yield _Row("I(x; z)", value, error, NATS)
        kl = f"≥ {latent['aggregate_kl_at_least']:.2f}"
        yield _Row("KL(q(z) ‖ p(z)), by the moments", kl, "", "nats")
    elif "share_of_std_at_floor" in latent:
        noise = sum(latent["signal_to_noise"]) / d
        yield _Row("signal to noise of the codes", f"{noise:.3g}", "", "mean over dimensions")
        yield _Row("std at its floor", f"{latent['share_of_std_at_floor']:.1%}", "", "of all")
    for name in ("linear_probe", "nearest_neighbours"):
        if name in classes:
            probe = classes[name]
            value, error = f"{probe['accuracy']:.2%}", f"{probe['error']:.2%}"
            yield _Row(f"{name.replace('_', ' ')} of μ", value, error, "test accuracy")
    if "k_means" in classes:
        clusters = classes["k_means"]
        rand, information = clusters["adjusted_rand"], clusters["normalized_information"]
        yield _Row("k-means against classes, ARI", f"{rand:.3f}", "", "1: the same, 0: chance")
        yield _Row("k-means against classes, NMI", f"{information:.3f}", "", "1: the same")


def _summary(run: Run, metrics: Metrics) -> str:
    config = run.config
    model, data = config["model"], config["data"]
    likelihood = model["likelihood"]["_target_"].rpartition(".")[2]
    return (
        f"{config['name']}: d = {model['latent_dim']}, {model['posterior']} posterior, "
        f"{likelihood} likelihood, {run.data.name}, {data.get('normalization', '')} pixels, "
        f"data source: {metrics['data_source']}, seed {config['seed']}"
    )


def _measured(metrics: Metrics) -> str:
    text = (
        f"The {metrics['checkpoint']} checkpoint on {metrics['test_images']:,} test images, each "
        "decoded from one draw of z; errors are over images."
    )
    if "images" in metrics:
        text += f" ELBO and log p(x) on {metrics['images']:,} of them, {metrics['samples']} samples"
        text += f" each, seed {metrics['seed']}."
    if not metrics["classes"]:
        text += " The training images are of one class, or of none: probes are left out."
    if "gap_images" in metrics:
        text += f" The parts of the gap on {metrics['gap_images']}."
    return text


def _ran(folder: RunFolder, config: dict[str, Any]) -> dict[str, Any]:
    metrics = folder.read_metrics()
    earlier, _, last = folder.read_environment().rpartition(WENT_ON)
    head, _, _ = last.partition("\n\n")  # python, platform, device, commit
    ran_on = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    return {
        "status": metrics.get("status", "unknown"),
        "written": metrics.get("written", "unknown"),
        "seconds of training and test": metrics.get("seconds", "unknown"),
        "epochs": config["trainer"].get("max_epochs", "unknown"),
        "precision": config["trainer"].get("precision", "32-true"),
        **ran_on,
        **({"begun": "in another environment, below"} if earlier else {}),
        "musigma": folder.written_by(),
    }


def _show(rows: Sequence[_Row], metrics: Metrics, folder: RunFolder) -> None:
    table = Table(title=f"data source: {metrics['data_source']}", title_justify="left")
    for name, justify in (("", "left"), ("value", "right"), ("± over images", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("unit")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, soft_wrap=True)
    console.print(_measured(metrics))
    console.print(table)
    if "no_log_p" in metrics:
        console.print(f"No log p(x): {metrics['no_log_p']}.")
    if "effective_samples" in metrics:
        console.print(
            f"effective samples: {metrics['effective_samples']:.0f} (median); "
            f"k̂ over 0.7: {metrics['share_with_k_over_0.7']:.1%} of images"
        )
    if left := metrics.get("log_p_exact_not_converged"):
        console.print(f"The integral did not converge for {left} of {metrics['images']} images.")
    console.print(f"page         {folder.path / 'report.html'}")

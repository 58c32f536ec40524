"""What a run is worth: its bounds and estimates of log p(x) on test images."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from musigma.config.instantiate import instantiate
from musigma.console import set_up_logging
from musigma.errors import RunError
from musigma.evaluation import (
    ImportanceEstimate,
    QuadratureEstimate,
    importance_estimate,
    quadrature_estimate,
    why_no_importance_weights,
)
from musigma.runs.folder import RunFolder
from musigma.runs.load import load_run
from musigma.runs.resume import find_run
from musigma.seeding import derive_seed

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 100


def measure(
    run: str, runs: Path, *, checkpoint: str, images: int | None, samples: int, seed: int
) -> dict[str, Any]:
    """Measure a run, print a table, write `evaluation/metrics.json` and return what it holds.

    Args:
        run: a run folder, or `latest`.
        runs: where `latest` looks.
        checkpoint: `best` or `last`.
        images: how many test images, drawn by a fixed seed; None for all.
        samples: K, the importance samples for each image.
        seed: of those samples.

    Raises:
        RunError: if the folder is no run, or log p(x) means nothing for this one.
        ValueError: if a number is out of range.
    """
    set_up_logging()
    folder = find_run(run, runs)
    model, data, config = load_run(folder.path, checkpoint)
    objective = instantiate(config["model"]["objective"], "model.objective")
    if reason := why_no_importance_weights(model, objective):
        raise RunError(f"log p(x) cannot be measured for {folder.path}: {reason}.")
    data.prepare_data()
    data.setup("test")
    x = _subset(data.test_dataloader().dataset.tensors[0], images)

    weighted = _importance(model, x, samples, seed)
    metrics: dict[str, Any] = {
        "checkpoint": checkpoint,
        "data_source": data.source,
        "images": len(x),
        "samples": samples,
        "seed": seed,
        "elbo": _mean(weighted.elbo),
        "log_p": _mean(weighted.log_p),
        "log_p_sampling_error": weighted.standard_error.square().mean().sqrt().item(),
        "effective_samples": weighted.effective_samples.median().item(),
        "share_with_k_over_0.7": (weighted.pareto_k > 0.7).double().mean().item(),
    }
    if model.latent_dim <= 2:
        log.info("integrating over the latent space")
        exact = quadrature_estimate(model, x)
        metrics |= _of_quadrature(exact)
    if data.normalization.pixels != "binary":
        gain = data.normalization.log_unit_volume() * math.prod(data.image_shape)
        for name in ("elbo", "log_p", "log_p_exact"):
            if name in metrics:
                metrics[f"{name}_unit"] = {**metrics[name], "mean": metrics[name]["mean"] + gain}
    folder.write_evaluation(metrics)
    _show(metrics, folder)
    return metrics


def _subset(x: Tensor, images: int | None) -> Tensor:
    if images is not None and images < 2:
        raise ValueError(f"images must be at least 2, got {images}")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[:images].sort().values]


def _importance(model: Any, x: Tensor, samples: int, seed: int) -> ImportanceEstimate:
    batches = x.split(IMAGES_AT_ONCE)
    estimates = [
        importance_estimate(
            model,
            batch,
            samples=samples,
            generator=torch.Generator().manual_seed(derive_seed(seed, number)),
        )
        for number, batch in enumerate(
            track(batches, "importance weights", transient=True, console=Console(stderr=True))
        )
    ]
    return ImportanceEstimate(*map(torch.cat, zip(*estimates, strict=True)))


def _of_quadrature(exact: QuadratureEstimate) -> dict[str, Any]:
    left = int((~exact.converged).sum())
    if left:
        log.warning("The integral did not converge for %d of %d images.", left, len(exact.log_p))
    return {
        "log_p_exact": _mean(exact.log_p),
        "log_p_exact_not_converged": left,
        "log_p_exact_largest_change": exact.change.max().item(),
    }


def _mean(values: Tensor) -> dict[str, float]:
    """The mean over images, and its standard error as an estimate for all images."""
    return {"mean": values.mean().item(), "error": (values.std() / len(values) ** 0.5).item()}


def _show(metrics: dict[str, Any], folder: RunFolder) -> None:
    table = Table(
        title=f"{metrics['images']} test images, {metrics['samples']} samples each, seed "
        f"{metrics['seed']}, data source: {metrics['data_source']}",
        title_justify="left",
    )
    table.add_column("")
    table.add_column("nats per image", justify="right")
    table.add_column("± over images", justify="right")
    for name, value in metrics.items():
        if isinstance(value, dict):
            table.add_row(name, f"{value['mean']:.2f}", f"{value['error']:.2f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(
        f"effective samples: {metrics['effective_samples']:.0f} (median); "
        f"k̂ over 0.7: {metrics['share_with_k_over_0.7']:.1%} of images"
    )
    console.print(f"written to   {folder.path / 'evaluation' / 'metrics.json'}")

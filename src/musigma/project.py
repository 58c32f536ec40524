"""This project, as the workbench knows it: the one seam between the two packages."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.project import Config, Project, hand_over, late

ROOT = Path(__file__).resolve().parents[2]


def default_data_root() -> Path:
    """The folder of the data sets: `$DATA_DIR`, else `data/` in the repository."""
    return Path(os.environ.get("DATA_DIR") or ROOT / "data")


def found(data: Any) -> Mapping[str, Any]:
    """Where images came from; only then does a data set that has a fallback know."""
    return {"source": data.source}


def describe(config: Config, module: Any, data: Any) -> dict[str, str]:
    """The lines about data, model and objective with which a run starts."""
    model, objective = module.model, module.objective
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    settings = ", ".join(
        f"{key}={value}"
        for key, value in config["model"]["objective"].items()
        if not key.startswith("_")
    )
    return {
        "data": f"{data.name}, {type(data.normalization).__name__} pixels, "
        f"data source: {data.source}",
        "model": f"{config['name']}: d = {model.latent_dim}, {model.posterior} posterior, "
        f"{type(model.likelihood).__name__} likelihood, {parameters:,} parameters",
        "objective": type(objective).__name__ + (f" ({settings})" if settings else ""),
    }


PROJECT = hand_over(
    Project(
        package="musigma",
        root=ROOT,
        settings=late("musigma.settings.settings"),
        assemble=late("musigma.assemble.assemble"),
        try_batch=late("musigma.assemble.try_batch"),
        rules=late("musigma.assemble.weights_in_32_bits"),
        describe=describe,
        meanings=late("musigma.metrics.meanings"),
        derive=late("musigma.metrics.on_common_scale"),
        older=late("musigma.metrics.older"),
        found=found,
        given_later={"model": {"image_shape"}},
        beside=late("musigma.settings.beside"),
        changes_nothing=(
            "callbacks.image_panel*",
            "callbacks.latent_panel*",
            "data.root",
            "data.mirrors*",
            "data.fallback",
        ),
        by_last_part=("data.path",),
        sweep_plots=late("musigma.sweep_plots.rate_distortion_planes"),
        thumbnails=late("musigma.sweep_plots.thumbnails"),
        checks=(late("musigma.data.check.data_sets"),),
    )
)

"""This project, as the workbench knows it: the one seam between the two packages."""

from collections.abc import Mapping
from typing import Any

from musigma.paths import PROJECT_ROOT
from workbench.project import Config, Project, hand_over, late


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


def few(data: Any) -> Any:
    """Eight images of each set."""
    return data.some(8)


PROJECT = hand_over(
    Project(
        package="musigma",
        root=PROJECT_ROOT,
        settings=late("musigma.settings.settings"),
        assemble=late("musigma.assemble.assemble"),
        try_batch=late("musigma.assemble.try_batch"),
        rules=late("musigma.assemble.weights_in_32_bits"),
        describe=describe,
        meanings=late("musigma.metrics.meanings"),
        derive=late("musigma.metrics.derived"),
        older=late("musigma.metrics.older"),
        found=found,
        few=few,
        given_later={"model": {"image_shape"}},
        beside=late("musigma.settings.beside"),
        changes_nothing=(
            "callbacks.image_panel*",
            "callbacks.latent_panel*",
            "data.root",
            "data.mirrors*",
            "data.fallback",
        ),
        may_change={
            "data.root": "the same images may lie elsewhere",
            "data.path": "the same images may lie elsewhere",
            "data.mirrors": "the same images may come from elsewhere",
            "data.fallback": "it says what to do without the images",
            "data.eval_batch_size": "evaluation is the same in batches of any size",
        },
        by_last_part=("data.path",),
        sweep_plots=late("musigma.sweep_plots.sweep_plots"),
        thumbnails=late("musigma.sweep_plots.thumbnails"),
        checks=(late("musigma.data.checks.data_sets"),),
    )
)

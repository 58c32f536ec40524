"""The project as the workbench sees it: the only interface between the two packages."""

from collections.abc import Mapping
from typing import Any

from musigma import words
from musigma.paths import PROJECT_ROOT
from workbench.project import Config, Project, hand_over, lazy


def data_facts(data: Any) -> Mapping[str, Any]:
    """The source of prepared data, and whether its images are streamed."""
    stream = getattr(data, "stream", None)
    return {"source": data.source} | ({} if stream is None else {"stream": stream})


def describe(config: Config, module: Any, data: Any) -> dict[str, str]:
    """Lines on data, model and objective that are logged at the start of a run."""
    if not hasattr(module, "objective") or not hasattr(module, "model"):
        return words.describe_foreign(config, module, data)
    return words.describe(config, module.model, module.objective, data)


PROJECT = hand_over(
    Project(
        package="musigma",
        root=PROJECT_ROOT,
        settings=lazy("musigma.settings.settings"),
        assemble=lazy("musigma.assemble.assemble"),
        try_batch=lazy("musigma.trial_batch.try_batch"),
        adopt=lazy("musigma.assemble.adopt"),
        can_assemble=lambda data: data.known_shape is not None,  # before the images are read
        unused=lazy("musigma.assemble.unused"),
        rules=lazy("musigma.assemble.rules"),
        describe=describe,
        meanings=lazy("musigma.metrics.meanings"),
        derive=lazy("musigma.metrics.on_common_scale"),
        older_meanings=lazy("musigma.metrics.older_meanings"),
        data_facts=data_facts,
        shorten=lambda data: data.shortened(8),
        given_later={
            "model": {"image_shape"},
            "model.prior": {"model"},
            "module": {
                *("model", "objective", "optimizer", "scheduler", "parameter_groups", "seed"),
            },
        },
        extra_nodes=lazy("musigma.settings.extra_nodes"),
        libraries={
            "data.dataset": "torchvision.datasets",
            "data.augment": "torchvision.transforms.v2",
        },
        changes_nothing=(
            "data.num_workers",
            "published*",
            "callbacks.image_panel*",
            "callbacks.latent_panel*",
            "data.root",
            "data.mirrors*",
            "data.fallback",
        ),
        may_change={
            "published*": "it is shown beside the run's own metrics, and changes none",
            "data.root": "the same images may have moved",
            "data.path": "the same images may have moved",
            "data.mirrors": "the same images may come from another server",
            "data.fallback": "it matters only if the images are missing",
            "data.num_workers": "images are the same for any number of workers",
            "data.dataset.root": "the same images may have moved",
            "data.eval_batch_size": "metrics are the same for any batch size",
        },
        may_not_change=lazy("musigma.assemble.may_not_change"),
        former_values={
            "module._target_": "musigma.module.AutoencoderModule",
            "model.prior._target_": "musigma.models.priors.StandardNormal",
        },
        by_last_part=("data.path", "data.dataset.root"),
        after_training={"evaluate": "python scripts/evaluate.py run={run}"},
        sweep_plots=lazy("musigma.commands.sweep_plots.sweep_plots"),
        thumbnails=lazy("musigma.commands.sweep_plots.thumbnails"),
        checks=(lazy("musigma.data.checks.data_sets"),),
    )
)

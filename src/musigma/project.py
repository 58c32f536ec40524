"""This project, as the workbench knows it: the one seam between the two packages."""

from collections.abc import Mapping
from typing import Any

from musigma import words
from musigma.paths import PROJECT_ROOT
from workbench.project import Config, Project, hand_over, late

V2 = "torchvision.transforms.v2"


def found(data: Any) -> Mapping[str, Any]:
    """The source of the images, and whether they are streamed, once the data are prepared."""
    stream = getattr(data, "stream", None)
    return {"source": data.source} | ({} if stream is None else {"stream": stream})


def describe(config: Config, module: Any, data: Any) -> dict[str, str]:
    """The lines about data, model and objective with which a run starts."""
    if not hasattr(module, "objective") or not hasattr(module, "model"):
        return words.describe_foreign(config, module, data)
    return words.describe(config, module.model, module.objective, data)


def is_known(data: Any) -> bool:
    """True if the shape of the images is known before they have been read."""
    return data.known_shape is not None


def few(data: Any) -> Any:
    """Eight images of each set."""
    return data.some(8)


PROJECT = hand_over(
    Project(
        package="musigma",
        root=PROJECT_ROOT,
        settings=late("musigma.settings.settings"),
        assemble=late("musigma.assemble.assemble"),
        try_batch=late("musigma.trial_batch.try_batch"),
        adopt=late("musigma.assemble.adopt"),
        is_known=is_known,
        unused=late("musigma.assemble.unused"),
        rules=late("musigma.assemble.rules"),
        describe=describe,
        meanings=late("musigma.metrics.meanings"),
        derive=late("musigma.metrics.on_common_scale"),
        older=late("musigma.metrics.older"),
        found=found,
        few=few,
        given_later={
            "model": {"image_shape"},
            "model.prior": {"model"},
            "module": {
                *("model", "objective", "optimizer", "scheduler", "parameter_groups", "seed"),
            },
        },
        beside=late("musigma.settings.beside"),
        libraries={"data.dataset": "torchvision.datasets", "data.augment": V2},
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
            "published*": "it stands beside the run's own metrics, and changes none",
            "data.root": "the same images may lie elsewhere",
            "data.path": "the same images may lie elsewhere",
            "data.mirrors": "the same images may come from elsewhere",
            "data.fallback": "it says what to do without the images",
            "data.num_workers": "images are the same whoever reads them",
            "data.dataset.root": "the same images may lie elsewhere",
            "data.eval_batch_size": "evaluation is the same in batches of any size",
        },
        unsaid={
            "module._target_": "musigma.module.AutoencoderModule",
            "model.prior._target_": "musigma.models.priors.StandardNormal",
        },
        by_last_part=("data.path", "data.dataset.root"),
        after_training={"evaluate": "python scripts/evaluate.py run={run}"},
        sweep_plots=late("musigma.commands.sweep_plots.sweep_plots"),
        thumbnails=late("musigma.commands.sweep_plots.thumbnails"),
        checks=(late("musigma.data.checks.data_sets"),),
    )
)

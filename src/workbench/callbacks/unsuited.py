"""Lightning's callbacks that would break the promises of a run."""

import lightning as L
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    LambdaCallback,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
)

from workbench.errors import ConfigError

UNSUITED = {
    BatchSizeFinder: "trains with a batch size that no config records; set data.batch_size",
    LearningRateFinder: "trains with a step size that no config records; sweep optimizer.lr",
    StochasticWeightAveraging: "keeps its average in no checkpoint that can be measured; take "
    "lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging",
    BaseFinetuning: "gives the optimizer more weights in the middle of a run, and a run that is "
    "resumed would lack them; freeze parts in a module of your own",
    ModelPruning: "forgets in a resumed run which weights it pruned, and they are trained again",
    SpikeDetection: "cannot load its own state when a run is resumed; take StopWhenNotFinite",
    LambdaCallback: "takes functions, and a config names classes; write a callback of your own",
    ModelCheckpoint: "keeps checkpoints outside the run folder; leave dirpath out",
}


def refuse_unsuited(callback: L.Callback, place: str) -> None:
    """Refuse a callback whose results neither the config nor a checkpoint would hold.

    Raises:
        ConfigError: says why, and what to take instead.
    """
    for kind, reason in UNSUITED.items():
        is_own = isinstance(callback, ModelCheckpoint) and callback.dirpath is None
        if isinstance(callback, kind) and not is_own:
            raise ConfigError(f"{place}: {type(callback).__name__} {reason}")

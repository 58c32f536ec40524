"""Lightning's callbacks that a run does not support."""

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

UNSUPPORTED = {
    BatchSizeFinder: "trains with a batch size that no config records; set data.batch_size",
    LearningRateFinder: "trains with a step size that no config records; sweep optimizer.lr",
    StochasticWeightAveraging: "keeps its average in no checkpoint that can be measured; use "
    "lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging",
    BaseFinetuning: "gives the optimizer more weights in the middle of a run, and a run that is "
    "resumed would lack them; freeze parts in a module of your own",
    ModelPruning: "forgets in a resumed run which weights it pruned, and they are trained again",
    SpikeDetection: "cannot load its own state when a run is resumed; use StopWhenNotFinite",
    LambdaCallback: "takes functions, and a config names classes; write a callback of your own",
    ModelCheckpoint: "keeps checkpoints outside the run folder; leave dirpath out",
}


def refuse_unsupported(callback: L.Callback, place: str) -> None:
    """Raise a ConfigError, which says why, for a callback that a run does not support."""
    for kind, reason in UNSUPPORTED.items():
        is_own = isinstance(callback, ModelCheckpoint) and callback.dirpath is None
        if isinstance(callback, kind) and not is_own:
            raise ConfigError(f"{place}: {type(callback).__name__} {reason}")

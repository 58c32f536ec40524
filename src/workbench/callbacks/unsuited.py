"""Lightning's callbacks that a run cannot keep its promises with."""

import lightning as L
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)

from workbench.errors import ConfigError


def refuse_unsuited(callback: L.Callback, place: str) -> None:
    """Refuse a callback whose results neither the config nor a checkpoint would hold.

    Raises:
        ConfigError: says why, and what to take instead.
    """
    reason = None
    if isinstance(callback, BatchSizeFinder):
        reason = "trains with a batch size that the config does not record; set data.batch_size"
    elif isinstance(callback, LearningRateFinder):
        reason = "trains with a step size that the config does not record; sweep optimizer.lr"
    elif isinstance(callback, StochasticWeightAveraging):
        reason = (
            "keeps its average in no checkpoint that can be measured; take "
            "lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging"
        )
    elif isinstance(callback, ModelCheckpoint) and callback.dirpath is not None:
        reason = "keeps checkpoints outside the run folder; leave dirpath out"
    if reason:
        raise ConfigError(f"{place}: {type(callback).__name__} {reason}")

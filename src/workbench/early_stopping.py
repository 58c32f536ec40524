"""Early stopping of a run that is resumed."""

from collections.abc import Mapping

import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason


def stopping_reason(callback: EarlyStopping, metrics: Mapping[str, float]) -> str | None:
    """The reason why early stopping keeps a resumed run stopped; None if the run may continue.

    A run continues if the callback would not have stopped it with its present settings.

    Args:
        callback: with its state restored from the checkpoint.
        metrics: those of the checkpoint's last epoch, by the names that a callback monitors.
    """
    if callback.stopping_reason == EarlyStoppingReason.NOT_STOPPED:
        return None
    name = callback.monitor
    if callback.wait_count >= max(1, callback.patience):
        return (
            f"{name} did not improve {callback.wait_count} times, with patience={callback.patience}"
        )
    if name not in metrics:
        return None
    value, is_past = torch.tensor(metrics[name]), callback.monitor_op
    for setting in ("stopping_threshold", "divergence_threshold"):
        limit = getattr(callback, setting)
        sign = -1 if setting == "divergence_threshold" else 1
        if limit is not None and is_past(sign * value, torch.tensor(sign * limit)):
            return f"{name}={metrics[name]:.4g} has reached {setting}={limit}"
    return None

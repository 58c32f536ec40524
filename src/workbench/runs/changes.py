"""Which settings may change when a run is resumed, and whether its checkpoint fits them."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from workbench.config.identity import flatten
from workbench.errors import RunError
from workbench.project import the_project

MAY_CHANGE = {
    "trainer.max_*": "it says how long to train",
    "trainer.min_*": "it says how long to train",
    "trainer.gradient_clip_*": "a number of the optimization, like the optimizer's own",
    "trainer.accelerator": "it is of the machine",
    "trainer.devices": "it is of the machine",
    "trainer.num_nodes": "it is of the machine",
    "trainer.strategy": "it is of the machine",
    "trainer.precision": "it is of the machine; the weights that are kept have 32 bits",
    "trainer.sync_batchnorm": "it is of the machine",
    "trainer.benchmark": "it is of the machine",
    "trainer.deterministic": "it is of the machine",
    "trainer.plugins*": "they are of the machine",
    "trainer.limit_val_batches": "it says how closely training is watched",
    "trainer.limit_test_batches": "it says what to do after training",
    "trainer.limit_predict_batches": "no run predicts",
    "trainer.val_check_interval": "it says how closely training is watched",
    "trainer.check_val_every_n_epoch": "it says how closely training is watched",
    "trainer.num_sanity_val_steps": "it says how closely training is watched",
    "trainer.log_every_n_steps": "it says how closely training is watched",
    "trainer.enable_*": "it says what is shown",
    "trainer.profiler*": "it says what is shown",
    "trainer.detect_anomaly": "it says what is checked",
    "trainer.inference_mode": "validation gives the same numbers either way",
    "callbacks.*": "they watch; what state they have in the checkpoint they read again",
    "logger.*": "they record",
    "compile": "a compiled model has the same weights",
    "matmul_precision": "it is of the device",
    "log_dir": "it says where other runs are",
    "name": "it is shown and no more",
    "test": "it says what to do after training",
    "optimized_metric": "it says what to do after training",
}
"""Settings, as patterns of dotted names, with the reason. A project adds its own, and the
optimizer's numbers may change too: they are set in the state that the checkpoint restores."""

MAY_NOT = {
    "model": "the weights in its checkpoint were trained with the other one",
    "data": "it resumes with the same data in the same order",
    "seed": "the order of the data and the noise come from it",
    "scheduler": "its state is in the checkpoint",
    "optimizer": "its state is in the checkpoint; of its settings only numbers may change",
    "trainer": "what an epoch or a step is, and that its checkpoints are kept, is part of the run",
}
"""The reasons why others may not, by group."""


def check_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check what would change in the config of a run that is resumed.

    Raises:
        RunError: names every setting that may not change, with the reason.
    """
    before, after = flatten(old), flatten(new)
    may_change = (*MAY_CHANGE, *the_project().may_change)
    faults = []
    for name in [*after, *(name for name in before if name not in after)]:
        value, other = before.get(name), after.get(name)
        if value == other or any(fnmatch(name, pattern) for pattern in may_change):
            continue
        group = name.partition(".")[0]
        if group == "optimizer" and _is_numeric(other) and (value is None or _is_numeric(value)):
            continue
        reason = MAY_NOT.get(group, "it says what the run is")
        faults.append(f"{name}={other}: the run has {value} and keeps it when resumed, as {reason}")
    if faults:
        raise RunError("\n".join(faults) + "\nTo change it, start a new run.")


def check_progress(checkpoint: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    """Check that the trainer would not stop before a checkpoint's epoch or step.

    Raises:
        RunError: names the setting.
    """
    current = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    epochs = max(current["processed"], current["completed"])
    for name, done in (("max_epochs", epochs), ("max_steps", checkpoint["global_step"])):
        most = trainer.get(name)
        if most is not None and -1 < most < done:
            unit = name.removeprefix("max_")
            raise RunError(f"trainer.{name}={most}: the run has done {done} {unit} already")


def check_averages(checkpoint: Mapping[str, Any], callbacks: Iterable[L.Callback]) -> None:
    """Check that averaged weights are not trained on as if they were the model's own.

    Raises:
        RunError: if the checkpoint has both, and no callback that knows them apart.
    """
    is_averaging = any(isinstance(callback, WeightAveraging) for callback in callbacks)
    if "current_model_state" in checkpoint and not is_averaging:
        raise RunError(
            "callbacks: the run averages its weights and keeps the average in its checkpoints: "
            "keep the callback that does so.\nTo change it, start a new run."
        )


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)

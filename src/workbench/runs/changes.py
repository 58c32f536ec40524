"""Settings that may change when a run is resumed, and whether its checkpoint fits them."""

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from workbench.config.nested import flatten, matches
from workbench.errors import RunError
from workbench.project import Config, the_project

MAY_CHANGE = {
    "how long to train": "trainer.max_* trainer.min_*",
    "numbers of the optimization, like the optimizer's own": "trainer.gradient_clip_*",
    "the machine; saved weights have 32 bits": "trainer.accelerator trainer.devices "
    "trainer.num_nodes trainer.strategy trainer.precision trainer.sync_batchnorm trainer.benchmark "
    "trainer.deterministic trainer.plugins* matmul_precision",
    "how closely training is watched": "trainer.limit_val_batches trainer.val_check_interval "
    "trainer.check_val_every_n_epoch trainer.num_sanity_val_steps trainer.log_every_n_steps",
    "what is shown or checked": "trainer.enable_* trainer.profiler* trainer.detect_anomaly name",
    "what to do after training": "trainer.limit_test_batches test optimized_metric",
    "unused by a run": "trainer.limit_predict_batches log_dir",
    "without effect on metrics": "trainer.inference_mode compile",
    "they watch and record, and restore their state from the checkpoint": "callbacks.* logger.*",
}
"""Patterns of dotted names of settings that may change, by reason. A project adds its own, and the
optimizer's numbers may change too: they are set in the state that the checkpoint restores."""

MAY_NOT = {
    "model": "the weights in its checkpoint were trained with that model",
    "data": "it resumes with the same data in the same order",
    "seed": "it determines the order of the data and the noise",
    "init_from": "it has already started from these weights",
    "init_from_parts": "it has already started from these weights",
    "freeze": "the optimizer's state in the checkpoint is that of the trained parts",
    "scheduler": "its state is in the checkpoint",
    "optimizer": "its state is in the checkpoint; of its settings only numbers may change",
    "parameter_groups": "the optimizer's state has these groups; only numbers may change",
    "trainer": "steps, epochs and the keeping of checkpoints stay the same within a run",
}
"""The reasons why other settings may not change, by config group."""


def check_changes(old: Config, new: Config) -> None:
    """Raise a RunError that names each changed setting that may not change, with the reason."""
    before, after = flatten(old), flatten(new)
    kept = the_project().may_not_change(old)
    may_change = (*" ".join(MAY_CHANGE.values()).split(), *the_project().may_change)
    faults = []
    for name in dict.fromkeys([*after, *before]):
        value, other, group = before.get(name), after.get(name), name.partition(".")[0]
        if value == other:
            continue
        is_number = _is_numeric(other) and (value is None or _is_numeric(value))
        is_free = is_number and group in ("optimizer", "parameter_groups")
        is_free = is_free or matches(name, may_change)
        if name in kept or not is_free:
            reason = kept.get(name) or MAY_NOT.get(group, "it identifies the run")
            given, own = ("null" if one is None else one for one in (other, value))
            fault = f"{name}={given}: the run has {own} and keeps it when resumed, as {reason}"
            faults.append(fault)
    if faults:
        raise RunError("\n".join(faults) + "\nTo change it, start a new run.")


def check_progress(checkpoint: Mapping[str, Any], trainer: Mapping[str, Any]) -> bool:
    """Raise a RunError if the trainer would stop before a checkpoint's epoch or step.

    Returns:
        True if it would stop right there.
    """
    current = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    epochs = max(current["processed"], current["completed"])
    step = checkpoint["global_step"]
    for name, done in (("max_epochs", epochs), ("max_steps", step)):
        limit = trainer.get(name)
        if limit is not None and -1 < limit < done:
            unit = name.removeprefix("max_")
            raise RunError(f"trainer.{name}={limit}: the run has done {done} {unit} already")
    return epochs == trainer.get("max_epochs") or step == trainer.get("max_steps")


def check_averages(checkpoint: Mapping[str, Any], callbacks: Iterable[L.Callback]) -> None:
    """Raise a RunError if averaged weights would be trained as if they were those of training."""
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

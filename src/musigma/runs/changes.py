"""Which settings may change when a run is resumed, and whether its checkpoint fits the new ones."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from torch import nn

from musigma.config.identity import flatten
from musigma.errors import RunError

MAY_CHANGE = {
    "trainer.*": "how long, on what device and how closely watched a run trains is not its model",
    "callbacks.*": "they watch; what state they have in the checkpoint they read again",
    "logger.*": "they record",
    "compile": "a compiled model has the same weights",
    "matmul_precision": "it is of the device",
    "data.root": "the same images may lie elsewhere",
    "data.path": "the same images may lie elsewhere",
    "data.mirrors": "the same images may come from elsewhere",
    "data.fallback": "it says what to do without the images",
    "data.eval_batch_size": "evaluation is the same in batches of any size",
    "log_dir": "it says where other runs are",
    "name": "it is shown and no more",
    "test": "it says what to do after training",
    "optimized_metric": "it says what to do after training",
}
"""Settings, as patterns of dotted names, with the reason. The optimizer's numbers may change too:
`AutoencoderModule` sets them in the state that the checkpoint restores."""

MAY_NOT = {
    "model": "the weights in its checkpoint were trained with the other one",
    "data": "it resumes with the same images in the same order",
    "seed": "the order of images and the noise come from it",
    "scheduler": "its state is in the checkpoint",
    "optimizer": "its state is in the checkpoint; of its settings only numbers may change",
}
"""The reasons why others may not, by group."""


def check_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check what would change in the config of a run that is resumed.

    Raises:
        RunError: names every setting that may not change, with the reason.
    """
    before, after = flatten(old), flatten(new)
    faults = []
    for name in [*after, *(name for name in before if name not in after)]:
        value, other = before.get(name), after.get(name)
        if value == other or any(fnmatch(name, pattern) for pattern in MAY_CHANGE):
            continue
        group = name.partition(".")[0]
        if group == "optimizer" and _is_numeric(other) and (value is None or _is_numeric(value)):
            continue
        reason = MAY_NOT.get(group, "it says what the run is")
        faults.append(f"{name}={other}: the run has {value} and keeps it when resumed, as {reason}")
    if faults:
        raise RunError("\n".join(faults) + "\nTo change it, start a new run.")


def check_checkpoint(
    checkpoint: Mapping[str, Any], module: nn.Module, trainer: Mapping[str, Any]
) -> None:
    """Check that training can go on from a checkpoint.

    Args:
        checkpoint: what it holds.
        module: the LightningModule that it is for; its weights are those of the checkpoint then.
        trainer: the settings of the trainer.

    Raises:
        RunError: if the weights are another model's, or the trainer would stop before.
    """
    try:
        module.load_state_dict(checkpoint["state_dict"])
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        steps = checkpoint["global_step"]
    except (KeyError, RuntimeError, TypeError) as error:
        raise RunError(f"The checkpoint does not fit the run's model: {error}") from error
    for name, done in (("max_epochs", epochs), ("max_steps", steps)):
        most = trainer.get(name)
        if most is not None and -1 < most < done:
            unit = name.removeprefix("max_")
            raise RunError(f"trainer.{name}={most}: the run has done {done} {unit} already")


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)

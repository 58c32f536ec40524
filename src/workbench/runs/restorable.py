"""Checks that training can resume from a checkpoint, before a run starts or its folder changes."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import _configure_optimizers

from workbench.config.trainer_rules import WITHOUT_FILES
from workbench.errors import ConfigError, RunError, described, one_line
from workbench.foreign import is_foreign
from workbench.runs.weights import load_checkpoint, load_into
from workbench.text import counted

REQUIRED = {
    "state_dict": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "loops": dict,
    "epoch_means": dict,
    "epoch": int,
    "global_step": int,
}
"""The entries of every checkpoint of a run in training, with their types."""


def check_restorable(checkpoint: Mapping[str, Any], path: Path, module: L.LightningModule) -> None:
    """Try to restore weights, optimizer, scheduler and progress from a checkpoint.

    The module takes the weights; its optimizer and scheduler are discarded.

    Raises:
        RunError: if the checkpoint lacks something, is damaged, or does not fit the module.
    """
    if "optimizer_states" not in checkpoint:
        raise RunError(f"{path} holds weights only, so no run can be resumed from it")
    for name, kind in REQUIRED.items():
        if not isinstance(checkpoint.get(name), kind):
            raise RunError(f"{path} is damaged: its {name} is not a {kind.__name__}")
    for name in ("epoch", "global_step"):
        if not 0 <= checkpoint[name] < 2**63:
            raise RunError(f"{path} is damaged: its {name} is {checkpoint[name]:.3g}")
    saved = (checkpoint.get(name) for name in ("current_model_state", "state_dict"))
    for weights in filter(None, saved):  # both, if `state_dict` is an average
        load_into(module, weights, path)
        if not all(torch.isfinite(value).all() for value in weights.values()):
            raise RunError(f"{path} holds weights that are not finite: training had diverged")
    try:
        # One device of any kind: Lightning would warn of a GPU that is not used.
        progress = L.Trainer(devices=1, **WITHOUT_FILES).fit_loop.state_dict()
        _check_structure(checkpoint["loops"]["fit_loop"], progress, "fit_loop")
        _restore_optimizers(module, copy.deepcopy(dict(checkpoint)))
    except Exception as error:  # a damaged file raises anything
        raise RunError(f"{path} is damaged: {described(error)}") from error


def _restore_optimizers(module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
    try:
        configured: Any = module.configure_optimizers()
    except RuntimeError:
        if is_foreign(type(module)):  # it needs the trainer: left for Lightning to restore
            return
        raise
    optimizers, schedulers, _ = _configure_optimizers(configured)
    for optimizer, state in zip(optimizers, checkpoint["optimizer_states"], strict=True):
        optimizer.load_state_dict(state)
        for parameter, values in optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
                moment = values.get(name)
                if moment is not None and moment.shape != parameter.shape:
                    raise ValueError(f"{name} of the optimizer has another shape than the weights")
    if len(checkpoint["lr_schedulers"]) != len(schedulers):
        raise ValueError(f"it has {counted(len(checkpoint['lr_schedulers']), 'scheduler')}")
    for scheduler, state in zip(schedulers, checkpoint["lr_schedulers"], strict=True):
        inner = scheduler["scheduler"] if isinstance(scheduler, dict) else scheduler
        inner.load_state_dict(state)


def _check_structure(found: Any, expected: Any, place: str) -> None:
    """Raise a ValueError unless `found` has the entries of `expected`, of the same types."""
    if not isinstance(found, type(expected)):
        raise ValueError(f"{place} is {found!r}")
    for name in expected if isinstance(expected, dict) else []:
        if name not in found:
            raise ValueError(f"{place} lacks {name}")
        _check_structure(found[name], expected[name], f"{place}.{name}")


def check_readable(path: Path, name: str) -> None:
    """Check that the checkpoint of a rehearsal, of a module of that name, can be read again.

    Raises:
        ConfigError: if it cannot.
    """
    try:
        load_checkpoint(path)
    except RunError as error:
        raise ConfigError(
            f"a checkpoint of {name} cannot be read again: {one_line(error.__cause__ or error)}.\n"
            "Modules and callbacks may save tensors, numbers, texts, lists and dicts."
        ) from error

"""A run of a stack: the objects and the folder that it would have if it were trained alone."""

import copy
import functools
import math
from typing import Any, NamedTuple

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import LBFGS
from torch.utils._pytree import tree_map

from workbench.callbacks.checkpoints import BestAndLast, Name
from workbench.config.build import build_module
from workbench.errors import ConfigError
from workbench.optimizers.joint import parts_of
from workbench.processes import Processes
from workbench.runs.folder import RunFolder
from workbench.runs.restorable import check_restorable
from workbench.runs.resume import newest_checkpoint
from workbench.stacked.hooks import SKIPPED_HOOKS, check_hooks
from workbench.stacked.leaves import split
from workbench.stacked.stack import own_attributes
from workbench.training.data import prepare_data
from workbench.training.launch import Launch
from workbench.training.rehearsal import check_and_rehearse
from workbench.training.trainer import build_trainer


class EpochSums(NamedTuple):
    """Batches and examples of an epoch, and sums of the terms over examples: `[N, T]` or `[T]`."""

    batches: int
    sums: Tensor
    examples: int

    def of(self, run: int) -> "EpochSums":
        """The sums of one run."""
        return self._replace(sums=self.sums[run])


class Member:
    """A run of a stack, between two epochs.

    Its checkpoints equal those of a run that is trained alone, and can be resumed alone.

    Args:
        launch: the job.
        folder: its claimed folder; a run that it already contains is resumed.
        first: a run of the stack that has been rehearsed, whose data are shared; None if this is
            the first.

    Raises:
        UserError: if the job is wrong, or cannot be trained in a stack.
    """

    def __init__(self, launch: Launch, folder: RunFolder, first: "Member | None") -> None:
        self.launch, self.folder = launch, folder
        config = copy.deepcopy(launch.config)  # reading data may change it
        data: Any = prepare_data(config, Processes())
        module: Any = build_module(config, data)
        self.data, self.module = data, module
        weights = {name for name, weight in module.named_parameters() if weight.requires_grad}
        if others := sorted(module.state_dict().keys() - weights):
            raise ConfigError(f"{others[0]} is in the state_dict but is not a trained weight")
        checkpoint, first_step = None, None
        if folder.was_begun():
            check = functools.partial(check_restorable, module=module)
            found = newest_checkpoint(folder, check)
            checkpoint, first_step = (found[1], found[1]["global_step"]) if found else (None, 0)
        if first is None:
            check_and_rehearse(config, module, data, Processes())
        else:
            data.share(first.data)
        self.trainer: Any = build_trainer(config, folder.path, first_step)
        self.structure, _ = split(own_attributes(module))
        self._connect()
        if checkpoint:
            self._restore(checkpoint)
        self._unwritten: dict[Name, dict[str, Any]] = {}

    @property
    def epochs(self) -> int:
        """The number of epochs done."""
        return int(self.trainer.current_epoch)

    def end_epoch(self, names: tuple[str, ...], train: EpochSums, val: EpochSums) -> bool:
        """Log an epoch's metrics and take checkpoints; False if a metric of training is not finite.

        `names` are those of the terms; `val.batches` is 0 if there is no validation.
        """
        module, checkpoints = self.module, self._checkpoints
        epochs = self._count_epoch(train.batches, val.batches)
        module.set_means("train", names, train.sums, train.examples)
        metrics = {f"train/{k}": v for k, v in (module.metrics("train") | module.settings).items()}
        if not all(map(math.isfinite, metrics.values())):
            return False
        if val.batches:
            module.set_means("val", names, val.sums, val.examples)
            metrics |= {f"val/{name}": value for name, value in module.validation().items()}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step - 1)
        is_best = bool(val.batches) and checkpoints.judge(metrics[checkpoints.metric])
        files: list[Name] = ["best", "last"] if is_best or checkpoints.best is None else ["last"]
        # One statement, so that Ctrl-C cannot separate the two.
        self._unwritten |= dict.fromkeys(files, self._checkpoint())
        for progress in epochs:  # Lightning too counts an epoch after writing its checkpoints
            progress.completed += 1
        return True

    def write(self) -> None:
        """Write the checkpoints taken since the last call."""
        for name, checkpoint in sorted(self._unwritten.items()):
            self._checkpoints.replace(self.trainer, name, functools.partial(torch.save, checkpoint))
        self._unwritten = {}

    def close(self) -> None:
        """Close the loggers and release the folder."""
        for logger in self.trainer.loggers:
            logger.finalize("success")
        self.folder.release()

    def _connect(self) -> None:
        """Connect trainer, module and data as Lightning does before the first step."""
        trainer, module, data = self.trainer, self.module, self.data
        trainer.state.fn = TrainerFn.FITTING
        trainer.strategy.connect(module)
        module.trainer = data.trainer = trainer
        trainer.datamodule = data
        data.setup("fit")
        module.setup("fit")
        module.to(trainer.strategy.root_device)
        trainer.strategy.setup_optimizers(trainer)
        (self.optimizer,) = trainer.optimizers
        for kind in map(type, parts_of(self.optimizer)):
            if not kind.__module__.startswith("torch.optim.") or kind is LBFGS:
                raise ConfigError(f"stacks evaluate a batch once, {kind.__name__} perhaps again")
        (self._checkpoints,) = [c for c in trainer.callbacks if isinstance(c, BestAndLast)]
        self._checkpoints.setup(trainer, module, "fit")
        self.loader = data.train_dataloader()
        if not (hasattr(module, "training_noise") and hasattr(self.loader, "take")):
            kinds = f"{type(module).__name__} with {type(self.loader).__name__}"
            raise ConfigError(f"{kinds} lacks training_noise or take, the methods for stacks")
        check_hooks(module, "training_noise", SKIPPED_HOOKS)
        check_hooks(data, "share", {*SKIPPED_HOOKS, "setup"})

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        if not loops["epoch_loop.batch_progress"]["is_last_batch"]:
            raise ConfigError("it was stopped in the middle of an epoch")
        self.module.load_state_dict(checkpoint["state_dict"])
        self.module.on_load_checkpoint(checkpoint)
        self.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        self._checkpoints.load_state_dict(checkpoint["callbacks"][self._checkpoints.state_key])
        self.trainer.fit_loop.load_state_dict(loops)
        progress = self.trainer.fit_loop.epoch_progress.current
        progress.completed = progress.processed

    def _count_epoch(self, batches: int, val_batches: int) -> list[Any]:
        """Count an epoch in all of Lightning's loops; return its counters of epochs."""
        loop, epochs = self.trainer.fit_loop, self.epochs + 1
        inner, steps = loop.epoch_loop, epochs * batches
        optimized = inner.automatic_optimization.optim_progress.optimizer
        for progress, current, total in (
            (loop.epoch_progress, epochs, epochs),
            (inner.batch_progress, batches, steps),
            (inner.val_loop.batch_progress, val_batches, val_batches),
            (optimized.step, batches, steps),
            (optimized.zero_grad, batches, steps),
        ):
            for part, count in ((progress.current, current), (progress.total, total)):
                vars(part).update(dict.fromkeys(vars(part), count))
        inner.batch_progress.is_last_batch = True
        inner.val_loop.batch_progress.is_last_batch = val_batches > 0
        inner._batches_that_stepped = steps
        counters = [loop.epoch_progress.current, loop.epoch_progress.total]
        for progress in counters:
            progress.completed -= 1
        return counters

    def _checkpoint(self) -> dict[str, Any]:
        """A checkpoint of the present state, whose tensors are copies."""
        checkpoint = self.trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        (optimizer,) = checkpoint["optimizer_states"]
        for group, numbers in zip(optimizer["param_groups"], self.module._numbers, strict=True):
            group.update(numbers)  # resets `capturable`, which only a CUDA graph needs
        copied: dict[str, Any]
        copied = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, checkpoint)
        return copied

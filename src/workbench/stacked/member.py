"""A run of a stack: its objects and its folder, as if it were trained alone."""

import copy
import functools
import math
from collections.abc import Collection
from typing import Any

import torch
from lightning.pytorch.core.hooks import DataHooks, ModelHooks
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils._pytree import tree_map

from workbench.callbacks.checkpoints import BestAndLast, Name
from workbench.config.build import build_module
from workbench.config.launch import Launch
from workbench.distributed import Processes
from workbench.errors import ConfigError
from workbench.preparing import check_and_rehearse, prepare_data
from workbench.runs.folder import RunFolder
from workbench.runs.restorable import check_restorable
from workbench.runs.resume import newest_checkpoint
from workbench.stacked.leaves import take_apart
from workbench.stacked.stack import own_parts
from workbench.trainer import build_trainer

UNUSED = {
    *(
        name
        for name in (*vars(DataHooks), *vars(ModelHooks))
        if name.startswith("on_") and not name.startswith(("on_test", "on_predict"))
    ),
    *("training_step", "validation_step", "backward", "optimizer_step", "optimizer_zero_grad"),
    *("configure_gradient_clipping", "transfer_batch_to_device"),
} - {"on_train_batch_start"}
"""Methods of modules and data that Lightning calls for each step or epoch, and a stack does not."""


class Member:
    """A run of a stack, at the end of one of its epochs.

    Its checkpoints are like those of a run that was trained alone, and can be resumed alone.

    Args:
        launch: the job.
        folder: its folder, claimed; a run that was begun there is resumed.
        first: another run of the stack, which has rehearsed and whose data are used; or None.

    Raises:
        UserError: if the job is wrong, or cannot be trained in a stack.
    """

    def __init__(self, launch: Launch, folder: RunFolder, first: Any) -> None:
        self.launch, self.folder = launch, folder
        config = copy.deepcopy(launch.config)  # data may decide some of it
        data: Any = prepare_data(config, Processes())
        module: Any = build_module(config, data)
        self.data, self.module = data, module
        weights = {name for name, one in module.named_parameters() if one.requires_grad}
        if others := sorted(module.state_dict().keys() - weights):
            raise ConfigError(f"{others[0]} is no weight that is trained, as all have to be")
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
        self.alike, _ = take_apart(own_parts(module))
        self._connect()
        if checkpoint:
            self._restore(checkpoint)
        self.new: dict[Name, dict[str, Any]] = {}

    @property
    def epochs(self) -> int:
        """How many are done."""
        return int(self.trainer.current_epoch)

    def end_epoch(self, batches: tuple[int, int], train: Any, val: Any) -> bool:
        """Report an epoch and judge its weights; False if its losses are not finite.

        Args:
            batches: of training and of validation.
            train: names, sums over examples and number of examples, as `EpochMeans` keeps them.
            val: the same of the validation; it counts if there is any.
        """
        module, keeper = self.module, self._keeper
        epochs = self._count_epoch(*batches)
        module.set_means("train", *train)
        metrics = {f"train/{k}": v for k, v in (module.metrics("train") | module.settings).items()}
        if not all(map(math.isfinite, metrics.values())):
            return False
        if batches[1]:
            module.set_means("val", *val)
            metrics |= {f"val/{name}": value for name, value in module.validation().items()}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step - 1)
        is_best = bool(batches[1]) and keeper.judge(metrics[keeper.metric])
        names: list[Name] = ["best", "last"] if is_best or keeper.best is None else ["last"]
        self.new |= dict.fromkeys(names, self._checkpoint())  # at once, as Ctrl-C may come
        for progress in epochs:  # as Lightning does, after it has written its checkpoints
            progress.completed += 1
        return True

    def write(self) -> None:
        """Write the checkpoints that are new."""
        for name, checkpoint in sorted(self.new.items()):
            self._keeper.replace(self.trainer, name, functools.partial(torch.save, checkpoint))
        self.new = {}

    def close(self) -> None:
        """Close what it logs to, and give its folder back."""
        for logger in self.trainer.loggers:
            logger.finalize("success")
        self.folder.release()

    def _connect(self) -> None:
        """Set up what Lightning sets up before the first step."""
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
        (self._keeper,) = [one for one in trainer.callbacks if isinstance(one, BestAndLast)]
        self._keeper.setup(trainer, module, "fit")
        self.loader = data.train_dataloader()
        if not (hasattr(module, "training_noise") and hasattr(self.loader, "take")):
            kinds = f"{type(module).__name__} with {type(self.loader).__name__}"
            raise ConfigError(f"{kinds} lacks training_noise or take, the methods for stacks")
        check_uncalled(module, "training_noise", UNUSED)
        check_uncalled(data, "share", {*UNUSED, "setup"})

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        if not loops["epoch_loop.batch_progress"]["is_last_batch"]:
            raise ConfigError("it was stopped in the middle of an epoch")
        self.module.load_state_dict(checkpoint["state_dict"])
        self.module.on_load_checkpoint(checkpoint)
        self.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        self._keeper.load_state_dict(checkpoint["callbacks"][self._keeper.state_key])
        self.trainer.fit_loop.load_state_dict(loops)
        progress = self.trainer.fit_loop.epoch_progress.current
        progress.completed = progress.processed

    def _count_epoch(self, batches: int, val_batches: int) -> list[Any]:
        """Count an epoch as Lightning's loops do, and return those counts that are of epochs."""
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
        counts = [loop.epoch_progress.current, loop.epoch_progress.total]
        for progress in counts:
            progress.completed -= 1
        return counts

    def _checkpoint(self) -> dict[str, Any]:
        """A checkpoint of the present state, with tensors of its own."""
        checkpoint = self.trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        (optimizer,) = checkpoint["optimizer_states"]
        for group, own in zip(optimizer["param_groups"], self.module._numbers, strict=True):
            group.update(own)  # without what a CUDA graph needs, `capturable`
        kept: dict[str, Any]
        kept = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, checkpoint)
        return kept


def check_uncalled(thing: Any, method: str, unused: Collection[str]) -> None:
    """Check that no class derived from the one with a method for stacks has one that they skip.

    Raises:
        ConfigError: if one has.
    """
    for kind in type(thing).mro():
        if method in vars(kind):
            return
        if own := sorted(vars(kind).keys() & unused):
            raise ConfigError(f"a stack does not call {kind.__name__}.{own[0]}")

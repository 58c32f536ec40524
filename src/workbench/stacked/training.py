"""Train a stack of runs, epoch by epoch."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from workbench.callbacks.epoch_lines import four_digits
from workbench.errors import ConfigError
from workbench.stacked.graph import GraphedFunction
from workbench.stacked.leaves import split
from workbench.stacked.member import EpochSums, Member
from workbench.stacked.stack import Stack, Unavailable, own_attributes, sums_of

log = logging.getLogger(__name__)

SECONDS = 60
"""The time between two writings of checkpoints."""

TOLERANCE = 1e-3
"""The largest difference, absolute or relative, of a term from that of the run alone."""

GRADIENT_TOLERANCE = 1e-2
"""The largest relative difference of a gradient; rounding may change the side of a kink."""


def train(members: Sequence[Member]) -> None:
    """Train runs up to their last epoch and write their checkpoints.

    A run whose loss is not finite leaves the stack and keeps the checkpoint written last.

    Args:
        members: runs that have done the same number of epochs.

    Raises:
        Exception: of any kind, before the first step, if the runs cannot be trained in a stack.
    """
    first, running = members[0], [*members]
    size = len(first.loader.dataset)
    stack = Stack([m.module for m in members], [m.optimizer for m in members], size)
    _check(stack, members, size)
    step = GraphedFunction(stack.step, _can_be_recorded(members))
    start = written = time.monotonic()
    try:
        while running and running[0].epochs < first.trainer.max_epochs:
            train_sums, val_sums = _train_epoch(stack, step, members), _validate(stack, first)
            for i, member in enumerate(members):
                if member in running and not member.end_epoch(
                    stack.names, train_sums.of(i), val_sums.of(i)
                ):
                    running.remove(member)
                    log.warning("%s   its loss is not finite", member.launch.name)
            _show(running)
            if time.monotonic() - written > SECONDS:
                _write(running)
                written = time.monotonic()
    finally:
        _write(running)
        share = (time.monotonic() - start) / len(members)
        for member in members:
            seconds = member.folder.read_metrics().get("seconds", 0.0) + share
            member.folder.write_metrics(seconds=round(seconds, 2), stacked=len(members))


def _check(stack: Stack, members: Sequence[Member], size: int) -> None:
    """Raise a ConfigError if the first terms or gradients differ from those of a run alone."""
    batch, noise = _batch(members, [next(_rows(member)) for member in members], 0)
    for member in members:
        member.module.train()
    perturbed = stack.perturbed()
    gradients = perturbed.gradients(batch, noise)[-1]
    with torch.no_grad():
        losses, terms = stack.terms(batch, noise, size)
    for i, member in enumerate(members):
        inputs = tree_map(lambda part, i=i: part[i], batch), noise[i]
        with torch.no_grad():
            loss, by_name, settings = member.module.terms(*inputs, size, Unavailable())
        alone = torch.stack([*by_name.values()])
        if not (_is_close(losses[i], loss) and _is_close(terms[i].mean(1), alone.mean(1))):
            raise ConfigError(
                f"{member.launch.name}: its first loss is {loss:.6g} alone, and would be "
                f"{losses[i]:.6g} in a stack"
            )
        stacked = [None if gradient is None else gradient[i] for gradient in gradients]
        if not all(map(_is_same_gradient, stacked, perturbed.gradients_alone(i, *inputs))):
            raise ConfigError(f"{member.launch.name}: its gradient would differ in a stack")
        check_unchanged(member.module, (*inputs, size, Unavailable()))
        lr = member.optimizer.param_groups[0]["lr"]
        member.module.settings = {**settings, "lr": lr}


def _is_close(stacked: Tensor, alone: Tensor) -> bool:
    return torch.allclose(stacked, alone, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _is_same_gradient(stacked: Tensor | None, alone: Tensor | None) -> bool:
    """Compare two gradients; None, an unused weight, is not the same as zeros."""
    if stacked is None or alone is None:
        return stacked is alone
    difference, size = (stacked - alone).norm(), alone.norm()
    return not bool(difference > GRADIENT_TOLERANCE * size + 1e-6)  # NaN passes


def check_unchanged(module: Any, arguments: tuple[Any, ...]) -> None:
    """Raise a ConfigError if repeated calls of `terms` change a module's attributes.

    The first call may still set some, such as a cache.
    """
    module.terms(*arguments)
    structure, leaves = split(own_attributes(module))
    leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    module.terms(*arguments)
    new_structure, new_leaves = split(own_attributes(module))
    pairs = zip(leaves, new_leaves, strict=False)
    if (structure, len(leaves)) != (new_structure, len(new_leaves)) or not all(
        torch.equal(old, new) if isinstance(old, Tensor) else old == new for old, new in pairs
    ):
        raise ConfigError("its step changes more than its weights")


def _rows(member: Member) -> Iterator[Tensor]:
    """The indices of the examples of each batch of an epoch, `[B]`."""
    rows: Iterator[Tensor] = member.loader.rows(0, member.module.device)
    return rows


def _batch(members: Sequence[Member], rows: Sequence[Tensor], index: int) -> tuple[Any, Tensor]:
    """The batches of all runs and their noise, `[N, B, ...]` each."""
    indices = torch.stack([*rows])
    flat = members[0].loader.take(indices.flatten())
    noises = []
    for member in members:
        member.module.on_train_batch_start(None, index)
        noises.append(member.module.training_noise(indices.shape[1]))
    return tree_map(lambda part: part.unflatten(0, indices.shape), flat), torch.stack(noises)


def _train_epoch(stack: Stack, step: GraphedFunction, members: Sequence[Member]) -> EpochSums:
    """Train all runs for an epoch."""
    batches = examples = 0
    stack.sums *= 0.0
    members[0].module.train()
    for member in members:
        member.loader.sampler.set_epoch(member.epochs)
    for rows in zip(*map(_rows, members), strict=True):
        step(*_batch(members, rows, batches))
        batches, examples = batches + 1, examples + len(rows[0])
    return EpochSums(batches, stack.sums.cpu(), examples)


def _validate(stack: Stack, first: Member) -> EpochSums:
    """Validate all runs, with the same examples and the same noise."""
    loader = first.data.val_dataloader()
    batches, examples, sums = 0, 0, torch.zeros_like(stack.sums)
    first.module.eval()
    with torch.no_grad():
        for batch in loader:
            noise = first.module.evaluation_noise(batch, batches, loader)
            _, terms = stack.terms(batch, noise, len(loader.dataset), None)
            sums += sums_of(terms)
            batches, examples = batches + 1, examples + terms.shape[-1]
    return EpochSums(batches, sums.cpu(), examples)


def _can_be_recorded(members: Sequence[Member]) -> bool:
    """True if the optimizers count steps on the GPU, so that a CUDA graph can include them."""
    groups = [group for member in members for group in member.optimizer.param_groups]
    is_ready = all(group.get("fused") or "capturable" not in group for group in groups)
    return is_ready and bool(members[0].module.device.type == "cuda")


def _show(running: Sequence[Member]) -> None:
    """Log the range of the losses of an epoch."""
    losses = sorted(member.module.metrics("train")["loss"] for member in running)
    if losses:
        epoch = f"epoch {running[0].epochs}/{running[0].trainer.max_epochs}"
        span = f"{four_digits(losses[0])} to {four_digits(losses[-1])}"
        log.info("%s   %s runs   train loss %s", epoch, len(running), span)


def _write(running: Sequence[Member]) -> None:
    for member in running:
        member.write()

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
from workbench.stacked.graph import Replayed
from workbench.stacked.leaves import take_apart
from workbench.stacked.member import Member
from workbench.stacked.stack import Stack, Unknown, own_parts, sums_of

log = logging.getLogger(__name__)

SECONDS = 60
"""The time after which checkpoints are written anew during training."""

TOLERANCE = 1e-3
"""The largest difference, absolute or relative, of a term in a stack from that of the run alone."""

GRADIENT_TOLERANCE = 1e-2
"""The same of a gradient, relative, as rounding may take a kink's other side."""


def train(members: Sequence[Member]) -> None:
    """Train runs up to their last epoch, and leave their checkpoints in their folders.

    Args:
        members: have done the same number of epochs. One whose losses are not finite is left at
            the last checkpoint that was written.

    Raises:
        Exception: of any kind, before the first step, if they cannot be trained as one.
    """
    first, running = members[0], [*members]
    size = len(first.loader.dataset)
    stack = Stack([m.module for m in members], [m.optimizer for m in members], size)
    _check(stack, members, size)
    step = Replayed(stack.step, _can_be_recorded(members))
    begun = written = time.monotonic()
    try:
        while running and running[0].epochs < first.trainer.max_epochs:
            batches, sums, count = _train_epoch(stack, step, members)
            val_batches, val_sums, val_count = _evaluate(stack, first)
            for i, member in enumerate(members):
                if member in running:
                    means = stack.names, sums[i], count
                    val = stack.names, val_sums[i], val_count
                    if not member.end_epoch((batches, val_batches), means, val):
                        running.remove(member)
                        log.warning("%s   its loss is not finite", member.launch.name)
            _show(running)
            if time.monotonic() - written > SECONDS:
                _write(running)
                written = time.monotonic()
    finally:
        _write(running)
        share = (time.monotonic() - begun) / len(members)
        for member in members:
            seconds = member.folder.read_metrics().get("seconds", 0.0) + share
            member.folder.write_metrics(seconds=round(seconds, 2), stacked=len(members))


def _check(stack: Stack, members: Sequence[Member], size: int) -> None:
    """Compare terms and gradients of the first batch with those of each run alone."""
    batch, noise = _batch(members, [next(_rows(member)) for member in members], 0)
    for member in members:
        member.module.train()
    near = stack.near()
    gradients = near.gradients(batch, noise)[-1]
    with torch.no_grad():
        losses, terms = stack.terms(batch, noise, size)
    for i, member in enumerate(members):
        own = tree_map(lambda part, i=i: part[i], batch), noise[i]
        with torch.no_grad():
            loss, own_terms, settings = member.module.terms(*own, size, Unknown())
        its_terms = torch.stack([*own_terms.values()])
        if not (_is_close(losses[i], loss) and _is_close(terms[i].mean(1), its_terms.mean(1))):
            raise ConfigError(
                f"{member.launch.name}: its first loss is {loss:.6g} alone, and would be "
                f"{losses[i]:.6g} in a stack"
            )
        theirs = [None if gradient is None else gradient[i] for gradient in gradients]
        if not all(map(_is_alike, theirs, near.gradients_alone(i, *own))):
            raise ConfigError(f"{member.launch.name}: its gradient would be another")
        check_unchanged(member.module, (*own, size, Unknown()))
        lr = member.optimizer.param_groups[0]["lr"]
        member.module.settings = {**settings, "lr": lr}


def _is_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _is_alike(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two gradients are the same; one that is not there is another than one of zeros."""
    if one is None or other is None:
        return one is other
    difference, size = (one - other).norm(), other.norm()
    return not bool(difference > GRADIENT_TOLERANCE * size + 1e-6)  # of NaN it is not known


def check_unchanged(module: Any, own: tuple[Any, ...]) -> None:
    """Check that a step changes nothing but weights, once what it keeps is kept.

    Args:
        module: of a run.
        own: the arguments of its `terms`.

    Raises:
        ConfigError: if it does.
    """
    module.terms(*own)
    rest, leaves = take_apart(own_parts(module))
    leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    module.terms(*own)
    its_rest, its_leaves = take_apart(own_parts(module))
    pairs = zip(leaves, its_leaves, strict=False)
    if (rest, len(leaves)) != (its_rest, len(its_leaves)) or not all(
        torch.equal(one, other) if isinstance(one, Tensor) else one == other for one, other in pairs
    ):
        raise ConfigError("its step changes more than its weights")


def _rows(member: Member) -> Iterator[Tensor]:
    """The places of the examples of each batch of an epoch."""
    rows: Iterator[Tensor] = member.loader.rows(0, member.module.device)
    return rows


def _batch(members: Sequence[Member], rows: Sequence[Tensor], index: int) -> tuple[Any, Tensor]:
    """The batches of all runs, and their noise, `[N, ...]` each."""
    places = torch.stack([*rows])
    flat = members[0].loader.take(places.flatten())
    noises = []
    for member in members:
        member.module.on_train_batch_start(None, index)
        noises.append(member.module.training_noise(places.shape[1]))
    return tree_map(lambda part: part.unflatten(0, places.shape), flat), torch.stack(noises)


def _train_epoch(
    stack: Stack, step: Replayed, members: Sequence[Member]
) -> tuple[int, Tensor, int]:
    """Batches, sums of terms `[N, T]`, and examples of an epoch of each run."""
    batches = count = 0
    stack.sums *= 0.0
    members[0].module.train()
    for member in members:
        member.loader.sampler.set_epoch(member.epochs)
    for rows in zip(*map(_rows, members), strict=True):
        step(*_batch(members, rows, batches))
        batches, count = batches + 1, count + len(rows[0])
    return batches, stack.sums.cpu(), count


def _evaluate(stack: Stack, first: Member) -> tuple[int, Tensor, int]:
    """The same of the validation; the examples and their noise are those of all runs."""
    loader = first.data.val_dataloader()
    batches, count, sums = 0, 0, torch.zeros_like(stack.sums)
    first.module.eval()
    with torch.no_grad():
        for batch in loader:
            noise = first.module.evaluation_noise(batch, batches, loader)
            _, terms = stack.terms(batch, noise, len(loader.dataset), None)
            sums += sums_of(terms)
            batches, count = batches + 1, count + terms.shape[-1]
    return batches, sums.cpu(), count


def _can_be_recorded(members: Sequence[Member]) -> bool:
    """Whether the optimizers' steps can be part of a CUDA graph: they count steps on the device."""
    groups = [group for member in members for group in member.optimizer.param_groups]
    is_ready = all(group.get("fused") or "capturable" not in group for group in groups)
    return is_ready and bool(members[0].module.device.type == "cuda")


def _show(running: Sequence[Member]) -> None:
    losses = sorted(member.module.metrics("train")["loss"] for member in running)
    if losses:
        epoch = f"epoch {running[0].epochs}/{running[0].trainer.max_epochs}"
        span = f"{four_digits(losses[0])} to {four_digits(losses[-1])}"
        log.info("%s   %s runs   train loss %s", epoch, len(running), span)


def _write(running: Sequence[Member]) -> None:
    for member in running:
        member.write()

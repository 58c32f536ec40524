"""Modules that differ in weights and numbers as one, whose weights have one more dimension."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import Optimizer

from workbench.module import ReportingModule
from workbench.stacked.leaves import put_together, take_apart


class Stackable(Protocol):
    """The methods by which a `ReportingModule` can be trained in a stack.

    Its step changes nothing but weights, and draws nothing at random but its noise.
    """

    def training_noise(self, count: int) -> Tensor:
        """The noise of a batch of so many examples; `on_train_batch_start` was called before."""

    def evaluation_noise(self, batch: Any, batch_idx: int, loader: Any) -> Tensor:
        """The noise of a batch that is evaluated."""

    def terms(
        self, batch: Any, noise: Tensor, dataset_size: int, step: Any
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The loss, a scalar; terms of each example, `[B]`; settings to report."""


class Unknown:
    """The number of a step, or the trainer, where it must not matter: to ask it is a TypeError."""

    def _ask(self, *_: Any) -> Any:
        raise TypeError("its loss depends on the step")

    __getattr__ = __bool__ = __eq__ = _ask


def own_parts(module: Any) -> dict[str, Any]:
    """The attributes that a module's losses may depend on: not those of every module's training."""
    parts = {"_modules", "_parameters", "_buffers"}
    common = {"seed", *vars(ReportingModule()), *dir(ReportingModule)} - parts
    return {name: value for name, value in vars(module).items() if name not in common}


class Stack:
    """N modules as one, each with its own optimizer; their parameters are views of its own.

    Args:
        modules: alike, as `take_apart` tells.
        optimizers: of each.
        dataset_size: how many examples batches of training are taken from.
    """

    def __init__(
        self, modules: Sequence[Any], optimizers: Sequence[Optimizer], dataset_size: int
    ) -> None:
        self._one, self._optimizers, self._size = modules[0], optimizers, dataset_size
        apart = [take_apart(own_parts(module)) for module in modules]
        self._rest = apart[0][0]
        self._columns = [*zip(*(leaves for _, leaves in apart), strict=True)]
        like = next(modules[0].parameters())
        self._leaves = [_stacked(column, like) for column in self._columns]
        self._weights = [
            place
            for place, column in enumerate(self._columns)
            if isinstance(column[0], nn.Parameter) and column[0].requires_grad
        ]
        for place in self._weights:
            for parameter, own in zip(self._columns[place], self._leaves[place], strict=True):
                parameter.data = own
            self._leaves[place].requires_grad_()
        self.names: tuple[str, ...] = ()
        self.sums: Any = 0.0

    def step(self, batch: Any, noise: Tensor) -> None:
        """Train each run on its batch, `[N, B, ...]`, and add its terms to `sums`, `[N, T]`."""
        losses, terms, gradients = self.gradients(batch, noise)
        for place, gradient in zip(self._weights, gradients, strict=True):
            if gradient is not None:
                # Fused optimizers take it for granted that it lies in memory as the weights do.
                for parameter, own in zip(self._columns[place], gradient.contiguous(), strict=True):
                    parameter.grad = own
        is_recorded = losses.is_cuda and torch.cuda.is_current_stream_capturing()
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                if "capturable" in group:
                    group["capturable"] = is_recorded
            optimizer.step()
        sums = sums_of(terms)
        if isinstance(self.sums, float):
            self.sums = torch.zeros_like(sums)
        self.sums += sums

    def gradients(self, batch: Any, noise: Tensor) -> tuple[Tensor, Tensor, tuple[Any, ...]]:
        """Losses and terms, and of each weight the gradient, `[N, ...]`, or None."""
        losses, terms = self.terms(batch, noise, self._size)
        weights = [self._leaves[place] for place in self._weights]
        return losses, terms, torch.autograd.grad(losses.sum(), weights, allow_unused=True)

    def weights_of(self, member: int) -> list[nn.Parameter]:
        """The weights of one module, in the order of `gradients`."""
        return [self._columns[place][member] for place in self._weights]

    def terms(
        self, batch: Any, noise: Tensor, dataset_size: int, batched: int | None = 0
    ) -> tuple[Tensor, Tensor]:
        """The losses, `[N]`, and the terms of each example, `[N, T, B]`, named `names`.

        Args:
            batch: of each run, `[N, B, ...]`.
            noise: likewise.
            dataset_size: how many examples it is taken from.
            batched: None if both are the same for all runs, and lack the N.
        """
        dims = [0 if isinstance(leaf, Tensor) else None for leaf in self._leaves]
        stacked = vmap(self._terms, in_dims=(dims, batched, batched, None))
        return stacked(self._leaves, batch, noise, dataset_size)

    def _terms(
        self, leaves: list[Any], batch: Any, noise: Tensor, dataset_size: int
    ) -> tuple[Tensor, Tensor]:
        one = copy.copy(self._one)
        vars(one).update(put_together(self._rest, leaves), _trainer=Unknown())
        one.train(self._one.training)
        loss, terms, _ = one.terms(batch, noise, dataset_size, Unknown())
        self.names = tuple(terms)
        return loss, torch.stack([*terms.values()])


def _stacked(column: Sequence[Any], like: Tensor) -> Any:
    """Tensors or numbers, `[N, ...]`; a number that is the same in all stays as it is."""
    if isinstance(column[0], Tensor):
        return torch.stack([tensor.detach() for tensor in column])
    return column[0] if len({*column}) == 1 else like.new_tensor(column)


def sums_of(terms: Tensor) -> Tensor:
    """The sums over examples, as `EpochMeans` adds them: `[N, T, B]` → `[N, T]`."""
    return terms.detach().sum(-1, dtype=torch.float64)

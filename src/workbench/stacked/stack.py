"""Compute modules that differ only in weights and numbers as one with stacked weights.

Dimensions: `N` runs, `B` examples of a batch, `T` terms of the loss that are reported.
"""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import Optimizer

from workbench.errors import ConfigError
from workbench.module import ReportingModule
from workbench.stacked.leaves import rebuild, split


class Stackable(Protocol):
    """The methods that a `ReportingModule` needs to be trained in a stack.

    A step may change only the weights, and `noise` must be all that is random in it.
    """

    def training_noise(self, count: int) -> Tensor:
        """The noise of a batch of `count` examples, after `on_train_batch_start` was called."""

    def evaluation_noise(self, batch: Any, batch_idx: int, loader: Any) -> Tensor:
        """The noise of a validation batch."""

    def terms(
        self, batch: Any, noise: Tensor, dataset_size: int, step: Any
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The loss, a scalar; the terms of each example, `[B]` each; settings to report."""


class Unavailable:
    """Takes the place of the step number and of the trainer, and refuses any use."""

    def _refused(self, *_: Any) -> Any:
        raise ConfigError("its loss depends on the number of the step: a stack has no schedules")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refused
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = __float__ = __int__ = __index__ = _refused
    __getattr__ = __bool__ = __eq__ = _refused


def own_attributes(module: Any) -> dict[str, Any]:
    """The attributes on which a module's loss may depend: all but those of the base class."""
    contents = {"_modules", "_parameters", "_buffers"}
    common = {"seed", *vars(ReportingModule()), *dir(ReportingModule)} - contents
    return {name: value for name, value in vars(module).items() if name not in common}


class Stack:
    """N modules computed as one, each with its own optimizer.

    The modules' parameters become views of the stacked weights, `[N, ...]`.

    Args:
        modules: the modules of the runs, for which `split` gives the same structure.
        optimizers: the optimizers of the runs.
        dataset_size: the number of training examples.
    """

    def __init__(
        self, modules: Sequence[Any], optimizers: Sequence[Optimizer], dataset_size: int
    ) -> None:
        self._template, self._optimizers, self._size = modules[0], optimizers, dataset_size
        parts = [split(own_attributes(module)) for module in modules]
        self._structure = parts[0][0]
        leaves_of_runs = [*zip(*(leaves for _, leaves in parts), strict=True)]
        like = next(modules[0].parameters())
        self._leaves = [_stacked(leaves, like) for leaves in leaves_of_runs]
        self._parameters = {  # of the runs, by the index of their stacked leaf
            index: leaves
            for index, leaves in enumerate(leaves_of_runs)
            if isinstance(leaves[0], nn.Parameter) and leaves[0].requires_grad
        }
        for index, parameters in self._parameters.items():
            for parameter, view in zip(parameters, self._leaves[index], strict=True):
                parameter.data = view
            self._leaves[index].requires_grad_()
        self.names: tuple[str, ...] = ()
        self.sums: Any = 0.0

    def step(self, batch: Any, noise: Tensor) -> None:
        """Train each run on its batch, `[N, B, ...]`, and add its terms to `sums`, `[N, T]`."""
        losses, terms, gradients = self.gradients(batch, noise)
        for parameters, gradient in zip(self._parameters.values(), gradients, strict=True):
            if gradient is not None:
                # Fused optimizers expect gradients to have the memory layout of the weights.
                for parameter, view in zip(parameters, gradient.contiguous(), strict=True):
                    parameter.grad = view
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
        """The losses, the terms, and the gradient of each weight, `[N, ...]` or None if unused."""
        losses, terms = self.terms(batch, noise, self._size)
        weights = [self._leaves[index] for index in self._parameters]
        return losses, terms, torch.autograd.grad(losses.sum(), weights, allow_unused=True)

    def gradients_alone(self, run: int, batch: Any, noise: Tensor) -> tuple[Any, ...]:
        """The gradients of one run, computed without the others; nothing has a dimension N."""
        leaves = [leaf[run] if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        loss, _ = self._terms(leaves, batch, noise, self._size)
        weights = [leaves[index] for index in self._parameters]
        return torch.autograd.grad(loss, weights, allow_unused=True)

    def perturbed(self) -> "Stack":
        """A stack with slightly different weights, for comparisons of gradients.

        At the initial weights the argument of a loss with a kink can be zero up to rounding; the
        side of the kink, and with it the gradient, is then chance.
        """
        other = copy.copy(self)
        other._leaves = [*self._leaves]
        for index in self._parameters:
            leaf = self._leaves[index].detach()
            generator = torch.Generator(leaf.device).manual_seed(index)
            noise = torch.randn(leaf.shape, generator=generator, device=leaf.device).to(leaf.dtype)
            other._leaves[index] = (leaf + 0.01 * noise).requires_grad_()
        return other

    def terms(
        self, batch: Any, noise: Tensor, dataset_size: int, batched: int | None = 0
    ) -> tuple[Tensor, Tensor]:
        """The losses, `[N]`, and the terms of each example, `[N, T, B]`; sets `names`.

        Args:
            batch: the batches of the runs, `[N, B, ...]`.
            noise: their noise, `[N, B, ...]`.
            dataset_size: the number of examples from which the batches are taken.
            batched: 0, or None if all runs share a batch and its noise, without a dimension N.
        """
        dims = [0 if isinstance(leaf, Tensor) else None for leaf in self._leaves]
        stacked = vmap(self._terms, in_dims=(dims, batched, batched, None))
        return stacked(self._leaves, batch, noise, dataset_size)

    def _terms(
        self, leaves: list[Any], batch: Any, noise: Tensor, dataset_size: int
    ) -> tuple[Tensor, Tensor]:
        module = copy.copy(self._template)
        vars(module).update(rebuild(self._structure, leaves), _trainer=Unavailable())
        module.train(self._template.training)
        loss, terms, _ = module.terms(batch, noise, dataset_size, Unavailable())
        self.names = tuple(terms)
        return loss, torch.stack([*terms.values()])


def _stacked(leaves: Sequence[Any], like: Tensor) -> Any:
    """A leaf of all runs as one tensor, `[N, ...]`; equal numbers stay one number."""
    if isinstance(leaves[0], Tensor):
        return torch.stack([tensor.detach() for tensor in leaves])
    return leaves[0] if len({*leaves}) == 1 else like.new_tensor(leaves)


def sums_of(terms: Tensor) -> Tensor:
    """Sum over examples as `EpochMeans` does: `[N, T, B]` → `[N, T]`."""
    return terms.detach().sum(-1, dtype=torch.float64)

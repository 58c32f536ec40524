"""Modules that differ in weights and numbers only, computed as one with stacked weights."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import Optimizer

from workbench.errors import ConfigError
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
    """Stands for the number of a step, or the trainer, where neither may matter."""

    def _refused(self, *_: Any) -> Any:
        raise ConfigError("its loss depends on the number of the step: a stack has no schedules")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refused
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = __float__ = __int__ = __index__ = _refused
    __getattr__ = __bool__ = __eq__ = _refused


def own_parts(module: Any) -> dict[str, Any]:
    """The attributes on which a module's losses may depend: all but those of the base class."""
    parts = {"_modules", "_parameters", "_buffers"}
    common = {"seed", *vars(ReportingModule()), *dir(ReportingModule)} - parts
    return {name: value for name, value in vars(module).items() if name not in common}


class Stack:
    """N modules computed as one, each with its own optimizer.

    Their parameters become views of the stacked weights, `[N, ...]`.

    Args:
        modules: those of which `take_apart` leaves the same rest.
        optimizers: one for each.
        dataset_size: the number of examples from which batches of training are taken.
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
                # Fused optimizers expect gradients to lie in memory as the weights do.
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

    def gradients_alone(self, member: int, batch: Any, noise: Tensor) -> tuple[Any, ...]:
        """Those of one module, computed without the others; batch and noise lack the N."""
        leaves = [leaf[member] if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        loss, _ = self._terms(leaves, batch, noise, self._size)
        weights = [leaves[place] for place in self._weights]
        return torch.autograd.grad(loss, weights, allow_unused=True)

    def near(self) -> "Stack":
        """The same with weights near its own, for comparisons.

        At the first weights an error can be nothing but rounding, and the side on which a loss with
        a kink takes it is chance.
        """
        other = copy.copy(self)
        other._leaves = [*self._leaves]
        for place in self._weights:
            leaf = self._leaves[place].detach()
            generator = torch.Generator(leaf.device).manual_seed(place)
            away = torch.randn(leaf.shape, generator=generator, device=leaf.device).to(leaf.dtype)
            other._leaves[place] = (leaf + 0.01 * away).requires_grad_()
        return other

    def terms(
        self, batch: Any, noise: Tensor, dataset_size: int, batched: int | None = 0
    ) -> tuple[Tensor, Tensor]:
        """The losses, `[N]`, and the terms of each example, `[N, T, B]`, named `names`.

        Args:
            batch: of each run, `[N, B, ...]`.
            noise: likewise.
            dataset_size: the number of examples from which it is taken.
            batched: 0, or None if all runs share one batch and its noise, which lack the N.
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

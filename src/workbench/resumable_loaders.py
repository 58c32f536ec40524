"""Loaders that resume at any step to the same bits."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor
from torch.utils.data import SequentialSampler

from workbench.seeding import derive_seed


class Order(SequentialSampler):
    """The order of `count` examples in an epoch: unchanged, or shuffled by (seed, epoch).

    It derives from SequentialSampler so that Lightning does not replace it.
    """

    def __init__(self, count: int, seed: int | None) -> None:
        super().__init__(range(count))
        self.count = count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls it before each one."""
        self.epoch = epoch

    def permutation(self) -> Tensor:
        """A permutation of 0 … count − 1, on the CPU."""
        if self.seed is None:
            return torch.arange(self.count)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.count, generator=generator)


@dataclass(eq=False, kw_only=True)
class ResumableLoader:
    """The base of loaders whose batches are a function of (seed, rank, epoch, step).

    Args:
        dataset: the examples; it may have no length.
        batch_size: examples per step on each rank.
        seed: the seed of the order.
        shuffle: shuffles anew every epoch, as a function of (seed, epoch).
        rank: the rank of this process, from 0.
        world_size: the number of ranks, which share the examples.
    """

    dataset: Any
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    rank: int = 0
    world_size: int = 1

    batch_sampler = None  # Lightning reads it

    def __post_init__(self) -> None:
        self.count = sized_len(self.dataset) or 0
        self.step_size = self.batch_size * self.world_size
        self.sampler = Order(self.count, self.seed if self.shuffle else None)
        self._next_step = 0
        self._loaded_state: dict[str, Any] = {}

    @abstractmethod
    def read(self, first: int) -> Iterator[Any]:
        """Yield what the batches of this rank's steps are made of, from step `first`."""

    def batch(self, parts: Any, step: int) -> Any:
        """The batch of a step; by default what was read."""
        return parts

    def __iter__(self) -> Iterator[Any]:
        first = self._first_step()
        for step, parts in enumerate(self.read(first), first):
            self._next_step = step + 1
            yield self.batch(parts, step)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, next step and its size; with the seed they determine the rest."""
        return {
            "epoch": self.sampler.epoch,
            "next_step": self._next_step,
            "step_size": self.step_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration where a saved one stopped."""
        self._loaded_state = state

    def _first_step(self) -> int:
        """The step to start at: 0, or that of a loaded state, which is used once."""
        state, self._loaded_state = self._loaded_state, {}
        if state.get("epoch") != self.sampler.epoch:
            return 0  # a state from the end of an epoch says nothing about the next one
        # The size depends on the number of ranks, and was not saved before version 0.3.
        size = state.get("step_size", self.step_size)
        return int(state["next_step"]) * size // self.step_size


class StepLoader(ResumableLoader):
    """The base of loaders of examples with indices, whose order depends on (seed, epoch) alone.

    Each step takes `batch_size` examples for every rank from the common order, and rank r keeps
    every `world_size`-th of them: all ranks have the same number of steps, and each example is seen
    exactly once an epoch, by one rank. The examples left at the end form a smaller batch, or join
    the previous one if they are fewer than two per rank: losses that compare the examples of a
    batch need two.

    Raises:
        ValueError: if there are fewer examples than ranks.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < self.world_size:
            raise ValueError(
                f"{self.count} examples cannot be shared by {self.world_size} processes"
            )

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.step_size)
        return max(1, full + (rest >= 2 * self.world_size))

    def weight(self, accumulated: int, steps: float) -> float:
        """The weight of the current batch's mean loss in the mean over ranks and steps.

        With it, the mean over all ranks and accumulated steps is the mean over their examples,
        although the last step may have fewer, divide them unevenly, and be accumulated with fewer
        others. The loader knows the step; in a run that was resumed with another number of ranks,
        `batch_idx` does not tell it.

        Args:
            accumulated: the number of steps whose gradients are accumulated.
            steps: the number of steps of an epoch, if it is smaller than the loader's.
        """
        step = self._next_step - 1
        first = step - step % accumulated
        last = int(min(first + accumulated, len(self), max(steps, step + 1)))
        own = range(step * self.step_size + self.rank, self._before(step + 1), self.world_size)
        examples = self._before(last) - first * self.step_size
        return len(own) * self.world_size * accumulated / examples

    def rows(self, first: int, device: torch.device | None = None) -> Iterator[Tensor]:
        """Yield the rows of this rank's examples in each step, from step `first`."""
        order = self.sampler.permutation().to(device)
        for step in range(first, len(self)):
            first_row = step * self.step_size + self.rank
            yield order[first_row : self._before(step + 1) : self.world_size]

    def _before(self, step: int) -> int:
        """The number of examples that all ranks together have before a step."""
        return step * self.step_size if step < len(self) else self.count


def weighted(loss: Tensor, trainer: Any) -> Tensor:
    """The mean loss of the current training batch, weighted by its examples; see `weight`.

    It is unchanged if the loader is not a `StepLoader`.
    """
    loader = trainer.train_dataloader
    if not isinstance(loader, StepLoader):
        return loss
    weight = loader.weight(trainer.accumulate_grad_batches, trainer.num_training_batches)
    return loss if weight == 1 else weight * loss

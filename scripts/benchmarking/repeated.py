"""MNIST repeated many times, to measure the cost of a larger data set."""

from typing import Any

from torch import Tensor

from musigma.data import MNISTDataModule


class RepeatedMNIST(MNISTDataModule):
    """MNIST with its training images repeated `times` times; other arguments as for MNIST."""

    def __init__(self, *, times: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.times = times

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Read images and labels, and repeat those of training."""
        images, labels = super().read(train)
        times = self.times if train else 1
        return images.repeat(times, 1, 1, 1), labels.repeat(times)

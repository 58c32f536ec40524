"""MNIST many times over: what a larger data set of such images would cost."""

from typing import Any

from torch import Tensor

from musigma.data import MNISTDataModule


class RepeatedMNIST(MNISTDataModule):
    """MNIST with each training image `times` times; the other arguments are MNIST's."""

    def __init__(self, *, times: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.times = times

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Training images repeated, test images as they are."""
        images, labels = super().read(train)
        times = self.times if train else 1
        return images.repeat(times, 1, 1, 1), labels.repeat(times)

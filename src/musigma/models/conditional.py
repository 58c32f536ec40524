"""The conditional VAE: encoder and decoder are conditioned on the label."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from musigma.models.autoencoder import Autoencoder
from musigma.models.model import Images
from musigma.models.network import Network
from musigma.objectives.likelihoods import Likelihood
from workbench.errors import ConfigError, DataError
from workbench.ranges import Count, checked


class ConditionalVAE(Autoencoder):
    """q(z|x, y), p(x|z, y) and a prior p(z) that is the same for every label y.

    The one-hot label is appended to the encoder's features and to the code (Kingma et al. 2014,
    model M2 with all labels known; Sohn, Lee and Yan 2015). The ELBO bounds log p(x|y), and
    log p(x) = log Σ_y p(y) p(x|y).

    Args:
        network: builds the encoder trunk, and the decoder with `classes` more inputs.
        likelihood: p(x|z, y), parametrised by the decoder's output.
        classes: the number of labels, which count from 0; by default that of a run's data, if it
            is known.
        settings: the other arguments of `Autoencoder`.

    Raises:
        ValueError: if `classes` is not given.
    """

    evidence: ClassVar[str] = "p(x|y)"
    conditioned_on: ClassVar[frozenset[str]] = frozenset({"y"})

    _labels: Tensor | None = None
    """One-hot labels of the images and codes at hand, `[B, classes]`, or `[classes]` for all."""

    @checked
    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        *,
        classes: Count | None = None,
        **settings: Any,
    ) -> None:
        if classes is None:
            raise ValueError("the number of classes of these data is not known: set model.classes")
        self.classes = classes  # before the base class, which reads `condition_dim`
        super().__init__(network, likelihood, **settings)

    @property
    def condition_dim(self) -> int:
        return self.classes

    def in_words(self) -> str:
        return f"conditioned on one of {self.classes} labels, {super().in_words()}"

    def check(self, y: Tensor) -> None:
        """Check that labels `[N]` are in 0, …, classes − 1.

        Raises:
            DataError: if one is not.
        """
        if (y < 0).any():
            raise DataError(
                f"this model is conditioned on labels, and {int((y < 0).sum())} of {len(y)} images "
                "have none: give it labelled data, with a whole number for each image, or train an "
                "unconditional model, such as model=vae"
            )
        if (y >= self.classes).any():
            raise DataError(
                f"the label {int(y.max())} is not one of the {self.classes} that this model knows, "
                f"0 to {self.classes - 1}: train it with model.classes={int(y.max()) + 1} or more"
            )

    def given(self, images: Images) -> Self:
        """This model, conditioned on the labels of these images.

        Raises:
            DataError: if a label is out of range. On a GPU, where the check would have to wait for
                the device, in a stack and in a compiled step, everything computed from such a
                label is NaN instead.
        """
        y = images.y
        has_values = not (torch.compiler.is_compiling() or is_batchedtensor(y))
        if has_values and y.device.type == "cpu":
            self.check(y)
        return self._given_labels(y)

    def groups(self, images: Images) -> Iterator[tuple[Tensor, Self]]:
        """The images of each label."""
        self.check(images.y)
        for label in images.y.unique():
            yield (images.y == label).nonzero().squeeze(1), self._given_labels(label)

    def views(self) -> dict[str, Self]:
        """This model, conditioned on each label in turn."""
        labels = torch.arange(self.classes, device=self.device)
        return {f"class {n}": self._given_labels(label) for n, label in enumerate(labels)}

    def append_condition(self, values: Tensor) -> Tensor:
        """Features or codes with the one-hot labels, `[..., B, n]` → `[..., B, n + classes]`."""
        if self._labels is None:
            raise ConfigError(
                "model: it is conditioned on labels, and was given none: encode and decode with "
                "model.given(batch), for a batch with x and y, or with one of model.views(). A "
                "prior that encodes images of its own, which have no labels, does not go with it"
            )
        labels = self._labels.to(values).expand(*values.shape[:-1], -1)
        return torch.cat([values, labels], -1)

    def _given_labels(self, y: Tensor) -> Self:
        one_hot = (y.unsqueeze(-1) == torch.arange(self.classes, device=y.device)).float()
        # NaN for a label out of range.
        return self.conditioned(_labels=one_hot / one_hot.sum(-1, keepdim=True))

"""The conditional VAE: encoder and decoder are told the label."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from musigma.models.autoencoder import Autoencoder
from musigma.models.model import Images
from musigma.models.network import Network
from musigma.models.precision import at_least_float32
from musigma.objectives.draw import Posterior
from musigma.objectives.likelihoods import Likelihood
from workbench.errors import ConfigError, DataError
from workbench.ranges import Count, checked


class ConditionalVAE(Autoencoder):
    """q(z|x, y), p(x|z, y) and a prior p(z) that is the same for every label y.

    The label stands one-hot beside the encoder's features and beside the code (Kingma et al. 2014,
    model M2 with all labels known; Sohn, Lee and Yan 2015). What it bounds is log p(x|y), and
    log p(x) = log Σ_y p(y) p(x|y).

    Args:
        network: makes the encoder trunk and the decoder, whose codes have `classes` numbers more.
        likelihood: p(x|z, y), which gives the decoder's output its meaning.
        classes: how many labels there are, which count from 0; a run takes the number that its
            data are known to have.
        settings: the others of `Autoencoder`.

    Raises:
        ValueError: if `classes` is not given.
    """

    speaks_of: ClassVar[str] = "p(x|y)"
    told: ClassVar[frozenset[str]] = frozenset({"y"})

    _told: Tensor | None = None
    """The labels of what is encoded and decoded, one-hot: `[B, classes]`, or of all `[classes]`."""

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
            raise ValueError("of these data the number of classes is not known: set model.classes")
        self.classes = classes  # which the base class asks for when it makes the parts
        super().__init__(network, likelihood, **settings)

    @property
    def told_dim(self) -> int:
        return self.classes

    def in_words(self) -> str:
        return f"told one of {self.classes} labels, {super().in_words()}"

    def check(self, y: Tensor) -> None:
        """Check that labels `[N]` count from 0 and are below `classes`.

        Raises:
            DataError: if they do not.
        """
        if (y < 0).any():
            raise DataError(
                f"this model is told the labels of images, and {int((y < 0).sum())} of {len(y)} "
                "have none: give it labelled data, with a whole number for each image, or train a "
                "model that is told nothing, such as model=vae"
            )
        if (y >= self.classes).any():
            raise DataError(
                f"the label {int(y.max())} is not one of the {self.classes} that this model is "
                f"told, 0 to {self.classes - 1}: train it with model.classes as many as there are"
            )

    def given(self, images: Images) -> Self:
        """This model, told the labels of these images.

        Raises:
            DataError: if they are not on a GPU, which would have to wait, and one is not among
                those that there are. On a GPU all that comes of such a label is NaN.
        """
        y = images.y
        if y.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check(y)
        return self._of(y)

    def alike(self, images: Images) -> Iterator[tuple[Tensor, Self]]:
        """The images of each label."""
        self.check(images.y)
        for label in images.y.unique():
            yield (images.y == label).nonzero().squeeze(1), self._of(label)

    def views(self) -> dict[str, Self]:
        """This model, told each label in turn."""
        labels = torch.arange(self.classes, device=self.device)
        return {f"class {number}": self._of(label) for number, label in enumerate(labels)}

    def encode(self, x: Tensor) -> Posterior:
        posterior: Posterior = self.head(self._beside(self.encoder(x)))
        return posterior

    def decode(self, z: Tensor) -> Tensor:
        output = at_least_float32(self.decoder(self._beside(z).flatten(0, -2)))
        return output.unflatten(0, z.shape[:-1])

    def _of(self, y: Tensor) -> Self:
        hot = (y.unsqueeze(-1) == torch.arange(self.classes, device=y.device)).float()
        return self.conditioned(_told=hot / hot.sum(-1, keepdim=True))

    def _beside(self, values: Tensor) -> Tensor:
        """The labels beside features or codes, `[..., B, n]` → `[..., B, n + classes]`."""
        if self._told is None:
            raise ConfigError(
                "model: it is told labels, and was not; ask model.given(batch), a batch with x and "
                "y, to encode and decode, or one of model.views(). A prior that encodes images of "
                "its own has none, and does not go with it"
            )
        told = self._told.to(values).expand(*values.shape[:-1], -1)
        return torch.cat([values, told], -1)

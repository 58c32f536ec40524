"""The base class of latent variable models: all that training, evaluation and plots rely on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from musigma.models.code_space import REAL_VECTORS
from musigma.models.priors import Prior
from musigma.objectives.draw import Draw, Posterior
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from workbench.errors import ConfigError
from workbench.meaning import Meaning
from workbench.optimizers.parameter_groups import OptimizerRecipe


class Images(Protocol):
    """B images `x` `[B, C, H, W]` with their labels `y` `[B]`; −1 means no label."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor: ...


class LatentVariableModel(nn.Module, ABC):
    """p(x|z), p(z) and q(z|x): everything with weights.

    `x` is `[B, *image_shape]`, `z` is `[B, d]` with d = `latent_dim`. A subclass sets the
    attributes below in its constructor and defines `encode` and `decode`. A conditional model also
    defines `given`, `groups`, `views` and `check`: training and evaluation encode and decode only
    with `model.given(batch)` or with one of its views.
    """

    latent_dim: int
    """d, the size of a code."""

    image_shape: ImageShape
    """Channels, height and width."""

    likelihood: Likelihood
    """p(x|z), given the decoder's output."""

    prior: Prior
    """p(z)."""

    noise_dim: int
    """n, the number of standard normal values that one draw of z takes."""

    has_density: bool
    """True if its posteriors have a density, and so a rate."""

    code_space: str = REAL_VECTORS
    """The set of all codes, in words; the prior's must be the same."""

    is_deterministic: bool = False
    """True if all draws of z for an image are equal, although codes have a probability."""

    fits_prior: ClassVar[bool] = False
    """True if samples are drawn from a prior that is fitted to the codes after training."""

    center_output: bool = False
    """If true, training starts with the decoder's output at the mean image."""

    evidence: ClassVar[str] = "p(x)"
    """The density that its ELBO bounds; log-densities compare only if it is the same."""

    conditioned_on: ClassVar[frozenset[str]] = frozenset()
    """What the model is conditioned on: `{"y"}` for the label, which codes then need not encode.

    With `{"y"}`, `given` must read nothing but `images.y`, and `views` are in the order of labels.
    """

    penalty_names: ClassVar[tuple[str, ...]] = ()
    """The names of the penalties in its draws; losses compare only if these are the same."""

    meanings: Mapping[str, Meaning] = {}
    """Units and directions of its own terms that are not costs in nats per image."""

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """The sizes of its stochastic layers in the order of z, the decoder's input first."""
        return (self.latent_dim,)

    @property
    def device(self) -> torch.device:
        """The device of its weights, where its inputs have to be."""
        return next(self.parameters()).device

    def in_words(self) -> str:
        """A short description, for logs and pages."""
        return f"d = {self.latent_dim}, {type(self.likelihood).__name__} likelihood"

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """Images `[B, *image_shape]` → q(z|x), whose `mu` and `std` are `[B, d]`."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Codes `[..., d]` → the decoder's output `[..., *image_shape]`, p(x|z)'s parameters."""

    def nearest(self, z: Tensor) -> Tensor:
        """The valid codes nearest to `z`, `[..., d]`; `z` itself if `code_space` is ℝᵈ."""
        return z

    def images_of(self, z: Tensor) -> Tensor:
        """The mean images of p(x|z) at the valid codes nearest to `z`, `[..., d]`.

        For points that may be no codes, such as means and traversals; draws are valid codes.
        """
        return self.likelihood.mean(self.decode(self.nearest(z)))

    def given(self, images: Images) -> Self:
        """This model, conditioned on a batch; by default the model itself.

        It encodes these images only, and decodes codes of these images, `[..., B, d]`.
        """
        return self

    def groups(self, images: Images) -> Iterator[tuple[Tensor, Self]]:
        """Groups of images with equal conditions: their indices, and the model that knows these.

        By default all images are one group.
        """
        yield torch.arange(len(images.x)), self

    def views(self) -> dict[str, Self]:
        """Caption → this model under one condition, with its prior, to decode codes of no image.

        By default there is no condition, and one view: `{"": self}`.
        """
        return {"": self}

    def check(self, y: Tensor) -> None:
        """Check the labels `[N]` of images to come; this may synchronise with the device.

        Raises:
            DataError: if the model cannot be conditioned on these labels; by default never.
        """

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        """K draws of z for each image, with their densities.

        Args:
            x: images, `[B, *image_shape]`.
            noise: standard normal, `[K, B, n]`.
            dataset_size: the number of images that the batch was taken from; None if unknown.
        """
        posterior = self.encode(x)
        z = posterior.rsample(noise)
        output = self.decode(z)
        return Draw(
            self.likelihood.log_prob(x, output),
            z,
            noise,
            posterior,
            self.prior,
            output=output,
            dataset_size=dataset_size,
            x=x,
            model=self,
        )

    def learners(self) -> Mapping[str, OptimizerRecipe]:
        """Name of a part that has an optimizer of its own → its recipe; none by default.

        Each is trained on one of the draw's `own_terms`, whose gradient must reach this part and
        no other: compute the term from detached codes, and all else with the part's weights
        detached.
        """
        return {}

    def latent_metrics(self, mu: Tensor) -> dict[str, float]:
        """Further metrics, of the codes `[N, d]` of test images; none by default."""
        return {}

    def fitted_prior(self, mu: Tensor) -> Prior:
        """The density to sample from if `fits_prior`, fitted to codes `[N, d]` of training images.

        By default the prior of training.
        """
        return self.prior

    def forward(self, x: Tensor) -> Tensor:
        """Images → their reconstructions from one draw of z, the same shape."""
        return self.likelihood.mean(self.decode(self.encode(x).rsample()))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the decoder so that its output starts near the mean image, `[C, H, W]`.

        Raises:
            ConfigError: by default, as only a subclass knows its decoder.
        """
        raise ConfigError(
            f"model.center_output: {type(self).__name__} does not define start_at: set it to false"
        )

    def conditioned(self, **attributes: Any) -> Self:
        """A copy of this model that shares its weights and has other values of attributes."""
        view = object.__new__(type(self))  # not copy.copy, which torch.compile cannot trace
        view.__dict__.update(self.__dict__)
        for name, value in attributes.items():
            object.__setattr__(view, name, value)
        return view

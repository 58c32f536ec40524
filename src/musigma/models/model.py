"""The contract of latent variable models: what training, evaluation and plots use of one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from musigma.models.code_space import ANY_NUMBERS
from musigma.models.priors import Prior
from musigma.objectives.draw import Draw, Posterior
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from workbench.errors import ConfigError
from workbench.meaning import Meaning
from workbench.parameter_groups import OptimizerRecipe


class Images(Protocol):
    """B images `x` `[B, C, H, W]` with their labels `y` `[B]`; −1 where there are none."""

    @property
    def x(self) -> Tensor: ...

    @property
    def y(self) -> Tensor: ...


class LatentVariableModel(nn.Module, ABC):
    """p(x|z), p(z) and q(z|x): everything with weights.

    `x` is `[B, *image_shape]`, `z` is `[B, d]` with d = `latent_dim`. A subclass sets the
    attributes below in its constructor and writes `encode` and `decode`. One that is conditioned
    on something else writes `given`, `alike`, `views` and `check` too; those who use a model ask it
    for the model *given* a batch, or for its views, and everything of those.
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
    """n, the standard normal numbers that one draw of z takes."""

    has_density: bool
    """True if its posteriors have a density, and so a rate."""

    code_space: str = ANY_NUMBERS
    """The set of all codes, in words, if it is not ℝᵈ; the prior's has to be the same."""

    is_deterministic: bool = False
    """True if every draw of z for an image is the same, though its codes have a probability."""

    fits_prior: ClassVar[bool] = False
    """True if samples are drawn from a prior that is fitted to the codes after training."""

    center_output: bool = False
    """If true, training starts with the decoder's output at the mean image."""

    speaks_of: ClassVar[str] = "p(x)"
    """The density that its ELBO bounds; only models that speak of the same one compare."""

    told: ClassVar[frozenset[str]] = frozenset()
    """What it is told of an image beside the pixels, which probes of codes then need not find.

    `y` for its label; `given` asks for nothing else of images then, and `views` are in the order of
    labels.
    """

    pays: ClassVar[tuple[str, ...]] = ()
    """The names of the penalties in its draws; losses compare only where these are the same."""

    meanings: Mapping[str, Meaning] = {}
    """Units and directions of its own terms, if they are no costs in nats per image."""

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """The sizes of its stochastic layers, the one that `decode` uses first: d by default.

        Their codes stand beside one another in z.
        """
        return (self.latent_dim,)

    @property
    def device(self) -> torch.device:
        """The device of its weights, where its inputs have to be."""
        return next(self.parameters()).device

    def in_words(self) -> str:
        """Its parts, in a few words."""
        return f"d = {self.latent_dim}, {type(self.likelihood).__name__} likelihood"

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """Images `[B, *image_shape]` → q(z|x), whose `mu` and `std` are `[B, d]`."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Codes `[..., d]` → the decoder's output `[..., *image_shape]`, p(x|z)'s parameters.

        `likelihood.mean` turns that output into an image.
        """

    def nearest(self, z: Tensor) -> Tensor:
        """The codes nearest to `z`, `[..., d]`: those themselves, if `code_space` is ℝᵈ."""
        return z

    def images_of(self, z: Tensor) -> Tensor:
        """The mean images of p(x|z) at the codes nearest to `z`, `[..., d]`, in the data's pixels.

        For means of codes, traversals and the like; what was drawn is a code.
        """
        return self.likelihood.mean(self.decode(self.nearest(z)))

    def given(self, images: Images) -> Self:
        """This model, conditioned on what it is told of these images; itself by default.

        What it encodes are these images, and what it decodes codes of these, `[..., B, d]`.
        """
        return self

    def alike(self, images: Images) -> Iterator[tuple[Tensor, Self]]:
        """Groups of images for which any code decodes alike: their places, `[N]`, and the model.

        All of them by default.
        """
        yield torch.arange(len(images.x)), self

    def views(self) -> dict[str, Self]:
        """This model for codes of no image, by captions: once for each thing that it is told.

        A view has the prior of such codes. By default it is told nothing, and `{"": self}`.
        """
        return {"": self}

    def check(self, y: Tensor) -> None:
        """Check the labels `[N]` of images that are to come; the device may have to wait.

        Raises:
            DataError: if it is told them and cannot do with these; by default never.
        """

    def draw(self, x: Tensor, noise: Tensor, dataset_size: int | None = None) -> Draw:
        """K draws of z for each image, and all that is known of them.

        Args:
            x: images, `[B, *image_shape]`.
            noise: standard normal, `[K, B, n]`.
            dataset_size: how many images the batch was taken from; None if that is not known.
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
        """Those of its parts that have optimizers of their own, by name; none by default.

        They are trained on the `own_terms` of its draws, each of which reaches one of them and
        nothing else: detach the codes there, and their weights in all else.
        """
        return {}

    def latent_metrics(self, mu: Tensor) -> dict[str, float]:
        """Metrics of its own of the codes `[N, d]` of test images; none by default."""
        return {}

    def fitted_prior(self, mu: Tensor) -> Prior:
        """What samples are drawn from if `fits_prior`, from the codes `[N, d]` of training images.

        By default the prior itself, as it was there in training.
        """
        return self.prior

    def forward(self, x: Tensor) -> Tensor:
        """Images → their reconstructions from one draw of z, the same shape."""
        return self.likelihood.mean(self.decode(self.encode(x).rsample()))

    def start_at(self, mean_image: Tensor) -> None:
        """Start training with the decoder's output at the mean image, `[C, H, W]`.

        Raises:
            ConfigError: by default, as only a subclass knows how.
        """
        raise ConfigError(f"model.center_output: {type(self).__name__} does not know how")

    def conditioned(self, **given: Any) -> Self:
        """A view of this model, which shares its weights, with other attributes."""
        view = object.__new__(type(self))  # not copy.copy, at which torch.compile stops
        view.__dict__.update(self.__dict__)
        for name, value in given.items():
            object.__setattr__(view, name, value)
        return view

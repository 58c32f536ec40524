"""The autoencoder: q(z|x) and p(x|z) around a bottleneck."""

import re

import torch
from torch import Tensor

from musigma.models.model import LatentVariableModel
from musigma.models.network import Network, check_decoder, features_of
from musigma.models.posteriors import NAMED_HEADS, HeadRecipe, PosteriorName
from musigma.models.precision import at_least_float32
from musigma.models.priors import PriorRecipe, StandardNormal
from musigma.objectives.draw import Posterior
from musigma.objectives.likelihoods import Likelihood
from musigma.shapes import ImageShape
from workbench.errors import ConfigError
from workbench.ranges import Count, checked


class Autoencoder(LatentVariableModel):
    """Encoder trunk, posterior head, decoder, likelihood and prior around one bottleneck.

    `x` is `[B, *image_shape]`, `z` is `[B, d]` with d = `latent_dim`.

    Args:
        network: builds the encoder trunk and the decoder.
        likelihood: p(x|z), parametrised by the decoder's output.
        latent_dim: d, the size of the bottleneck.
        posterior: `normal` for N(mu, std²), `point` for a deterministic code, or another head.
        prior: p(z), N(0, I) by default.
        center_output: if true, training starts with the decoder's output at the mean image.
        image_shape: channels, height and width.

    Raises:
        ValueError: if encoder or decoder do not have the output shapes that `Network` asks for.
    """

    @checked
    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        *,
        latent_dim: Count = 2,
        posterior: PosteriorName | HeadRecipe = "normal",
        prior: PriorRecipe = StandardNormal,
        center_output: bool = False,
        image_shape: ImageShape = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.center_output = center_output
        self.image_shape = image_shape
        self.encoder = network.encoder(image_shape)
        features = features_of(self.encoder, image_shape)
        head: HeadRecipe = NAMED_HEADS[posterior] if isinstance(posterior, str) else posterior
        self.head = head(features + self.condition_dim, latent_dim)
        output_shape = likelihood.output_shape(image_shape)
        self.decoder = network.decoder(latent_dim + self.condition_dim, output_shape)
        self.likelihood = likelihood
        check_decoder(self.decoder, latent_dim + self.condition_dim, output_shape)
        self.noise_dim, self.has_density = self.head.noise_dim, self.head.has_density
        self.code_space = self.head.code_space
        self.prior = prior(self)

    @property
    def condition_dim(self) -> int:
        """The number of values that `append_condition` appends; 0 here."""
        return 0

    def append_condition(self, values: Tensor) -> Tensor:
        """Features or codes `[..., B, n]` with the values of a condition; unchanged here."""
        return values

    def in_words(self) -> str:
        head = type(self.head).__name__.removesuffix("Head")
        posterior = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", head).lower()
        prior = "" if self.prior.is_standard_normal else f", {type(self.prior).__name__} prior"
        likelihood = f"{type(self.likelihood).__name__} likelihood"
        return f"d = {self.latent_dim}, {posterior} posterior{prior}, {likelihood}"

    def encode(self, x: Tensor) -> Posterior:
        posterior: Posterior = self.head(self.append_condition(self.encoder(x)))
        return posterior

    def decode(self, z: Tensor) -> Tensor:
        output = at_least_float32(self.decoder(self.append_condition(z).flatten(0, -2)))
        return output.unflatten(0, z.shape[:-1])

    def nearest(self, z: Tensor) -> Tensor:
        return self.head.nearest(z)

    @torch.no_grad()
    def start_at(self, mean_image: Tensor) -> None:
        """Set the decoder's last bias so that its output starts near an image, `[C, H, W]`.

        As in the code of Burda, Grosse and Salakhutdinov 2016. A bias per pixel is set to the
        image, a bias per channel to the channel's mean.

        Raises:
            ConfigError: if the decoder's last bias has neither shape.
        """
        output = self.likelihood.output_of(mean_image)
        parameters = self.decoder.named_parameters()
        biases = [value for name, value in parameters if name.endswith("bias")]
        if biases and biases[-1].numel() == output.numel():
            biases[-1].copy_(output.flatten())
        elif biases and biases[-1].numel() == output.shape[0]:
            biases[-1].copy_(output.mean((1, 2)))
        else:
            raise ConfigError(
                "model.center_output: the decoder's last bias does not have the shape of "
                f"{type(self.likelihood).__name__}.output_of(mean image), {list(output.shape)}: "
                "set center_output to false, or change the decoder or the likelihood"
            )

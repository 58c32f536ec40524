"""The protocol of networks, which build an encoder trunk and a decoder, and checks of both."""

import itertools
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from musigma.shapes import ImageShape

Activation = Literal["LeakyReLU", "ReLU", "ELU", "GELU", "SiLU", "Tanh", "Softplus"]
"""The name of a layer in `torch.nn`."""


@runtime_checkable
class Network(Protocol):
    """Builds an encoder trunk and a decoder; any `nn.Module`s of these shapes will do."""

    def encoder(self, image_shape: ImageShape) -> nn.Module:
        """Images `[B, *image_shape]` → features `[B, F]`, with any F."""

    def decoder(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Codes `[B, d]` → the likelihood's parameters, `[B, *image_shape]`."""


def activation_layer(name: Activation) -> nn.Module:
    """The layer of that name in `torch.nn`, with torch's default settings."""
    layer: nn.Module = getattr(nn, name)()
    return layer


def hidden_layers(inputs: int, sizes: Sequence[int], activation: Activation) -> list[nn.Module]:
    """A linear layer for each of `sizes`, each followed by the activation."""
    return [
        layer
        for pair in itertools.pairwise((inputs, *sizes))
        for layer in (nn.Linear(*pair), activation_layer(activation))
    ]


def features_of(encoder: nn.Module, image_shape: ImageShape) -> int:
    """F, the number of an encoder's features; ValueError if its output is not `[B, F]`."""
    shape = _output_shape(encoder, image_shape)
    if len(shape) != 2 or shape[0] != 2:
        raise ValueError(
            f"the encoder must turn images [B, {', '.join(map(str, image_shape))}] into features "
            f"[B, F]; for B = 2 it gave {list(shape)}"
        )
    return shape[1]


def check_decoder(decoder: nn.Module, latent_dim: int, image_shape: ImageShape) -> None:
    """Raise a ValueError unless a decoder turns codes `[B, d]` into `[B, *image_shape]`."""
    shape = _output_shape(decoder, (latent_dim,))
    if shape != (2, *image_shape):
        raise ValueError(
            f"the decoder must turn codes [B, {latent_dim}] into images "
            f"[B, {', '.join(map(str, image_shape))}]; for B = 2 it gave {list(shape)}"
        )


@torch.no_grad()
def _output_shape(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape for two rows; running statistics and the random state do not change."""
    was_training = module.training
    y: Tensor = module.eval()(torch.zeros(2, *input_shape))
    module.train(was_training)
    return tuple(y.shape)

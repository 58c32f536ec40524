"""Beginning at the mean image instead of at nothing."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def set_output_bias(decoder: nn.Module, output: Tensor) -> None:
    """Set the last bias of `decoder`, so that its output begins around `output`, `[C, H, W]`.

    Burda, Grosse and Salakhutdinov 2016 do so in their code. A bias for every pixel takes the
    whole image; one for every channel takes the channel's mean.

    Raises:
        ValueError: if the decoder's last layer with a bias has neither shape.
    """
    biases = [value for name, value in decoder.named_parameters() if name.endswith("bias")]
    if biases and biases[-1].numel() == output.numel():
        biases[-1].copy_(output.flatten())
    elif biases and biases[-1].numel() == output.shape[0]:
        biases[-1].copy_(output.mean((1, 2)))
    else:
        raise ValueError("center_output needs a decoder that ends in a layer with a bias")

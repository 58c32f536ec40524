"""Conditions under which a model encodes and decodes: labelled images, labels, or a view."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from musigma.models import LatentVariableModel
from musigma.models.priors import Prior


class LabelledImages(NamedTuple):
    """Images `[N, C, H, W]` and their labels `[N]`, to condition a model on."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> "LabelledImages":
        """These images and labels on a device."""
        return LabelledImages(self.x.to(device), self.y.to(device))

    def at(self, rows: slice | Tensor) -> "LabelledImages":
        """Some of them; indices may be on another device."""
        if isinstance(rows, Tensor):
            rows = rows.to(self.x.device)
        return LabelledImages(self.x[rows], self.y[rows])


class View(NamedTuple):
    """Decoder and prior of a model under one condition, for codes of no image.

    Args:
        decoded: codes `[..., d]` → mean images `[..., C, H, W]` in [0, 1], without a gradient.
        prior: p(z), to draw codes from; None if training did not tie the codes to a prior.
        of: the name of that density.
    """

    decoded: Callable[[Tensor], Tensor]
    prior: Prior | None
    of: str = "the prior"


def given_labels(model: LatentVariableModel, y: Tensor) -> LatentVariableModel:
    """The model, conditioned on the labels `[B]` of codes without images."""
    return model.given(LabelledImages(y, y))  # `given` reads labels only


def with_labels(model: LatentVariableModel, rows: Tensor) -> tuple[Tensor, ...]:
    """Images or codes `[N, ...]`, and labels for them if the model is conditioned on labels."""
    labels = torch.arange(len(rows), device=rows.device) % len(model.views())
    return (rows, labels) if model.conditioned_on else (rows,)

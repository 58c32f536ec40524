"""Data of the page's interactive view of the latent space, computed in advance."""

import math
from typing import Any

import torch
from torch import Tensor

from musigma.evaluation.encoding import Encoded, Rows
from musigma.evaluation.latent import spread
from musigma.loading import Run
from musigma.plots.sprites import sprite
from musigma.plots.style import name_of, viewable
from workbench.pages.render import data_url

POINTS = 1000
"""The most images shown."""

SIDE = 31
"""The most codes along each side of the plane."""

PIXELS = {1: 800_000, 3: 1_300_000}
"""The most pixels of a sprite, by the channels of its images: about 0.3 MB as a file."""

PRIOR = 2.5
"""The extent of the plane in standard deviations of the prior, if the loss has a rate."""


def latent_explorer(run: Run, test: Encoded) -> dict[str, Any] | None:
    """Plain values for the page's script: codes, their images, and the decoded plane.

    For d > 2 the codes are shown in the two dimensions in which μ varies most, without a plane.
    None for d = 1.
    """
    d = test.mu.shape[1]
    if d == 1:
        return None
    pair = spread(test.mu).argsort(descending=True)[:2].sort().values
    count = min(len(test.mu), POINTS, _tiles(test.x))
    rows = torch.linspace(0, len(test.mu) - 1, count).long()  # evenly spaced
    codes = test.mu[rows][:, pair]
    low, high = _square(codes, uses_prior=d == 2 and run.objective().uses_prior)
    values: dict[str, Any] = {
        "names": [name_of(j) for j in pair.tolist()],
        "of": len(test.mu),
        "low": _rounded(low),
        "high": _rounded(high),
        "codes": [_rounded(code) for code in codes],
        "classes": test.y[rows].tolist() if len(test.y.unique()) > 1 else None,
        "images": _sprite(run.data.normalization.shown(test.x[rows])),
        "plane": None,
        "condition": "",
    }
    if d == 2:
        side = min(SIDE, math.isqrt(_tiles(test.x)))
        # Codes are the centres of tiles, from the top row down, as in a plot.
        centres = (torch.arange(side) + 0.5) / side
        across = (low[0] + centres * (high[0] - low[0])).expand(side, side)
        down = (high[1] - centres * (high[1] - low[1])).unsqueeze(1).expand(side, side)
        values["condition"], view = next(iter(run.model.views().items()))
        plane = run.decoded(torch.stack([across, down], 2), view)
        values["plane"] = _sprite(plane.flatten(0, 1))
    return values


def _tiles(x: Rows) -> int:
    """The number of images that fit into a sprite of `PIXELS`."""
    channels, height, width = viewable(x[:1]).shape[1:]
    return max(1, PIXELS[channels] // (height * width))


def _square(codes: Tensor, *, uses_prior: bool) -> tuple[Tensor, Tensor]:
    """The lower and upper corner of a square around codes `[N, 2]`, and the prior if used."""
    low, high = codes.amin(0), codes.amax(0)
    if uses_prior:
        low, high = low.clamp(max=-PRIOR), high.clamp(min=PRIOR)
    half = 0.52 * (high - low).max().clamp(min=1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _sprite(images: Tensor) -> dict[str, Any]:
    kind, content = sprite(images)
    height, width = images.shape[-2:]
    side = math.ceil(math.sqrt(len(images)))
    return {"source": data_url(kind, content), "side": side, "width": width, "height": height}


def _rounded(code: Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in code.tolist()]

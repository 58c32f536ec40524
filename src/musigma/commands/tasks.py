"""The tasks of a trained model: each gives arrays, and a picture where one is meant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.utils import make_grid

from musigma.commands.inputs import codes_of, images_of
from musigma.data.splits import NO_LABEL
from musigma.evaluation.encoding import LabelledImages, in_rows, of_labels
from musigma.evaluation.reconstruction import reconstruction_errors
from musigma.loading import Run
from musigma.objectives.draw import Prior
from musigma.plots.images import pair_rows, traversal_codes
from musigma.plots.style import viewable
from musigma.seeding import normal_noise
from workbench.errors import ConfigError, DataError, RunError

Code = Literal["draw", "mu"]

MOST_PIXELS = 50_000_000
"""The most pixels of a grid of images, about 7,000 a side."""
PAIRS = 80
"""The most images beside their reconstructions in a picture."""


class TaskResult(NamedTuple):
    """The result of a task: arrays by their names, and an image `[3, H, W]` in [0, 1] or None."""

    arrays: dict[str, Any]
    picture: Tensor | None


@torch.no_grad()
def encode(run: Run, source: str, label: int | None = None) -> TaskResult:
    """`mu` and `std` of images, `[N, d]` each, with what is known about them."""
    x, y, about = _images(run, source, label)
    model = run.model

    def rows_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        posterior = model.given(LabelledImages(x, y)).encode(x)
        return posterior.mu, posterior.std

    mu, std = in_rows(rows_of, x, y, device=model.device)
    _check_finite("codes", torch.cat([mu, std]))
    return TaskResult({"mu": mu.numpy(), "std": std.numpy(), **about}, None)


def decode(run: Run, source: str, label: int | None = None) -> TaskResult:
    """The mean images `x` `[N, C, H, W]` of codes in a file, and a grid of the first.

    A model that is told labels is told those in the file, or `label` of all codes.
    """
    codes, known = codes_of(Path(source), run.model)
    x = _decoded(run, codes, _labels(run, len(codes), known, label, f"{source} holds"))
    return TaskResult({"x": x.numpy()}, _grid(x[: most_in_a_grid(run.model.image_shape)]))


def sample(run: Run, count: int, seed: int, label: int | None = None) -> TaskResult:
    """A grid of the mean images of draws from the prior.

    A model that is told labels is told `label`, or each label in turn: a column for each.
    """
    check_fits(run, count, f"count={count:,}")
    views = [*run.views().values()]
    y = _labels(run, count, torch.arange(count) % len(views), label)
    codes = torch.stack([_required(view.prior).sample(count, seed=seed) for view in views])
    x = _decoded(run, codes[y, torch.arange(count)], y)
    return TaskResult({}, _grid(x, len(views) if y.unique().numel() > 1 else None))


@torch.no_grad()
def reconstruct(run: Run, source: str, z: Code, seed: int, label: int | None = None) -> TaskResult:
    """Images `x` and their reconstructions `x_hat`, with codes, errors and a picture of some."""
    x, y, about = _images(run, source, label)
    model, normalization = run.model, run.data.normalization

    def rows_of(x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        given = model.given(LabelledImages(x, y))
        if z == "mu":
            code = given.nearest(given.encode(x).mu)
            return code, given.images_of(code)
        draw = given.draw(x, noise.unsqueeze(0))
        return draw.z[0], given.likelihood.mean(draw.decoded())[0]

    noise = normal_noise(1, len(x), model.noise_dim, seed=seed)[0]
    code, x_hat = in_rows(rows_of, x, y, noise, device=model.device)
    _check_finite("images", x_hat)
    errors = reconstruction_errors(x, x_hat, normalization.to_unit)
    x, x_hat = normalization.shown(x), normalization.shown(x_hat)
    arrays = {"x": x, "x_hat": x_hat, "z": code, "l1": errors.l1, "mse": errors.mse}
    first = max(1, min(PAIRS, most_in_a_grid(model.image_shape) // 2))
    picture = pair_rows(x[:first], x_hat[:first])
    return TaskResult({name: value.numpy() for name, value in arrays.items()} | about, picture)


@torch.no_grad()
def traverse(
    run: Run, source: str, image: int, offsets: Sequence[float], label: int | None = None
) -> TaskResult:
    """Images `x` `[d, K, C, H, W]` of a code with one dimension moved at a time, a row for each.

    Of several stochastic layers the dimensions of the one that is decoded are moved. Offsets are in
    standard deviations of the prior; without one, in units of the codes. A model that is told
    labels is told the image's, or `label`.
    """
    moved = run.model.latent_dims[0]
    check_fits(run, moved * len(offsets), f"offsets: {len(offsets)} for each of {moved} dimensions")
    center, y = _center(run, source, image, label)
    prior = [*run.views().values()][int(y) if run.model.told else 0].prior
    if center is None:
        center = _required(prior).mean()
    unit = prior.std() if prior is not None else 1.0
    steps = traversal_codes(torch.zeros(run.model.latent_dim), offsets)[:moved]
    z = run.model.nearest((steps * unit + center).to(run.model.device)).cpu()
    x = _decoded(run, z.flatten(0, 1), y.expand(moved * len(offsets)))
    arrays = {"x": x.unflatten(0, z.shape[:2]).numpy(), "z": z.numpy()}
    return TaskResult({**arrays, "offsets": np.asarray(offsets)}, _grid(x, len(offsets)))


def _center(run: Run, source: str, image: int, label: int | None) -> tuple[Tensor | None, Tensor]:
    """An image's mu `[d]` to traverse around, or None for the prior's mean; and its label `[1]`."""
    if source == "prior":
        return None, _labels(run, 1, None, label, "the prior has")
    x, y, _ = _images(run, source, label)
    if image >= len(x):
        raise DataError(f"image={image}: input={source} holds {len(x)} images, counted from 0")
    x, y = x[image : image + 1], y[image : image + 1]
    one = LabelledImages(x.to(run.model.device), y.to(run.model.device))
    mu = run.model.given(one).encode(one.x).mu.cpu()
    _check_finite("codes", mu)
    return mu[0], y


def _images(run: Run, source: str, label: int | None) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Images, their labels, and what is known about them or said of them."""
    x, about = images_of(run.data, source)
    known = torch.as_tensor(about["label"]) if "label" in about else None
    if known is not None and label is not None:
        raise ConfigError(f"label={label}: the images of input={source} have labels of their own")
    y = _labels(run, len(x), known, label, f"input={source} holds")
    return x, y, {**about, "label": y.numpy()} if run.model.told else about


def _labels(
    run: Run, count: int, known: Tensor | None, label: int | None, whose: str = ""
) -> Tensor:
    """The labels `[count]` that are known, or `label` for all; −1 where nobody needs them."""
    if label is not None:
        y = torch.full((count,), label)
    elif known is not None:
        y = known
    elif run.model.told:
        raise DataError(f"{whose} no labels, and this model is told them: set label=...")
    else:
        y = torch.full((count,), NO_LABEL)
    run.model.check(y)
    return y


def _decoded(run: Run, codes: Tensor, y: Tensor) -> Tensor:
    """The mean images of codes `[N, d]` of labels `[N]`, on the [0, 1] scale."""

    def rows_of(codes: Tensor, y: Tensor) -> tuple[Tensor]:
        return (run.decoded(codes, of_labels(run.model, y)),)

    (x,) = in_rows(rows_of, codes, y, device=run.model.device)
    _check_finite("images", x)
    return x


def check_fits(run: Run, count: int, setting: str) -> None:
    """Raise a ConfigError if that many images are more than a grid holds."""
    if count > (most := most_in_a_grid(run.model.image_shape)):
        raise ConfigError(
            f"{setting}: a grid of images of this size holds at most {most:,}. Ask for fewer at "
            "once, with another seed or other offsets each time."
        )


def _required(prior: Prior | None) -> Prior:
    if prior is None:
        raise RunError(
            "this model was trained without a rate: nothing holds its codes to the prior, so "
            "samples from it mean nothing, and neither does its mean"
        )
    return prior


def most_in_a_grid(image_shape: Sequence[int]) -> int:
    """The most images in a grid that viewers open without asking."""
    _, height, width = image_shape
    return max(1, MOST_PIXELS // ((height + 1) * (width + 1)))


def _check_finite(what: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise RunError(f"The model gives {what} that are not finite: training had diverged.")


def _grid(x: Tensor, columns: int | None = None) -> Tensor:
    """Images `[N, C, H, W]` in [0, 1] as one, `[3, H, W]`; about as many rows as columns."""
    columns = columns or max(1, round(len(x) ** 0.5))
    return make_grid(viewable(x), nrow=columns, padding=1, pad_value=0.5)

"""The tasks of `predict`: each returns arrays, a picture, or both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.utils import make_grid

from musigma.commands.inputs import codes_of, images_of
from musigma.data.splits import NO_LABEL
from musigma.evaluation.encoding import LabelledImages, given_labels, in_chunks
from musigma.evaluation.reconstruction import reconstruction_errors
from musigma.loading import Run
from musigma.objectives.draw import Prior
from musigma.plots.images import pair_rows, traversal_codes
from musigma.plots.style import viewable
from musigma.seeding import normal_noise
from workbench.errors import ConfigError, DataError, RunError

Code = Literal["draw", "mu"]

MOST_PIXELS = 50_000_000
"""The most pixels of a picture, about 7,000 on each side."""

PAIRS = 80
"""The most images that a picture shows with their reconstructions."""


class TaskResult(NamedTuple):
    """The result of a task: arrays by name, and a picture `[3, H, W]` in [0, 1] or None."""

    arrays: dict[str, Any]
    picture: Tensor | None


@torch.no_grad()
def encode(run: Run, source: str, label: int | None = None) -> TaskResult:
    """Encode images: `mu` and `std`, `[N, d]` each, and labels or file names."""
    x, y, about = _images(run, source, label)
    model = run.model

    def rows_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        posterior = model.given(LabelledImages(x, y)).encode(x)
        return posterior.mu, posterior.std

    mu, std = in_chunks(rows_of, x, y, device=model.device)
    _check_finite("codes", torch.cat([mu, std]))
    return TaskResult({"mu": mu.numpy(), "std": std.numpy(), **about}, None)


def decode(run: Run, source: str, label: int | None = None) -> TaskResult:
    """Decode the codes in a file: mean images `x` `[N, C, H, W]`, and a picture of the first.

    A model conditioned on labels takes the labels in the file, or `label` for all codes.
    """
    codes, labels = codes_of(Path(source), run.model)
    x = _decoded(run, codes, _labels(run, len(codes), labels, label, f"{source} holds"))
    return TaskResult({"x": x.numpy()}, _grid(x[: most_in_a_grid(run.model.image_shape)]))


def sample(run: Run, count: int, seed: int, label: int | None = None) -> TaskResult:
    """Decode draws from the prior: a picture of mean images.

    A model conditioned on labels takes `label`, or each label in turn, with a column for each.
    """
    check_fits(run, count, f"count={count:,}")
    views = [*run.views().values()]
    y = _labels(run, count, torch.arange(count) % len(views), label)
    codes = torch.stack([_required(view.prior).sample(count, seed=seed) for view in views])
    x = _decoded(run, codes[y, torch.arange(count)], y)
    return TaskResult({}, _grid(x, len(views) if y.unique().numel() > 1 else None))


@torch.no_grad()
def reconstruct(run: Run, source: str, z: Code, seed: int, label: int | None = None) -> TaskResult:
    """Reconstruct images: `x`, `x_hat`, codes, errors, and a picture of the first."""
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
    code, x_hat = in_chunks(rows_of, x, y, noise, device=model.device)
    _check_finite("images", x_hat)
    observed = model.likelihood.observed(x)
    errors = reconstruction_errors(x, x_hat, normalization.to_unit, observed)
    x, x_hat = normalization.shown(x), normalization.shown(x_hat)
    arrays = {"x": x, "x_hat": x_hat, "z": code, "l1": errors.l1, "mse": errors.mse}
    first = max(1, min(PAIRS, most_in_a_grid(model.image_shape) // 2))
    picture = pair_rows(x[:first], x_hat[:first])
    return TaskResult({name: value.numpy() for name, value in arrays.items()} | about, picture)


@torch.no_grad()
def traverse(
    run: Run, source: str, image: int, offsets: Sequence[float], label: int | None = None
) -> TaskResult:
    """Move a code along one dimension at a time: images `x` `[d, K, C, H, W]`, and a picture.

    With several stochastic layers only the dimensions of the decoded one are moved. Offsets are in
    standard deviations of the prior, or without a prior in units of the codes. A model conditioned
    on labels takes the image's label, or `label`.
    """
    moved = run.model.latent_dims[0]
    check_fits(run, moved * len(offsets), f"offsets: {len(offsets)} for each of {moved} dimensions")
    center, y = _center(run, source, image, label)
    prior = [*run.views().values()][int(y) if run.model.conditioned_on else 0].prior
    if center is None:
        center = _required(prior).mean()
    unit = prior.std() if prior is not None else 1.0
    steps = traversal_codes(torch.zeros(run.model.latent_dim), offsets)[:moved]
    z = run.model.nearest((steps * unit + center).to(run.model.device)).cpu()
    x = _decoded(run, z.flatten(0, 1), y.expand(moved * len(offsets)))
    arrays = {"x": x.unflatten(0, z.shape[:2]).numpy(), "z": z.numpy()}
    return TaskResult({**arrays, "offsets": np.asarray(offsets)}, _grid(x, len(offsets)))


def _center(run: Run, source: str, image: int, label: int | None) -> tuple[Tensor | None, Tensor]:
    """The centre of a traversal: an image's mu `[d]`, or None for the prior; its label `[1]`."""
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
    """Images, the labels that the model takes, and the arrays `label` or `name` to write."""
    x, about = images_of(run.data, source)
    labels = torch.as_tensor(about["label"]) if "label" in about else None
    if labels is not None and label is not None:
        raise ConfigError(f"label={label}: the images of input={source} have labels of their own")
    y = _labels(run, len(x), labels, label, f"input={source} holds")
    return x, y, {**about, "label": y.numpy()} if run.model.conditioned_on else about


def _labels(
    run: Run, count: int, labels: Tensor | None, label: int | None, subject: str = ""
) -> Tensor:
    """`label` for all `[count]`, or else `labels`; −1 if there are none and none are needed.

    An error message begins with `subject`, the source of the labels and a verb.
    """
    if label is not None:
        y = torch.full((count,), label)
    elif labels is not None:
        y = labels
    elif run.model.conditioned_on:
        raise DataError(f"{subject} no labels, and this model needs them: set label=...")
    else:
        y = torch.full((count,), NO_LABEL)
    run.model.check(y)
    return y


def _decoded(run: Run, codes: Tensor, y: Tensor) -> Tensor:
    """The mean images of codes `[N, d]` with labels `[N]`, on the [0, 1] scale."""

    def rows_of(codes: Tensor, y: Tensor) -> tuple[Tensor]:
        return (run.decoded(codes, given_labels(run.model, y)),)

    (x,) = in_chunks(rows_of, codes, y, device=run.model.device)
    _check_finite("images", x)
    return x


def check_fits(run: Run, count: int, setting: str) -> None:
    """Raise a ConfigError if a picture cannot hold that many images."""
    if count > (most := most_in_a_grid(run.model.image_shape)):
        raise ConfigError(
            f"{setting}: a grid of images of this size holds at most {most:,}; make the rest "
            "with another command, with another seed or other offsets"
        )


def _required(prior: Prior | None) -> Prior:
    """The prior; raises a RunError if there is none."""
    if prior is None:
        raise RunError(
            "this model was trained without a rate, so nothing ties its codes to the prior: "
            "samples from the prior and its mean are meaningless"
        )
    return prior


def most_in_a_grid(image_shape: Sequence[int]) -> int:
    """The number of images in a picture of `MOST_PIXELS`, which viewers open without asking."""
    _, height, width = image_shape
    return max(1, MOST_PIXELS // ((height + 1) * (width + 1)))


def _check_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise RunError(f"The model gives {name} that are not finite: training had diverged.")


def _grid(x: Tensor, columns: int | None = None) -> Tensor:
    """Images `[N, C, H, W]` in [0, 1] as one picture, `[3, H, W]`; by default about square."""
    columns = columns or max(1, round(len(x) ** 0.5))
    return make_grid(viewable(x), nrow=columns, padding=1, pad_value=0.5)

"""The tasks of `predict`, whose docstring describes the arrays and the pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from musigma.commands.grids import check_fits, grid_of, most_in_a_grid
from musigma.commands.inputs import codes_of, images_of, labels_for
from musigma.evaluation.conditions import LabelledImages, given_labels
from musigma.evaluation.encoding import in_chunks
from musigma.evaluation.reconstruction import reconstruction_errors
from musigma.loading import Run
from musigma.models.priors import Prior
from musigma.plots.images import pair_rows, traversal_codes
from musigma.seeding import normal_noise
from musigma.settings import Code
from workbench.errors import DataError, RunError

PAIRS = 80
"""The most images that a picture shows with their reconstructions."""


class TaskResult(NamedTuple):
    """The result of a task: arrays by name, and a picture `[3, H, W]` in [0, 1] or None."""

    arrays: dict[str, Any]
    picture: Tensor | None


@torch.no_grad()
def encode(run: Run, input: str, label: int | None = None) -> TaskResult:
    """Encode images."""
    x, y, about = images_of(run, input, label)
    model = run.model

    def rows_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        posterior = model.given(LabelledImages(x, y)).encode(x)
        return posterior.mu, posterior.std

    mu, std = in_chunks(rows_of, x, y, device=model.device)
    _check_finite("codes", torch.cat([mu, std]))
    return TaskResult({"mu": mu.numpy(), "std": std.numpy(), **about}, None)


def decode(run: Run, input: str, label: int | None = None) -> TaskResult:
    """Decode the codes in a file, with the labels in the file or `label`."""
    codes, labels = codes_of(Path(input), run.model)
    x = _decoded(run, codes, labels_for(run, len(codes), labels, label, f"{input} holds"))
    return TaskResult({"x": x.numpy()}, grid_of(x[: most_in_a_grid(run.model.image_shape)]))


def sample(run: Run, count: int, seed: int, label: int | None = None) -> TaskResult:
    """Decode draws from the prior; if labels take turns, with a column for each."""
    check_fits(run.model.image_shape, count, f"count={count:,}")
    views = [*run.views().values()]
    y = labels_for(run, count, torch.arange(count) % len(views), label)
    codes = torch.stack([_required(view.prior).sample(count, seed=seed) for view in views])
    x = _decoded(run, codes[y, torch.arange(count)], y)
    return TaskResult({}, grid_of(x, len(views) if y.unique().numel() > 1 else None))


@torch.no_grad()
def reconstruct(run: Run, input: str, z: Code, seed: int, label: int | None = None) -> TaskResult:
    """Reconstruct images from a draw of z or from mu."""
    x, y, about = images_of(run, input, label)
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
    run: Run, input: str, image: int, offsets: Sequence[float], label: int | None = None
) -> TaskResult:
    """Move a code along one dimension at a time, with the image's label or `label`.

    Offsets are in standard deviations of the prior, or without a prior in units of the codes.
    """
    moved = run.model.latent_dims[0]
    setting = f"offsets: {len(offsets)} for each of {moved} dimensions"
    check_fits(run.model.image_shape, moved * len(offsets), setting)
    center, y = _center(run, input, image, label)
    prior = [*run.views().values()][int(y) if run.model.conditioned_on else 0].prior
    if center is None:
        center = _required(prior).mean()
    unit = prior.std() if prior is not None else 1.0
    steps = traversal_codes(torch.zeros(run.model.latent_dim), offsets)[:moved]
    z = run.model.nearest((steps * unit + center).to(run.model.device)).cpu()
    x = _decoded(run, z.flatten(0, 1), y.expand(moved * len(offsets)))
    arrays = {"x": x.unflatten(0, z.shape[:2]).numpy(), "z": z.numpy()}
    return TaskResult({**arrays, "offsets": np.asarray(offsets)}, grid_of(x, len(offsets)))


def _center(run: Run, input: str, image: int, label: int | None) -> tuple[Tensor | None, Tensor]:
    """The centre of a traversal: an image's mu `[d]`, or None for the prior; its label `[1]`."""
    if input == "prior":
        return None, labels_for(run, 1, None, label, "the prior has")
    x, y, _ = images_of(run, input, label)
    if image >= len(x):
        raise DataError(f"image={image}: input={input} holds {len(x)} images, counted from 0")
    x, y = x[image : image + 1], y[image : image + 1]
    one = LabelledImages(x, y).to(run.model.device)
    mu = run.model.given(one).encode(one.x).mu.cpu()
    _check_finite("codes", mu)
    return mu[0], y


def _decoded(run: Run, codes: Tensor, y: Tensor) -> Tensor:
    """The mean images of codes `[N, d]` with labels `[N]`, on the [0, 1] scale."""

    def rows_of(codes: Tensor, y: Tensor) -> tuple[Tensor]:
        return (run.decoded(codes, given_labels(run.model, y)),)

    (x,) = in_chunks(rows_of, codes, y, device=run.model.device)
    _check_finite("images", x)
    return x


def _required(prior: Prior | None) -> Prior:
    """The prior; raises a RunError if there is none."""
    if prior is None:
        raise RunError(
            "this model was trained without a rate, so nothing ties its codes to the prior: "
            "samples from the prior and its mean are meaningless"
        )
    return prior


def _check_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise RunError(f"The model gives {name} that are not finite: training had diverged.")

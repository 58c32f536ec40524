"""The errors of reconstructions."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class ReconstructionErrors(NamedTuple):
    """Errors of B images, `[B]` each.

    Args:
        l1: mean absolute error per pixel, in the data's own (normalised) scale.
        mse: mean squared error per pixel, in that scale.
        psnr: peak signal-to-noise ratio, in dB, on the [0, 1] scale with a peak of 1.
    """

    l1: Tensor
    mse: Tensor
    psnr: Tensor


class ClassMeans(NamedTuple):
    """Means over the images of each of C classes, `[C]` each.

    Args:
        label: the classes, ascending.
        mean: the mean of each class.
        error: the standard error of the mean; NaN for a class of one image.
    """

    label: Tensor
    mean: Tensor
    error: Tensor


def reconstruction_errors(
    x: Tensor,
    x_hat: Tensor,
    to_unit: Callable[[Tensor], Tensor],
    observed: Tensor | None = None,
) -> ReconstructionErrors:
    """Errors of the reconstruction of each image.

    PSNR is −10 log₁₀ of the mean squared error on the [0, 1] scale, without clipping; infinite for
    a perfect reconstruction.

    Args:
        x: normalised images, `[B, C, H, W]`.
        x_hat: their reconstructions, `[B, C, H, W]`.
        to_unit: normalised pixels → the [0, 1] scale, such as `Normalization.to_unit`.
        observed: a mask of the pixels that count, as x; None for all.
    """
    difference = (x_hat - x).flatten(1).double()
    on_unit_scale = (to_unit(x_hat) - to_unit(x)).flatten(1).double()
    return ReconstructionErrors(
        l1=_mean_over_pixels(difference.abs(), observed),
        mse=_mean_over_pixels(difference.square(), observed),
        psnr=-10 * _mean_over_pixels(on_unit_scale.square(), observed).log10(),
    )


def pixel_errors(x: Tensor, x_hat: Tensor, observed: Tensor | None) -> dict[str, Tensor]:
    """`l1` and `mse` of each image, `[B]` each, averaged over K reconstructions and pixels.

    Args:
        x: normalised images, `[B, C, H, W]`.
        x_hat: their reconstructions, `[K, B, C, H, W]`.
        observed: a mask of the pixels that count, as x; None for all.
    """
    error = (x_hat - x).flatten(2).abs_()
    l1 = _mean_over_pixels(error, observed).mean(0)
    return {"l1": l1, "mse": _mean_over_pixels(error.mul_(error), observed).mean(0)}


def _mean_over_pixels(error: Tensor, observed: Tensor | None) -> Tensor:
    """`[..., B, P]` → `[..., B]`: the mean over a mask's pixels `[B, C, H, W]`, or over all."""
    if observed is None:
        return error.mean(-1)
    counts = observed.flatten(1).to(error.dtype)
    return (error * counts).sum(-1) / counts.sum(-1).clamp(min=1)


def class_means(values: Tensor, y: Tensor) -> ClassMeans:
    """Means by class of one value per image, `[B]`, with labels `[B]`."""
    labels = y.unique()
    groups = [values[y == label] for label in labels]
    means = [group.mean() for group in groups]
    errors = [
        group.std() / len(group) ** 0.5 if len(group) > 1 else group.new_tensor(float("nan"))
        for group in groups
    ]
    return ClassMeans(labels, values.new_tensor(means), values.new_tensor(errors))


def worst(errors: Tensor, count: int) -> Tensor:
    """The indices of the `count` largest errors of `[B]`, largest first; all if B is smaller.

    Of equal errors the earlier image comes first.
    """
    return errors.argsort(descending=True, stable=True)[:count]

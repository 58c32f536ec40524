"""Uses of a trained model: codes of images, images of codes, and new images."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from musigma.data import ImageDataModule
from musigma.data.image_files import is_image_file, read_files
from musigma.data.splits import NO_LABEL
from musigma.evaluation.encoding import in_rows
from musigma.loading import Run, load_run
from musigma.models import Autoencoder
from musigma.plots.style import viewable
from musigma.seeding import FIXED_SEED, normal_noise
from workbench.console import set_up_logging
from workbench.errors import ConfigError, DataError, RunError
from workbench.links import is_special
from workbench.runs.output import check_writable, written_together
from workbench.runs.resume import find_run

MOST_PIXELS = 50_000_000
"""The most pixels of a grid of images, about 7,000 a side."""


def predict(
    task: Literal["encode", "decode", "sample"],
    run: str,
    runs: Path,
    *,
    checkpoint: str,
    input: str,
    count: int,
    seed: int,
    output: str | None,
    data: Mapping[str, Any] | None = None,
) -> Path:
    """Do a task with a run's model and write the results; returns the file.

    `encode` writes `mu` and `std` `[N, d]` and, if known, `label` or `name` `[N]`; `decode` writes
    `x` `[N, C, H, W]` on the [0, 1] scale and a grid of the first; `sample` writes a grid alone.

    Args:
        task: what to do.
        run: a run folder, or `latest`.
        runs: where `latest` looks.
        checkpoint: `best` or `last`.
        input: `test`, `val` or a folder of images to encode; an `.npz` with `z` or `mu` to decode.
        count: how many images to sample.
        seed: of their codes.
        output: a new file to write, whose folder exists; by default one in `predictions/` in the
            run folder, where it may replace an earlier one.
        data: where the run's data are; see `load_run`.

    Raises:
        ConfigError: if `output` has the wrong ending, or `count` is more than a grid holds.
        RunError: if the folder is not a run, or has no prior to sample from, or the output cannot
            be written.
        DataError: if the input is missing, damaged or of another shape.
    """
    set_up_logging()
    folder = find_run(run, runs).path
    path = _file(task, output, folder / "predictions")
    opened = load_run(folder, checkpoint, data)
    if task == "encode":
        _write(path, encode(opened.model, *_images(opened.data, input)))
        return path
    most = most_in_a_grid(opened.model.image_shape)
    if task == "sample" and count > most:
        raise ConfigError(
            f"count={count:,}: a grid of images of this size holds at most {most:,}. Sample fewer "
            "at once, with another seed each time."
        )
    z = _codes(Path(input), opened.model) if task == "decode" else _prior_codes(opened, count, seed)
    (x,) = in_rows(lambda rows: (opened.decoded(rows),), z)
    _check_finite("images", x)
    _write(path, {"x": x.numpy()} if task == "decode" else {}, grid=x[:most])
    return path


def _file(task: str, output: str | None, own: Path) -> Path:
    """The file to write, which can be written.

    Raises:
        ConfigError: if `output` has the wrong ending.
        RunError: if it cannot be written, or is there already.
    """
    ending = ".png" if task == "sample" else ".npz"
    path = Path(output) if output else own / f"{task}{ending}"
    if path.suffix != ending:
        raise ConfigError(f"output={output}: task={task} writes a file that ends in {ending}")
    paths = [path, path.with_suffix(".png")] if task == "decode" else [path]
    check_writable(paths)
    if output and not path.parent.is_dir():
        raise RunError(f"output={output}: there is no folder {path.parent}: make it first.")
    if there := [str(one) for one in paths if output and os.path.lexists(one)]:
        raise RunError(f"output={output}: {there[0]} is there already: remove it, or name another.")
    return path


def _write(path: Path, arrays: Mapping[str, Any], grid: Tensor | None = None) -> None:
    with written_together(path.parent) as beside:
        if arrays:
            np.savez(beside / path.name, **arrays)
        if grid is not None:
            _write_grid(grid, beside / path.with_suffix(".png").name)


@torch.no_grad()
def encode(model: Autoencoder, x: Tensor, about: dict[str, Any]) -> dict[str, Any]:
    """`mu` and `std` of images `[N, C, H, W]`, `[N, d]` each, with what is known about them."""
    mu, std = in_rows(lambda rows: tuple(model.encode(rows)), x)
    _check_finite("codes", torch.cat([mu, std]))
    return {"mu": mu.numpy(), "std": std.numpy(), **about}


def _images(data: ImageDataModule, source: str) -> tuple[Tensor, dict[str, Any]]:
    """Normalised images and what is known about them."""
    if source not in ("test", "val"):
        folder = Path(source)
        if not source or not folder.is_dir():
            raise DataError(f"input={source} is not a folder of images")
        if not (paths := sorted(filter(is_image_file, folder.iterdir()))):
            raise DataError(f"{folder} holds no image files")
        pixels = data.normalization.prepare(
            read_files(paths, data.image_shape, resize=data.resizes)
        )
        generator = torch.Generator().manual_seed(FIXED_SEED)
        return data.normalization(pixels, generator), {"name": [path.name for path in paths]}
    data.prepare_data()
    data.setup("test" if source == "test" else "fit")
    loader = data.test_dataloader() if source == "test" else data.val_dataloader()
    if isinstance(loader, list):
        raise DataError("this run held no images out for validation: data.val_size is 0")
    x, y = loader.tensors()
    return x, {"label": y.numpy()} if NO_LABEL not in y else {}


def _codes(path: Path, model: Autoencoder) -> Tensor:
    try:
        if is_special(path):
            raise ValueError("it is neither a file nor a folder")
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is not an archive of arrays")
        with np.load(path, allow_pickle=False) as arrays:
            if not {"z", "mu"} & {*arrays}:
                raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}")
            codes = np.asarray(arrays["z" if "z" in arrays else "mu"])
    except Exception as error:  # archives are damaged in many ways
        raise DataError(f"{path} cannot be read as an .npz with z or mu: {error}") from error
    if codes.dtype.kind not in "fiu":
        raise DataError(f"{path} holds codes of type {codes.dtype}, and the model takes floats")
    if codes.ndim != 2 or codes.shape[1] != model.latent_dim or len(codes) == 0:
        raise DataError(
            f"{path} holds codes of shape {list(codes.shape)}, and the model takes "
            f"[N, {model.latent_dim}]"
        )
    with np.errstate(over="ignore"):  # of what is too large for 32 bits, and not finite then
        z = torch.from_numpy(codes.astype(np.float32))
    finite = z.isfinite().all(1)
    if not finite.all():
        raise DataError(f"{path}: code {int((~finite).nonzero()[0])} is not finite in 32 bits")
    return z


def _prior_codes(run: Run, count: int, seed: int) -> Tensor:
    if not run.objective().uses_prior:
        raise RunError(
            "this model was trained without a rate: nothing holds its codes to N(0, I), so "
            "samples from it mean nothing"
        )
    return normal_noise(count, run.model.latent_dim, seed=seed)


def most_in_a_grid(image_shape: Sequence[int]) -> int:
    """The most images in a grid that viewers open without asking."""
    _, height, width = image_shape
    return max(1, MOST_PIXELS // ((height + 1) * (width + 1)))


def _check_finite(what: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise RunError(f"The model gives {what} that are not finite: training had diverged.")


def _write_grid(x: Tensor, path: Path) -> None:
    columns = max(1, round(len(x) ** 0.5))
    grid = make_grid(viewable(x), nrow=columns, padding=1, pad_value=0.5)
    Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy()).save(path)

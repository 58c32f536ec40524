"""What a trained model is used for: codes of images, images of codes, and new images."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from musigma.console import set_up_logging
from musigma.data import ImageDataModule
from musigma.data.datamodule import NO_LABEL
from musigma.data.image_files import is_image_file, read_files
from musigma.data.normalization import FIXED_SEED
from musigma.errors import DataError, RunError
from musigma.figures.style import viewable
from musigma.models import Autoencoder
from musigma.runs.load import Run, load_run
from musigma.runs.resume import find_run
from musigma.seeding import normal_noise

ROWS = 2_000
"""Images encoded or decoded at once."""


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
) -> Path:
    """Do a task with a run's model and write what it gives; returns where.

    `encode` writes `mu` and `std` `[N, d]` and, if known, `label` or `name` `[N]`; `decode` writes
    `x` `[N, C, H, W]` on the [0, 1] scale and a grid of it; `sample` writes a grid alone.

    Args:
        task: what to do.
        run: a run folder, or `latest`.
        runs: where `latest` looks.
        checkpoint: `best` or `last`.
        input: `test`, `val` or a folder of images to encode; an `.npz` with `z` or `mu` to decode.
        count: how many images to sample.
        seed: of their codes.
        output: where to write; by default `predictions/` in the run folder.

    Raises:
        RunError: if the folder is no run, or it has no prior to sample from.
        DataError: if the input is missing, damaged or of another shape.
    """
    set_up_logging()
    folder = find_run(run, runs).path
    opened = load_run(folder, checkpoint)
    ending = "png" if task == "sample" else "npz"
    path = Path(output) if output else folder / "predictions" / f"{task}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if task == "encode":
        np.savez(path, **encode(opened.model, *_images(opened.data, input)))
        return path
    z = _codes(Path(input), opened.model) if task == "decode" else _prior_codes(opened, count, seed)
    x = torch.cat([opened.decoded(rows) for rows in z.split(ROWS)])
    if task == "decode":
        np.savez(path, x=x.numpy())
    _write_grid(x, path.with_suffix(".png"))
    return path


@torch.no_grad()
def encode(model: Autoencoder, x: Tensor, about: dict[str, Any]) -> dict[str, Any]:
    """`mu` and `std` of images `[N, C, H, W]`, `[N, d]` each, beside what is known about them."""
    posteriors = [model.encode(rows) for rows in x.split(ROWS)]
    mu = torch.cat([posterior.mu for posterior in posteriors])
    std = torch.cat([posterior.std for posterior in posteriors])
    return {"mu": mu.numpy(), "std": std.numpy(), **about}


def _images(data: ImageDataModule, source: str) -> tuple[Tensor, dict[str, Any]]:
    """Normalised images and what is known about them."""
    if source not in ("test", "val"):
        folder = Path(source)
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder of images")
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
    x, y = loader.dataset.tensors
    return x, {"label": y.numpy()} if NO_LABEL not in y else {}


def _codes(path: Path, model: Autoencoder) -> Tensor:
    try:
        with np.load(path) as arrays:
            name = "z" if "z" in arrays else "mu"
            z = torch.from_numpy(arrays[name]).float()
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an .npz with z or mu: {error}") from error
    if z.ndim != 2 or z.shape[1] != model.latent_dim:
        raise DataError(
            f"{path} holds codes of shape {list(z.shape)}, and the model takes "
            f"[N, {model.latent_dim}]"
        )
    return z


def _prior_codes(run: Run, count: int, seed: int) -> Tensor:
    if not run.objective().uses_prior:
        raise RunError(
            "this model was trained without a rate: nothing holds its codes to N(0, I), so "
            "samples from it mean nothing"
        )
    return normal_noise(count, run.model.latent_dim, seed=seed)


def _write_grid(x: Tensor, path: Path) -> None:
    columns = max(1, round(len(x) ** 0.5))
    grid = make_grid(viewable(x), nrow=columns, padding=1, pad_value=0.5)
    Image.fromarray((grid * 255).round().byte().permute(1, 2, 0).numpy()).save(path)

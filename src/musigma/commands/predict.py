"""Uses of a trained model: codes, reconstructions, images of codes, traversals, new images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from musigma.commands import tasks
from musigma.loading import load_run
from workbench.console import set_up_logging
from workbench.devices import exact_device
from workbench.errors import ConfigError, RunError
from workbench.runs.output import check_no_other_run, check_writable, written_together
from workbench.runs.resume import find_run

Task = Literal["encode", "decode", "sample", "reconstruct", "traverse"]

OFFSETS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
USES = {
    "encode": {"input"},
    "decode": {"input"},
    "sample": {"count", "seed"},
    "reconstruct": {"input", "z", "seed"},
    "traverse": {"input", "image", "offsets"},
}
"""The settings that each task uses, of those that not every task does."""
DEFAULTS = {"input": "test", "count": 64, "seed": 0, "z": "draw", "image": 0, "offsets": OFFSETS}
"""Their values where none is given, as in `configs/predict.yaml`."""


def predict(
    task: Task,
    run: str,
    runs: Path,
    *,
    checkpoint: str,
    input: str,
    count: int = 64,
    seed: int = 0,
    output: str | None = None,
    z: tasks.Code = "draw",
    image: int = 0,
    offsets: Sequence[float] = OFFSETS,
    label: int | None = None,
    data: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Path:
    """Do a task with a run's model and write the results; returns the file.

    `encode` writes `mu` and `std` `[N, d]` and, if known, `label` or `name` `[N]`; `decode` writes
    `x` `[N, C, H, W]` on the [0, 1] scale and a grid of the first; `sample` writes a grid alone.
    `reconstruct` writes `x` and `x_hat` `[N, C, H, W]` on the [0, 1] scale, the code `z` `[N, d]`
    that was decoded, and `l1` and `mse` `[N]` per pixel in the data's own scale, with a picture of
    the first. `traverse` writes `x` `[d, K, C, H, W]` and its codes `z` `[d, K, d]`: a code with
    each dimension in turn moved by each of K `offsets`, of several stochastic layers those of the
    one that is decoded; and a picture, a row a dimension.

    Args:
        task: what to do.
        run: a run folder, or `latest`.
        runs: where `latest` looks.
        checkpoint: `best`, `last`, or another; see `load_run`.
        input: images: `test`, `val`, a folder of image files, one, or a file of tensors; for
            `traverse` also `prior`, the prior's mean. To decode, an `.npz` with `z` or `mu`.
        count: how many images to sample.
        seed: of their codes, or of the draws that are reconstructed from; 0 draws as `evaluate`.
        output: a new file to write, whose folder exists; by default one in `predictions/` in the
            run folder, where it may replace an earlier one.
        z: the code that is reconstructed from, a draw or the posterior's mean.
        image: the one of the input's images whose mu is traversed around, counted from 0.
        offsets: the moves of a traversal, in units of the codes.
        label: for a model that is told labels, that of all images or codes that have none of their
            own; to decode, and to sample instead of each in turn, in any case.
        data: where the run's data are; see `load_run`.
        device: where the model is, see `load_run`; the draws are the same on every device.

    Raises:
        ConfigError: if this machine lacks the device, the task or the model does not use a setting,
            `output` has the wrong ending, or a grid would hold too many images.
        RunError: if the folder is not a run, or has no prior to sample from, or the output cannot
            be written.
        DataError: if the input is missing, damaged, of another shape, or without the labels that
            the model is told.
    """
    set_up_logging()
    _check_used(task, input=input, count=count, seed=seed, z=z, image=image, offsets=offsets)
    device = str(exact_device(device))
    folder = find_run(run, runs).path
    path = _file(task, output, folder / "predictions")
    opened = load_run(folder, checkpoint, data, device)
    opened.data.device = torch.device("cpu")  # whatever the model's: its draws are the same
    if label is not None and not opened.model.told:
        raise ConfigError(f"label={label}: this model is told nothing of an image; leave it out")
    if task == "encode":
        done = tasks.encode(opened, input, label)
    elif task == "decode":
        done = tasks.decode(opened, input, label)
    elif task == "sample":
        done = tasks.sample(opened, count, seed, label)
    elif task == "reconstruct":
        done = tasks.reconstruct(opened, input, z, seed, label)
    else:
        done = tasks.traverse(opened, input, image, offsets, label)
    _write(path, done)
    return path


def _check_used(task: Task, **given: Any) -> None:
    """Raise a ConfigError if the task does not use what is given."""
    if given["input"] == "prior" and task != "traverse":
        raise ConfigError(f"input=prior is for task=traverse, and not for task={task}")
    if given["input"] == "prior" and given["image"]:
        raise ConfigError(f"image={given['image']}: input=prior has no images; leave one out")
    for name, value in {**given, "offsets": tuple(given["offsets"])}.items():
        if name not in USES[task] and value != DEFAULTS[name]:
            users = " or ".join(f"task={other}" for other in USES if name in USES[other])
            raise ConfigError(f"{name}={value} is for {users}, and not for task={task}")


def _file(task: str, output: str | None, own: Path) -> Path:
    """The file to write, which can be written.

    Raises:
        ConfigError: if `output` has the wrong ending.
        RunError: if it cannot be written, is there already, or is in another run's folder.
    """
    ending = ".png" if task == "sample" else ".npz"
    path = Path(output) if output else own / f"{task}{ending}"
    if path.suffix != ending:
        raise ConfigError(f"output={output}: task={task} writes a file that ends in {ending}")
    paths = [path] if task in ("encode", "sample") else [path, path.with_suffix(".png")]
    check_writable(paths)
    check_no_other_run(path, own)
    if output and not path.parent.is_dir():
        raise RunError(f"output={output}: there is no folder {path.parent}: make it first.")
    if there := [str(one) for one in paths if output and os.path.lexists(one)]:
        raise RunError(f"output={output}: {there[0]} is there already: remove it, or name another.")
    return path


def _write(path: Path, done: tasks.TaskResult) -> None:
    with written_together(path.parent) as beside:
        if done.arrays:
            np.savez(beside / path.name, **done.arrays)
        if done.picture is not None:
            pixels = (done.picture * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(beside / path.with_suffix(".png").name)

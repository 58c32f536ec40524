"""Apply a trained model: encode, decode, sample, reconstruct, traverse."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from musigma.commands import tasks
from musigma.loading import load_run
from musigma.settings import Code, Task
from workbench.console import set_up_logging
from workbench.devices import exact_device
from workbench.errors import ConfigError, RunError
from workbench.runs.output import check_no_other_run, check_writable, written_together
from workbench.runs.resume import find_run

OFFSETS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
TASKS: Mapping[Task, Callable[..., tasks.TaskResult]] = {
    "encode": tasks.encode,
    "decode": tasks.decode,
    "sample": tasks.sample,
    "reconstruct": tasks.reconstruct,
    "traverse": tasks.traverse,
}
"""Task → its function, whose arguments besides the run are the settings that it uses."""


def predict(
    task: Task,
    run: str,
    runs: Path,
    *,
    checkpoint: str,
    input: str = "test",
    count: int = 64,
    seed: int = 0,
    output: str | None = None,
    z: Code = "draw",
    image: int = 0,
    offsets: Sequence[float] = OFFSETS,
    label: int | None = None,
    data: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Path:
    """Apply a run's model and write the results; return the path of the file.

    - `encode` writes `mu` and `std` `[N, d]` and, if known, `label` or `name` `[N]`.
    - `decode` writes `x` `[N, C, H, W]` on the [0, 1] scale, and a picture of the first images.
    - `sample` writes a picture only.
    - `reconstruct` writes `x` and `x_hat` `[N, C, H, W]` on the [0, 1] scale, the decoded code `z`
      `[N, d]`, `l1` and `mse` `[N]` per pixel in the data's own scale, and a picture of the first.
    - `traverse` writes `x` `[d, K, C, H, W]` and the decoded codes `z` `[d, K, d]`, in which one
      dimension at a time is moved by each of K `offsets`, and a picture with a row for each. With
      several stochastic layers only the dimensions of the decoded one are moved.

    Args:
        task: what to do.
        run: a run folder, or `latest`.
        runs: the folder in which `latest` is looked up.
        checkpoint: `best`, `last`, or another; see `load_run`.
        input: images: `test`, `val`, a folder of image files, an image file, or a file of tensors;
            for `traverse` also `prior`, its mean; for `decode` an `.npz` with `z` or `mu`.
        count: the number of images to sample.
        seed: the seed of samples, or of the draws in reconstructions; 0 draws as `evaluate` does.
        output: a new file in an existing folder; by default a file in the run's `predictions/`,
            which is replaced if it exists.
        z: the code to reconstruct from: a draw from the posterior, or its mean.
        image: the index, from 0, of the image whose mu is the centre of a traversal.
        offsets: the steps of a traversal, in standard deviations of the prior.
        label: for a model conditioned on labels, the label of all images that have none of their
            own, of all codes to decode, or of all samples, which otherwise take turns.
        data: where the run's data are; see `load_run`.
        device: the device of the model, see `load_run`; draws are the same on every device.

    Raises:
        ConfigError: if this machine lacks the device, the task or the model does not use a setting,
            `output` has the wrong ending, or a picture would have too many images.
        RunError: if the folder is not a run, the model has no prior to sample from, or the output
            cannot be written.
        DataError: if the input is missing or damaged, has another shape, or lacks labels that the
            model needs.
    """
    set_up_logging()
    given = {"input": input, "count": count, "seed": seed, "z": z, "image": image}
    given |= {"offsets": tuple(offsets), "label": label}
    used = _used(task, given)
    device = str(exact_device(device))
    folder = find_run(run, runs).path
    path = _output_file(task, output, folder / "predictions")
    opened = load_run(folder, checkpoint, data, device)
    opened.data.device = torch.device("cpu")  # so that its draws are the same on every device
    if label is not None and not opened.model.conditioned_on:
        raise ConfigError(f"label={label}: this model is not conditioned on labels; leave it out")
    _write(path, TASKS[task](opened, **used))
    return path


def _used(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a task uses: the arguments of its function.

    Raises:
        ConfigError: if another one differs from its default.
    """
    if given["input"] == "prior" and task != "traverse":
        raise ConfigError(f"input=prior is for task=traverse, and not for task={task}")
    if given["input"] == "prior" and given["image"]:
        raise ConfigError(f"image={given['image']}: input=prior has no images; leave one out")
    uses = {name: inspect.signature(function).parameters for name, function in TASKS.items()}
    defaults = inspect.signature(predict).parameters
    for name, value in given.items():
        if name not in uses[task] and value != defaults[name].default:
            users = " or ".join(f"task={other}" for other in uses if name in uses[other])
            raise ConfigError(f"{name}={value} is for {users}, and not for task={task}")
    return {name: value for name, value in given.items() if name in uses[task]}


def _output_file(task: str, output: str | None, own: Path) -> Path:
    """The path of the file to write, checked to be writable; by default in the folder `own`.

    Raises:
        ConfigError: if `output` has the wrong ending.
        RunError: if it cannot be written, exists already, or is in another run's folder.
    """
    ending = ".png" if task == "sample" else ".npz"
    path = Path(output) if output else own / f"{task}{ending}"
    if path.suffix != ending:
        raise ConfigError(f"output={output}: task={task} writes a file that ends in {ending}")
    paths = [path] if task in ("encode", "sample") else [path, path.with_suffix(".png")]
    check_writable(paths)
    check_no_other_run(path, own)
    if output and not path.parent.is_dir():
        raise RunError(f"output={output}: there is no folder {path.parent}: create it first.")
    if existing := [str(file) for file in paths if output and os.path.lexists(file)]:
        raise RunError(f"output={output}: {existing[0]} exists: remove it or name another file.")
    return path


def _write(path: Path, result: tasks.TaskResult) -> None:
    with written_together(path.parent) as beside:
        if result.arrays:
            np.savez(beside / path.name, **result.arrays)
        if result.picture is not None:
            pixels = (result.picture * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(beside / path.with_suffix(".png").name)

"""Write encoder and decoder as ONNX files."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from musigma.evaluation.conditions import with_labels
from musigma.models import LatentVariableModel
from musigma.seeding import normal_noise

ENCODE, DECODE = "encode.onnx", "decode.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""The packages of the extra `onnx`."""
TOLERANCE = 1e-4
"""The largest difference, relative or absolute, between the outputs of onnxruntime and torch."""


def write(folder: Path, encode: nn.Module, decode: nn.Module, model: LatentVariableModel) -> None:
    """Write both files, run them with onnxruntime, and compare the outputs with torch.

    The files take float32 tensors with any batch size B:

    - `encode.onnx`: `x` `[B, C, H, W]` → `mu` and `std`, each `[B, d]`.
    - `decode.onnx`: `z` `[B, d]` → `x_mean`, `[B, C, H, W]`.

    For a model conditioned on labels both also take `y`, int64 `[B]`.

    Raises:
        AssertionError: if outputs differ by more than `TOLERANCE`.
    """
    images = partial(_inputs, model, model.image_shape, "x")
    codes = partial(_inputs, model, (model.latent_dim,), "z")
    _write(folder / ENCODE, encode.eval(), images, ["mu", "std"])
    _write(folder / DECODE, decode.eval(), codes, ["x_mean"])


def usage(folder: Path, model: LatentVariableModel) -> dict[Path, str]:
    """The files, each with the line of Python that runs it."""
    session = "onnxruntime.InferenceSession({!r}).run(None, {{{!r}: {}{}}})"
    encode, decode = folder / ENCODE, folder / DECODE
    y = ", 'y': y" if model.conditioned_on else ""
    return {
        encode: f"mu, std = {session.format(str(encode), 'x', 'x', y)}",
        decode: f"x_mean, = {session.format(str(decode), 'z', 'z', y)}",
    }


def _inputs(
    model: LatentVariableModel, shape: tuple[int, ...], name: str, count: int
) -> dict[str, Tensor]:
    """`count` random images or codes, with labels if the model is conditioned on them, by name."""
    x = normal_noise(count, *shape, seed=count)
    return dict(zip((name, "y"), with_labels(model, x), strict=False))


@torch.no_grad()
def _write(
    path: Path,
    part: nn.Module,
    inputs_of_size: Callable[[int], dict[str, Tensor]],
    names: list[str],
) -> None:
    """Write one file and compare it with torch; `names` are those of its outputs."""
    import onnxruntime

    inputs = inputs_of_size(2)  # torch.export treats a batch size of 1 as a constant
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():  # two inputs share a batch dimension on purpose
        warnings.filterwarnings("ignore", ".*shares the same shape constraints")
        program = torch.onnx.export(
            part,
            tuple(inputs.values()),
            input_names=[*inputs],
            output_names=names,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ValueError("torch.onnx gives no program")
    program.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        inputs = inputs_of_size(count)
        arrays = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        opened = [torch.from_numpy(array) for array in arrays]
        outputs = part(*inputs.values())
        expected = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        assert_close(
            opened,
            expected,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            msg=lambda text: f"{path.name}: {text}",
        )

"""Encoder and decoder as ONNX files."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from musigma.evaluation.encoding import inputs_of
from musigma.models import LatentVariableModel

ENCODE, DECODE = "encode.onnx", "decode.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""The packages of the extra `onnx`."""
TOLERANCE = 1e-4
"""Between onnxruntime and torch: of the value, or in units of codes and of the model's pixels."""


def write(folder: Path, encode: nn.Module, decode: nn.Module, model: LatentVariableModel) -> None:
    """Write both files, open them with onnxruntime, and compare with torch.

    They take float32 rows, any number of them, and give what `encode` and `decode` give:

    - `encode.onnx`: `x` `[B, C, H, W]` → `mu` and `std`, each `[B, d]`.
    - `decode.onnx`: `z` `[B, d]` → `x_mean`, `[B, C, H, W]`.

    Of a model that is told labels both take them as well, `y` `[B]`, int64.

    Args:
        folder: takes the files.
        encode: images → `(mu, std)`.
        decode: codes → mean images.
        model: says the shapes.

    Raises:
        AssertionError: if a file does not give what torch gives, within `TOLERANCE`.
    """
    rows = partial(_rows, model)
    _write(folder / ENCODE, encode.eval(), partial(rows, model.image_shape, "x"), ["mu", "std"])
    _write(folder / DECODE, decode.eval(), partial(rows, (model.latent_dim,), "z"), ["x_mean"])


def opening(folder: Path, model: LatentVariableModel) -> dict[Path, str]:
    """The files, each with the line of Python that opens it."""
    session = "onnxruntime.InferenceSession({!r}).run(None, {{{!r}: {}{}}})"
    encode, decode = folder / ENCODE, folder / DECODE
    told = ", 'y': y" if model.told else ""
    return {
        encode: f"mu, std = {session.format(str(encode), 'x', 'x', told)}",
        decode: f"x_mean, = {session.format(str(decode), 'z', 'z', told)}",
    }


def _rows(
    model: LatentVariableModel, shape: tuple[int, ...], name: str, count: int
) -> dict[str, Tensor]:
    """So many random images or codes by their name, with labels where the model is told them."""
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
    return dict(zip((name, "y"), inputs_of(model, x), strict=False))


@torch.no_grad()
def _write(
    path: Path, part: nn.Module, rows: Callable[[int], dict[str, Tensor]], gives: list[str]
) -> None:
    import onnxruntime

    taken = rows(2)  # not one row, which would make its number a constant
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():  # that two inputs have one batch is what is meant
        warnings.filterwarnings("ignore", ".*shares the same shape constraints")
        program = torch.onnx.export(
            part,
            tuple(taken.values()),
            input_names=[*taken],
            output_names=gives,
            dynamic_shapes=tuple({0: batch} for _ in taken),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ValueError("torch.onnx gives no program")
    program.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        taken = rows(count)
        arrays = session.run(None, {name: value.numpy() for name, value in taken.items()})
        opened = [torch.from_numpy(array) for array in arrays]
        given = part(*taken.values())
        expected = [given] if isinstance(given, Tensor) else list(given)
        assert_close(
            opened,
            expected,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            msg=lambda text: f"{path.name}: {text}",
        )

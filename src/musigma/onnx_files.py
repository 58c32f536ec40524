"""Encoder and decoder as ONNX files."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.testing import assert_close

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

    Args:
        folder: takes the files.
        encode: images → `(mu, std)`.
        decode: codes → mean images.
        model: says the shapes.

    Raises:
        AssertionError: if a file does not give what torch gives, within `TOLERANCE`.
    """
    _write(folder / ENCODE, encode.eval(), model.image_shape, "x", ["mu", "std"])
    _write(folder / DECODE, decode.eval(), (model.latent_dim,), "z", ["x_mean"])


def opening(folder: Path) -> dict[Path, str]:
    """The files, each with the line of Python that opens it."""
    session = "onnxruntime.InferenceSession({!r}).run(None, {{{!r}: {}}})"
    encode, decode = folder / ENCODE, folder / DECODE
    return {
        encode: f"mu, std = {session.format(str(encode), 'x', 'x')}",
        decode: f"x_mean, = {session.format(str(decode), 'z', 'z')}",
    }


@torch.no_grad()
def _write(
    path: Path, part: nn.Module, shape: tuple[int, ...], takes: str, gives: list[str]
) -> None:
    import onnxruntime

    rows = torch.zeros(2, *shape)  # not one row, which would make its number a constant
    program = torch.onnx.export(
        part,
        (rows,),
        input_names=[takes],
        output_names=gives,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ValueError("torch.onnx gives no program")
    program.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        opened = [torch.from_numpy(array) for array in session.run(None, {takes: x.numpy()})]
        given = part(x)
        expected = [given] if isinstance(given, Tensor) else list(given)
        assert_close(
            opened,
            expected,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            msg=lambda text: f"{path.name}: {text}",
        )

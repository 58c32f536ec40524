"""Export a trained model to files for other programs: weights, encoder and decoder."""

import copy
from importlib.util import find_spec
from itertools import filterfalse
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn
from torch.testing import assert_close

from musigma.commands import onnx_files
from musigma.evaluation.conditions import given_labels, with_labels
from musigma.loading import Run
from musigma.models import LatentVariableModel
from musigma.settings import Format
from workbench.errors import ConfigError, RunError
from workbench.runs.output import written_together
from workbench.runs.weights import WEIGHTS, load_weights

CONFIG, ENCODE, DECODE = "config.yaml", "encode.pt2", "decode.pt2"
FILES: dict[Format, tuple[str, ...]] = {
    "torch": (CONFIG, WEIGHTS, ENCODE, DECODE),
    "onnx": (onnx_files.ENCODE, onnx_files.DECODE),
}
"""The files of each format."""


def export_run(run: Run, folder: Path, format: Format = "torch") -> dict[Path, str]:
    """Write a model's files; return each with the line of Python that opens it.

    The format `onnx` has two files, `encode.onnx` and `decode.onnx`, for onnxruntime. The format
    `torch` has four: `config.yaml` and `model.safetensors`, which `load_run` opens, and two
    programs that need only torch, in the version that wrote them. These take float32 tensors with
    any batch size B:

    - `encode.pt2`: images `[B, C, H, W]` → `(mu, std)`, each `[B, d]`; the `std` of a point is 0.
    - `decode.pt2`: codes `[B, d]` → the mean images of p(x|z), `[B, C, H, W]`.

    For a model conditioned on labels both take labels as a second input, int64 `[B]`, and give NaN
    for a label that does not exist.

    Images, as inputs and as outputs, have normalised pixels, as `data.normalization` makes them.
    All files are opened and compared with the model, on the CPU and on the device of the run's
    model, before they are moved into the folder.

    Raises:
        ConfigError: if the format needs packages that are not installed.
        RunError: if torch.export cannot trace the model, a file cannot be written or differs from
            the model when it is opened, or weights are not finite.
    """
    check_format(format)
    model = copy.deepcopy(run.model).cpu().eval()
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise RunError("The model has weights that are not finite: training had diverged.")
    try:
        with written_together(folder) as beside:
            if format == "onnx":
                onnx_files.write(beside, _Encode(model), _Decode(model), model)
            else:
                _write(beside, model, run.config)
                _check(beside, model, run.config)
                if run.model.device != model.device:
                    _check_parts(beside, model.to(run.model.device))
    except Exception as error:
        raise RunError(f"The model cannot be exported into {folder}: {error}") from error
    if format == "onnx":
        return onnx_files.usage(folder, run.model)
    y = ", y" if run.model.conditioned_on else ""
    return {
        folder / CONFIG: f"model, data, config = musigma.load_run({str(folder)!r})",
        folder / WEIGHTS: f"weights = safetensors.torch.load_file({str(folder / WEIGHTS)!r})",
        folder / ENCODE: f"mu, std = torch.export.load({str(folder / ENCODE)!r}).module()(x{y})",
        folder / DECODE: f"x_mean = torch.export.load({str(folder / DECODE)!r}).module()(z{y})",
    }


def check_format(format: Format) -> None:
    """Raise a ConfigError if the format needs packages that are not installed."""
    if format == "onnx" and (missing := [*filterfalse(find_spec, onnx_files.PACKAGES)]):
        raise ConfigError(
            f"format=onnx needs the extra onnx (not installed: {', '.join(missing)}): "
            "pip install -e '.[onnx]'"
        )


class _Encode(nn.Module):
    """Images, and labels if the model is conditioned on them → `(mu, std)`."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        posterior = _conditioned(self.model, y).encode(x)
        return posterior.mu, posterior.std


class _Decode(nn.Module):
    """Codes, and labels if the model is conditioned on them → mean images."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return _conditioned(self.model, y).images_of(z)


def _conditioned(model: LatentVariableModel, y: Tensor | None) -> LatentVariableModel:
    return model if y is None else given_labels(model, y)


def _write(folder: Path, model: LatentVariableModel, config: dict[str, Any]) -> None:
    """Write the files of the format `torch`."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    # Copies, because safetensors refuses weights that share memory, such as tied ones.
    weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    # Not with save_file, which makes a file that only its owner can read.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
    # Two rows, because torch.export treats a batch size of 1 as a constant.
    _trace(folder / ENCODE, _Encode(model), with_labels(model, torch.zeros(2, *model.image_shape)))
    _trace(folder / DECODE, _Decode(model), with_labels(model, torch.zeros(2, model.latent_dim)))


def _trace(path: Path, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Write a module as a program, without weights that it does not use."""
    part = copy.deepcopy(part)
    for name in _unused(part, _traced(part, inputs)):  # such as the decoder's in the encoder
        place, _, attribute = name.rpartition(".")
        owner = part.get_submodule(place)
        if hasattr(owner, attribute):  # a module with two names has it once
            delattr(owner, attribute)
    torch.export.save(_traced(part, inputs), path)


def _unused(part: nn.Module, program: torch.export.ExportedProgram) -> list[str]:
    """The names of a module's weights and buffers that its program does not use."""
    signature = program.graph_signature
    inputs = signature.inputs_to_parameters | signature.inputs_to_buffers
    tensors: dict[str, Tensor] = dict(part.named_parameters(remove_duplicate=False))
    tensors |= dict(part.named_buffers(remove_duplicate=False))
    used = {inputs[node.name] for node in program.graph.nodes if node.name in inputs and node.users}
    used_ids = {id(tensors[name]) for name in used if name in tensors}  # tied ones share an id
    return [name for name, value in tensors.items() if id(value) not in used_ids]


def _traced(part: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    dynamic = tuple({0: batch} for _ in inputs)
    return torch.export.export(part, inputs, dynamic_shapes=dynamic, strict=False)


@torch.no_grad()
def _check(folder: Path, model: LatentVariableModel, config: dict[str, Any]) -> None:
    """Open the files of the format `torch`; raise an exception if one differs from the model."""
    if yaml.safe_load((folder / CONFIG).read_text("utf-8")) != config:
        raise ValueError(f"{CONFIG} differs from the run's config")
    weights = load_weights(folder / WEIGHTS)
    _check_equal(WEIGHTS, weights, dict(model.state_dict()), rtol=0, atol=0)
    _check_parts(folder, model)


@torch.no_grad()
def _check_parts(folder: Path, model: LatentVariableModel) -> None:
    """Compare the outputs of encoder and decoder with the model's, on its device."""
    encode = torch.export.load(folder / ENCODE).module().to(model.device)
    decode = torch.export.load(folder / DECODE).module().to(model.device)
    for rows in (1, 5):
        generator = torch.Generator().manual_seed(rows)
        x = torch.randn(rows, *model.image_shape, generator=generator).to(model.device)
        z = torch.randn(rows, model.latent_dim, generator=generator).to(model.device)
        images, codes = with_labels(model, x), with_labels(model, z)
        conditioned = _conditioned(model, images[1] if model.conditioned_on else None)
        _check_equal(ENCODE, encode(*images), tuple(conditioned.encode(x)))
        _check_equal(DECODE, decode(*codes), conditioned.images_of(z))


def _check_equal(name: str, opened: Any, original: Any, **tolerances: Any) -> None:
    fault = f"{name} gives other numbers than the model"
    if name in (ENCODE, DECODE):
        fault += ": if it draws random numbers, draw them in the constructor and register a buffer"
    assert_close(opened, original, msg=lambda text: f"{fault}. {text}", **tolerances)

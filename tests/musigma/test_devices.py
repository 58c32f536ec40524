"""A trained model gives the same results on every device, from the same draws."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.loading import load_run
from musigma.plots.named import PlotFiles
from simulated_device import DEVICE, SimulatedDevice
from workbench.devices import find_device
from workbench.errors import ConfigError
from workbench.runs.weights import load_weights

pytestmark = pytest.mark.slow

OPTIMAL = "model/likelihood=gaussian", "model.likelihood.scale_is=optimal"

TOLERANCE = {"rel": 1e-3, "abs": 1e-5}
"""Between metrics on two devices: float32 sums over 784 pixels are taken in another order."""


@pytest.fixture(params=["simulated", "cuda", "mps"])
def device(request, monkeypatch):
    """A device other than the CPU: a simulated one, and each real one that this machine has."""
    if request.param != "simulated":
        try:
            find_device(request.param)
        except ConfigError:
            pytest.skip(f"this machine has no {request.param}")
        return request.param
    for module in ("workbench.devices", "musigma.loading"):
        monkeypatch.setattr(f"{module}.find_device", torch.device)
    return str(DEVICE)


@contextmanager
def _here(device):
    with SimulatedDevice() if device == str(DEVICE) else nullcontext():
        yield


def _flat(metrics, place=""):
    """Dotted name → number, of nested metrics."""
    if isinstance(metrics, list):
        metrics = dict(enumerate(metrics))
    if not isinstance(metrics, dict):
        return {place: metrics} if isinstance(metrics, int | float) else {}
    return {
        name: value
        for key, part in metrics.items()
        for name, value in _flat(part, f"{place}.{key}" if place else key).items()
    }


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("model=vae",), marks=pytest.mark.exhaustive),
        ("model=vae", *OPTIMAL, "model.latent_dim=3", "data.normalization=dequantize"),
        pytest.param(("model=autoencoder",), marks=pytest.mark.exhaustive),
    ],
    ids=["vae", "random pixels", "point"],
)
def test_an_evaluation_gives_the_metrics_of_the_cpu(
    overrides, device, trained, tmp_path, monkeypatch
):
    # Plots are decoded but not drawn: drawing would take most of the time.
    monkeypatch.setattr(
        "musigma.commands.evaluate.plot_files", lambda p: PlotFiles(p.name, "", "", {})
    )
    run = trained(*overrides).path
    found = {}
    for name in ("cpu", device):
        output = str(tmp_path / name)
        settings = {"images": 4, "samples": 25, "seed": 0, "output": output, "device": name}
        with _here(name):
            (metrics,) = evaluate([str(run)], run.parent, checkpoint="best", **settings)
        assert torch.device(metrics.pop("device")).type == name
        found[name] = _flat(metrics)
    assert found[device] == pytest.approx(found["cpu"], **TOLERANCE)
    assert "distortion.mean" in found["cpu"]


@pytest.mark.parametrize("task", ["encode", "decode", "sample", "reconstruct", "traverse"])
def test_predictions_equal_those_of_the_cpu(task, device, trained, tmp_path):
    run = trained("model=vae").path
    np.savez(tmp_path / "z.npz", z=np.linspace(-2, 2, 20).reshape(10, 2))
    given = str(tmp_path / "z.npz") if task == "decode" else "test"
    settings = {"checkpoint": "best", "input": given, "count": 64, "seed": 0}
    found = {}
    for name in ("cpu", device):
        output = str(tmp_path / f"{name}.{'png' if task == 'sample' else 'npz'}")
        with _here(name):
            path = predict(task, str(run), run.parent, **settings, output=output, device=name)
        found[name] = _arrays(path)
    assert found[device].keys() == found["cpu"].keys()
    for name, array in found["cpu"].items():
        # A grid holds grey levels, which rounding may move by one.
        bound = 1 if task == "sample" else 1e-4
        np.testing.assert_allclose(found[device][name], array, rtol=1e-4, atol=bound)


def _arrays(path):
    if path.suffix == ".png":
        return {"grid": np.asarray(Image.open(path)).astype(int)}
    with np.load(path) as arrays:
        return dict(arrays)


def test_the_model_and_the_batches_of_a_run_are_on_its_device(device, trained):
    run = trained("model=vae").path
    with _here(device):
        model, data, _ = load_run(run, device=device)
        assert model.device.type == torch.device(device).type
        if device == str(DEVICE):
            return  # torch has no random generator on the simulated device
        data.setup("test")
        batch = next(iter(data.test_dataloader()))
        x_hat = model(batch.x)
    assert {batch.x.device, batch.y.device, batch.row.device, x_hat.device} == {model.device}


def test_a_run_is_exported_from_any_device(device, trained, tmp_path):
    if device == str(DEVICE):
        pytest.skip("torch.export traces on real devices only")
    run = trained("model=vae").path
    export_run(load_run(run, device=device), tmp_path / "there")
    export_run(load_run(run, device="cpu"), tmp_path / "here")
    weights = [load_weights(tmp_path / name / "model.safetensors") for name in ("there", "here")]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_the_simulated_device_refuses_what_a_real_one_refuses():
    with SimulatedDevice():
        there = torch.ones(2).to("meta")
        assert (there + 1).sum().item() == 4
        with pytest.raises(RuntimeError, match="on the CPU and on the simulated device"):
            there + torch.ones(2)
        with pytest.raises(TypeError, match="no float64"):
            there.double()


def test_a_missing_device_is_reported_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = {
        "predict": lambda **more: predict("encode", "nowhere", tmp_path, output=None, **more),
        "evaluate": lambda **more: evaluate(["nowhere"], tmp_path, images=2, samples=25, **more),
    }
    settings = {"checkpoint": "best", "seed": 0, "device": "cuda"}
    with pytest.raises(ConfigError, match=r"device=cuda: torch \S+ finds none on this machine"):
        asked["evaluate"](**settings)
    with pytest.raises(ConfigError, match=r"device=cuda: torch \S+ finds none on this machine"):
        asked["predict"](**settings, input="test", count=64)
    with pytest.raises(ConfigError, match=r"device=cuda: torch \S+ finds none on this machine"):
        load_run("nowhere", device="cuda")

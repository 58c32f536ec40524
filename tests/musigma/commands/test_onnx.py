"""A model exported to ONNX gives the same results in onnxruntime."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from extras import needs
from musigma.commands import export
from musigma.commands.export import export_run
from musigma.loading import Run, load_run
from musigma.models import MLP, Autoencoder, Conv
from musigma.objectives.likelihoods import Bernoulli, Gaussian, Laplace
from workbench.errors import ConfigError, RunError
from workbench.jobs.command_line import read_command_line

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the exporter's dependencies warn
]

SMALL = MLP([16], [16])


def _run(model):
    return Run(model.eval(), None, {"model": {}})


@needs("onnxruntime")
@pytest.mark.parametrize(
    ("network", "likelihood", "settings"),
    [
        (SMALL, Gaussian(0.3, "optimal"), {"latent_dim": 3}),
        (Conv((4, 8), 16), Bernoulli(), {"posterior": "point"}),
    ],
    ids=["normal", "point"],
)
def test_onnxruntime_without_torch_gives_the_results_of_torch(
    network, likelihood, settings, tmp_path
):
    model = Autoencoder(network, likelihood, **settings).eval()
    written = export_run(_run(model), tmp_path / "export", "onnx")
    assert {path.name for path in written} == {"encode.onnx", "decode.onnx"}
    assert set(written) == set((tmp_path / "export").iterdir())
    for rows in (1, 3, 257):
        x = torch.randn(rows, 1, 28, 28)
        with torch.no_grad():
            mu, std = model.encode(x)
        found = _opened(written, {"x": x, "z": mu})
        for array, expected in zip(found, (mu, std, _mean(model, mu)), strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-4)
    np.save(tmp_path / "x.npy", x.numpy())
    lines = "\nz = mu\n".join(written.values())
    code = (
        f"import numpy, onnxruntime, sys\nx = numpy.load('x.npy')\n{lines}\n"
        "numpy.save('x_mean.npy', x_mean)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "x_mean.npy")
    np.testing.assert_allclose(found, _mean(model, mu), rtol=1e-4, atol=1e-4)


def _mean(model, z):
    with torch.no_grad():
        return model.likelihood.mean(model.decode(z))


def _opened(written, inputs):
    import onnxruntime

    for path in written:
        session = onnxruntime.InferenceSession(str(path))
        name = session.get_inputs()[0].name
        yield from session.run(None, {name: inputs[name].numpy()})


@needs("onnxruntime")
def test_an_onnx_file_with_other_results_is_named_and_not_kept(tmp_path, monkeypatch):
    import onnxruntime

    class Other(onnxruntime.InferenceSession):
        def run(self, *arguments):
            return [array * 1.01 + 0.01 for array in super().run(*arguments)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Other)
    with pytest.raises(RunError, match=r"cannot be exported into .*encode\.onnx"):
        export_run(_run(Autoencoder(SMALL, Laplace())), tmp_path / "export", "onnx")
    assert not (tmp_path / "export").exists()


@needs("onnxruntime")
def test_both_formats_can_be_exported_into_one_folder(trained, tmp_path):
    run = load_run(trained("model=vae").path)
    for kind in ("torch", "onnx"):
        export_run(run, tmp_path, kind)
    names = {path.name for path in tmp_path.glob("*.*")} - {"logs"}
    assert names >= {*export.FILES["torch"], *export.FILES["onnx"]}
    assert load_run(tmp_path).config == run.config


def test_without_its_packages_the_extra_is_named(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    absent = lambda name: None if name == "onnxruntime" else (find(name) or True)  # noqa: E731
    monkeypatch.setattr(export, "find_spec", absent)
    with pytest.raises(ConfigError) as error:
        export_run(_run(Autoencoder(SMALL, Laplace())), tmp_path / "export", "onnx")
    assert str(error.value) == (
        "format=onnx needs the extra onnx (not installed: onnxruntime): pip install -e '.[onnx]'"
    )
    assert not (tmp_path / "export").exists()
    with pytest.raises(ConfigError, match="format='tensorrt': should be 'torch' or 'onnx'"):
        read_command_line("export", ["format=tensorrt"])

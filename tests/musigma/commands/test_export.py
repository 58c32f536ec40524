"""An exported model opens elsewhere as the same model, or the export says why it cannot."""

import pytest
import safetensors
import safetensors.torch
import torch
import yaml
from torch import nn
from torch.testing import assert_close

import musigma
from musigma.commands import export
from musigma.commands.export import export_run
from musigma.loading import Run, load_run
from musigma.models import MLP, Autoencoder, Conv
from musigma.objectives.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace
from script_server import python
from workbench.errors import RunError
from workbench.runs.weights import load_weights

pytestmark = pytest.mark.slow

FILES = {"config.yaml", "model.safetensors", "encode.pt2", "decode.pt2"}
SMALL = MLP([16], [16])
OPTIMAL = "model/likelihood=gaussian", "model.likelihood.scale_is=optimal"


def _run(model):
    """A run of a model, without data, which export_run does not use."""
    return Run(model, None, {"model": {"latent_dim": model.latent_dim}, "lr": 1e-5, "name": "β"})


def _assert_opens_as(model, folder):
    encode = torch.export.load(folder / "encode.pt2").module()
    decode = torch.export.load(folder / "decode.pt2").module()
    for rows in (1, 3, 257):
        x, z = torch.randn(rows, *model.image_shape), torch.randn(rows, model.latent_dim)
        mu, std = encode(x)
        assert_close((mu, std), tuple(model.encode(x)))
        assert mu.shape == std.shape == z.shape
        assert_close(decode(z), model.likelihood.mean(model.decode(z)))


def _assert_same_bits(weights, model):
    expected = model.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value.view(torch.int32), expected[name].view(torch.int32))


def test_an_exported_run_is_four_files_that_open_as_its_model(trained, tmp_path):
    folder = trained("model=vae", "model.latent_dim=3")
    run = load_run(folder.path)
    written = export_run(run, tmp_path / "made" / "here")
    assert set(written) == set((tmp_path / "made" / "here").iterdir())
    assert {path.name for path in written} == FILES
    assert {path.stat().st_mode for path in written} == {
        (folder.path / "config.yaml").stat().st_mode
    }
    assert yaml.safe_load((tmp_path / "made" / "here" / "config.yaml").read_text()) == run.config
    _assert_opens_as(run.model, tmp_path / "made" / "here")
    _assert_same_bits(load_weights(tmp_path / "made" / "here" / "model.safetensors"), run.model)


def test_load_run_opens_an_export_like_its_run(trained, tmp_path):
    folder = trained("model=vae", *OPTIMAL, "model.latent_dim=3")
    model, data, config = load_run(folder.path)
    export_run(load_run(folder.path), tmp_path / "export")
    opened = musigma.load_run(tmp_path / "export")
    assert opened.config == config
    assert opened.data.source == data.source
    assert not opened.model.training
    _assert_same_bits(opened.model.state_dict(), model)


@pytest.mark.parametrize(
    ("network", "likelihood", "settings"),
    [
        pytest.param(
            SMALL, Laplace(0.3, "learned"), {"latent_dim": 5}, marks=pytest.mark.exhaustive
        ),
        pytest.param(
            SMALL, Gaussian(0.3, "optimal"), {"latent_dim": 1}, marks=pytest.mark.exhaustive
        ),
        (SMALL, ContinuousBernoulli(), {"posterior": "point"}),
        pytest.param(
            Conv((4, 8), 16), Bernoulli(), {"latent_dim": 3}, marks=pytest.mark.exhaustive
        ),
        (Conv((4,), 8), Laplace(), {"posterior": "point", "image_shape": (3, 6, 10)}),
    ],
    ids=["learned scale", "optimal scale", "point", "conv", "colour"],
)
def test_every_kind_of_model_opens_from_its_export(network, likelihood, settings, tmp_path):
    model = Autoencoder(network, likelihood, **settings).eval()
    export_run(_run(model), tmp_path)
    _assert_opens_as(model, tmp_path)
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    _assert_same_bits(safetensors.torch.load_file(tmp_path / "model.safetensors"), model)


def test_exported_encoder_and_decoder_hold_only_their_own_weights(tmp_path):
    model = Autoencoder(SMALL, Laplace(0.3, "learned"))
    export_run(_run(model), tmp_path)
    names = {}
    for part in ("encode", "decode"):
        program = torch.export.load(tmp_path / f"{part}.pt2")
        names[part] = {name.split(".")[1] for name in program.state_dict}
    assert names == {"encode": {"encoder", "head"}, "decode": {"decoder"}}


def test_the_export_is_in_evaluation_mode_and_the_model_stays_in_training_mode(tmp_path):
    model = Autoencoder(SMALL, Laplace())
    model.encoder.append(nn.Sequential(nn.BatchNorm1d(16), nn.Dropout(0.5)))
    model.encode(torch.randn(8, 1, 28, 28))
    export_run(_run(model.train()), tmp_path)
    assert model.training
    _assert_opens_as(model.eval(), tmp_path)


def test_tied_weights_are_exported(tmp_path):
    model = Autoencoder(MLP([16], [16, 16]), Laplace(), latent_dim=16)
    model.decoder[2].weight = model.decoder[0].weight
    export_run(_run(model.eval()), tmp_path)
    _assert_opens_as(model, tmp_path)
    _assert_same_bits(load_weights(tmp_path / "model.safetensors"), model)


class OwnLayer(Autoencoder):
    """Decodes with the transposed weights of the encoder's layer, which has a second name."""

    def __init__(self):
        super().__init__(MLP([16], [16]), Laplace(), latent_dim=16)
        self.tied, self.decoder = self.encoder[1], nn.Identity()

    def decode(self, z):
        return nn.functional.linear(z, self.tied.weight.T).unflatten(-1, self.image_shape)


def test_a_layer_of_both_encoder_and_decoder_is_exported(tmp_path):
    model = OwnLayer().eval()
    export_run(_run(model), tmp_path)
    _assert_opens_as(model, tmp_path)


def test_torch_alone_opens_the_encoder_and_the_decoder(tmp_path):
    model = Autoencoder(SMALL, Laplace()).eval()
    export_run(_run(model), tmp_path)
    x = torch.randn(4, 1, 28, 28)
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import sys, torch\n"
        "for name in [*sys.modules]:\n"
        "    if name.partition('.')[0] in ('musigma', 'workbench'):\n"
        "        sys.modules[name] = None  # an import of it fails\n"
        "mu, std = torch.export.load('encode.pt2').module()(torch.load('x.pt'))\n"
        "torch.save(torch.export.load('decode.pt2').module()(mu).detach(), 'x_mean.pt')"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_close(torch.load(tmp_path / "x_mean.pt"), model.decode(model.encode(x).mu).detach())


class _Branching(nn.Linear):
    """A layer that torch.export cannot trace."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


def test_a_model_that_cannot_be_traced_leaves_the_last_export_whole(tmp_path):
    model = Autoencoder(SMALL, Laplace())
    export_run(_run(model), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model.decoder[0] = _Branching(2, 16)
    with pytest.raises(RunError, match="cannot be exported into"):
        export_run(_run(model), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def _other_weights(monkeypatch):
    save = safetensors.torch.save

    def save_others(weights, metadata):
        return save({name: value.nextafter(value + 1) for name, value in weights.items()}, metadata)

    monkeypatch.setattr(safetensors.torch, "save", save_others)


def _other_encoder(monkeypatch):
    def forward(self, x):
        mu, std = self.model.encode(x)
        return mu, std * 1.0001

    monkeypatch.setattr(export._Encode, "forward", forward)


def _decoder_without_its_mean(monkeypatch):
    monkeypatch.setattr(export._Decode, "forward", lambda self, z: self.model.decode(z))


def _other_config(monkeypatch):
    monkeypatch.setattr(export.yaml, "safe_dump", lambda *_, **__: "{}")


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (_other_config, "config.yaml"),
        (_other_weights, "model.safetensors"),
        (_other_encoder, "encode.pt2"),
        (_decoder_without_its_mean, "decode.pt2"),
    ],
)
def test_an_exported_file_that_opens_differently_is_named_and_not_kept(
    break_it, name, monkeypatch, tmp_path
):
    break_it(monkeypatch)
    with pytest.raises(RunError, match=name):
        export_run(_run(Autoencoder(SMALL, Bernoulli())), tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_an_export_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "export").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot be exported into .*export"):
        export_run(_run(Autoencoder(SMALL, Laplace())), tmp_path / "export")


@pytest.mark.parametrize("damage", [b"", b"not weights", slice(-1), slice(20)])
def test_damaged_weights_are_named(damage, tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(3)}, path)
    path.write_bytes(path.read_bytes()[damage] if isinstance(damage, slice) else damage)
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read as weights"):
        load_weights(path)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(RunError, match=r"There are no weights .*model\.safetensors"):
        load_weights(tmp_path / "model.safetensors")


def _script(*arguments):
    return python("scripts/export.py", *arguments)


def test_the_script_refuses_a_missing_run_without_a_traceback(tmp_path):
    done = _script("run=nowhere", f"log_dir={tmp_path}/logs")
    assert done.returncode == 2
    assert "nowhere is not a run folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    model = Autoencoder(SMALL, Laplace())
    nn.init.constant_(model.decoder[0].weight, float("nan"))
    with pytest.raises(RunError, match="not finite: training had diverged"):
        export_run(_run(model), tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_the_script_exports_to_an_output_and_leaves_the_run_unchanged(trained, tmp_path):
    folder = trained("model=vae")
    before = sorted(folder.path.rglob("*"))
    done = _script(f"run={folder.path}", f"output={tmp_path}/elsewhere")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == FILES
    assert f"written to  {tmp_path}/elsewhere" in done.stdout
    (tmp_path / "file").write_text("in the way")
    done = _script(f"run={folder.path}", f"output={tmp_path}/file/export")
    assert done.returncode == 2
    assert "cannot be written: it is not a folder" in done.stderr
    assert "Traceback" not in done.stderr
    other = trained("model=vae")
    done = _script(f"run={folder.path}", f"output={other.path}")
    assert "is the folder of another run" in done.stderr
    assert sorted(folder.path.rglob("*")) == before

"""Panels in TensorBoard: same images and noise, only where they have a meaning, training unchanged.

Steps are counted from 0, and an epoch of a small run has five.
"""

import io

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import nn

from musigma.callbacks import ImagePanel, LatentPanel, panel
from musigma.callbacks.panel import evaluation_mode
from musigma.callbacks.panels import sprites
from musigma.data.datamodule import ImageDataModule
from musigma.data.sample import sample_digits
from musigma.loading import load_run
from musigma.models import Autoencoder
from musigma.models.mlp import MLP
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Laplace
from resuming import stop_at
from workbench.jobs.quoting import quote
from workbench.loggers import summary_writers
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

pytestmark = pytest.mark.slow

IMAGES = 40


def _panel(**settings):
    """The override that turns on the panel that small runs leave out."""
    settings = {"every_n_epochs": 2, "images": IMAGES, **settings}
    arguments = ",".join(f"{name}:{value}" for name, value in settings.items())
    return f"callbacks.latent_panel={{_target_:musigma.callbacks.LatentPanel,{arguments}}}"


def _events(path):
    events = EventAccumulator(str(path), {"images": 0, "histograms": 0})
    events.Reload()
    return events


def _panels(path):
    """Tag → list of (step, PNG), in the order of writing."""
    events = _events(path)
    return {
        tag: [(image.step, image.encoded_image_string) for image in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


def _steps(path):
    return {tag: [step for step, _ in shown] for tag, shown in _panels(path).items()}


def _grey(png):
    """The grey levels of a PNG, `[H, W]`."""
    with Image.open(png) as image:
        return np.asarray(image.convert("L")).astype(int)


def _validation_images():
    """The first of the sample's 500 validation images, and their labels."""
    images, labels = sample_digits(train=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    rows = order[:500].sort().values[:IMAGES]
    return images[rows], labels[rows]


def test_panels_are_made_after_the_first_every_nth_and_the_last_epoch(run_here):
    folder = run_here("model=vae", "trainer.max_epochs=4", _panel())
    for tag, shown in _panels(folder.path).items():
        expected = [4, 9, 14, 19] if tag == "val/reconstructions" else [4, 14, 19]
        assert [step for step, _ in shown] == expected
        assert len({png for _, png in shown}) == len(shown), tag  # as the model learns


@pytest.mark.parametrize(
    ("overrides", "panels", "histograms"),
    [
        pytest.param(
            "model=stochastic_autoencoder",
            "latent_scatter latent_plane",
            "mu std",
            marks=pytest.mark.exhaustive,
        ),
        ("model=autoencoder model.latent_dim=20", "latent_scatter", "mu"),
        ("model=vae", "latent_scatter latent_plane samples rates", "mu std"),
        (
            "model=vae model.latent_dim=1 trainer.precision=64-true",
            "samples traversals rates",
            "mu std",
        ),
        pytest.param(
            "model=vae model.latent_dim=20 trainer.precision=bf16-mixed",
            "latent_scatter samples traversals rates",
            "mu std",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_panels_without_meaning_for_a_model_are_not_shown(overrides, panels, histograms, trained):
    folder = trained(*overrides.split(), "trainer.max_epochs=1", _panel())
    tags = _events(folder.path).Tags()
    expected = {"reconstructions", *panels.split()}
    assert set(tags["images"]) == {f"val/{name}" for name in expected}
    assert set(tags["histograms"]) == {f"val/{name}" for name in histograms.split()}


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], marks=pytest.mark.exhaustive),
        [
            "data.normalization=binarize_dynamic",
            "model/likelihood=bernoulli",
            "data.val_size=0",
        ],
    ],
)
def test_a_model_that_does_not_learn_has_the_same_panels_at_every_step(overrides, run_here):
    panels = _panels(run_here("model=vae", "optimizer.lr=0", _panel(), *overrides).path)
    assert len(panels) == 5
    for tag, shown in panels.items():
        assert [step for step, _ in shown] == [4, 9]
        assert len({png for _, png in shown}) == 1, tag


def test_without_validation_images_panels_show_training_images(run_here):
    folder = run_here("data.val_size=0", "trainer.max_epochs=1", _panel())
    tags = _events(folder.path).Tags()
    assert set(tags["images"]) == {
        f"train/{name}" for name in ("latent_plane", "latent_scatter", "reconstructions")
    }
    ((_, png),) = _panels(folder.path)["train/reconstructions"]
    first = sample_digits(train=True)[0][0, 0].numpy()
    assert (
        np.abs(_grey(io.BytesIO(png))[2:30, 2:30] - first).max() <= 1
    )  # it was normalised and brought back


def test_histograms_show_mu_and_std_of_the_first_validation_images(trained):
    folder = trained("model=vae", "trainer.max_epochs=1", _panel())
    model, _, _ = load_run(folder.path, "last")
    images, _ = _validation_images()
    with torch.no_grad():
        codes = model.encode((images / 255 - 0.1307) / 0.3081)
    for name, code in codes._asdict().items():
        events = _events(folder.path).Histograms(f"val/{name}")
        assert [event.step for event in events] == [4]
        found, values = events[-1].histogram_value, code.double().flatten().numpy()
        assert found.num == values.size == IMAGES * 2
        assert (found.min, found.max) == pytest.approx((values.min(), values.max()), abs=1e-5)
        assert found.sum == pytest.approx(values.sum(), abs=1e-3)
        assert found.sum_squares == pytest.approx((values**2).sum(), rel=1e-5)
        below = np.cumsum(found.bucket)
        for limit, count in zip(found.bucket_limit, below, strict=True):
            assert (values < limit - 1e-5).sum() <= count <= (values <= limit + 1e-5).sum()


def test_panels_use_fewer_images_if_they_are_large(run_here, monkeypatch):
    monkeypatch.setattr(panel, "MOST_VALUES", 7 * 784 + 783)
    folder = run_here("model=vae", "trainer.max_epochs=1", _panel())
    (event,) = _events(folder.path).Histograms("val/mu")
    assert event.histogram_value.num == 7 * 2


def test_the_projector_has_codes_labels_and_images_of_the_trained_model(trained):
    folder = trained("model=vae", "trainer.max_epochs=1", _panel())
    config = text_format.Parse(
        (folder.path / "projector_config.pbtxt").read_text(), ProjectorConfig()
    )
    (embedding,) = config.embeddings
    images, labels = _validation_images()
    codes = np.loadtxt(folder.path / embedding.tensor_path, delimiter="\t")
    model, _, _ = load_run(folder.path, "last")
    with torch.no_grad():
        mu = model.encode((images / 255 - 0.1307) / 0.3081).mu
    assert codes[:, :2] == pytest.approx(mu.numpy(), abs=1e-4)
    assert not codes[:, 2:].any()
    found = (folder.path / embedding.metadata_path).read_text().split()
    assert found == [str(label) for label in labels.tolist()]
    assert [*embedding.sprite.single_image_dim] == [28, 28]
    sprite = _grey(folder.path / embedding.sprite.image_path)
    assert sprite.shape == (7 * 28, 7 * 28)
    assert np.abs(sprite[28:56, 56:84] - images[7 + 2, 0].numpy()).max() <= 1


@pytest.mark.parametrize("shape", [(3, 3, 8, 5), (3, 1, 5, 8)])
def test_sprites_are_images_padded_to_squares(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    squares = sprites(x)
    assert squares.shape == (*shape[:2], 8, 8)
    assert torch.equal(squares[..., : shape[2], : shape[3]], x)
    assert squares.sum() == pytest.approx(x.sum())


def test_large_sprites_are_shrunk_to_fit_into_one_image():
    squares = sprites(torch.ones(101, 2, 900, 20))
    assert squares.shape == (101, 1, 186, 186)
    assert 11 * 186 <= 2048 < 11 * 187


class _Colours(ImageDataModule):
    def read(self, train):
        generator = torch.Generator().manual_seed(int(train))
        images = torch.randint(256, (60, *self.image_shape), generator=generator)
        return images.to(torch.uint8), torch.arange(60) % 4


def test_panels_show_images_of_any_shape(tmp_path):
    data = _Colours(image_shape=(3, 9, 5), batch_size=20, val_size=20)
    network = MLP(encoder_sizes=[8], decoder_sizes=[8])
    model = Autoencoder(network, Laplace(), latent_dim=3, image_shape=data.image_shape)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=TensorBoardLogger(tmp_path, name="", version=""),
        callbacks=[ImagePanel(), LatentPanel(images=IMAGES)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(AutoencoderModule(model, ELBO()), datamodule=data)
    names = ("latent_scatter", "rates", "reconstructions", "samples", "traversals")
    assert set(_steps(tmp_path)) == {f"val/{name}" for name in names}
    (sprite,) = tmp_path.glob("*/*/sprite.png")
    assert _grey(sprite).shape == (5 * 9, 5 * 9)


def test_panels_do_not_change_the_training(run_here):
    states = [
        load_checkpoint(run_here("model=vae", *overrides).checkpoint("last"))
        for overrides in (["callbacks.image_panel=null"], [_panel(every_n_epochs=1)])
    ]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(states[1]["state_dict"][name], value), name
    moments = [state["optimizer_states"][0]["state"] for state in states]
    for key, entries in moments[0].items():
        assert all(torch.equal(moments[1][key][name], v) for name, v in entries.items())


def test_evaluation_mode_restores_modes_statistics_and_random_state():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.BatchNorm1d(3))
    model[3].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with evaluation_mode(model):
        assert torch.equal(model(x), model(x))
        assert not model(x).requires_grad
    assert [part.training for part in model] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_evaluation_mode_of_a_compiled_model_compiles_nothing():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    model = Twice()
    model.compile(backend=backend)
    with evaluation_mode(model):
        model(torch.zeros(5, 3))
    assert not graphs
    model(torch.zeros(5, 3))
    assert len(graphs) == 1


@pytest.mark.parametrize("option", ["logger=csv", "logger=none", "debug=fast_dev_run"])
def test_without_a_tensorboard_logger_panels_do_nothing(option, run_here, monkeypatch):
    def inputs(*_):
        raise AssertionError("no panel is shown")

    monkeypatch.setattr(LatentPanel, "inputs", inputs)
    monkeypatch.setattr(ImagePanel, "inputs", inputs)
    folder = run_here(option, _panel())
    assert folder.read_metrics()["status"] == "completed"
    assert not list(folder.path.glob("events*"))


def test_only_the_first_process_writes_to_tensorboard(tmp_path, monkeypatch):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    trainer = Trainer(accelerator="cpu", logger=logger, enable_checkpointing=False)
    assert len(summary_writers(trainer)) == 1
    monkeypatch.setattr(type(trainer.strategy), "is_global_zero", False)
    assert summary_writers(trainer) == []


def test_a_resumed_run_has_each_step_of_a_panel_once(
    run_here, compose_launch, tmp_path, monkeypatch
):
    """A run that was interrupted, then made longer, then lost its last checkpoint."""
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 2)
        with pytest.raises(SystemExit):
            run_here("model=vae", "model.latent_dim=1", _panel())
    (path,) = (tmp_path / "logs" / "runs").iterdir()
    resume = quote(f"resume={path}")
    assert _steps(path)["val/samples"] == [4]
    run(compose_launch(resume))
    assert _steps(path)["val/samples"] == [4, 9]
    run(compose_launch(resume, "trainer.max_epochs=4"))
    (path / "checkpoints" / "last.ckpt").unlink()
    run(compose_launch(resume))
    assert _steps(path)["val/samples"] == [4, 9, 14, 19]
    assert _steps(path)["val/reconstructions"] == [4, 9, 14, 19]
    config = (path / "projector_config.pbtxt").read_text()
    assert config.count("tensor_name") == 1
    assert "val_mu:00019" in config

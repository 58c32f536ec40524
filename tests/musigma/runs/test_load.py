"""A run opens with nothing but its folder."""

import shutil
from pathlib import Path

import lightning as L
import pytest
import torch

import musigma
from musigma.data import MNISTDataModule
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.project import PROJECT
from workbench.errors import RunError
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run


def test_load_run_gives_the_trained_model_data_and_config(trained):
    folder = trained("model=vae", "model.latent_dim=3")
    model, data, config = musigma.load_run(folder.path)
    assert not model.training
    assert model.latent_dim == 3
    assert data.source == "sample"
    assert config["model"]["latent_dim"] == 3
    stored = load_checkpoint(folder.checkpoint("best"))["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[f"model.{name}"])


def test_a_moved_run_folder_opens(trained, tmp_path):
    folder = trained()
    before = musigma.load_run(folder.path).model.state_dict()
    moved = shutil.move(folder.path, tmp_path / "elsewhere, renamed=1")
    after = musigma.load_run(moved).model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_run_of_an_older_version_opens_with_the_same_metrics(tmp_path):
    folder = Path(__file__).parent / "written_by_0.1.0"
    module = AutoencoderModule(musigma.load_run(folder).model, ELBO())
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.test(module, datamodule=MNISTDataModule(source="sample"), verbose=False)
    written = RunFolder.open(folder).read_metrics()["metrics"]
    for name, value in module.metrics("test").items():
        assert value == pytest.approx(written[f"test/{name}"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The loaded checkpoint was produced with Lightning")
def test_a_run_of_an_older_version_resumes(tmp_path, compose_launch):
    path = shutil.copytree(Path(__file__).parent / "written_by_0.1.0", tmp_path / "old")
    run(compose_launch(f"resume={path}", "trainer.max_epochs=4"))
    assert load_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == 3


def test_a_run_that_this_version_cannot_open_names_the_version_that_wrote_it(trained):
    folder = trained()
    path = folder.path / "config.yaml"
    config = path.read_text()
    assert RunFolder.open(folder.path).written_by() == PROJECT.version
    path.write_text(config.replace(f"written_by: {PROJECT.version}", "written_by: 9.9.9"))
    path.write_text(path.read_text().replace("models.MLP", "models.Transformer"))
    with pytest.raises(RunError, match="there is no musigma.models.Transformer") as error:
        musigma.load_run(folder.path)
    assert "written by musigma 9.9.9" in str(error.value)
    path.write_text(config.replace("latent_dim: 2", "latent_dim: 3"))
    with pytest.raises(RunError, match="size mismatch"):
        musigma.load_run(folder.path)


@pytest.mark.slow
def test_last_and_best_are_two_checkpoints(trained):
    folder = trained("optimizer.lr=0.5", "trainer.max_epochs=4")
    validations = [load_checkpoint(folder.checkpoint(n))["validation"] for n in ("best", "last")]
    assert validations[0]["loss"] < validations[1]["loss"]
    assert folder.read_metrics()["metrics"]["val/loss"] == validations[0]["loss"]


def test_a_checkpoint_that_runs_code_is_refused(trained, tmp_path):
    folder = trained()

    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Malicious()}, folder.checkpoint("best"))
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        musigma.load_run(folder.path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(trained, content):
    folder = trained()
    folder.checkpoint("best").write_bytes(content)
    with pytest.raises(RunError, match=r"best\.ckpt cannot be read"):
        musigma.load_run(folder.path)


def test_a_missing_checkpoint_is_named(trained):
    folder = trained()
    folder.checkpoint("best").unlink()
    with pytest.raises(RunError, match=r"There is no checkpoint .*best\.ckpt"):
        musigma.load_run(folder.path)

"""Runs logged to Weights & Biases and MLflow, offline, also when they are resumed."""

import importlib.util

import pytest

from extras import needs
from workbench.errors import ConfigError, RunError
from workbench.jobs.command_line import read_command_line
from workbench.jobs.quoting import quote
from workbench.training.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # both packages use deprecated functions
]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_logger_without_its_package_is_an_error_that_names_the_extra(package, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == package else find(n))
    with pytest.raises(ConfigError) as error:
        read_command_line("train", [f"logger={package}"])
    assert str(error.value) == (
        f"logger.{package} needs the extra {package}: pip install -e '.[{package}]'"
        f"  (from configs/logger/{package}.yaml)"
    )


@needs("wandb")
def test_a_resumed_run_continues_its_wandb_run_inside_its_folder(run_here, compose_launch):
    first, second = run_here("logger=wandb"), run_here("logger=wandb", "seed=1")
    names = [folder.read_metrics()["tracked"]["WandbLogger"] for folder in (first, second)]
    assert names[0] != names[1]
    run(compose_launch(quote(f"resume={first.path}"), "trainer.max_epochs=3"))
    assert len(list(first.path.glob(f"wandb/offline-run-*-{names[0]}"))) == 2
    for written in first.path.glob("wandb/offline-run-*/*.wandb"):
        assert b"test/distortion" in written.read_bytes()
    assert len(list(second.path.glob(f"wandb/offline-run-*-{names[1]}"))) == 1


@needs("wandb")
def test_a_misspelt_wandb_setting_is_refused_before_the_run_starts():
    with pytest.raises(ConfigError, match=r"logger.wandb.grup: .* did you mean group\?"):
        read_command_line("train", ["logger=wandb", "+logger.wandb.grup=mine"])


@needs("mlflow")
def test_a_resumed_run_continues_its_mlflow_run_with_settings_and_metrics(
    run_here, compose_launch, tmp_path
):
    from mlflow.tracking import MlflowClient

    folder = run_here("model=vae", "logger=mlflow")
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=3"))
    client = MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("musigma").experiment_id])
    assert found.info.run_id == folder.read_metrics()["tracked"]["MLFlowLogger"]
    assert found.info.run_name == folder.path.name
    assert found.info.status == "FINISHED"
    assert found.data.params["model.latent_dim"] == "2"
    for name, value in folder.read_metrics()["metrics"].items():
        if name.startswith("test/"):
            assert found.data.metrics[name] == pytest.approx(value)
    losses = client.get_metric_history(found.info.run_id, "val/loss")
    assert [loss.step for loss in losses] == [4, 9, 14]


@needs("mlflow")
def test_an_mlflow_server_that_does_not_answer_is_one_error(run_here, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunError, match="MLFlowLogger cannot start: .*127.0.0.1"):
        run_here("logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9")

"""Each script once in a fresh interpreter, as a user types it.

Other tests run scripts in forked processes (`script_server.py`); the doctor is in `test_doctor.py`.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from commands import copy_repository
from musigma.loading import load_run
from musigma.paths import PROJECT_ROOT
from small import SMALL

pytestmark = pytest.mark.slow


def python(*arguments, cwd=PROJECT_ROOT):
    environment = {**os.environ, "PYTHONPATH": str(cwd / "src")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if "importtime" in arguments:
        _check_imports({line.rpartition("|")[2].strip() for line in done.stderr.splitlines()})
    return done.stdout


def _check_imports(imported):
    """Training imports no slow package that it does not use."""
    assert {"torch", "lightning"} <= imported
    assert not {"pandas", "sklearn", "scipy.signal", "scipy.stats", "mlxtend"} & imported


def test_train_prints_the_stages_of_a_run_and_records_them(only_run, tmp_path):
    options = ("model=vae", *SMALL, "trainer.max_epochs=1", f"log_dir={tmp_path}/logs")
    output = python("-X", "importtime", "scripts/train.py", *options)
    folder = only_run()
    for words in (
        "data source: sample",
        "vae: d = 2, normal posterior, Laplace likelihood, 51,",
        "ELBO(beta=1.0, samples=1)",
        "precision 32-true",
        "nats per image",
        f"tensorboard --logdir {folder.path}",
    ):
        assert words in output, output
    names = {path.name for path in folder.path.iterdir()}
    assert {"config.yaml", "overrides.yaml", "environment.txt", "metrics.json"} <= names
    assert {"train.log", "checkpoints"} <= names
    metrics = folder.read_metrics()
    assert metrics["status"] == "completed"
    assert metrics["data_source"] == "sample"
    assert metrics["metrics"].keys() >= {"test/elbo", "val/rate", "train/l1"}
    assert folder.read_config()["data"]["source"] == "sample"
    assert yaml.safe_load((folder.path / "overrides.yaml").read_text())[0] == "model=vae"
    environment = (folder.path / "environment.txt").read_text()
    assert "torch==" in environment
    assert "device cpu" in environment
    assert "epoch 1/1" in (folder.path / "train.log").read_text()


@pytest.mark.exhaustive
def test_evaluate_measures_the_latest_run(trained, tmp_path):
    folder = trained("model=vae", "name='a=b'")
    options = ("run=latest", "images=10", "samples=50", f"log_dir={tmp_path}/logs")
    output = python("scripts/evaluate.py", *options)
    assert "log p(x) on 10 of them, with 50 samples each (seed 0)" in " ".join(output.split())
    assert "data source: sample" in output
    assert (folder.path / "evaluation" / "metrics.json").exists()


@pytest.mark.exhaustive
def test_predict_says_where_it_wrote(trained):
    run = trained("model=vae").path
    output = python("scripts/predict.py", "task=sample", f"run={run}")
    assert output.strip() == f"written to  {run}/predictions/sample.png"


@pytest.mark.exhaustive
def test_export_exports_the_latest_run_and_prints_how_to_open_it(trained, tmp_path):
    folder = trained("model=vae", "name='a=b'")
    output = python(
        "scripts/export.py", "run=latest", "checkpoint=last", f"log_dir={tmp_path}/logs"
    )
    for name in ("encode.pt2", "decode.pt2", "model.safetensors"):
        assert f"('{folder.path / 'export' / name}')" in output
    assert f"musigma.load_run('{folder.path / 'export'}')" in output
    model, z = load_run(folder.path, "last").model, torch.randn(3, 2)
    decode = torch.export.load(folder.path / "export" / "decode.pt2").module()
    torch.testing.assert_close(decode(z), model.likelihood.mean(model.decode(z)))


@pytest.mark.exhaustive
def test_report_writes_the_page_of_a_sweep(trained, tmp_path):
    sweep = tmp_path / "logs" / "sweeps" / "mine"
    shutil.copytree(trained("model=vae").path, sweep / "seed=0")
    output = python("scripts/report.py", "sweep=mine", f"log_dir={tmp_path}/logs")
    assert "Best single run: seed=0" in " ".join(output.split())
    assert (sweep / "report.html").exists()


@pytest.mark.exhaustive
def test_schema_is_written_beside_the_configs(tmp_path):
    output = python("scripts/schema.py", cwd=copy_repository(tmp_path))
    path = tmp_path / "configs" / "schema.json"
    assert output.strip() == f"written to {path}"
    assert json.loads(path.read_text())


@pytest.mark.exhaustive
def test_benchmark_measures_all_pipelines(tmp_path):
    results = tmp_path / "benchmark.json"
    small = "model.network={encoder_sizes:[16],decoder_sizes:[16]}"
    command = ["tables=[epoch]", "rounds=1", "data.source=sample", small, f"output={results}"]
    output = python("scripts/benchmark.py", *command)
    rows = json.loads(results.read_text())["epoch"]
    names = ["notebook", "bare loop", "our step, no Lightning", "minimal Lightning"]
    names += ["scripts/train.py", "matrix products"]
    assert [row["pipeline"] for row in rows] == names
    for row in rows:
        (epoch,) = row["epochs"]
        assert epoch["images"] == 4000
        assert row["pipeline"].split(",")[0] in output
    assert "BestAndLast" in output

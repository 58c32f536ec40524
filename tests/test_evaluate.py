"""scripts/evaluate.py measures any run, or says why it cannot."""

import json
import os
import subprocess
import sys

import pytest
import torch

from musigma.errors import RunError
from musigma.evaluating import evaluate
from musigma.evaluation import importance_estimate
from musigma.paths import PROJECT_ROOT
from musigma.runs.load import load_run

pytestmark = pytest.mark.slow

BINARY = ["model/likelihood=bernoulli", "data.normalization=binarize_dynamic"]
GREY_LEVELS = [
    "model/likelihood=bernoulli",
    "model.likelihood.grey_levels=true",
    "model.latent_dim=20",
    "data.normalization=unit",
]


def _measure(folder, **settings):
    settings = {"checkpoint": "best", "images": 20, "samples": 100, "seed": 0, **settings}
    (metrics,) = evaluate([str(folder.path)], folder.path.parent, **settings)
    return metrics


def test_a_run_is_measured_and_explains_its_figures(run_here):
    folder = run_here("model=vae", *BINARY)
    metrics = _measure(folder)
    assert metrics == json.loads((folder.path / "evaluation" / "metrics.json").read_text())
    assert (metrics["images"], metrics["samples"], metrics["seed"]) == (20, 100, 0)
    assert metrics["data_source"] == "sample"
    assert metrics["elbo"]["mean"] < metrics["log_p"]["mean"]
    assert metrics["log_p"]["mean"] == pytest.approx(metrics["log_p_exact"]["mean"], rel=0.01)
    assert metrics["log_p_exact_not_converged"] == 0
    assert "elbo_unit" not in metrics
    assert _measure(folder) == metrics
    assert _measure(folder, seed=1)["log_p"] != metrics["log_p"]


def test_densities_are_reported_on_the_common_scale_too(run_here):
    metrics = _measure(run_here("model=vae", "model.latent_dim=3"))
    for name in ("elbo", "log_p"):
        gain = metrics[f"{name}_unit"]["mean"] - metrics[name]["mean"]
        assert gain == pytest.approx(923.03, abs=0.005)
    assert "log_p_exact" not in metrics


def test_the_elbo_is_the_one_that_training_reported(run_here):
    folder = run_here("model=vae")
    model, data, _ = load_run(folder.path)
    data.setup("test")
    x = data.test_dataloader().dataset.tensors[0]
    estimate = importance_estimate(model, x, samples=50, generator=torch.Generator().manual_seed(0))
    reported = folder.read_metrics()["metrics"]["test/elbo"]
    assert estimate.elbo.mean().item() == pytest.approx(reported, rel=2e-3)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model=stochastic_autoencoder"], "trained without a rate"),
        (["model=autoencoder"], "trained without a rate"),
        (["model=vae", *GREY_LEVELS], "no density"),
    ],
)
def test_what_has_no_meaning_is_left_out_with_a_reason(run_here, overrides, reason, capsys):
    folder = run_here(*overrides)
    no_density = "cross-entropies of grey levels, and no likelihoods" in capsys.readouterr().out
    assert no_density == (reason == "no density")
    metrics = _measure(folder)
    assert reason in metrics["no_log_p"]
    assert not {"log_p", "elbo", "log_p_exact"} & metrics.keys()
    assert ("active_units" in metrics["latent"]) == (reason == "no density")
    assert reason in (folder.path / "report.html").read_text()
    assert (folder.path / "figures" / "samples.png").exists() == (reason == "no density")
    is_plane = len(metrics["latent"]["spread"]) == 2
    assert (folder.path / "figures" / "latent_plane.png").exists() == is_plane


def test_figures_are_those_that_training_reported(run_here):
    folder = run_here("model=vae")
    metrics, reported = _measure(folder), folder.read_metrics()["metrics"]
    for name in ("l1", "mse", "distortion", "rate"):
        assert metrics[name]["mean"] == pytest.approx(reported[f"test/{name}"], rel=1e-5)


@pytest.mark.parametrize("overrides", [["trainer.precision=bf16-mixed"], ["compile=true"]])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_run_of_another_kind_is_measured_as_the_plain_one(overrides, run_here, monkeypatch):
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part: compile_(part, backend="eager"))
    plain = _measure(run_here("model=vae"))
    other = _measure(run_here("model=vae", *overrides))
    bound = 2e-2 if "bf16" in overrides[0] else 1e-4
    for name in ("distortion", "rate", "elbo", "log_p_exact"):
        assert other[name]["mean"] == pytest.approx(plain[name]["mean"], rel=bound)


def test_a_page_stands_alone_and_text_in_it_is_text(run_here):
    folder = run_here("model=vae", "model.latent_dim=3", "name='<script>alert(1)</script>'")
    _measure(folder)
    page = (folder.path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert all(f'{attribute}="http' not in page for attribute in ("src", "href"))
    names = {path.stem for path in (folder.path / "figures").glob("*.svg")}
    assert names >= {"reconstructions", "latent_scatter", "latent_pca", "samples", "traversals"}
    assert names >= {"rates", "interpolations", "class_errors", "training_curves"}
    assert "latent_plane" not in names


def test_a_run_that_is_none_stops_before_anything_is_measured(run_here, tmp_path):
    folder = run_here("model=vae")
    settings = {"checkpoint": "best", "images": 20, "samples": 50, "seed": 0}
    with pytest.raises(RunError, match="not a run folder"):
        evaluate([str(folder.path), str(tmp_path)], tmp_path, **settings)
    assert not (folder.path / "report.html").exists()


def test_the_script_measures_the_latest_run(run_here, tmp_path):
    folder = run_here("model=vae", "name='a=b'")
    arguments = ["run=latest", "images=10", "samples=50", f"log_dir={tmp_path}/logs"]
    done = subprocess.run(
        [sys.executable, "scripts/evaluate.py", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "log p(x) on 10 of them, 50 samples each, seed 0" in done.stdout
    assert "data source: sample" in done.stdout
    assert (folder.path / "evaluation" / "metrics.json").exists()


@pytest.mark.parametrize("override", ["run=nowhere", "images=1"])
def test_what_cannot_be_is_one_clear_error(override, run_here, tmp_path):
    run_here("model=vae")
    done = subprocess.run(
        [sys.executable, "scripts/evaluate.py", override, f"log_dir={tmp_path}/logs"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr

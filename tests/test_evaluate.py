"""scripts/evaluate.py measures any run, or says why it cannot."""

import json
import os
import subprocess
import sys

import pytest
import torch

from musigma.errors import RunError
from musigma.evaluation import importance_estimate
from musigma.measuring import measure
from musigma.paths import PROJECT_ROOT
from musigma.runs.load import load_run


def _measure(folder, **settings):
    settings = {"checkpoint": "best", "images": 20, "samples": 100, "seed": 0, **settings}
    return measure(str(folder.path), folder.path.parent, **settings)


def test_a_run_is_measured_and_explains_its_figures(run_here):
    folder = run_here("experiment=binary_vae", "model.latent_dim=2", "trainer.max_epochs=2")
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
        (["model=autoencoder"], "posterior is a point"),
        (["experiment=grey_levels", "data.val_size=500"], "no density"),
    ],
)
def test_what_has_no_meaning_is_refused_with_a_reason(run_here, overrides, reason, capsys):
    folder = run_here(*overrides)
    no_density = "cross-entropies of grey levels, and no likelihoods" in capsys.readouterr().out
    assert no_density == (reason == "no density")
    with pytest.raises(RunError, match=reason):
        _measure(folder)
    assert not (folder.path / "evaluation").exists()


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
    assert "10 test images, 50 samples each, seed 0, data source: sample" in done.stdout
    assert (folder.path / "evaluation" / "metrics.json").exists()


@pytest.mark.parametrize("override", ["run=nowhere", "images=1", "samples=3"])
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

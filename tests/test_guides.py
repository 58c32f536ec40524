"""The guides work as written, in a copy of the repository."""

import functools
import importlib.util
import json
import os
import pickle
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from scipy.integrate import quad

from commands import QUICK_EVALUATION, copy_repository, run_steps, small
from markdown_blocks import blocks, commands, write_files
from musigma.paths import PROJECT_ROOT
from shapes import coloured_shapes, write_folder
from workbench.jobs.command_line import read_command_line

pytestmark = pytest.mark.slow


def _blocks(*names):
    return [one for name in names for one in blocks((PROJECT_ROOT / f"docs/{name}.md").read_text())]


OWN = _blocks("your-own")
CLUSTERS = _blocks("clusters")
ELSEWHERE = _blocks("notebooks", "colleagues")
REUSE = _blocks("runs", "training", "lightning")
MODELS = _blocks("your-own-model")
FOREIGN = _blocks("foreign")
POSTERIORS = _blocks("your-own-posterior")  # run by test_guide_posterior.py
# CIFAR-10 without checksums, so that a few images can stand for it.
STAND_IN = """
from torchvision.datasets import CIFAR10
CIFAR10.train_list, CIFAR10.test_list = (
    [[name, None] for name, _ in files] for files in (CIFAR10.train_list, CIFAR10.test_list)
)
CIFAR10.meta = {**CIFAR10.meta, "md5": None}
"""


def _write_cifar10(folder):
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        images, labels = coloured_shapes(50 if name == "test_batch" else 1020)
        entry = {"data": images.flatten(1).numpy(), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(entry))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c"]}))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with the files of the guides."""
    root = copy_repository(tmp_path_factory.mktemp("guides"))
    write_files([*OWN, *CLUSTERS], root)
    return root


@pytest.fixture(scope="module")
def own(copy):
    """The output of following the guide to parts of one's own."""
    write_folder(copy / "photos", *coloured_shapes(60, side=40))
    _write_cifar10(copy / "data" / "cifar-10-batches-py")
    steps = [("code", STAND_IN + QUICK_EVALUATION)]
    for block in OWN:
        if block.language == "bash":
            steps += map(small, commands([block]))
        elif block.language == "python" and not block.path:
            steps.append(("code", block.text))
    return run_steps(steps, copy)


@pytest.mark.parametrize(
    "words",
    [
        "photos 3 × 32 × 32, pixels: Unit",
        "images.npz, pixels: Unit",
        "images.npz, pixels: Standardize",
        "CIFAR10, pixels: Standardize",
        "CodePenalty(weight=0.1)",
        "│ penalty ",
        "StudentT likelihood",
        "HeavyTails prior",
        "robust_vae: d = 8, normal posterior, StudentT likelihood",
        "│ edge error ",
        "best        encoder_sizes=",
    ],
)
def test_every_part_of_the_guide_is_used_in_its_runs(words, own):
    assert words in own, own


def test_the_guides_metric_and_plot_are_on_the_page(own, copy):
    (page,) = (copy / "logs" / "runs").glob("*/report.html")
    assert (page.parent / "figures" / "std_histogram.png").exists()
    assert "The stds of q(z|x)." in page.read_text()
    metrics = json.loads((page.parent / "evaluation" / "metrics.json").read_text())
    assert 0 < metrics["edge_error"]["mean"] < 1


def test_the_guides_callback_writes_codes(own, copy):
    (first,) = (copy / "logs" / "runs").glob("*/codes/1.npz")
    with np.load(first) as codes:
        assert codes["mu"].shape == (500, 2)
        assert len(codes["label"]) == 500


def test_the_guides_density_integrates_to_one(copy):
    names = {}
    exec((copy / "src/musigma/objectives/likelihoods/student_t.py").read_text(), names)
    likelihood = names["StudentT"](degrees=4.0, scale=0.7)

    def density(pixel):
        x = torch.full((1, 1, 1, 1), pixel, dtype=torch.float64)
        return likelihood.log_prob(x, torch.zeros_like(x)).exp().item()

    assert quad(density, -np.inf, np.inf)[0] == pytest.approx(1)


def _run_of(override, runs):
    """The one run in the folder `runs` whose command line held `override`."""
    files = runs.glob("*/overrides.yaml")
    (file,) = [one for one in files if override in yaml.safe_load(one.read_text())]
    return file.parent


def test_the_guides_to_notebooks_and_colleagues_runs_work(own, copy):
    runs = copy / "logs" / "runs"
    _run_of("model/network=residual", runs).rename(runs / "mine")
    _run_of("model/likelihood=student_t", runs).rename(runs / "theirs")
    theirs = runs / "theirs" / "config.yaml"
    theirs.write_text(theirs.read_text().replace("root: null", "root: /their/data"))
    steps = [("code", QUICK_EVALUATION)]
    for block in ELSEWHERE:
        if block.language == "bash":
            lines = commands([block])
            steps += [small(line) if "scripts/" in line else ("shell", line) for line in lines]
        elif block.language == "python":
            steps.append(("code", block.text.replace("logs/runs/...", "logs/runs/mine")))
    facts = "images.shape, len(plots), metrics['test_images'], module.global_step"
    output = run_steps([*steps, ("code", f"print({facts})")], copy)
    assert "torch.Size([5, 9, 1, 28, 28]) 10 500 32" in output
    assert {path.name for path in (copy / "comparison").iterdir()} == {
        *("mine", "theirs", "report.csv", "report.html")
    }
    for name in ("mine", "theirs"):
        assert (copy / "comparison" / name / "report.html").exists()
    assert re.search(r"^best +.*Best single run: (mine|theirs)", output, re.M | re.S), output
    header = (copy / "comparison" / "report.csv").read_text().splitlines()[0]
    assert {"network", "likelihood"} < set(header.split(","))
    assert "root" not in header.split(",")


def test_the_guides_to_reusing_a_trained_model_work(own, copy):
    steps = [small("python scripts/train.py model=vae name=again"), *map(small, commands(REUSE))]
    output = run_steps(steps, copy)
    (run,) = (copy / "logs" / "runs").glob("*_again_*")
    assert (run / "predictions" / "encode.npz").exists()
    assert [*run.glob("**/encode.pt2")]
    assert re.search(r"^│ model.decoder +│ \d+ tensors +│ loaded", output, re.M), output


def test_every_command_of_a_guide_is_run():
    tried = {*map(str, (*OWN, *CLUSTERS, *ELSEWHERE, *REUSE, *MODELS, *POSTERIORS, *FOREIGN))}
    for path in (PROJECT_ROOT / "docs").glob("*.md"):
        for block in blocks(path.read_text()):
            assert block.language not in ("bash", "python") or str(block) in tried, (path, block)


@pytest.mark.exhaustive
def test_the_guide_to_foreign_classes_works(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "users_package")
    root = copy_repository(tmp_path)
    write_files(FOREIGN, root)
    steps = [small(line) for line in commands(FOREIGN) if line.startswith("python")]
    output = run_steps(steps, root)
    assert "with its own model and optimizers" in output
    assert re.search(r"^best +hidden=\d+: val/loss", output, re.M), output
    assert len([*(root / "logs" / "runs").glob("*/metrics.json")]) == 3


LAUNCHES = [c for c in commands(CLUSTERS) if "launcher" in c and "stacked" not in c]


def test_the_guides_command_for_stacked_jobs_is_valid():
    (command,) = [c for c in commands(CLUSTERS) if "stacked" in c]
    found = read_command_line("train", shlex.split(command)[2:])
    assert len(found.jobs) == 64


@pytest.mark.parametrize("command", LAUNCHES)
def test_the_guides_commands_for_clusters_compose(command, copy):
    plugin = "hydra_ray_launcher" if "ray" in command else "hydra_submitit_launcher"
    spec = importlib.util.find_spec("hydra_plugins")
    if spec is None or importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"{plugin} is not installed")
    arguments = command.removeprefix("python scripts/train.py -m ").split()
    done = subprocess.run(
        [sys.executable, "scripts/train.py", "--cfg", "hydra", *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    launcher = yaml.safe_load(done.stdout)["hydra"]["launcher"]
    for argument in arguments:
        if argument.lstrip("+").startswith("hydra.launcher."):
            path, _, value = argument.lstrip("+").removeprefix("hydra.launcher.").partition("=")
            node = functools.reduce(dict.__getitem__, path.split("."), launcher)
            assert node == yaml.safe_load(value)
    if "cluster" in command:
        assert (launcher["partition"], launcher["timeout_min"]) == ("gpu", 600)
        assert launcher["gpus_per_node"] == 1


def test_the_guide_to_models_works(tmp_path):
    root = copy_repository(tmp_path)
    write_files(MODELS, root)
    steps = [("code", QUICK_EVALUATION)]
    for block in MODELS:
        if block.language == "bash":
            steps += map(small, commands([block]))
        elif block.language == "python" and not block.path:
            steps.append(("code", block.text))
    output = run_steps(steps, root)
    assert "│ sparsity " in output, output
    # Their losses do not compare, as these hold penalties of different weights.
    assert re.search(r"^best +sparsity=\S+: test/elbo", output, re.M), output
    assert "log p(x|y), quadrature" in output, output
    assert "codes (5, 2) images (5, 1, 28, 28)" in output, output
    assert "sevens (3, 1, 28, 28)" in output, output
    (sample,) = (root / "logs" / "runs").glob("*labelled_vae*/predictions/sample.png")
    assert sample.stat().st_size > 0

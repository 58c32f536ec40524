"""`scripts/evaluate.py` evaluates any run, or says why it cannot."""

import json
import math
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from matplotlib.figure import Figure

from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.measure import measure
from musigma.commands.plotting import plots_of
from musigma.data.loader import InMemory
from musigma.evaluation import importance_estimate
from musigma.evaluation.encoding import encoded
from musigma.loading import load_run
from musigma.models import MLP, Autoencoder, NormalPosterior
from musigma.models.priors import StandardNormal
from musigma.objectives.likelihoods import Laplace
from musigma.pages.run import rows_of
from musigma.plots.named import NamedPlot, plot_files
from script_server import Started, python
from workbench.errors import ConfigError, RunError
from workbench.runs.evaluation import finite
from workbench.runs.folder import RunFolder

pytestmark = pytest.mark.slow

BINARY = ["model/likelihood=bernoulli", "data.normalization=binarize_dynamic"]
GREY_LEVELS = [
    "model/likelihood=bernoulli",
    "model.likelihood.grey_levels=true",
    "model.latent_dim=20",
    "data.normalization=unit",
]


def _measure(folder, **settings):
    settings = {"checkpoint": "best", "images": 5, "samples": 100, "seed": 0, **settings}
    (metrics,) = evaluate([str(folder.path)], folder.path.parent, **settings)
    return metrics


def test_an_evaluation_is_written_reproducible_and_consistent(trained, without_plots):
    folder = trained("model=vae", *BINARY)
    metrics = _measure(folder)
    assert metrics == json.loads((folder.path / "evaluation" / "metrics.json").read_text())
    assert (metrics["images"], metrics["samples"], metrics["seed"]) == (5, 100, 0)
    assert metrics["data_source"] == "sample"
    assert metrics["elbo"]["mean"] < metrics["log_p"]["mean"]
    assert metrics["log_p"]["mean"] == pytest.approx(metrics["log_p_exact"]["mean"], rel=0.01)
    assert metrics["log_p_exact_not_converged"] == 0
    assert "elbo_unit" not in metrics
    assert "k̂ over 0.7" in (folder.path / "report.html").read_text("utf-8")
    assert _measure(folder) == metrics
    assert _measure(folder, seed=1)["log_p"] != metrics["log_p"]


def test_the_page_says_that_the_density_of_the_prior_is_not_normalised(
    trained, without_plots, monkeypatch
):
    folder = trained("model=vae", *BINARY)
    right = StandardNormal.log_prob
    monkeypatch.setattr(StandardNormal, "log_prob", lambda self, z: right(self, z) + math.log(3))
    assert _measure(folder)["log_p_exact_not_converged"] == 5
    page = (folder.path / "report.html").read_text("utf-8")
    assert "did not converge for 5 of 5 images" in page
    assert "density is 3 and should be 1" in page


def test_the_page_says_that_a_closed_form_of_the_rate_differs_from_the_draws(
    trained, without_plots, monkeypatch
):
    folder = trained("model=vae", *BINARY)
    metrics = _measure(folder)
    assert abs(metrics["rate_deviation"]) < 4.5 * metrics["rate_deviation_error"]
    right = NormalPosterior.rate_to_standard_normal
    monkeypatch.setattr(NormalPosterior, "rate_to_standard_normal", lambda self: right(self) + 5.0)
    wrong = _measure(folder)
    assert wrong["rate_deviation"] == pytest.approx(metrics["rate_deviation"] + 5)
    assert "R in closed form differs by" in (folder.path / "report.html").read_text("utf-8")


def test_densities_are_also_reported_on_the_common_scale(trained, without_plots):
    metrics = _measure(trained("model=vae", "model.latent_dim=3"))
    for name in ("elbo", "log_p"):
        gain = metrics[f"{name}_unit"]["mean"] - metrics[name]["mean"]
        assert gain == pytest.approx(923.03, abs=0.005)
    assert "log_p_exact" not in metrics


def test_the_elbo_equals_the_one_that_training_reported(trained):
    folder = trained("model=vae")
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
        pytest.param(["model=autoencoder"], "trained without a rate", marks=pytest.mark.exhaustive),
        (["model=vae", *GREY_LEVELS], "not a density"),
    ],
)
def test_metrics_without_meaning_are_left_out_with_a_reason(
    run_here, without_plot_files, overrides, reason, capsys
):
    folder = run_here(*overrides)
    no_density = (
        "cross-entropies of grey levels, which are not likelihoods" in capsys.readouterr().out
    )
    assert no_density == (reason == "not a density")
    metrics = _measure(folder)
    assert reason in metrics["no_log_p"]
    assert not {"log_p", "elbo", "log_p_exact"} & metrics.keys()
    assert ("active_units" in metrics["latent"]) == (reason == "not a density")
    assert reason in (folder.path / "report.html").read_text()
    assert (folder.path / "figures" / "samples.png").exists() == (reason == "not a density")
    is_plane = len(metrics["latent"]["spread"]) == 2
    assert (folder.path / "figures" / "latent_plane.png").exists() == is_plane


def test_metrics_equal_those_that_training_reported(trained, without_plots):
    folder = trained("model=vae")
    metrics, reported = _measure(folder), folder.read_metrics()["metrics"]
    for name in ("l1", "mse", "distortion", "rate"):
        assert metrics[name]["mean"] == pytest.approx(reported[f"test/{name}"], rel=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["trainer.precision=bf16-mixed"], marks=pytest.mark.exhaustive),
        ["compile=true"],
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_run_in_bf16_or_compiled_is_measured_like_a_plain_one(
    overrides, run_here, trained, without_plots, monkeypatch
):
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_(f, backend="eager"))
    plain = _measure(trained("model=vae"))
    other = _measure(run_here("model=vae", *overrides))
    bound = 2e-2 if "bf16" in overrides[0] else 1e-4
    for name in ("distortion", "rate", "elbo", "log_p_exact"):
        assert other[name]["mean"] == pytest.approx(plain[name]["mean"], rel=bound)


def test_a_page_loads_no_other_file_and_escapes_text(run_here):
    folder = run_here("model=vae", "model.latent_dim=3", "name='<script>alert(1)</script>'")
    _measure(folder)
    page = (folder.path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert all(f'{attribute}="http' not in page for attribute in ("src", "href"))
    names = {path.stem for path in (folder.path / "figures").glob("*.svg")}
    assert names >= {"reconstructions", "latent_scatter", "latent_pca", "samples", "traversals"}
    assert names >= {"rates", "interpolations", "class_errors", "training_curves"}
    assert "latent_plane" not in names


def test_a_folder_that_is_not_a_run_is_refused_before_anything_is_measured(trained, tmp_path):
    folder = trained("model=vae")
    settings = {"checkpoint": "best", "images": 20, "samples": 50, "seed": 0}
    with pytest.raises(RunError, match="not a run folder"):
        evaluate([str(folder.path), str(tmp_path)], tmp_path, **settings)
    assert not (folder.path / "report.html").exists()


@pytest.mark.parametrize("override", ["run=nowhere", "images=1"])
def test_invalid_arguments_are_refused_without_a_traceback(override, trained, tmp_path):
    trained("model=vae")
    done = python("scripts/evaluate.py", override, f"log_dir={tmp_path}/logs")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A finished run of a tiny model on the sample."""
    parent = tmp_path_factory.mktemp("runs")
    folder = RunFolder.create(parent, "run")
    older = Path(__file__).parents[1] / "runs" / "written_by_0.1.0"
    config = yaml.safe_load((older / "config.yaml").read_text())
    folder.write_config(config, ["model=vae"])
    shutil.copytree(older / "checkpoints", folder.path / "checkpoints", dirs_exist_ok=True)
    folder.write_environment("python 3\ndevice cpu\n")
    folder.write_metrics(status="completed", seconds=1.0)
    return folder.path


@pytest.fixture
def copied(written, tmp_path, monkeypatch):
    """A copy of that run, whose evaluation makes a single small plot."""
    shutil.copytree(written, tmp_path / "runs" / "run")
    monkeypatch.setattr("musigma.commands.evaluate.plots_of", lambda *_: iter([_plot("one")]))
    monkeypatch.setattr("musigma.commands.measure._classes", lambda *_: {"classes": {}})
    return RunFolder.open(tmp_path / "runs" / "run")


def _plot(name):
    return NamedPlot(name, "caption", lambda: Figure((1, 1)))


def _files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _checkpoint(folder, name="best", **entries):
    path = folder.checkpoint(name)
    torch.save({**torch.load(path), **entries}, path)


@pytest.mark.parametrize(
    "place", ["evaluation", "figures", "report.html/x", "evaluation/metrics.json/x"]
)
def test_a_run_folder_that_cannot_be_written_is_not_measured(place, copied, monkeypatch):
    path = copied.path / place
    if "/x" in place:
        path.parent.mkdir(parents=True)
    path.write_text("in the way")
    before = _files(copied.path)
    monkeypatch.setattr("musigma.commands.evaluate.measure", None)
    with pytest.raises(RunError, match=r"cannot be written: .*\n.*output=\.\.\."):
        _measure(copied)
    assert _files(copied.path) == before


def test_with_an_output_nothing_is_written_to_the_run(copied, tmp_path):
    copied.write_metrics(status="running")
    before = _files(copied.path)
    metrics = _measure(copied, output=str(tmp_path / "made" / "here"))
    assert _files(copied.path) == before
    written = {
        str(path.relative_to(tmp_path / "made" / "here")) for path in _files(tmp_path / "made")
    }
    assert written == {
        "evaluation/metrics.json",
        "figures/one.png",
        "figures/one.svg",
        "report.html",
    }
    assert metrics["run"] == str(copied.path)
    page = (tmp_path / "made" / "here" / "report.html").read_text()
    assert str(copied.path) in page
    assert str(tmp_path / "made" / "here") in page
    assert "its status is killed" in page


def test_an_output_of_several_runs_has_a_uniquely_named_folder_for_each(copied, tmp_path):
    shutil.copytree(copied.path, tmp_path / "other" / "run")
    shutil.copytree(copied.path, tmp_path / "other" / "third")
    runs = [str(copied.path), str(tmp_path / "other"), str(copied.path)]
    settings = {"checkpoint": "best", "images": 4, "samples": 25, "seed": 0}
    found = evaluate(runs, tmp_path, **settings, output=str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run", "run_2", "third"}
    assert len(found) == 3
    assert all((path / "report.html").exists() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize(
    "moment",
    [
        "musigma.commands.evaluate.measure",
        "musigma.commands.evaluate.plot_files",
        "workbench.runs.output.os.fsync",
    ],
)
def test_an_interrupted_evaluation_leaves_the_earlier_one_whole(
    failure, moment, copied, monkeypatch, tmp_path
):
    _measure(copied)
    before = _files(copied.path)

    def stop(*_, **__):
        raise failure

    monkeypatch.setattr(moment, stop)
    with pytest.raises((KeyboardInterrupt, OSError, RunError)):
        _measure(copied, seed=1)
    assert _files(copied.path) == before
    assert not list(copied.path.glob(".partial*"))


def test_a_full_disk_is_reported_after_the_metrics_were_printed(copied, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(RunError, match="cannot be written: .*No space left on device"):
        _measure(copied)
    assert "distortion D" in capsys.readouterr().out


def test_plots_of_an_earlier_evaluation_are_removed_and_other_files_kept(copied, monkeypatch):
    _measure(copied)
    (copied.path / "figures" / "mine.png").write_text("mine")
    monkeypatch.setattr("musigma.commands.evaluate.plots_of", lambda *_: iter([_plot("two")]))
    _measure(copied)
    names = {path.name for path in (copied.path / "figures").iterdir()}
    assert names == {"two.png", "two.svg", "mine.png"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("overrides.yaml", b"a: mapping"),
        ("overrides.yaml", b": ["),
        ("overrides.yaml", b"\xff\xfe"),
        ("environment.txt", b"\xff\x00"),
        ("metrics.json", b"[]"),
        ("metrics.json", b"{"),
    ],
)
def test_a_damaged_record_of_a_run_is_only_noted_on_the_page(name, content, copied):
    (copied.path / name).write_bytes(content)
    metrics = _measure(copied)
    assert metrics["distortion"]["mean"] > 0
    page = (copied.path / "report.html").read_text()
    assert re.search(rf'class="note">[^<]*{name} (cannot be read|is damaged)', page)


def test_the_page_states_which_weights_it_shows_and_how_the_run_ended(copied, capsys):
    _checkpoint(copied, "best", epoch=2, global_step=1290)
    _checkpoint(copied, "last", epoch=6, global_step=3010)
    copied.write_metrics(status="failed", error="<b>of space</b>")
    metrics = _measure(copied)
    assert (metrics["epoch"], metrics["step"], metrics["status"]) == (3, 1290, "failed")
    page = (copied.path / "report.html").read_text()
    assert "The best checkpoint (epoch 3, step 1290) on 500 test images" in page
    assert "<td>epochs trained</td><td>7</td>" in page
    assert re.search(r"<td>written</td><td>[\d-]+ [\d:]+( UTC|[+-][\d:]+)</td>", page)
    assert "was not completed, its status is failed: &lt;b&gt;of space" in page
    said = capsys.readouterr().out
    assert "The best checkpoint (epoch 3, step 1290)" in said
    assert "test metrics, data source: sample" in said
    assert _measure(copied, checkpoint="last")["epoch"] == 7


def test_each_checkpoint_is_measured_and_replacing_an_evaluation_is_logged(copied, capsys):
    _checkpoint(copied, "best", epoch=2, global_step=1290)
    weights = torch.load(copied.checkpoint("last"))["state_dict"]
    other = copied.path / "checkpoints" / "epoch=3-step=12.ckpt"
    shifted = {name: value + 0.05 for name, value in weights.items()}
    torch.save({**torch.load(copied.checkpoint("last")), "epoch": 3, "state_dict": shifted}, other)
    best = _measure(copied)
    before = _files(copied.path)
    found = _measure(copied, checkpoint="epoch=3-step=12.ckpt")
    assert (found["checkpoint"], found["epoch"]) == ("epoch=3-step=12", 4)
    assert found["distortion"] != best["distortion"]
    place = copied.path / "evaluations" / "epoch=3-step=12"
    assert "epoch=3-step=12 checkpoint (epoch 4" in (place / "report.html").read_text()
    assert {
        path: content for path, content in _files(copied.path).items() if path in before
    } == before
    assert "is replaced" not in capsys.readouterr().out
    last = _measure(copied, checkpoint="last")
    assert "the evaluation of the best checkpoint is replaced" in capsys.readouterr().out
    assert _measure(copied, checkpoint=str(copied.checkpoint("last"))) == last
    assert "is replaced" not in capsys.readouterr().out
    with pytest.raises(RunError, match="has no checkpoint epoch=9; it has: best, epoch=3-step=12"):
        _measure(copied, checkpoint="epoch=9")


def test_an_export_is_measured_as_an_export(copied, tmp_path):
    export_run(load_run(copied.path), tmp_path / "exported")
    metrics = _measure(RunFolder.open(tmp_path / "exported"))
    assert metrics["checkpoint"] == "export"
    with pytest.raises(RunError, match="is an export, which has no checkpoint previous"):
        _measure(RunFolder.open(tmp_path / "exported"), checkpoint="previous")
    page = (tmp_path / "exported" / "report.html").read_text()
    assert "The exported weights on 500 test images" in page
    assert "was not completed" not in page


def test_runs_of_a_sweep_that_do_not_open_are_named_and_the_rest_measured(copied, capsys):
    shutil.copytree(copied.path, copied.path.with_name("without"))
    copied.path.with_name("without").joinpath("checkpoints", "best.ckpt").unlink()
    settings = {"checkpoint": "best", "images": 4, "samples": 25, "seed": 0}
    assert len(evaluate([str(copied.path.parent)], copied.path, **settings)) == 1
    assert re.search(r"without is left out: There is no checkpoint", capsys.readouterr().out)
    with pytest.raises(RunError, match="There is no checkpoint"):
        evaluate([str(copied.path.with_name("without"))], copied.path, **settings)
    with pytest.raises(ConfigError, match="names no run"):
        evaluate([], copied.path, **settings)


def test_weights_that_are_not_finite_are_not_measured(copied, monkeypatch):
    weights = torch.load(copied.checkpoint("best"))["state_dict"]
    _checkpoint(copied, state_dict={name: w * float("nan") for name, w in weights.items()})
    monkeypatch.setattr("musigma.commands.evaluate.measure", None)
    with pytest.raises(RunError, match="not finite: training had diverged"):
        _measure(copied)
    assert not (copied.path / "evaluation").exists()


def test_a_plot_that_fails_is_left_out_and_the_metrics_are_kept(copied, monkeypatch):
    def fail():
        raise ValueError("no such plot")

    monkeypatch.setattr(
        "musigma.commands.evaluate.plots_of",
        lambda *_: iter([NamedPlot("odd", "", fail), _plot("one")]),
    )
    assert _measure(copied)["figures"] == ["one.png", "one.svg"]
    assert (
        "odd, left out: it cannot be plotted: no such plot"
        in (copied.path / "report.html").read_text()
    )


def _of_one_image(run):
    run.data.setup("fit")
    run.data.setup("test")
    x, y = run.data.test_dataloader().dataset.tensors
    return encoded(run.model, InMemory(x[:1], y[:1]), run.data.normalization.to_unit)


@pytest.mark.parametrize("d", [1, pytest.param(2, marks=pytest.mark.exhaustive), 3])
@pytest.mark.filterwarnings("error")
def test_a_single_test_image_gives_means_without_errors(d, written):
    run = load_run(written)
    model = Autoencoder(MLP([4], [4]), Laplace(), latent_dim=d).eval()
    run = run._replace(model=model)
    test = _of_one_image(run)
    found = finite(measure(run, test, images=300, samples=25, seed=0))
    json.dumps(found, allow_nan=False)
    assert found["images"] == 1
    mean = pytest.approx(-test.log_likelihood.item())
    assert found["distortion"] == {"mean": mean, "images": 1}
    assert found["left_out"]["distortion.error"] == "it is not a finite number"
    rows = {row.name: row for row in rows_of(found)}
    assert rows["distortion D"].error == "–"
    drawn = [plot_files(plot) for plot in plots_of(run, test, {})]
    assert not [plot.caption for plot in drawn if "cannot be plotted" in plot.caption]
    assert {p.name for p in drawn if not p.source} == {
        *("interpolations", "class_errors", "training_curves")
    }


def test_training_curves_of_unknown_names_are_left_out_with_the_reason(written):
    run = load_run(written)
    test = _of_one_image(run)
    (last,) = [d for d in plots_of(run, test, {"hp": ([0], [1.0])}) if d.name == "training_curves"]
    assert last.plot is None
    assert last.caption.startswith("left out")


def test_a_class_too_rare_to_be_fitted_on_is_not_probed(written, monkeypatch):
    monkeypatch.setattr("musigma.evaluation.probes.TRAINING_CODES", 10)
    run = load_run(written)
    test = _of_one_image(run)
    labels = run.data._sets["train"].labels
    labels[:] = torch.zeros_like(labels).index_fill_(0, torch.tensor([0]), 1)
    assert measure(run, test, images=2, samples=25, seed=0)["classes"] == {}


def test_test_images_without_a_class_are_not_probed(written):
    run = load_run(written)
    test = _of_one_image(run)._replace(y=torch.tensor([-1]))
    found = measure(run, test, images=1, samples=25, seed=0)
    assert (found["classes"], found["no_classes"]) == ({}, "the test images have no classes")


def test_ctrl_c_while_measuring_leaves_the_run_unchanged(written):
    before = _files(written)
    started = Started("scripts/evaluate.py", f"run={written}", "samples=100000")
    started.wait_for("measuring")
    started.send_signal(signal.SIGINT)
    assert started.finish(60).returncode != 0
    assert _files(written) == before

"""A sweep's page, on synthetic run folders and on a small real sweep."""

import copy
import csv
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from musigma.metrics import older_meanings
from musigma.project import PROJECT
from workbench.errors import RunError
from workbench.links import leads_out
from workbench.runs.folder import RunFolder
from workbench.sweeps.collect import collect, find_sweep
from workbench.sweeps.compare import compare
from workbench.sweeps.job import run_job
from workbench.sweeps.paired import gaps_to_best
from workbench.sweeps.report import report
from workbench.sweeps.scales import deciding_metric
from workbench.sweeps.varied import common_settings, varied_settings
from workbench.training.launch import Launch

pytestmark = pytest.mark.slow

LIKELIHOODS = "musigma.objectives.likelihoods"
CONFIG: dict[str, Any] = {
    "name": "vae",
    "seed": 0,
    "test": True,
    "varied": ["model.objective.beta", "seed"],
    "data": {
        "_target_": "musigma.data.MNISTDataModule",
        "dataset": "MNIST",
        "mean": 0.1307,
        "std": 0.3081,
        "normalization": "standardize",
        "seed": 0,
        "source": "sample",
    },
    "model": {
        "_target_": "musigma.models.Autoencoder",
        "latent_dim": 2,
        "network": {
            "_target_": "musigma.models.MLP",
            "encoder_sizes": [8],
            "decoder_sizes": [8],
        },
        "likelihood": {"_target_": f"{LIKELIHOODS}.Laplace", "scale": 1.0},
        "objective": {"_target_": "musigma.objectives.ELBO", "beta": 1.0, "samples": 1},
    },
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3},
    "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": 10},
    "log_dir": "logs",
}


def synthetic_run(
    parent: Path,
    run_name: str,
    /,
    *,
    elbo: float = -800.0,
    status: str | None = "completed",
    error: str | None = None,
    epochs: int = 0,
    metrics: dict[str, float] | None = None,
    **settings: Any,
) -> Path:
    """A run folder without a checkpoint; `settings` has dots as double underscores."""
    config = copy.deepcopy(CONFIG)
    for key, value in settings.items():
        *places, last = key.split("__")
        node = config
        for place in places:
            node = node[place]
        node[last] = value
    if "seed" in settings:
        config["data"]["seed"] = settings["seed"]
    folder = RunFolder.create(parent, run_name)
    folder.write_config(config, [])
    values = {"elbo": elbo, "distortion": -elbo - 5, "rate": 5.0, "loss": -elbo / 784, "l1": 0.3}
    if status:
        folder.write_metrics(
            status=status,
            data_source=config["data"].get("source", "files"),
            error=error,
            metrics=metrics or {f"{s}/{n}": v for s in ("val", "test") for n, v in values.items()},
            seconds=1.5,
        )
    if epochs:
        writer = EventFileWriter(str(folder.path))
        for epoch in range(epochs):
            for metric, value in values.items():
                scalar = Summary.Value(tag=f"val/{metric}", simple_value=value / (1 + epoch))
                summary = Summary(value=[scalar])
                writer.add_event(Event(step=430 * epoch, wall_time=epoch, summary=summary))
        writer.close()
    return folder.path


def beta_sweep(parent: Path, **elbos: list[float]) -> None:
    """Runs of `beta_0_1=[elbo of seed 0, of seed 1]` and so on."""
    for name, of_seeds in elbos.items():
        beta = float(name.removeprefix("beta_").replace("_", "."))
        for seed, elbo in enumerate(of_seeds):
            label = f"beta={beta:g},seed={seed}"
            synthetic_run(parent, label, elbo=elbo, seed=seed, model__objective__beta=beta)


def page_of(sweep: Path, **options: Any) -> str:
    return report(str(sweep), sweep.parent, **options).read_text("utf-8")


def rows_of(page: str) -> list[str]:
    """The first cell of each row of the first table."""
    table = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return re.findall(r"<tr[^>]*>\s*<td[^>]*>([^<]*)", table)


def bests_of(page: str) -> dict[str, list[str]]:
    """Heading → the cells of its column that are marked as best."""
    found: dict[str, list[str]] = {}
    for table in re.findall(r'<table id="(?:settings|runs)">.*?</table>', page, re.DOTALL):
        names = [re.sub("<.*?>", "", name).strip() for name in re.findall(r"<th.*?</th>", table)]
        for row in re.findall(r"<tr data-.*?</tr>", table, re.DOTALL):
            for name, cell in zip(names, re.findall(r"<td.*?</td>", row, re.DOTALL), strict=True):
                if 'class="number best"' in cell:
                    found.setdefault(name, []).append(re.sub("<.*?>", "", cell))
    return found


def notes_of(page: str) -> str:
    return "\n".join(re.findall(r'class="note">(.*?)</p>', page))


def data_of(page: str) -> dict[str, Any]:
    """The data that the page passes to its script."""
    (text,) = re.findall(r'id="sweep-data">(.*?)</script>', page)
    return json.loads(text)


def verdicts_of(page: str) -> list[str]:
    return re.findall(r'class="verdict">★ (.*?)</p>', page)


def test_only_varied_settings_are_shown_and_not_their_copies(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800, -801], beta_4=[-820, -821])
    runs = collect(tmp_path)
    assert varied_settings(runs) == {"model.objective.beta": "beta", "seed": "seed"}
    assert common_settings(runs)["model.latent_dim"] == "2"
    assert "seed" not in common_settings(runs)


def test_paths_do_not_count_as_differences_between_runs(tmp_path):
    own = {
        "data__root": "/data",
        "log_dir": "/elsewhere/logs",
        "logger": {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger"}},
    }
    synthetic_run(tmp_path, "theirs", seed=1, **own)
    synthetic_run(tmp_path, "mine", data__root=None)
    runs = collect(tmp_path)
    assert varied_settings(runs) == {"seed": "seed"}
    (group,) = compare(runs).groups
    assert len(group.runs) == 2


def test_runs_with_other_settings_of_a_callback_are_not_means_over_seeds(tmp_path):
    for rate in (0.1, 0.2):
        callbacks = {"anneal": {"_target_": "mine.Anneal", "rate": rate}, "progress": {"x": rate}}
        varied = ["callbacks.anneal.rate", "seed"]
        for seed in (0, 1):
            name = f"{rate}_{seed}"
            synthetic_run(tmp_path, name, varied=varied, seed=seed, callbacks=callbacks)
    runs = collect(tmp_path)
    assert varied_settings(runs) == {"callbacks.anneal.rate": "rate", "seed": "seed"}
    assert [group.label for group in compare(runs).groups] == ["rate=0.1", "rate=0.2"]


def test_every_difference_between_runs_collected_by_hand_is_shown(tmp_path):
    laplace = {"_target_": f"{LIKELIHOODS}.Laplace", "scale": 2.0}
    synthetic_run(tmp_path, "mine", varied=None, model__latent_dim=3, model__likelihood=laplace)
    gaussian = {"_target_": f"{LIKELIHOODS}.Gaussian", "scale": 1.0}
    synthetic_run(tmp_path, "theirs", varied=None, model__likelihood=gaussian)
    assert set(varied_settings(collect(tmp_path))) == {
        *("model.latent_dim", "model.likelihood", "model.likelihood.scale")
    }


def test_data_sets_of_one_name_are_the_same_in_any_place(tmp_path):
    data = {"_target_": "musigma.data.ImageFolderDataModule", "image_shape": [3, 8, 8]}
    for name, path in (("mine", "flowers"), ("theirs", "/data/flowers"), ("other", "/data/cats")):
        synthetic_run(tmp_path, name, data={**data, "path": path})
    other, mine, theirs = sorted(collect(tmp_path), key=lambda run: run.path.name != "other")
    assert mine.meanings == theirs.meanings != other.meanings
    assert mine.settings["data.path"] == theirs.settings["data.path"] == "flowers"


def test_settings_of_a_preset_do_not_count_as_varied(tmp_path):
    synthetic_run(tmp_path, "a", varied=["model"], name="vae")
    synthetic_run(tmp_path, "b", varied=["model"], name="beta_vae", model__objective__beta=4.0)
    assert list(varied_settings(collect(tmp_path))) == ["name"]


@pytest.mark.parametrize("names", [("vae", "conditional_vae"), ("vae", "conditional_vae", "wae")])
def test_models_are_named_as_typed_whatever_their_classes(tmp_path, names):
    for name in names:
        kind = "conditional.ConditionalVAE" if name == "conditional_vae" else "Autoencoder"
        target = f"musigma.models.{kind}"
        synthetic_run(tmp_path, name, varied=["model"], name=name, model___target_=target)
    assert varied_settings(collect(tmp_path)) == {"name": "model"}


def test_every_setting_that_a_search_chooses_counts_as_varied(tmp_path):
    asked = ["optimizer.lr", "model.objective.beta"]
    for number in range(3):
        draw = {"optimizer__lr": 10.0**-number, "model__objective__beta": 1.5 * number}
        synthetic_run(tmp_path, str(number), varied=asked, **draw)
    assert set(varied_settings(collect(tmp_path))) == set(asked)


def test_means_and_standard_errors_over_seeds_equal_numpys(tmp_path):
    elbos = [-800.0, -803.5, -799.25]
    beta_sweep(tmp_path, beta_1=elbos, beta_4=[-820.0])
    first, second = compare(collect(tmp_path)).groups
    assert first.means["test/elbo"] == pytest.approx(np.mean(elbos))
    assert first.errors["test/elbo"] == pytest.approx(np.std(elbos, ddof=1) / np.sqrt(3))
    assert second.label == "beta=4"
    assert math.isnan(second.errors["test/elbo"])


def test_settings_are_sorted_from_best_to_worst(tmp_path):
    beta_sweep(tmp_path, beta_0_1=[-830, -820], beta_1=[-801, -800], beta_4=[-805, -798])
    page = page_of(tmp_path)
    assert rows_of(page) == ["1", "4", "0.1"]
    assert bests_of(page)["test/elbo"] == ["−800.50 ± 0.50", "−798.00"]
    assert "test/rate" not in bests_of(page)  # neither higher nor lower is better
    (verdict,) = verdicts_of(page)
    assert verdict.startswith("beta=1: test/elbo −800.50 ± 0.50 (higher is better)")
    assert "next is beta=4, 1.00 behind, which may be chance" in verdict
    assert "Best single run: beta=4,seed=1." in verdict


def test_a_metric_without_a_better_direction_has_no_winner_and_no_distance(tmp_path, capsys):
    beta_sweep(tmp_path, beta_1=[-801, -800], beta_4=[-805, -798])
    page = page_of(tmp_path, metric="test/rate")
    assert verdicts_of(page) == []
    assert "test/rate has no winner: neither a higher nor a lower value" in notes_of(page)
    assert "best" not in capsys.readouterr().out
    compared = compare(collect(tmp_path), "test/rate")
    assert gaps_to_best(compared, "test/rate") == {}
    assert gaps_to_best(compared, "test/elbo") != {}


def test_losses_of_different_objectives_do_not_rank_runs_and_are_marked(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800], beta_4=[-820])
    runs = collect(tmp_path)
    assert deciding_metric(runs, None) == "test/elbo"
    page = page_of(tmp_path, metric="test/loss")
    assert "test/loss cannot compare all of these runs: there are 2 kinds" in notes_of(page)
    assert "its own winner if it has several settings" in notes_of(page)
    assert "metric=test/elbo or test/distortion" in notes_of(page)
    assert "No two of these runs can be compared by test/loss." in page
    assert verdicts_of(page) == []


def test_a_metric_that_decides_for_only_some_runs_ranks_none(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800], beta_4=[-820])
    first, second = collect(tmp_path)
    by_distortion = replace(first.meanings, deciding=("distortion", "elbo"))
    by_loss = replace(second.meanings, deciding=("loss",))
    runs = [replace(first, meanings=by_distortion), replace(second, meanings=by_loss)]
    assert deciding_metric(runs, None) == "test/loss"
    assert not any(len(ranking.groups) > 1 for ranking in compare(runs).rankings)


def test_the_metric_that_compares_most_runs_ranks_them_if_none_compares_all(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800], beta_4=[-820])
    synthetic_run(tmp_path, "dequantized", data__normalization="dequantize")
    compared = compare(collect(tmp_path))
    assert len(compared.mixed("test/loss")) == 3
    assert compared.metric == "test/elbo"
    assert [group.label for group in compared.contested()[0].groups] == [
        "standardize, beta=1",
        "standardize, beta=4",
    ]


def test_the_terminal_lists_common_comparable_metrics_first(tmp_path, capsys):
    beta_sweep(tmp_path, beta_1=[-800])
    metrics = {f"test/{name}": 1.0 for name in ("extra", "loss", "elbo", "distortion", "rate")}
    synthetic_run(tmp_path, "beta=4", model__objective__beta=4.0, metrics=metrics)
    page_of(tmp_path)
    # There is no title, as one run has no standard error.
    _, heading, *_ = capsys.readouterr().out.splitlines()
    columns = [name.strip() for name in heading.strip("┃").split("┃")]
    assert columns[:5] == ["beta", "runs", "test/elbo", "test/distortion", "test/rate"]


def test_losses_of_one_objective_rank_runs_and_lower_is_better(tmp_path):
    for lr, elbo in ((1e-3, -800.0), (1e-2, -790.0)):
        synthetic_run(tmp_path, f"lr={lr}", elbo=elbo, optimizer__lr=lr)
    compared = compare(collect(tmp_path))
    assert compared.metric == "test/loss"
    assert compared.rankings[0].best_run.path.name == "lr=0.01"
    assert notes_of(page_of(tmp_path)) == ""


def test_validation_metrics_rank_runs_that_were_not_tested(tmp_path):
    synthetic_run(tmp_path, "a", metrics={"val/loss": 0.3, "train/loss": 0.2})
    assert deciding_metric(collect(tmp_path), None) == "val/loss"


def test_densities_of_scaled_pixels_compare_on_the_common_scale(tmp_path):
    synthetic_run(tmp_path, "standardize", elbo=-780.0)
    synthetic_run(tmp_path, "unit", elbo=150.0, data__normalization="unit")
    compared = compare(collect(tmp_path))
    gain = -784 * math.log(0.3081)
    assert compared.metric == "test/elbo_unit"
    assert len(compared.rankings) == 1
    assert compared.rankings[0].best_run.path.name == "unit"
    by_name = {run.path.name: run.metrics for run in compared.runs()}
    assert by_name["standardize"]["test/elbo_unit"] == pytest.approx(-780 + gain)
    assert by_name["standardize"]["test/distortion_unit"] == pytest.approx(775 - gain)
    assert by_name["unit"]["test/elbo_unit"] == 150.0
    assert compared.mixed("test/elbo")
    assert not compared.mixed("test/elbo_unit")


@pytest.mark.parametrize(
    "other",
    [
        {"data__normalization": "dequantize"},
        {
            "data__normalization": "binarize_dynamic",
            "model__likelihood": {"_target_": f"{LIKELIHOODS}.Bernoulli"},
        },
        {
            "data__normalization": "unit",
            "model__likelihood": {"_target_": f"{LIKELIHOODS}.Bernoulli", "grey_levels": True},
        },
        {"data__source": "files"},
        pytest.param(
            {"data__dataset": "FashionMNIST", "data__source": "files"}, marks=pytest.mark.exhaustive
        ),
    ],
    ids=["dequantized", "binary", "grey levels", "source", "data set"],
)
def test_runs_that_do_not_compare_are_ranked_separately(tmp_path, other):
    for lr in (0.1, 0.2):
        synthetic_run(tmp_path, f"one, {lr=}", elbo=-780 - lr, optimizer__lr=lr)
        synthetic_run(tmp_path, f"other, {lr=}", elbo=-100 - lr, optimizer__lr=lr, **other)
    page = page_of(tmp_path, metric="test/elbo")
    first, second = verdicts_of(page)
    assert "Best single run: one, lr=0.1. Among" in first
    assert "Best single run: other, lr=0.1. Among" in second
    assert "2 kinds of runs, each with its own winner" in notes_of(page)
    assert ("not likelihoods" in notes_of(page)) == ("grey_levels" in str(other))
    assert ("different data" in notes_of(page)) == ("data__source" in other)


def test_different_likelihoods_of_the_same_pixels_compare_by_elbo_but_not_by_loss(tmp_path):
    synthetic_run(tmp_path, "laplace")
    gaussian = {"_target_": f"{LIKELIHOODS}.Gaussian", "scale": 1.0}
    synthetic_run(tmp_path, "gaussian", model__likelihood=gaussian)
    compared = compare(collect(tmp_path))
    assert compared.metric == "test/elbo"
    assert not compared.mixed("test/elbo")
    assert compared.mixed("test/loss")


def test_a_sweep_with_damaged_and_unfinished_runs_still_has_a_page(tmp_path):
    synthetic_run(tmp_path, "good", epochs=2)
    (synthetic_run(tmp_path, "damaged") / "metrics.json").write_text("{")
    (synthetic_run(tmp_path, "a list") / "metrics.json").write_text("[]")
    (synthetic_run(tmp_path, "no config") / "config.yaml").write_text(": [")
    synthetic_run(tmp_path, "old class", model__likelihood={"_target_": "musigma.Gone"})
    synthetic_run(tmp_path, "killed one", status="running")
    synthetic_run(tmp_path, "not begun", status=None)
    synthetic_run(tmp_path, "nan", elbo=math.nan, model__objective__beta=9)
    running = RunFolder(synthetic_run(tmp_path, "alive", status="running"))
    running.claim()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "config.yaml").write_text("{}")
    (tmp_path / "no run").mkdir()
    status = {run.path.name: run.status for run in collect(tmp_path)}
    assert status == {
        "good": "completed",
        "damaged": "damaged",
        "a list": "damaged",
        "no config": "damaged",
        "old class": "damaged",
        "killed one": "killed",
        "not begun": "killed",
        "nan": "completed",
        "alive": "running",
    }
    page = page_of(tmp_path)
    running.release()
    assert "no plot: There is no checkpoint" in page
    assert "<b>killed one</b>: killed" in page
    assert all(name in page for name in status)
    assert len(verdicts_of(page)) == 1


def test_a_failed_run_is_shown_with_its_traceback(tmp_path):
    failed = synthetic_run(tmp_path, "x", status="failed", error="ValueError: too large")
    RunFolder(failed).write_failure("Traceback (most recent call last):\n  here\n")
    page = page_of(tmp_path)
    assert "failed: ValueError: too large" in page
    assert "<pre>Traceback (most recent call last):" in page
    assert "No run has been completed with metrics yet" in page


def test_hostile_names_and_tracebacks_are_text(tmp_path, capsys):
    name = "<script>alert(1)<_script>$\\bad{[bold]"
    synthetic_run(tmp_path, name, seed=0, name=name, epochs=1)
    synthetic_run(tmp_path, "other", seed=1, name="[/bold]")
    failed = synthetic_run(tmp_path, "failed", status="failed", error="<script>alert(2)</script>")
    RunFolder(failed).write_failure("<script>alert(3)</script>")
    page = page_of(tmp_path)
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>") == 3  # the page's own
    assert "&lt;script&gt;alert(3)&lt;/script&gt;" in page
    assert "[/bold]" in capsys.readouterr().out


def test_the_page_loads_no_other_file(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800], beta_4=[-820])
    page = page_of(tmp_path)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)', page))
    links = set(re.findall(r'href="([^"]*)', page))
    assert links == {"data:,", "beta%3D1%2Cseed%3D0/", "beta%3D4%2Cseed%3D0/"}


def test_the_page_says_when_it_leaves_out_plots(tmp_path):
    kinds = [
        {"data__normalization": "standardize"},
        {"data__normalization": "dequantize"},
        {
            "data__normalization": "binarize_dynamic",
            "model__likelihood": {"_target_": f"{LIKELIHOODS}.Bernoulli"},
        },
    ]
    for number, kind in enumerate(kinds):
        for dataset in ("MNIST", "FashionMNIST", "KMNIST"):
            other = {"data__dataset": dataset, "data__source": "files", **kind}
            synthetic_run(tmp_path, f"{dataset} {number}", varied=None, **other)
    page = page_of(tmp_path, metric="test/distortion")
    assert page.count("No more than 8 plots are shown here.") == 1  # of nine plots


def test_the_csv_has_a_row_for_each_run_with_every_metric(tmp_path):
    beta_sweep(tmp_path, beta_1=[-800.125, -801], beta_4=[-820])
    synthetic_run(tmp_path, "z", status="failed", seed=5)
    page_of(tmp_path)
    with (tmp_path / "report.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == [*["completed"] * 3, "failed"]
    assert rows[0]["beta"] == "1.0"
    assert rows[0]["test/elbo"] == "-800.125"
    assert "val/loss" in rows[0]
    assert "test/elbo_unit" in rows[0]


def test_a_sweep_is_found_by_path_by_name_or_as_the_latest(tmp_path):
    run = synthetic_run(tmp_path / "lr,seed", "a")
    assert find_sweep("lr,seed", tmp_path) == find_sweep("latest", tmp_path) == run.parent
    assert find_sweep(str(run.parent), Path("elsewhere")) == run.parent


def test_a_missing_or_empty_sweep_is_reported(tmp_path):
    with pytest.raises(RunError, match="no sweep in"):
        report("latest", tmp_path)
    synthetic_run(tmp_path / "betas", "a")
    with pytest.raises(RunError, match=r"no sweep beta, .* Did you mean betas\?"):
        report("beta", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no runs"):
        report("empty", tmp_path)


def test_a_metric_that_no_run_has_is_refused(tmp_path):
    synthetic_run(tmp_path, "a")
    with pytest.raises(RunError, match=r"metric=test/elbow: no run has that metric; .*test/elbo"):
        report(str(tmp_path), tmp_path, metric="test/elbow")


def test_a_real_sweep_shows_curves_samples_and_reconstructions(tmp_path, compose_small):
    parent = tmp_path / "logs" / "sweeps" / "models"
    for model in ("vae", "autoencoder"):
        launch: Launch = compose_small(f"model={model}", "trainer.max_epochs=1")
        run_job(launch._replace(parent=parent, name=f"model={model}", in_sweep=True))
    page = report("models", parent.parent).read_text("utf-8")
    assert ">decoded draws from the prior<" in page
    assert ">latent plane at quantiles of the prior<" in page
    assert ">no prior, so samples mean nothing: reconstructions<" in page
    assert ">latent plane at quantiles of μ<" in page
    assert data_of(page)["curves"]["val/loss"]
    assert "Rate and distortion" in page
    metrics = json.loads((parent / "model=vae" / "metrics.json").read_text("utf-8"))["metrics"]
    assert f"{metrics['test/loss']:.4f}" in page
    (spot,) = re.findall(r'<i title="([^"]*)" style="left: ([\d.]+)%; top: ([\d.]+)%">', page)
    rate, distortion = (metrics[f"test/{name}"] for name in ("rate", "distortion"))
    assert "vae" in spot[0]
    assert spot[0].endswith(f": rate {rate:.2f}, distortion {distortion:.2f} nats per image")
    assert 0 < float(spot[1]) < 100
    assert 0 < float(spot[2]) < 100


def test_runs_record_what_their_metrics_mean_so_a_report_builds_no_objects(
    trained, monkeypatch, tmp_path
):
    folder = trained("model=vae")
    recorded = folder.read_metrics()
    data = "MNIST (sample)"
    assert recorded["meanings"]["metrics"]["rate"] == {
        "unit": "nats per image",
        "of": [data, "log p(x)"],
        "better": "neither",
        "places": 2,
    }
    elbo = recorded["metrics"]["test/elbo"]
    gain = -784 * math.log(0.3081)
    assert recorded["metrics"]["test/elbo_unit"] == pytest.approx(elbo + gain)
    config, metrics = folder.read_config(), recorded["metrics"]
    before, more = older_meanings(config, "sample", metrics)
    monkeypatch.setattr("musigma.metrics.older_meanings", None)
    (run,) = collect(folder.path.parent)
    assert run.meanings == before
    assert run.metrics == metrics == {**metrics, **more}


def _unfinished(page: str) -> dict[str, str]:
    return dict(re.findall(r"<p><b>([^<]*)</b>: ([^<]*)", page))


@pytest.mark.parametrize(
    "linked", ["", "config.yaml", "metrics.json", "failure.txt", "checkpoints"]
)
def test_a_link_out_of_the_sweep_is_reported_and_not_followed(tmp_path, linked):
    theirs = synthetic_run(tmp_path / "elsewhere", "theirs", elbo=-1.0)
    (theirs / "failure.txt").write_text("theirs")
    synthetic_run(tmp_path / "comparison", "mine")
    place = tmp_path / "comparison" / "linked"
    if linked:
        synthetic_run(tmp_path / "comparison", "linked")
        path = place / linked
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(theirs / linked)
    else:
        place.symlink_to(theirs)
    page = page_of(tmp_path / "comparison")
    reason = _unfinished(page)["linked"]
    assert reason.startswith(f"damaged: {place / linked} is a link out of {place.parent}, which is")
    assert "−1.00" not in page


def test_a_link_inside_the_sweep_is_followed(tmp_path):
    run = synthetic_run(tmp_path / "sweep", "a")
    (run.parent / "b").symlink_to(run)
    (tmp_path / "link").symlink_to(run.parent)
    assert [run.status for run in collect(tmp_path / "link")] == ["completed", "completed"]
    assert not leads_out(tmp_path / "link" / "b" / "config.yaml", tmp_path / "link")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert not leads_out(tmp_path / "link", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        ("metrics.json", {"metrics": [1]}),
        ("config.yaml", "varied: 5\nmodel: {}\ndata: {}"),
        ("config.yaml", "["),
        ("config.yaml", "model: 3"),
        ("metrics.json", None),
        ("failure.txt", None),
    ],
)
def test_a_damaged_run_does_not_affect_the_others(tmp_path, damage):
    synthetic_run(tmp_path, "whole")
    name, content = damage
    path = synthetic_run(tmp_path, "hurt") / name
    if content is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    page = page_of(tmp_path)
    assert _unfinished(page).keys() == {"hurt"}
    assert _unfinished(page)["hurt"].startswith("damaged: ")
    assert len(verdicts_of(page)) == 1


@pytest.mark.parametrize("seconds", [None, "abc", math.nan, math.inf])
def test_an_unknown_duration_is_shown_as_a_dash(tmp_path, seconds):
    run = synthetic_run(tmp_path, "a")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "seconds": seconds}))
    page = page_of(tmp_path)
    assert re.search(r'class="number" data-key="nan">–</td>\s*<td><button', page)
    assert ">nan<" not in page


def test_a_non_finite_metric_is_never_the_best_and_shown_as_a_dash(tmp_path):
    synthetic_run(tmp_path, "good", elbo=-800.0)
    synthetic_run(tmp_path, "diverged", elbo=math.inf, model__objective__beta=2.0)
    page = page_of(tmp_path, metric="test/elbo")
    (verdict,) = verdicts_of(page)
    assert "Best single run: good" in verdict
    assert ">inf<" not in page


def test_runs_of_different_versions_are_noted(tmp_path):
    synthetic_run(tmp_path, "new", seed=0)
    assert "different versions" not in notes_of(page_of(tmp_path))
    path = synthetic_run(tmp_path, "old", seed=1) / "config.yaml"
    path.write_text(re.sub("written_by: .*", "written_by: 0.1.9", path.read_text()))
    assert f"different versions (0.1.9, {PROJECT.version})" in notes_of(page_of(tmp_path))


def test_with_an_output_nothing_is_written_to_the_sweep(tmp_path):
    sweep = synthetic_run(tmp_path / "sweep", "a", status="running").parent
    before = {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()}
    page = report(str(sweep), tmp_path, output=str(tmp_path / "made" / "here"))
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "report.csv"}
    assert {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["report.html", "report.csv"])
def test_an_unwritable_page_is_reported_before_the_runs_are_read(tmp_path, name, monkeypatch):
    run = synthetic_run(tmp_path, "a")
    (tmp_path / name).mkdir()
    monkeypatch.setattr("workbench.sweeps.report.collect", None)
    with pytest.raises(RunError, match=rf"{name} cannot be written: .*\n.*output=\.\.\."):
        report(str(tmp_path), tmp_path)
    with pytest.raises(RunError, match="is the folder of another run"):
        report(str(tmp_path), tmp_path, output=str(run))


def test_a_failure_while_writing_a_page_leaves_the_earlier_one(tmp_path, monkeypatch):
    synthetic_run(tmp_path, "a")
    page_of(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    with pytest.raises(RunError, match="No space left"):
        page_of(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_with_unreadable_events_loses_only_its_curves(tmp_path):
    run = synthetic_run(tmp_path, "a", epochs=2)
    (run / "events.out.tfevents.0.x").mkdir()
    assert len(verdicts_of(page_of(tmp_path))) == 1


def test_a_page_is_rewritten_until_no_run_is_running(tmp_path, monkeypatch):
    synthetic_run(tmp_path, "done")
    running = RunFolder(synthetic_run(tmp_path, "alive", status="running", seed=1, epochs=2))
    running.claim()
    seen = []

    def complete_the_run(seconds):
        seen.append(data_of((tmp_path / "report.html").read_text("utf-8")))
        assert "alive</b>: running; val/loss" in (tmp_path / "report.html").read_text("utf-8")
        running.write_metrics(status="completed")
        running.release()
        assert seconds == 30

    monkeypatch.setattr("workbench.sweeps.report.time.sleep", complete_the_run)
    page = page_of(tmp_path, every=30)
    assert [data["reload"] for data in seen] == [30]
    assert data_of(page)["reload"] is None
    assert {run["status"] for run in data_of(page)["runs"]} == {"completed"}


def test_the_page_links_to_pages_of_evaluated_runs_and_to_folders_of_others(tmp_path):
    odd = synthetic_run(tmp_path / "sweep", "50% of #1?")
    (odd / "report.html").write_text("")
    synthetic_run(tmp_path / "sweep", "other", seed=1)
    links = set(re.findall(r'href="([^"]*)" title', page_of(tmp_path / "sweep")))
    assert links == {"50%25%20of%20%231%3F/report.html", "other/"}
    page = report(str(tmp_path / "sweep"), tmp_path, output=str(tmp_path / "made" / "here"))
    assert 'href="../../sweep/other/"' in page.read_text("utf-8")

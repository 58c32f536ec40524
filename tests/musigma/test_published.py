"""Published values are shown beside a run's own and change nothing else."""

import json

import pytest

from musigma.commands.evaluate import evaluate
from musigma.paths import PROJECT_ROOT
from musigma.published import beside_published
from workbench.config.check import check_config
from workbench.config.identity import identity
from workbench.config.misfits import find_misfits
from workbench.errors import ConfigError
from workbench.jobs.quoting import quote
from workbench.training.run import run

SOURCE = {"source": "Somebody 2020, Table 1", "differs": "the budget"}
PUBLISHED = (
    "+published={distortion: {value: 700.5, error: 0.25, source: Somebody 2020, differs: the budget"
    "}, log_p: {value: -690, source: Somebody 2021, differs: nothing}, rate: null}"
)


def _problems(config):
    try:
        check_config(config)
    except ConfigError as error:
        return str(error)
    return "\n".join(map(str, find_misfits(config)))


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (
            {"elbow": {"value": 1.0, **SOURCE}},
            "evaluation measures no such metric; did",
        ),
        ({"elbow": {"value": 1.0, **SOURCE}}, "published.elbow: "),
        ({"elbo": {"value": "1", **SOURCE}}, "published.elbo.value='1': should be a number"),
        ({"elbo": {"value": 1.0, "source": "x"}}, "published.elbo.differs is missing"),
        ({"elbo": {"value": 1.0, **SOURCE, "page": 3}}, "published.elbo.page: "),
        ({"elbo": {"value": 1.0, **SOURCE, "error": -1.0}}, "published.elbo.error=-1.0: "),
        ({"elbo": {"value": 1.0, **SOURCE, "source": ""}}, "published.elbo.source=''"),
        ({"elbo": -137.0}, "published.elbo=-137.0: should hold value, error, source, differs"),
        (3.5, "published=3.5: should be a mapping"),
        ("text", "published='text': should be a mapping"),
    ],
)
def test_a_malformed_published_value_is_refused(published, message, compose_launch):
    config = {**compose_launch("model=vae").config, "published": published}
    assert message in _problems(config)


def test_published_values_do_not_change_a_jobs_identity(compose_launch):
    config = compose_launch("model=vae").config
    published = {**config, "published": {"elbo": {"value": 1.0, **SOURCE}}}
    assert _problems(published) == ""
    assert identity(published) == identity(config)


@pytest.mark.slow
def test_published_values_are_shown_beside_the_obtained_ones(trained, without_plots, capsys):
    folder = trained("model=stochastic_autoencoder", PUBLISHED)
    settings = {"checkpoint": "best", "images": 10, "samples": 25, "seed": 0}
    (metrics,) = evaluate([str(folder.path)], folder.path.parent, **settings)
    kept = json.loads((folder.path / "evaluation" / "metrics.json").read_text())["published"]
    assert kept == metrics["published"]
    assert kept["distortion"] == {
        "value": 700.5,
        "error": 0.25,
        "source": "Somebody 2020",
        "differs": "the budget",
        "obtained": metrics["distortion"],
    }
    assert "obtained" not in kept["log_p"]  # a run trained without a rate has no log p(x)
    assert "rate" not in kept
    output, page = capsys.readouterr().out, (folder.path / "report.html").read_text()
    mean = f"{metrics['distortion']['mean']:.2f}"
    line = next(line for line in output.splitlines() if "700.50 ± 0.25" in line)
    assert mean in line
    assert "Somebody 2020" in line
    assert "what differs (distortion D): the budget" in output
    assert "published distortion D 700.50 ± 0.25: Somebody 2020; differs: the budget" in page
    missing = "log p(x), importance weights −690.00: Somebody 2021; differs: nothing"
    assert f"published {missing}; not measured here" in page


@pytest.mark.parametrize(
    "strange",
    [
        *(None, 3, [1], "text", {"l1": 0.3}, {"l1": {"source": "x"}}),
        *({"l1": {"value": value, **SOURCE}} for value in ("0.3", float("nan"), None)),
        {"l1": {"value": 0.3, "error": "0.1", **SOURCE}},
    ],
)
def test_malformed_published_values_of_a_run_are_ignored(strange):
    metrics = {"latent": {}, "l1": {"mean": 0.3, "error": 0.1}}
    assert beside_published({"published": strange}, metrics) == {}
    assert beside_published({}, metrics) == {}


@pytest.mark.slow
def test_without_published_values_the_page_has_no_such_list(trained, without_plots):
    folder = trained("model=vae")
    settings = {"checkpoint": "best", "images": 10, "samples": 25, "seed": 0}
    (metrics,) = evaluate([str(folder.path)], folder.path.parent, **settings)
    assert "published" not in metrics
    assert "<li>published" not in (folder.path / "report.html").read_text()


@pytest.mark.slow
def test_published_values_can_change_when_a_run_is_resumed(trained, compose_launch):
    folder = trained("model=stochastic_autoencoder", PUBLISHED)
    before = folder.read_metrics()["metrics"]
    more = ("+published.log_p.value=-1", "trainer.max_epochs=2")
    run(compose_launch(quote(f"resume={folder.path}"), *more))
    assert folder.read_config()["published"]["log_p"]["value"] == -1
    assert folder.read_metrics()["metrics"] == before


@pytest.mark.slow
def test_experiments_with_published_values_state_source_and_difference(compose_launch):
    found = {}
    for path in (PROJECT_ROOT / "configs" / "experiment").glob("*.yaml"):
        config = compose_launch(f"experiment={path.stem}").config
        assert _problems(config) == "", path
        found |= {path.stem: config.get("published") or {}}
    assert {name for name, published in found.items() if published} >= {
        *("gaussian_vae_2d", "gaussian_vae_20d")
    }
    assert found["gaussian_vae_20d"]["rate"] is None

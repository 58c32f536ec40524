"""A run's page beside its metrics: settings, published values, the latent space."""

import base64
import io
import math

import pytest
import torch
from PIL import Image

from musigma.commands.explorer import latent_explorer
from musigma.evaluation.encoding import encoded
from musigma.loading import load_run
from musigma.objectives import ELBO
from musigma.objectives.schedules import Linear
from musigma.pages.run import facts_of, rows_of, three_digits
from workbench.interactive import changed_settings, compose
from workbench.runs.description import RunDescription
from workbench.runs.evaluation import finite
from workbench.runs.provenance import sweep_of, train_command


def about(**changed):
    known = RunDescription("best", "completed", 3, 90, {"epochs trained": 5}, [], "", {}, [])
    return known._replace(**changed)


def test_the_summary_names_every_setting_of_the_objective_and_the_best_epoch():
    facts = facts_of({"objective": "ELBO", "data": "x"}, ELBO(beta=4, samples=2), about())
    assert facts["objective"] == "ELBO(beta=4.0, samples=2)"
    assert facts["best epoch"] == "3 of 5 (step 90)"
    warm = facts_of({}, ELBO(beta=Linear(steps=10)), about(checkpoint="last"))
    assert warm["objective"] == "ELBO(beta=Linear(steps=10, start=0.0, end=1.0), samples=1)"
    assert warm["epoch"] == "3 of 5 (step 90)"


@pytest.mark.parametrize(
    ("kl", "expected"), [({}, None), ({"aggregate_kl_at_least": 0.5}, "≥ 0.50"), (math.inf, "–")]
)
def test_an_undefined_divergence_from_the_prior_has_no_row(kl, expected):
    latent = {"mutual_information_at_least": {"mean": 1.0, "error": 0.1}}
    latent |= kl if isinstance(kl, dict) else {"aggregate_kl_at_least": kl}
    metrics = finite({"latent": latent, "classes": {}})
    rows = {row.name: row.value for row in rows_of(metrics)}
    assert rows.get("KL(q(z) ‖ p(z)), from moments") == expected


def test_a_metric_of_some_of_the_test_images_says_of_how_many():
    means = {"distortion": {"mean": 9.0, "images": 2000}, "elbo": {"mean": -9.0, "images": 1500}}
    rest = {"latent": {}, "classes": {}, "evidence": "p(x)", "test_images": 2000}
    images = {row.metric: row.images for row in rows_of({**means, **rest})}
    assert images == {"distortion": "", "elbo": "1,500 images"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_834_567.0, "12,800,000"), (999.6, "1,000"), (101.4, "101"), (9.876, "9.88"), (0.5, "0.5")],
)
def test_numbers_of_any_size_are_shown_with_three_digits(value, text):
    assert three_digits(value) == text


def test_changed_settings_are_listed_with_their_defaults():
    mine, defaults = compose(["model=vae", "optimizer.lr=0.01", "log_dir=elsewhere"]), compose()
    changed = changed_settings(mine, defaults)
    found = {one.name: (one.value, one.default) for one in changed}
    assert found["model.objective"] == ("ELBO", "Reconstruction")
    assert found["optimizer.lr"] == ("0.01", "0.001")
    assert "log_dir" not in found
    assert changed_settings(defaults, defaults) == []


def test_the_command_of_a_job_leaves_out_its_sweep():
    overrides = ["model=vae", "note='a b'", "sweep='beta'", "varied=['seed']", "seed=1"]
    command = "python scripts/train.py model=vae 'note='\"'\"'a b'\"'\"'' seed=1"
    assert train_command(overrides) == command


def test_a_job_links_to_its_sweep_and_a_single_run_does_not(tmp_path):
    folder = tmp_path / "beta" / "seed=1"
    folder.mkdir(parents=True)
    assert sweep_of({"varied": ["seed"]}, folder, folder) == ("beta", "../report.html", False)
    (tmp_path / "beta" / "report.html").touch()
    assert sweep_of({"varied": ["seed"]}, folder, folder).exists
    assert sweep_of({"varied": None}, folder, folder) is None
    assert sweep_of({"varied": ["seed"]}, folder, tmp_path) is None


def _tile(sheet, place):
    source = sheet["source"].partition("base64,")[2]
    image = Image.open(io.BytesIO(base64.b64decode(source)))
    row, column = divmod(place, sheet["side"])
    left, top = column * sheet["width"], row * sheet["height"]
    box = image.crop((left, top, left + sheet["width"], top + sheet["height"]))
    return torch.tensor(list(box.tobytes())).view(sheet["height"], sheet["width"]) / 255


@pytest.mark.slow
def test_tiles_show_the_images_of_codes_and_decoded_points_of_the_plane(trained):
    run = load_run(trained("model=vae").path)
    run.data.setup("test")
    images = run.data.evaluation_loader("test").images()
    test = encoded(run.model, images, run.data.normalization.to_unit)
    found = latent_explorer(run, test)
    n = 7
    row = torch.linspace(0, len(test.x) - 1, len(found["codes"])).long()[n]
    assert found["codes"][n] == pytest.approx(test.mu[row].tolist(), rel=1e-3)
    assert found["classes"][n] == int(test.y[row])
    shown = run.data.normalization.shown(test.x[row])[0]
    assert torch.allclose(_tile(found["images"], n), shown, atol=0.5 / 255 + 1e-6)
    side, (low, high) = found["plane"]["side"], (found["low"], found["high"])
    column, down = 3, 5  # a tile shows its centre, decoded; z₁ rises upwards
    z = torch.tensor(
        [
            low[0] + (column + 0.5) / side * (high[0] - low[0]),
            high[1] - (down + 0.5) / side * (high[1] - low[1]),
        ]
    )
    decoded = run.decoded(z[None])[0, 0].clamp(0, 1)
    assert torch.allclose(_tile(found["plane"], down * side + column), decoded, atol=0.01)
    assert all(low[j] <= code[j] <= high[j] for code in found["codes"] for j in (0, 1))


@pytest.mark.slow
def test_three_dimensions_have_no_plane_and_one_dimension_no_explorer(trained):
    run = load_run(trained("model=vae", "model.latent_dim=3").path)
    run.data.setup("test")
    images = run.data.evaluation_loader("test").images()
    test = encoded(run.model, images, run.data.normalization.to_unit)
    assert latent_explorer(run, test)["plane"] is None
    assert latent_explorer(run, test._replace(mu=test.mu[:, :1])) is None

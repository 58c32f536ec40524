"""MMD against numerical integration and its definition, and its requirements."""

import json

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from musigma.objectives.mmd import MMD, _warn_of_one_image, mmd_to_standard_normal
from objectives import (
    CHECKS,
    check_a_point_has_no_rate,
    check_refusals,
    draw_of,
    draw_under_a_learned_prior,
    rate_of,
)
from posteriors import fault_of
from workbench.errors import ConfigError


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_mmd_with_the_whole_rate_passes_the_checks_of_every_objective(check):
    check(MMD(alpha=0.0))


def test_mmd_needs_no_rate_of_a_point():
    check_a_point_has_no_rate(MMD())


@pytest.mark.slow
@pytest.mark.parametrize("squared_width", [0.5, 4.0])
def test_mmd_equals_numerical_integration_over_the_prior(squared_width):
    torch.manual_seed(0)
    z = 0.5 + 0.7 * torch.randn(300, 2, dtype=torch.float64).numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def kernel(a, b):  # a and b: [..., 2]
        return np.exp(-((a - b) ** 2).sum(-1) / (2 * squared_width))

    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    mass = np.outer(weights, weights).reshape(-1)
    to_prior = kernel(z[:, None], grid[None]) @ mass
    within_prior = mass @ kernel(grid[:, None], grid[None]) @ mass
    among = kernel(z[:, None], z[None])
    among = (among.sum() - len(z)) / (len(z) * (len(z) - 1))
    expected = among - 2 * to_prior.mean() + within_prior
    found = mmd_to_standard_normal(torch.from_numpy(z), squared_width).item()
    assert found == pytest.approx(expected, abs=1e-9)


def test_mmd_of_the_prior_itself_is_zero_on_average():
    torch.manual_seed(0)
    values = torch.stack([mmd_to_standard_normal(torch.randn(64, 3), 3.0) for _ in range(500)])
    assert abs(values.mean()) < 4 * values.std() / 500**0.5


def test_rate_and_discrepancy_are_weighted_as_in_info_vae(draw):
    loss, terms, _ = MMD(alpha=0.25, weight=10.0, squared_width=2.0, samples=4)(draw, 0)
    # Per draw: codes of one image are not independent, so all draws at once would be biased.
    discrepancy = torch.stack([mmd_to_standard_normal(z, 6.0) for z in draw.z]).mean()
    expected = terms["distortion"].mean() + 0.75 * rate_of(draw).sum(1).mean() + 9.25 * discrepancy
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_another_prior_is_refused(alpha):
    with pytest.raises(ConfigError, match="prior=standard_normal"):
        MMD(alpha=alpha)(draw_under_a_learned_prior().draw, 0)


def test_a_batch_of_one_is_refused():
    fault = fault_of("model=info_vae", "data.batch_size=1")
    assert "compares the images of a batch: set 2 or more" in fault


def test_a_last_batch_of_one_image_is_said_to_leave_the_epoch_without_a_loss(caplog):
    _warn_of_one_image.cache_clear()
    for _ in range(2):
        loss, _, _ = MMD()(draw_of(batch=1), 0)
        assert loss.isnan()
    assert caplog.text.count("MMD compares the images of a batch") == 1
    assert "drop_last=True" in caplog.text


def test_settings_out_of_range_are_refused():
    check_refusals(
        lambda: MMD(alpha=1.5),
        lambda: MMD(alpha=0.0, weight=0.5),
        lambda: MMD(squared_width=0.0),
    )


@pytest.mark.slow
def test_a_metric_that_cannot_be_measured_is_a_dash_and_absent_from_files(run_here, capsys):
    folder = run_here("model=info_vae", "data.val_size=1", "trainer.max_epochs=1")
    output = capsys.readouterr().out
    assert "nan" not in output.lower()
    row = next(line for line in output.splitlines() if line.startswith("│ mmd"))
    assert row.split("│")[2].strip() == "–"
    text = (folder.path / "metrics.json").read_text()
    assert "NaN" not in text
    assert "val/mmd" not in json.loads(text)["metrics"]


@pytest.mark.slow
def test_panels_of_a_wae_show_samples_and_no_rates(run_here):
    panel = "callbacks.latent_panel={_target_:musigma.callbacks.LatentPanel,images:20}"
    folder = run_here("model=wae", "model.latent_dim=3", "trainer.max_epochs=1", panel)
    events = EventAccumulator(str(folder.path), {"images": 0, "histograms": 0})
    events.Reload()
    assert {*events.Tags()["images"]} == {
        f"val/{name}" for name in ("reconstructions", "latent_scatter", "samples")
    }
    assert events.Tags()["histograms"] == ["val/mu"]


def test_with_all_weights_zero_the_prior_is_not_used():
    assert MMD().uses_prior
    assert MMD(alpha=0, weight=1).uses_prior
    assert not MMD(alpha=1, weight=0).uses_prior

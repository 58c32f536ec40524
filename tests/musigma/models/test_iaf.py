"""The inverse autoregressive flow."""

import importlib
import sys

import numpy as np
import pytest
import torch

from doubly_reparameterized import check_doubly_reparameterized_gradient
from extras import needs
from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.evaluation import importance_estimate
from musigma.loading import load_run
from musigma.models import MLP, Autoencoder
from musigma.models.posteriors import iaf
from musigma.models.posteriors.iaf import AutoregressiveSteps, IAFHead, IAFPosterior
from musigma.objectives.likelihoods import Laplace
from oracles import LinearGaussian
from posteriors import (
    check_density,
    check_integral,
    check_moments,
    check_objectives,
    fault_of,
)

RUN = "model=vae", "model/posterior=iaf"
pytestmark = needs("zuko")


def _head(d, features=5, strength=3.0, **settings):
    """A head whose steps are far from the identity, in float64."""
    torch.manual_seed(0)
    head = IAFHead(features, d, hidden_sizes=(16,), context_dim=4, **settings).double()
    with torch.no_grad():
        for name, weight in head.flow.named_parameters():
            weight.mul_(strength if name.endswith("weight") else 1.0)
    return head


def _posterior(d, count=3, **settings):
    head = _head(d, **settings)
    with torch.no_grad():
        return head(torch.randn(count, 5, dtype=torch.float64))


def _check_density():
    for d in (1, 2, 5):
        torch.manual_seed(1)
        check_density(_posterior(d), torch.randn(4, 3, d, dtype=torch.float64))


def _check_integral():
    for d in (1, 2):
        check_integral(_posterior(d, count=2, strength=1.5))


def _check_gradient():
    head = _head(2, strength=1.5)
    features = torch.ones(50, 5, dtype=torch.float64)
    check_doubly_reparameterized_gradient([*head.parameters()], lambda: head(features), 2)


CHECKS = _check_density, _check_integral, _check_gradient


@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_oracles_hold(check):
    check()


def log_determinant_with_the_wrong_sign(patch):
    right = AutoregressiveSteps.forward

    def wrong(self, z, context, inverse):
        z, log_det = right(self, z, context, inverse)
        return z, -log_det

    patch.setattr(AutoregressiveSteps, "forward", wrong)


def missing_jacobian(patch):
    right = AutoregressiveSteps.forward

    def wrong(self, z, context, inverse):
        z, log_det = right(self, z, context, inverse)
        return z, torch.zeros_like(log_det)

    patch.setattr(AutoregressiveSteps, "forward", wrong)


def weights_of_the_flow_not_detached(patch):
    patch.setattr(iaf, "with_detached_weights", lambda module: module)


@pytest.mark.parametrize(
    ("trap", "check"),
    [
        (log_determinant_with_the_wrong_sign, _check_density),
        (log_determinant_with_the_wrong_sign, _check_integral),
        (missing_jacobian, _check_density),
        (missing_jacobian, _check_integral),
        (weights_of_the_flow_not_detached, _check_gradient),
    ],
    ids=lambda f: f.__name__,
)
def test_trap_is_caught(trap, check, monkeypatch):
    trap(monkeypatch)
    with pytest.raises(AssertionError):
        check()


def test_the_posterior_is_not_gaussian():
    noise = torch.randn(4000, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    posterior = _posterior(2)
    z = posterior.rsample(noise)
    scaled = (z - z.mean(0)) / z.std(0)
    assert scaled.pow(3).mean(0).abs().max() > 0.5


@pytest.mark.parametrize(("d", "tolerance"), [(1, 0.01), (2, 0.05), (40, 0.15)])
def test_moments_are_those_of_many_draws(d, tolerance):
    check_moments(_posterior(d, strength=1.0), d, tolerance)


def test_codes_are_float32_under_autocast():
    model = Autoencoder(MLP(), Laplace(), latent_dim=3, posterior=IAFHead)
    noise = torch.randn(4, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(torch.randn(5, 1, 28, 28))
        z = posterior.rsample(noise)
    assert z.dtype == posterior.mu.dtype == torch.float32
    torch.testing.assert_close(posterior.log_prob(z), posterior.log_prob_at(noise))


def test_objectives_work_except_those_for_independent_dimensions():
    model = Autoencoder(MLP(), Laplace(), latent_dim=3, posterior=IAFHead)
    check_objectives(model, refused=("TCVAE", "FreeBits"))


def test_importance_weights_find_log_p():
    oracle = LinearGaussian(count=30)
    model = oracle.model()
    model.head = IAFHead(12, 2).double()
    torch.manual_seed(0)
    with torch.no_grad():
        model.head.start.load_state_dict(oracle.model(0.1, 1.3).head.state_dict())
        model.head.context.weight.mul_(0.3)
    generator = torch.Generator().manual_seed(0)
    estimate = importance_estimate(model, oracle.x, samples=2000, generator=generator)
    healthy = estimate.pareto_k < 0.7
    assert healthy.double().mean() > 0.8
    deviation = ((estimate.log_p - oracle.log_p()) / estimate.standard_error)[healthy]
    assert deviation.abs().max() < 5
    assert deviation.square().mean() < 2


def test_without_zuko_the_config_is_refused_and_the_extra_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zuko", None)
    importlib.invalidate_caches()
    assert "needs the extra flows" in fault_of(*RUN)


@pytest.mark.slow
def test_a_run_is_evaluated_predicts_and_exports(trained, without_plots, tmp_path):
    path = trained(*RUN).path
    (found,) = evaluate([str(path)], tmp_path, checkpoint="best", images=5, samples=50, seed=0)
    assert {"log_p", "log_p_exact"} <= found.keys()
    assert "gap_of_family" not in found
    assert "diagonal normal posteriors" in found["latent"]["for_normal_posteriors"]
    with np.load(predict("encode", str(path), tmp_path, checkpoint="best", input="test")) as arrays:
        assert np.all(arrays["std"] > 0)
    run = load_run(path)
    export_run(run, tmp_path / "export")
    x = torch.randn(3, 1, 28, 28)
    mu, std = torch.export.load(tmp_path / "export" / "encode.pt2").module()(x)
    torch.testing.assert_close((mu, std), tuple(run.model.encode(x)))


def test_the_density_of_an_identity_flow_is_normal():
    posterior = _posterior(2)
    still = IAFPosterior(
        posterior._start, posterior._context, lambda z, *_: (z, torch.zeros(len(z))), torch.eye(2)
    )
    z = torch.randn(3, 2, dtype=torch.float64)
    torch.testing.assert_close(still.log_prob(z), posterior._start.log_prob(z))

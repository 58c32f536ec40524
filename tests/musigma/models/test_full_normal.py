"""The Gaussian posterior with a full covariance."""

import json

import lightning as L
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence
from torch.utils.data import DataLoader

from doubly_reparameterized import check_doubly_reparameterized_gradient
from extras import needs
from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.evaluation import importance_estimate
from musigma.loading import Run
from musigma.models import MLP, Autoencoder
from musigma.models.posteriors.full_normal import FullNormalHead, FullNormalPosterior
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Laplace
from oracles import LinearGaussian
from posteriors import (
    check_density,
    check_integral,
    check_objectives,
)

RUN = "model=vae", "model/posterior=full_normal"


class Oblique(LinearGaussian):
    """A linear-Gaussian model whose posterior has correlations, as W's columns are oblique."""

    def __init__(self, d=3):
        super().__init__(d)
        mixing = torch.randn(d, d, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        self.w = self.w @ mixing

    def precision(self):
        """Λ of p(z|x)."""
        m = self.w.T @ self.w + self.sigma**2 * torch.eye(self.d, dtype=torch.float64)
        return m / self.sigma**2

    def gap(self):
        """KL of the best diagonal Gaussian to p(z|x): ½ log Π Λ_jj / det Λ.

        The minimum of ½ (tr ΛD − d − log det ΛD) over diagonal D, at D_jj = 1 / Λ_jj.
        """
        precision = self.precision()
        return 0.5 * (precision.diagonal().log().sum() - precision.logdet()).item()

    def diagonal(self):
        """musigma's model with the best diagonal Gaussian."""
        model = self.model()
        std = self.precision().diagonal().rsqrt()
        with torch.no_grad():
            model.head.raw_std.bias.copy_((std - 1e-6).expm1().log())
        return model

    def full(self):
        """musigma's model with the true posterior."""
        model = self.model()
        head = FullNormalHead(12, self.d).double()
        head.mu.load_state_dict(model.head.mu.state_dict())
        scale = torch.linalg.cholesky(torch.linalg.inv(self.precision()))
        row, column = torch.tril_indices(self.d, self.d, -1)
        with torch.no_grad():
            head.raw_scale.weight.zero_()
            raw = (scale.diagonal() - 1e-6).expm1().log()
            relative = self.d**0.5 * scale / scale.diagonal().unsqueeze(1)
            head.raw_scale.bias.copy_(torch.cat([raw, relative[row, column]]))
        model.head = head
        return model


def _posterior(count=4, d=3, seed=0):
    torch.manual_seed(seed)
    return _head(5, d)(torch.randn(count, 5, dtype=torch.float64))


def _head(features, d):
    """A head with correlations, in float64."""
    head = FullNormalHead(features, d).double()
    torch.nn.init.normal_(head.raw_scale.weight[d:], std=0.3)
    return head


def _oracle(posterior):
    return MultivariateNormal(posterior.mean, scale_tril=posterior.scale_tril)


def _estimate(model, x, samples=400):
    generator = torch.Generator().manual_seed(0)
    return importance_estimate(model, x, samples=samples, generator=generator)


def test_density_moments_and_rate_are_those_of_a_multivariate_normal():
    posterior = _posterior()
    oracle = _oracle(posterior)
    noise = torch.randn(6, 4, 3, dtype=torch.float64)
    check_density(posterior, noise)
    z = posterior.rsample(noise)
    torch.testing.assert_close(posterior.log_prob(z), oracle.log_prob(z))
    torch.testing.assert_close(posterior.log_prob(z[0]), oracle.log_prob(z[0]))
    torch.testing.assert_close(posterior.log_prob(z[:, None]), oracle.log_prob(z[:, None]))
    mu, std = posterior
    torch.testing.assert_close((mu, std.square()), (oracle.mean, oracle.variance))
    standard = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    rate = kl_divergence(oracle, standard)
    torch.testing.assert_close(posterior.rate_to_standard_normal(), rate)


@pytest.mark.parametrize("d", [1, 2])
def test_density_integrates_to_one(d):
    check_integral(_posterior(d=d))


def test_under_the_true_posterior_every_importance_weight_is_p_of_x():
    oracle = Oblique()
    estimate = _estimate(oracle.full(), oracle.x, 25)
    torch.testing.assert_close(estimate.log_p, oracle.log_p(), rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.effective_samples, torch.full((210,), 25.0).double())


def test_a_full_covariance_closes_the_gap_of_the_best_diagonal():
    oracle = Oblique()
    assert oracle.gap() > 0.5
    log_p = oracle.log_p().mean().item()
    diagonal = _estimate(oracle.diagonal(), oracle.x).elbo.mean().item()
    full = _estimate(oracle.full(), oracle.x).elbo.mean().item()
    assert log_p - diagonal == pytest.approx(oracle.gap(), abs=0.03)
    assert log_p - full == pytest.approx(0, abs=0.03)


def test_codes_are_computed_in_float32_under_autocast():
    model = Autoencoder(MLP(), Laplace(), latent_dim=3, posterior=FullNormalHead)
    noise = torch.randn(4, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(torch.randn(5, 1, 28, 28))
        z = posterior.rsample(noise)
    expected = posterior.mu + (posterior.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(posterior.log_prob(z), posterior.log_prob_at(noise))


def test_the_density_is_accurate_if_the_scale_is_small_against_the_mean():
    posterior = FullNormalPosterior(torch.full((1, 2), 1e4), 1e-5 * torch.eye(2).unsqueeze(0))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.zeros(2)).sum()
    found = posterior.log_prob_at(torch.zeros(1, 1, 2))
    assert found.item() == pytest.approx(expected.item() + 2 * np.log(1e5), rel=1e-6)


def _check_gradient():
    torch.manual_seed(0)
    head = _head(3, 2)
    features = torch.ones(50, 3, dtype=torch.float64)
    check_doubly_reparameterized_gradient([*head.parameters()], lambda: head(features), 2)


def test_the_doubly_reparameterized_gradient_has_the_mean_of_the_standard_one():
    _check_gradient()


def test_a_posterior_that_is_not_detached_is_caught(monkeypatch):
    monkeypatch.setattr(FullNormalPosterior, "detach", lambda self: self)
    with pytest.raises(AssertionError):
        _check_gradient()


def test_objectives_work_except_those_for_independent_dimensions():
    model = Autoencoder(MLP(), Laplace(), latent_dim=3, posterior=FullNormalHead)
    check_objectives(model, refused=("TCVAE", "FreeBits"))


@pytest.mark.slow
def test_an_evaluation_leaves_out_metrics_for_diagonal_posteriors(trained, without_plots, tmp_path):
    folder = trained(*RUN)
    (found,) = evaluate(
        [str(folder.path)], tmp_path, checkpoint="best", images=5, samples=50, seed=0
    )
    assert {"log_p", "log_p_exact"} <= found.keys()
    assert not {"gap_of_family", "gap_of_amortization"} & found.keys()
    latent = found["latent"]
    assert "diagonal normal posteriors" in latent["for_normal_posteriors"]
    assert not {"mutual_information_at_least", "aggregate_kl_at_least"} & latent.keys()
    assert "Left out: I(x; z)" in (folder.path / "report.html").read_text()
    written = json.loads((folder.path / "evaluation" / "metrics.json").read_text())
    assert written["latent"]["active_units"] == latent["active_units"]
    path = predict("encode", str(folder.path), tmp_path, checkpoint="best", input="test")
    with np.load(path) as z:
        assert z["std"].shape == (500, 2)
        assert np.all(z["std"] > 0)


def test_a_float64_model_trains(tmp_path):
    model = Autoencoder(
        MLP((4,), (4,)), Laplace(), posterior=FullNormalHead, image_shape=(1, 2, 2)
    ).double()
    loader = DataLoader(torch.rand(6, 1, 2, 2), batch_size=3)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(AutoencoderModule(model, ELBO()), loader, loader)
    assert trainer.global_step == 2


@needs("onnxruntime")
def test_a_one_dimensional_posterior_is_exported_to_onnx(tmp_path):
    settings = {"posterior": FullNormalHead, "latent_dim": 1, "image_shape": (1, 2, 2)}
    model = Autoencoder(MLP((4,), (4,)), Laplace(), **settings).eval()
    assert len(export_run(Run(model, None, {"model": {}}), tmp_path / "export", "onnx")) == 2

"""RAE: its loss, and the density that is fitted afterwards."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from musigma.commands.tasks import traverse
from musigma.loading import load_run
from musigma.models import MLP, Autoencoder
from musigma.models.priors.fitted_mixture import FittedMixture
from musigma.objectives.likelihoods import Gaussian
from musigma.objectives.rae import RAE


def test_the_loss_penalises_codes_and_the_decoders_weights():
    model = Autoencoder(
        MLP([8], [8]), Gaussian(), latent_dim=3, posterior="point", image_shape=(1, 4, 4)
    )
    objective = RAE(beta=0.5, decay=0.1)
    objective.bind(model)
    assert [*objective.parameters()] == []
    x = torch.randn(6, 1, 4, 4)
    loss, terms, _ = objective(model.draw(x, torch.randn(1, 6, 3)), 0)
    weights = sum(p.square().sum() for p in model.decoder.parameters()).item()
    norm = model.encode(x).mu.square().sum(1).mean().item()
    distortion = -model.likelihood.log_prob(x, model.decode(model.encode(x).mu)).mean().item()
    assert loss.item() == pytest.approx(distortion + 0.25 * norm + 0.1 * weights, rel=1e-5)
    assert set(terms) == {"distortion", "squared_norm"}
    assert "nats" not in objective.meanings["squared_norm"].unit
    assert objective.meanings["squared_norm"].better == "neither"


def test_the_fitted_mixture_recovers_the_mixture_of_the_codes():
    torch.manual_seed(0)
    means = torch.tensor([[-3.0, 0.0], [2.0, 2.0]])
    covariances = torch.tensor([[[1.0, 0.6], [0.6, 1.0]], [[0.3, 0.0], [0.0, 0.5]]])
    normals = MultivariateNormal(means, covariances)
    true = MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7])), normals)
    fitted = FittedMixture(true.sample((20_000,)), components=2)
    z = true.sample((2_000,))
    assert (fitted.log_prob(z) - true.log_prob(z)).abs().mean().item() < 0.02
    drawn = fitted.sample(50_000, seed=0)
    assert torch.allclose(drawn.mean(0), true.mean, atol=0.05)
    assert torch.allclose(drawn.var(0), true.variance, rtol=0.05)
    assert drawn.dtype == torch.float32


@pytest.mark.slow
def test_traversals_use_the_moments_of_the_fitted_density(trained, tmp_path):
    run = load_run(trained("model=rae", "model.latent_dim=2", "data.val_size=0").path)
    done = traverse(run, "prior", 0, [-1.0, 1.0]).arrays["z"]
    _, prior, of = next(iter(run.views().values()))
    assert of == "a density fitted to the codes"
    expected = [(prior.mean() + sign * prior.std())[j] for j in (0, 1) for sign in (-1, 1)]
    assert [*done[0, :, 0], *done[1, :, 1]] == pytest.approx([one.item() for one in expected])
    assert not torch.allclose(prior.std(), torch.ones(2), atol=0.01)

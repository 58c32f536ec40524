"""Tests and checks for learned priors: their distribution, and their use in every command.

The test file of a prior subclasses `LearnedPrior` and so inherits its tests.
"""

import copy
import re

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.evaluation import importance_estimate, quadrature_estimate
from musigma.loading import load_run
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import Reconstruction
from musigma.objectives.likelihoods import Laplace
from objectives import FUNCTIONS
from script_server import python
from workbench.config.build import build_data, build_module
from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint

BINARY = ("model/likelihood=bernoulli", "data.normalization=binarize_dynamic")
PANEL = "callbacks.latent_panel={_target_:musigma.callbacks.LatentPanel,every_n_epochs:2,images:20}"


def assert_distributed_as(draws, cdf):
    """Check by a Kolmogorov-Smirnov test that draws `[N]` follow a distribution function."""
    assert kstest(draws.double().numpy(), cdf).pvalue > 1e-3


def check_draws_follow_the_density(prior, low=-7.0, high=7.0):
    """Check that the density integrates to one and that draws follow it, for d of 1 or 2."""
    d = prior.sample(1, seed=0).shape[1]
    points = 1401 if d == 1 else 351
    axis = torch.linspace(low, high, points, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    with torch.no_grad():
        chunks = grid.to(next(prior.parameters()).dtype).split(100_000)
        density = torch.cat([prior.log_prob(z).double().exp() for z in chunks])
    step = (axis[1] - axis[0]).item()
    density = density.reshape([points] * d) * step**d
    assert density.sum().item() == pytest.approx(1, abs=1e-3)
    draws = prior.sample(10_000, seed=1)
    assert draws.shape == (10_000, d)
    for j in range(d):
        below = (density.sum(1 - j) if d == 2 else density).cumsum(0).numpy()
        cdf = lambda z, below=below: np.interp(z, axis.numpy() + step / 2, below)  # noqa: E731
        assert_distributed_as(draws[:, j], cdf)
    if d == 2:  # the joint distribution too
        product = (density * torch.outer(axis, axis)).sum().item()
        found = draws.double().prod(1)
        assert found.mean().item() == pytest.approx(product, abs=4 * found.std().item() / 100)


def rate_by_integration(model, x):
    """∫ q (log q − log p) dz of each image, for d = 1, by torch's density of q and a fine grid."""
    mu, std = model.encode(x)
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None, None]
    log_q = torch.distributions.Normal(mu, std).log_prob(grid)[..., 0]
    log_p = model.prior.log_prob(grid.expand(-1, 1, -1))
    return (log_q.exp() * (log_q - log_p)).sum(0) * (18 / 20_000)


def check_rate(model, x):
    """Check that the rate of each image is ∫ q (log q − log p) dz, and not the KL to N(0, I)."""
    with torch.no_grad():
        expected = rate_by_integration(model, x)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(20_000, len(x), 1, generator=generator, dtype=x.dtype)
        draw = model.draw(x, noise)
        error = (draw.log_posterior - draw.log_prior).std(0) / 20_000**0.5
        assert torch.all((draw.rate() - expected).abs() < 4.5 * error + 1e-6)


def check_log_p(model, x, log_p, atol=2e-3):
    """Check that quadrature and importance weights find this log p(x) of each image."""
    exact = quadrature_estimate(model, x)
    assert exact.converged.all()
    torch.testing.assert_close(exact.log_p, log_p, rtol=0, atol=atol)
    generator = torch.Generator().manual_seed(0)
    estimate = importance_estimate(model, x, samples=5000, generator=generator)
    deviation = (estimate.log_p - log_p) / estimate.standard_error
    assert torch.all(deviation.abs() < 4.5)


def draw_of(model, samples=4, images=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, *model.image_shape, generator=generator)
    noise = torch.randn(samples, images, model.noise_dim, generator=generator)
    return model.draw(x.to(next(model.parameters())), noise.to(next(model.parameters())), 1000)


class LearnedPrior:
    """The tests of a learned prior; `name` is its config, `small_settings` are its overrides."""

    name: str
    small_settings: tuple[str, ...] = ()

    @staticmethod
    def recipe(model):
        """The prior of a model, moved away from its initial values."""
        raise NotImplementedError

    @property
    def overrides(self):
        return ("model=vae", *BINARY, f"model/prior={self.name}", *self.small_settings)

    def model(self, d=2):
        torch.manual_seed(0)
        shape = {"latent_dim": d, "image_shape": (1, 3, 4)}
        return Autoencoder(MLP([8], [8]), Laplace(), prior=self.recipe, **shape)

    # --- the contract

    @pytest.mark.parametrize("d", [1, 2])
    def test_density_integrates_to_one_and_samples_follow_it(self, d):
        check_draws_follow_the_density(self.model(d).prior)

    @pytest.mark.parametrize("d", [1, 2, 5])
    def test_shapes_seeds_and_moments_agree_with_samples(self, d):
        prior = self.model(d).prior
        z = torch.randn(3, 4, d)
        assert prior.log_prob(z).shape == (3, 4)
        assert prior.log_prob(z[0, 0]).shape == ()
        torch.testing.assert_close(prior.log_prob(z)[1, 2], prior.log_prob(z[1, 2]))
        draws = prior.sample(20_000, seed=3)
        assert (draws.dtype, draws.device.type) == (torch.float32, "cpu")
        assert torch.equal(prior.sample(5, seed=3), prior.sample(5, seed=3))
        assert not torch.equal(prior.sample(5, seed=4), prior.sample(5, seed=3))
        assert not draws.requires_grad
        torch.testing.assert_close(prior.mean(), draws.mean(0), rtol=0, atol=0.05)
        torch.testing.assert_close(prior.std(), draws.std(0), rtol=0.05, atol=0)
        assert prior.half_width() > draws.abs().max()

    def test_density_is_computed_in_float32_under_autocast(self):
        model = self.model()
        z = torch.randn(50, 2)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.prior.log_prob(z)
        assert mixed.dtype == torch.float32
        if not self.uses_the_encoder:
            torch.testing.assert_close(mixed, model.prior.log_prob(z))

    uses_the_encoder = False

    def test_copies_and_state_dicts_of_a_model_hold_the_prior_once(self):
        model = self.model()
        copied, rebuilt = copy.deepcopy(model), self.model()
        rebuilt.load_state_dict(model.state_dict())
        z, expected = torch.randn(7, 2), model.prior.log_prob(torch.zeros(7, 2))
        for other in (copied, rebuilt):
            torch.testing.assert_close(other.prior.log_prob(z), model.prior.log_prob(z))
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.add_(0.1)
        assert not torch.allclose(copied.prior.log_prob(z), model.prior.log_prob(z))
        torch.testing.assert_close(model.prior.log_prob(torch.zeros(7, 2)), expected)
        assert {name.split(".")[0] for name in model.state_dict()} == {
            *("encoder", "head", "decoder", "prior")
        }

    def test_rate_is_the_expected_log_ratio(self):
        model = self.model(1).double()
        check_rate(model, torch.randn(20, 1, 3, 4, dtype=torch.float64))

    # --- objectives

    @pytest.mark.parametrize("objective", FUNCTIONS, ids=lambda o: type(o).__name__)
    def test_every_objective_trains_the_prior_or_refuses_it_by_name(self, objective):
        if not objective.uses_prior:
            pytest.skip("AutoencoderModule refuses it")
        model = self.model()
        AutoencoderModule(model, objective)
        try:
            loss, terms, _ = objective(draw_of(model), 0)
        except ConfigError as error:
            assert "prior=standard_normal" in str(error)  # noqa: PT017 (not every one refuses)
            return
        loss.backward()
        gradients = [p.grad for p in model.prior.parameters()]
        assert all(g is not None and g.isfinite().all() for g in gradients)
        assert any(g.abs().max() > 0 for g in gradients)
        torch.testing.assert_close(terms["elbo"], -(terms["distortion"] + terms["rate"]))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("arguments", "fault"),
        [
            (["model=stochastic_autoencoder"], "is learned, and the objective Reconstruction "),
            (["model=vae", "model/posterior=point"], "a point .*has (none|no density)"),
            (["model=vae", "+model.prior.nope=1"], "has no argument nope"),
            (["model=vae", "+model.prior.model=1"], "is set by the run itself; leave it out"),
        ],
    )
    def test_configs_in_which_the_prior_has_no_meaning_are_refused_in_one_line(
        self, arguments, fault
    ):
        with pytest.raises(ConfigError) as error:
            read_command_line(
                "train", [*arguments, f"model/prior={self.name}", *self.small_settings]
            )
        (line,) = str(error.value).splitlines()
        assert re.search(fault, line), line

    def test_an_objective_without_a_prior_is_refused(self):
        with pytest.raises(ValueError, match="nothing would train it"):
            AutoencoderModule(self.model(), Reconstruction())

    # --- commands

    @pytest.mark.slow
    def test_a_run_resumes_to_the_same_bits(self, resuming):
        resuming.check_same_bits(*self.overrides, place=(1, 2))

    @pytest.mark.slow
    def test_every_command_works_with_the_prior(self, trained, without_plot_files, tmp_path):
        folder = trained(*self.overrides, PANEL)
        (metrics,) = evaluate(
            [str(folder.path)], tmp_path, checkpoint="best", images=20, samples=200, seed=0
        )
        assert metrics["log_p_exact_not_converged"] == 0
        errors = metrics["log_p"]["error"] + metrics["log_p_sampling_error"]
        assert abs(metrics["log_p"]["mean"] - metrics["log_p_exact"]["mean"]) < 4 * errors
        assert metrics["elbo"]["mean"] < metrics["log_p_exact"]["mean"]
        assert metrics["gap_of_family"]["mean"] > -0.2
        assert 0 <= metrics["latent"]["active_units"] <= 2
        assert "rate_per_dimension" not in metrics["latent"]
        assert "aggregate_kl_at_least" not in metrics["latent"]
        assert {"samples.png", "latent_plane.png", "traversals.png"} <= {*metrics["figures"]}
        # The environment may show a diff of the repository, which may hold anything.
        page = (folder.path / "report.html").read_text("utf-8").partition("Environment")[0]
        assert "quantiles of the prior in each dimension" in page
        assert "the rate is not a sum over dimensions" in page
        assert "N(0" not in page

        opened = load_run(folder.path)
        assert [view.prior for view in opened.views().values()] == [opened.model.prior]
        settings = {"checkpoint": "best", "input": "test"}
        for task in ("encode", "reconstruct", "sample", "traverse"):
            assert predict(task, str(folder.path), tmp_path, **settings).is_file()
        codes = folder.path / "predictions" / "encode.npz"
        predict("decode", str(folder.path), tmp_path, checkpoint="best", input=str(codes))
        path = predict("traverse", str(folder.path), tmp_path, checkpoint="best", input="prior")
        center = torch.from_numpy(np.load(path)["z"])[0, 3]
        torch.testing.assert_close(center[1], opened.model.prior.mean()[1])

        export_run(opened, tmp_path / "exported")
        again = load_run(tmp_path / "exported")
        z = torch.randn(5, 2)
        assert torch.equal(again.model.prior.log_prob(z), opened.model.prior.log_prob(z))

    @pytest.mark.slow
    def test_a_sweep_over_the_prior_and_the_standard_normal_completes(self, small, tmp_path):
        priors = f"model/prior=standard_normal,{self.name}"
        options = ("model=vae", *BINARY, *small, "trainer.max_epochs=1", f"log_dir={tmp_path}")
        done = python("scripts/train.py", "-m", priors, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        found = [RunFolder.open(p.parent) for p in tmp_path.glob("sweeps/*/*/config.yaml")]
        assert [f.read_metrics()["status"] for f in found] == ["completed", "completed"]

    @pytest.mark.slow
    def test_the_prior_can_be_initialised_frozen_and_given_its_own_learning_rate(
        self, trained, run_here, compose_launch
    ):
        before = trained(*self.overrides, PANEL)
        weights = load_checkpoint(before.checkpoint("best"))["state_dict"]
        options = (f"init_from={before.path}", "freeze=[prior]", "model.center_output=true")
        after = run_here(*self.overrides, *options, "trainer.max_epochs=1")
        found = load_checkpoint(after.checkpoint("last"))["state_dict"]
        priors = {name for name in weights if name.startswith("model.prior.")}
        assert priors
        assert all(torch.equal(found[name], weights[name]) for name in priors)
        assert not torch.equal(found["model.head.mu.weight"], weights["model.head.mu.weight"])

        config = compose_launch("++parameter_groups.prior.lr=0.5", *self.overrides).config
        module = build_module(config, build_data(config))
        optimizer = module.configure_optimizers()
        first, second = optimizer.param_groups
        assert {id(p) for p in second["params"]} == {id(p) for p in module.model.prior.parameters()}
        assert (first["lr"], second["lr"]) == (0.001, 0.5)

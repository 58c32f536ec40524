"""The traps of this field: with each mistake in place, an oracle must fail.

`test_oracles_hold` shows that the oracles pass on the code as it is; `test_trap_is_caught` that
each fails on a mistake that a well-known repository has made. The traps of a single objective are
in its own tests.
"""

import math

import pytest
import torch

from musigma.data import mnist
from musigma.models.posteriors import NormalPosterior, normal
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Bernoulli, Gaussian, bernoulli, gaussian
from musigma.objectives.schedules import Linear
from oracles import Images, LinearGaussian, quiet_trainer
from traps import trap_tests
from workbench.config.build import build_data, build_module
from workbench.epoch_means import EpochMeans
from workbench.errors import ConfigError

pytestmark = pytest.mark.slow

RISING = "model.objective.beta={_target_:musigma.objectives.schedules.Linear,steps:20}"

# --- oracles -----------------------------------------------------------------------------------


def trainer_metrics(beta=4.0, stage="test"):
    """The metrics that a Trainer reports of the linear-Gaussian model with the true posterior."""
    oracle = LinearGaussian(count=2030)
    module = AutoencoderModule(oracle.model(), ELBO(beta=beta, samples=10))
    trainer = quiet_trainer()
    data = Images(oracle.x, batch_size=100)
    getattr(trainer, "test" if stage == "test" else "validate")(module, data, verbose=False)
    return oracle, module.metrics(stage)


def check_metrics():
    """Distortion, rate, ELBO and loss are the closed forms, as means over images."""
    oracle, found = trainer_metrics()
    mean, std = oracle.posterior()
    kl = torch.distributions.kl_divergence
    normal = torch.distributions.Normal
    rate = kl(normal(mean, std), normal(0.0, 1.0)).sum(1).mean().item()
    log_p = oracle.log_p().mean().item()
    assert found["rate"] == pytest.approx(rate, rel=1e-5)
    assert found["elbo"] == pytest.approx(log_p, abs=0.02)
    assert found["distortion"] == pytest.approx(-log_p - rate, abs=0.02)
    spread = oracle.w @ (std[0] ** 2 * torch.eye(oracle.d)) @ oracle.w.T
    residual = (oracle.flat - oracle.b - mean @ oracle.w.T).square().sum(1) + spread.trace()
    assert found["mse"] == pytest.approx(residual.mean().item() / 12, rel=0.01)


def check_validation_loss():
    """The validation loss has the weight β of the training loss."""
    _, found = trainer_metrics(beta=4.0, stage="val")
    constant = 0.5 * math.log(2 * math.pi) + math.log(0.6)
    expected = (found["distortion"] + 4 * found["rate"]) / 12 - constant
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def check_schedule():
    """β depends on the optimizer step, however often a run validates."""
    oracle = LinearGaussian(count=200)
    module = AutoencoderModule(oracle.model().train(), ELBO(beta=Linear(steps=20)))
    trainer = quiet_trainer(max_epochs=2, val_check_interval=1, log_every_n_steps=1)
    trainer.fit(module, Images(oracle.x, batch_size=40))
    assert trainer.callback_metrics["train/beta"].item() == pytest.approx(9 / 20)


def check_extreme_logits():
    """Logits of ±100 give the exact loss and gradients, in bfloat16 too."""
    for dtype in (torch.float32, torch.bfloat16):
        logits = torch.tensor([100.0, -100.0], dtype=dtype).reshape(1, 1, 1, 2).requires_grad_()
        wrong = torch.tensor([0.0, 1.0], dtype=dtype).reshape(1, 1, 1, 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = -Bernoulli().log_prob(wrong, logits).sum()
        loss.backward()
        assert loss.item() == pytest.approx(200, rel=0.01)
        torch.testing.assert_close(logits.grad.flatten().float(), torch.tensor([1.0, -1.0]))


def check_pixels():
    """A Bernoulli refuses standardised pixels before anything is computed."""
    config = {
        "data": {"_target_": "musigma.data.MNISTDataModule"},
        "model": {
            "_target_": "musigma.models.Autoencoder",
            "network": {"_target_": "musigma.models.MLP"},
            "likelihood": {"_target_": "musigma.objectives.likelihoods.Bernoulli"},
            "objective": {"_target_": "musigma.objectives.ELBO"},
        },
        "optimizer": None,
        "seed": 0,
    }
    with pytest.raises(ConfigError, match="Bernoulli is a density of binary pixels"):
        build_module(config, build_data(config))


def check_splits():
    """Test images are the canonical ones, and validation images come from the training set."""
    data = mnist.MNISTDataModule(source="sample")
    data.setup("fit")
    data.setup("test")
    train, val, test = (data._sets[name].images for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (4000, 500, 500)
    canonical = data.normalization(mnist.sample_digits(train=False)[0])
    assert torch.equal(test, canonical)


# --- traps -------------------------------------------------------------------------------------


def mean_over_pixels(patch):
    wrong = lambda per_pixel: per_pixel.flatten(-3).mean(-1)  # noqa: E731
    patch.setattr(gaussian, "sum_over_pixels", wrong)


def rate_averaged_over_dimensions(patch):
    right = NormalPosterior.rate_to_standard_normal
    wrong = lambda self: right(self) / self.mu.shape[1]  # noqa: E731
    patch.setattr(NormalPosterior, "rate_to_standard_normal", wrong)


def reversed_kl(patch):
    wrong = lambda mu, std: 0.5 * ((mu.square() + 1) / std.square() - 1) + std.log()  # noqa: E731
    patch.setattr(normal, "kl_to_standard_normal", wrong)


def mu_decoded_in_evaluation(patch):
    patch.setattr(NormalPosterior, "rsample", lambda self, noise=None: self.mu.expand_as(noise))


def noise_scaled_down(patch):
    patch.setattr(
        NormalPosterior, "rsample", lambda self, noise=None: self.mu + 0.5 * self.std * noise
    )


def variance_for_standard_deviation(patch):
    patch.setattr(
        NormalPosterior, "rsample", lambda self, noise=None: self.mu + self.std.square() * noise
    )


def dropped_constant(patch):
    right = Gaussian.log_prob
    patch.setattr(
        Gaussian,
        "log_prob",
        lambda self, x, output: right(self, x, output) + 6 * math.log(2 * math.pi),
    )


def return_inside_the_batch_loop(patch):
    right = AutoencoderModule.test_step
    patch.setattr(
        AutoencoderModule,
        "test_step",
        lambda self, batch, batch_idx: right(self, batch, batch_idx) if batch_idx == 0 else None,
    )


def divided_by_the_number_of_batches(patch):
    def add(self, terms):
        self._names = tuple(terms)
        means = torch.stack([term.double().mean() for term in terms.values()])
        self._sums = means if self._sums is None else self._sums + means
        self._count += 1

    patch.setattr(EpochMeans, "add", add)


def validation_with_another_beta(patch):
    right = ELBO.__call__

    def call(self, draw, step):
        return right(self if torch.is_grad_enabled() else ELBO(samples=self.samples), draw, step)

    patch.setattr(ELBO, "__call__", call)


def schedule_that_counts_its_calls(patch):
    calls = iter(range(10**6))
    patch.setattr(Linear, "__call__", lambda self, step: min(next(calls) / self.steps, 1.0))


def schedule_that_counts_epochs(patch):
    patch.setattr(Linear, "__call__", lambda self, step: min(step // 5 / self.steps, 1.0))


def cross_entropy_of_probabilities(patch):
    patch.setattr(
        Bernoulli,
        "log_prob",
        lambda self, x, output: bernoulli.sum_over_pixels(
            x * output.sigmoid().log() + (1 - x) * (1 - output.sigmoid()).log()
        ),
    )


def cross_entropy_of_any_pixels(patch):
    right = Bernoulli.__init__

    def init(self, grey_levels=False):
        right(self, grey_levels)
        self.pixels = ("binary", "unit", "real")

    patch.setattr(Bernoulli, "__init__", init)


def train_and_test_merged_and_split_anew(patch):
    halves = mnist.sample_digits(True), mnist.sample_digits(False)
    images, labels = (torch.cat(pair) for pair in zip(*halves, strict=True))
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(1))

    def wrong(self, train):
        rows = order[:4500] if train else order[4500:]
        return images[rows], labels[rows]

    patch.setattr(mnist.MNISTDataModule, "read", wrong)


TRAPS = {
    mean_over_pixels: check_metrics,
    rate_averaged_over_dimensions: check_metrics,
    reversed_kl: check_metrics,
    mu_decoded_in_evaluation: check_metrics,
    noise_scaled_down: check_metrics,
    variance_for_standard_deviation: check_metrics,
    dropped_constant: check_metrics,
    return_inside_the_batch_loop: check_metrics,
    divided_by_the_number_of_batches: check_metrics,
    validation_with_another_beta: check_validation_loss,
    schedule_that_counts_its_calls: check_schedule,
    schedule_that_counts_epochs: check_schedule,
    cross_entropy_of_probabilities: check_extreme_logits,
    cross_entropy_of_any_pixels: check_pixels,
    train_and_test_merged_and_split_anew: check_splits,
}


test_oracles_hold, test_trap_is_caught = trap_tests(TRAPS)


def test_a_run_with_a_rising_weight_resumes_to_the_same_bits(resuming):
    checkpoint = resuming.check_same_bits("model=vae", RISING, place=(1, 2))
    assert checkpoint["/global_step"] == 10  # of the 20 in which the weight rises

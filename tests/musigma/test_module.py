"""The LightningModule: the notebook's loss, and metrics that are what they are called."""

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal, kl_divergence

from curves import scalars_of
from musigma.data.loader import TensorLoader
from musigma.data.normalization import Dequantize
from musigma.data.sample import sample_digits
from musigma.loading import load_run
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO, Reconstruction
from musigma.objectives.likelihoods import Laplace
from musigma.seeding import FIXED_SEED, normal_noise


def _first_training_batch(run_here, monkeypatch, *overrides):
    """The loss and terms of the first training step, and what an oracle needs to recompute them."""
    seen = {}
    original = AutoencoderModule.training_step

    def step(self, batch, batch_idx):
        if not seen:
            seen["weights"] = {k: v.clone() for k, v in self.model.state_dict().items()}
            state = torch.get_rng_state()
            seen["noise"] = torch.randn(1, len(batch.x), self.model.latent_dim)
            torch.set_rng_state(state)
            seen["x"] = batch.x.clone()
            seen["loss"] = original(self, batch, batch_idx)
            seen["terms"] = self.means["train"].of_last_batch()
            return seen["loss"]
        return original(self, batch, batch_idx)

    monkeypatch.setattr(AutoencoderModule, "training_step", step)
    run_here(*overrides)
    return seen


def _reconstruct(seen, posterior="normal"):
    network = MLP(encoder_sizes=[32], decoder_sizes=[32])
    model = Autoencoder(network, Laplace(), posterior=posterior)
    model.load_state_dict(seen["weights"])
    with torch.no_grad():
        mu, std = model.encode(seen["x"])
        x_hat = model.decode(mu + std * seen["noise"][0])
    return mu, std, x_hat


def test_the_default_loss_is_the_notebooks(run_here, monkeypatch):
    seen = _first_training_batch(run_here, monkeypatch)
    _, _, x_hat = _reconstruct(seen)
    torch.testing.assert_close(seen["loss"].detach(), F.l1_loss(x_hat, seen["x"]))


def test_the_vae_loss_is_distortion_plus_beta_times_rate_in_one_unit(run_here, monkeypatch):
    seen = _first_training_batch(run_here, monkeypatch, "model=vae", "model.objective.beta=4")
    mu, std, x_hat = _reconstruct(seen)
    distortion = -TorchLaplace(x_hat, 1.0).log_prob(seen["x"]).sum((1, 2, 3)).mean()
    rate = kl_divergence(Normal(mu, std), Normal(0.0, 1.0)).sum(1).mean()
    expected = {
        "distortion": distortion,
        "rate": rate,
        "elbo": -(distortion + rate),
        "l1": F.l1_loss(x_hat, seen["x"]),
        "mse": F.mse_loss(x_hat, seen["x"]),
        "loss": (distortion + 4 * rate) / 784 - torch.log(torch.tensor(2.0)),
    }
    assert seen["terms"].keys() == expected.keys()
    for name, value in expected.items():
        assert seen["terms"][name] == pytest.approx(value.item(), rel=1e-5), name
    torch.testing.assert_close(seen["loss"].detach(), expected["loss"])


def test_a_deterministic_autoencoder_reports_no_rate(run_here, monkeypatch):
    seen = _first_training_batch(run_here, monkeypatch, "model=autoencoder")
    _, _, x_hat = _reconstruct(seen, posterior="point")
    torch.testing.assert_close(seen["loss"].detach(), F.l1_loss(x_hat, seen["x"]))
    assert set(seen["terms"]) == {"loss", "distortion", "l1", "mse"}


def test_test_metrics_are_means_over_images_from_sampled_z(run_here):
    """Recomputed from the checkpoint, all 500 images at once, by torch.distributions."""
    folder = run_here("model=vae", "data.eval_batch_size=120")
    model, data, _ = load_run(folder.path)
    x = data.normalization(sample_digits(train=False)[0])
    noise = normal_noise(1, 500, 2, seed=FIXED_SEED)[0]
    with torch.no_grad():
        mu, std = model.encode(x)
        x_hat = model.decode(mu + std * noise)
    distortion = -TorchLaplace(x_hat, 1.0).log_prob(x).sum((1, 2, 3)).double().mean().item()
    rate = kl_divergence(Normal(mu, std), Normal(0.0, 1.0)).sum(1).double().mean().item()
    metrics = folder.read_metrics()["metrics"]
    assert metrics["test/distortion"] == pytest.approx(distortion, rel=1e-6)
    assert metrics["test/rate"] == pytest.approx(rate, rel=1e-6)
    assert metrics["test/elbo"] == pytest.approx(-(distortion + rate), rel=1e-6)
    assert metrics["test/l1"] == pytest.approx((x_hat - x).abs().mean().item(), rel=1e-5)
    assert metrics["test/mse"] == pytest.approx((x_hat - x).square().mean().item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["data.eval_batch_size=33", "+trainer.check_val_every_n_epoch=2"]
)
def test_validation_frequency_and_batch_size_change_no_metric(run_here, trained, change):
    plain, changed = trained("model=vae"), run_here("model=vae", change)
    first = plain.read_metrics()["metrics"]
    second = changed.read_metrics()["metrics"]
    assert {n: v for n, v in first.items() if n.startswith("train/")} == {
        n: v for n, v in second.items() if n.startswith("train/")
    }
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.slow
def test_equal_seeds_give_equal_bits_and_different_seeds_do_not(run_here):
    """0 is a seed like any other."""
    runs = [run_here(f"seed={seed}").read_metrics()["metrics"] for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_ranks_draw_different_noise():
    from musigma.seeding import derive_seed

    places = [(seed, rank, epoch, 0) for seed in (0, 1) for rank in (0, 1) for epoch in (0, 1)]
    assert len({derive_seed(*place) for place in places}) == len(places)


def test_the_scheduler_is_stepped_once_per_epoch(run_here):
    from workbench.runs.weights import load_checkpoint

    folder = run_here("scheduler=multistep", "scheduler.milestones=[1]")
    (scheduler,) = load_checkpoint(folder.checkpoint("last"))["lr_schedulers"]
    assert scheduler["last_epoch"] == 2
    assert scheduler["_last_lr"] == [pytest.approx(1e-4)]


def test_an_elbo_of_a_point_posterior_is_refused():
    model = Autoencoder(MLP(), Laplace(), posterior="point")
    with pytest.raises(ValueError, match="needs a rate"):
        AutoencoderModule(model, ELBO())
    AutoencoderModule(model, Reconstruction())


def test_bf16_mixed_trains_and_agrees_with_float32(run_here, trained):
    exact = trained("model=vae").read_metrics()["metrics"]
    mixed = run_here("model=vae", "trainer.precision=bf16-mixed").read_metrics()["metrics"]
    assert mixed != exact
    for name in ("test/distortion", "test/elbo", "test/l1"):
        assert mixed[name] == pytest.approx(exact[name], rel=5e-3), name


@pytest.mark.slow
def test_a_batch_can_be_overfitted(run_here):
    folder = run_here(
        "debug=overfit",
        "trainer.max_epochs=60",
        "trainer.log_every_n_steps=1",
        "optimizer.lr=1e-2",
    )
    metrics = folder.read_metrics()["metrics"]
    untrained = run_here("trainer.max_epochs=1", "optimizer.lr=0").read_metrics()["metrics"]
    assert metrics["train/l1"] < 0.6 * untrained["train/l1"]


@pytest.mark.slow
def test_center_output_starts_at_the_mean_image(run_here):
    common = ("trainer.max_epochs=1", "optimizer.lr=0", "model/likelihood=bernoulli", "model=vae")
    pixels = "data.normalization=binarize_dynamic"
    plain = run_here(*common, pixels).read_metrics()["metrics"]
    folder = run_here(*common, pixels, "model.center_output=true")
    centred = folder.read_metrics()["metrics"]
    assert centred["test/distortion"] < 0.5 * plain["test/distortion"]
    model, data, _ = load_run(folder.path)
    data.setup("fit")
    found = model.decoder[-2].bias.reshape(1, 28, 28).sigmoid()
    torch.testing.assert_close(found, data.mean_image().clamp(1e-3, 1 - 1e-3))


def test_the_logged_learning_rate_is_the_one_that_the_epoch_was_trained_with(run_here):
    halved = ["scheduler=multistep", "scheduler.milestones=[1,2]", "+scheduler.gamma=0.5"]
    folder = run_here("trainer.max_epochs=3", *halved)
    rates = [rate for _, rate in scalars_of(folder.path)["train/lr"]]
    assert rates == pytest.approx([1e-3, 5e-4, 2.5e-4])


def test_the_noise_of_codes_is_independent_of_the_noise_of_pixels():
    """With one seed for both, the noise would be a function of the pixels' uniform numbers."""
    grey = torch.zeros(8, 1, 4, 4, dtype=torch.uint8)
    settings = {"normalization": Dequantize(), "batch_size": 8}
    (batch,) = TensorLoader(grey, torch.zeros(8), **settings)
    model = Autoencoder(MLP([4], [4]), Laplace(), image_shape=(1, 4, 4))
    module = AutoencoderModule(model, ELBO())
    module.trainer = L.Trainer(logger=False, enable_checkpointing=False)
    module.on_train_batch_start(batch, 0)
    assert not torch.equal(torch.rand(batch.x.shape) / 256, batch.x)

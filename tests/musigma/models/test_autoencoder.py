"""The default model is the notebook's, and any network of the right shapes fits."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from musigma.models import MLP, Autoencoder, Conv
from musigma.models.network import Activation
from musigma.models.posteriors.normal import STD_FLOOR
from musigma.objectives.likelihoods import Bernoulli, Laplace
from workbench.errors import ConfigError


def _autoencoder(network=None, **settings):
    return Autoencoder(network or MLP(), Laplace(), **settings)


def _count(model):
    return sum(p.numel() for p in model.parameters())


class Notebook(nn.Module):
    """The notebook's model, written out as an oracle."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(784, 300), nn.Linear(300, 300)
        self.mu, self.std = nn.Linear(300, 2), nn.Linear(300, 2)
        self.third, self.fourth = nn.Linear(2, 300), nn.Linear(300, 784)

    def encode(self, x):
        h = F.leaky_relu(self.second(F.leaky_relu(self.first(x.view(-1, 784)))))
        return self.mu(h), F.softplus(self.std(h)) + 1e-6

    def decode(self, z):
        return self.fourth(F.leaky_relu(self.third(z))).view(-1, 1, 28, 28)


def test_the_default_model_has_563888_parameters():
    assert _count(_autoencoder()) == 563_888


def test_the_default_model_equals_the_notebooks_on_the_same_weights():
    ours, theirs = _autoencoder(), Notebook()
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(other)
    x = torch.randn(5, 1, 28, 28)
    mu, std = ours.encode(x)
    torch.testing.assert_close((mu, std), theirs.encode(x))
    torch.testing.assert_close(ours.decode(mu), theirs.decode(mu))
    torch.manual_seed(3)
    x_hat = ours(x)
    torch.manual_seed(3)
    torch.testing.assert_close(x_hat, theirs.decode(torch.distributions.Normal(mu, std).rsample()))


def test_a_point_posterior_has_no_std_head_and_no_noise():
    model = _autoencoder(posterior="point")
    assert _count(model) == 563_888 - 602
    x = torch.randn(5, 1, 28, 28)
    assert torch.equal(model(x), model(x))
    mu, std = model.encode(x)
    assert torch.equal(std, torch.zeros_like(mu))
    assert torch.equal(model.encode(x).rsample(torch.randn(7, 5, 2))[6], mu)


def test_decode_takes_any_leading_dimensions():
    model, z = _autoencoder(), torch.randn(3, 5, 2)
    output = model.decode(z)
    assert output.shape == (3, 5, 1, 28, 28)
    torch.testing.assert_close(output[1], model.decode(z[1]))


def test_std_stays_above_its_floor():
    model = _autoencoder()
    nn.init.constant_(model.head.raw_std.bias, -200)
    std = model.encode(torch.zeros(1, 1, 28, 28)).std
    assert torch.all(std >= STD_FLOOR)


def test_posterior_is_float32_under_autocast():
    model, x = _autoencoder(), torch.randn(5, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = model.encode(x)
        output = model.decode(posterior.rsample())
    assert posterior.mu.dtype == posterior.std.dtype == output.dtype == torch.float32


def test_rsample_is_mu_plus_std_times_noise():
    posterior = _autoencoder().encode(torch.randn(5, 1, 28, 28))
    noise = torch.randn(4, 5, 2)
    torch.testing.assert_close(posterior.rsample(noise), posterior.mu + posterior.std * noise)


class UsersNetwork:
    """A network of a user, with convolutions and batch normalisation, for RGB images."""

    def encoder(self, image_shape):
        channels = image_shape[0]
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
        )  # fmt: skip

    def decoder(self, latent_dim, image_shape):
        channels, height, width = image_shape
        return nn.Sequential(
            nn.Linear(latent_dim, channels * height * width), nn.Unflatten(1, image_shape)
        )


def test_a_users_network_fits_and_keeps_its_state():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    model = _autoencoder(UsersNetwork(), latent_dim=7, image_shape=(3, 32, 32))
    assert model.training
    assert model.encoder.training
    assert model.encoder[1].num_batches_tracked == 0
    torch.set_rng_state(state)
    x = torch.randn(4, 3, 32, 32)
    assert model.encode(x).mu.shape == (4, 7)
    assert model(x).shape == x.shape


@pytest.mark.parametrize("name", get_args(Activation))
def test_mlp_layers_and_activation_are_settable(name):
    network = MLP(encoder_sizes=(20, 10), decoder_sizes=(10, 20, 30), activation=name)
    model = _autoencoder(network, latent_dim=3)
    kinds = [type(layer).__name__ for layer in model.decoder]
    assert kinds == ["Linear", name, "Linear", name, "Linear", name, "Linear", "Unflatten"]
    sizes = [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)]
    assert sizes == [10, 20, 30, 784]


def test_mlp_without_hidden_layers_is_linear():
    model = _autoencoder(MLP(encoder_sizes=(), decoder_sizes=()), posterior="point")
    assert _count(model) == 784 * 2 + 2 + 2 * 784 + 784


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 32), (1, 8, 12), (2, 7, 13)])
@pytest.mark.parametrize("channels", [(4,), (4, 8)])
def test_conv_halves_the_image_and_restores_its_size(image_shape, channels):
    model = _autoencoder(Conv(channels=channels, features=16), image_shape=image_shape)
    x = torch.randn(2, *image_shape)
    assert model.encode(x).mu.shape == (2, 2)
    assert model(x).shape == x.shape
    strides = [layer.stride for layer in model.encoder if isinstance(layer, nn.Conv2d)]
    assert strides == [(2, 2)] * len(channels)


@pytest.mark.parametrize("network", [MLP(), Conv()])
@pytest.mark.parametrize("likelihood", [Laplace(), Bernoulli()])
def test_the_output_bias_starts_at_the_mean_image(network, likelihood):
    model = Autoencoder(network, likelihood)
    mean = (
        torch.rand(1, 28, 28) * 0.9 + 0.05
        if isinstance(network, MLP)
        else torch.full((1, 28, 28), 0.2)
    )
    for layer in model.decoder:
        if hasattr(layer, "weight"):
            nn.init.zeros_(layer.weight)
    model.start_at(mean)
    x = model.likelihood.mean(model.decode(torch.randn(3, 2)))
    torch.testing.assert_close(x, mean.expand_as(x), rtol=1e-4, atol=1e-4)


class _Flat(MLP):
    def decoder(self, latent_dim, image_shape):
        return nn.Linear(latent_dim, 784)


class _WithoutBias(MLP):
    def decoder(self, latent_dim, image_shape):
        return nn.Sequential(nn.Linear(latent_dim, 784, bias=False), nn.Unflatten(1, image_shape))


class _Unflat(MLP):
    def encoder(self, image_shape):
        return nn.Conv2d(1, 4, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _autoencoder(latent_dim=0), "latent_dim\n  Input should be greater"),
        (
            lambda: _autoencoder(posterior="cauchy"),
            "Input should be 'normal' or 'point'",
        ),
        (lambda: MLP(encoder_sizes=(0,)), r"encoder_sizes.0\n  Input should be greater"),
        (lambda: MLP(activation="Relu"), "activation\n  Input should be 'LeakyReLU'"),
        (
            lambda: Conv(channels=()),
            "channels\n  Value error|channels\n  Value should have at least 1",
        ),
        (lambda: Conv(features=0), "features\n  Input should be greater"),
        (lambda: Conv(activation="relu"), "activation\n  Input should be 'LeakyReLU'"),
        (lambda: _autoencoder(Conv((2,) * 5)), "28 × 28 cannot be halved 5 times"),
        (lambda: _autoencoder(_Flat()), r"decoder must turn codes .* it gave \[2, 784\]"),
        (lambda: _autoencoder(_Unflat()), r"encoder must turn images .* it gave \[2, 4, 26, 26\]"),
    ],
)
def test_invalid_settings_and_networks_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_decoder_without_a_bias_cannot_start_at_the_mean_image():
    with pytest.raises(ConfigError, match="the decoder's last bias does not have"):
        _autoencoder(_WithoutBias()).start_at(torch.zeros(1, 28, 28))

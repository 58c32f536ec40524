"""Ideas that nobody foresaw, in a package of their own: each is only new files, and all else works.

`tests/ideas` has a posterior and a prior on a sphere, a prior that is told the label, a model with
a loss term and an optimizer of its own, an objective that learns, and a likelihood whose decoder
gives two numbers a pixel.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.optim import Adam

from commands import QUICK_EVALUATION, run_steps, script
from ideas.geco import GECO
from ideas.label_prior import LabelPriorVAE
from ideas.latent_diffusion import LatentDiffusion
from ideas.sphere import UniformSphere, VonMisesFisher, VonMisesFisherHead
from ideas.two_numbers import TwoNumbers
from measuring import check_integrated
from musigma.data import Batch, MNISTDataModule
from musigma.evaluation import draws_from_decoder
from musigma.evaluation.encoding import codes_at_once
from musigma.metrics import meanings, on_common_scale
from musigma.models import MLP, Autoencoder, NormalPosterior
from musigma.models.priors import Prior, StandardNormal
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO, Draw, Loss, Objective
from musigma.objectives.likelihoods import Laplace
from musigma.objectives.objective import common_terms, learns
from musigma.paths import PROJECT_ROOT
from musigma.seeding import normal_noise
from musigma.trial_batch import try_batch
from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line
from workbench.meaning import Meaning

MODELS = ("hyperspherical_vae", "label_prior_vae", "latent_diffusion", "geco_vae")
CONFIGS = Path(__file__).parent / "ideas" / "configs"
SMALL = (
    f"hydra.searchpath=[file://{CONFIGS}] data.source=sample trainer=cpu trainer.max_epochs=1 "
    "+trainer.limit_train_batches=3 model.network.encoder_sizes=[16] "
    "model.network.decoder_sizes=[16] trainer.log_every_n_steps=1"
)
TASKS = ("sample count=20", "encode", "reconstruct", "traverse", "decode input={codes}")
SMALL_MLP = MLP((16,), (16,))

STOPPED = """
import runpy, sys
import pytest
from resuming import stop_at
with pytest.MonkeyPatch.context() as patch:
    stop_at(patch, 0, 1)
    sys.argv = {arguments!r}
    with pytest.raises(SystemExit):
        runpy.run_path(sys.argv[0], run_name="__main__")
"""
COMPARED = """
from pathlib import Path
import torch
from resuming import flat
from workbench.runs.weights import load_checkpoint
(stopped,) = Path({logs!r}, "runs").glob("*_{model}_*")
found, expected = (
    flat(load_checkpoint(path / "checkpoints" / "last.ckpt"))
    for path in (stopped, Path({logs!r}, "sweeps", "ideas", "model={model}"))
)
weights = [name for name, value in expected.items() if isinstance(value, torch.Tensor)]
same = sum(torch.equal(found[name], expected[name]) for name in weights)
print("{model}:", same, "of", len(weights), "are the same")
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("ideas") / "logs"


@pytest.fixture(scope="module")
def printed(logs):
    """The output of sweeping, stopping, resuming, evaluating and comparing all of them."""
    place = f"log_dir={logs}"
    models = ",".join(MODELS)
    steps = [script(f"scripts/train.py -m model={models} {SMALL} sweep=ideas {place}")]
    for model in MODELS:
        command = f"scripts/train.py model={model} {SMALL} callbacks.latent_panel=null {place}"
        steps.append(("code", STOPPED.format(arguments=script(command)[1])))
        steps.append(script(f"scripts/train.py resume=latest {place}"))
        steps.append(("code", COMPARED.format(logs=str(logs), model=model)))
    steps.append(("code", QUICK_EVALUATION))
    evaluated = f"run={logs}/sweeps/ideas images=4 samples=25"
    steps.append(script(f"scripts/evaluate.py {evaluated} {place}"))
    steps.append(script(f"scripts/report.py sweep=ideas {place}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSIGMA_TRUSTED", "ideas")
        return run_steps(steps, PROJECT_ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_each_idea_is_swept_and_resumed_to_the_same_bits(model, printed):
    (line,) = (line for line in printed.splitlines() if line.startswith(f"{model}: "))
    _, same, _, of, *_ = line.split()
    assert same == of != "0"


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_each_idea_is_evaluated_with_the_metrics_that_apply(model, printed, logs):
    run = logs / "sweeps" / "ideas" / f"model={model}"
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert math.isclose(
        metrics["elbo"]["mean"] + metrics["rate"]["mean"] + metrics["distortion"]["mean"],
        0,
        abs_tol=150,  # the ELBO is of 4 images, the others of all
    )
    assert ("log_p_exact" in metrics) == (model != "hyperspherical_vae")
    assert ("no_classes" in metrics) == (model == "label_prior_vae")
    assert {"samples.png", "traversals.png"} <= {*metrics["figures"]}
    assert (metrics["latent"]["active_units"] == 0) == (metrics["rate"]["mean"] < 0.2)
    assert (run / "report.html").stat().st_size > 10_000
    if model == "label_prior_vae":
        assert "aggregate_kl_at_least" not in metrics["latent"]  # that is a divergence from N(0, I)
    if model == "latent_diffusion":
        assert metrics["denoising"]["unit"] == "nats per image"


@pytest.mark.slow
def test_the_report_compares_only_comparable_ideas(printed):
    assert "test/elbo cannot compare all of these runs: there are 2 kinds" in printed
    assert "log p(x|y)" in printed


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", MODELS)
def test_each_idea_predicts_and_exports(model, printed, logs, monkeypatch):
    run = logs / "sweeps" / "ideas" / f"model={model}"
    label = "label=7" if model == "label_prior_vae" else ""
    steps = []
    for task in TASKS:
        told = label if task.startswith(("sample", "decode")) else ""
        asked = task.format(codes=run / "predictions" / "encode.npz")
        steps.append(script(f"scripts/predict.py task={asked} run={run} {told}"))
    steps.append(script(f"scripts/predict.py task=traverse input=prior run={run} {label}"))
    steps.append(script(f"scripts/export.py run={run}"))
    monkeypatch.setenv("MUSIGMA_TRUSTED", "ideas")
    run_steps(steps, PROJECT_ROOT)
    assert (run / "export" / "decode.pt2").exists()
    with np.load(run / "predictions" / "traverse.npz") as done:
        size = np.linalg.norm(done["z"], axis=-1)
    assert np.allclose(size, 1) == (model == "hyperspherical_vae")


def _module(model, objective=None):
    return AutoencoderModule(model, objective or ELBO())


def test_the_density_on_the_sphere_integrates_to_one_and_its_draws_match_it():
    mode = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -2.0]]), dim=-1)
    q = VonMisesFisher(mode.double(), torch.tensor([[3.0]]).double())
    prior = UniformSphere(None)
    everywhere = prior.sample(200_000, seed=0).double()
    weights = (q.log_prob(everywhere.unsqueeze(1)) - prior.log_prob(everywhere).unsqueeze(1)).exp()
    assert weights.mean().item() == pytest.approx(1, abs=0.02)
    z = q.rsample(torch.randn(100_000, 1, 3, generator=torch.Generator().manual_seed(0)).double())
    assert torch.allclose(z.norm(dim=-1), torch.ones(1).double())
    torch.testing.assert_close(z.mean(0), q.mu, atol=0.01, rtol=0)
    torch.testing.assert_close(z.std(0), q.std, atol=0.01, rtol=0)
    drawn = (q.log_prob(z) - prior.log_prob(z)).mean(0)
    torch.testing.assert_close(drawn, q.rate_to_uniform(), atol=0.01, rtol=0)


def test_densities_on_different_sets_are_refused():
    on_sphere = {"posterior": VonMisesFisherHead, "prior": UniformSphere}
    for part in on_sphere:
        model = Autoencoder(SMALL_MLP, Laplace(), latent_dim=3, **{part: on_sphere[part]})
        with pytest.raises(ValueError, match="unit sphere.*real vectors|real vectors.*unit sphere"):
            _module(model)
    _module(Autoencoder(SMALL_MLP, Laplace(), latent_dim=3, **on_sphere))


def test_codes_off_the_sphere_are_decoded_from_the_sphere():
    """Means and traversals leave the sphere; they are decoded after projection onto it."""
    model = Autoencoder(
        SMALL_MLP, Laplace(), latent_dim=3, posterior=VonMisesFisherHead, prior=UniformSphere
    ).eval()
    z = torch.randn(5, 3)
    torch.testing.assert_close(model.images_of(4 * z), model.images_of(z))
    assert model.prior.half_width() is None


def test_samples_for_a_label_come_from_that_labels_prior():
    model = LabelPriorVAE(SMALL_MLP, Laplace(), classes=3)
    for y, view in enumerate(model.views().values()):
        mean = view.prior.sample(20_000, seed=1).mean(0)
        torch.testing.assert_close(mean, model.means[y].detach(), atol=0.05, rtol=0)
    x, y = torch.randn(3, 1, 28, 28), torch.tensor([2, 0, 1])
    draw = model.given(Batch(x, y, None)).draw(x, torch.randn(4, 3, 2))
    expected = Normal(model.means[y], 1.0).log_prob(draw.z).sum(-1)
    torch.testing.assert_close(draw.log_prior, expected)


def test_a_part_of_a_model_can_have_its_own_optimizer():
    module = _module(LatentDiffusion(SMALL_MLP, Laplace()))
    first, second = module.configure_optimizers().parts
    own = {id(p) for p in module.model.diffusion.parameters()}
    assert {id(p) for group in second.param_groups for p in group["params"]} == own
    assert own.isdisjoint(id(p) for group in first.param_groups for p in group["params"])
    assert [type(part).__name__ for part in (first, second)] == ["Adam", "AdamW"]


class Undetached(LatentDiffusion):
    """Mistake: the loss of the diffusion model reaches the encoder."""

    def draw(self, x, noise, dataset_size=None):
        draw = super().draw(x, noise, dataset_size)
        loss = self.diffusion.loss(draw.z, noise[..., self.latent_dim :])
        return replace(draw, own_terms={"denoising": loss})


class AddedToLoss(LatentDiffusion):
    """Mistake: the loss of the diffusion model is added to the model's loss."""

    penalty_names = ("denoising",)

    def draw(self, x, noise, dataset_size=None):
        draw = super().draw(x, noise, dataset_size)
        return replace(draw, own_terms={}, penalties=draw.own_terms)


class SharedLoss(LatentDiffusion):
    """Mistake: the loss of one learner reaches the weights of another."""

    def learners(self):
        return {"diffusion.net.0": Adam, "diffusion.net.2": Adam}


@pytest.mark.parametrize(
    ("wrong", "reached"),
    [
        (Undetached, "denoising, which is for model.diffusion, reaches model.head"),
        (AddedToLoss, "denoising, which is for the model, reaches model.diffusion"),
        (
            SharedLoss,
            "denoising, which is for model.diffusion.net.0, reaches model.diffusion.net.2",
        ),
    ],
)
def test_a_term_that_reaches_another_optimizers_weights_is_refused(wrong, reached):
    with pytest.raises(ConfigError, match=reached):
        try_batch(_module(wrong(SMALL_MLP, Laplace())), MNISTDataModule(source="sample"))


class Untrained(GECO):
    """Mistake: the multiplier has an optimizer and no term that it minimises."""

    def own_terms(self, draw, step):
        return {}


def test_a_learner_without_a_term_is_refused():
    module = _module(Autoencoder(SMALL_MLP, Laplace()), Untrained())
    with pytest.raises(ConfigError, match=r"objective\.multiplier .* no own term has a gradient"):
        try_batch(module, MNISTDataModule(source="sample"))


class SummedPrior(Prior):
    """Mistake: a sum over codes too, of which a mean over images does not tell."""

    def __init__(self, model):
        super().__init__()

    def log_prob(self, z):
        return Normal(0.0, 1.0).log_prob(z).sum()

    def sample(self, count, *, seed):
        return normal_noise(count, 2, seed=seed)


@dataclass(frozen=True, eq=False)
class SummedPosterior(VonMisesFisher):
    """Mistake: the same of a posterior."""

    def log_prob(self, z):
        return super().log_prob(z).sum()


class SummedHead(VonMisesFisherHead):
    def forward(self, features):
        q = super().forward(features)
        return SummedPosterior(q.mode, q.kappa)


class Isotropic(VonMisesFisher):
    """Mistake: one standard deviation for all dimensions."""

    @property
    def std(self):
        return super().std.mean(-1, keepdim=True)


class IsotropicHead(VonMisesFisherHead):
    def forward(self, features):
        q = super().forward(features)
        return Isotropic(q.mode, q.kappa)


class NotDetached(VonMisesFisher):
    """Mistake: not all parameters are detached."""

    def detach(self):
        return VonMisesFisher(self.mode, self.kappa.detach())


class NotDetachedHead(VonMisesFisherHead):
    def forward(self, features):
        q = super().forward(features)
        return NotDetached(q.mode, q.kappa)


def test_a_detached_posterior_with_a_gradient_is_refused():
    parts = {"latent_dim": 3, "prior": UniformSphere}
    data = MNISTDataModule(source="sample")
    wrong = Autoencoder(SMALL_MLP, Laplace(), posterior=NotDetachedHead, **parts)
    with pytest.raises(ConfigError, match="log_prob of a detached NotDetached has a gradient"):
        try_batch(_module(wrong), data)
    try_batch(
        _module(Autoencoder(SMALL_MLP, Laplace(), posterior=VonMisesFisherHead, **parts)), data
    )


class OneDraw(Autoencoder):
    """Mistake: takes the noise of the first draw alone."""

    def draw(self, x, noise, dataset_size=None):
        return super().draw(x, noise[:1], dataset_size)


@pytest.mark.parametrize(
    ("model", "settings", "fault"),
    [
        (Autoencoder, {"prior": SummedPrior}, r"log_prob of SummedPrior, has the shape \[\]"),
        (
            Autoencoder,
            {"latent_dim": 3, "posterior": SummedHead, "prior": UniformSphere},
            r"log_prob of SummedPosterior, has the shape \[\]",
        ),
        (
            Autoencoder,
            {"latent_dim": 3, "posterior": IsotropicHead, "prior": UniformSphere},
            r"std of Isotropic has the shape \[2, 1\] .* \[2, 3\]",
        ),
        (OneDraw, {}, r"z has the shape \[1, 2, 2\] for 3 draws of 2 images, .* \[3, 2, 2\]"),
    ],
)
def test_densities_of_the_wrong_shape_are_refused_before_training(model, settings, fault):
    module = _module(model(SMALL_MLP, Laplace(), **settings))
    with pytest.raises(ConfigError, match=fault):
        try_batch(module, MNISTDataModule(source="sample"))


class KeepsModel(SummedPrior):
    """Mistake: the model becomes a part of its own part."""

    def __init__(self, model):
        super().__init__(model)
        self.model = model


@pytest.mark.parametrize("base", [NormalPosterior, StandardNormal])
def test_a_subclass_that_would_keep_gaussian_closed_forms_is_refused(base):
    with pytest.raises(TypeError, match=rf"Laplacian subclasses {base.__name__}, whose rate"):
        type("Laplacian", (base,), {"log_prob": lambda self, z: -z.abs().sum(-1)})


def test_a_prior_that_registers_the_model_is_refused():
    with pytest.raises(ValueError, match="KeepsModel registers the model as a submodule"):
        _module(Autoencoder(SMALL_MLP, Laplace(), prior=KeepsModel))


class Unseeded(SummedPrior):
    """Mistake: samples ignore the seed."""

    def log_prob(self, z):
        return Normal(0.0, 1.0).log_prob(z).sum(-1)

    def sample(self, count, *, seed):
        return torch.randn(count, 2)


class Seeded(Unseeded):
    def sample(self, count, *, seed):
        return normal_noise(count, 2, seed=seed)


class OfOneDimension(Unseeded):
    """Mistake: samples have one number."""

    def sample(self, count, *, seed):
        return normal_noise(count, 1, seed=seed)


@pytest.mark.parametrize(
    ("prior", "fault"),
    [
        (Unseeded, "`sample` of Unseeded gives other draws when it is called again"),
        (OfOneDimension, r"gives torch.float32 \[3, 1\] for 3 draws, and should .* \[3, 2\]"),
    ],
)
def test_a_prior_whose_samples_do_not_follow_their_seed_is_refused(prior, fault):
    module = _module(Autoencoder(SMALL_MLP, Laplace(), prior=prior))
    with pytest.raises(ConfigError, match=fault):
        try_batch(module, MNISTDataModule(source="sample"))


@dataclass(frozen=True)
class CodeSize(Objective):
    """Mistake: its penalty on codes does not use the prior, and it does not say so."""

    def __call__(self, draw, step):
        terms = common_terms(draw)
        return Loss((terms["distortion"] + draw.z.square().sum(-1).mean(0)).mean(), terms, {})


class WithoutPrior(CodeSize):
    uses_prior: ClassVar = False


class Controlled(CodeSize):
    """The weight of its rate is 0 at first."""

    def __call__(self, draw, step):
        terms = common_terms(draw)
        return Loss((terms["distortion"] + 0.0 * terms["rate"]).mean(), terms, {})


class Standardised(CodeSize):
    """Its penalty is on codes in units of the prior."""

    def __call__(self, draw, step):
        terms = common_terms(draw)
        z = (draw.z - draw.prior.mean()) / draw.prior.std()
        return Loss((terms["distortion"] + z.square().sum(-1).mean(0)).mean(), terms, {})


@pytest.mark.parametrize("prior", [StandardNormal, Seeded])
def test_a_loss_without_the_prior_must_say_so(prior):
    model = Autoencoder(SMALL_MLP, Laplace(), prior=prior)
    data = MNISTDataModule(source="sample")
    with pytest.raises(
        ConfigError, match=r"the loss of CodeSize does not use .* uses_prior = False"
    ):
        try_batch(_module(model, CodeSize()), data)
    for kind in (WithoutPrior, Controlled, Standardised):
        try_batch(_module(model, kind()), data)


class LabelHead(Autoencoder):
    """A classifier of codes, whose cross-entropy is a penalty; the decoder ignores labels."""

    penalty_names: ClassVar = ("classification",)
    _y = None

    def __init__(self, **settings):
        super().__init__(SMALL_MLP, Laplace(), **settings)
        self.classifier = nn.Linear(self.latent_dim, 10)

    def given(self, images):
        return self.conditioned(_y=images.y)

    def draw(self, x, noise, dataset_size=None):
        draw = super().draw(x, noise, dataset_size)
        logits = self.classifier(draw.z.mean(0))
        loss = nn.functional.cross_entropy(logits, self._y, reduction="none")
        return replace(draw, penalties={"classification": loss})


def test_a_model_whose_draws_need_labels_is_integrated():
    check_integrated(LabelHead())


class OfTheBatch(ELBO):
    """Mistake: a term is one number for the whole batch."""

    def __call__(self, draw, step):
        loss = super().__call__(draw, step)
        return loss._replace(terms={**loss.terms, "covariance": draw.posterior.mu.T.cov().sum()})


class OfEachImage(ELBO):
    """Mistake: the loss is one number for each image."""

    def __call__(self, draw, step):
        loss = super().__call__(draw, step)
        return loss._replace(loss=-loss.terms["elbo"])


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (OfTheBatch, r"covariance has the shape \[\], and should have .* \[2\]"),
        (OfEachImage, r"the loss of OfEachImage has the shape \[2\], and should be a scalar"),
    ],
)
def test_a_loss_or_term_of_the_wrong_shape_is_refused_before_training(wrong, fault):
    module = _module(Autoencoder(SMALL_MLP, Laplace()), wrong())
    with pytest.raises(ConfigError, match=fault):
        try_batch(module, MNISTDataModule(source="sample"))


def test_a_parts_own_loss_is_reported_but_not_added_to_the_loss():
    module = _module(LatentDiffusion(SMALL_MLP, Laplace()))
    batch = Batch(torch.randn(4, 1, 28, 28), torch.zeros(4), None)
    loss, terms, _ = module.terms(batch, torch.randn(1, 4, module.model.noise_dim), 4, 0)
    elbo = terms["elbo"].mean().item()
    assert loss.item() == pytest.approx(-elbo / 784 - module.model.likelihood.constant, rel=1e-5)
    loss.backward()
    assert module.model.diffusion.net[0].weight.grad.abs().sum() > 0
    assert "denoising" in terms


def test_a_learning_objective_must_name_its_monitor():
    class WithoutMonitor(GECO):
        monitor = Objective.monitor

    model = Autoencoder(SMALL_MLP, Laplace())
    assert _module(model, GECO()).monitor == "excess"
    with pytest.raises(ValueError, match="WithoutMonitor changes as it learns"):
        _module(model, WithoutMonitor())


def test_frozen_weights_and_non_persistent_buffers_do_not_count_as_learning():
    class Perceptual(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Linear(2, 2).requires_grad_(False)
            self.register_buffer("window", torch.ones(3), persistent=False)

    assert not learns(Perceptual())


def test_the_decoder_has_the_output_shape_of_the_likelihood():
    model = Autoencoder(SMALL_MLP, TwoNumbers(), image_shape=(3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    output = model.decode(torch.randn(5, 2, 2))
    assert output.shape == (5, 2, 6, 8, 8)
    assert model(x).shape == x.shape
    one = Autoencoder(SMALL_MLP, Laplace(), image_shape=(3, 8, 8))
    assert codes_at_once(model) == codes_at_once(one) // 2
    pairs = model.likelihood.log_prob_of_pairs(x, output[:, 0])
    each = [model.likelihood.log_prob(x[1:], one[None]) for one in output[:, 0]]
    torch.testing.assert_close(pairs[:, 1], torch.cat(each))
    with pytest.raises(ConfigError, match=r"center_output: .* TwoNumbers.output_of.* \[3, 8, 8\]"):
        model.start_at(torch.zeros(3, 8, 8))


def test_an_objective_can_encode_and_decode_again():
    model = LabelPriorVAE(SMALL_MLP, Laplace(), classes=3)
    x, y = torch.randn(2, 1, 28, 28), torch.tensor([2, 0])
    draw = model.given(Batch(x, y, None)).draw(x, torch.randn(1, 2, 2))
    assert draw.x is x
    torch.testing.assert_close(draw.model.encode(draw.x).mu, draw.posterior.mu)
    assert draw.model.prior is draw.prior


class SameName(ELBO):
    """Mistake: a term has the name of a metric that all models have."""

    def __call__(self, draw, step):
        loss = super().__call__(draw, step)
        return loss._replace(terms={**loss.terms, "l1": draw.z.abs().sum(-1).mean(0)})


class SamePenalty(Autoencoder):
    """Mistake: a penalty has the name of a term of the objective."""

    penalty_names = ("rate",)

    def draw(self, x, noise, dataset_size=None):
        draw = super().draw(x, noise, dataset_size)
        return replace(draw, penalties={"rate": draw.z.abs().sum(-1).mean(0)})


@pytest.mark.parametrize(
    ("model", "objective", "name"), [(Autoencoder, SameName(), "l1"), (SamePenalty, ELBO(), "rate")]
)
def test_two_terms_of_one_name_are_refused(model, objective, name):
    module = _module(model(SMALL_MLP, Laplace()), objective)
    with pytest.raises(ConfigError, match=f"two terms are called {name}"):
        try_batch(module, MNISTDataModule(source="sample"))


def test_a_model_evaluated_with_labels_must_declare_it():
    class Undeclared(LabelPriorVAE):
        conditioned_on: ClassVar = frozenset()

    class InTraining(Undeclared):
        def given(self, images):
            return super().given(images) if self.training else self.conditioned()

    class Drawing(InTraining):
        def draw(self, x, noise, dataset_size=None):
            return super().draw(x, noise + torch.rand_like(noise), dataset_size)

    class Mutating(Undeclared):  # the model itself keeps the labels of the last batch
        def given(self, images):
            self.__dict__["y"] = images.y
            return self

        def encode(self, x):
            return super().encode(x + self.y[:, None, None, None])

    class OfImages(LabelPriorVAE):
        evidence: ClassVar = "p(x)"

    class Encoding(OfImages):  # q(z|x, y): a bound on log p(x) as any other q makes one
        def given(self, images):
            return self.conditioned(y=images.y)

        def encode(self, x):
            return super().encode(x + self.y[:, None, None, None])

    data = MNISTDataModule(source="sample")
    for kind in (LabelPriorVAE, InTraining, Drawing, Encoding):
        try_batch(_module(kind(SMALL_MLP, Laplace())), data)
    for kind, fault in (
        (Undeclared, "Undeclared uses labels in eval"),
        (Mutating, "Mutating uses labels in eval"),
        (OfImages, "OfImages depends on"),
    ):
        with pytest.raises(ConfigError, match=fault):
            try_batch(_module(kind(SMALL_MLP, Laplace())), data)


def test_an_undeclared_use_of_labels_is_refused_on_the_command_line(monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "ideas")
    monkeypatch.setattr(LabelPriorVAE, "conditioned_on", frozenset())
    monkeypatch.setattr(LabelPriorVAE, "check", lambda self, y: None)
    target = f"model._target_={LabelPriorVAE.__module__}.LabelPriorVAE"
    with pytest.raises(ConfigError, match="LabelPriorVAE uses labels in evaluation"):
        read_command_line("train", ["model=vae", "data.source=sample", target])


class OnlySomePixels(Autoencoder):
    """Mistake: half of the pixels are left out of the likelihood."""

    def draw(self, x, noise, dataset_size=None):
        draw = super().draw(x, noise, dataset_size)
        per_pixel = (draw.output - x).abs().flatten(2) + math.log(2)
        return replace(draw, log_likelihood=-per_pixel[..., ::2].sum(-1))


class SkipConnection(Autoencoder):
    """Mistake: the decoder gets features of the image beside z."""

    def encode(self, x):
        self.features = x[:, 0, 0, 0]
        return super().encode(x)

    def decode(self, z):
        return super().decode(z) + self.features[:, None, None, None]

    def draw(self, x, noise, dataset_size=None):
        return super().draw(x, noise, dataset_size)


class Corrupted(Autoencoder):
    """Encodes noisy images in training, and decodes clean ones."""

    def draw(self, x, noise, dataset_size=None):
        seen = x + torch.randn_like(x) if self.training else x
        draw = super().draw(seen, noise, dataset_size)
        return replace(draw, log_likelihood=self.likelihood.log_prob(x, draw.output), x=x)


def test_an_elbo_of_another_density_than_the_decoders_must_be_declared():
    class Declared(OnlySomePixels):
        evidence: ClassVar = "p(half of x)"

    data = MNISTDataModule(source="sample")
    for kind in (Corrupted, Declared, LatentDiffusion):
        try_batch(_module(kind(SMALL_MLP, Laplace())), data)
    for kind in (OnlySomePixels, SkipConnection):
        with pytest.raises(ConfigError, match=f"`draw` of {kind.__name__} gives another log p"):
            try_batch(_module(kind(SMALL_MLP, Laplace())), data)
    x, noise = torch.rand(4, 1, 28, 28), torch.randn(1, 4, 2)
    assert draws_from_decoder(Corrupted(SMALL_MLP, Laplace()).eval(), x, noise)
    assert not draws_from_decoder(Declared(SMALL_MLP, Laplace()).eval(), x, noise)


def test_a_model_that_is_conditioned_on_more_than_labels_is_refused():
    kind = type("Blurred", (Autoencoder,), {"conditioned_on": frozenset({"x", "y"})})
    with pytest.raises(ValueError, match="conditioned_on of Blurred names x, and evaluation can"):
        _module(kind(SMALL_MLP, Laplace()))


class WithoutGradient(Autoencoder):
    """Codes that no gradient passes, as discrete ones are."""

    def draw(self, x, noise, dataset_size=None):
        posterior = self.encode(x)
        z = posterior.rsample(noise).detach()
        log_likelihood = self.likelihood.log_prob(x, output := self.decode(z))
        return Draw(log_likelihood, z, noise, posterior, self.prior, output, x=x, model=self)


class ScoreFunction(ELBO):
    """The ELBO, its gradient as that of log q(z|x)."""

    needs_gradient_of_z: ClassVar = False

    def __call__(self, draw, step):
        loss = super().__call__(draw, step)
        score = draw.log_weights().detach() * draw.posterior.log_prob(draw.z)
        return loss._replace(loss=loss.loss - (score - score.detach()).mean())


def test_draws_without_a_gradient_need_an_objective_for_them():
    data = MNISTDataModule(source="sample")
    model = WithoutGradient(SMALL_MLP, Laplace())
    try_batch(_module(model, ScoreFunction()), data)
    with pytest.raises(ConfigError, match="of NormalPosterior have no gradient, and ELBO"):
        try_batch(_module(model), data)
    model.encoder.requires_grad_(False)
    model.head.requires_grad_(False)
    try_batch(_module(model), data)  # the encoder is not to be trained


def _meanings(model, objective, **settings):
    config = {"model": {"likelihood": {}, "objective": {}, **settings}}
    module = SimpleNamespace(model=model, objective=objective)
    return meanings(config, module, MNISTDataModule(source="sample"))


class Measured(Autoencoder):
    """Reports an accuracy, which is to be maximised."""

    meanings: ClassVar = {"accuracy": Meaning("share of images", better="higher")}


def test_a_models_own_term_has_the_unit_and_direction_of_its_class():
    found = _meanings(Measured(SMALL_MLP, Laplace()), ELBO())
    assert found.of("test/accuracy").unit == "share of images"
    assert found.of("test/accuracy").better == "higher"
    assert found.of("test/other").unit == "nats per image"


class Penalized(Autoencoder):
    """Adds a penalty that depends on its settings."""

    penalty_names = ("penalty",)


@pytest.mark.parametrize(
    ("name", "one", "other", "compares"),
    [
        ("weight", 1.0, 2.0, False),
        ("weights", [1, 2], [1, 3], False),
        ("weights", {"near": 1}, {"near": 2}, False),
        ("weight", None, 1.0, False),
        ("network", {"_target_": "a.Small"}, {"_target_": "a.Large"}, True),
        ("latent_dim", 2, 3, True),
    ],
)
def test_losses_compare_if_the_settings_of_penalties_are_equal(name, one, other, compares):
    model = Penalized(SMALL_MLP, Laplace())
    first, second = (_meanings(model, ELBO(), **{name: value}) for value in (one, other))
    assert (first.of("loss").of == second.of("loss").of) == compares


class Sliced(ELBO):
    """Reports an estimate over a batch, in a unit other than nats."""

    estimators: ClassVar = {"sliced": "sliced distances", "total": "another estimator"}
    meanings: ClassVar = {"sliced": Meaning("squared units", better="lower")}


def test_a_batch_estimate_can_have_its_own_unit():
    found = _meanings(Autoencoder(SMALL_MLP, Laplace()), Sliced())
    sliced, total = found.of("test/sliced"), found.of("test/total")
    assert (sliced.unit, sliced.better) == ("squared units", "lower")
    assert (total.unit, total.better) == ("nats per image", "neither")
    assert "sliced distances in batches of 128 and 1000" in sliced.of


class OfGreyLevels(TwoNumbers):
    """A likelihood that gives the probability of each grey level."""

    is_probability = True


def test_probabilities_of_grey_levels_compare_with_no_density():
    data = MNISTDataModule(source="sample", normalization="unit")
    config = {"model": {"likelihood": {}, "objective": {}}}
    models = [Autoencoder(SMALL_MLP, one()) for one in (TwoNumbers, OfGreyLevels)]
    modules = [SimpleNamespace(model=model, objective=ELBO()) for model in models]
    density, probability = (meanings(config, module, data).of("elbo") for module in modules)
    assert density.of != probability.of
    assert [*on_common_scale({"test/elbo": 1.0}, modules[0], data)] == ["test/elbo_unit"]
    assert not on_common_scale({"test/elbo": 1.0}, modules[1], data)


def test_dequantized_grey_levels_are_refused_by_a_probability(monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "ideas")
    monkeypatch.setattr(TwoNumbers, "is_probability", True)
    target = f"model.likelihood._target_={TwoNumbers.__module__}.TwoNumbers"
    unused = ["~model.likelihood.scale", "~model.likelihood.scale_is"]
    with pytest.raises(ConfigError, match="dequantize adds noise to them: set it to unit"):
        read_command_line("train", ["data.normalization=dequantize", target, *unused])


class Shifted(Autoencoder):
    """Draws random numbers in addition to its noise."""

    def draw(self, x, noise, dataset_size=None):
        return super().draw(x + 0.1 * torch.randn_like(x), noise, dataset_size)


def test_a_models_own_random_numbers_are_the_same_in_every_evaluation():
    data = MNISTDataModule(source="sample", val_size=8)
    module = _module(Shifted(SMALL_MLP, Laplace()))
    trainer = L.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trainer.validate(module, data, verbose=False)
        assert torch.equal(torch.get_rng_state(), before)  # the transforms of a loader use it
        found.append(trainer.callback_metrics["val/loss"].item())
    assert found[0] == found[1]

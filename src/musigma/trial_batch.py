"""Try a batch of random images before a job starts."""

import copy

import torch
from torch import Tensor

from musigma.data import Batch, ForeignDataModule, ImageDataModule
from musigma.evaluation import draws_from_decoder
from musigma.models import LatentVariableModel
from musigma.module import AutoencoderModule
from musigma.objectives import Draw, Objective
from musigma.seeding import FIXED_SEED
from workbench.config.blame import blaming
from workbench.errors import ConfigError
from workbench.optimizers.parts import is_within

MOST_SAMPLES = 2
"""The largest number of samples per image to try; more could take a lot of memory."""

DRAWS = 3
"""The number of draws of each image whose shapes are checked, other than that of images."""


def try_batch(module: AutoencoderModule, data: ImageDataModule) -> tuple[list[str], list[str]]:
    """Compute the loss of two random images; return the names of its terms and settings.

    Raises:
        ConfigError: if it cannot be computed, draws have no gradient, gradients reach weights of
            other optimizers, the model uses labels or another density than its decoder's without
            declaring it, or batches of one image give no finite terms.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = {name: getattr(data, name, 2) for name in ("batch_size", "eval_batch_size")}
    smallest = min(sizes, key=lambda name: sizes[name])
    count = min(2, sizes[smallest])
    x = _random_images(data, count, generator)
    samples = min(module.objective.samples, MOST_SAMPLES)
    noise = torch.randn(samples, count, module.model.noise_dim, generator=generator)
    device = next(module.parameters()).device  # "meta" while jobs are checked
    y = torch.zeros(count, dtype=torch.long, device=device)
    with blaming(f"model: the loss of {count} images cannot be computed"):
        batch = Batch(x.to(device), y, None)
        model = module.model.given(batch)
        _check_shapes(model, batch.x, generator)
        _, terms, settings = module.terms(batch, noise.to(device), count, 0)
        draw = model.draw(batch.x, noise.to(device), count)
        _check_differentiable(module.objective, draw)
        _check_gradients(module, draw)
        _check_density(module.model, batch, noise.to(device))
        _check_labels(module.model, batch, noise.to(device))
    if count == 1 and (undefined := [n for n, term in terms.items() if not term.isfinite().all()]):
        raise ConfigError(
            f"data.{smallest}=1: {undefined[0]} compares the images of a batch: set 2 or more"
        )
    return [*terms], [*settings]


def _random_images(data: ImageDataModule, count: int, generator: torch.Generator) -> torch.Tensor:
    if isinstance(data, ForeignDataModule):  # 0 and 1 are valid pixels of every kind
        return torch.rand(count, *data.image_shape, generator=generator).round()
    grey = torch.randint(0, 256, (count, *data.image_shape), generator=generator)
    return data.normalization(data.normalization.prepare(grey.to(torch.uint8)), generator)


def _check_shapes(model: LatentVariableModel, x: Tensor, generator: torch.Generator) -> None:
    """Raise a ConfigError if densities of draws have the wrong shape, which may not show in a sum.

    `DRAWS` of each image are tried, because evaluation takes several whatever the objective does.
    """
    noise = torch.randn(DRAWS, len(x), model.noise_dim, generator=generator)
    draw = model.draw(x, noise.to(x))
    q, of_q, of_p = draw.posterior, type(draw.posterior).__name__, type(draw.prior).__name__
    codes, per_draw = [len(x), model.latent_dim], [DRAWS, len(x)]
    shapes = [
        (f"mu of {of_q}", q.mu, codes),
        (f"std of {of_q}", q.std, codes),
        ("z", draw.z, [DRAWS, *codes]),
        ("log p(x|z)", draw.log_likelihood, per_draw),
    ]
    if model.has_density:
        shapes.append((f"log q(z|x), from log_prob of {of_q},", draw.log_posterior, per_draw))
        if model.prior.has_density:
            shapes.append((f"log p(z), from log_prob of {of_p},", draw.log_prior, per_draw))
    for name, value, expected in shapes:
        if [*value.shape] != expected:
            raise ConfigError(
                f"model: {name} has the shape {[*value.shape]} for {DRAWS} draws of {len(x)} "
                f"images, and should have {expected}"
            )


def _check_differentiable(objective: Objective, draw: Draw) -> None:
    """Raise a ConfigError if draws lack a gradient that they need, or a detached q(z|x) has one."""
    q = draw.posterior
    kind = type(q).__name__
    if objective.needs_gradient_of_z and q.mu.requires_grad and not draw.z.requires_grad:
        raise ConfigError(
            f"model: the draws of {kind} have no gradient, and {type(objective).__name__} trains "
            "the encoder through them: make `rsample` differentiable, or choose an objective that "
            "takes the gradient of log q(z|x) instead, and sets needs_gradient_of_z = False in its "
            "class"
        )
    if q.has_density and q.detach().log_prob(draw.z.detach()).requires_grad:
        raise ConfigError(
            f"model: log_prob of a detached {kind} has a gradient, which would bias that of some "
            "objectives: `detach` must detach all parameters, and the weights of networks that "
            "log_prob calls, with with_detached_weights of musigma.models.posteriors.posterior"
        )


def _check_gradients(module: AutoencoderModule, draw: Draw) -> None:
    """Raise a ConfigError if a term has gradients for weights of another optimizer than its own.

    The objective and the penalties train the weights of the model, and each own term those of one
    learner.
    """
    learners = module.learners()
    if not learners:
        return
    weights = {n: p for n, p in module.named_parameters() if p.requires_grad}
    own_terms = {**draw.own_terms, **module.objective.own_terms(draw, 0)}
    loss = module.objective(draw, 0).loss
    trained_parts: set[str] = set()
    for name, value in {"loss": loss, **draw.penalties, **own_terms}.items():
        if not value.requires_grad:
            continue
        gradients = torch.autograd.grad(
            value.mean(), [*weights.values()], retain_graph=True, allow_unused=True
        )
        reached = {
            next((part for part in learners if is_within(weight, part)), "the model"): weight
            for weight, gradient in zip(weights, gradients, strict=True)
            if gradient is not None
        }
        first = next((part for part in reached if part in learners), "a learner")
        trained = first if name in own_terms else "the model"
        trained_parts.add(trained)
        if wrong := [weight for part, weight in reached.items() if part != trained]:
            raise ConfigError(
                f"model: the gradient of {name}, which is for {trained}, reaches {wrong[0]}, which "
                "another optimizer trains: detach the codes in own_terms, which learners minimise, "
                "and the learners' weights in all other terms; put modules that one term trains "
                "together into one nn.ModuleDict, which is then one learner"
            )
    untrained = [
        p for p in learners if p not in trained_parts and any(is_within(w, p) for w in weights)
    ]
    if untrained:
        raise ConfigError(
            f"model: {untrained[0]} has an optimizer of its own, and no own term has a gradient "
            "for it: return a term that trains it in own_terms"
        )


def _check_density(model: LatentVariableModel, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if a model's own `draw` gives another log p(x|z) than its decoder.

    Samples, and log p(x) by integration, are of the decoder. A model whose `evidence` is a density
    of its own may differ.
    """
    overrides_draw = type(model).draw is not LatentVariableModel.draw
    if not overrides_draw or model.evidence not in ("p(x)", "p(x|y)"):
        return
    _need_values(model, "its density")
    view = copy.deepcopy(model).eval().given(batch)
    if not draws_from_decoder(view, batch.x, noise):
        raise ConfigError(
            f"model: for the same codes, `draw` of {type(model).__name__} gives another log p(x|z) "
            "than its decoder and likelihood do, from which samples are drawn, so that its ELBO "
            f"bounds no log {model.evidence}, and would be compared with those that do. Decode z "
            "alone, and declare further costs as penalties; or set `evidence` in the class to the "
            'density that the ELBO bounds, such as "p(hidden pixels|others)"'
        )


def _need_values(model: LatentVariableModel, name: str) -> None:
    """Raise an error on the device "meta", which makes the caller try the CPU."""
    if model.device.type == "meta":
        raise ConfigError(f"model: {name} cannot be checked without values")


def _check_labels(model: LatentVariableModel, batch: Batch, noise: Tensor) -> None:
    """Raise a ConfigError if the model uses labels without declaring it.

    Evaluation may depend on labels only if `conditioned_on` names them, and p(x|z) p(z) only if
    `evidence` is a density given them; other reported values, such as an accuracy, always may.
    """
    overrides_given = type(model).given is not LatentVariableModel.given
    is_declared = "y" in model.conditioned_on and model.evidence != LatentVariableModel.evidence
    if not overrides_given or is_declared:
        return
    _need_values(model, "its use of labels")
    kind, trial = type(model).__name__, copy.deepcopy(model).eval()
    draws: list[Draw] = []
    joint = []
    for y in (batch.y, batch.y + 1):
        view = trial.given(batch._replace(y=y))
        with torch.no_grad(), torch.random.fork_rng([]):
            torch.manual_seed(FIXED_SEED)  # for values that the model draws beside the noise
            draws.append(view.draw(batch.x, noise, len(batch.x)))
            z = draws[0].z
            log_p = view.likelihood.log_prob(batch.x, view.decode(z))
            joint.append(log_p + view.prior.log_prob(z) if model.has_density else log_p)
    parts = [(d.z, d.log_likelihood, *([d.log_weights()] * model.has_density)) for d in draws]
    if "y" not in model.conditioned_on and not all(map(torch.equal, *parts)):
        raise ConfigError(
            f"model: {kind} uses labels in evaluation, and `conditioned_on` does not name them, so "
            "that its metrics would be compared with those of models without labels. Set "
            'conditioned_on = {"y"} and evidence in the class, or use labels only in training'
        )
    if "y" in model.conditioned_on and not torch.equal(*joint):
        raise ConfigError(
            f"model: the decoder or prior of {kind} depends on labels, so that its ELBO bounds no "
            f"log {model.evidence}, and would be compared with those that do: set in the class "
            'evidence = "p(x|y)"'
        )

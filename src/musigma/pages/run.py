"""A run's metrics and facts as text, for its page and the terminal."""

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from musigma.evaluation.quadrature import is_one
from musigma.objectives.schedules import Constant
from musigma.words import NATS, UNITS
from workbench.runs.description import RunDescription
from workbench.text import counted

ABSENT = "–"

LARGEST_DEVIATION, ROUNDING = 5, 0.01
"""Standard errors, and nats, by which two estimates of one rate may differ."""


class Row(NamedTuple):
    """A row of the table of metrics.

    `metric` is its key in `evaluation/metrics.json`; empty if the row has none. `images` says how
    many test images were measured; empty if all.
    """

    name: str
    value: str
    error: str
    unit: str
    metric: str = ""
    images: str = ""


SHOWN = {
    "distortion": ("distortion D", NATS),
    "rate": ("rate R", NATS),
    "elbo": ("ELBO", NATS),
    "log_p": ("log p(x), importance weights", NATS),
    "log_p_exact": ("log p(x), quadrature", NATS),
    "elbo_unit": ("ELBO on the [0, 1] scale", NATS),
    "log_p_unit": ("log p(x) on the [0, 1] scale, importance weights", NATS),
    "log_p_exact_unit": ("log p(x) on the [0, 1] scale, quadrature", NATS),
    "gap_of_family": ("log p(x) − ELBO, due to the posterior family", NATS),
    "gap_of_amortization": ("log p(x) − ELBO, due to amortisation", NATS),
    "l1": ("l1", UNITS["l1"]),
    "mse": ("mse", UNITS["mse"]),
    "psnr": ("PSNR", "dB"),
}


def rows_of(metrics: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of the table of metrics, with a dash for values that are missing."""
    for name in dict.fromkeys([*SHOWN, *metrics]):
        metric = metrics.get(name)
        if isinstance(metric, dict) and "mean" in metric:
            title, unit = title_of(name, metrics)
            value, error = text_of(metric["mean"], unit), text_of(metric.get("error"), unit)
            images = metric.get("images", metrics["test_images"])
            some = counted(images, "image") if images < metrics["test_images"] else ""
            yield Row(title, value, error, unit, name, some)
    yield from _weight_rows(metrics)
    yield from _code_rows(metrics)
    yield from _class_rows(metrics["classes"])


def _weight_rows(metrics: Mapping[str, Any]) -> Iterator[Row]:
    """The reliability of importance weights."""
    if "effective_samples" in metrics:
        value = f"{metrics['effective_samples']:.0f} of {metrics['samples']}"
        yield Row("effective samples", value, "", "median")
    if "share_with_k_over_0.7" in metrics:
        yield Row("k̂ over 0.7", f"{metrics['share_with_k_over_0.7']:.1%}", "", "of images")


def _code_rows(metrics: Mapping[str, Any]) -> Iterator[Row]:
    """Statistics of the codes."""
    latent = metrics["latent"]
    if "active_units" in latent:
        of = f" of {len(latent['spread'])}" if "spread" in latent else ""
        layers = latent.get("active_units_by_layer", [latent["active_units"]])
        yield Row("active units", f"{' + '.join(map(str, layers))}{of}", "", "dimensions")
    if "mutual_information_at_least" in latent:
        information = latent["mutual_information_at_least"]
        value = _text(information.get("mean"), ".2f", "≥ ")
        yield Row("I(x; z)", value, _text(information.get("error"), ".2f"), NATS)
        was_measured = {*latent, *metrics.get("left_out", ())}
        if was_measured & {"aggregate_kl_at_least", "latent.aggregate_kl_at_least"}:
            kl = _text(latent.get("aggregate_kl_at_least"), ".2f", "≥ ")
            yield Row("KL(q(z) ‖ p(z)), from moments", kl, "", "nats")
    elif "share_of_std_at_floor" in latent:
        if ratios := latent.get("signal_to_noise"):
            mean = three_digits(sum(ratios) / len(ratios))
            yield Row("signal-to-noise ratio of codes", mean, "", "mean over dimensions")
        share = f"{latent['share_of_std_at_floor']:.1%}"
        yield Row("stds at their floor of 10⁻⁶", share, "", "of all stds")
    for name in latent.get("of_model", ()):
        yield Row(name.replace("_", " "), _text(latent[name], ".4g"), "", "of the codes", name)


def _class_rows(classes: Mapping[str, Any]) -> Iterator[Row]:
    """Probes and clusters of the codes."""
    for name in ("linear_probe", "nearest_neighbours"):
        if name in classes:
            probe = classes[name]
            value, error = f"{probe['accuracy']:.2%}", f"{probe['error']:.2%}"
            yield Row(f"{name.replace('_', ' ')} of μ", value, error, "test accuracy")
    if "k_means" in classes:
        clusters = classes["k_means"]
        rand, information = clusters["adjusted_rand"], clusters["normalized_information"]
        yield Row("k-means of μ, adjusted Rand index", f"{rand:.3f}", "", "1: classes, 0: chance")
        normalised = "1: classes, normalised"
        yield Row("k-means of μ, mutual information", f"{information:.3f}", "", normalised)


def title_of(name: str, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """A metric's title, which names the density that the model defines, and its unit."""
    own = metrics.get(name)
    own_unit = str(own.get("unit", "")) if isinstance(own, dict) else ""
    title, unit = SHOWN.get(name, (name.replace("_", " "), own_unit))
    evidence = metrics["evidence"]
    if title.startswith("ELBO") and evidence != "p(x)":
        title = title.replace("ELBO", f"ELBO of log {evidence}", 1)
    return title.replace("p(x)", evidence), unit


def facts_of(lines: Mapping[str, str], objective: object, about: RunDescription) -> dict[str, str]:
    """The summary of a run: a line of text by label, beginning with the lines of `describe`.

    The objective is shown with all of its settings, including defaults.
    """
    facts = {**lines, "objective": _with_settings(objective)}
    total = about.facts.get("epochs trained", "unknown")
    if about.epoch is not None:
        label = "best epoch" if about.checkpoint == "best" and about.is_best_by_metric else "epoch"
        facts[label] = f"{about.epoch} of {total} (step {about.step:,})"
    return {**facts, "status": about.status}


def _with_settings(thing: Any) -> str:
    """The class of an object with its settings: `ELBO(beta=4.0, samples=1)`."""
    if isinstance(thing, Constant):
        return str(thing.end)
    if isinstance(thing, int | float | str | tuple | None):
        return str(thing)
    if isinstance(thing, functools.partial):
        name, settings = thing.func.__name__, thing.keywords
    else:
        parameters = inspect.signature(type(thing)).parameters
        name = type(thing).__name__
        settings = {key: getattr(thing, key) for key in parameters if hasattr(thing, key)}
    inside = ", ".join(f"{key}={_with_settings(value)}" for key, value in settings.items())
    return f"{name}({inside})" if inside else name


def measured(metrics: Mapping[str, Any], weights: str) -> str:
    """The weights and images that were measured, in a few sentences."""
    text = (
        f"The {weights} on {metrics['test_images']:,} test images, each decoded from one draw of "
        "z; errors are standard errors over images."
    )
    if "images" in metrics:
        text += f" ELBO and log {metrics['evidence']} on {metrics['images']:,} of them, with "
        text += f"{metrics['samples']} samples each (seed {metrics['seed']})."
    if "no_classes" in metrics:
        text += f" Probes of the codes are left out: {metrics['no_classes']}."
    return text


def notes_of(metrics: Mapping[str, Any]) -> list[str]:
    """What was left out or did not converge, with the reasons."""
    reasons = []
    if "no_log_p" in metrics:
        reasons.append(f"No log {metrics['evidence']}: {metrics['no_log_p']}")
    if reason := metrics["latent"].get("for_normal_posteriors"):
        reasons.append(f"Left out: {reason}")
    if "left_out" in metrics:
        reasons.append(f"Left out because not finite: {', '.join(metrics['left_out'])}")
    deviation = metrics.get("rate_deviation", 0.0)
    error = metrics.get("rate_deviation_error", 0.0)
    if abs(deviation) > LARGEST_DEVIATION * error + ROUNDING:
        reasons.append(
            f"R in closed form differs by {deviation:.3g} ± {error:.1g} nats from the mean of log "
            "q(z|x) − log p(z) over the draws: the closed form, a density or the draws are wrong"
        )
    if count := metrics.get("log_p_exact_not_converged"):
        text = f"The integral did not converge for {count} of {metrics['images']} images"
        mass = metrics.get("log_p_exact_prior_mass", 1.0)
        if not is_one(mass):
            text += (
                f": that of the prior's own density is {mass:.4g} and should be 1, so the density "
                "is not normalised, or too narrow for the grid"
            )
        reasons.append(text)
    return reasons


def text_of(value: float | None, unit: str) -> str:
    """A value with two decimals for nats and dB, else four; a dash for None."""
    return _text(value, ".2f" if unit in (NATS, "dB") else ".4f")


def three_digits(value: float) -> str:
    """A number with three significant digits, large ones without an exponent: 12,800,000."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def _text(value: float | None, form: str, sign: str = "") -> str:
    return ABSENT if value is None else f"{sign}{value:{form}}".replace("-", "−")

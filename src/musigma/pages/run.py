"""The metrics of a run in words, for its page and the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from musigma.words import NATS, UNITS

ABSENT = "–"


class Row(NamedTuple):
    """A line of the table."""

    name: str
    value: str
    error: str
    unit: str


SHOWN = {
    "distortion": ("distortion D", NATS),
    "rate": ("rate R", NATS),
    "elbo": ("ELBO", NATS),
    "log_p": ("log p(x), importance weights", NATS),
    "log_p_exact": ("log p(x), quadrature", NATS),
    "elbo_unit": ("ELBO on the [0, 1] scale", NATS),
    "log_p_unit": ("log p(x) on the [0, 1] scale, importance weights", NATS),
    "log_p_exact_unit": ("log p(x) on the [0, 1] scale, quadrature", NATS),
    "gap_of_family": ("log p(x) − ELBO: the family's part", NATS),
    "gap_of_amortization": ("log p(x) − ELBO: amortisation's part", NATS),
    "l1": ("l1", UNITS["l1"]),
    "mse": ("mse", UNITS["mse"]),
    "psnr": ("PSNR", "dB"),
}


def rows_of(metrics: Mapping[str, Any]) -> Iterator[Row]:
    """The lines of the metrics; a dash for what could not be measured."""
    for name in dict.fromkeys([*SHOWN, *metrics]):
        metric = metrics.get(name)
        if isinstance(metric, dict) and "mean" in metric:
            title, unit = title_of(name, metrics)
            value, error = text_of(metric["mean"], unit), text_of(metric.get("error"), unit)
            yield Row(title, value, error, unit)
    latent, classes = metrics["latent"], metrics["classes"]
    if "active_units" in latent:
        of = f" of {len(latent['spread'])}" if "spread" in latent else ""
        yield Row("active units", f"{latent['active_units']}{of}", "", "dimensions")
    if "mutual_information_at_least" in latent:
        information = latent["mutual_information_at_least"]
        value = _text(information.get("mean"), ".2f", "≥ ")
        yield Row("I(x; z)", value, _text(information.get("error"), ".2f"), NATS)
        kl = _text(latent.get("aggregate_kl_at_least"), ".2f", "≥ ")
        yield Row("KL(q(z) ‖ p(z)), by the moments", kl, "", "nats")
    elif "share_of_std_at_floor" in latent:
        if noise := latent.get("signal_to_noise"):
            mean = f"{sum(noise) / len(noise):.3g}"
            yield Row("signal to noise of the codes", mean, "", "mean over dimensions")
        yield Row("std at its floor", f"{latent['share_of_std_at_floor']:.1%}", "", "of all")
    for name in ("linear_probe", "nearest_neighbours"):
        if name in classes:
            probe = classes[name]
            value, error = f"{probe['accuracy']:.2%}", f"{probe['error']:.2%}"
            yield Row(f"{name.replace('_', ' ')} of μ", value, error, "test accuracy")
    if "k_means" in classes:
        clusters = classes["k_means"]
        rand, information = clusters["adjusted_rand"], clusters["normalized_information"]
        yield Row("k-means against classes, ARI", f"{rand:.3f}", "", "1: the same, 0: chance")
        yield Row("k-means against classes, NMI", f"{information:.3f}", "", "1: the same")


def title_of(name: str, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """A metric in words, of the density that the model speaks of, and its unit."""
    title, unit = SHOWN.get(name, (name.replace("_", " "), ""))
    speaks_of = metrics["speaks_of"]
    if title.startswith("ELBO") and speaks_of != "p(x)":
        title = title.replace("ELBO", f"ELBO of log {speaks_of}", 1)
    return title.replace("p(x)", speaks_of), unit


def measured(metrics: Mapping[str, Any], weights: str) -> str:
    """The weights and the images that were measured, in a sentence or two."""
    text = (
        f"The {weights} on {metrics['test_images']:,} test images, each decoded from one draw of "
        "z; errors are over images."
    )
    if "images" in metrics:
        text += f" ELBO and log {metrics['speaks_of']} on {metrics['images']:,} of them, "
        text += f"{metrics['samples']} samples each, seed {metrics['seed']}."
    if "no_classes" in metrics:
        text += f" Probes of the codes are left out: {metrics['no_classes']}."
    if "gap_images" in metrics:
        text += f" The parts of the gap on {metrics['gap_images']}."
    return text


def text_of(value: float | None, unit: str) -> str:
    """A value with as many decimals as its unit is given with; a dash for none."""
    return _text(value, ".2f" if unit in (NATS, "dB") else ".4f")


def _text(value: float | None, form: str, sign: str = "") -> str:
    return ABSENT if value is None else f"{sign}{value:{form}}"

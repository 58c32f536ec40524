"""Check the names of metrics in settings: those that callbacks, schedules and searches follow."""

from collections.abc import Collection, Iterator, Mapping

import lightning as L

from workbench.callbacks import BestAndLast
from workbench.config.build import build_callbacks
from workbench.config.schedule_rules import schedule_in
from workbench.errors import ConfigError
from workbench.project import Config


def check_monitors(
    config: Config, callbacks: Mapping[str, L.Callback], known: Collection[str]
) -> None:
    """Raise a ConfigError if callbacks or the scheduler monitor a metric that no run reports.

    Args:
        config: resolved.
        callbacks: by their places in the config.
        known: the names of the metrics that a run reports while it trains.
    """
    for place, metric in _monitors(config, callbacks):
        # The best checkpoint is chosen after a validation, before the epoch has train/ metrics.
        is_early = isinstance(callbacks.get(place.removesuffix(".monitor")), BestAndLast)
        names = [n for n in known if n.startswith("val/" if is_early else ("train/", "val/"))]
        if metric not in names:
            raise ConfigError(f"{place}={metric}: {no_such_metric(names)}")


def check_unvalidated(config: Config, monitor: str) -> None:
    """Raise a ConfigError if anything monitors a metric of the validation in a run without one.

    Args:
        config: resolved.
        monitor: the metric that the module monitors, without its stage.
    """
    monitors = dict(_monitors(config, build_callbacks(config), f"val/{monitor}"))
    monitors["optimized_metric"] = str(config.get("optimized_metric"))
    for place, metric in monitors.items():
        if metric.startswith("val/"):
            raise ConfigError(
                f"{place}={metric}: there is no validation; set data.val_size and "
                "trainer.limit_val_batches above 0, or choose a metric of train/"
            )


def _monitors(
    config: Config, callbacks: Mapping[str, L.Callback], default: str | None = None
) -> Iterator[tuple[str, str]]:
    """The places of the settings by which callbacks and the scheduler monitor, and the metrics.

    A scheduler that names none monitors `default`, or is left out.
    """
    for place, callback in callbacks.items():
        if isinstance(metric := getattr(callback, "monitor", None), str):
            yield f"{place}.monitor", metric
    schedule = schedule_in(config)
    if schedule and schedule.by_metric and (metric := schedule.monitor or default):
        yield "scheduler.monitor", metric


def check_optimized(config: Config, measured: Collection[str]) -> None:
    """Raise a ConfigError if a search optimizes a metric that its runs do not measure.

    Args:
        config: resolved.
        measured: the names of the metrics of a run, including those of its test.
    """
    metric = config.get("optimized_metric")
    if metric is None:
        return
    limit = config["trainer"].get("limit_test_batches")
    if str(metric).startswith("test/") and (limit == 0 or not config.get("test", True)):
        raise ConfigError(
            f"optimized_metric={metric}: there is no test; set test=true and "
            "trainer.limit_test_batches above 0, or choose a metric of val/"
        )
    if metric not in measured:
        raise ConfigError(f"optimized_metric={metric}: {no_such_metric(measured)}")


def no_such_metric(known: Collection[str]) -> str:
    """The message about an unknown metric, with the names of the known ones."""
    return f"there is no such metric; there are {', '.join(sorted(known))}"

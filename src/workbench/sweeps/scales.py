"""The scales of metrics: which values compare, and which metric ranks the runs of a sweep."""

import itertools
from collections.abc import Sequence

from workbench.errors import RunError
from workbench.meaning import UNKNOWN, Meaning
from workbench.sweeps.collect import SweepRun

Scale = tuple[str, ...]
"""`Meaning.of` of a metric: the quantity measured. Only values of equal scales are comparable."""


def scale_of(run: SweepRun, metric: str) -> Scale:
    """The scale of a metric of a run."""
    return meaning_of([run], metric).of


def meaning_of(runs: Sequence[SweepRun], metric: str) -> Meaning:
    """The meaning of a metric, taken from the first run that records meanings."""
    return next((run.meanings.of(metric) for run in runs if run.meanings), UNKNOWN)


def is_repeated(runs: Sequence[SweepRun], stage: str, metric: str) -> bool:
    """True if another metric makes this one redundant and compares all of these runs."""
    other = meaning_of(runs, metric).repeats
    return other is not None and len(scales_of(runs, f"{stage}/{other}")) == 1


def describe_differences(scales: Sequence[Scale]) -> list[str]:
    """The parts of each scale that are not the same in all of them, in words."""
    columns = itertools.zip_longest(*scales)  # a foreign module says less of its metrics
    differs = [len(set(parts)) > 1 for parts in columns]
    return [", ".join(itertools.compress(scale, differs)) for scale in scales]


def scales_of(runs: Sequence[SweepRun], metric: str) -> list[Scale]:
    """The distinct scales of a metric among the runs that have it."""
    return list(dict.fromkeys(scale_of(run, metric) for run in runs if metric in run.metrics))


def deciding_metric(runs: Sequence[SweepRun], metric: str | None) -> str | None:
    """The metric by which runs are ranked; None if no run has metrics yet.

    Unless `metric` names one, it is the first of `Meanings.deciding` that every run lists and that
    is on one scale in all of them; if there is none, the one with the fewest scales. Test metrics
    are preferred to validation metrics.

    Raises:
        RunError: if no run has `metric`.
    """
    done = [run for run in runs if run.is_done and run.metrics]
    known = sorted({name for run in done for name in run.metrics})
    if metric and known and metric not in known:
        raise RunError(f"metric={metric}: no run has that metric; there are {', '.join(known)}")
    if not known:
        return None
    stage = "test" if any(name.startswith("test/") for name in known) else "val"
    deciding = [run.meanings.deciding for run in done if run.meanings]
    candidates = [f"{stage}/{name}" for name in dict.fromkeys(itertools.chain(*deciding))] or known
    everywhere = [name for name in candidates if all(name in run.metrics for run in done)]
    scales = {name: len(scales_of(done, name)) for name in everywhere}
    listed_by_all = [
        name
        for name in everywhere
        if scales[name] == 1 and all(name.removeprefix(f"{stage}/") in d for d in deciding)
    ]
    mixed = sorted((name for name in everywhere if scales[name] != 1), key=lambda n: scales[n])
    return metric or [*listed_by_all, *mixed, *candidates][0]

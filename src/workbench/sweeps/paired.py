"""Differences between settings, paired over the same test examples and seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from workbench.runs.values import read_values
from workbench.sweeps.compare import Comparison, Group
from workbench.sweeps.varied import SEEDS


class Gap(NamedTuple):
    """The distance of a setting behind the best one of its scale, in the metric's unit.

    Args:
        value: of the means over seeds; 0 for the best itself, never negative.
        over_examples: its standard error over test examples, from their differences; NaN where
            the runs did not keep them.
        over_seeds: its standard error over seeds, from the differences of runs of one seed where
            both settings have the same seeds; NaN for single runs.
        examples: their number; 0 where not kept.
        seeds: the runs of the setting with fewer.
        same_seeds: whether both have the same seeds.
    """

    value: float
    over_examples: float
    over_seeds: float
    examples: int
    seeds: int
    same_seeds: bool

    @property
    def error(self) -> float:
        """The standard error for other examples and other seeds, as far as known; else NaN."""
        known = [e for e in (self.over_examples, self.over_seeds) if not math.isnan(e)]
        return math.hypot(*known) if known else math.nan

    @property
    def may_be_chance(self) -> bool:
        """True if the gap is two standard errors or less; false if no standard error is known."""
        return self.value <= 2 * self.error


def gaps_to_best(compared: Comparison, metric: str) -> dict[int, Gap]:
    """The gap of each group that has the metric, by its place in `compared.groups`.

    The best of each scale is the one with the best mean; a group that is alone on its scale has no
    gap. Values are read one group at a time.
    """
    sign = -1 if compared.meaning(metric).better == "higher" else 1
    having = [(n, group) for n, group in enumerate(compared.groups) if group.has(metric)]
    gaps: dict[int, Gap] = {}
    for scale in dict.fromkeys(group.scale(metric) for _, group in having):
        members = [(n, group) for n, group in having if group.scale(metric) == scale]
        if len(members) == 1:  # best of nothing
            continue
        _, best = min(members, key=lambda member: sign * member[1].means[metric])
        values = mean_values(best, metric)
        for n, group in members:
            gaps[n] = gap(best, values, group, metric)
    return gaps


def gap(best: Group, values: np.ndarray | None, other: Group, metric: str) -> Gap:
    """The gap of one group to the best one.

    Args:
        best: the group with the best mean.
        values: its `mean_values`.
        other: another group, or the same.
        metric: the metric, which both have on one scale.
    """
    value = abs(best.means[metric] - other.means[metric])
    seeds = min(len(best.runs), len(other.runs))
    over_examples, over_seeds, examples = math.nan, math.nan, 0
    mine, theirs = _by_seed(best, metric), _by_seed(other, metric)
    same = mine is not None and theirs is not None and mine.keys() == theirs.keys()
    if other is best:
        return Gap(0.0, math.nan, math.nan, 0, seeds, same)
    others = None if values is None else mean_values(other, metric)
    if values is not None and others is not None and 1 < len(values) == len(others):
        over_examples, examples = _error(values - others), len(values)
    if same and mine and theirs and len(mine) > 1:
        over_seeds = _error(np.array([mine[seed] - theirs[seed] for seed in mine]))
    elif seeds > 1:
        over_seeds = math.hypot(best.errors[metric], other.errors[metric])
    return Gap(value, over_examples, over_seeds, examples, seeds, same)


def mean_values(group: Group, metric: str) -> np.ndarray | None:
    """The values of the test examples, averaged over a group's runs, `[N]`; None if not kept.

    A metric of which a run keeps only the values of another that it `repeats` differs from that
    one by a constant.
    """
    stage, _, name = metric.partition("/")
    if stage != "test":
        return None
    total: np.ndarray | None = None
    for run in group.runs:
        values = read_values(run.path, name)
        repeats = run.meanings.of(metric).repeats if run.meanings else None
        if values is None and repeats and f"test/{repeats}" in run.metrics:
            values = read_values(run.path, repeats)
            if values is not None:
                values += run.metrics[metric] - run.metrics[f"test/{repeats}"]
        if values is None or (total is not None and len(values) != len(total)):
            return None
        total = values if total is None else total + values
    return None if total is None else total / len(group.runs)


def _by_seed(group: Group, metric: str) -> dict[tuple[str, ...], float] | None:
    """The metric of each run by its seeds; None if two runs have the same."""
    found = {
        tuple(str(run.settings.get(name)) for name in SEEDS): run.metrics[metric]
        for run in group.runs
    }
    return found if len(found) == len(group.runs) else None


def _error(differences: Sequence[float] | np.ndarray) -> float:
    """The standard error of their mean."""
    return float(np.std(differences, ddof=1) / math.sqrt(len(differences)))

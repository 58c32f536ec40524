"""Differences between groups of runs, paired by test example and by seed."""

import math
from typing import NamedTuple

import numpy as np

from workbench.runs.values import read_values
from workbench.sweeps.compare import Comparison, Group, rank
from workbench.sweeps.varied import seeds_of


class Gap(NamedTuple):
    """The distance of a group behind the best group on its scale, in the metric's unit.

    Args:
        value: the difference of the means over seeds; 0 for the best group, never negative.
        over_examples: its standard error over test examples, from the differences on the same
            examples; NaN if the runs did not keep the values of single examples.
        over_seeds: its standard error over seeds, from the differences of runs of the same seed if
            both groups have the same seeds; NaN for single runs.
        examples: the number of test examples; 0 if their values were not kept.
        seeds: the number of seeds, in the smaller of the two groups.
        same_seeds: whether both groups have the same seeds.
    """

    value: float
    over_examples: float
    over_seeds: float
    examples: int
    seeds: int
    same_seeds: bool

    @property
    def error(self) -> float:
        """The standard error over examples and seeds together, as far as known; else NaN."""
        known = [e for e in (self.over_examples, self.over_seeds) if not math.isnan(e)]
        return math.hypot(*known) if known else math.nan

    @property
    def may_be_chance(self) -> bool:
        """True if 0 is in the gap's 95% confidence interval; False if no error is known.

        The half-widths of the intervals over examples and over seeds are added as the errors are,
        each by Student's t distribution: a standard error over few seeds is itself uncertain.
        """
        parts = ((self.over_examples, self.examples), (self.over_seeds, self.seeds))
        known = [error * t_quantile(n - 1) for error, n in parts if not math.isnan(error)]
        return bool(known) and self.value <= math.hypot(*known)


def gaps_to_best(compared: Comparison, metric: str) -> dict[int, Gap]:
    """The gap of each group that has the metric, by its index in `compared.groups`.

    There is none if neither a higher nor a lower value is better. The best group of each scale is
    the one with the best mean; a group that is alone on its scale has no gap. Values of single
    examples are read one group at a time, to save memory.
    """
    gaps: dict[int, Gap] = {}
    if compared.meaning(metric).better == "neither":
        return gaps
    numbers = {id(group): n for n, group in enumerate(compared.groups)}
    for ranking in rank(compared.groups, metric):
        if len(ranking.groups) > 1:
            best = ranking.groups[0]
            values = mean_values(best, metric)
            for group in ranking.groups:
                gaps[numbers[id(group)]] = gap(best, values, group, metric)
    return gaps


def gap(best: Group, values: np.ndarray | None, other: Group, metric: str) -> Gap:
    """The gap of a group to the best one on its scale, which has these `mean_values`."""
    value = abs(best.means[metric] - other.means[metric])
    seeds = min(best.seeds, other.seeds)
    over_examples, over_seeds, examples = math.nan, math.nan, 0
    of_best, of_other = _by_seed(best, metric), _by_seed(other, metric)
    same = of_best.keys() == of_other.keys()
    if other is best:
        return Gap(0.0, math.nan, math.nan, 0, seeds, same)
    others = None if values is None else mean_values(other, metric)
    if values is not None and others is not None and 1 < len(values) == len(others):
        over_examples, examples = _error(values - others), len(values)
    if same and seeds > 1:
        over_seeds = _error(np.array([of_best[seed] - of_other[seed] for seed in of_best]))
    elif seeds > 1:
        over_seeds = math.hypot(best.errors[metric], other.errors[metric])
    return Gap(value, over_examples, over_seeds, examples, seeds, same)


def mean_values(group: Group, metric: str) -> np.ndarray | None:
    """The metric of each test example, averaged over a group's runs, `[N]`; None if not kept.

    If a run kept only the values of the metric that this one `repeats`, these are shifted by the
    difference of the two means: such metrics differ by a constant.
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


def _by_seed(group: Group, metric: str) -> dict[tuple[str, ...], float]:
    """The metric by seeds, averaged over runs of the same seeds."""
    values: dict[tuple[str, ...], list[float]] = {}
    for run in group.runs:
        values.setdefault(seeds_of(run), []).append(run.metrics[metric])
    return {seeds: float(np.mean(found)) for seeds, found in values.items()}


def t_quantile(freedom: int) -> float:
    """The 97.5% quantile of Student's t distribution, within 1%.

    Fisher's expansion around the normal distribution's in 1 / freedom, except for 1 and 2.
    """
    if freedom <= 2:
        return (12.706, 4.303)[freedom - 1]
    return 1.960 + 2.372 / freedom + 2.822 / freedom**2 + 2.556 / freedom**3


def _error(differences: np.ndarray) -> float:
    """The standard error of the mean of differences."""
    return float(np.std(differences, ddof=1) / math.sqrt(len(differences)))

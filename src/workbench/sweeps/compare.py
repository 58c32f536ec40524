"""Compare the runs of a sweep: group them over seeds, and rank them by a metric."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from workbench.meaning import Meaning
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.scales import (
    Scale,
    deciding_metric,
    describe_differences,
    is_repeated,
    meaning_of,
    scale_of,
    scales_of,
)
from workbench.sweeps.varied import SEEDS, label_of, seeds_of, table_of, text_of, varied_settings


class Group(NamedTuple):
    """Completed runs that differ in their seeds only.

    Runs of the same seeds, such as one that was repeated by a later version, count as one: they say
    nothing of how a metric varies over seeds.

    Args:
        label: the varied settings in one line: `beta=4`.
        settings: the varied settings without seeds, by dotted name.
        runs: the completed runs.
        started: the number of runs, including those that are not completed.
        means: the mean of each metric over the seeds; NaN if a run lacks it.
        errors: the standard errors of the means over n seeds, s / √n; NaN for a single seed.
    """

    label: str
    settings: dict[str, Any]
    runs: list[SweepRun]
    started: int
    means: dict[str, float]
    errors: dict[str, float]

    @property
    def seeds(self) -> int:
        """The number of different seeds."""
        return len(set(map(seeds_of, self.runs)))

    def has(self, metric: str) -> bool:
        """True if every run has the metric, and it is not NaN."""
        return not math.isnan(self.means.get(metric, math.nan))

    def scale(self, metric: str) -> Scale:
        """The scale of a metric."""
        return scale_of(self.runs[0], metric)


class Ranking(NamedTuple):
    """Groups that are comparable by the deciding metric, ranked.

    Args:
        scale: the scale of the deciding metric in all of the groups.
        groups: the groups, best mean first.
        best_run: the best single run.
    """

    scale: Scale
    groups: list[Group]
    best_run: SweepRun


class Comparison(NamedTuple):
    """The runs of a sweep, grouped and ranked.

    Args:
        varied: short names of the settings that varied, by dotted name.
        metric: the deciding metric, by which runs are ranked; None if no run has metrics yet.
        metrics: the metrics to show, the deciding one first.
        groups: completed runs grouped over seeds, in the order of the rankings.
        rankings: one for each scale of the deciding metric.
    """

    varied: dict[str, str]
    metric: str | None
    metrics: list[str]
    groups: list[Group]
    rankings: list[Ranking]

    def runs(self) -> list[SweepRun]:
        """The completed runs, in the order of their groups."""
        return [run for group in self.groups for run in group.runs]

    def meaning(self, metric: str) -> Meaning:
        """The meaning of a metric."""
        return meaning_of(self.runs(), metric)

    def contested(self) -> list[Ranking]:
        """The rankings of at least two groups, or the only ranking."""
        return [r for r in self.rankings if len(r.groups) > 1 or len(self.rankings) == 1]

    def mixed(self, metric: str) -> list[str]:
        """The scales of a metric, in words, if runs have different ones; else empty."""
        scales = scales_of(self.runs(), metric)
        return describe_differences(scales) if len(scales) > 1 else []


def compare(runs: Sequence[SweepRun], metric: str | None = None) -> Comparison:
    """Group and rank runs by `metric`, or by the metric that `deciding_metric` chooses.

    Raises:
        RunError: if no run has `metric`.
    """
    varied = varied_settings(runs)
    groups = group_over_seeds(runs, varied)
    metric = deciding_metric(runs, metric)
    rankings = rank(groups, metric) if metric else []
    ranked = [group for ranking in rankings for group in ranking.groups]
    ranked_ids = set(map(id, ranked))
    ranked += [group for group in groups if id(group) not in ranked_ids]
    stage = (metric or "test/").partition("/")[0]
    names = dict.fromkeys(name for group in groups for name in group.runs[0].metrics)
    others = [n for n in names if n.startswith(stage) and not is_repeated(runs, stage, n)]
    metrics = list(dict.fromkeys([metric, *others])) if metric else []
    return Comparison(varied, metric, metrics, ranked, rankings)


def group_over_seeds(runs: Sequence[SweepRun], varied: dict[str, str]) -> list[Group]:
    """The completed runs, grouped by the varied settings other than seeds."""
    runs = [run for run in runs if run.settings]
    table = table_of(runs, varied)
    metrics = [name for name in table if "/" in str(name)]
    names = [name for name in varied if name not in SEEDS]
    keys = [str([text_of(run.settings.get(name)) for name in names]) for run in runs]
    groups = []
    for _, rows in table.groupby(keys, sort=False):
        completed = [runs[row] for row in rows.index if runs[row].is_done]
        if not completed:
            continue
        values = rows.loc[rows["status"] == "completed", metrics]
        seeds = [str(seeds_of(run)) for run in completed]
        if len(set(seeds)) < len(seeds):
            values = values.groupby(seeds).agg(lambda column: column.mean(skipna=False))
        settings = {name: completed[0].settings.get(name) for name in names}
        label = label_of({varied[n]: v for n, v in settings.items()}) or "all runs"
        means, errors = values.mean(skipna=False).to_dict(), values.sem(skipna=False).to_dict()
        groups.append(Group(label, settings, completed, len(rows), means, errors))
    return groups


def rank(groups: Sequence[Group], metric: str) -> list[Ranking]:
    """Rank the groups that have a metric, separately for each of its scales."""
    runs = [run for group in groups for run in group.runs]
    sign = -1 if meaning_of(runs, metric).better == "higher" else 1
    by_scale: dict[Scale, list[Group]] = {}
    for group in groups:
        if group.has(metric):
            by_scale.setdefault(group.scale(metric), []).append(group)
    return [
        Ranking(
            scale,
            sorted(members, key=lambda group: sign * group.means[metric]),
            min(
                (run for group in members for run in group.runs),
                key=lambda run: sign * run.metrics[metric],
            ),
        )
        for scale, members in by_scale.items()
    ]

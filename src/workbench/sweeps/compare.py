"""Compare the runs of a sweep: find the metric that compares them, and the best."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from workbench.errors import RunError
from workbench.meaning import UNKNOWN, Meaning
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.varied import SEEDS, label_of, table_of, text_of, what_varied

Scale = tuple[str, ...]
"""The quantity of a metric, in words: its `Meaning.of`. Values of one scale are comparable."""


class Group(NamedTuple):
    """Completed runs that differ in their seeds only.

    Args:
        label: their settings in a line: `beta=4`.
        settings: those that varied, without seeds, by dotted name.
        runs: the runs.
        started: their number, with those that are not completed.
        means: of each metric over the runs; NaN if one of them lacks it.
        errors: their standard errors, s / √n; NaN for a single run.
    """

    label: str
    settings: dict[str, Any]
    runs: list[SweepRun]
    started: int
    means: dict[str, float]
    errors: dict[str, float]

    def has(self, metric: str) -> bool:
        """True if all of the runs have that metric, as a number."""
        return not math.isnan(self.means.get(metric, math.nan))

    def scale(self, metric: str) -> Scale:
        """The scale of that metric."""
        return scale_of(self.runs[0], metric)


class Winner(NamedTuple):
    """The best of the groups that compare.

    Args:
        scale: the deciding metric's, the same for all of them.
        groups: all of them, best mean first.
        run: the best single run.
    """

    scale: Scale
    groups: list[Group]
    run: SweepRun


class Comparison(NamedTuple):
    """Runs, compared.

    Args:
        varied: short names of the settings that varied, by dotted name.
        metric: decides which run is best; None if no run has metrics yet.
        metrics: those to show, that one first.
        groups: the completed runs over their seeds, winners first.
        winners: one for each scale of the metric.
    """

    varied: dict[str, str]
    metric: str | None
    metrics: list[str]
    groups: list[Group]
    winners: list[Winner]

    def runs(self) -> list[SweepRun]:
        """The completed runs, in the order of their groups."""
        return [run for group in self.groups for run in group.runs]

    def meaning(self, metric: str) -> Meaning:
        """The meaning of a metric."""
        return meaning_of(self.runs(), metric)

    def crowned(self) -> list[Winner]:
        """Winners with at least one competitor, or the only winner."""
        return [won for won in self.winners if len(won.groups) > 1 or len(self.winners) == 1]

    def mixed(self, metric: str) -> list[str]:
        """The scales of a metric, in words, if it does not compare all runs."""
        scales = scales_of(self.runs(), metric)
        return told_apart(scales) if len(scales) > 1 else []


def compare(runs: Sequence[SweepRun], metric: str | None = None) -> Comparison:
    """Compare runs; a RunError if none has the metric `metric`."""
    varied = what_varied(runs)
    groups = over_seeds(runs, varied)
    metric = deciding_metric(runs, metric)
    won = find_winners(groups, metric) if metric else []
    ranked = [group for winner in won for group in winner.groups]
    known_groups = set(map(id, ranked))
    ranked += [group for group in groups if id(group) not in known_groups]
    stage = (metric or "test/").partition("/")[0]
    known = dict.fromkeys(name for group in groups for name in group.runs[0].metrics)
    others = [n for n in known if n.startswith(stage) and not _is_repeated(runs, stage, n)]
    metrics = list(dict.fromkeys([metric, *others])) if metric else []
    return Comparison(varied, metric, metrics, ranked, won)


def over_seeds(runs: Sequence[SweepRun], varied: dict[str, str]) -> list[Group]:
    """The completed runs, grouped by the settings that varied, seeds aside."""
    runs = [run for run in runs if run.settings]
    table = table_of(runs, varied)
    metrics = [name for name in table if "/" in str(name)]
    names = [name for name in varied if name not in SEEDS]
    keys = [str([text_of(run.settings.get(name)) for name in names]) for run in runs]
    groups = []
    for _, rows in table.groupby(keys, sort=False):
        members = [runs[row] for row in rows.index if runs[row].is_done]
        if not members:
            continue
        done = rows.loc[rows["status"] == "completed", metrics]
        settings = {name: members[0].settings.get(name) for name in names}
        label = label_of({varied[n]: v for n, v in settings.items()}) or "all runs"
        means, errors = done.mean(skipna=False).to_dict(), done.sem(skipna=False).to_dict()
        groups.append(Group(label, settings, members, len(rows), means, errors))
    return groups


def scale_of(run: SweepRun, metric: str) -> Scale:
    """The scale of a metric of a run."""
    return meaning_of([run], metric).of


def meaning_of(runs: Sequence[SweepRun], metric: str) -> Meaning:
    """The meaning of a metric, by the first of some runs that knows."""
    return next((run.meanings.of(metric) for run in runs if run.meanings), UNKNOWN)


def _is_repeated(runs: Sequence[SweepRun], stage: str, metric: str) -> bool:
    """True if another metric says the same of these runs and compares all of them."""
    other = meaning_of(runs, metric).repeats
    return other is not None and len(scales_of(runs, f"{stage}/{other}")) == 1


def told_apart(scales: Sequence[Scale]) -> list[str]:
    """Each scale in words, as far as it differs from the others."""
    differing = [len(set(parts)) > 1 for parts in zip(*scales, strict=True)]
    return [", ".join(part for part, d in zip(s, differing, strict=True) if d) for s in scales]


def scales_of(runs: Sequence[SweepRun], metric: str) -> list[Scale]:
    """The different scales of a metric, among the runs that have it."""
    return list(dict.fromkeys(scale_of(run, metric) for run in runs if metric in run.metrics))


def deciding_metric(runs: Sequence[SweepRun], metric: str | None) -> str | None:
    """The metric that decides which run is best; None if no run has metrics yet.

    By default the first that compares all runs and that all of them name, on test data if there are
    metrics of those, else on validation data: one that only some name does not say which of all is
    best, although its values compare. If none compares all, the one with the fewest scales. A
    RunError if no run has `metric`.
    """
    done = [run for run in runs if run.is_done and run.metrics]
    known = sorted({name for run in done for name in run.metrics})
    if metric and known and metric not in known:
        raise RunError(f"metric={metric}: no run has that metric; there are {', '.join(known)}")
    if not known:
        return None
    stage = "test" if any(name.startswith("test/") for name in known) else "val"
    named = [run.meanings.deciding for run in done if run.meanings]
    candidates = [f"{stage}/{name}" for name in dict.fromkeys(chain(*named))] or known
    everywhere = [name for name in candidates if all(name in run.metrics for run in done)]
    comparable = [name for name in everywhere if len(scales_of(done, name)) == 1]
    agreed = [n for n in comparable if all(n.removeprefix(f"{stage}/") in names for names in named)]
    mixed = sorted(
        (name for name in everywhere if name not in comparable),
        key=lambda name: len(scales_of(done, name)),
    )
    return metric or [*agreed, *mixed, *candidates][0]


def find_winners(groups: Sequence[Group], metric: str) -> list[Winner]:
    """The best for each scale of a metric, among the runs that have it."""
    runs = [run for group in groups for run in group.runs]
    sign = -1 if meaning_of(runs, metric).better == "higher" else 1
    by_scale: dict[Scale, list[Group]] = {}
    for group in groups:
        if group.has(metric):
            by_scale.setdefault(group.scale(metric), []).append(group)
    return [
        Winner(
            scale,
            sorted(members, key=lambda group: sign * group.means[metric]),
            min(
                (run for group in members for run in group.runs),
                key=lambda run: sign * run.metrics[metric],
            ),
        )
        for scale, members in by_scale.items()
    ]

"""Which runs compare, by what, and which of them are best."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from workbench.errors import RunError
from workbench.meaning import UNKNOWN, Meaning
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.varied import SEEDS, label_of, table_of, text_of, what_varied

Scale = tuple[str, ...]
"""What a figure is a figure of, in words; runs compare by it where these are equal."""


class Group(NamedTuple):
    """Completed runs that differ in their seeds only.

    Args:
        label: what is particular about their settings: `beta=4`.
        settings: what varied, seeds left out, by dotted name.
        runs: the runs.
        started: how many there are, completed or not.
        means: of each figure over the runs; NaN where one of them lacks it.
        errors: their standard errors, s / √n; NaN for a single run.
    """

    label: str
    settings: dict[str, Any]
    runs: list[SweepRun]
    started: int
    means: dict[str, float]
    errors: dict[str, float]

    def has(self, figure: str) -> bool:
        """Whether all of the runs have that figure, and it is a number."""
        return self.means.get(figure, float("nan")) == self.means.get(figure)

    def scale(self, figure: str) -> Scale:
        """What that figure is a figure of."""
        return scale_of(self.runs[0], figure)


class Winner(NamedTuple):
    """The best of those that compare.

    Args:
        scale: what the figure is a figure of, for them.
        groups: all of them, best mean first.
        run: the best single run.
    """

    scale: Scale
    groups: list[Group]
    run: SweepRun


class Comparison(NamedTuple):
    """Runs held against one another.

    Args:
        varied: what varied, by dotted name, with short names.
        figure: what says which run is best; None if no run has figures yet.
        figures: those to show, that one first.
        groups: the completed runs over their seeds, winners first.
        winners: one for each kind of run that compares by the figure.
    """

    varied: dict[str, str]
    figure: str | None
    figures: list[str]
    groups: list[Group]
    winners: list[Winner]

    def runs(self) -> list[SweepRun]:
        """The completed runs, in the order of their groups."""
        return [run for group in self.groups for run in group.runs]

    def meaning(self, figure: str) -> Meaning:
        """What a metric is."""
        return meaning_of(self.runs(), figure)

    def crowned(self) -> list[Winner]:
        """The winners that had somebody to beat."""
        return [won for won in self.winners if len(won.groups) > 1 or len(self.winners) == 1]

    def mixed(self, figure: str) -> list[str]:
        """The different things that a figure is of, if it does not compare all runs."""
        scales = scales_of(self.runs(), figure)
        return told_apart(scales) if len(scales) > 1 else []


def compare(runs: Sequence[SweepRun], metric: str | None = None) -> Comparison:
    """Hold runs against one another.

    Raises:
        RunError: if no run has the figure `metric`.
    """
    varied = what_varied(runs)
    groups = over_seeds(runs, varied)
    figure = deciding_figure(runs, metric)
    won = find_winners(groups, figure) if figure else []
    ranked = [group for winner in won for group in winner.groups]
    ranked += [group for group in groups if group not in ranked]
    stage = (figure or "test/").partition("/")[0]
    known = dict.fromkeys(name for group in groups for name in group.runs[0].metrics)
    others = [n for n in known if n.startswith(stage) and not _is_repeated(runs, stage, n)]
    figures = list(dict.fromkeys([figure, *others])) if figure else []
    return Comparison(varied, figure, figures, ranked, won)


def over_seeds(runs: Sequence[SweepRun], varied: dict[str, str]) -> list[Group]:
    """The completed runs, grouped by what varied other than seeds."""
    runs = [run for run in runs if run.settings]
    table = table_of(runs, varied)
    figures = [name for name in table if "/" in str(name)]
    names = [name for name in varied if name not in SEEDS]
    keys = [str([text_of(run.settings.get(name)) for name in names]) for run in runs]
    groups = []
    for _, rows in table.groupby(keys, sort=False):
        members = [runs[row] for row in rows.index if runs[row].is_done]
        if not members:
            continue
        done = rows.loc[rows["status"] == "completed", figures]
        settings = {name: members[0].settings.get(name) for name in names}
        label = label_of({varied[n]: v for n, v in settings.items()}) or "all runs"
        means, errors = done.mean(skipna=False).to_dict(), done.sem(skipna=False).to_dict()
        groups.append(Group(label, settings, members, len(rows), means, errors))
    return groups


def scale_of(run: SweepRun, figure: str) -> Scale:
    """What a figure of a run is a figure of."""
    return meaning_of([run], figure).of


def meaning_of(runs: Sequence[SweepRun], figure: str) -> Meaning:
    """What a metric is, by the first of some runs that tells."""
    known = (run.meanings.of(figure) for run in runs if run.meanings)
    return next(known, UNKNOWN)


def _is_repeated(runs: Sequence[SweepRun], stage: str, figure: str) -> bool:
    """Whether another metric says the same of these runs and compares all of them."""
    other = meaning_of(runs, figure).repeats
    return other is not None and len(scales_of(runs, f"{stage}/{other}")) == 1


def told_apart(scales: Sequence[Scale]) -> list[str]:
    """Each scale in words, as far as it differs from the others."""
    differing = [len(set(parts)) > 1 for parts in zip(*scales, strict=True)]
    return [", ".join(part for part, d in zip(s, differing, strict=True) if d) for s in scales]


def scales_of(runs: Sequence[SweepRun], figure: str) -> list[Scale]:
    """The different things that a figure is of, among the runs that have it."""
    return list(dict.fromkeys(scale_of(run, figure) for run in runs if figure in run.metrics))


def deciding_figure(runs: Sequence[SweepRun], metric: str | None) -> str | None:
    """The figure that says which run is best; None if no run has figures yet.

    By default the first of those that the runs themselves name which compares them all, on test
    data if there are metrics of those, else on validation data.

    Raises:
        RunError: if no run has the figure that was asked for.
    """
    done = [run for run in runs if run.is_done and run.metrics]
    known = sorted({name for run in done for name in run.metrics})
    if metric and known and metric not in known:
        raise RunError(f"metric={metric}: no run has that figure; there are {', '.join(known)}")
    if not known:
        return None
    stage = "test" if any(name.startswith("test/") for name in known) else "val"
    named = dict.fromkeys(n for run in done if run.meanings for n in run.meanings.deciding)
    candidates = [f"{stage}/{name}" for name in named] or known
    everywhere = [name for name in candidates if all(name in run.metrics for run in done)]
    comparable = [name for name in everywhere if len(scales_of(done, name)) == 1]
    return metric or [*comparable, *everywhere, *candidates][0]


def find_winners(groups: Sequence[Group], figure: str) -> list[Winner]:
    """The best of each kind of run that compares by a figure; who lacks it takes no part."""
    runs = [run for group in groups for run in group.runs]
    sign = -1 if meaning_of(runs, figure).better == "higher" else 1
    by_scale: dict[Scale, list[Group]] = {}
    for group in groups:
        if group.has(figure):
            by_scale.setdefault(group.scale(figure), []).append(group)
    return [
        Winner(
            scale,
            sorted(members, key=lambda group: sign * group.means[figure]),
            min(
                (run for group in members for run in group.runs),
                key=lambda run: sign * run.metrics[figure],
            ),
        )
        for scale, members in by_scale.items()
    ]

"""The sentences and formatted numbers of a report."""

import math
from collections.abc import Iterator, Mapping

from workbench.sweeps.compare import Comparison
from workbench.sweeps.paired import Gap
from workbench.sweeps.scales import describe_differences
from workbench.sweeps.varied import ABSENT

MIXED = "≠"
"""Marks a metric that cannot compare all runs."""

HUGE = 1e9
"""Metrics from here on belong to runs that diverged; their decimals mean nothing."""


def find_verdicts(compared: Comparison, gaps: Mapping[int, Gap]) -> Iterator[str]:
    """A sentence for each ranking: the winner, its margin, and whether that may be chance.

    There is none by a metric of which neither higher nor lower values are better.
    """
    metric = compared.metric or ""
    meaning = compared.meaning(metric)
    if meaning.better == "neither":
        return
    places = meaning.places
    scopes = describe_differences([ranking.scale for ranking in compared.rankings])
    for ranking in compared.contested():
        best, *others = ranking.groups
        text = f"{best.label}: {metric} {number(best.means[metric], places, best.errors[metric])}"
        text += f" ({meaning.better} is better)"
        if best.seeds > 1:
            text += f", mean ± standard error over {best.seeds} seeds"
        if others:
            gap = gaps[compared.groups.index(others[0])]
            text += f"; next is {others[0].label}, {number(gap.value, places)} behind"
            if not math.isnan(gap.error):
                chance = ", which may be chance" if gap.may_be_chance else ""
                text += f"{chance} ({gap_in_words(gap, places)})"
        scope = scopes[compared.rankings.index(ranking)]
        text += f". Best single run: {ranking.best_run.path.name}."
        yield f"{text} Among {scope}." if scope else text


def find_notes(compared: Comparison) -> Iterator[str]:
    """Caveats of the comparison."""
    runs, metric = compared.runs(), compared.metric or ""
    sources = sorted({run.meanings.data for run in runs if run.meanings})
    if len(sources) > 1:
        yield f"These runs used different data ({', '.join(sources)}) and cannot be compared."
    versions = sorted({run.written_by for run in runs if run.meanings})
    if len(versions) > 1:
        yield (
            f"These runs were made by different versions ({', '.join(versions)}), which "
            "may have measured differently."
        )
    mixed = [name for name in compared.metrics if compared.mixed(name)]
    if compared.rankings and compared.meaning(metric).better == "neither":
        yield f"{metric} has no winner: neither a higher nor a lower value is known to be better."
    elif metric in mixed:
        unmixed = [
            m for m in compared.metrics if m not in mixed and all(m in r.metrics for r in runs)
        ]
        has_single = len(compared.contested()) < len(compared.rankings)
        yield (
            f"{metric} cannot compare all of these runs: there are {len(compared.rankings)} kinds "
            "of runs, each with its own winner"
            + (" if it has several settings" if has_single else "")
            + (f". To compare all runs: metric={' or '.join(unmixed)}" if unmixed else "")
            + "."
        )
    if mixed:
        yield f"Marked {MIXED}: {', '.join(mixed)} cannot be compared across all rows."
    yield from dict.fromkeys(note for run in runs if run.meanings for note in run.meanings.notes)


def number(value: float, places: int, error: float = math.nan) -> str:
    """A metric and its standard error, with `places` decimals; huge numbers with four digits."""
    if math.isnan(value):
        return ABSENT
    texts = [f"{n:.{places}f}" if abs(n) < HUGE else f"{n:.4g}" for n in (value, error)]
    return " ± ".join(texts[: 1 if math.isnan(error) else 2]).replace("-", "−")


def gap_in_words(gap: Gap, places: int) -> str:
    """The standard error of a gap and its parts, over examples and over seeds."""
    parts = []
    if not math.isnan(gap.over_examples):
        error = number(gap.over_examples, places)
        parts.append(f"{error} over the same {gap.examples:,} test examples")
    if not math.isnan(gap.over_seeds):
        kind = "the same " if gap.same_seeds else ""
        parts.append(f"{number(gap.over_seeds, places)} over {kind}{gap.seeds} seeds")
    elif parts:
        parts.append("unknown over seeds")
    return f"standard error {number(gap.error, places)}: {', '.join(parts)}" if parts else ""


def gap_cell(gap: Gap, places: int) -> tuple[str, float, str]:
    """A gap's cell in a table: text, sorting key, and an explanation of its standard error."""
    if gap.value == 0:
        return "best", 0.0, ""
    text = number(gap.value, places, gap.error)
    return f"≈ {text}" if gap.may_be_chance else text, gap.value, gap_in_words(gap, places)

"""The report on a sweep: collect, compare, plot, write one page."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from workbench.console import set_up_logging, show_table
from workbench.errors import printable
from workbench.pages.render import render
from workbench.project import the_project
from workbench.runs.output import output_folder, written_together
from workbench.sweeps.collect import SweepRun, collect, find_sweep
from workbench.sweeps.compare import Comparison, compare, told_apart
from workbench.sweeps.plots import MOST_CURVES, curve_plots, parameter_plots
from workbench.sweeps.varied import ABSENT, SEEDS, table_of, text_of, what_is_common

log = logging.getLogger(__name__)

PAGE, TABLE = "report.html", "report.csv"
MOST_THUMBNAILS = 24
MOST_PLOTS = 8
"""With one title."""
MIXED = "≠"
"""Marks a metric that does not compare all runs."""


def report(
    sweep: str, sweeps: Path, *, metric: str | None = None, output: str | None = None
) -> Path:
    """Print a sweep's table; write `report.html` and `report.csv` into its folder.

    Args:
        sweep: a sweep folder, its name, or `latest`.
        sweeps: where names and `latest` look.
        metric: decides which run is best; see `deciding_metric`.
        output: the folder to write into instead of the sweep's.

    Returns:
        the page.

    Raises:
        RunError: if there is no such sweep, it holds no runs, none of them has the metric, or the
            page cannot be written.
    """
    set_up_logging()
    folder = find_sweep(sweep, sweeps)
    place = output_folder(output, folder, (PAGE, TABLE))
    runs = collect(folder)
    compared = compare(runs, metric)
    unfinished = [run for run in runs if not run.is_done]
    verdicts = list(_verdicts(compared))
    notes = list(_notes(compared))
    _show(compared, verdicts, notes, unfinished)
    first = f" of the first {MOST_CURVES} runs" if len(runs) > MOST_CURVES else ""
    project = the_project()
    plots = {
        **project.sweep_plots(compared),
        f"{compared.metric} against what varied": parameter_plots(compared),
        f"Learning curves{first}": curve_plots(compared, unfinished),
    }
    with_model = [run for run in [*compared.runs(), *unfinished] if run.is_done or run.has_model()]
    page = render(
        "sweep.html.jinja",
        number=number,
        text=text_of,
        seconds=lambda value: ABSENT if math.isnan(value) else f"{value:.0f}",
        nan=math.nan,
        MIXED=MIXED,
        MOST_PLOTS=MOST_PLOTS,
        SEEDS=SEEDS,
        name=folder.resolve().name,
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
        counts=Counter(run.status for run in runs),
        data=sorted({run.meanings.data for run in runs if run.meanings}),
        verdicts=verdicts,
        notes=notes,
        common=what_is_common(runs),
        compared=compared,
        best=[item for winner in compared.crowned() for item in (winner.groups[0], winner.run)],
        plots={title: list(islice(some, MOST_PLOTS)) for title, some in plots.items()},
        thumbnails=[(run, project.thumbnails(run.path)) for run in with_model[:MOST_THUMBNAILS]],
        without_thumbnails=len(with_model[MOST_THUMBNAILS:]),
        unfinished=unfinished,
    )
    with written_together(place) as beside:
        (beside / PAGE).write_bytes(page.encode("utf-8", errors="replace"))
        table_of(runs, compared.varied).to_csv(beside / TABLE, index=False, errors="replace")
    log.info("written to   %s", place / PAGE)
    return place / PAGE


def _verdicts(compared: Comparison) -> Iterator[str]:
    """The winners, their margins, and whether these may be chance."""
    metric = compared.metric or ""
    meaning = compared.meaning(metric)
    places = meaning.places
    among = told_apart([winner.scale for winner in compared.winners])
    for winner in compared.crowned():
        best, *others = winner.groups
        text = f"{best.label}: {metric} {number(best.means[metric], places, best.errors[metric])}"
        text += f" ({meaning.better} is better)"
        if len(best.runs) > 1:
            text += f", mean ± standard error of {len(best.runs)} runs"
        if others:
            gap = abs(best.means[metric] - others[0].means[metric])
            text += f"; next is {others[0].label}, {number(gap, places)} behind"
            error = math.hypot(best.errors[metric], others[0].errors[metric])
            if gap < 2 * error:
                text += f", which may be chance (standard error {number(error, places)})"
        scope = among[compared.winners.index(winner)]
        yield f"{text}. Best single run: {winner.run.path.name}." + (
            f" Among {scope}." * bool(scope)
        )


def _notes(compared: Comparison) -> Iterator[str]:
    """Caveats of the comparison."""
    runs, metric = compared.runs(), compared.metric or ""
    sources = sorted({run.meanings.data for run in runs if run.meanings})
    if len(sources) > 1:
        yield f"These runs saw different data ({', '.join(sources)}) and do not compare."
    versions = sorted({run.written_by for run in runs if run.meanings})
    if len(versions) > 1:
        yield (
            f"These runs were made by different versions ({', '.join(versions)}), which "
            "may have measured differently."
        )
    mixed = [name for name in compared.metrics if compared.mixed(name)]
    if metric in mixed:
        whole = [
            m for m in compared.metrics if m not in mixed and all(m in r.metrics for r in runs)
        ]
        alone = len(compared.winners) - len(compared.crowned())
        yield (
            f"{metric} does not compare all of these runs: they are of {len(compared.winners)} "
            "kinds, each with a winner of its own"
            + (f"; {alone} kinds hold one setting only, and so no winner" if alone else "")
            + (f". What does compare all: metric={' or '.join(whole)}" if whole else "")
            + "."
        )
    if mixed:
        yield f"Marked {MIXED}, as they do not compare all rows: {', '.join(mixed)}."
    yield from dict.fromkeys(note for run in runs if run.meanings for note in run.meanings.notes)


def _show(
    compared: Comparison, verdicts: list[str], notes: list[str], unfinished: Sequence[SweepRun]
) -> None:
    names = [name for name in compared.varied if name not in SEEDS]
    marked = [f"{name} {MIXED}" if compared.mixed(name) else name for name in compared.metrics]
    rows = []
    for group in compared.groups:
        cells = [text_of(group.settings[name]) for name in names]
        metrics = [
            number(group.means[name], compared.meaning(name).places, group.errors[name])
            for name in compared.metrics
        ]
        rows.append([*cells, f"{len(group.runs)}/{group.started}", *metrics])
    if rows:
        columns = [*(compared.varied[name] for name in names), "runs", *marked]
        show_table("mean ± standard error over seeds", columns, rows)
    lines = [*notes, *(f"best         {verdict}" for verdict in verdicts)]
    lines += [f"{run.status:<12} {run.path.name}  {run.error}".rstrip() for run in unfinished]
    for line in lines:
        print(printable(line))


def number(value: float, places: int, error: float = math.nan) -> str:
    """A metric with that many decimals, and its standard error."""
    if math.isnan(value):
        return ABSENT
    text = f"{value:.{places}f}" + ("" if math.isnan(error) else f" ± {error:.{places}f}")
    return text.replace("-", "−")

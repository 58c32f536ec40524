"""The report on a sweep: collect and compare its runs, print a table, write a page."""

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from workbench.console import display_path, set_up_logging
from workbench.errors import printable
from workbench.pages.render import render
from workbench.project import the_project
from workbench.runs.output import output_folder, written_together
from workbench.sweeps.collect import SweepRun, collect, find_sweep
from workbench.sweeps.commands import commands_of
from workbench.sweeps.compare import Comparison, compare
from workbench.sweeps.page_data import (
    MOST_CURVES,
    best_groups,
    best_runs,
    link_to,
    page_data,
    progress_of,
)
from workbench.sweeps.paired import gaps_to_best
from workbench.sweeps.plots import Plot
from workbench.sweeps.varied import ABSENT, SEEDS, common_settings, table_of, text_of
from workbench.sweeps.words import MIXED, find_notes, find_verdicts, gap_cell, number
from workbench.text import leading_table, wrapped

log = logging.getLogger(__name__)

PAGE, TABLE = "report.html", "report.csv"
MOST_THUMBNAILS = 24
"""The number of runs whose plots are shown."""

MOST_PLOTS = 8
"""The number of plots under one title."""


def report(
    sweep: str,
    sweeps: Path,
    *,
    metric: str | None = None,
    output: str | None = None,
    every: float | None = None,
) -> Path:
    """Print a table of a sweep's runs; write `report.html` and `report.csv` into its folder.

    Args:
        sweep: a sweep folder, its name, or `latest`.
        sweeps: the folder in which names and `latest` are looked up.
        metric: the metric that ranks runs; by default the choice of `deciding_metric`.
        output: a folder to write to instead of the sweep's.
        every: seconds after which the files are written again, until no run is running.

    Returns:
        The path of the page.

    Raises:
        RunError: if there is no such sweep, it holds no runs, none of them has the metric, or the
            page cannot be written.
    """
    set_up_logging()
    folder = find_sweep(sweep, sweeps)
    place = output_folder(output, folder, (PAGE, TABLE))
    thumbnails: dict[Path, list[Plot]] = {}
    while True:
        runs = collect(folder)
        compared = compare(runs, metric)
        reload = every if any(run.status == "running" for run in runs) else None
        _write(folder, place, runs, compared, thumbnails=thumbnails, reload=reload)
        log.info("page        %s", display_path(place / PAGE))
        if reload is None:
            return place / PAGE
        time.sleep(reload)


def _write(
    folder: Path,
    place: Path,
    runs: Sequence[SweepRun],
    compared: Comparison,
    *,
    thumbnails: dict[Path, list[Plot]],
    reload: float | None,
) -> None:
    unfinished = [run for run in runs if not run.is_done]
    gaps = {name: gaps_to_best(compared, name) for name in compared.metrics}
    verdicts = list(find_verdicts(compared, gaps.get(compared.metric or "", {})))
    notes = list(find_notes(compared))
    _show(compared, verdicts, notes, unfinished)
    with_model = [run for run in [*compared.runs(), *unfinished] if run.is_done or run.has_model()]
    data = page_data(compared, unfinished, place, reload)
    data["gaps"] = {
        name: {n: gap_cell(gap, compared.meaning(name).places) for n, gap in by_group.items()}
        for name, by_group in gaps.items()
    }
    page = render(
        "sweep.html.jinja",
        number=number,
        text=text_of,
        seconds=lambda value: ABSENT if math.isnan(value) else f"{value:.0f}",
        link_to=lambda run: link_to(run, place),
        nan=math.nan,
        places={name: compared.meaning(name).places for name in compared.metrics},
        MIXED=MIXED,
        MOST_PLOTS=MOST_PLOTS,
        MOST_CURVES=MOST_CURVES,
        SEEDS=SEEDS,
        name=folder.resolve().name,
        written=datetime.now().strftime("%Y-%m-%d %H:%M"),
        counts=Counter(run.status for run in runs),
        data=sorted({run.meanings.data for run in runs if run.meanings}),
        commands=commands_of(runs),
        verdicts=verdicts,
        notes=notes,
        common=common_settings(runs),
        compared=compared,
        best_groups=best_groups(compared),
        best_runs=best_runs(compared),
        page_data=data,
        progress=progress_of(data, [*compared.runs(), *unfinished]),
        plots={
            title: list(islice(plots, MOST_PLOTS))
            for title, plots in the_project().sweep_plots(compared).items()
        },
        thumbnails=[(run, _thumbnails(run, thumbnails)) for run in with_model[:MOST_THUMBNAILS]],
        without_thumbnails=len(with_model[MOST_THUMBNAILS:]),
        unfinished=unfinished,
    )
    with written_together(place) as beside:
        (beside / PAGE).write_bytes(page.encode("utf-8", errors="replace"))
        table_of(runs, compared.varied).to_csv(beside / TABLE, index=False, errors="replace")


def _thumbnails(run: SweepRun, cache: dict[Path, list[Plot]]) -> list[Plot]:
    """The plots of a run; those of completed runs are cached."""
    if run.path in cache:
        return cache[run.path]
    plots = the_project().thumbnails(run.path)
    if run.is_done:
        cache[run.path] = plots
    return plots


def _show(
    compared: Comparison, verdicts: list[str], notes: list[str], unfinished: Sequence[SweepRun]
) -> None:
    """Print the groups as a table, then notes, verdicts and the runs that are not completed."""
    names = [name for name in compared.varied if name not in SEEDS]
    mixed = [name for name in compared.metrics if compared.mixed(name)]
    everywhere = [n for n in compared.metrics if all(group.has(n) for group in compared.groups)]
    metrics = sorted(
        compared.metrics, key=lambda n: (n != compared.metric, n not in everywhere, n in mixed)
    )
    marked = [f"{name} {MIXED}" if name in mixed else name for name in metrics]
    rows = []
    for group in compared.groups:
        cells = [text_of(group.settings[name]) for name in names]
        cells.append(f"{len(group.runs)}/{group.started}")
        cells += [
            number(group.means[name], compared.meaning(name).places, group.errors[name])
            for name in metrics
        ]
        rows.append(cells)
    if rows:
        columns = [*(compared.varied[name] for name in names), "runs", *marked]
        has_errors = any(group.seeds > 1 for group in compared.groups)
        title = "mean ± standard error over seeds" if has_errors else ""
        shown, others = leading_table(title, columns, rows, at_least=len(names) + 2)
        print(shown)
        if others:
            print(wrapped(f"{PAGE} and {TABLE} also have {', '.join(others)}"))
    for note in notes:
        print(wrapped(printable(note)))
    labelled = [("best", verdict) for verdict in verdicts]
    labelled += [(run.status, f"{run.path.name}  {run.error}".rstrip()) for run in unfinished]
    for label, text in labelled:
        print(wrapped(printable(text), f"{label:<12}"))

"""The report of an evaluated run: printed, and as a page."""

import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from musigma.commands.explorer import latent_explorer
from musigma.commands.measure import Metrics
from musigma.evaluation.encoding import Encoded
from musigma.loading import Run
from musigma.pages.run import facts_of, measured, notes_of, rows_of
from musigma.plots.named import PlotFiles
from musigma.project import PROJECT
from musigma.published import published_rows
from musigma.words import describe
from workbench.interactive import changed_settings
from workbench.pages.render import render
from workbench.project import Config
from workbench.runs.description import RunDescription
from workbench.runs.provenance import own_overrides, sweep_of, train_command
from workbench.text import show_table, wrapped

log = logging.getLogger(__name__)

T = TypeVar("T")


def print_report(metrics: Metrics, about: RunDescription) -> None:
    """Print the metrics, what was left out, and the comparison with published values."""
    title = f"test metrics, data source: {metrics['data_source']}"
    print(wrapped(measured(metrics, about.weights())))
    cells = [(row.name, row.value, row.error, row.unit) for row in rows_of(metrics)]
    show_table(title, ("", "value", "± over images", "unit"), cells)
    for reason in notes_of(metrics):
        print(wrapped(f"{reason}."))
    if beside := list(published_rows(metrics)):
        columns = ("", "obtained", "± over images", "published", "source")
        show_table("beside published values", columns, [row[1:6] for row in beside])
        for text in dict.fromkeys(row.differs for row in beside):
            names = [row.name for row in beside if row.differs == text]
            print(wrapped(f"what differs ({'; '.join(names)}): {text}"))
        overrides = " ".join(own_overrides(about.overrides)) or "none"
        print(wrapped(f"overrides of this run: {overrides}"))


def page_of(
    run: Run,
    test: Encoded,
    metrics: Metrics,
    plots: Sequence[PlotFiles],
    about: RunDescription,
    *,
    place: Path,
    defaults: Config | None,
    seconds: float,
) -> str:
    """The page of an evaluated run, in HTML, for the folder `place`.

    `defaults` is the config without overrides, to compare the run's with, or None if unknown, and
    `seconds` the time that the evaluation took.
    """
    folder, objective, rows = Path(metrics["run"]), run.objective(), list(rows_of(metrics))
    lines = describe(run.config, run.model, objective, run.data)
    explorer = or_none("the latent space", latent_explorer, run, test)
    comparison = "the comparison with the defaults"
    how = f"in {seconds:.0f} s on {run.model.device} with {PROJECT.package} {PROJECT.version}"
    return render(
        "run.html.jinja",
        package=PROJECT.package,
        name=folder.resolve().name,
        facts=facts_of(lines, objective, about),
        sweep=sweep_of(run.config, folder, place),
        commands=[
            train_command(about.overrides),
            f"python scripts/evaluate.py run={shlex.quote(str(folder))}",
        ],
        published={row.metric: row for row in published_rows(metrics)},
        explorer=explorer,
        changed=defaults and or_none(comparison, changed_settings, run.config, defaults),
        measured=measured(metrics, about.weights()),
        notes=[*about.notes, *notes_of(metrics)],
        rows=rows,
        plots=[plot for plot in plots if not explorer or plot.name != "latent_scatter"],
        ran={
            **about.facts,
            "measured": how,
            **({} if place == folder else {"written to": place}),
        },
        overrides=own_overrides(about.overrides),
        config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
        environment=about.environment,
    )


def or_none(name: str, make: Callable[..., T], *arguments: Any) -> T | None:
    """Make a part of the page; None if that fails, so that the measurements are not lost."""
    try:
        return make(*arguments)
    except Exception as error:
        log.warning("%s is left out of the page: %s", name, error)
        return None
